//! Moments, business dates and the calendar that joins them.
//!
//! A moment is stored as UTC milliseconds. A business date is a date in the time zone of the program
//! (Asia/Shanghai by default); "expires on" a date means the end of that date in that zone.

use std::{fmt, str::FromStr};

use jiff::{civil::Date, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The text or number is no time that Huika can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTime(String);

/// A moment in UTC with a resolution of one millisecond, between the years 1970 and 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const MIN: Self = Self(0);
    /// 9999-01-01T00:00:00Z.
    pub const MAX: Self = Self(253_370_764_800_000);

    /// From milliseconds of Unix time, as stored.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds of Unix time.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment and `millis` more, within the range of moments.
    pub fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis).clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Milliseconds from `earlier` to this moment; negative when it is later.
    pub fn millis_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}
impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for Timestamp {
    type Err = InvalidTime;
    /// Reads RFC 3339 with a zone, for example `2026-11-21T10:00:00Z` or `…+08:00`.
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let moment: jiff::Timestamp = text
            .parse()
            .map_err(|_| InvalidTime("a time is written like 2026-11-21T10:00:00+08:00".into()))?;
        let moment = Self(moment.as_millisecond());
        if moment < Self::MIN || moment > Self::MAX {
            return Err(InvalidTime("a time lies between the years 1970 and 9999".into()));
        }
        Ok(moment)
    }
}
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A date in the program's time zone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BusinessDate(Date);

impl Default for BusinessDate {
    /// 1970-01-01.
    fn default() -> Self {
        Self(Date::constant(1970, 1, 1))
    }
}

impl BusinessDate {
    /// A date of the Gregorian calendar.
    ///
    /// # Errors
    /// When no such date exists.
    pub fn try_new(year: i16, month: i8, day: i8) -> Result<Self, InvalidTime> {
        Date::new(year, month, day)
            .map(Self)
            .map_err(|_| InvalidTime(format!("there is no date {year:04}-{month:02}-{day:02}")))
    }

    /// The date `days` later, or the last date that exists.
    pub fn plus_days(self, days: i32) -> Self {
        Self(self.0.saturating_add(jiff::Span::new().days(days)))
    }

    /// The same day `months` later; the last day of the month where the day does not exist.
    pub fn plus_months(self, months: i32) -> Self {
        Self(self.0.saturating_add(jiff::Span::new().months(months)))
    }

    /// The last date of its month.
    pub fn end_of_month(self) -> Self {
        Self(self.0.last_of_month())
    }

    /// The last date of its year.
    pub fn end_of_year(self) -> Self {
        Self(self.0.last_of_year())
    }

    /// The year.
    pub fn year(self) -> i16 {
        self.0.year()
    }

    /// The month, 1 to 12.
    pub fn month(self) -> i8 {
        self.0.month()
    }

    /// The day of the month, 1 to 31.
    pub fn day(self) -> i8 {
        self.0.day()
    }

    /// The day of the week, 1 for Monday to 7 for Sunday (ISO 8601).
    pub fn weekday(self) -> i8 {
        self.0.weekday().to_monday_one_offset()
    }

    /// The first date of its month.
    pub fn start_of_month(self) -> Self {
        Self(self.0.first_of_month())
    }

    /// The first date of its year.
    pub fn start_of_year(self) -> Self {
        Self(self.0.first_of_year())
    }

    /// The last date of its quarter.
    pub fn end_of_quarter(self) -> Self {
        let months_left = (3 - self.month() % 3) % 3;
        self.plus_months(i32::from(months_left)).end_of_month()
    }

    /// Days since 1970-01-01: the form in which tables hold a date.
    pub fn as_days(self) -> i64 {
        let epoch = Date::constant(1970, 1, 1);
        self.0.duration_since(epoch).as_hours() / 24
    }

    /// The date so many days after 1970-01-01.
    pub fn from_days(days: i64) -> Self {
        let epoch = Self(Date::constant(1970, 1, 1));
        epoch.plus_days(i32::try_from(days).unwrap_or(i32::MAX))
    }
}

