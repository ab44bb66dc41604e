//! The use cases of orders, one per file.

mod import;
mod intake;
mod refund;
mod report;
mod verify;
mod views;

pub use import::{ImportFormat, ImportOptions, ImportProgress, ImportSummary, RefusedRow};
pub use intake::{Intake, MemberRef, OrdersOptions, PurchaseId, Receipt, RefundId};
pub(crate) use intake::{IntakeLanes, Taker, start_lanes};
pub use refund::RefundReceipt;
pub use report::{Report, TierShare};
pub use verify::OrdersVerification;
pub use views::{PurchaseLineView, PurchaseView, RefundView};
