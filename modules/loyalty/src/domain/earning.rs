//! What earns beside the base rate: promotions on purchases, things that members do, and the limits of both.

use huika_core::{Bilingual, BusinessDate, Rate, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::wire::{BilingualForm, RateForm};

/// Limits of what one member gets, by business dates of the programme. A week begins on Monday.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Caps {
    /// Points in a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_day: Option<i64>,
    /// Points from Monday to Sunday.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_week: Option<i64>,
    /// Points in a month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_month: Option<i64>,
}

/// The time that a cap counts over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CapPeriod {
    /// A business date.
    Day,
    /// Monday to Sunday.
    Week,
    /// A month.
    Month,
    /// All time and all members: a budget.
    Budget,
}

impl CapPeriod {
    /// The first date of the period that a date lies in. A budget has one period.
    pub fn begins_on(self, date: BusinessDate) -> BusinessDate {
        match self {
            Self::Day => date,
            Self::Week => date.plus_days(1 - i32::from(date.weekday())),
            Self::Month => date.start_of_month(),
            Self::Budget => BusinessDate::from_days(0),
        }
    }

    /// What people call the limit.
    pub fn words(self) -> Bilingual {
        match self {
            Self::Day => Bilingual::new("每日上限", "the daily cap"),
            Self::Week => Bilingual::new("每周上限", "the weekly cap"),
            Self::Month => Bilingual::new("每月上限", "the monthly cap"),
            Self::Budget => Bilingual::new("活动预算", "the budget"),
        }
    }
}

impl Caps {
    /// The caps that are set.
    pub fn set(&self) -> impl Iterator<Item = (CapPeriod, i64)> + '_ {
        [
            (CapPeriod::Day, self.per_day),
            (CapPeriod::Week, self.per_week),
            (CapPeriod::Month, self.per_month),
        ]
        .into_iter()
        .filter_map(|(period, cap)| Some((period, cap?)))
    }
}

/// Which purchases a promotion is for. What is empty or absent does not matter; everything else must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PurchaseCondition {
    /// Paid at this moment or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// Paid before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Days of the week, 1 for Monday to 7 for Sunday.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weekdays: Vec<i8>,
    /// Days of the month.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub days_of_month: Vec<i8>,
    /// Categories of lines: the promotion is for these lines alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Channels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
    /// Stores.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<String>,
    /// Codes of the member's tier at the time of the order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<String>,
    /// The member's first order alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub first_order: bool,
    /// What was paid for the whole order, at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least_paid_minor: Option<i64>,
}

/// What a purchase is, for conditions.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    /// When it was paid.
    pub moment: Timestamp,
    /// The business date of that moment.
    pub date: BusinessDate,
    /// Where.
    pub channel: &'a str,
    /// In which store.
    pub store: Option<&'a str>,
    /// The code of the tier at the time of the order.
    pub tier: &'a str,
    /// Whether the member has no order before.
    pub first_order: bool,
    /// What was paid for the whole order.
    pub paid_minor: i64,
}

impl PurchaseCondition {
    /// Whether it holds for a purchase as a whole.
    pub fn holds(&self, occasion: &Occasion<'_>) -> bool {
        fn any<T: PartialEq + ?Sized>(listed: &[impl AsRef<T>], value: &T) -> bool {
            listed.is_empty() || listed.iter().any(|one| one.as_ref() == value)
        }
        let on = |days: &[i8], day: i8| days.is_empty() || days.contains(&day);
        self.from.is_none_or(|from| from <= occasion.moment)
            && self.until.is_none_or(|until| occasion.moment < until)
            && on(&self.weekdays, occasion.date.weekday())
            && on(&self.days_of_month, occasion.date.day())
            && any::<str>(&self.channels, occasion.channel)
            && (self.stores.is_empty()
                || occasion
                    .store
                    .is_some_and(|store| any::<str>(&self.stores, store)))
            && any::<str>(&self.tiers, occasion.tier)
            && (!self.first_order || occasion.first_order)
            && self
                .least_paid_minor
                .is_none_or(|least| least <= occasion.paid_minor)
    }

    /// Whether it is for a line of a category.
    pub fn covers(&self, category: Option<&str>) -> bool {
        self.categories.is_empty()
            || category.is_some_and(|category| self.categories.iter().any(|one| one == category))
    }
}

/// What a promotion does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// Another base rate, in points per minor unit. Of several, the first one counts.
    BaseRate {
        /// The rate.
        #[schema(value_type = RateForm)]
        points_rate: Rate,
    },
    /// Multiplies what the tier's multiplier gives.
    Multiply {
        /// By what.
        #[schema(value_type = RateForm)]
        multiplier: Rate,
    },
    /// Lifts the multiplier to this, where the tier and other promotions give less.
    AtLeast {
        /// To what.
        #[schema(value_type = RateForm)]
        multiplier: Rate,
    },
    /// Adds points to the order.
    Add {
        /// How many.
        points: i64,
    },
}

/// A promotion on purchases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Promotion {
    /// Stable.
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[a-z0-9_]{1,32}$",
        example = "double_eleven"
    )]
    pub code: String,
    /// What people call it.
    #[schema(value_type = BilingualForm)]
    pub name: Bilingual,
    /// Which purchases it is for.
    #[serde(default)]
    pub when: PurchaseCondition,
    /// What it does.
    pub effect: Effect,
    /// What one member gets of it.
    #[serde(default)]
    pub caps: Caps,
    /// Points that it grants to all members together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<i64>,
}

