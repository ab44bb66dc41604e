//! Why: the inputs of a decision, stored with its posting, rendered in both languages on reading.
//!
//! A trace holds what the decision was made from, not only words: [`Trace::recompute`] gives its result again.

use huika_core::{Bilingual, BusinessDate, Currency, Money, Rate, Rounding};
use serde::{Deserialize, Serialize};

use super::{Effect, Limited};

/// The why of a posting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Trace {
    /// A purchase earned points and growth.
    Purchase(PurchaseTrace),
    /// A refund took back its share of what the purchase earned.
    Refund(RefundTrace),
    /// A refund whose purchase is unknown took back what such an amount earns at the base rate.
    UnlinkedRefund(UnlinkedRefundTrace),
    /// Somebody granted or spent points directly.
    Direct {
        /// How many; negative when spent.
        points: i64,
        /// In the words of whoever did it.
        reason: String,
    },
    /// Points that had been spent came back.
    Returned {
        /// How many.
        points: i64,
        /// In the words of whoever did it.
        reason: String,
    },
}

/// The inputs of an award.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurchaseTrace {
    /// The version of the programme.
    pub version: i64,
    /// What the member paid.
    pub paid_minor: i64,
    /// In which currency.
    pub currency: Currency,
    /// Points per minor unit.
    pub points_rate: Rate,
    /// Points by the rate.
    pub base: i64,
    /// The tier at the time of the order.
    pub tier: Bilingual,
    /// Its multiplier.
    pub multiplier: Rate,
    /// How its part became whole.
    pub bonus_rounding: Rounding,
    /// What the tier's multiplier added.
    pub bonus: i64,
    /// The lines, put together by what applies to them. Empty: everything at the rate of the programme, without
    /// promotions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartTrace>,
    /// The promotions in the order in which they were applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub promotions: Vec<PromotionTrace>,
    /// The cap of the programme that cut the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited: Option<Limited>,
    /// All points.
    pub points: i64,
    /// Growth value per minor unit.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub growth_rate: Rate,
    /// Growth value.
    #[serde(default)]
    pub growth: i64,
    /// The state of the member that forbids earning, in words. `None`: nothing forbids it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Bilingual>,
    /// Whether the points wait for the confirmation of the purchase.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_confirmation: bool,
    /// The first date on which they can be spent. `None`: at once.
    pub available_on: Option<BusinessDate>,
    /// The last date on which they can be spent. `None`: any.
    pub last_on: Option<BusinessDate>,
}

fn one() -> Rate {
    Rate::ONE
}

fn is_one(rate: &Rate) -> bool {
    *rate == Rate::ONE
}

/// Lines of a purchase to which the same applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartTrace {
    /// What was paid for them.
    pub paid_minor: i64,
    /// Points per minor unit.
    pub points_rate: Rate,
    /// The promotion that gave the rate. `None`: the programme.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_name: Option<Bilingual>,
    /// Points by the rate.
    pub base: i64,
    /// Which of the purchase's promotions apply, by their place.
    pub promotions: Vec<usize>,
}

/// A promotion that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromotionTrace {
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: Bilingual,
    /// What it does.
    pub effect: Effect,
    /// What it granted.
    pub points: i64,
    /// The limit that cut it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited: Option<Limited>,
}

