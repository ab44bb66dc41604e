//! Reading a backup and restoring it.

use std::io::{self, BufRead, Read as _};

use data_encoding::{BASE64, HEXLOWER};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    BackupError, End, FORMAT, Header, Manifest, NOT_CARRIED, RestoreReport,
    schema::{self, Kind, Table},
};
use crate::{Db, Executor, Migration, Param, Params, dialect::Insert, migrate, params, pending_migrations};

/// Rows that are inserted in one transaction (ADR 7, rule 11), or fewer when they are long: a statement must
/// fit into the smallest packet that a server is usually set to.
const BATCH_ROWS: usize = 500;
const BATCH_BYTES: usize = 1 << 20;
/// The longest line: the longest value of a column, several times.
const MAX_LINE_BYTES: u64 = 128 << 20;

/// Restores a backup into an empty database, which is migrated as far as the backup was, filled, and migrated
/// on. `open` opens the file; it is called twice, since the file is verified before anything is written.
///
/// # Errors
/// [`BackupError::Damaged`] when the file is not whole; [`BackupError::Refused`] when the backup is newer than
/// this program or the database is not empty. When the database fails half way, what was restored stays there:
/// start again with an empty one.
pub async fn restore(
    db: &Db,
    known: &[Migration],
    mut open: impl FnMut() -> io::Result<Box<dyn BufRead + Send>> + Send,
) -> Result<RestoreReport, BackupError> {
    let mut backup = Backup::begin(open()?, known)?;
    while backup.next()?.is_some() {}
    refuse_unless_empty(db, known, &backup.migrations).await?;
    migrate(db, &backup.migrations).await?;
    refuse_rows(db, &backup.tables).await?;

    let mut backup = Backup::begin(open()?, known)?;
    let (mut table, mut batch, mut batch_bytes) = (0, Vec::new(), 0);
    loop {
        let item = backup.next()?;
        let full = batch.len() == BATCH_ROWS || batch_bytes >= BATCH_BYTES;
        if full || !matches!(item, Some(Item::Row(_))) {
            insert(db, &backup.tables, table, std::mem::take(&mut batch)).await?;
            batch_bytes = 0;
        }
        match item {
            Some(Item::Table(next)) => table = next,
            Some(Item::Row(row)) => {
                batch.push(row);
                batch_bytes += backup.lines.line.len();
            }
            None => break,
        }
    }
    migrate(db, known).await?;
    let Manifest {
        created_at, engine, ..
    } = backup.manifest;
    Ok(RestoreReport {
        created_at,
        engine,
        tables: backup.tables.len(),
        rows: backup.rows,
    })
}

async fn insert(db: &Db, tables: &[Table], table: usize, rows: Vec<Params>) -> Result<(), BackupError> {
    if rows.is_empty() {
        return Ok(());
    }
    let (name, columns, rows) = (tables[table].name, &tables[table].column_names(), &rows);
    db.run_tx("db.restore", |tx| {
        Box::pin(async move {
            let mut insert = Insert::into_columns(name, columns.clone());
            rows.iter().for_each(|row| insert.push(row.clone()));
            tx.insert(insert).await.map(drop)
        })
    })
    .await
    .map_err(BackupError::from)
}

/// A database without tables is empty, and so is one whose tables are.
async fn refuse_unless_empty(db: &Db, known: &[Migration], carried: &[Migration]) -> Result<(), BackupError> {
    let pending = pending_migrations(db, known).await?;
    let is_in = |list: &[Migration], migration: &Migration| {
        list.iter()
            .any(|other| other.module == migration.module && other.number == migration.number)
    };
    let applied: Vec<Migration> = known
        .iter()
        .copied()
        .filter(|migration| !is_in(&pending, migration))
        .collect();
    refuse_rows(db, &schema::tables(&applied)?).await?;
    if applied.iter().all(|migration| is_in(carried, migration)) {
        return Ok(());
    }
    let reason =
        "the backup is older than the tables of this database: restore it into a database without tables";
    Err(BackupError::Refused(reason.into()))
}

async fn refuse_rows(db: &Db, tables: &[Table]) -> Result<(), BackupError> {
    for table in tables {
        let sql = format!("SELECT {} FROM {} LIMIT 1", table.columns[0].0, table.name);
        if (&mut &*db).fetch_optional(&sql, params![]).await?.is_some() {
            let name = table.name;
            let reason =
                format!("the table {name} holds rows: a backup is restored into an empty database only");
            return Err(BackupError::Refused(reason));
        }
    }
    Ok(())
}

/// What stands between the manifest and the end.
enum Item {
    /// A table begins, by its place in [`Backup::tables`]; the one before it ends.
    Table(usize),
    /// A row of the table that began last.
    Row(Params),
}

/// A backup that is being read. Everything that can be checked is checked, line by line.
struct Backup {
    lines: Lines,
    manifest: Manifest,
    /// The migrations of this program that the backup was taken with.
    migrations: Vec<Migration>,
    tables: Vec<Table>,
    /// How many tables have begun. They come in the order of the migrations.
    begun: usize,
    rows: u64,
}

