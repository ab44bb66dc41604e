//! The arithmetic of value: synchronous and without a clock. Time, the source of ids and stored rows come in as
//! arguments.

mod chain;
mod decide;
mod replay;
mod settle;
mod state;

pub(crate) use chain::{PostingDigest, chain_next};
pub(crate) use decide::Deciding;
pub(crate) use replay::{Replay, ReplayedHold, ReplayedLot};
pub(crate) use settle::settle;
pub(crate) use state::{Account, Hold, HoldState, Lot, LotState, MemberState, Posting, Source, StoredAnswer};
pub use state::{EntryKind, EntryOutcome, Outcome};
