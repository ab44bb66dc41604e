//! Rules and decisions of loyalty: synchronous and pure.

mod award;
mod rules;
mod trace;

pub use award::{Award, award, tier_for};
pub use rules::{ExpiryRule, Rules, Tier, default_rules};
pub(crate) use trace::{RefundTrace, UnlinkedRefundTrace};
pub use trace::{RefundedLine, TakenBack, Trace};