impl Backup {
    fn begin(reader: Box<dyn BufRead + Send>, known: &[Migration]) -> Result<Self, BackupError> {
        let mut lines = Lines {
            reader,
            hash: Sha256::new(),
            line: Vec::new(),
            number: 0,
        };
        lines.read()?;
        let manifest: Manifest = lines.parse()?;
        if manifest.format != FORMAT {
            let reason = format!(
                "the backup has format {}, this program reads {FORMAT}",
                manifest.format
            );
            return Err(BackupError::Refused(reason));
        }
        let migrations = migrations_of(&manifest, known)?;
        let mut tables = schema::tables(&migrations)?;
        tables.retain(|table| table.name != NOT_CARRIED);
        Ok(Self {
            lines,
            manifest,
            migrations,
            tables,
            begun: 0,
            rows: 0,
        })
    }

    /// The next table or row; nothing after a sound end.
    fn next(&mut self) -> Result<Option<Item>, BackupError> {
        self.lines.hash();
        self.lines.read()?;
        if self.lines.line.starts_with(b"[") {
            let row = self.row(self.lines.parse()?)?;
            self.rows += 1;
            return Ok(Some(Item::Row(row)));
        }
        if self.lines.line.starts_with(br#"{"end""#) {
            return self.check_end().map(|()| None);
        }
        let header: Header = self.lines.parse()?;
        let expected = self.tables.get(self.begun);
        if !expected.is_some_and(|table| table.name == header.table && table.column_names() == header.columns)
        {
            return Err(self
                .lines
                .damaged(format!("the table {} is not expected here", header.table)));
        }
        self.begun += 1;
        Ok(Some(Item::Table(self.begun - 1)))
    }

    fn row(&self, values: Vec<Value>) -> Result<Params, BackupError> {
        let Some(table) = self.begun.checked_sub(1) else {
            return Err(self.lines.damaged("a row stands before any table"));
        };
        let columns = &self.tables[table].columns;
        if columns.len() != values.len() {
            return Err(self
                .lines
                .damaged("the row has another number of values than its table has columns"));
        }
        let params = columns.iter().zip(values).map(|((name, kind), value)| {
            param_of(*kind, value).ok_or_else(|| self.lines.damaged(format!("{name} is of another type")))
        });
        params.collect()
    }

    fn check_end(&mut self) -> Result<(), BackupError> {
        let end: End = self.lines.parse()?;
        let sha256 = HEXLOWER.encode(&self.lines.hash.finalize_reset());
        if !end.end || self.begun != self.tables.len() || end.rows != self.rows || end.sha256 != sha256 {
            return Err(self
                .lines
                .damaged("the backup was altered: its end does not fit what stands before"));
        }
        if !self.lines.reader.fill_buf()?.is_empty() {
            return Err(self.lines.damaged("something follows the end"));
        }
        Ok(())
    }
}

/// The file line by line with the hash of what was read.
struct Lines {
    reader: Box<dyn BufRead + Send>,
    hash: Sha256,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    fn read(&mut self) -> Result<(), BackupError> {
        self.line.clear();
        self.number += 1;
        if self
            .reader
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut self.line)?
            == 0
        {
            return Err(self.damaged("the backup ends too early"));
        }
        Ok(())
    }

    /// Counts the line to what the end vouches for.
    fn hash(&mut self) {
        self.hash.update(&self.line);
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T, BackupError> {
        serde_json::from_slice(&self.line).map_err(|error| self.damaged(error.to_string()))
    }

    fn damaged(&self, reason: impl Into<String>) -> BackupError {
        BackupError::Damaged {
            line: self.number,
            reason: reason.into(),
        }
    }
}

/// The program's own files of the backup's migrations, in the program's order.
fn migrations_of(manifest: &Manifest, known: &[Migration]) -> Result<Vec<Migration>, BackupError> {
    let carried = |migration: &&Migration| {
        manifest.migrations.iter().any(|(module, number, checksum)| {
            *module == migration.module && *number == migration.number && *checksum == migration.checksum()
        })
    };
    let found: Vec<Migration> = known.iter().filter(carried).copied().collect();
    if found.len() == manifest.migrations.len() {
        return Ok(found);
    }
    let reason = "the backup was taken by a newer or different huika: restore it with that one";
    Err(BackupError::Refused(reason.into()))
}

fn param_of(kind: Kind, value: Value) -> Option<Param> {
    Some(match (kind, value) {
        (Kind::Int, Value::Null) => Param::Int(None),
        (Kind::Text, Value::Null) => Param::Text(None),
        (Kind::Bytes, Value::Null) => Param::Bytes(None),
        (Kind::Int, Value::Number(number)) => Param::Int(Some(number.as_i64()?)),
        (Kind::Text, Value::String(text)) => Param::Text(Some(text)),
        (Kind::Bytes, Value::Object(object)) if object.len() == 1 => {
            Param::Bytes(Some(BASE64.decode(object.get("b64")?.as_str()?.as_bytes()).ok()?))
        }
        _ => return None,
    })
}
