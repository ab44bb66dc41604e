//! Jobs of staff.

use std::time::Duration;

use async_trait::async_trait;
use huika_db::jobs::{Cadence, Job, JobError, JobHandler, Schedule};

use crate::Staff;

/// The queue of [`Tidy`].
pub const TIDY_QUEUE: &str = "staff.tidy";

/// Removes sessions and windows of failed log-ins that have ended.
pub struct Tidy(pub Staff);

#[async_trait]
impl JobHandler for Tidy {
    fn queue(&self) -> &'static str {
        TIDY_QUEUE
    }

    async fn run(&self, _: &Job) -> Result<(), JobError> {
        while self.0.tidy().await.map_err(JobError::retry)? > 0 {}
        Ok(())
    }
}

/// When the jobs run.
pub fn schedules() -> Vec<Schedule> {
    vec![Schedule {
        name: "staff.tidy",
        cadence: Cadence::Every(Duration::from_secs(3_600)),
        queue: TIDY_QUEUE,
        payload: "{}".to_owned(),
    }]
}
