//! The use cases of loyalty, one per file.

mod evaluate;
mod points;
mod program;
mod settle;
mod tally;
mod verify;
mod views;

pub(crate) use points::Commanding;
pub use points::{PointsCommand, PointsOperation, PointsOutcome};
pub(crate) use program::ProgramCache;
pub(crate) use settle::Membership;
pub use settle::{PurchaseToSettle, RefundToSettle, Settled, Settling, TierChange, UnlinkedRefundToSettle};
pub use verify::{LoyaltyVerification, net_spend_of};
pub use views::{Standing, StatementView};