impl PurchaseTrace {
    /// The points, computed again from the stored inputs.
    fn recompute(&self) -> i64 {
        if self.withheld.is_some() || self.paid_minor <= 0 {
            return 0;
        }
        let whole = [PartTrace {
            paid_minor: self.paid_minor,
            points_rate: self.points_rate,
            rate_name: None,
            base: self.base,
            promotions: Vec::new(),
        }];
        let parts = if self.parts.is_empty() {
            &whole[..]
        } else {
            &self.parts[..]
        };
        let base_of = |part: &PartTrace| {
            part.points_rate
                .apply(part.paid_minor, Rounding::Floor)
                .unwrap_or_default()
        };
        let mut multipliers = vec![self.multiplier; parts.len()];
        let bonus = |multipliers: &[Rate]| -> i64 {
            let bonuses = parts.iter().zip(multipliers).map(|(part, multiplier)| {
                multiplier
                    .apply_excess(base_of(part), self.bonus_rounding)
                    .unwrap_or_default()
            });
            bonuses.sum()
        };
        let mut before = bonus(&multipliers);
        let mut points = parts.iter().map(base_of).sum::<i64>() + before;
        for (at, promotion) in self.promotions.iter().enumerate() {
            let mut wanted = match promotion.effect {
                Effect::Add { points } => points,
                _ => 0,
            };
            for (part, current) in parts.iter().zip(&mut multipliers) {
                if !part.promotions.contains(&at) {
                    continue;
                }
                match promotion.effect {
                    Effect::Multiply { multiplier } => {
                        *current = current.times(multiplier).unwrap_or(*current)
                    }
                    Effect::AtLeast { multiplier } if multiplier.exceeds(*current) => *current = multiplier,
                    _ => {}
                }
            }
            let after = bonus(&multipliers);
            wanted += after - before;
            before = after;
            points += promotion
                .limited
                .map_or(wanted, |limited| limited.left.min(wanted));
        }
        self.limited.map_or(points, |limited| limited.left.min(points))
    }

    /// The points before the cap of the programme.
    fn wanted(&self) -> i64 {
        self.base
            + self.bonus
            + self
                .promotions
                .iter()
                .map(|promotion| promotion.points)
                .sum::<i64>()
    }
}

/// The inputs of a refund's share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundTrace {
    /// In which currency.
    pub currency: Currency,
    /// What this refund returns.
    pub refunded_minor: i64,
    /// What the purchase cost.
    pub paid_minor: i64,
    /// What the purchase earned.
    pub earned: i64,
    /// The lines that this refund touches.
    pub lines: Vec<RefundedLine>,
    /// Points to take back.
    pub points: i64,
}

/// One line of a refund: the share is computed on all that was refunded of the line so far, so that the last
/// refund takes the remainder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundedLine {
    /// What the line cost.
    pub paid_minor: i64,
    /// What the line earned.
    pub points: i64,
    /// What was refunded of it before.
    pub before_minor: i64,
    /// What this refund returns of it.
    pub refunded_minor: i64,
}

impl RefundedLine {
    /// Points of this line that this refund takes back.
    pub fn points_back(&self) -> i64 {
        let until = |refunded| {
            if self.paid_minor == 0 {
                return 0;
            }
            // A share of what was earned cannot leave 64 bits.
            Rate::pro_rata(self.points, refunded, self.paid_minor, Rounding::Floor).unwrap_or(self.points)
        };
        until(self.before_minor + self.refunded_minor) - until(self.before_minor)
    }
}

/// The inputs of a refund without its purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlinkedRefundTrace {
    /// The version of the programme.
    pub version: i64,
    /// In which currency.
    pub currency: Currency,
    /// What was returned.
    pub refunded_minor: i64,
    /// Points per minor unit.
    pub points_rate: Rate,
    /// Points to take back.
    pub points: i64,
}

/// What an entry really took of the points that its trace wanted back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenBack {
    /// Taken from the account.
    pub taken: i64,
    /// No longer there and forgiven.
    pub shortfall: i64,
}

impl Trace {
    /// The points that the posting adds, or takes back when negative, computed again from the stored inputs.
    pub fn recompute(&self) -> i64 {
        match self {
            Self::Purchase(trace) => trace.recompute(),
            Self::Refund(trace) => -trace.lines.iter().map(RefundedLine::points_back).sum::<i64>(),
            Self::UnlinkedRefund(trace) => -trace
                .points_rate
                .apply(trace.refunded_minor, Rounding::Floor)
                .unwrap_or_default(),
            Self::Direct { points, .. } | Self::Returned { points, .. } => *points,
        }
    }

