//! What a purchase earns.

use huika_core::{Bilingual, Overflow, Rate, Timestamp, allocate};
use huika_members::MemberState;

use super::{
    Effect, Limits, Occasion, ProgramVersion, Promotion, Release, Rules, Tier, Trace, WHOLE_PROGRAM, limit,
    trace::{PartTrace, PromotionTrace, PurchaseTrace},
};

/// A purchase as far as it matters for what it earns.
#[derive(Debug, Clone, Copy)]
pub struct PurchaseFacts<'a> {
    /// What the member paid, discounts and points deducted.
    pub paid_minor: i64,
    /// When it was paid.
    pub moment: Timestamp,
    /// Where.
    pub channel: &'a str,
    /// In which store.
    pub store: Option<&'a str>,
    /// What was bought; adds up to what was paid.
    pub lines: &'a [LineFacts],
    /// Whether the member has no order before.
    pub first_order: bool,
}

/// A line of a purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineFacts {
    /// Its category.
    pub category: Option<String>,
    /// What was paid for it.
    pub paid_minor: i64,
}

/// The points of one purchase and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Award {
    /// By the rates alone.
    pub base: i64,
    /// What multipliers and promotions add.
    pub bonus: i64,
    /// Both, as far as the caps of the programme allow.
    pub points: i64,
    /// Growth value.
    pub growth: i64,
    /// The points of each line. They add up to all.
    pub line_points: Vec<i64>,
    /// When they can be spent. `None`: at once.
    pub available_at: Option<Timestamp>,
    /// Whether they wait for the confirmation of the purchase as well.
    pub awaits_confirmation: bool,
    /// When they are lost. `None`: never.
    pub expires_at: Option<Timestamp>,
    /// What counts towards limits: the code of the promotion or of the programme, and points.
    pub used: Vec<(String, i64)>,
    /// Why.
    pub trace: Trace,
}

/// Lines to which the same rate and the same promotions apply.
struct Part {
    paid_minor: i64,
    rate: Rate,
    rate_name: Option<Bilingual>,
    /// Positions among the promotions of the rules.
    promotions: Vec<usize>,
    /// Positions among the lines.
    lines: Vec<usize>,
    base: i64,
    multiplier: Rate,
}

/// base = floor(net paid × rate); bonus = round(base × (multiplier − 1)), for all lines together to which the same
/// rate and promotions apply. The multiplier is that of the tier at the time of the order, times what promotions
/// multiply by, and at least what promotions lift it to. Each promotion is granted what it adds to the result so far,
/// in the order of the rules, multiplications first, points in addition last; its limits cut what it adds, those of
/// the programme cut the whole.
///
/// # Errors
/// When the points leave 64 bits.
pub fn award(
    version: &ProgramVersion,
    tier: &Tier,
    purchase: &PurchaseFacts<'_>,
    limits: &impl Limits,
) -> Result<Award, Overflow> {
    let rules = &version.rules;
    let calendar = rules.calendar();
    let date = calendar.date_of(purchase.moment);
    let occasion = Occasion {
        moment: purchase.moment,
        date,
        channel: purchase.channel,
        store: purchase.store,
        tier: &tier.code,
        first_order: purchase.first_order,
        paid_minor: purchase.paid_minor,
    };
    let mut parts = parts_of(rules, tier, purchase, &occasion)?;
    let base = sum(parts.iter().map(|part| part.base))?;
    let tier_bonus = bonus_of(rules, &parts)?;

    let mut granted = Vec::new();
    let mut used = Vec::new();
    let mut before = tier_bonus;
    for at in order_of(&rules.promotions) {
        let promotion = &rules.promotions[at];
        let mut applies = false;
        let mut adds = 0;
        for part in parts.iter_mut().filter(|part| part.promotions.contains(&at)) {
            applies = true;
            match promotion.effect {
                Effect::Multiply { multiplier } => part.multiplier = part.multiplier.times(multiplier)?,
                Effect::AtLeast { multiplier } if multiplier.exceeds(part.multiplier) => {
                    part.multiplier = multiplier;
                }
                Effect::Add { points } => adds = points,
                Effect::AtLeast { .. } | Effect::BaseRate { .. } => {}
            }
        }
        if !applies {
            continue;
        }
        let after = bonus_of(rules, &parts)?;
        let wanted = after - before + adds;
        before = after;
        let limited = limit(limits, &promotion.code, promotion.limits(), date, wanted);
        let points = limited.map_or(wanted, |limited| limited.left);
        if promotion.limits().next().is_some() && points > 0 {
            used.push((promotion.code.clone(), points));
        }
        granted.push(PromotionTrace {
            code: promotion.code.clone(),
            name: promotion.name.clone(),
            effect: promotion.effect,
            points,
            limited,
        });
    }
    let promotion_bonus = sum(granted.iter().map(|promotion| promotion.points))?;
    let bonus = sum([tier_bonus, promotion_bonus])?;
    let wanted = sum([base, bonus])?;
    let limited = limit(limits, WHOLE_PROGRAM, rules.caps.set(), date, wanted);
    let points = limited.map_or(wanted, |limited| limited.left);
    if rules.caps.set().next().is_some() && points > 0 {
        used.push((WHOLE_PROGRAM.to_owned(), points));
    }

    let growth = rules
        .growth_rate
        .apply(purchase.paid_minor.max(0), huika_core::Rounding::Floor)?;
    let line_points = share(points, &parts, purchase, rules)?;
    let (available_at, expires_at) = rules.dates(purchase.moment);
    let awaits_confirmation = rules.release == Release::ConfirmationAndDate;
    let trace = Trace::Purchase(PurchaseTrace {
        version: version.version,
        paid_minor: purchase.paid_minor,
        currency: rules.currency,
        points_rate: rules.points_rate,
        base,
        tier: tier.name.clone(),
        multiplier: tier.multiplier,
        bonus_rounding: rules.bonus_rounding,
        bonus: tier_bonus,
        parts: part_traces(rules, &parts, &granted),
        promotions: granted,
        limited,
        points,
        growth_rate: rules.growth_rate,
        growth,
        withheld: None,
        awaits_confirmation,
        available_on: available_at.map(|at| calendar.date_of(at)),
        last_on: expires_at.map(|at| calendar.date_of(at.plus_millis(-1))),
    });
    Ok(Award {
        base,
        bonus,
        points,
        growth,
        line_points,
        available_at,
        awaits_confirmation,
        expires_at,
        used,
        trace,
    })
}

