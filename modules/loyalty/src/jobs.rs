//! Jobs of loyalty.

use std::time::Duration;

use async_trait::async_trait;
use huika_db::jobs::{Cadence, Job, JobError, JobHandler, Schedule};

use crate::Loyalty;

/// The queue of [`SettleDue`].
pub const SETTLE_QUEUE: &str = "loyalty.settle_due";

/// Writes down what time has changed: expiry, release, lapse. Balances are right without it; reports and lists
/// over all members follow it.
pub struct SettleDue(pub Loyalty);

#[async_trait]
impl JobHandler for SettleDue {
    fn queue(&self) -> &'static str {
        SETTLE_QUEUE
    }

    async fn run(&self, _: &Job) -> Result<(), JobError> {
        while self.0.ledger().settle_due().await.map_err(JobError::retry)? > 0 {}
        Ok(())
    }
}

/// When the jobs run.
pub fn schedules() -> Vec<Schedule> {
    vec![Schedule {
        name: "loyalty.settle_due",
        cadence: Cadence::Every(Duration::from_secs(600)),
        queue: SETTLE_QUEUE,
        payload: "{}".to_owned(),
    }]
}
