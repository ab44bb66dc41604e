//! The use cases of orders, one per file.

mod claim;
mod import;
mod intake;
mod refund;
mod report;
mod verify;
mod views;

pub use claim::ClaimEvidence;
pub use import::{ImportFormat, ImportOptions, ImportProgress, ImportSummary, RefusedRow};
pub(crate) use intake::Taker;
pub use intake::{Intake, MemberRef, PurchaseId, Receipt, RefundId};
pub use refund::RefundReceipt;
pub use report::{Report, TierShare};
pub use verify::OrdersVerification;
pub use views::{PurchaseLineView, PurchaseView, RefundView};