/// Promotions that change a multiplier in the order of the rules, those that multiply before those that lift; after
/// them those that add. Base rates are part of the base.
fn order_of(promotions: &[Promotion]) -> impl Iterator<Item = usize> + '_ {
    let of = move |wanted: fn(&Effect) -> bool| {
        (0..promotions.len()).filter(move |at| wanted(&promotions[*at].effect))
    };
    of(|effect| matches!(effect, Effect::Multiply { .. }))
        .chain(of(|effect| matches!(effect, Effect::AtLeast { .. })))
        .chain(of(|effect| matches!(effect, Effect::Add { .. })))
}

fn sum(values: impl IntoIterator<Item = i64>) -> Result<i64, Overflow> {
    values
        .into_iter()
        .try_fold(0_i64, |sum, value| sum.checked_add(value))
        .ok_or(Overflow)
}

fn bonus_of(rules: &Rules, parts: &[Part]) -> Result<i64, Overflow> {
    let bonuses: Vec<i64> = parts
        .iter()
        .map(|part| part.multiplier.apply_excess(part.base, rules.bonus_rounding))
        .collect::<Result<_, _>>()?;
    sum(bonuses)
}

fn parts_of(
    rules: &Rules,
    tier: &Tier,
    purchase: &PurchaseFacts<'_>,
    occasion: &Occasion<'_>,
) -> Result<Vec<Part>, Overflow> {
    // What was not paid earns nothing, whatever is promised.
    if purchase.paid_minor <= 0 {
        return Ok(Vec::new());
    }
    let holding: Vec<usize> = (0..rules.promotions.len())
        .filter(|at| rules.promotions[*at].when.holds(occasion))
        .collect();
    let mut parts: Vec<Part> = Vec::new();
    for (line_at, line) in purchase.lines.iter().enumerate() {
        let covers = |at: &usize| rules.promotions[*at].when.covers(line.category.as_deref());
        let covering: Vec<usize> = holding.iter().copied().filter(covers).collect();
        let base_rate = covering.iter().find_map(|at| match &rules.promotions[*at] {
            Promotion {
                effect: Effect::BaseRate { points_rate },
                name,
                ..
            } => Some((*points_rate, Some(name.clone()))),
            _ => None,
        });
        let (rate, rate_name) = base_rate.unwrap_or((rules.points_rate, None));
        let promotions: Vec<usize> = covering
            .into_iter()
            .filter(|at| !matches!(rules.promotions[*at].effect, Effect::BaseRate { .. }))
            .collect();
        let same = |part: &&mut Part| {
            part.rate == rate && part.rate_name == rate_name && part.promotions == promotions
        };
        match parts.iter_mut().find(same) {
            Some(part) => {
                part.paid_minor += line.paid_minor;
                part.lines.push(line_at);
            }
            None => parts.push(Part {
                paid_minor: line.paid_minor,
                rate,
                rate_name,
                promotions,
                lines: vec![line_at],
                base: 0,
                multiplier: tier.multiplier,
            }),
        }
    }
    for part in &mut parts {
        part.base = part.rate.apply(part.paid_minor, huika_core::Rounding::Floor)?;
    }
    Ok(parts)
}

