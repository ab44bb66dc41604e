//! The published versions of the rules, and which of them holds when.

use huika_core::Timestamp;

use super::{Metrics, Rules, Tier};
use crate::LoyaltyError;

/// A published version of the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramVersion {
    /// Counts from 1.
    pub version: i64,
    /// What holds.
    pub rules: Rules,
    /// From when on.
    pub effective_from: Timestamp,
    /// When it was published.
    pub published_at: Timestamp,
    /// By whom.
    pub published_by: String,
    /// Whether it was withdrawn before it held.
    pub withdrawn: bool,
}

/// The version that holds at a moment; the first for everything before it.
pub(crate) fn version_at(
    versions: &[ProgramVersion],
    moment: Timestamp,
) -> Result<&ProgramVersion, LoyaltyError> {
    versions
        .iter()
        .rev()
        .find(|version| !version.withdrawn && version.effective_from <= moment)
        .or(versions.first())
        .ok_or(LoyaltyError::NoProgram)
}

/// The tier that a stored code means by some rules. Where a version dropped it, it is the one that its thresholds
/// reach: nobody falls to the bottom because a tier was renamed or merged with another.
pub(crate) fn tier_by<'a>(versions: &[ProgramVersion], rules: &'a Rules, code: &str) -> &'a Tier {
    rules.tier(code).unwrap_or_else(|| {
        let dropped = versions.iter().rev().find_map(|version| version.rules.tier(code));
        let metrics = dropped.map_or(Metrics::default(), |tier| Metrics {
            spend_minor: tier.thresholds.spend_minor.unwrap_or(0),
            orders: tier.thresholds.orders.unwrap_or(0),
            growth: tier.thresholds.growth.unwrap_or(0),
        });
        tier_for(rules, &metrics)
    })
}

/// The tier that metrics reach: the highest whose thresholds they satisfy.
pub fn tier_for<'a>(rules: &'a Rules, metrics: &Metrics) -> &'a Tier {
    let combine = rules.qualification.combine;
    rules
        .tiers
        .iter()
        .rev()
        .find(|tier| tier.thresholds.met_by(metrics, combine))
        .unwrap_or(&rules.tiers[0])
}
