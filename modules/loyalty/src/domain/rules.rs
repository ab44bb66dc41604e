//! The rules of a programme, as an operator publishes them.

use huika_core::{Bilingual, BusinessDate, Calendar, Currency, Rate, Rounding, Timestamp};
use huika_ledger::NegativePolicy;
use serde::{Deserialize, Serialize};

use crate::LoyaltyError;

/// Most tiers of a programme.
const MAX_TIERS: usize = 20;
const MAX_PENDING_DAYS: u16 = 365;
const MAX_EXPIRY_MONTHS: u16 = 240;

/// One version of a programme.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// The zone of the programme's business dates, for example `Asia/Shanghai`.
    pub time_zone: String,
    /// The currency of purchases; others are refused.
    pub currency: Currency,
    /// Points per minor unit: 1/100 is one point per yuan.
    pub points_rate: Rate,
    /// How the part that a multiplier adds becomes whole.
    pub bonus_rounding: Rounding,
    /// Days from the purchase until its points can be spent. A refund within them touches no spendable point.
    pub pending_days: u16,
    /// When points are lost.
    pub expiry: ExpiryRule,
    /// When a refund takes back more points than the member has.
    pub claw_back: NegativePolicy,
    /// Days that points live on which return from a refund after their date. 0: they lapse at once.
    pub grace_days: u16,
    /// From the lowest to the highest. The first begins at zero.
    pub tiers: Vec<Tier>,
}

/// A tier by net spend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Stable, at most 32 lower-case letters, digits and underscores.
    pub code: String,
    /// What people call it.
    pub name: Bilingual,
    /// The growth value from which a member belongs to it, in minor units of net spend.
    pub threshold_minor: i64,
    /// What base points are multiplied by.
    pub multiplier: Rate,
}

/// When points are lost. Always at the end of a business date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ExpiryRule {
    /// Never.
    Never,
    /// So many days after the purchase.
    DaysAfter {
        /// How many.
        days: u16,
    },
    /// At the end of the month that lies so many months after the purchase.
    EndOfMonthAfter {
        /// How many.
        months: u16,
    },
    /// At the end of the year that lies so many years after the purchase.
    EndOfYearAfter {
        /// How many.
        years: u8,
    },
}

impl ExpiryRule {
    /// The last business date of points earned on a date.
    pub fn last_date(self, earned_on: BusinessDate) -> Option<BusinessDate> {
        match self {
            Self::Never => None,
            Self::DaysAfter { days } => Some(earned_on.plus_days(days.into())),
            Self::EndOfMonthAfter { months } => Some(earned_on.plus_months(months.into()).end_of_month()),
            Self::EndOfYearAfter { years } => {
                Some(earned_on.plus_months(i32::from(years) * 12).end_of_year())
            }
        }
    }
}

