//! What can go wrong with a database, and what of it is worth another try.

use huika_core::{Problem, Refusal};

/// A failure of the database. Engine texts never leave the logs.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// A unique constraint was violated: somebody else was first.
    #[error("a row with this key exists already")]
    Duplicate(#[source] sqlx::Error),
    /// Transactions collided, and trying again did not help in time.
    #[error("the database is busy")]
    Contended(#[source] sqlx::Error),
    /// A guarded update met another state than the one that was read; the transaction runs again.
    #[error("{0} changed between read and write")]
    Stale(&'static str),
    /// The database cannot be reached.
    #[error("the database cannot be reached")]
    Unavailable(#[source] sqlx::Error),
    /// The database, or the turn at it, took too long. What was asked for was done once or not at all.
    #[error("{0}")]
    Busy(&'static str),
    /// The body of a transaction panicked, which rolled it back.
    #[error("the transaction panicked")]
    Panicked,
    /// A row holds what the code never writes.
    #[error("column {column} holds an impossible value")]
    Corrupt {
        /// The column.
        column: String,
        /// What the driver says.
        #[source]
        source: Option<sqlx::Error>,
    },
    /// The address, the schema version or another setting is wrong.
    #[error("{0}")]
    Setup(String),
    /// Any other failure: a bug, or a broken database.
    #[error("the database refused a statement")]
    Other(#[source] sqlx::Error),
}

impl DbError {
    /// Whether the same transaction may succeed when it runs again.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Contended(_) | Self::Stale(_)) || self.is_outage()
    }

    /// Whether the database, rather than what was asked of it, is the reason: asking for less does not help.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Busy(_))
    }

    /// Whether it is worth running the transaction again at once. Not after waiting for a connection in vain:
    /// then the caller has waited long enough, and another round would only lengthen the queue.
    pub(crate) fn passes_by_itself(&self) -> bool {
        let no_connection = matches!(
            self,
            Self::Busy(_) | Self::Unavailable(sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed)
        );
        self.is_retryable() && !no_connection
    }

    /// A column of ours holds what we never write.
    pub fn corrupt(column: impl Into<String>) -> Self {
        Self::Corrupt {
            column: column.into(),
            source: None,
        }
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::Database(database) => {
                if database.is_unique_violation() {
                    return Self::Duplicate(error);
                }
                let sqlstate = database.code().map(|code| code.into_owned()).unwrap_or_default();
                // MySQL's own numbers tell more than its states, except that a state of class 08 is a connection.
                match database.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
                    Some(mysql) if !is_connection(&sqlstate) => mysql.number().to_string(),
                    _ => sqlstate,
                }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => return Self::Unavailable(error),
            sqlx::Error::ColumnDecode { index, .. } => {
                return Self::Corrupt {
                    column: index.clone(),
                    source: Some(error),
                };
            }
            sqlx::Error::ColumnNotFound(column) => {
                return Self::Corrupt {
                    column: column.clone(),
                    source: Some(error),
                };
            }
            _ => return Self::Other(error),
        };
        if CONTENTION.contains(&code.as_str()) {
            Self::Contended(error)
        } else if UNAVAILABLE.contains(&code.as_str()) || is_connection(&code) {
            Self::Unavailable(error)
        } else {
            Self::Other(error)
        }
    }
}

/// Codes of collisions (ADR 7, rule 15): PostgreSQL, MySQL and MariaDB, TiDB, SQLite.
const CONTENTION: [&str; 20] = [
    "40001", "40P01", "55P03", // serialization failure, deadlock, lock not available
    "1205", "1213", "1020", "1180", // lock wait, deadlock, record changed, Galera certification
    "9007", "8002", "8022", "8028", "9001", "9002", "9003", "9004", "9005", // TiDB
    "5", "6", "261", "517", // busy, locked, busy recovery, busy snapshot
];

/// Codes of a server that went away, has no room or only reads: shutdown, fail-over, lost or killed connection.
const UNAVAILABLE: [&str; 18] = [
    "57P01", "57P02", "57P03", "57P05", "25006", "25P03", "53300", // PostgreSQL
    "1047", "1053", "1203", "1290", "1317", "1792", "1927", "2006", "2013", "4031", // MySQL, MariaDB
    "262",  // SQLite
];

/// SQLSTATE class 08: connection exception.
fn is_connection(sqlstate: &str) -> bool {
    sqlstate.len() == 5 && sqlstate.starts_with("08")
}

impl Refusal for DbError {
    fn problem(&self) -> Problem {
        let kind = if self.is_retryable() { &KINDS[0] } else { &KINDS[1] };
        let mut problem = Problem::new(kind);
        problem.retry_after_seconds = self.is_retryable().then_some(1);
        problem
    }
}

/// The two problems that a failing database can be to the outside.
pub(crate) const KINDS: [huika_core::ProblemKind; 2] = [
    huika_core::ProblemKind {
        code: "system.busy",
        status: 503,
        en: "The system is busy. Nothing was changed or it was changed once: send the same request again with the same key.",
        zh: "系统繁忙。操作未生效或仅生效一次，请使用相同的幂等键重试。",
    },
    huika_core::ProblemKind {
        code: "system.internal",
        status: 500,
        en: "Something failed on our side and was logged. Try again later, and quote the trace id if it stays.",
        zh: "系统内部错误，已记录。请稍后重试；如仍失败，请提供跟踪编号。",
    },
];

impl DbError {
    /// Every kind of problem that this crate adds.
    pub const KINDS: &'static [huika_core::ProblemKind] = &KINDS;
}

/// Finds the database error inside a module's error.
pub(crate) fn find_db_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a DbError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<DbError>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
