//! What keeps a member's tier and what is missing to the next one (S2-73).

use huika_core::{BusinessDate, Timestamp};

use super::{
    Combine, Member, Metric, Metrics, ProgramVersion, Rules, Span, Thresholds, Tier, program::tier_by,
    timeline::counted_from,
};

/// A member's tier, what keeps it and the way to the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierProgress {
    /// The tier.
    pub tier: Tier,
    /// Since when, and why. `None`: since registration.
    pub span: Option<Span>,
    /// The growth value.
    pub growth: i64,
    /// What counts in the present period.
    pub metrics: Metrics,
    /// What keeps the tier when it is evaluated. `None`: it is not evaluated.
    pub keep: Option<KeepTier>,
    /// The tier above. `None` at the top.
    pub next: Option<NextTier>,
}

/// What keeps a tier (保级).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepTier {
    /// The business date before whose end it must be there.
    pub by: BusinessDate,
    /// The metrics and what they lack.
    pub requirements: Vec<Requirement>,
    /// Whether every requirement must be met, or one is enough.
    pub all: bool,
    /// Whether they are met already.
    pub met: bool,
}

/// The tier above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextTier {
    /// The tier.
    pub tier: Tier,
    /// The metrics and what they lack.
    pub requirements: Vec<Requirement>,
    /// Whether every requirement must be met, or one is enough.
    pub all: bool,
}

/// One metric on the way to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requirement {
    /// Which.
    pub metric: Metric,
    /// Where it must be.
    pub threshold: i64,
    /// Where it is.
    pub present: i64,
    /// What is missing.
    pub missing: i64,
}

fn requirements(thresholds: &Thresholds, metrics: &Metrics) -> Vec<Requirement> {
    let requirement = |(metric, threshold): (Metric, i64)| Requirement {
        metric,
        threshold,
        present: metrics.of(metric),
        missing: (threshold - metrics.of(metric)).max(0),
    };
    thresholds.named().map(requirement).collect()
}

/// The progress of a member whose due evaluations have been carried out, by the rules in force now.
pub(crate) fn progress(
    versions: &[ProgramVersion],
    rules: &Rules,
    member: &Member<'_>,
    growth: i64,
    now: Timestamp,
) -> TierProgress {
    let qualification = &rules.qualification;
    let calendar = rules.calendar();
    let today = calendar.date_of(now);
    let sum = |first| member.activity.sum(first, today, qualification.refunds);
    let metrics = sum(qualification.period.first_date(member.joined_on, today));
    let all = qualification.combine == Combine::All;
    let tier = match &member.span {
        Some(span) => tier_by(versions, rules, &span.tier),
        None => &rules.tiers[0],
    };
    let keep = member.span.as_ref().and_then(|span| {
        let by = calendar.date_of(span.until?.plus_millis(-1));
        let thresholds = tier.retention.as_ref().unwrap_or(&tier.thresholds);
        let last_moment = span.until?.plus_millis(-1);
        let counted = sum(counted_from(rules, member.joined_on, span, last_moment));
        Some(KeepTier {
            by,
            requirements: requirements(thresholds, &counted),
            all,
            met: thresholds.met_by(&counted, qualification.combine),
        })
    });
    let above = rules.position(&tier.code).and_then(|at| rules.tiers.get(at + 1));
    TierProgress {
        tier: tier.clone(),
        span: member.span.clone(),
        growth,
        metrics,
        keep,
        next: above.map(|next| NextTier {
            tier: next.clone(),
            requirements: requirements(&next.thresholds, &metrics),
            all,
        }),
    }
}