impl Promotion {
    /// The limits that are set.
    pub fn limits(&self) -> impl Iterator<Item = (CapPeriod, i64)> + '_ {
        self.caps
            .set()
            .chain(self.budget.map(|budget| (CapPeriod::Budget, budget)))
    }
}

/// How much of a limit was used before, and takes note of what is used.
pub trait Limits {
    /// What was used of a limit in the period that a date lies in.
    fn used(&self, code: &str, period: CapPeriod, date: BusinessDate) -> i64;
}

/// Nothing was used of any limit.
#[derive(Debug, Clone, Copy)]
pub struct Unused;
impl Limits for Unused {
    fn used(&self, _: &str, _: CapPeriod, _: BusinessDate) -> i64 {
        0
    }
}

/// What a limit left of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limited {
    /// Which limit.
    pub by: CapPeriod,
    /// What was left of it.
    pub left: i64,
}

/// The limit that leaves least of `points`, if one leaves less than all.
pub fn limit(
    limits: &impl Limits,
    code: &str,
    caps: impl Iterator<Item = (CapPeriod, i64)>,
    date: BusinessDate,
    points: i64,
) -> Option<Limited> {
    caps.map(|(by, cap)| Limited {
        by,
        left: (cap - limits.used(code, by, date)).max(0),
    })
    .filter(|limited| limited.left < points)
    .min_by_key(|limited| (limited.left, limited.by))
}

/// The code under which the caps of the whole programme are counted.
pub const WHOLE_PROGRAM: &str = "program";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_a_purchase() {
        let calendar = huika_core::Calendar::try_new("Asia/Shanghai").unwrap();
        let sunday = "2026-11-22T04:00:00Z".parse::<Timestamp>().unwrap();
        let occasion = Occasion {
            moment: sunday,
            date: calendar.date_of(sunday),
            channel: "pos",
            store: Some("s1"),
            tier: "silver",
            first_order: false,
            paid_minor: 26_800,
        };
        let any = PurchaseCondition::default;
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let table = [
            ("nothing asked", any(), true),
            (
                "from that moment",
                PurchaseCondition {
                    from: at("2026-11-22T04:00:00Z"),
                    ..any()
                },
                true,
            ),
            (
                "a moment later",
                PurchaseCondition {
                    from: at("2026-11-22T04:00:00.001Z"),
                    ..any()
                },
                false,
            ),
            (
                "until that moment",
                PurchaseCondition {
                    until: at("2026-11-22T04:00:00Z"),
                    ..any()
                },
                false,
            ),
            (
                "Sunday",
                PurchaseCondition {
                    weekdays: vec![7],
                    ..any()
                },
                true,
            ),
            (
                "weekend without Sunday",
                PurchaseCondition {
                    weekdays: vec![6],
                    ..any()
                },
                false,
            ),
            (
                "the 22nd",
                PurchaseCondition {
                    days_of_month: vec![8, 22],
                    ..any()
                },
                true,
            ),
            (
                "the 8th",
                PurchaseCondition {
                    days_of_month: vec![8],
                    ..any()
                },
                false,
            ),
            (
                "another channel",
                PurchaseCondition {
                    channels: texts(&["shop"]),
                    ..any()
                },
                false,
            ),
            (
                "this store",
                PurchaseCondition {
                    stores: texts(&["s0", "s1"]),
                    ..any()
                },
                true,
            ),
            (
                "another store",
                PurchaseCondition {
                    stores: texts(&["s2"]),
                    ..any()
                },
                false,
            ),
            (
                "another tier",
                PurchaseCondition {
                    tiers: texts(&["gold"]),
                    ..any()
                },
                false,
            ),
            (
                "first order",
                PurchaseCondition {
                    first_order: true,
                    ..any()
                },
                false,
            ),
            (
                "enough",
                PurchaseCondition {
                    least_paid_minor: Some(26_800),
                    ..any()
                },
                true,
            ),
            (
                "not enough",
                PurchaseCondition {
                    least_paid_minor: Some(26_801),
                    ..any()
                },
                false,
            ),
        ];
        for (what, condition, holds) in table {
            assert_eq!(condition.holds(&occasion), holds, "{what}");
        }
        let nowhere = Occasion {
            store: None,
            ..occasion
        };
        assert!(
            !PurchaseCondition {
                stores: texts(&["s1"]),
                ..any()
            }
            .holds(&nowhere)
        );
        let tea = PurchaseCondition {
            categories: texts(&["tea"]),
            ..any()
        };
        assert!(
            tea.covers(Some("tea")) && !tea.covers(Some("cups")) && !tea.covers(None) && any().covers(None)
        );
    }

    #[test]
    fn periods_of_caps_begin_at_local_midnight_mondays_and_firsts() {
        // date, week, month
        let table = [
            ("2026-11-22", "2026-11-16", "2026-11-01"),
            ("2026-11-23", "2026-11-23", "2026-11-01"),
            ("2027-01-01", "2026-12-28", "2027-01-01"),
            ("2028-02-29", "2028-02-28", "2028-02-01"),
        ];
        for (date, week, month) in table {
            let date: BusinessDate = date.parse().unwrap();
            assert_eq!(CapPeriod::Week.begins_on(date).to_string(), week);
            assert_eq!(CapPeriod::Month.begins_on(date).to_string(), month);
            assert_eq!(CapPeriod::Day.begins_on(date), date);
        }
    }
}