impl fmt::Display for BusinessDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl fmt::Debug for BusinessDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl FromStr for BusinessDate {
    type Err = InvalidTime;
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        text.parse()
            .map(Self)
            .map_err(|_| InvalidTime("a date is written like 2026-11-21 and must exist".into()))
    }
}
impl Serialize for BusinessDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for BusinessDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A program's time zone: turns moments into business dates and back.
#[derive(Clone, Debug)]
pub struct Calendar(TimeZone);

impl Calendar {
    /// The calendar of a zone by its IANA name, for example `Asia/Shanghai`.
    ///
    /// # Errors
    /// When the name is not in the time zone database.
    pub fn try_new(zone: &str) -> Result<Self, InvalidTime> {
        TimeZone::get(zone).map(Self).map_err(|_| {
            InvalidTime(format!(
                "the time zone {zone} is not known; use a name like Asia/Shanghai"
            ))
        })
    }

    /// The business date of a moment.
    pub fn date_of(&self, moment: Timestamp) -> BusinessDate {
        let moment = jiff::Timestamp::from_millisecond(moment.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        BusinessDate(self.0.to_datetime(moment).date())
    }

    /// The first moment of a date. Where a clock change skips midnight, the first moment that exists.
    pub fn start_of(&self, date: BusinessDate) -> Timestamp {
        let midnight = date.0.to_zoned(self.0.clone()).map(|zoned| zoned.timestamp());
        let moment = midnight.map_or(Timestamp::MAX.0, |moment| moment.as_millisecond());
        Timestamp(moment.clamp(Timestamp::MIN.0, Timestamp::MAX.0))
    }

    /// The first moment after a date: what "expires on" the date means.
    pub fn end_of(&self, date: BusinessDate) -> Timestamp {
        self.start_of(date.plus_days(1))
    }

    /// The moment of a date and time on the wall clock of the zone, `YYYY-MM-DD hh:mm:ss`.
    ///
    /// # Errors
    /// When the text has another form or names no existing date and time.
    pub fn parse_local(&self, text: &str) -> Result<Timestamp, InvalidTime> {
        let invalid = || {
            InvalidTime(format!(
                "{text:?} is not a date and time like 2026-11-21 10:00:00"
            ))
        };
        let civil: jiff::civil::DateTime = text.parse().map_err(|_| invalid())?;
        let zoned = civil.to_zoned(self.0.clone()).map_err(|_| invalid())?;
        let moment = Timestamp(zoned.timestamp().as_millisecond());
        if moment < Timestamp::MIN || moment > Timestamp::MAX {
            return Err(invalid());
        }
        Ok(moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shanghai() -> Calendar {
        Calendar::try_new("Asia/Shanghai").unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_date_ends_at_local_midnight() {
        let date: BusinessDate = "2026-12-31".parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(shanghai().end_of(date).to_string(), "2026-12-31T16:00:00.000Z");
        assert_eq!(
            shanghai().date_of(shanghai().end_of(date)).to_string(),
            "2027-01-01"
        );
    }

    #[test]
    fn months_end_where_the_day_does_not_exist() {
        let date = BusinessDate::try_new(2028, 1, 31).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(date.plus_months(1).to_string(), "2028-02-29");
        assert_eq!(date.plus_months(13).to_string(), "2029-02-28");
    }

    #[test]
    fn impossible_times_are_refused() {
        assert!("2026-02-30".parse::<BusinessDate>().is_err());
        assert!("2026-11-21T25:00:00Z".parse::<Timestamp>().is_err());
        assert!(
            "2026-11-21 10:00:00".parse::<Timestamp>().is_err(),
            "a zone is required"
        );
        assert!("-000001-01-01T00:00:00Z".parse::<Timestamp>().is_err());
        assert!(Calendar::try_new("Mars/Olympus").is_err());
    }
}
