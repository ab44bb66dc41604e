//! `huika backup`: the whole database in one compressed file, verified after it was written.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::Path,
    process::ExitCode,
};

use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use huika_core::Bilingual;
use huika_db::backup::backup;
use serde_json::json;

use super::Context;
use crate::{
    cli::BackupArgs,
    compose,
    error::{CommandError, Failure, backup_failure},
    files::Unfinished,
};

/// Rows are small and alike: a higher level takes longer and saves little.
const COMPRESSION: Compression = Compression::new(4);

pub(crate) async fn run(context: Context, args: BackupArgs) -> Result<ExitCode, Failure> {
    let target = &args.out;
    let refused = |error: std::io::Error| Failure::file(target, error);
    context.refuse_missing_file()?;
    let db = context.connect().await?;
    // The file holds everything but keys, so it is made for its owner alone.
    let (unfinished, file) = Unfinished::create(target)?;
    let label = Bilingual::new("写入备份（字节）", "Writing the backup, bytes");
    let progress = context.output.progress(&context.clock, label, None);
    let mut hashed = Counting {
        inner: GzEncoder::new(BufWriter::new(file), COMPRESSION),
        bytes: 0,
        tell: |bytes| progress.at(bytes),
    };
    let taken = backup(&db, &compose::migrations(), &mut hashed).await;
    let engine = db.engine().name();
    db.close().await;
    let plain_bytes = hashed.bytes;
    let report = taken.map_err(backup_failure)?;
    let file = finish(hashed.inner).map_err(refused)?;
    let bytes = verify(unfinished.path()).map_err(refused)?;
    if bytes != plain_bytes {
        let reason = format!("{bytes} bytes came back of {plain_bytes}: the disk is full or broken");
        return Err(CommandError::BackupFailed { reason }.into());
    }
    unfinished.finish(&file)?;
    progress.finish();

    let (tables, rows, sha256) = (report.tables, report.rows, &report.sha256);
    let file_bytes = std::fs::metadata(target).map_err(refused)?.len();
    let place = target.display().to_string();
    let words = Bilingual::new(
        format!(
            "已备份 {tables} 张表、{rows} 行到 {place}（{file_bytes} 字节）。密钥文件不在其中，请另行保存。"
        ),
        format!(
            "Backed up {rows} rows of {tables} tables to {place} ({file_bytes} bytes). The key file is not in it: keep \
             that in another place."
        ),
    );
    let fields = json!({
        "file": place, "engine": engine, "tables": tables, "rows": rows, "sha256": sha256, "file_bytes": file_bytes,
    });
    context.output.result(&fields, &words);
    Ok(ExitCode::SUCCESS)
}

fn finish(encoder: GzEncoder<BufWriter<File>>) -> std::io::Result<File> {
    encoder
        .finish()?
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error)
}

/// Reads back what was written: the checksum of the compression vouches for every byte. Tells how many there are.
fn verify(path: &Path) -> std::io::Result<u64> {
    let mut reader = MultiGzDecoder::new(BufReader::new(File::open(path)?));
    let (mut buffer, mut bytes) = (vec![0; 1 << 16], 0);
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(bytes),
            read => bytes += read as u64,
        }
    }
}

struct Counting<W, F> {
    inner: W,
    bytes: u64,
    tell: F,
}

impl<W: Write, F: FnMut(u64)> Write for Counting<W, F> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.bytes += written as u64;
        (self.tell)(self.bytes);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