impl Rules {
    /// Checks what a form cannot: tiers without gaps and falling thresholds, limits, the zone.
    ///
    /// # Errors
    /// [`LoyaltyError::RulesInvalid`] that says what to change.
    pub fn validate(&self) -> Result<(), LoyaltyError> {
        let refuse = |en: String, zh: String| Err(LoyaltyError::RulesInvalid { en, zh });
        if let Err(error) = Calendar::try_new(&self.time_zone) {
            return refuse(
                error.to_string(),
                format!("时区 {} 无效，例如 Asia/Shanghai。", self.time_zone),
            );
        }
        if self.pending_days > MAX_PENDING_DAYS || self.grace_days > MAX_PENDING_DAYS {
            return refuse(
                format!("pending and grace days are at most {MAX_PENDING_DAYS}."),
                format!("待生效天数与宽限天数最多 {MAX_PENDING_DAYS} 天。"),
            );
        }
        let months = match self.expiry {
            ExpiryRule::EndOfMonthAfter { months } => months,
            ExpiryRule::EndOfYearAfter { years } => u16::from(years) * 12,
            ExpiryRule::Never | ExpiryRule::DaysAfter { .. } => 0,
        };
        if months > MAX_EXPIRY_MONTHS {
            return refuse(
                "points expire within 20 years or never.".into(),
                "积分有效期最长 20 年，或设为永不过期。".into(),
            );
        }
        if !self.points_open_before_they_expire() {
            return refuse(
                "points would expire before they can be spent: shorten the pending days or lengthen the expiry.".into(),
                "积分在可用之前就会过期：请缩短待生效天数或延长有效期。".into(),
            );
        }
        if self.points_rate.numerator() > 1_000_000 {
            return refuse("the points rate is too high.".into(), "积分比例过高。".into());
        }
        let Some(first) = self.tiers.first().filter(|_| self.tiers.len() <= MAX_TIERS) else {
            return refuse(
                format!("a programme has 1 to {MAX_TIERS} tiers."),
                format!("等级数量应为 1 到 {MAX_TIERS} 个。"),
            );
        };
        if first.threshold_minor != 0 {
            return refuse(
                "the first tier begins at 0.".into(),
                "第一个等级的门槛必须为 0。".into(),
            );
        }
        for (at, tier) in self.tiers.iter().enumerate() {
            let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if !(1..=32).contains(&tier.code.len()) || !tier.code.bytes().all(known) {
                return refuse(
                    format!(
                        "the code {:?} has 1 to 32 lower-case letters, digits and underscores.",
                        tier.code
                    ),
                    format!("等级代码 {:?} 应为 1 到 32 位小写字母、数字或下划线。", tier.code),
                );
            }
            if tier.name.zh.is_empty()
                || tier.name.en.is_empty()
                || tier.name.zh.len().max(tier.name.en.len()) > 90
            {
                return refuse(
                    format!("tier {} needs a short name in both languages.", tier.code),
                    format!("等级 {} 需要中英文名称。", tier.code),
                );
            }
            let before = &self.tiers[..at];
            if before.iter().any(|other| other.code == tier.code) {
                return refuse(
                    format!("the code {} occurs twice.", tier.code),
                    format!("等级代码 {} 重复。", tier.code),
                );
            }
            if before
                .last()
                .is_some_and(|lower| lower.threshold_minor >= tier.threshold_minor)
            {
                return refuse(
                    format!(
                        "the threshold of {} must lie above that of the tier before it.",
                        tier.code
                    ),
                    format!("等级 {} 的门槛必须高于前一等级。", tier.code),
                );
            }
            if tier.multiplier.numerator() < tier.multiplier.denominator()
                || tier.multiplier.numerator() / tier.multiplier.denominator() > 100
            {
                return refuse(
                    format!("the multiplier of {} lies between 1 and 100.", tier.code),
                    format!("等级 {} 的积分倍数应在 1 到 100 之间。", tier.code),
                );
            }
        }
        Ok(())
    }

    /// Whether points can be spent on at least their last date, whatever day they are earned on.
    fn points_open_before_they_expire(&self) -> bool {
        // Four years hold every kind of day: ends of months and years, and 29 February.
        const DAYS: i32 = 4 * 366;
        let Ok(first) = BusinessDate::try_new(2028, 1, 1) else {
            return false;
        };
        (0..DAYS).map(|day| first.plus_days(day)).all(|earned_on| {
            let opens_on = earned_on.plus_days(self.pending_days.into());
            self.expiry
                .last_date(earned_on)
                .is_none_or(|last| opens_on <= last)
        })
    }

