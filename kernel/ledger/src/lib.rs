//! The value engine. Points, growth and stored value are assets of one ledger.
//!
//! - A [`Command`] names a member, an idempotency key and one or more [`Operation`]s; it happens as a whole
//!   or not at all, and once.
//! - A [`Book`] is the working set of a transaction: it loads the accounts of many members in one fixed
//!   order, decides command after command in memory ([`Book::apply`], pure) and writes everything in a few
//!   multi-row statements ([`Book::save_in_tx`]). Each account row is written only where its sequence is
//!   still the one that was read, so correctness does not rest on row locks.
//! - [`Ledger::post`] puts the commands of concurrent callers into one such transaction;
//!   [`Ledger::post_in_tx`] works inside a caller's.
//! - Expiry, release and lapse are true at read time: an account knows the next moment at which time
//!   changes it, and is settled before it is read or spent after that moment.
//! - Entries are never edited. [`verify_in_tx`] recomputes every balance, lot, hold and hash chain from them.
//!
//! The ledger knows no rule of a programme: who earns what is decided in the modules.

mod book;
mod command;
mod domain;
mod error;
mod post;
mod read;
mod store;
mod verify;

pub use book::{Book, Need, lock_accounts_in_tx};
pub use command::{
    Asset, Availability, Command, CounterAccount, HoldId, InputHash, LapsedLots, LotId, NegativePolicy,
    Operation, PostingId,
};
pub use domain::{EntryKind, EntryOutcome, Outcome};
pub use error::LedgerError;
pub use post::Ledger;
pub use read::{
    Balance, LotPlace, LotView, PostingReference, PostingView, StatementLine, asset_totals, balance,
    balances, counter_totals, first_expiring, lots, posted_changes, posted_total, posting,
    posting_references, statement, stored_balances,
};
pub use verify::{VerifyFinding, VerifyReport, verify_in_tx};

/// The tables of the ledger.
pub fn migrations() -> Vec<huika_db::Migration> {
    vec![huika_db::Migration {
        module: "ledger",
        number: 1,
        name: "ledger",
        sql: include_str!("../migrations/0001_ledger.sql"),
    }]
}
