//! Rules and decisions of loyalty: synchronous and pure.

mod activities;
mod award;
mod check;
mod earning;
mod expiry;
mod program;
mod progress;
mod qualification;
mod rules;
mod timeline;
mod trace;

pub use activities::{ActivityKind, ActivityRule, CheckInRule, MakeUp, StreakBonus, StreakRestart};
pub use award::{Award, LineFacts, PurchaseFacts, award};
pub use earning::{
    CapPeriod, Caps, Effect, Limited, Limits, Occasion, Promotion, PurchaseCondition, Unused, WHOLE_PROGRAM,
    limit,
};
pub use expiry::{ExpiryRule, Release};
pub use program::{ProgramVersion, tier_for};
pub(crate) use program::{tier_by, version_at};
pub(crate) use progress::progress;
pub use progress::{KeepTier, NextTier, Requirement, TierProgress};
pub use qualification::{
    Activity, Combine, DaySums, Downgrade, Metric, Metrics, Period, Qualification, RefundEffect, Thresholds,
    Transition, Validity,
};
pub use rules::{
    Benefits, BirthdayBenefit, BirthdayRule, LeapDay, LiftingOrder, Rules, ServiceLevel, Tier, default_rules,
};
pub use timeline::{Member, Span, TierReason, advance, lift, lower_by_refund};
pub(crate) use trace::{RefundTrace, UnlinkedRefundTrace};
pub use trace::{RefundedLine, TakenBack, Trace};
