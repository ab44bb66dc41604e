//! Three database engines behind one text of SQL.
//!
//! - [`Db`] holds the pools. [`Db::run_tx`] is the only way to a transaction: named, retried, measured.
//! - [`Executor`] reads, in a transaction or beside one. Writes exist on [`Tx`] alone.
//! - SQL is written once with `?` placeholders; [`dialect`] holds every difference between the engines.
//! - [`Migration`]s, the [`outbox`], the [`jobs`] queue, the [`audit`] log, [`approval`], [`Batcher`] and [`backup`] build on that.
//!
//! Nothing here knows a business word. Decisions about value never rely on `FOR UPDATE`, `SKIP LOCKED`,
//! advisory locks or isolation above READ COMMITTED (ADR 7, rules 6 to 10).

pub mod approval;
pub mod audit;
pub mod backup;
mod batch;
mod connect;
pub mod dialect;
mod error;
pub mod jobs;
mod lease;
mod migrate;
mod node;
pub mod outbox;
mod tx;
mod value;

pub use batch::{BatchOptions, Batcher, BatcherClosed, RunBatch};
pub use connect::{Db, DbOptions, Engine};
pub use error::DbError;
pub use migrate::{Migration, kernel_migrations, migrate, pending_migrations};
pub use node::NodeLease;
pub use tx::{Executor, Tx};
pub use value::{FromColumn, Param, Params, Row, ToParam};

/// A future that a transaction's body returns.
pub type BoxFuture<'a, T> = futures::future::BoxFuture<'a, T>;