    /// The why in both languages. `taken_back` comes from the entry of a refund and says what of it was there.
    pub fn explain(&self, taken_back: Option<TakenBack>) -> Bilingual {
        match self {
            Self::Purchase(trace) => explain_purchase(trace),
            Self::Refund(trace) => with_taken_back(explain_refund(trace), trace.points, taken_back),
            Self::UnlinkedRefund(trace) => with_taken_back(explain_unlinked(trace), trace.points, taken_back),
            Self::Direct { points, reason } if *points < 0 => Bilingual::new(
                format!("使用 {} 积分：{reason}", -points),
                format!("{} points spent: {reason}", -points),
            ),
            Self::Direct { points, reason } => Bilingual::new(
                format!("发放 {points} 积分：{reason}"),
                format!("{points} points granted: {reason}"),
            ),
            Self::Returned { points, reason } => Bilingual::new(
                format!("退回 {points} 积分：{reason}"),
                format!("{points} points returned: {reason}"),
            ),
        }
    }
}

fn explain_purchase(trace: &PurchaseTrace) -> Bilingual {
    let paid = Money::new(trace.paid_minor, trace.currency);
    if let Some(state) = &trace.withheld {
        return Bilingual::new(
            format!("实付 {paid} → 0 积分：会员{}，不累积积分与成长值。", state.zh),
            format!(
                "Paid {paid} → 0 points: the member is {}, so that neither points nor growth are earned.",
                state.en
            ),
        );
    }
    let (how_zh, how_en) = rates_in_words(trace);
    let mut zh = format!("实付 {paid} → {} 积分（{how_zh}）", trace.base);
    let mut en = format!("Paid {paid} → {} points ({how_en})", trace.base);
    let mut adds = false;
    if trace.multiplier != Rate::ONE {
        let (tier, multiplier) = (&trace.tier, trace.multiplier);
        zh += &format!("；{} ×{multiplier} 加赠 {}", tier.zh, trace.bonus);
        en += &format!("; {} ×{multiplier} adds {}", tier.en, trace.bonus);
        adds = true;
    }
    for promotion in &trace.promotions {
        let Bilingual {
            zh: name_zh,
            en: name_en,
        } = &promotion.name;
        let (by_zh, by_en) = match promotion.effect {
            Effect::Multiply { multiplier } => (format!(" ×{multiplier}"), format!(" ×{multiplier}")),
            Effect::AtLeast { multiplier } => {
                (format!(" 至少 ×{multiplier}"), format!(" at least ×{multiplier}"))
            }
            Effect::Add { .. } | Effect::BaseRate { .. } => Default::default(),
        };
        zh += &format!("；{name_zh}{by_zh} 加赠 {}", promotion.points);
        en += &format!("; {name_en}{by_en} adds {}", promotion.points);
        if let Some(limited) = promotion.limited {
            let words = limited.by.words();
            zh += &format!("（受{}限制）", words.zh);
            en += &format!(" (all that {} leaves)", words.en);
        }
        adds = true;
    }
    if adds {
        zh += &format!(" → 共 {} 积分", trace.wanted());
        en += &format!(" → {} points", trace.wanted());
    }
    if let Some(Limited { by, .. }) = trace.limited {
        let words = by.words();
        zh += &format!("，受{}限制实得 {}", words.zh, trace.points);
        en += &format!(", of which {} leaves {}", words.en, trace.points);
    }
    if trace.points > 0 {
        match (trace.awaits_confirmation, trace.available_on) {
            (true, None) => {
                zh += "，确认收货后可用";
                en += ", available once the purchase is confirmed";
            }
            (true, Some(date)) => {
                zh += &format!("，确认收货后且不早于 {date} 可用");
                en += &format!(", available once the purchase is confirmed, from {date} at the earliest");
            }
            (false, Some(date)) => {
                zh += &format!("，{date} 起可用");
                en += &format!(", available from {date}");
            }
            (false, None) => {}
        }
        if let Some(date) = trace.last_on {
            zh += &format!("，有效期至 {date}");
            en += &format!(", valid until {date}");
        }
    }
    Bilingual::new(zh + "。", en + ".")
}

