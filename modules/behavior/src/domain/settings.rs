//! How much of behaviour is kept, and for how long.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{EventName, Subject};
use crate::BehaviorError;

/// Basis points of a whole.
pub(super) const WHOLE: u16 = 10_000;
const MOST_DAYS: u16 = 400;
const MOST_NAMES: usize = 200;

/// What becomes of an event of a member who did not agree to profiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithoutConsent {
    /// It is counted and stored, as nobody's.
    Anonymise,
    /// It is neither counted nor stored.
    Drop,
}

/// The decisions of the shop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How many days events are kept. Counts stay.
    pub retention_days: u16,
    /// Members without consent.
    pub without_consent: WithoutConsent,
    /// Of these names, how many of ten thousand visitors are kept; of all others, everybody.
    pub sampling: BTreeMap<String, u16>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retention_days: 90,
            without_consent: WithoutConsent::Anonymise,
            sampling: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Refuses what is out of range.
    ///
    /// # Errors
    /// [`BehaviorError::SettingsInvalid`], [`BehaviorError::NameInvalid`].
    pub fn validate(&self) -> Result<(), BehaviorError> {
        let invalid = |en: String, zh: String| Err(BehaviorError::SettingsInvalid { en, zh });
        if !(1..=MOST_DAYS).contains(&self.retention_days) {
            return invalid(
                format!("events are kept for 1 to {MOST_DAYS} days."),
                format!("行为事件保留期应为 1 至 {MOST_DAYS} 天。"),
            );
        }
        if self.sampling.len() > MOST_NAMES {
            return invalid(
                format!("at most {MOST_NAMES} names can be sampled."),
                format!("最多为 {MOST_NAMES} 个事件名设置采样。"),
            );
        }
        for (name, rate) in &self.sampling {
            name.parse::<EventName>()?;
            if !(1..=WHOLE).contains(rate) {
                return invalid(
                    format!("the rate of {name} lies between 1 and {WHOLE} basis points."),
                    format!("{name} 的采样率应为 1 至 {WHOLE} 个基点。"),
                );
            }
        }
        Ok(())
    }

    /// How many of ten thousand visitors are kept for a name.
    pub fn sample_bp(&self, name: &EventName) -> u16 {
        self.sampling.get(name.as_str()).copied().unwrap_or(WHOLE)
    }
}

/// Whether this person's events of this name are kept at that rate. Always the same answer: what one visitor does is
/// kept as a whole or not at all, and who is kept at a low rate is kept at every higher one.
pub fn is_sampled(subject: &Subject, name: &EventName, sample_bp: u16) -> bool {
    if sample_bp >= WHOLE {
        return true;
    }
    let who = match subject {
        Subject::Member(member_id) => member_id.to_string(),
        Subject::Visitor(visitor) => visitor.clone(),
    };
    let hash = Sha256::new()
        .chain_update(b"huika.behavior.sample")
        .chain_update([0])
        .chain_update(name.as_str())
        .chain_update([0])
        .chain_update(who)
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first) % u64::from(WHOLE) < u64::from(sample_bp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sampled_share_is_the_rate_and_grows_with_it() {
        let name: EventName = "page_view".parse().unwrap();
        let kept = |rate| -> Vec<u32> {
            (0..20_000_u32)
                .filter(|number| is_sampled(&Subject::Visitor(format!("v-{number}")), &name, rate))
                .collect()
        };
        let (few, more) = (kept(1_000), kept(3_000));
        assert!((1_800..2_200).contains(&few.len()), "{}", few.len());
        assert!((5_700..6_300).contains(&more.len()), "{}", more.len());
        assert!(few.iter().all(|visitor| more.contains(visitor)));
        assert_eq!(few, kept(1_000));
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        fn set(settings: &mut Settings, name: &str, rate: u16) {
            settings.sampling.insert(name.to_owned(), rate);
        }
        let with = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.validate().is_ok()
        };
        assert!(with(|_| ()));
        assert!(!with(|settings| settings.retention_days = 0));
        assert!(!with(|settings| settings.retention_days = 401));
        assert!(!with(|settings| set(settings, "click", 0)));
        assert!(!with(|settings| set(settings, "click", 10_001)));
        assert!(!with(|settings| set(settings, "Click me", 10)));
    }
}
