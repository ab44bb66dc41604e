//! What loyalty tells others.

use huika_core::{MemberId, Timestamp};
use huika_db::outbox::Event;
use serde::{Deserialize, Serialize};

use crate::TierReason;

/// A member changed tier. For messages, journeys and statistics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierChanged {
    /// Who.
    pub member_id: MemberId,
    /// The code of the tier before.
    pub from_tier: String,
    /// The code of the tier after.
    pub to_tier: String,
    /// Why.
    pub reason: TierReason,
    /// The growth value that decided.
    pub growth: i64,
    /// When.
    pub changed_at: Timestamp,
}

impl Event for TierChanged {
    const TOPIC: &'static str = "loyalty.tier_changed";
    const VERSION: u32 = 1;
}
