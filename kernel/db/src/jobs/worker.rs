//! The worker: dispatches events, fires schedules and runs jobs until it is told to stop.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt as _;
use huika_core::IdGenerator;
use tokio::{sync::watch, task::JoinSet};

use super::{
    Job, JobError, JobHandler, LEASE, Outcome, Schedule, claim, complete, fail, fire_schedules, queue, renew,
};
use crate::{
    Db, DbError, lease,
    outbox::{self, Envelope, Subscriber},
};

/// The pause of a worker that found nothing to do.
const IDLE_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause of a worker whose database does not answer.
const LONGEST_IDLE_PAUSE: Duration = Duration::from_secs(10);
/// How often a running job's lease is renewed: a third of it, so that two renewals may fail.
const RENEW_EVERY: Duration = Duration::from_secs(LEASE.as_secs() / 3);
/// How long a stopping worker waits for its jobs. The leases of those that it leaves behind lapse.
const STOP_GRACE: Duration = Duration::from_secs(20);
/// Jobs that run at once unless told otherwise.
const PARALLEL: usize = 4;
/// Jobs that [`Worker::run_due`] claims at a time.
const DUE_AT_ONCE: usize = 64;

/// Everything that one process does behind the scenes. Any number of processes may run one.
#[derive(Clone)]
pub struct Worker {
    /// The database of the queue.
    pub db: Db,
    /// Makes the ids of jobs.
    pub ids: IdGenerator,
    /// One per queue.
    pub handlers: Vec<Arc<dyn JobHandler>>,
    /// Who is told about events.
    pub subscribers: Vec<Arc<dyn Subscriber>>,
    /// What comes back by itself.
    pub schedules: Vec<Schedule>,
    /// How many jobs run at once.
    pub parallel: usize,
}

impl Worker {
    /// A worker without anything to do yet.
    pub fn new(db: Db, ids: IdGenerator) -> Self {
        let (handlers, subscribers, schedules) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            db,
            ids,
            handlers,
            subscribers,
            schedules,
            parallel: PARALLEL,
        }
    }

    /// Dispatches events, fires schedules and runs jobs, one after the other, until nothing is due, and tells
    /// how many runs that were. For tests and the demo.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn run_due(&self) -> Result<usize, DbError> {
        let queues = self.queues();
        let mut runs = 0;
        loop {
            let moved = self.dispatch_and_fire().await?;
            let jobs = claim(&self.db, &queues, DUE_AT_ONCE).await?;
            if moved == 0 && jobs.is_empty() {
                return Ok(runs);
            }
            for job in jobs {
                self.execute(job).await;
                runs += 1;
            }
        }
    }

    /// Works until `stop` becomes true or its sender is gone, then lets the running jobs finish.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let worker = Arc::new(self);
        let queues = worker.queues();
        let mut running = JoinSet::new();
        let mut pause = IDLE_PAUSE;
        while !*stop.borrow_and_update() {
            let free = worker.parallel.max(1).saturating_sub(running.len());
            let idle = match worker.step(&queues, free).await {
                Ok((moved, jobs)) => {
                    pause = IDLE_PAUSE;
                    let idle = moved == 0 && jobs.is_empty();
                    for job in jobs {
                        let worker = Arc::clone(&worker);
                        running.spawn(async move { worker.execute(job).await });
                    }
                    idle
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the worker cannot reach its queue"
                    );
                    pause = (pause * 2).min(LONGEST_IDLE_PAUSE);
                    true
                }
            };
            if idle || running.len() >= worker.parallel {
                tokio::select! {
                    () = worker.db.clock().sleep(pause) => {}
                    Some(_) = running.join_next() => {}
                    _ = stop.wait_for(|stop| *stop) => break,
                }
            }
            while running.try_join_next().is_some() {}
        }
        tokio::select! {
            () = worker.db.clock().sleep(STOP_GRACE) => {
                tracing::warn!(jobs = running.len(), "jobs are abandoned; they run again when their leases lapse");
            }
            () = async { while running.join_next().await.is_some() {} } => {}
        }
        running.shutdown().await;
    }

    async fn step(&self, queues: &[String], free: usize) -> Result<(usize, Vec<Job>), DbError> {
        let moved = self.dispatch_and_fire().await?;
        Ok((moved, claim(&self.db, queues, free).await?))
    }

    async fn dispatch_and_fire(&self) -> Result<usize, DbError> {
        let fired = fire_schedules(&self.db, &self.ids, &self.schedules).await?;
        Ok(fired + outbox::dispatch_once(&self.db, &self.ids, &self.subscribers).await?)
    }

    fn queues(&self) -> Vec<String> {
        let of_handlers = self.handlers.iter().map(|handler| handler.queue().to_owned());
        of_handlers
            .chain(
                self.subscribers
                    .iter()
                    .map(|subscriber| outbox::queue_of(subscriber.as_ref())),
            )
            .collect()
    }

    /// Runs one claimed job and settles it.
    async fn execute(&self, job: Job) -> Outcome {
        let body = AssertUnwindSafe(self.body(&job)).catch_unwind();
        let result = tokio::select! {
            result = body => result.unwrap_or_else(|_| Err(JobError::retry("the job panicked"))),
            // Dropping the body is all that can be done, and rolls back what it has open.
            () = self.until_lost(&job) => {
                tracing::warn!(job = %job.id, queue = job.queue, "the job's lease is lost; its run is abandoned");
                queue::count(&job.queue, Outcome::Lost);
                return Outcome::Lost;
            }
        };
        if let Err(error) = &result {
            let error = error as &dyn std::error::Error;
            tracing::warn!(job = %job.id, queue = job.queue, attempt = job.attempts, error, "the job failed");
        }
        let settled = match &result {
            Ok(()) => complete(&self.db, &job).await,
            Err(error) => fail(&self.db, &job, error).await,
        };
        settled.unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(job = %job.id, queue = job.queue, error, "the job's end is not recorded; it runs again");
            Outcome::Lost
        })
    }

    async fn body(&self, job: &Job) -> Result<(), JobError> {
        if let Some(handler) = self.handlers.iter().find(|handler| handler.queue() == job.queue) {
            return handler.run(job).await;
        }
        let subscriber = self
            .subscribers
            .iter()
            .find(|subscriber| outbox::queue_of(subscriber.as_ref()) == job.queue);
        match subscriber {
            Some(subscriber) => subscriber.handle(&job.payload::<Envelope>()?).await,
            None => Err(JobError::retry("nobody handles this queue")),
        }
    }

    /// Renews the job's lease until it is lost.
    async fn until_lost(&self, job: &Job) {
        let renew = || renew(&self.db, job);
        let lease = queue::millis(LEASE);
        lease::keep(self.db.clock(), lease, RENEW_EVERY, job.leased_until(), renew).await;
    }
}
