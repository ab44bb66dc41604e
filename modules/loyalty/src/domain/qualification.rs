//! What a member must do to reach a tier and to keep it: metrics, the period over which they are summed, how long
//! a tier holds and what follows (S1-9, S1-10, S2-3 to S2-6).

use std::collections::BTreeMap;

use huika_core::{BusinessDate, Calendar, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a tier can be measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Net spend in minor units.
    Spend,
    /// Orders that were not refunded whole.
    Orders,
    /// Growth value.
    Growth,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 3] = [Self::Spend, Self::Orders, Self::Growth];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spend => "spend",
            Self::Orders => "orders",
            Self::Growth => "growth",
        }
    }
}

/// What a member did in some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Metrics {
    /// Spend in minor units.
    pub spend_minor: i64,
    /// Orders.
    pub orders: i64,
    /// Growth value.
    pub growth: i64,
}

impl Metrics {
    /// The value of one metric.
    pub fn of(&self, metric: Metric) -> i64 {
        match metric {
            Metric::Spend => self.spend_minor,
            Metric::Orders => self.orders,
            Metric::Growth => self.growth,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            spend_minor: self.spend_minor - other.spend_minor,
            orders: self.orders - other.orders,
            growth: self.growth - other.growth,
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            spend_minor: self.spend_minor + other.spend_minor,
            orders: self.orders + other.orders,
            growth: self.growth + other.growth,
        }
    }
}

/// Lowest values of metrics. Those that are not named do not matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Net spend in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spend_minor: Option<i64>,
    /// Orders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orders: Option<i64>,
    /// Growth value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth: Option<i64>,
}

impl Thresholds {
    /// A threshold of net spend alone.
    pub fn spend(minor: i64) -> Self {
        Self {
            spend_minor: Some(minor),
            ..Self::default()
        }
    }

    /// The threshold of a metric, where there is one.
    pub fn of(&self, metric: Metric) -> Option<i64> {
        match metric {
            Metric::Spend => self.spend_minor,
            Metric::Orders => self.orders,
            Metric::Growth => self.growth,
        }
    }

    /// The metrics that matter, with their thresholds.
    pub fn named(&self) -> impl Iterator<Item = (Metric, i64)> + '_ {
        Metric::ALL
            .into_iter()
            .filter_map(|metric| Some((metric, self.of(metric)?)))
    }

    /// Whether metrics satisfy them. Where none is named, everybody does.
    pub fn met_by(&self, metrics: &Metrics, combine: Combine) -> bool {
        let mut named = self
            .named()
            .map(|(metric, least)| metrics.of(metric) >= least)
            .peekable();
        if named.peek().is_none() {
            return true;
        }
        match combine {
            Combine::All => named.all(|met| met),
            Combine::Any => named.any(|met| met),
        }
    }
}

/// Whether a tier asks for all of its thresholds or for one of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Every threshold that is named.
    #[default]
    All,
    /// One threshold is enough.
    Any,
}

/// Over what time metrics are summed, by business dates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Period {
    /// Everything ever.
    #[default]
    Lifetime,
    /// From 1 January to 31 December.
    CalendarYear,
    /// The last so many months, up to and with today.
    RollingMonths {
        /// How many.
        months: u16,
    },
    /// The year of membership: from the date of registration to the day before its anniversary. Whoever registered
    /// on 29 February begins on 28 February in other years.
    Anniversary,
}

impl Period {
    /// The first date of the period that a date lies in. `None`: since ever.
    pub fn first_date(self, joined_on: BusinessDate, date: BusinessDate) -> Option<BusinessDate> {
        match self {
            Self::Lifetime => None,
            Self::CalendarYear => Some(date.start_of_year()),
            Self::RollingMonths { months } => Some(date.plus_months(-i32::from(months)).plus_days(1)),
            Self::Anniversary => Some(last_anniversary(joined_on, date)),
        }
    }

    /// The last date of the period that a date lies in. `None` where the period has no end of its own.
    pub fn last_date(self, joined_on: BusinessDate, date: BusinessDate) -> Option<BusinessDate> {
        match self {
            Self::Lifetime | Self::RollingMonths { .. } => None,
            Self::CalendarYear => Some(date.end_of_year()),
            Self::Anniversary => {
                let years = years_between(joined_on, last_anniversary(joined_on, date)) + 1;
                Some(joined_on.plus_months(12 * years).plus_days(-1))
            }
        }
    }
}

