//! Jobs of behaviour.

use std::time::Duration;

use async_trait::async_trait;
use huika_db::jobs::{Cadence, Job, JobError, JobHandler, Schedule};

use crate::Behavior;

/// The queue of [`Retain`].
pub const RETAIN_QUEUE: &str = "behavior.retain";

/// Deletes events that are older than the settings keep them. Counts stay.
pub struct Retain(pub Behavior);

#[async_trait]
impl JobHandler for Retain {
    fn queue(&self) -> &'static str {
        RETAIN_QUEUE
    }

    async fn run(&self, _: &Job) -> Result<(), JobError> {
        while self.0.delete_expired().await.map_err(JobError::retry)? > 0 {}
        Ok(())
    }
}

/// When the jobs run.
pub fn schedules() -> Vec<Schedule> {
    vec![Schedule {
        name: "behavior.retain",
        cadence: Cadence::Every(Duration::from_secs(3_600)),
        queue: RETAIN_QUEUE,
        payload: "{}".to_owned(),
    }]
}
