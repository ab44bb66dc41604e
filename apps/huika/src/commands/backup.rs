//! `huika backup`: the whole database in one compressed file, verified after it was written.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
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
    key_file,
};

/// Rows are small and alike: a higher level takes longer and saves little.
const COMPRESSION: Compression = Compression::new(4);

pub(crate) async fn run(context: Context, args: BackupArgs) -> Result<ExitCode, Failure> {
    let target = &args.out;
    let refused = |error: std::io::Error| Failure::file(target, error);
    let aside = beside(target);
    // The file holds everything but keys, so it is made for its owner alone.
    let _ = std::fs::remove_file(&aside);
    key_file::write_private(&aside, b"").map_err(refused)?;
    let file = File::options().write(true).open(&aside).map_err(refused)?;

    let db = context.connect().await?;
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
    let written = match taken {
        Ok(report) => finish(hashed.inner).map(|()| report).map_err(refused),
        Err(error) => Err(backup_failure(error)),
    };
    let verified = written.and_then(|report| {
        let bytes = verify(&aside).map_err(refused)?;
        if bytes != plain_bytes {
            let reason = format!("{bytes} bytes came back of {plain_bytes}: the disk is full or broken");
            return Err(CommandError::BackupFailed { reason }.into());
        }
        std::fs::rename(&aside, target).map_err(refused)?;
        Ok(report)
    });
    progress.finish();
    let report = verified.inspect_err(|_| {
        // Half a backup must not be mistaken for one.
        let _ = std::fs::remove_file(&aside);
    })?;

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

/// A name in the same folder, so that renaming moves no data.
fn beside(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    target.with_file_name(name)
}

fn finish(encoder: GzEncoder<BufWriter<File>>) -> std::io::Result<()> {
    let file = encoder
        .finish()?
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error)?;
    file.sync_all()
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