fn years_between(joined_on: BusinessDate, date: BusinessDate) -> i32 {
    i32::from(date.year()) - i32::from(joined_on.year())
}

fn last_anniversary(joined_on: BusinessDate, date: BusinessDate) -> BusinessDate {
    let years = years_between(joined_on, date);
    let this_year = joined_on.plus_months(12 * years);
    if this_year <= date {
        this_year
    } else {
        joined_on.plus_months(12 * (years - 1))
    }
}

/// How long a tier holds before it is evaluated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Validity {
    /// It is never evaluated.
    #[default]
    Forever,
    /// To the end of the period in which it was reached, and so many periods more.
    PeriodEnd {
        /// How many more.
        further: u8,
    },
    /// So many months from the day on which it was reached.
    Months {
        /// How many.
        months: u16,
    },
}

/// What happens to whoever does not keep a tier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Downgrade {
    /// The tier stays.
    #[default]
    Never,
    /// One tier lower.
    OneStep,
    /// The tier that the metrics of the period reach.
    Reached,
}

/// What a refund does to the tier that its purchase helped to reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefundEffect {
    /// The tier is lowered with the refund.
    AtOnce,
    /// The refund counts at the next evaluation; what was enjoyed is not taken back.
    #[default]
    AtEvaluation,
    /// Refunds do not touch what counts for tiers.
    Never,
}

/// What happens to members when thresholds change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// Until a member's period ends, the better of the old and the new thresholds counts.
    #[default]
    BetterOfBoth,
    /// The new thresholds count from their date on.
    AtOnce,
}

/// How tiers are reached, kept and lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Qualification {
    /// All thresholds of a tier, or any.
    pub combine: Combine,
    /// Over what time.
    pub period: Period,
    /// How long a tier holds.
    pub validity: Validity,
    /// What follows when it is not kept.
    pub downgrade: Downgrade,
    /// Days that a tier lives on after it was not kept, in which the member can still keep it. 0: none.
    pub grace_days: u16,
    /// What refunds do.
    pub refunds: RefundEffect,
    /// What a change of thresholds does.
    pub transition: Transition,
}

impl Qualification {
    /// Until when a tier holds that begins at a moment. `None`: until something raises it. `evaluated` says that it
    /// begins with an evaluation, which looks at the period before: that one is the first of the periods it holds for.
    pub fn holds_until(
        &self,
        calendar: &Calendar,
        joined_on: BusinessDate,
        from: Timestamp,
        evaluated: bool,
    ) -> Option<Timestamp> {
        let date = calendar.date_of(from);
        match self.validity {
            Validity::Forever => None,
            Validity::PeriodEnd { further } => {
                let further = further.saturating_sub(u8::from(evaluated));
                let last = self.period.last_date(joined_on, date)?;
                let first_after = match self.period {
                    // An anniversary is counted from the registration, so that 29 February comes back.
                    Period::Anniversary => {
                        let years = years_between(joined_on, last.plus_days(1)) + i32::from(further);
                        joined_on.plus_months(12 * years)
                    }
                    _ => last.plus_months(12 * i32::from(further)).plus_days(1),
                };
                Some(calendar.start_of(first_after))
            }
            Validity::Months { months } => Some(calendar.start_of(date.plus_months(months.into()))),
        }
    }
}

/// What a member did on one business date. Refunds count on the date of their purchase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DaySums {
    /// What came in.
    pub gained: Metrics,
    /// What of it was refunded.
    pub refunded: Metrics,
}

impl DaySums {
    /// What counts for tiers.
    pub fn counted(&self, refunds: RefundEffect) -> Metrics {
        match refunds {
            RefundEffect::Never => self.gained,
            RefundEffect::AtOnce | RefundEffect::AtEvaluation => self.gained.minus(self.refunded),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            gained: self.gained.plus(other.gained),
            refunded: self.refunded.plus(other.refunded),
        }
    }
}

/// What a member did, by business date.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activity(BTreeMap<BusinessDate, DaySums>);