    /// The calendar of the programme.
    pub fn calendar(&self) -> Calendar {
        // Published rules were validated, zone included.
        Calendar::try_new(&self.time_zone).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// A tier by its code; absent where another version has it.
    pub fn tier(&self, code: &str) -> Option<&Tier> {
        self.tiers.iter().find(|tier| tier.code == code)
    }

    /// When points of a purchase become available and when they expire.
    pub fn dates(&self, effective_at: Timestamp) -> (Option<Timestamp>, Option<Timestamp>) {
        let calendar = self.calendar();
        let earned_on = calendar.date_of(effective_at);
        let available =
            (self.pending_days > 0).then(|| calendar.start_of(earned_on.plus_days(self.pending_days.into())));
        let expires = self.expiry.last_date(earned_on).map(|date| calendar.end_of(date));
        (available, expires)
    }
}

/// What a shop starts with: ¥1 is one point, three tiers at ¥0, ¥1,000 and ¥5,000 (S1-62, S1-63, S1-67).
pub fn default_rules() -> Rules {
    let tier = |code: &str, zh: &str, en: &str, threshold_minor, multiplier| Tier {
        code: code.to_owned(),
        name: Bilingual::new(zh, en),
        threshold_minor,
        multiplier,
    };
    let rate = |numerator, denominator| Rate::try_new(numerator, denominator).unwrap_or(Rate::ONE);
    Rules {
        time_zone: "Asia/Shanghai".to_owned(),
        currency: Currency::CNY,
        points_rate: rate(1, 100),
        bonus_rounding: Rounding::HalfUp,
        pending_days: 0,
        expiry: ExpiryRule::EndOfYearAfter { years: 1 },
        claw_back: NegativePolicy::GoNegative { limit: 100_000 },
        grace_days: 30,
        tiers: vec![
            tier("bronze", "青铜会员", "Bronze", 0, Rate::ONE),
            tier("silver", "白银会员", "Silver", 100_000, rate(12, 10)),
            tier("gold", "黄金会员", "Gold", 500_000, rate(15, 10)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_contradict_themselves_are_refused() {
        assert!(default_rules().validate().is_ok());
        let refused = |change: fn(&mut Rules)| {
            let mut rules = default_rules();
            change(&mut rules);
            rules.validate().is_err()
        };
        assert!(refused(|rules| rules.tiers.clear()));
        assert!(refused(|rules| rules.tiers[0].threshold_minor = 1));
        assert!(refused(|rules| rules.tiers[2].threshold_minor = 100_000));
        assert!(refused(|rules| rules.tiers[1].code = "gold".into()));
        assert!(refused(
            |rules| rules.tiers[1].multiplier = Rate::try_new(1, 2).unwrap_or(Rate::ONE)
        ));
        assert!(refused(|rules| rules.time_zone = "Mars".into()));
        assert!(refused(|rules| rules.pending_days = 366));
    }

    #[test]
    fn points_must_open_before_they_expire() {
        let table = [
            // pending days, expiry, possible
            (7, ExpiryRule::DaysAfter { days: 7 }, true),
            (8, ExpiryRule::DaysAfter { days: 7 }, false),
            (0, ExpiryRule::EndOfMonthAfter { months: 0 }, true),
            // Earned on the last day of a month.
            (1, ExpiryRule::EndOfMonthAfter { months: 0 }, false),
            // From 31 January to 28 February.
            (28, ExpiryRule::EndOfMonthAfter { months: 1 }, true),
            (29, ExpiryRule::EndOfMonthAfter { months: 1 }, false),
            (1, ExpiryRule::EndOfYearAfter { years: 0 }, false),
            (365, ExpiryRule::EndOfYearAfter { years: 1 }, true),
            (365, ExpiryRule::Never, true),
        ];
        for (pending_days, expiry, possible) in table {
            let mut rules = default_rules();
            (rules.pending_days, rules.expiry) = (pending_days, expiry);
            assert_eq!(rules.validate().is_ok(), possible, "{pending_days} {expiry:?}");
        }
    }

    #[test]
    fn expiry_falls_on_the_end_of_its_date() {
        let date: BusinessDate = "2028-02-29".parse().unwrap();
        let table = [
            (ExpiryRule::Never, None),
            (ExpiryRule::DaysAfter { days: 1 }, Some("2028-03-01")),
            (ExpiryRule::EndOfMonthAfter { months: 0 }, Some("2028-02-29")),
            (ExpiryRule::EndOfMonthAfter { months: 12 }, Some("2029-02-28")),
            (ExpiryRule::EndOfYearAfter { years: 1 }, Some("2029-12-31")),
        ];
        for (rule, last) in table {
            assert_eq!(
                rule.last_date(date).map(|date| date.to_string()).as_deref(),
                last,
                "{rule:?}"
            );
        }
    }
}
