//! Jobs that call a use case of a module which has none of its own.

use std::time::Duration;

use async_trait::async_trait;
use huika_db::jobs::{Cadence, Job, JobError, JobHandler, Schedule};
use huika_staff::Staff;

const TIDY_STAFF: &str = "staff.tidy";

/// Removes sessions and windows of failed log-ins that ended long ago.
pub(crate) struct TidyStaff(pub(crate) Staff);

#[async_trait]
impl JobHandler for TidyStaff {
    fn queue(&self) -> &'static str {
        TIDY_STAFF
    }

    async fn run(&self, _: &Job) -> Result<(), JobError> {
        while self.0.tidy().await.map_err(JobError::retry)? > 0 {}
        Ok(())
    }
}

/// When they run.
pub(crate) fn schedules() -> Vec<Schedule> {
    vec![Schedule {
        name: TIDY_STAFF,
        cadence: Cadence::Every(Duration::from_secs(3_600)),
        queue: TIDY_STAFF,
        payload: "{}".to_owned(),
    }]
}
