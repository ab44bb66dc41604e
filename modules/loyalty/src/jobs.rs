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

/// The queue of [`EvaluateTiers`].
pub const EVALUATE_QUEUE: &str = "loyalty.evaluate_tiers";

/// Writes down the evaluations of tiers that are due. What a member reads is right without it; the news of a change
/// of tier and the shares of the tiers follow it.
pub struct EvaluateTiers(pub Loyalty);

#[async_trait]
impl JobHandler for EvaluateTiers {
    fn queue(&self) -> &'static str {
        EVALUATE_QUEUE
    }

    async fn run(&self, _: &Job) -> Result<(), JobError> {
        self.0.evaluate_due().await.map(drop).map_err(JobError::retry)
    }
}

/// When the jobs run.
pub fn schedules() -> Vec<Schedule> {
    let every = |queue, seconds| Schedule {
        name: queue,
        cadence: Cadence::Every(Duration::from_secs(seconds)),
        queue,
        payload: "{}".to_owned(),
    };
    vec![every(SETTLE_QUEUE, 600), every(EVALUATE_QUEUE, 600)]
}