/// One part at the rate of the programme needs no telling.
fn part_traces(rules: &Rules, parts: &[Part], granted: &[PromotionTrace]) -> Vec<PartTrace> {
    if granted.is_empty() && parts.iter().all(|part| part.rate_name.is_none()) {
        return Vec::new();
    }
    let trace = |part: &Part| PartTrace {
        paid_minor: part.paid_minor,
        points_rate: part.rate,
        rate_name: part.rate_name.clone(),
        base: part.base,
        promotions: part
            .promotions
            .iter()
            .filter_map(|at| {
                let code = &rules.promotions[*at].code;
                granted.iter().position(|one| one.code == *code)
            })
            .collect(),
    };
    parts.iter().map(trace).collect()
}

/// Spreads the points over the lines: by what each part earned, and within a part by what was paid.
fn share(
    points: i64,
    parts: &[Part],
    purchase: &PurchaseFacts<'_>,
    rules: &Rules,
) -> Result<Vec<i64>, Overflow> {
    let mut weights = vec![0; purchase.lines.len()];
    for part in parts {
        let bonus = part.multiplier.apply_excess(part.base, rules.bonus_rounding)?;
        let paid: Vec<i64> = part
            .lines
            .iter()
            .map(|at| purchase.lines[*at].paid_minor)
            .collect();
        for (at, weight) in part.lines.iter().zip(allocate(sum([part.base, bonus])?, &paid)) {
            weights[*at] = weight;
        }
    }
    if weights.iter().all(|weight| *weight == 0) {
        weights = purchase.lines.iter().map(|line| line.paid_minor.max(0)).collect();
    }
    Ok(allocate(points, &weights))
}

