//! When points can be spent and when they are lost.

use huika_core::BusinessDate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What sets free the points of a purchase after its pending days.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Release {
    /// The date alone.
    #[default]
    Date,
    /// The confirmation of the purchase, such as the receipt of the goods, and not before the date.
    ConfirmationAndDate,
}

/// When points are lost. Always at the end of a business date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// At the end of the quarter that lies so many quarters after the purchase.
    EndOfQuarterAfter {
        /// How many.
        quarters: u16,
    },
    /// At the end of the year that lies so many years after the purchase.
    EndOfYearAfter {
        /// How many.
        years: u8,
    },
    /// On the next such day of the year that is at least so many days after the purchase; 29 February falls on the
    /// 28th in other years.
    FixedDay {
        /// 1 to 12.
        month: i8,
        /// 1 to 31, as far as the month goes.
        day: i8,
        /// How long points live at least.
        at_least_days: u16,
    },
    /// So many months after the last purchase or use of points: each of them prolongs all that the member has.
    MonthsAfterActivity {
        /// How many.
        months: u16,
    },
}

impl ExpiryRule {
    /// The last business date of points earned on a date.
    pub fn last_date(self, earned_on: BusinessDate) -> Option<BusinessDate> {
        let months_on = |months: u32| earned_on.plus_months(i32::try_from(months).unwrap_or(i32::MAX));
        match self {
            Self::Never => None,
            Self::DaysAfter { days } => Some(earned_on.plus_days(days.into())),
            Self::EndOfMonthAfter { months } => Some(months_on(months.into()).end_of_month()),
            Self::EndOfQuarterAfter { quarters } => {
                // From the first of the month, so that a short month in between shifts nothing.
                let begin = earned_on.start_of_month();
                Some(begin.plus_months(3 * i32::from(quarters)).end_of_quarter())
            }
            Self::EndOfYearAfter { years } => Some(months_on(u32::from(years) * 12).end_of_year()),
            Self::FixedDay {
                month,
                day,
                at_least_days,
            } => {
                let earliest = earned_on.plus_days(at_least_days.into());
                let in_year = |year| day_of_year(year, month, day);
                in_year(earliest.year())
                    .filter(|date| *date >= earliest)
                    .or_else(|| in_year(earliest.year() + 1))
            }
            Self::MonthsAfterActivity { months } => Some(months_on(months.into())),
        }
    }

    /// Months that it lasts at most, for its limit.
    pub(crate) fn most_months(self) -> u32 {
        match self {
            Self::Never => 0,
            Self::DaysAfter { days } => u32::from(days) / 28,
            Self::EndOfMonthAfter { months } | Self::MonthsAfterActivity { months } => months.into(),
            Self::EndOfQuarterAfter { quarters } => u32::from(quarters) * 3,
            Self::EndOfYearAfter { years } => u32::from(years) * 12,
            Self::FixedDay { at_least_days, .. } => u32::from(at_least_days) / 28 + 12,
        }
    }
}

/// A day of some year; the last of its month where that has fewer days.
pub(crate) fn day_of_year(year: i16, month: i8, day: i8) -> Option<BusinessDate> {
    let first = BusinessDate::try_new(year, month, 1).ok()?;
    Some(
        first
            .plus_days(i32::from(day.clamp(1, 31)) - 1)
            .min(first.end_of_month()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_date_of_each_mode() {
        use ExpiryRule::*;
        let fixed = |month, day, at_least_days| FixedDay {
            month,
            day,
            at_least_days,
        };
        // mode, earned on, last date
        let table = [
            (Never, "2026-11-22", None),
            (DaysAfter { days: 0 }, "2026-12-31", Some("2026-12-31")),
            (DaysAfter { days: 1 }, "2026-12-31", Some("2027-01-01")),
            (DaysAfter { days: 365 }, "2027-03-01", Some("2028-02-29")),
            (EndOfMonthAfter { months: 0 }, "2028-02-01", Some("2028-02-29")),
            (EndOfMonthAfter { months: 1 }, "2027-01-31", Some("2027-02-28")),
            (EndOfMonthAfter { months: 12 }, "2028-02-29", Some("2029-02-28")),
            (
                EndOfQuarterAfter { quarters: 0 },
                "2026-11-22",
                Some("2026-12-31"),
            ),
            (
                EndOfQuarterAfter { quarters: 0 },
                "2026-12-31",
                Some("2026-12-31"),
            ),
            (
                EndOfQuarterAfter { quarters: 1 },
                "2026-11-30",
                Some("2027-03-31"),
            ),
            (
                EndOfQuarterAfter { quarters: 1 },
                "2027-01-01",
                Some("2027-06-30"),
            ),
            (
                EndOfQuarterAfter { quarters: 4 },
                "2026-05-31",
                Some("2027-06-30"),
            ),
            (EndOfYearAfter { years: 0 }, "2026-12-31", Some("2026-12-31")),
            (EndOfYearAfter { years: 1 }, "2026-01-01", Some("2027-12-31")),
            (EndOfYearAfter { years: 1 }, "2028-02-29", Some("2029-12-31")),
            (fixed(3, 31, 0), "2026-03-31", Some("2026-03-31")),
            (fixed(3, 31, 0), "2026-04-01", Some("2027-03-31")),
            (fixed(3, 31, 90), "2026-12-31", Some("2027-03-31")),
            (fixed(3, 31, 91), "2026-12-31", Some("2028-03-31")),
            (fixed(2, 29, 0), "2027-03-01", Some("2028-02-29")),
            (fixed(2, 29, 0), "2028-03-01", Some("2029-02-28")),
            (
                MonthsAfterActivity { months: 6 },
                "2026-08-31",
                Some("2027-02-28"),
            ),
        ];
        for (rule, earned, last) in table {
            assert_eq!(
                rule.last_date(earned.parse().unwrap())
                    .map(|date| date.to_string())
                    .as_deref(),
                last,
                "{rule:?} {earned}"
            );
        }
    }
}
