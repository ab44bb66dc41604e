//! The arithmetic of value: synchronous and pure. Time, ids and stored rows come in as arguments.

mod chain;
mod decide;
mod settle;
mod state;

pub(crate) use chain::{PostingDigest, chain_next};
pub(crate) use decide::Deciding;
pub(crate) use settle::settle;
pub(crate) use state::{
    Account, Entry, Hold, HoldState, Lot, LotState, MemberState, Posting, Source, StoredAnswer,
};
pub use state::{EntryKind, EntryOutcome, Outcome};
