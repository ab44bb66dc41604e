//! Migrations: numbered files per module, applied once each, forwards only.
//!
//! MySQL and TiDB commit every DDL statement by itself, so a file may stop half way; there the migrator
//! goes through it again and takes "exists already" for done. A database that is newer than the program
//! is refused.

use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::mysql::MySqlDatabaseError;

use crate::{Db, DbError, Engine, Executor, dialect::render_ddl, params};

/// One file of one module.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// The module, which is the prefix of its tables.
    pub module: &'static str,
    /// Counts from 1 within the module, without gaps.
    pub number: u32,
    /// The name of the file without its number.
    pub name: &'static str,
    /// The SQL, with the portable type names of the dialect.
    pub sql: &'static str,
}

impl Migration {
    pub(crate) fn checksum(&self) -> String {
        data_encoding::HEXLOWER.encode(&Sha256::digest(self.sql))
    }
}

/// The kernel's own migrations. They stand before those of any module.
pub fn kernel_migrations() -> Vec<Migration> {
    let file = |number, name, sql| Migration {
        module: "kernel",
        number,
        name,
        sql,
    };
    vec![
        file(1, "kernel", include_str!("../migrations/0001_kernel.sql")),
        file(2, "approval", include_str!("../migrations/0002_approval.sql")),
        file(3, "audit_seal", include_str!("../migrations/0003_audit_seal.sql")),
    ]
}

const BOOK: &str = "CREATE TABLE IF NOT EXISTS kernel_migration (
  module {key(32)} NOT NULL,
  number BIGINT NOT NULL,
  name {key(64)} NOT NULL,
  checksum {key(64)} NOT NULL,
  applied_at BIGINT NOT NULL,
  CONSTRAINT pk_kernel_migration PRIMARY KEY (module, number)
) {clustered}";

/// "Exists already" and "is gone already": tables 1050, columns 1060, keys 1061, drops 1091.
const MYSQL_DONE_BEFORE: [u16; 4] = [1050, 1060, 1061, 1091];

/// Which migrations the database has not seen.
///
/// # Errors
/// [`DbError::Setup`] when the database is newer than this program or a published file was edited.
pub async fn pending_migrations(db: &Db, known: &[Migration]) -> Result<Vec<Migration>, DbError> {
    let applied = match (&mut &*db)
        .fetch_all(
            "SELECT module, number, checksum FROM kernel_migration ORDER BY module, number",
            params![],
        )
        .await
    {
        Ok(rows) => rows,
        // A fresh database has no table yet; one that cannot be reached fails again at the first statement.
        Err(DbError::Other(_)) => return Ok(known.to_vec()),
        Err(error) => return Err(error),
    };
    let mut pending = known.to_vec();
    for row in applied {
        let (module, number): (String, i64) = (row.get("module")?, row.get("number")?);
        let Some(at) = pending
            .iter()
            .position(|m| m.module == module && i64::from(m.number) == number)
        else {
            return Err(DbError::Setup(format!(
                "the database holds migration {module} {number}, which this program does not know: run a newer huika"
            )));
        };
        let migration = pending.remove(at);
        if row.get::<String>("checksum")? != migration.checksum() {
            return Err(DbError::Setup(format!(
                "migration {module} {number} was edited after it was applied: restore the file, add a new one"
            )));
        }
    }
    Ok(pending)
}

/// Applies what is pending and tells how much that was. Several nodes may start at once.
///
/// # Errors
/// As [`pending_migrations`]; otherwise when a statement fails.
pub async fn migrate(db: &Db, known: &[Migration]) -> Result<usize, DbError> {
    let engine = db.engine();
    // Two nodes that create the table at once collide in PostgreSQL's catalogue: the loser tries again.
    if (&mut &*db)
        .fetch_all("SELECT module FROM kernel_migration WHERE number = 0", params![])
        .await
        .is_err()
    {
        let book = || {
            db.run_tx_within(Duration::MAX, "db.migrate", |tx| {
                Box::pin(tx.execute_raw(render_ddl(engine, BOOK)))
            })
        };
        if let Err(DbError::Duplicate(_)) = book().await {
            book().await?;
        }
    }
    let pending = pending_migrations(db, known).await?;
    for migration in &pending {
        match apply(db, migration).await {
            // Another node applied it first.
            Err(DbError::Duplicate(_)) => {}
            other => other?,
        }
    }
    Ok(pending.len())
}

async fn apply(db: &Db, migration: &Migration) -> Result<(), DbError> {
    let engine = db.engine();
    let statements: Vec<String> = statements(migration.sql)
        .map(|sql| render_ddl(engine, sql))
        .collect();
    let now = db.clock().now();
    let statements = &statements;
    db.run_tx_within(Duration::MAX, "db.migrate", |tx| {
        Box::pin(async move {
            // On PostgreSQL and SQLite this row and the statements commit together, and the row keeps a second
            // node out; on MySQL the statements commit by themselves and are safe to repeat.
            let book = "INSERT INTO kernel_migration (module, number, name, checksum, applied_at) VALUES (?, ?, ?, ?, ?)";
            let row = || {
                params![migration.module, i64::from(migration.number), migration.name, migration.checksum(), now]
            };
            if engine != Engine::Mysql {
                tx.execute(book, row()).await?;
            }
            for statement in statements {
                match tx.execute_raw(statement.clone()).await {
                    Err(error) if done_before(&error) => {}
                    other => other?,
                }
            }
            if engine == Engine::Mysql {
                tx.execute(book, row()).await?;
            }
            Ok(())
        })
    })
    .await
}

fn done_before(error: &DbError) -> bool {
    let DbError::Other(sqlx::Error::Database(database)) = error else {
        return false;
    };
    database
        .try_downcast_ref::<MySqlDatabaseError>()
        .is_some_and(|error| MYSQL_DONE_BEFORE.contains(&error.number()))
}

/// The statements of a file, without comments.
pub(crate) fn statements(sql: &'static str) -> impl Iterator<Item = &'static str> {
    sql.split(";\n").map(str::trim).filter(|statement| {
        statement
            .lines()
            .any(|line| !line.trim().is_empty() && !line.trim_start().starts_with("--"))
    })
}
