//! What operators see: how often things were done, and what one member did last.

use huika_core::{Actor, BusinessDate, MemberId, Timestamp};

use crate::{Behavior, BehaviorError, EventName, READ, store};

/// Most days of one question.
pub(crate) const MOST_DAYS: i32 = 92;
/// Most rows of one answer.
pub(crate) const MOST_ROWS: i64 = 5_000;

/// How often something was done on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountView {
    /// The business date.
    pub day: BusinessDate,
    /// What.
    pub name: String,
    /// Where.
    pub channel: String,
    /// How many events were stored.
    pub stored: i64,
    /// How many there were, scaled up by the rates at which they were sampled.
    pub estimated: i64,
}

/// An event of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventView {
    /// When.
    pub occurred_at: Timestamp,
    /// The sender's id of the event, hashed.
    pub event_key: i64,
    /// What.
    pub name: String,
    /// Where.
    pub channel: String,
    /// On which page.
    pub page: Option<String>,
    /// On which part of it.
    pub element: Option<String>,
    /// How long.
    pub duration_ms: Option<i64>,
    /// What else, as JSON.
    pub properties: Option<String>,
}

impl Behavior {
    /// How often things were done, by day, name and channel.
    ///
    /// # Errors
    /// [`BehaviorError::RangeInvalid`] for too many days, or too many rows.
    pub async fn counts(
        &self,
        actor: &Actor,
        (from, until): (BusinessDate, BusinessDate),
        name: Option<&EventName>,
    ) -> Result<Vec<CountView>, BehaviorError> {
        actor.authorize(&READ)?;
        let invalid = || BehaviorError::RangeInvalid {
            days: i64::from(MOST_DAYS),
        };
        if until < from || from.plus_days(MOST_DAYS - 1) < until {
            return Err(invalid());
        }
        let name = name.map(EventName::as_str);
        let counts = store::count_list(&mut &self.db, (from, until), name, MOST_ROWS + 1).await?;
        if counts.len() as i64 > MOST_ROWS {
            return Err(invalid());
        }
        Ok(counts)
    }

    /// What a member did, the latest first.
    ///
    /// # Errors
    /// When the actor may not.
    pub async fn events_of(
        &self,
        actor: &Actor,
        member_id: MemberId,
        before: Option<(i64, i64)>,
        limit: i64,
    ) -> Result<Vec<EventView>, BehaviorError> {
        actor.authorize(&READ)?;
        Ok(store::event_list(&mut &self.db, member_id, before, limit).await?)
    }
}
