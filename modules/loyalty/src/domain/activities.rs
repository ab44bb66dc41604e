//! What members earn by what they do: registering, a complete profile, a review, the daily check-in and whatever else
//! the shop reports (S1-12 to S1-14, S2-7 to S2-9).

use huika_core::{Bilingual, BusinessDate, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CapPeriod, Caps};
use crate::wire::BilingualForm;

/// Something that a member does and that may earn.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ActivityKind {
    /// Registering. Once.
    Registration,
    /// Completing the profile. Once.
    ProfileCompleted,
    /// Reviewing a line of an order. Once for each line.
    Review,
    /// An event that the shop or the member app reports under a name of its own.
    Event {
        /// The name.
        #[schema(
            min_length = 1,
            max_length = 32,
            pattern = "^[a-z0-9_]{1,32}$",
            example = "shared_recipe"
        )]
        name: String,
    },
}

/// What an activity earns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivityRule {
    /// Stable.
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[a-z0-9_]{1,32}$",
        example = "review"
    )]
    pub code: String,
    /// What people call it.
    #[schema(value_type = BilingualForm)]
    pub name: Bilingual,
    /// Which activity.
    pub on: ActivityKind,
    /// Points.
    #[schema(minimum = 0, maximum = 1_000_000, example = 20)]
    pub points: i64,
    /// Growth value.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1_000_000_000, example = 0)]
    pub growth: i64,
    /// From this moment on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// Before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Codes of tiers; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 20)]
    pub tiers: Vec<String>,
    /// What one member gets by it.
    #[serde(default)]
    pub caps: Caps,
    /// Points that it grants to all members together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub budget: Option<i64>,
}

impl ActivityRule {
    /// Whether it rewards an activity of a member of a tier at a moment.
    pub fn rewards(&self, kind: &ActivityKind, moment: Timestamp, tier: &str) -> bool {
        self.on == *kind
            && self.from.is_none_or(|from| from <= moment)
            && self.until.is_none_or(|until| moment < until)
            && (self.tiers.is_empty() || self.tiers.iter().any(|code| code == tier))
    }

    /// The limits that are set.
    pub fn limits(&self) -> impl Iterator<Item = (CapPeriod, i64)> + '_ {
        self.caps
            .set()
            .chain(self.budget.map(|budget| (CapPeriod::Budget, budget)))
    }
}

/// The daily check-in: once each business date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckInRule {
    /// Points of each day.
    #[schema(minimum = 0, maximum = 1_000_000, example = 5)]
    pub points: i64,
    /// Points that certain days of a streak bring in addition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 31)]
    pub streaks: Vec<StreakBonus>,
    /// When a streak begins anew even though no day was missed.
    #[serde(default)]
    pub restart: StreakRestart,
    /// How missed days are made up for. Absent: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub make_up: Option<MakeUp>,
}

/// A day of a streak that brings more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreakBonus {
    /// Which day of the streak.
    #[schema(minimum = 1, maximum = 366, example = 7)]
    pub day: u16,
    /// Points in addition.
    #[schema(minimum = 1, maximum = 1_000_000, example = 50)]
    pub points: i64,
}

/// When a streak begins anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StreakRestart {
    /// When a day was missed, and only then.
    #[default]
    Never,
    /// On the first of each month.
    Monthly,
    /// After so many days.
    AfterDays {
        /// How many.
        #[schema(minimum = 1, maximum = 366, example = 7)]
        days: u16,
    },
}

/// How a missed day is made up for (补签).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MakeUp {
    /// How many days back at most.
    #[schema(minimum = 1, maximum = 31, example = 3)]
    pub days_back: u16,
    /// What it costs in points.
    #[schema(minimum = 0, maximum = 1_000_000, example = 10)]
    pub cost_points: i64,
    /// How often in a month.
    #[schema(minimum = 1, maximum = 31, example = 2)]
    pub per_month: u16,
}

impl CheckInRule {
    /// Which day of its streak a date is. `checked_in` are the dates before it on which the member checked in.
    pub fn streak_day(&self, date: BusinessDate, checked_in: impl Fn(BusinessDate) -> bool) -> u16 {
        let mut days: u16 = 1;
        let mut day = date;
        while days < u16::MAX && !(self.restart == StreakRestart::Monthly && day.day() == 1) {
            day = day.plus_days(-1);
            if !checked_in(day) {
                break;
            }
            days += 1;
        }
        match self.restart {
            StreakRestart::AfterDays { days: cycle } => (days - 1) % cycle.max(1) + 1,
            StreakRestart::Never | StreakRestart::Monthly => days,
        }
    }

    /// The points of a day of a streak.
    pub fn points_of(&self, streak_day: u16) -> i64 {
        let bonus = self.streaks.iter().find(|bonus| bonus.day == streak_day);
        self.points + bonus.map_or(0, |bonus| bonus.points)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_a_streak() {
        let rule = |restart| CheckInRule {
            points: 5,
            streaks: vec![
                StreakBonus { day: 3, points: 10 },
                StreakBonus { day: 7, points: 50 },
            ],
            restart,
            make_up: None,
        };
        let (never, monthly) = (StreakRestart::Never, StreakRestart::Monthly);
        let week = StreakRestart::AfterDays { days: 7 };
        // restart, date, first day of an unbroken row up to the day before, day of the streak, points
        let table = [
            (never, "2026-11-22", "2026-11-22", 1, 5),
            (never, "2026-11-22", "2026-11-21", 2, 5),
            (never, "2026-11-22", "2026-11-20", 3, 15),
            (never, "2026-12-02", "2026-11-26", 7, 55),
            (monthly, "2026-12-02", "2026-11-26", 2, 5),
            (monthly, "2026-12-01", "2026-11-26", 1, 5),
            (monthly, "2028-02-29", "2028-01-01", 29, 5),
            (week, "2026-12-02", "2026-11-26", 7, 55),
            (week, "2026-12-03", "2026-11-26", 1, 5),
            (week, "2027-01-01", "2026-12-26", 7, 55),
        ];
        for (restart, date, first, day, points) in table {
            let (date, first): (BusinessDate, BusinessDate) = (date.parse().unwrap(), first.parse().unwrap());
            let rule = rule(restart);
            let streak = rule.streak_day(date, |other| first <= other && other < date);
            assert_eq!(
                (streak, rule.points_of(streak)),
                (day, points),
                "{restart:?} {date} {first}"
            );
        }
    }
}
