//! One event: what it is, when it counts, and under whom it is filed.

use std::{fmt, str::FromStr};

use huika_core::{MemberId, Timestamp};
use huika_members::Code;
use sha2::{Digest as _, Sha256};

use super::{Properties, Settings, WithoutConsent, is_sampled, settings::WHOLE};
use crate::BehaviorError;

/// Longest id that a sender gives an event.
pub(crate) const EVENT_ID_CHARS: usize = 64;
/// Longest name of an anonymous visitor.
pub(crate) const VISITOR_CHARS: usize = 64;
/// Longest dwell: a day.
pub(crate) const MOST_DURATION_MS: i64 = 86_400_000;
/// Clocks of devices may be ahead of ours by so much.
const AHEAD_MINUTES: i64 = 5;
/// Events come late from devices that were without a network.
const LATE_DAYS: i64 = 7;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// What happened: `page_view`, `click`, `dwell`, or a name of the shop's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventName(String);

impl EventName {
    /// The longest name; the columns that store names have this width.
    pub const MAX_CHARS: usize = 48;

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventName {
    type Err = BehaviorError;

    fn from_str(text: &str) -> Result<Self, BehaviorError> {
        let fits = (1..=Self::MAX_CHARS).contains(&text.len());
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        if fits && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BehaviorError::NameInvalid)
        }
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who did it.
#[derive(Clone, PartialEq, Eq)]
pub enum Subject {
    /// A member.
    Member(MemberId),
    /// Somebody whom only the device knows, by a name that the device made.
    Visitor(String),
}

impl fmt::Debug for Subject {
    /// Without the name of a visitor, which leads back to a device.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(member_id) => write!(f, "{member_id}"),
            Self::Visitor(_) => f.write_str("visitor"),
        }
    }
}

/// An event as a page or an app reports it.
#[derive(Debug, Clone)]
pub struct Event {
    /// The sender's own, the same when the event is sent again.
    pub event_id: String,
    /// What.
    pub name: EventName,
    /// Who.
    pub subject: Subject,
    /// When.
    pub occurred_at: Timestamp,
    /// Where.
    pub channel: Code,
    /// On which page, without query.
    pub page: Option<String>,
    /// On which part of it.
    pub element: Option<String>,
    /// How long.
    pub duration_ms: Option<i64>,
    /// What else.
    pub properties: Properties,
}

impl Event {
    /// Refuses times that cannot be right or come too late to be counted.
    ///
    /// # Errors
    /// [`BehaviorError::TimeInFuture`], [`BehaviorError::TooLate`].
    pub fn check_time(&self, now: Timestamp) -> Result<(), BehaviorError> {
        let age = now.millis_since(self.occurred_at);
        if age < -AHEAD_MINUTES * MINUTE_MS {
            return Err(BehaviorError::TimeInFuture {
                minutes: AHEAD_MINUTES,
            });
        }
        if age > LATE_DAYS * DAY_MS {
            return Err(BehaviorError::TooLate { days: LATE_DAYS });
        }
        Ok(())
    }

    /// The id of the event as it is stored.
    pub fn key(&self) -> i64 {
        number_of("event", &self.event_id)
    }

    /// Decides in which lane and near which rows the event goes.
    pub(crate) fn place(&self) -> i64 {
        match &self.subject {
            Subject::Member(member_id) => member_id.as_i64(),
            Subject::Visitor(visitor) => number_of("visitor", visitor),
        }
    }
}

/// Under whom an event is stored, and for how many it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Filed {
    pub(crate) subject_id: i64,
    /// 1 member, 2 visitor, 3 nobody.
    pub(crate) subject_kind: i64,
    pub(crate) sample_bp: u16,
}

/// Files an event, or says that it is not to be stored. Names that earn are never sampled: nobody's reward may hang
/// on chance.
pub(crate) fn file(event: &Event, settings: &Settings, consented: bool, earns: bool) -> Option<Filed> {
    let sample_bp = if earns {
        WHOLE
    } else {
        settings.sample_bp(&event.name)
    };
    if !is_sampled(&event.subject, &event.name, sample_bp) {
        return None;
    }
    let (subject_id, subject_kind) = match &event.subject {
        Subject::Member(member_id) if consented => (member_id.as_i64(), 1),
        // By the event alone: neither the member nor the member's other events can be found from it.
        Subject::Member(_) => match settings.without_consent {
            WithoutConsent::Anonymise => (number_of("nobody", &event.event_id), 3),
            WithoutConsent::Drop => return None,
        },
        Subject::Visitor(_) => (event.place(), 2),
    };
    Some(Filed {
        subject_id,
        subject_kind,
        sample_bp,
    })
}

/// A positive number that is scattered like the id of a member.
fn number_of(purpose: &str, text: &str) -> i64 {
    let hash = Sha256::new()
        .chain_update(b"huika.behavior.")
        .chain_update(purpose)
        .chain_update([0])
        .chain_update(text)
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    i64::from_be_bytes(first) & i64::MAX
}
