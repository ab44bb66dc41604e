//! What behaviour tells others.

use huika_core::{MemberId, Timestamp};
use huika_db::outbox::Event;
use serde::{Deserialize, Serialize};

/// A member did something that the programme rewards. Told once for each event that is stored, and only for names
/// that earn: all the others stay in the tables of this module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BehaviorRecorded {
    /// Who.
    pub member_id: MemberId,
    /// The sender's id of the event, hashed: who earns for it uses it as the key.
    pub event_key: i64,
    /// What.
    pub name: String,
    /// Where.
    pub channel: String,
    /// When.
    pub occurred_at: Timestamp,
}

impl Event for BehaviorRecorded {
    const TOPIC: &'static str = "behavior.recorded";
    const VERSION: u32 = 1;
}