impl Award {
    /// The same purchase of a member whose state forbids earning: it is worth nothing, and the trace says why.
    pub(crate) fn withheld(mut self, state: MemberState) -> Self {
        if let Trace::Purchase(trace) = &mut self.trace {
            (trace.base, trace.bonus, trace.points, trace.growth) = (0, 0, 0, 0);
            (trace.parts, trace.promotions, trace.limited) = (Vec::new(), Vec::new(), None);
            trace.withheld = Some(Bilingual::new(format!("{state:#}"), state.to_string()));
        }
        self.line_points.fill(0);
        Self {
            base: 0,
            bonus: 0,
            points: 0,
            growth: 0,
            used: Vec::new(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        default_rules,
        domain::{CapPeriod, Caps, PurchaseCondition, Unused},
    };

    const NOW: Timestamp = Timestamp::from_millis(1_795_226_400_000); // 2026-11-21 in Shanghai

    fn version(change: impl FnOnce(&mut Rules)) -> ProgramVersion {
        let mut rules = default_rules();
        change(&mut rules);
        rules.validate().unwrap();
        ProgramVersion {
            version: 1,
            rules,
            effective_from: NOW,
            published_at: NOW,
            published_by: "opr_test".into(),
            withdrawn: false,
        }
    }

    fn lines(lines: &[(&str, i64)]) -> Vec<LineFacts> {
        let line = |(category, paid_minor): &(&str, i64)| LineFacts {
            category: (!category.is_empty()).then(|| (*category).to_owned()),
            paid_minor: *paid_minor,
        };
        lines.iter().map(line).collect()
    }

    fn awarded(version: &ProgramVersion, tier: &str, of: &[(&str, i64)], limits: &impl Limits) -> Award {
        let lines = lines(of);
        let purchase = PurchaseFacts {
            paid_minor: lines.iter().map(|line| line.paid_minor).sum(),
            moment: NOW,
            channel: "pos",
            store: None,
            lines: &lines,
            first_order: false,
        };
        let award = award(version, version.rules.tier(tier).unwrap(), &purchase, limits).unwrap();
        assert_eq!(award.trace.recompute(), award.points, "{:?}", award.trace);
        assert_eq!(award.line_points.iter().sum::<i64>(), award.points);
        award
    }

    fn promotion(code: &str, effect: Effect, categories: &[&str]) -> Promotion {
        Promotion {
            code: code.into(),
            name: Bilingual::new(format!("活动{code}"), format!("Offer {code}")),
            when: PurchaseCondition {
                categories: categories.iter().map(|one| (*one).to_owned()).collect(),
                ..PurchaseCondition::default()
            },
            effect,
            caps: Caps::default(),
            budget: None,
        }
    }

    fn rate(numerator: u32, denominator: u32) -> Rate {
        Rate::try_new(numerator, denominator).unwrap()
    }

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
        let version = version(|_| ());
        for (paid, code, base, bonus) in table {
            let award = awarded(&version, code, &[("", paid)], &Unused);
            assert_eq!(
                (award.base, award.bonus, award.growth),
                (base, bonus, paid),
                "{paid} {code}"
            );
        }
    }

    #[test]
    fn how_the_part_of_a_multiplier_becomes_whole() {
        use huika_core::Rounding::{Ceiling, Floor, HalfEven, HalfUp};
        // base, multiplier, floor, ceiling, half up, half even
        let table = [
            (1, rate(12, 10), [0, 1, 0, 0]),
            (5, rate(13, 10), [1, 2, 2, 2]),
            (5, rate(11, 10), [0, 1, 1, 0]),
            (15, rate(11, 10), [1, 2, 2, 2]),
            (25, rate(11, 10), [2, 3, 3, 2]),
            (10, rate(12, 10), [2, 2, 2, 2]),
            (3, rate(4, 3), [1, 1, 1, 1]),
        ];
        for (base, multiplier, bonuses) in table {
            for (rounding, bonus) in [Floor, Ceiling, HalfUp, HalfEven].into_iter().zip(bonuses) {
                let version = version(|rules| {
                    rules.bonus_rounding = rounding;
                    rules.tiers[1].multiplier = multiplier;
                });
                let award = awarded(&version, "silver", &[("", base * 100)], &Unused);
                assert_eq!(
                    (award.base, award.bonus),
                    (base, bonus),
                    "{base} {multiplier} {rounding:?}"
                );
            }
        }
    }

    #[test]
    fn the_order_of_rates_multipliers_and_additions() {
        let double = || {
            promotion(
                "double",
                Effect::Multiply {
                    multiplier: rate(2, 1),
                },
                &[],
            )
        };
        let half_more = || {
            promotion(
                "half",
                Effect::Multiply {
                    multiplier: rate(3, 2),
                },
                &[],
            )
        };
        let lift = |to| {
            promotion(
                "lift",
                Effect::AtLeast {
                    multiplier: rate(to, 1),
                },
                &[],
            )
        };
        let add = || promotion("add", Effect::Add { points: 100 }, &[]);
        let tea = |effect| promotion("tea", effect, &["tea"]);
        let tea_rate = || {
            tea(Effect::BaseRate {
                points_rate: rate(2, 100),
            })
        };
        let mixed: &'static [(&'static str, i64)] = &[("tea", 10_000), ("cups", 5_050), ("", 50)];
        let plain: &'static [(&'static str, i64)] = &[("", 24_800)];
        // what, promotions, tier, lines, base, bonus
        type Case = (
            &'static str,
            Vec<Promotion>,
            &'static str,
            &'static [(&'static str, i64)],
            i64,
            i64,
        );
        let table: Vec<Case> = vec![
            ("none", vec![], "silver", plain, 248, 50),
            // ×1.2 × 2 = ×2.4
            ("double", vec![double()], "silver", plain, 248, 347),
            // ×1.2 × 2 × 1.5 = ×3.6
            (
                "two multiply",
                vec![double(), half_more()],
                "silver",
                plain,
                248,
                645,
            ),
            ("the larger counts", vec![lift(2)], "silver", plain, 248, 248),
            ("the tier has more", vec![lift(1)], "silver", plain, 248, 50),
            // ×2.4 stays above ×2, but not above ×3.
            (
                "lift below the product",
                vec![lift(2), double()],
                "silver",
                plain,
                248,
                347,
            ),
            (
                "lift above the product",
                vec![lift(3), double()],
                "silver",
                plain,
                248,
                496,
            ),
            (
                "points in addition",
                vec![add(), double()],
                "silver",
                plain,
                248,
                447,
            ),
            ("all lines together", vec![], "bronze", mixed, 151, 0),
            // 200 for tea, floor(51.00) for the rest.
            ("another rate for tea", vec![tea_rate()], "bronze", mixed, 251, 0),
            // round(100 × 1.4) for tea, round(51 × 0.2) for the rest.
            (
                "double tea",
                vec![tea(Effect::Multiply {
                    multiplier: rate(2, 1),
                })],
                "silver",
                mixed,
                151,
                150,
            ),
            (
                "no tea",
                vec![tea(Effect::Add { points: 100 })],
                "bronze",
                plain,
                248,
                0,
            ),
            ("nothing paid", vec![add()], "gold", &[("", 0)], 0, 0),
        ];
        for (what, promotions, tier, lines, base, bonus) in table {
            let version = version(|rules| rules.promotions = promotions);
            let award = awarded(&version, tier, lines, &Unused);
            assert_eq!(
                (award.base, award.bonus),
                (base, bonus),
                "{what}: {}",
                award.trace.explain(None).en
            );
        }
    }

    /// What was used before of any limit.
    struct Used(i64);
    impl Limits for Used {
        fn used(&self, _: &str, _: CapPeriod, _: huika_core::BusinessDate) -> i64 {
            self.0
        }
    }

    #[test]
    fn caps_cut_and_say_so() {
        let day = |per_day| Caps {
            per_day,
            ..Caps::default()
        };
        // cap of the programme, cap of the promotion, its budget, used before, points, used of promotion, of programme
        let table = [
            (None, None, None, 0, 496, None, None),
            (Some(496), None, None, 0, 496, None, Some(496)),
            (Some(495), None, None, 0, 495, None, Some(495)),
            (Some(400), None, None, 100, 300, None, Some(300)),
            (Some(400), None, None, 400, 0, None, None),
            (Some(400), None, None, 500, 0, None, None),
            (None, Some(248), None, 0, 496, Some(248), None),
            (None, Some(100), None, 0, 348, Some(100), None),
            (None, None, Some(100), 40, 308, Some(60), None),
            (None, Some(50), Some(100), 40, 258, Some(10), None),
            (Some(300), Some(100), None, 0, 300, Some(100), Some(300)),
        ];
        for (program, per_day, budget, before, points, used_of_promotion, used_of_program) in table {
            let version = version(|rules| {
                let double = promotion(
                    "double",
                    Effect::Multiply {
                        multiplier: rate(2, 1),
                    },
                    &[],
                );
                rules.promotions = vec![Promotion {
                    caps: day(per_day),
                    budget,
                    ..double
                }];
                rules.caps = day(program);
            });
            let award = awarded(&version, "bronze", &[("", 24_800)], &Used(before));
            let used = |code: &str| {
                award
                    .used
                    .iter()
                    .find(|(of, _)| of == code)
                    .map(|(_, points)| *points)
            };
            let why = award.trace.explain(None);
            assert_eq!(award.points, points, "{}", why.en);
            assert_eq!(used("double"), used_of_promotion, "{}", why.en);
            assert_eq!(used(WHOLE_PROGRAM), used_of_program, "{}", why.en);
            assert_eq!(
                why.zh.contains("上限") || why.zh.contains("预算"),
                points < 496,
                "{}",
                why.zh
            );
        }
    }

    #[test]
    fn the_why_reads_in_both_languages() {
        let version = version(|rules| rules.pending_days = 14);
        let why = awarded(&version, "silver", &[("", 24_800)], &Unused)
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

    #[test]
    fn the_why_of_promotions_tells_each_of_them() {
        let version = version(|rules| {
            rules.promotions = vec![
                promotion(
                    "tea",
                    Effect::BaseRate {
                        points_rate: rate(2, 100),
                    },
                    &["tea"],
                ),
                promotion(
                    "double",
                    Effect::Multiply {
                        multiplier: rate(2, 1),
                    },
                    &[],
                ),
                promotion("add", Effect::Add { points: 100 }, &[]),
            ];
            rules.caps.per_day = Some(600);
        });
        let why = awarded(&version, "silver", &[("tea", 10_000), ("", 5_000)], &Unused)
            .trace
            .explain(None);
        assert_eq!(
            why.en,
            "Paid ¥150 → 250 points (Offer tea: ¥100 at 2 points per ¥1; ¥50 at 1 point per ¥1); Silver ×1.2 adds 50; \
             Offer double ×2 adds 300; Offer add adds 100 → 700 points, of which the daily cap leaves 600, valid until \
             2027-12-31."
        );
        assert_eq!(
            why.zh,
            "实付 ¥150 → 250 积分（活动tea：¥100 每 ¥1 得 2 积分；¥50 每 ¥1 得 1 积分）；白银会员 ×1.2 加赠 50；活动double ×2 加赠 300；\
             活动add 加赠 100 → 共 700 积分，受每日上限限制实得 600，有效期至 2027-12-31。"
        );
    }
}
