//! Writing a backup.

use std::io::Write;

use data_encoding::{BASE64, HEXLOWER};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    BackupError, BackupReport, End, FORMAT, Header, Manifest, NOT_CARRIED,
    schema::{self, Kind, Table},
};
use crate::{Db, DbError, Executor, Migration, Row, Tx, params};

/// Writes the whole database as it is at this moment, row by row, while others work on.
///
/// `known` are the migrations of this program, which must all be applied. Writing blocks the task: the writer
/// is a file, a pipe or memory.
///
/// # Errors
/// [`BackupError::Refused`] when the database is not at the version of this program; otherwise when the
/// database or the writer fails.
pub async fn backup(
    db: &Db,
    known: &[Migration],
    writer: impl Write + Send,
) -> Result<BackupReport, BackupError> {
    let mut tables = schema::tables(known)?;
    tables.retain(|table| table.name != NOT_CARRIED);
    let mut lines = Lines {
        writer,
        hash: Sha256::new(),
        rows: 0,
    };
    let (lines_in, tables_in) = (&mut lines, &tables);
    db.run_snapshot(move |tx| {
        Box::pin(async move {
            lines_in.write(&manifest(tx, known).await?)?;
            for table in tables_in {
                write_table(tx, table, lines_in).await?;
            }
            Ok::<(), BackupError>(())
        })
    })
    .await?;
    let (rows, sha256) = lines.finish()?;
    Ok(BackupReport {
        tables: tables.len(),
        rows,
        sha256,
    })
}

async fn manifest(tx: &mut Tx<'_>, known: &[Migration]) -> Result<Manifest, BackupError> {
    let mut applied = Vec::new();
    for row in tx
        .fetch_all("SELECT module, number, checksum FROM kernel_migration", params![])
        .await?
    {
        let number = u32::try_from(row.get::<i64>("number")?).map_err(|_| DbError::corrupt("number"))?;
        applied.push((
            row.get::<String>("module")?,
            number,
            row.get::<String>("checksum")?,
        ));
    }
    let migrations: Vec<_> = known
        .iter()
        .map(|migration| {
            (
                migration.module.to_owned(),
                migration.number,
                migration.checksum(),
            )
        })
        .collect();
    if applied.len() != migrations.len() || !migrations.iter().all(|migration| applied.contains(migration)) {
        let reason =
            "the database is not at the version of this program: migrate it first, or use its own program";
        return Err(BackupError::Refused(reason.into()));
    }
    let (created_at, engine) = (tx.db().clock().now(), tx.engine().name().to_owned());
    Ok(Manifest {
        format: FORMAT,
        created_at,
        engine,
        migrations,
    })
}

async fn write_table<W: Write + Send>(
    tx: &mut Tx<'_>,
    table: &Table,
    lines: &mut Lines<W>,
) -> Result<(), BackupError> {
    let columns = table.column_names();
    let sql = format!("SELECT {} FROM {}", columns.join(", "), table.name);
    let columns = columns.into_iter().map(str::to_owned).collect();
    lines.write(&Header {
        table: table.name.to_owned(),
        columns,
    })?;
    tx.for_each(&sql, params![], |row| {
        let values: Result<Vec<Value>, DbError> = table
            .columns
            .iter()
            .map(|(name, kind)| value_of(&row, name, *kind))
            .collect();
        lines.write(&values?)?;
        lines.rows += 1;
        Ok(())
    })
    .await
}

fn value_of(row: &Row, column: &str, kind: Kind) -> Result<Value, DbError> {
    Ok(match kind {
        Kind::Int => row.get::<Option<i64>>(column)?.map_or(Value::Null, Value::from),
        Kind::Text => row
            .get::<Option<String>>(column)?
            .map_or(Value::Null, Value::from),
        Kind::Bytes => row
            .get::<Option<Vec<u8>>>(column)?
            .map_or(Value::Null, |bytes| json!({ "b64": BASE64.encode(&bytes) })),
    })
}

/// Writes lines and hashes them.
struct Lines<W> {
    writer: W,
    hash: Sha256,
    rows: u64,
}

impl<W: Write> Lines<W> {
    fn write(&mut self, line: &impl Serialize) -> Result<(), BackupError> {
        let mut text = serde_json::to_vec(line).map_err(std::io::Error::from)?;
        text.push(b'\n');
        self.hash.update(&text);
        self.writer.write_all(&text)?;
        Ok(())
    }

    fn finish(mut self) -> Result<(u64, String), BackupError> {
        let sha256 = HEXLOWER.encode(&self.hash.finalize_reset());
        self.write(&End {
            end: true,
            rows: self.rows,
            sha256: sha256.clone(),
        })?;
        self.writer.flush()?;
        Ok((self.rows, sha256))
    }
}
