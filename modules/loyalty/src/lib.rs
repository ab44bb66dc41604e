//! Loyalty: the programme, its tiers and points. What a purchase earns, what a refund takes back, and why.
//!
//! Rules are data with versions and the date from which they hold ([`Rules`]). Decisions are pure functions
//! in `domain/`; every one leaves a [`Trace`] from which its result can be computed again. Points and growth
//! are assets of the ledger and are posted together: see [`Settling`], which decides purchases and refunds
//! inside the caller's transaction.

use std::sync::{Arc, Mutex};

use huika_core::{IdGenerator, Permission};
use huika_db::{BatchOptions, Batcher, Db, Migration};
use huika_ledger::Ledger;
use huika_members::Members;

mod app;
mod domain;
mod error;
mod events;
pub mod http;
mod jobs;
mod part;
mod store;
mod wire;

pub use app::{
    LoyaltyVerification, PointsCommand, PointsOperation, PointsOutcome, PurchaseToSettle, RefundToSettle,
    Settled, Settling, Standing, StatementView, TierChange, UnlinkedRefundToSettle, net_spend_of,
};
pub use domain::*;
pub use error::LoyaltyError;
pub use events::TierChanged;
pub use jobs::{EVALUATE_QUEUE, EvaluateTiers, SETTLE_QUEUE, SettleDue, schedules};

/// See balances, statements, tiers and the programme.
pub const READ: Permission = Permission {
    name: "loyalty.read",
    en: "See balances, entries, tiers and the programme",
    zh: "查看积分、等级与方案",
};
/// Grant points by hand or by a connected system.
pub const EARN: Permission = Permission {
    name: "loyalty.earn",
    en: "Grant points",
    zh: "发放积分",
};
/// Spend, hold and return points.
pub const REDEEM: Permission = Permission {
    name: "loyalty.redeem",
    en: "Spend, hold and return points",
    zh: "使用、预占与退回积分",
};
/// Publish rules.
pub const PUBLISH: Permission = Permission {
    name: "loyalty.publish",
    en: "Publish a version of the programme",
    zh: "发布会员方案",
};
/// All permissions of this module.
pub const PERMISSIONS: &[Permission] = &[READ, EARN, REDEEM, PUBLISH];

/// The loyalty service. Clones share its caches and lanes.
#[derive(Clone)]
pub struct Loyalty {
    pub(crate) db: Db,
    pub(crate) ids: IdGenerator,
    pub(crate) ledger: Ledger,
    pub(crate) members: Members,
    pub(crate) programs: Arc<Mutex<app::ProgramCache>>,
    pub(crate) commands: Batcher<app::Commanding>,
}

impl Loyalty {
    /// Starts the service and its lanes.
    pub fn start(db: Db, ids: IdGenerator, ledger: Ledger, members: Members, options: &BatchOptions) -> Self {
        let commanding = app::Commanding {
            ids: ids.clone(),
            ledger: ledger.clone(),
            members: members.clone(),
        };
        let commands = Batcher::start(&db, commanding, options);
        Self {
            db,
            ids,
            ledger,
            members,
            programs: Arc::default(),
            commands,
        }
    }

    /// The ledger that this service posts to.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The members that this service serves.
    pub fn members(&self) -> &Members {
        &self.members
    }
}

/// The tables of this module.
pub fn migrations() -> Vec<Migration> {
    let of = |number, name, sql| Migration {
        module: "loyalty",
        number,
        name,
        sql,
    };
    vec![
        of(1, "loyalty", include_str!("../migrations/0001_loyalty.sql")),
        of(2, "activity", include_str!("../migrations/0002_activity.sql")),
        of(3, "limits", include_str!("../migrations/0003_limits.sql")),
    ]
}
