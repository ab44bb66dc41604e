//! The job queue: work that outlives the request which asked for it.
//!
//! - A job is enqueued in the caller's transaction, so it exists exactly when its reason does.
//! - A worker holds a job by a lease with a fencing token. It claims by a conditional update and needs no
//!   `SKIP LOCKED` (ADR 7, rule 8). A worker whose fence is old has lost the job: it cannot finish it.
//! - A body may run again after a crash or a lost lease, and two runs may overlap: bodies are safe to repeat.
//! - Finished jobs are deleted. One that keeps failing is kept as dead until an operator replays or discards it.

mod queue;
mod schedule;
mod worker;

use std::{borrow::Cow, error::Error, time::Duration};

use async_trait::async_trait;
use huika_core::{Id, IdKind, Timestamp};
use serde::de::DeserializeOwned;

use crate::DbError;

pub use queue::{
    JobCursor, QueueHealth, claim, complete, discard_in_tx, enqueue_all_in_tx, enqueue_in_tx, fail,
    list_jobs, measure_jobs, renew, replay_in_tx,
};
pub use schedule::{Cadence, Schedule, fire_schedules};
pub use worker::Worker;

/// Runs of one job before it is dead.
pub const MAX_ATTEMPTS: u32 = 8;
/// How long a claim lasts without renewal. The jobs of a killed worker run elsewhere after this.
pub const LEASE: Duration = Duration::from_secs(60);
/// The longest pause between two attempts of one job.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(2 * 60 * 60);
/// Jobs that one list shows, at most.
pub const MAX_PAGE: u32 = 200;

/// The kind of a job's id.
pub enum JobKind {}
impl IdKind for JobKind {
    const PREFIX: &'static str = "job";
}
/// The id of a job.
pub type JobId = Id<JobKind>;

/// A job to be enqueued.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Which handler runs it, at most 64 characters.
    pub queue: Cow<'static, str>,
    /// JSON for the handler: ids, not copies of people.
    pub payload: String,
    /// Not before this moment.
    pub run_at: Timestamp,
    /// While a job of the queue has this key, another one is left out; at most 128 characters.
    pub unique_key: Option<String>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    /// Waits for its time or for a worker.
    Ready,
    /// A worker holds it.
    Running,
    /// Failed for good, until an operator replays or discards it.
    Dead,
}

impl JobState {
    const fn as_i64(self) -> i64 {
        match self {
            Self::Ready => 0,
            Self::Running => 1,
            Self::Dead => 2,
        }
    }

    fn from_i64(number: i64) -> Result<Self, DbError> {
        match number {
            0 => Ok(Self::Ready),
            1 => Ok(Self::Running),
            2 => Ok(Self::Dead),
            _ => Err(DbError::corrupt("state")),
        }
    }

    /// Its name in lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Dead => "dead",
        }
    }
}

/// A job as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The id.
    pub id: JobId,
    /// Which handler runs it.
    pub queue: String,
    /// JSON for the handler.
    pub payload: String,
    /// Where it stands.
    pub state: JobState,
    /// Not before this moment. Of a dead job: when it died.
    pub run_at: Timestamp,
    /// Runs so far, the present one included.
    pub attempts: u32,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// The key that keeps the same work from being queued twice.
    pub unique_key: Option<String>,
    fence: i64,
    leased_until: i64,
}

impl Job {
    /// When another worker may take the job; long ago while nobody holds it.
    pub fn leased_until(&self) -> Timestamp {
        Timestamp::from_millis(self.leased_until)
    }

    /// The payload as its type.
    ///
    /// # Errors
    /// [`JobError::Fail`] when the payload has another form, which trying again does not change.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, JobError> {
        serde_json::from_str(&self.payload).map_err(JobError::fail)
    }
}

/// Why a job did not succeed, and so what becomes of it. The text is shown to operators: no personal data.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It may succeed later: tried again after a pause, [`MAX_ATTEMPTS`] times in all.
    #[error("{0}")]
    Retry(#[source] Box<dyn Error + Send + Sync>),
    /// It will never succeed: dead at once.
    #[error("{0}")]
    Fail(#[source] Box<dyn Error + Send + Sync>),
}

impl JobError {
    /// It may succeed later.
    pub fn retry(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Retry(error.into())
    }

    /// It will never succeed.
    pub fn fail(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Fail(error.into())
    }
}

impl From<DbError> for JobError {
    /// A database that fails is tried again, also where the cause is a bug: it may be fixed meanwhile.
    fn from(error: DbError) -> Self {
        Self::retry(error)
    }
}

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Succeeded and deleted.
    Done,
    /// Failed; runs again later.
    Retried,
    /// Failed for good.
    Dead,
    /// Another worker has it: nothing was changed.
    Lost,
}

impl Outcome {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retried => "retried",
            Self::Dead => "dead",
            Self::Lost => "lost",
        }
    }
}

/// Runs the jobs of one queue.
#[async_trait]
pub trait JobHandler: Send + Sync {
    /// The queue.
    fn queue(&self) -> &'static str;

    /// Runs one job. Safe to repeat, to run late and to be dropped in the middle.
    ///
    /// # Errors
    /// [`JobError::Retry`] to run again later, [`JobError::Fail`] when that would not help.
    async fn run(&self, job: &Job) -> Result<(), JobError>;
}