/// The rate of the programme, or what was paid at which rate where promotions gave others.
fn rates_in_words(trace: &PurchaseTrace) -> (String, String) {
    let sign = trace.currency.sign();
    if trace.parts.iter().all(|part| part.rate_name.is_none()) {
        return rate_in_words(trace.points_rate, sign);
    }
    let words: Vec<(String, String)> = trace
        .parts
        .iter()
        .map(|part| {
            let paid = Money::new(part.paid_minor, trace.currency);
            let (per_zh, per_en) = rate_in_words(part.points_rate, sign);
            let name = part.rate_name.as_ref();
            let zh = name.map_or_else(String::new, |name| format!("{}：", name.zh));
            let en = name.map_or_else(String::new, |name| format!("{}: ", name.en));
            (format!("{zh}{paid} {per_zh}"), format!("{en}{paid} at {per_en}"))
        })
        .collect();
    let (zh, en): (Vec<String>, Vec<String>) = words.into_iter().unzip();
    (zh.join("；"), en.join("; "))
}

/// `1 point per ¥1` for 1/100, `3 points per ¥2` for 3/200.
fn rate_in_words(rate: Rate, sign: &str) -> (String, String) {
    let minor = Money::new(rate.denominator().into(), Currency::CNY).to_string();
    let amount = minor.replacen('¥', sign, 1);
    let points = rate.numerator();
    let noun = if points == 1 { "point" } else { "points" };
    (
        format!("每 {amount} 得 {points} 积分"),
        format!("{points} {noun} per {amount}"),
    )
}

fn explain_refund(trace: &RefundTrace) -> Bilingual {
    let refunded = Money::new(trace.refunded_minor, trace.currency);
    let paid = Money::new(trace.paid_minor, trace.currency);
    let (points, earned) = (trace.points, trace.earned);
    Bilingual::new(
        format!("退款 {refunded}（原实付 {paid}，原得 {earned} 积分）→ 收回 {points} 积分"),
        format!(
            "Refunded {refunded} of {paid}, which had earned {earned} points → {points} points taken back"
        ),
    )
}

fn explain_unlinked(trace: &UnlinkedRefundTrace) -> Bilingual {
    let refunded = Money::new(trace.refunded_minor, trace.currency);
    let (per_zh, per_en) = rate_in_words(trace.points_rate, trace.currency.sign());
    let points = trace.points;
    Bilingual::new(
        format!("退款 {refunded}（原单未知，按基础比例 {per_zh}）→ 收回 {points} 积分"),
        format!(
            "Refunded {refunded} without a known purchase, at the base rate ({per_en}) → {points} points taken back"
        ),
    )
}

fn with_taken_back(why: Bilingual, points: i64, taken_back: Option<TakenBack>) -> Bilingual {
    let Bilingual { mut zh, mut en } = why;
    if let Some(TakenBack { taken, shortfall }) = taken_back {
        let expired = points - taken - shortfall;
        if expired > 0 {
            zh += &format!("，其中 {expired} 积分此前已过期");
            en += &format!(", of which {expired} had expired before");
        }
        if shortfall > 0 {
            zh += &format!("，其中 {shortfall} 积分余额不足，已免除");
            en += &format!(", of which {shortfall} were no longer there and are forgiven");
        }
    }
    Bilingual::new(zh + "。", en + ".")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn partial_refunds_of_a_line_add_up_to_all_of_its_points(
            paid in 1_i64..1_000_000,
            points in 0_i64..1_000_000,
            cuts in prop::collection::vec(0_i64..1_000, 0..8),
        ) {
            let mut marks: Vec<i64> = cuts.iter().map(|cut| cut * paid / 1_000).collect();
            marks.push(paid);
            marks.sort_unstable();
            let mut before = 0;
            let mut back = 0;
            for mark in marks {
                let line = RefundedLine { paid_minor: paid, points, before_minor: before, refunded_minor: mark - before };
                prop_assert!(line.points_back() >= 0);
                back += line.points_back();
                before = mark;
            }
            prop_assert_eq!(back, points);
        }
    }
}
