//! Work that comes back by itself. However many workers run, one of them makes the job, in the transaction
//! that moves the schedule on; runs that were missed while nobody worked are made up for by one.
//!
//! An enum instead of cron expressions: nobody misreads it, and the daily form knows the program's time zone.

use std::{collections::HashMap, time::Duration};

use huika_core::{Calendar, IdGenerator, Timestamp};

use super::{NewJob, enqueue_in_tx, queue::millis};
use crate::{Db, DbError, Executor, Tx, dialect::Insert, params};

/// When a schedule makes a job.
#[derive(Debug, Clone)]
pub enum Cadence {
    /// Again and again after this long, at least a second.
    Every(Duration),
    /// Every day at a time on the wall clock. A time that a clock change skips comes as much later as was skipped.
    DailyAt {
        /// The program's time zone.
        calendar: Calendar,
        /// The hour, 0 to 23.
        hour: u8,
        /// The minute, 0 to 59.
        minute: u8,
    },
}

/// Work that comes back by itself.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The stable name, at most 64 characters.
    pub name: &'static str,
    /// When.
    pub cadence: Cadence,
    /// The queue of its jobs.
    pub queue: &'static str,
    /// JSON for the handler.
    pub payload: String,
}

impl Cadence {
    /// The first time after `now`, for a schedule that was to run at `due`.
    fn next(&self, due: Timestamp, now: Timestamp) -> Result<Timestamp, DbError> {
        match self {
            // In step with the past, however late this one is.
            Self::Every(period) => {
                let period = millis(*period).max(1_000);
                Ok(due.plus_millis((now.millis_since(due).max(0) / period + 1) * period))
            }
            Self::DailyAt {
                calendar,
                hour,
                minute,
            } => {
                let today = calendar.date_of(now);
                let at = |date| {
                    calendar
                        .parse_local(&format!("{date} {hour:02}:{minute:02}:00"))
                        .map_err(|error| DbError::Setup(error.to_string()))
                };
                let next = at(today)?;
                if next > now {
                    Ok(next)
                } else {
                    at(today.plus_days(1))
                }
            }
        }
    }
}

/// Makes the jobs of the schedules that are due and tells how many. A schedule that is new waits for its first
/// time; several workers may call this at once.
///
/// # Errors
/// When the database fails; [`DbError::Setup`] when a schedule names an impossible time.
pub async fn fire_schedules(db: &Db, ids: &IdGenerator, schedules: &[Schedule]) -> Result<usize, DbError> {
    if schedules.is_empty() {
        return Ok(0);
    }
    let now = db.clock().now();
    let mut planned = HashMap::new();
    for row in (&mut &*db)
        .fetch_all("SELECT name, next_at FROM kernel_schedule", params![])
        .await?
    {
        planned.insert(row.get::<String>("name")?, row.get::<Timestamp>("next_at")?);
    }
    let mut fired = 0;
    for schedule in schedules {
        let first = schedule.cadence.next(now, now)?;
        let Some(due) = planned.get(schedule.name).copied() else {
            db.run_tx("jobs.schedule.add", |tx| Box::pin(add_in_tx(tx, schedule, first)))
                .await?;
            continue;
        };
        // Later than any plan made now: the cadence became shorter, or the clock was set back.
        if due > first {
            db.run_tx("jobs.schedule.move", |tx| {
                Box::pin(move_in_tx(tx, schedule, due, first))
            })
            .await?;
        } else if due <= now {
            let next = schedule.cadence.next(due, now)?;
            let fire = db.run_tx("jobs.schedule.fire", |tx| {
                Box::pin(fire_in_tx(tx, ids, schedule, due, next))
            });
            fired += usize::from(fire.await?);
        }
    }
    Ok(fired)
}

async fn add_in_tx(tx: &mut Tx<'_>, schedule: &Schedule, first: Timestamp) -> Result<(), DbError> {
    let mut insert = Insert::into_table("kernel_schedule", &["name", "next_at", "last_at"]).skip_existing();
    insert.push(params![schedule.name, first, None::<i64>]);
    tx.insert(insert).await.map(drop)
}

async fn move_in_tx(
    tx: &mut Tx<'_>,
    schedule: &Schedule,
    from: Timestamp,
    to: Timestamp,
) -> Result<(), DbError> {
    let sql = "UPDATE kernel_schedule SET next_at = ? WHERE name = ? AND next_at = ?";
    tx.execute(sql, params![to, schedule.name, from]).await.map(drop)
}

async fn fire_in_tx(
    tx: &mut Tx<'_>,
    ids: &IdGenerator,
    schedule: &Schedule,
    due: Timestamp,
    next: Timestamp,
) -> Result<bool, DbError> {
    let now = tx.db().clock().now();
    let sql = "UPDATE kernel_schedule SET next_at = ?, last_at = ? WHERE name = ? AND next_at = ?";
    // No row: another worker was faster.
    if tx.execute(sql, params![next, now, schedule.name, due]).await? == 0 {
        return Ok(false);
    }
    let job = NewJob {
        queue: schedule.queue.into(),
        payload: schedule.payload.clone(),
        run_at: now,
        unique_key: None,
    };
    enqueue_in_tx(tx, ids, job).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_late_run_keeps_step_and_is_not_made_up_for_twice() {
        let every = Cadence::Every(Duration::from_secs(600));
        let due = moment("2026-11-21T02:00:00Z");
        assert_eq!(every.next(due, due).unwrap(), moment("2026-11-21T02:10:00Z"));
        assert_eq!(
            every.next(due, moment("2026-11-23T09:04:59Z")).unwrap(),
            moment("2026-11-23T09:10:00Z")
        );
    }

    #[test]
    fn a_daily_time_is_that_of_the_zone() {
        let calendar = Calendar::try_new("Asia/Shanghai").unwrap();
        let daily = Cadence::DailyAt {
            calendar,
            hour: 3,
            minute: 30,
        };
        let next = |now: &str| daily.next(Timestamp::MIN, moment(now)).unwrap().to_string();
        assert_eq!(next("2026-11-21T19:29:59Z"), "2026-11-21T19:30:00.000Z");
        assert_eq!(next("2026-11-21T19:30:00Z"), "2026-11-22T19:30:00.000Z");
    }

    #[test]
    fn a_daily_time_that_a_clock_change_skips_still_comes() {
        let calendar = Calendar::try_new("Europe/Berlin").unwrap();
        let daily = Cadence::DailyAt {
            calendar,
            hour: 2,
            minute: 30,
        };
        let next = daily
            .next(Timestamp::MIN, moment("2027-03-27T12:00:00Z"))
            .unwrap();
        assert_eq!(next, moment("2027-03-28T01:30:00Z"));
    }
}
