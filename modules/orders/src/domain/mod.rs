//! Purchases and refunds: synchronous and pure.

mod claim;
mod document;
mod refund;

pub use claim::ClaimCode;
pub(crate) use document::{CLOCK_SKEW_MS, MAX_LINES};
pub use document::{
    Document, LineDocument, OrderNo, PurchaseDocument, PurchaseKind, RefundDocument, RefundedPart,
    UnlinkedRefundDocument,
};
pub use refund::LineRefund;
pub(crate) use refund::{RefundableLine, decide_lines};
