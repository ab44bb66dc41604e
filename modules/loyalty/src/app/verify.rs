//! Proving that each member's tier is what its changes brought about.

use std::collections::HashMap;

use huika_core::MemberId;
use huika_db::Tx;
use huika_ledger::VerifyReport;
use serde::Serialize;

use super::{Membership, TierChange};
use crate::{
    Activity, Loyalty, LoyaltyError, RefundEffect,
    store::{self, Reading},
};

/// Members per page.
const PAGE: i64 = 200;

/// What was checked of loyalty.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LoyaltyVerification {
    /// Members who left the first tier.
    pub memberships: u64,
    /// Changes of tier.
    pub tier_changes: u64,
}

impl Loyalty {
    /// Checks within a snapshot that the changes of each member's tier follow from one another and end in the tier
    /// that is stored. Adds what does not to `report`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn verify_in_tx(
        tx: &mut Tx<'_>,
        report: &mut VerifyReport,
    ) -> Result<LoyaltyVerification, LoyaltyError> {
        let mut checked = LoyaltyVerification::default();
        let mut after = i64::MIN;
        loop {
            let page = store::tiered_page(tx, after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(checked);
            };
            after = last.as_i64();
            let memberships = store::membership_load(tx, &page, Reading::Seen).await?;
            let mut changes: HashMap<MemberId, Vec<TierChange>> = HashMap::new();
            for change in store::tier_changes_of(tx, &page).await? {
                checked.tier_changes += 1;
                changes.entry(change.member_id).or_default().push(change);
            }
            for member_id in page {
                let membership = memberships.get(&member_id);
                checked.memberships += u64::from(membership.is_some());
                let changes = changes.remove(&member_id).unwrap_or_default();
                check(member_id, membership, &changes, report);
            }
        }
    }
}

fn check(
    member_id: MemberId,
    membership: Option<&Membership>,
    changes: &[TierChange],
    report: &mut VerifyReport,
) {
    for pair in changes.windows(2) {
        if pair[1].from_tier != pair[0].span.tier {
            report.find(
                format!("loyalty_tier_change {member_id} {}", pair[1].change_id),
                format!(
                    "it begins at {}, the change before it ended at {}",
                    pair[1].from_tier, pair[0].span.tier
                ),
            );
        }
    }
    let stored = membership.map(|membership| (membership.span.tier.as_str(), membership.span.from));
    let last = changes
        .last()
        .map(|change| (change.span.tier.as_str(), change.span.from));
    if stored != last {
        let words = |tier: Option<(&str, huika_core::Timestamp)>| {
            tier.map_or_else(
                || "none".to_owned(),
                |(code, since)| format!("{code} since {since}"),
            )
        };
        report.find(
            format!("loyalty_membership {member_id}"),
            format!(
                "its tier is {}, the last change gave {}",
                words(stored),
                words(last)
            ),
        );
    }
}

/// The net spend that counts for the tiers of some members, for proofs of those who recorded it.
///
/// # Errors
/// When the database fails.
pub async fn net_spend_of(
    tx: &mut Tx<'_>,
    members: &[MemberId],
) -> Result<HashMap<MemberId, i64>, LoyaltyError> {
    let activities = store::activity_load(tx, members, Reading::Seen).await?;
    let net = |activity: &Activity| -> i64 {
        let days = activity
            .days()
            .map(|(_, day)| day.counted(RefundEffect::AtEvaluation));
        days.map(|metrics| metrics.spend_minor).sum()
    };
    Ok(activities
        .iter()
        .map(|(member_id, (activity, _))| (*member_id, net(activity)))
        .collect())
}