impl Activity {
    /// Adds what happened on a date.
    pub fn add(&mut self, date: BusinessDate, sums: DaySums) {
        let day = self.0.entry(date).or_default();
        *day = day.plus(sums);
    }

    /// The sum from a date (`None`: since ever) to another, both included.
    pub fn sum(&self, first: Option<BusinessDate>, last: BusinessDate, refunds: RefundEffect) -> Metrics {
        let days = match first {
            Some(first) if first > last => return Metrics::default(),
            Some(first) => self.0.range(first..=last),
            None => self.0.range(..=last),
        };
        days.fold(Metrics::default(), |sum, (_, day)| sum.plus(day.counted(refunds)))
    }

    /// The dates on which something happened.
    pub fn days(&self) -> impl Iterator<Item = (BusinessDate, &DaySums)> {
        self.0.iter().map(|(date, sums)| (*date, sums))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> BusinessDate {
        text.parse().unwrap()
    }

    #[test]
    fn periods_by_date() {
        let rolling = Period::RollingMonths { months: 12 };
        // period, joined, date, first, last
        let table = [
            (Period::Lifetime, "2024-02-29", "2026-06-15", None, None),
            (
                Period::CalendarYear,
                "2024-02-29",
                "2026-06-15",
                Some("2026-01-01"),
                Some("2026-12-31"),
            ),
            (
                Period::CalendarYear,
                "2024-02-29",
                "2026-12-31",
                Some("2026-01-01"),
                Some("2026-12-31"),
            ),
            (
                Period::CalendarYear,
                "2024-02-29",
                "2027-01-01",
                Some("2027-01-01"),
                Some("2027-12-31"),
            ),
            (rolling, "2024-02-29", "2026-06-15", Some("2025-06-16"), None),
            (rolling, "2024-02-29", "2028-02-29", Some("2027-03-01"), None),
            (rolling, "2024-02-29", "2029-02-28", Some("2028-02-29"), None),
            (
                Period::Anniversary,
                "2024-02-29",
                "2025-02-27",
                Some("2024-02-29"),
                Some("2025-02-27"),
            ),
            (
                Period::Anniversary,
                "2024-02-29",
                "2025-02-28",
                Some("2025-02-28"),
                Some("2026-02-27"),
            ),
            (
                Period::Anniversary,
                "2024-02-29",
                "2028-02-28",
                Some("2027-02-28"),
                Some("2028-02-28"),
            ),
            (
                Period::Anniversary,
                "2024-02-29",
                "2028-02-29",
                Some("2028-02-29"),
                Some("2029-02-27"),
            ),
            (
                Period::Anniversary,
                "2025-12-31",
                "2026-12-30",
                Some("2025-12-31"),
                Some("2026-12-30"),
            ),
            (
                Period::Anniversary,
                "2025-12-31",
                "2026-12-31",
                Some("2026-12-31"),
                Some("2027-12-30"),
            ),
            // Before the registration: late facts.
            (
                Period::Anniversary,
                "2025-06-01",
                "2025-05-01",
                Some("2024-06-01"),
                Some("2025-05-31"),
            ),
        ];
        for (period, joined, on, first, last) in table {
            assert_eq!(
                (
                    period.first_date(date(joined), date(on)),
                    period.last_date(date(joined), date(on))
                ),
                (first.map(date), last.map(date)),
                "{period:?} {joined} {on}"
            );
        }
    }

    #[test]
    fn how_long_a_tier_holds() {
        let calendar = Calendar::try_new("Asia/Shanghai").unwrap();
        let (year, member_year) = (Period::CalendarYear, Period::Anniversary);
        let end = |further| Validity::PeriodEnd { further };
        let months = |months| Validity::Months { months };
        // period, validity, joined, begins on, by evaluation, first date on which it does not hold any more
        let table = [
            (year, Validity::Forever, "2025-05-05", "2026-06-15", false, None),
            (
                year,
                end(0),
                "2025-05-05",
                "2026-12-31",
                false,
                Some("2027-01-01"),
            ),
            (
                year,
                end(1),
                "2025-05-05",
                "2026-01-01",
                false,
                Some("2028-01-01"),
            ),
            (year, end(0), "2025-05-05", "2027-01-01", true, Some("2028-01-01")),
            (year, end(1), "2025-05-05", "2028-01-01", true, Some("2029-01-01")),
            (year, end(2), "2025-05-05", "2028-01-01", true, Some("2030-01-01")),
            (
                year,
                months(12),
                "2025-05-05",
                "2028-02-29",
                false,
                Some("2029-02-28"),
            ),
            (
                year,
                months(12),
                "2025-05-05",
                "2029-02-28",
                true,
                Some("2030-02-28"),
            ),
            (
                year,
                months(1),
                "2025-05-05",
                "2026-01-31",
                false,
                Some("2026-02-28"),
            ),
            (
                member_year,
                end(0),
                "2025-05-05",
                "2026-05-04",
                false,
                Some("2026-05-05"),
            ),
            (
                member_year,
                end(0),
                "2025-05-05",
                "2026-05-05",
                false,
                Some("2027-05-05"),
            ),
            (
                member_year,
                end(0),
                "2024-02-29",
                "2027-06-01",
                false,
                Some("2028-02-29"),
            ),
            (
                member_year,
                end(1),
                "2024-02-29",
                "2027-06-01",
                false,
                Some("2029-02-28"),
            ),
        ];
        for (period, validity, joined, reached, evaluated, until) in table {
            let qualification = Qualification {
                period,
                validity,
                ..Qualification::default()
            };
            // The last millisecond of the day is still that day.
            let moment = calendar.end_of(date(reached)).plus_millis(-1);
            assert_eq!(
                qualification.holds_until(&calendar, date(joined), moment, evaluated),
                until.map(|on| calendar.start_of(date(on))),
                "{period:?} {validity:?} {joined} {reached} {evaluated}"
            );
        }
    }

    #[test]
    fn thresholds_of_one_and_more_metrics() {
        let both = Thresholds {
            spend_minor: Some(1_000),
            orders: Some(3),
            growth: None,
        };
        // thresholds, combine, spend, orders, met
        let table = [
            (Thresholds::default(), Combine::All, 0, 0, true),
            (Thresholds::default(), Combine::Any, -5, 0, true),
            (Thresholds::spend(1_000), Combine::All, 999, 9, false),
            (Thresholds::spend(1_000), Combine::All, 1_000, 0, true),
            (both, Combine::All, 1_000, 2, false),
            (both, Combine::All, 1_000, 3, true),
            (both, Combine::Any, 999, 2, false),
            (both, Combine::Any, 999, 3, true),
            (both, Combine::Any, 1_000, 0, true),
        ];
        for (thresholds, combine, spend_minor, orders, met) in table {
            let metrics = Metrics {
                spend_minor,
                orders,
                growth: 0,
            };
            assert_eq!(
                thresholds.met_by(&metrics, combine),
                met,
                "{thresholds:?} {combine:?} {metrics:?}"
            );
        }
    }

    #[test]
    fn refunds_count_on_the_date_of_their_purchase() {
        let of = |spend_minor| Metrics {
            spend_minor,
            orders: 1,
            growth: spend_minor,
        };
        let mut activity = Activity::default();
        activity.add(
            date("2026-12-31"),
            DaySums {
                gained: of(500),
                refunded: Metrics::default(),
            },
        );
        activity.add(
            date("2027-01-01"),
            DaySums {
                gained: of(300),
                refunded: Metrics::default(),
            },
        );
        activity.add(
            date("2026-12-31"),
            DaySums {
                gained: Metrics::default(),
                refunded: of(500),
            },
        );
        let last = date("2027-06-30");
        let sum = |first: Option<&str>, refunds| activity.sum(first.map(date), last, refunds);
        assert_eq!(sum(None, RefundEffect::AtEvaluation), of(300));
        assert_eq!(sum(Some("2027-01-01"), RefundEffect::AtEvaluation), of(300));
        assert_eq!(
            sum(Some("2027-01-02"), RefundEffect::AtEvaluation),
            Metrics::default()
        );
        assert_eq!(sum(None, RefundEffect::Never).spend_minor, 800);
        assert_eq!(sum(Some("2027-07-01"), RefundEffect::Never), Metrics::default());
    }
}
