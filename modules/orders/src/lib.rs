//! Orders: purchases and refunds as tills, shops and files report them, settled into points, growth and tier.
//!
//! - Intake is idempotent by the order number of its source: the same number with the same content is answered
//!   again, with other content it is refused.
//! - A purchase, its lines, its posting and a change of tier are one transaction; concurrent purchases share it.
//! - A refund names lines or an amount. What it takes back is pro rata by line, and the last refund of a line
//!   takes the remainder, so that any sequence of partial refunds ends at zero.
//! - [`Orders::verify`] proves that every document has exactly one posting and that growth equals net spend.

use huika_core::{IdGenerator, Permission};
use huika_db::{BatchOptions, Batcher, Db, Migration};
use huika_loyalty::Loyalty;
use huika_members::Members;

mod app;
mod domain;
mod error;
pub mod http;
mod store;

pub use app::{
    ClaimEvidence, ImportFormat, ImportOptions, ImportProgress, ImportSummary, Intake, MemberRef,
    OrdersVerification, PurchaseId, PurchaseLineView, PurchaseView, Receipt, RefundId, RefundReceipt,
    RefundView, RefusedRow, Report, TierShare,
};
pub use domain::{
    ClaimCode, Document, LineDocument, LineRefund, OrderNo, PurchaseDocument, PurchaseKind, RefundDocument,
    RefundedPart, UnlinkedRefundDocument,
};
pub use error::OrdersError;

/// See purchases and refunds.
pub const READ: Permission = Permission {
    name: "orders.read",
    en: "See purchases and refunds",
    zh: "查看消费与退款",
};
/// Record purchases.
pub const RECORD: Permission = Permission {
    name: "orders.record",
    en: "Record purchases",
    zh: "录入消费",
};
/// Record refunds.
pub const REFUND: Permission = Permission {
    name: "orders.refund",
    en: "Record refunds",
    zh: "录入退款",
};
/// Claim anonymous purchases for members.
pub const CLAIM: Permission = Permission {
    name: "orders.claim",
    en: "Claim an anonymous purchase for a member by its receipt",
    zh: "凭小票为会员补登匿名消费",
};
/// All permissions of this module.
pub const PERMISSIONS: &[Permission] = &[READ, RECORD, REFUND, CLAIM];

/// How long after it was paid an anonymous purchase can be claimed, unless the shop decides otherwise.
const CLAIM_DAYS: i64 = 30;

/// The orders service. Clones share its lanes.
#[derive(Clone)]
pub struct Orders {
    pub(crate) db: Db,
    pub(crate) ids: IdGenerator,
    pub(crate) loyalty: Loyalty,
    pub(crate) members: Members,
    pub(crate) lanes: Batcher<app::Taker>,
    pub(crate) claim_days: i64,
}

impl Orders {
    /// Starts the service and its lanes.
    pub fn start(db: Db, ids: IdGenerator, loyalty: Loyalty, options: &BatchOptions) -> Self {
        let members = loyalty.members().clone();
        let taker = app::Taker {
            ids: ids.clone(),
            loyalty: loyalty.clone(),
            members: members.clone(),
        };
        let lanes = Batcher::start(&db, taker, options);
        Self {
            db,
            ids,
            loyalty,
            members,
            lanes,
            claim_days: CLAIM_DAYS,
        }
    }

    /// Lets anonymous purchases be claimed for so many days.
    pub fn claimed_within(self, days: u16) -> Self {
        Self {
            claim_days: days.into(),
            ..self
        }
    }

    /// The moment at which a request counts when it names none.
    pub(crate) fn now(&self) -> huika_core::Timestamp {
        self.db.clock().now()
    }

    pub(crate) fn taker(&self) -> app::Taker {
        app::Taker {
            ids: self.ids.clone(),
            loyalty: self.loyalty.clone(),
            members: self.members.clone(),
        }
    }
}

/// The tables of this module.
pub fn migrations() -> Vec<Migration> {
    let of = |number, name, sql| Migration {
        module: "orders",
        number,
        name,
        sql,
    };
    vec![
        of(1, "orders", include_str!("../migrations/0001_orders.sql")),
        of(2, "growth", include_str!("../migrations/0002_growth.sql")),
        of(3, "claim", include_str!("../migrations/0003_claim.sql")),
        of(4, "claim_code", include_str!("../migrations/0004_claim_code.sql")),
    ]
}
