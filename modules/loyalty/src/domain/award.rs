//! What a purchase earns.

use huika_core::{Bilingual, Overflow, Rounding, Timestamp};
use huika_members::MemberState;

use super::{Rules, Tier, Trace, trace::PurchaseTrace};

/// The points of one purchase and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Award {
    /// By the rate alone.
    pub base: i64,
    /// What the tier's multiplier adds.
    pub bonus: i64,
    /// Both.
    pub points: i64,
    /// When they can be spent. `None`: at once.
    pub available_at: Option<Timestamp>,
    /// When they are lost. `None`: never.
    pub expires_at: Option<Timestamp>,
    /// Why.
    pub trace: Trace,
}

/// The tier that a growth value belongs to: the highest whose threshold it reaches.
pub fn tier_for(rules: &Rules, growth: i64) -> &Tier {
    rules
        .tiers
        .iter()
        .rev()
        .find(|tier| tier.threshold_minor <= growth)
        .unwrap_or(&rules.tiers[0])
}

/// base = floor(net paid × rate); bonus = round(base × (multiplier − 1)). The multiplier is that of the tier
/// at the time of the order, also for the order that lifts the member above it.
///
/// # Errors
/// When the points leave 64 bits.
pub fn award(
    rules: &Rules,
    version: i64,
    tier: &Tier,
    paid_minor: i64,
    effective_at: Timestamp,
) -> Result<Award, Overflow> {
    let base = rules.points_rate.apply(paid_minor, Rounding::Floor)?;
    let bonus = tier.multiplier.apply_excess(base, rules.bonus_rounding)?;
    let points = base.checked_add(bonus).ok_or(Overflow)?;
    let (available_at, expires_at) = rules.dates(effective_at);
    let calendar = rules.calendar();
    let trace = Trace::Purchase(PurchaseTrace {
        version,
        paid_minor,
        currency: rules.currency,
        points_rate: rules.points_rate,
        base,
        tier: tier.name.clone(),
        multiplier: tier.multiplier,
        bonus_rounding: rules.bonus_rounding,
        bonus,
        points,
        withheld: None,
        available_on: available_at.map(|at| calendar.date_of(at)),
        last_on: expires_at.map(|at| calendar.date_of(at.plus_millis(-1))),
    });
    Ok(Award {
        base,
        bonus,
        points,
        available_at,
        expires_at,
        trace,
    })
}

impl Award {
    /// The same purchase of a member whose state forbids earning: it is worth nothing, and the trace says why.
    pub(crate) fn withheld(mut self, state: MemberState) -> Self {
        if let Trace::Purchase(trace) = &mut self.trace {
            (trace.base, trace.bonus, trace.points) = (0, 0, 0);
            trace.withheld = Some(Bilingual::new(format!("{state:#}"), state.to_string()));
        }
        Self {
            base: 0,
            bonus: 0,
            points: 0,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::default_rules;

    const NOW: Timestamp = Timestamp::from_millis(1_795_226_400_000); // 2026-11-21 in Shanghai

    #[test]
    fn the_tiers_of_the_seed_give_exact_points() {
        // paid in fen, tier, base, bonus: S1-63 with ×1, ×1.2 and ×1.5
        let table = [
            (26_800, "bronze", 268, 0),
            (26_899, "bronze", 268, 0),
            (24_800, "silver", 248, 50),
            (24_800, "gold", 248, 124),
            (99, "gold", 0, 0),
            (100, "gold", 1, 1),
            (0, "gold", 0, 0),
        ];
        let rules = default_rules();
        for (paid, code, base, bonus) in table {
            let award = award(&rules, 1, rules.tier(code).unwrap(), paid, NOW).unwrap();
            assert_eq!((award.base, award.bonus), (base, bonus), "{paid} {code}");
            assert_eq!(award.trace.recompute(), base + bonus, "{paid} {code}");
        }
    }

    #[test]
    fn thresholds_include_their_amount() {
        let rules = default_rules();
        let table = [
            (-1, "bronze"),
            (0, "bronze"),
            (99_999, "bronze"),
            (100_000, "silver"),
            (500_000, "gold"),
        ];
        for (growth, code) in table {
            assert_eq!(tier_for(&rules, growth).code, code, "{growth}");
        }
    }

    #[test]
    fn the_why_reads_in_both_languages() {
        let mut rules = default_rules();
        rules.pending_days = 14;
        let why = award(&rules, 1, rules.tier("silver").unwrap(), 24_800, NOW)
            .unwrap()
            .trace
            .explain(None);
        assert_eq!(
            why.en,
            "Paid ¥248 → 248 points (1 point per ¥1); Silver ×1.2 adds 50 → 298 points, available from 2026-12-05, valid until 2027-12-31."
        );
        assert_eq!(
            why.zh,
            "实付 ¥248 → 248 积分（每 ¥1 得 1 积分）；白银会员 ×1.2 加赠 50 → 共 298 积分，2026-12-05 起可用，有效期至 2027-12-31。"
        );
    }
}
