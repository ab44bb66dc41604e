//! Jobs of members.

use std::time::Duration;

use async_trait::async_trait;
use huika_db::jobs::{Cadence, Job, JobError, JobHandler, Schedule};

use crate::Members;

/// The queue of [`RotateKeys`].
pub const ROTATE_QUEUE: &str = "members.rotate_keys";
/// The queue of [`EraseClosed`].
pub const ERASE_QUEUE: &str = "members.erase_closed";
/// How long the data of a member who has left is kept: records of transactions are kept for three years at least (E-Commerce
/// Law, article 31).
pub const KEEP_CLOSED: Duration = Duration::from_secs(3 * 366 * 24 * 60 * 60);

/// Brings members under the newest keys, step by step. Where everybody is done already it costs one read.
pub struct RotateKeys(pub Members);

#[async_trait]
impl JobHandler for RotateKeys {
    fn queue(&self) -> &'static str {
        ROTATE_QUEUE
    }

    async fn run(&self, _: &Job) -> Result<(), JobError> {
        while self.0.rotate_keys_step().await.map_err(JobError::retry)? > 0 {}
        Ok(())
    }
}

/// Erases members who left long ago.
pub struct EraseClosed {
    /// The members.
    pub members: Members,
    /// How long their data is kept after they left.
    pub keep: Duration,
}

#[async_trait]
impl JobHandler for EraseClosed {
    fn queue(&self) -> &'static str {
        ERASE_QUEUE
    }

    async fn run(&self, _: &Job) -> Result<(), JobError> {
        let keep = i64::try_from(self.keep.as_millis()).unwrap_or(i64::MAX);
        let before = self.members.now().plus_millis(-keep);
        let mut last = None;
        loop {
            last = self
                .members
                .erase_closed(before, last)
                .await
                .map_err(JobError::retry)?;
            if last.is_none() {
                return Ok(());
            }
        }
    }
}

/// When the jobs run.
pub fn schedules() -> Vec<Schedule> {
    let hourly = |name, queue| Schedule {
        name,
        cadence: Cadence::Every(Duration::from_secs(3_600)),
        queue,
        payload: "{}".to_owned(),
    };
    vec![
        hourly("members.rotate_keys", ROTATE_QUEUE),
        hourly("members.erase_closed", ERASE_QUEUE),
    ]
}
