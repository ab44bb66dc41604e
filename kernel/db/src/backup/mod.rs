//! A logical backup that every engine writes and every engine reads.
//!
//! - Lines of JSON: a manifest with the applied migrations, then for each table a header with its columns and
//!   its rows as arrays, then an end with the number of rows and the SHA-256 of all earlier lines. Numbers are
//!   64-bit integers, bytes are `{"b64": …}`. The caller compresses and encrypts.
//! - A backup is one snapshot of the whole database, taken while the system works.
//! - [`restore`] reads the file to its end before it writes anything: a truncated or damaged file changes
//!   nothing. The hash shows damage, not forgery: who can write the file can also write its hash.
//! - Leases of node numbers and the book of migrations are not carried.

mod read;
mod schema;
mod write;

use std::io;

use huika_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::DbError;

pub use read::restore;
pub use write::backup;

/// Raised when an older program could not read the file.
const FORMAT: u32 = 1;
/// Belongs to the processes that run, not to the data.
const NOT_CARRIED: &str = "kernel_node";

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupReport {
    /// Tables, the empty ones included.
    pub tables: usize,
    /// Rows of all tables.
    pub rows: u64,
    /// The hash in the last line, in hexadecimal.
    pub sha256: String,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreReport {
    /// When the backup was taken.
    pub created_at: Timestamp,
    /// The engine that it was taken on.
    pub engine: String,
    /// Tables, the empty ones included.
    pub tables: usize,
    /// Rows of all tables.
    pub rows: u64,
}

/// Why a backup or a restore did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database failed.
    #[error("the database failed")]
    Db(#[from] DbError),
    /// The file could not be read or written.
    #[error("the backup file cannot be read or written")]
    Io(#[from] io::Error),
    /// The file is not a whole, unaltered backup. Nothing was restored.
    #[error("line {line} of the backup: {reason}")]
    Damaged {
        /// Where, counted from 1.
        line: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The file is sound, but this database or program cannot take it. Nothing was restored.
    #[error("{0}")]
    Refused(String),
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    created_at: Timestamp,
    engine: String,
    /// Module, number and checksum of every applied migration.
    migrations: Vec<(String, u32, String)>,
}

/// Stands before the rows of a table.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    table: String,
    columns: Vec<String>,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    end: bool,
    rows: u64,
    sha256: String,
}
