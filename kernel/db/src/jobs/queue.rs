//! The table behind the queue: every change of a job's row is conditional on its fence or its state.

use std::time::Duration;

use huika_core::{IdGenerator, Timestamp};

use super::{Job, JobError, JobId, JobState, LEASE, LONGEST_PAUSE, MAX_ATTEMPTS, MAX_PAGE, NewJob, Outcome};
use crate::{Db, DbError, Executor, Param, Row, Tx, dialect::Insert, params};

/// The pause after the first failure; each further one is [`PAUSE_GROWTH`] times as long. Eight attempts span
/// about four hours, so that an outage of a night's maintenance does not fill the list of dead jobs.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const PAUSE_GROWTH: u32 = 4;
/// The width of the column.
const MAX_ERROR_CHARACTERS: usize = 1_000;

const COLUMNS: &str = "job_id, queue, payload, state, run_at, attempts, fence, leased_until, created_at, last_error, \
                       unique_key";
const INSERT_COLUMNS: &[&str] = &[
    "job_id",
    "queue",
    "payload",
    "state",
    "run_at",
    "attempts",
    "fence",
    "leased_until",
    "created_at",
    "last_error",
    "unique_key",
];

/// Where a page of [`list_jobs`] begins: after this job.
pub type JobCursor = (Timestamp, JobId);

/// Enqueues a job with the caller's transaction and tells whether it is new: one whose unique key exists is
/// left alone.
///
/// # Errors
/// When the database fails.
pub async fn enqueue_in_tx(tx: &mut Tx<'_>, ids: &IdGenerator, job: NewJob) -> Result<bool, DbError> {
    Ok(enqueue_all_in_tx(tx, ids, vec![job]).await? == 1)
}

/// Enqueues several jobs and tells how many are new.
///
/// # Errors
/// When the database fails.
pub async fn enqueue_all_in_tx(
    tx: &mut Tx<'_>,
    ids: &IdGenerator,
    jobs: Vec<NewJob>,
) -> Result<u64, DbError> {
    let now = tx.db().clock().now();
    let mut repeatable = Insert::into_table("kernel_job", INSERT_COLUMNS);
    // Only these may be left out: skipping would also hide the collision of two ids.
    let mut unique = Insert::into_table("kernel_job", INSERT_COLUMNS).skip_existing();
    for job in jobs {
        let insert = if job.unique_key.is_some() {
            &mut unique
        } else {
            &mut repeatable
        };
        insert.push(params![
            ids.next::<super::JobKind>(),
            job.queue.into_owned(),
            job.payload,
            JobState::Ready.as_i64(),
            job.run_at,
            0_i64,
            0_i64,
            0_i64,
            now,
            None::<String>,
            job.unique_key,
        ]);
    }
    Ok(tx.insert(repeatable).await? + tx.insert(unique).await?)
}

/// Takes up to `limit` due jobs of some queues, and those whose worker let its lease lapse.
///
/// # Errors
/// When the database fails.
pub async fn claim(db: &Db, queues: &[String], limit: usize) -> Result<Vec<Job>, DbError> {
    if queues.is_empty() || limit == 0 {
        return Ok(Vec::new());
    }
    let now = db.clock().now();
    let candidates = &candidates(db, queues, now, limit).await?;
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let (claimed, buried): (Vec<Job>, Vec<&Job>) = db
        .run_tx("jobs.claim", |tx| {
            Box::pin(async move {
                let (mut claimed, mut buried) = (Vec::with_capacity(candidates.len()), Vec::new());
                for job in candidates {
                    if job.attempts < MAX_ATTEMPTS {
                        claimed.extend(claim_in_tx(tx, job, now).await?);
                    } else if bury_in_tx(tx, job, now).await? {
                        buried.push(job);
                    }
                }
                Ok::<_, DbError>((claimed, buried))
            })
        })
        .await?;
    for job in buried {
        tracing::error!(job = %job.id, queue = job.queue, "the job is dead: its worker stopped in every attempt");
        count(&job.queue, Outcome::Dead);
    }
    Ok(claimed)
}

/// Reads more than is wanted and picks a random run of it, so that many workers rarely want the same jobs.
async fn candidates(db: &Db, queues: &[String], now: Timestamp, limit: usize) -> Result<Vec<Job>, DbError> {
    let wide = (limit * 4) as i64;
    let queues = || Param::Texts(queues.to_vec());
    let mut found = Vec::new();
    for (condition, state) in [
        ("run_at <= ?", JobState::Ready),
        // Its worker was killed, or has been cut off from the database for a whole lease.
        ("leased_until <= ?", JobState::Running),
    ] {
        let sql = format!(
            "SELECT {COLUMNS} FROM kernel_job WHERE state = ? AND {condition} AND queue IN (??) \
             ORDER BY run_at, job_id LIMIT ?"
        );
        let rows = (&mut &*db)
            .fetch_all(&sql, params![state.as_i64(), now, queues(), wide])
            .await?;
        for row in &rows {
            found.push(job_from(row)?);
        }
    }
    if found.len() > limit {
        let start = db.rng().below((found.len() - limit + 1) as u64) as usize;
        found = found.drain(start..start + limit).collect();
    }
    Ok(found)
}

/// The state and the lease belong to the condition: a worker that came back may just have renewed or returned
/// the job without raising the fence.
const AS_IT_WAS_READ: &str = "job_id = ? AND fence = ? AND state = ? AND leased_until = ?";

async fn claim_in_tx(tx: &mut Tx<'_>, job: &Job, now: Timestamp) -> Result<Option<Job>, DbError> {
    let leased_until = now.plus_millis(millis(LEASE));
    let met = tx
        .execute(
            &format!(
                "UPDATE kernel_job SET state = ?, fence = fence + 1, attempts = attempts + 1, leased_until = ? \
                 WHERE {AS_IT_WAS_READ}"
            ),
            params![
                JobState::Running.as_i64(),
                leased_until,
                job.id,
                job.fence,
                job.state.as_i64(),
                job.leased_until,
            ],
        )
        .await?;
    Ok((met == 1).then(|| Job {
        state: JobState::Running,
        attempts: job.attempts + 1,
        fence: job.fence + 1,
        leased_until: leased_until.as_millis(),
        ..job.clone()
    }))
}

/// A job that takes its worker down with it would otherwise do so for ever.
async fn bury_in_tx(tx: &mut Tx<'_>, job: &Job, now: Timestamp) -> Result<bool, DbError> {
    let sql = format!(
        "UPDATE kernel_job SET state = ?, fence = fence + 1, leased_until = 0, run_at = ?, last_error = ? \
         WHERE {AS_IT_WAS_READ}"
    );
    let (dead, reason) = (
        JobState::Dead.as_i64(),
        "the worker stopped during the last attempt",
    );
    let params = params![
        dead,
        now,
        reason,
        job.id,
        job.fence,
        job.state.as_i64(),
        job.leased_until
    ];
    Ok(tx.execute(&sql, params).await? == 1)
}

/// Extends the lease of a claimed job and tells whether it is still held.
///
/// # Errors
/// When the database fails.
pub async fn renew(db: &Db, job: &Job) -> Result<bool, DbError> {
    let until = db.clock().now().plus_millis(millis(LEASE));
    db.run_tx("jobs.renew", |tx| {
        Box::pin(async move {
            let sql = "UPDATE kernel_job SET leased_until = ? WHERE job_id = ? AND fence = ? AND state = ?";
            Ok(tx
                .execute(sql, params![until, job.id, job.fence, JobState::Running.as_i64()])
                .await?
                == 1)
        })
    })
    .await
}

/// Deletes a claimed job that succeeded.
///
/// # Errors
/// When the database fails.
pub async fn complete(db: &Db, job: &Job) -> Result<Outcome, DbError> {
    let met = db
        .run_tx("jobs.complete", |tx| {
            Box::pin(async move {
                let sql = "DELETE FROM kernel_job WHERE job_id = ? AND fence = ? AND state = ?";
                tx.execute(sql, params![job.id, job.fence, JobState::Running.as_i64()])
                    .await
            })
        })
        .await?;
    Ok(settled(job, met, Outcome::Done))
}

/// Gives back a claimed job that failed: for another attempt after a pause, or as dead.
///
/// # Errors
/// When the database fails.
pub async fn fail(db: &Db, job: &Job, error: &JobError) -> Result<Outcome, DbError> {
    let again = matches!(error, JobError::Retry(_)) && job.attempts < MAX_ATTEMPTS;
    let (state, run_at, outcome) = match (again, db.clock().now()) {
        (true, now) => (
            JobState::Ready,
            now.plus_millis(millis(pause_after(db, job.attempts))),
            Outcome::Retried,
        ),
        (false, now) => (JobState::Dead, now, Outcome::Dead),
    };
    let last_error: &String = &error.to_string().chars().take(MAX_ERROR_CHARACTERS).collect();
    let met = db
        .run_tx("jobs.fail", |tx| {
            Box::pin(async move {
                let sql = "UPDATE kernel_job SET state = ?, run_at = ?, leased_until = 0, last_error = ? \
                           WHERE job_id = ? AND fence = ? AND state = ?";
                let running = JobState::Running.as_i64();
                tx.execute(
                    sql,
                    params![state.as_i64(), run_at, last_error, job.id, job.fence, running],
                )
                .await
            })
        })
        .await?;
    Ok(settled(job, met, outcome))
}

fn settled(job: &Job, met: u64, outcome: Outcome) -> Outcome {
    let outcome = if met == 1 { outcome } else { Outcome::Lost };
    count(&job.queue, outcome);
    outcome
}

pub(super) fn count(queue: &str, outcome: Outcome) {
    metrics::counter!("huika_jobs_total", "queue" => queue.to_owned(), "outcome" => outcome.name())
        .increment(1);
}

/// Exponential, and up to half of it left to chance, so that what failed together does not come back together.
fn pause_after(db: &Db, attempts: u32) -> Duration {
    let pause = FIRST_PAUSE * PAUSE_GROWTH.saturating_pow(attempts.saturating_sub(1).min(10));
    let half = millis(pause.min(LONGEST_PAUSE)) as u64 / 2;
    Duration::from_millis(half + db.rng().below(half + 1))
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The jobs of one state, by the time at which they run or died, at most [`MAX_PAGE`].
///
/// # Errors
/// When the database fails.
pub async fn list_jobs(
    exec: &mut impl Executor,
    state: JobState,
    after: Option<JobCursor>,
    limit: u32,
) -> Result<Vec<Job>, DbError> {
    let (run_at, id) = after.unwrap_or((Timestamp::MIN, JobId::from_i64(-1)));
    let sql = format!(
        "SELECT {COLUMNS} FROM kernel_job WHERE state = ? AND run_at >= ? AND (run_at > ? OR job_id > ?) \
         ORDER BY run_at, job_id LIMIT ?"
    );
    let limit = i64::from(limit.min(MAX_PAGE));
    let rows = exec
        .fetch_all(&sql, params![state.as_i64(), run_at, run_at, id, limit])
        .await?;
    rows.iter().map(job_from).collect()
}

/// How the queue is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueHealth {
    /// How long the oldest due job has waited.
    pub lag: Duration,
    /// Jobs that failed for good and wait for an operator.
    pub dead: i64,
}

/// Measures how late the queue is and how many jobs failed for good, for the metrics of any process: a worker that
/// does not run cannot say so itself.
///
/// # Errors
/// When the database fails.
pub async fn measure_jobs(mut db: &Db) -> Result<QueueHealth, DbError> {
    let now = db.clock().now();
    let sql = "SELECT MIN(run_at) AS oldest FROM kernel_job WHERE state = ? AND run_at <= ?";
    let oldest: Option<Timestamp> = db
        .fetch_one(sql, params![JobState::Ready.as_i64(), now])
        .await?
        .get("oldest")?;
    let sql = "SELECT COUNT(*) AS n FROM kernel_job WHERE state = ?";
    let dead: i64 = db
        .fetch_one(sql, params![JobState::Dead.as_i64()])
        .await?
        .get("n")?;
    let waited = oldest.map_or(0, |oldest| now.millis_since(oldest));
    let lag = Duration::from_millis(u64::try_from(waited).unwrap_or_default());
    metrics::gauge!("huika_job_lag_seconds").set(lag.as_secs_f64());
    metrics::gauge!("huika_jobs_dead").set(dead as f64);
    Ok(QueueHealth { lag, dead })
}

/// Makes a dead job ready again, with all its attempts, and tells whether there was one.
///
/// # Errors
/// When the database fails.
pub async fn replay_in_tx(tx: &mut Tx<'_>, id: JobId) -> Result<bool, DbError> {
    let sql = "UPDATE kernel_job SET state = ?, attempts = 0, run_at = ?, fence = fence + 1 \
               WHERE job_id = ? AND state = ?";
    let (ready, dead) = (JobState::Ready.as_i64(), JobState::Dead.as_i64());
    let now = tx.db().clock().now();
    Ok(tx.execute(sql, params![ready, now, id, dead]).await? == 1)
}

/// Deletes a dead job and tells whether there was one.
///
/// # Errors
/// When the database fails.
pub async fn discard_in_tx(tx: &mut Tx<'_>, id: JobId) -> Result<bool, DbError> {
    let sql = "DELETE FROM kernel_job WHERE job_id = ? AND state = ?";
    Ok(tx.execute(sql, params![id, JobState::Dead.as_i64()]).await? == 1)
}

fn job_from(row: &Row) -> Result<Job, DbError> {
    Ok(Job {
        id: row.get("job_id")?,
        queue: row.get("queue")?,
        payload: row.get("payload")?,
        state: JobState::from_i64(row.get("state")?)?,
        run_at: row.get("run_at")?,
        attempts: u32::try_from(row.get::<i64>("attempts")?).map_err(|_| DbError::corrupt("attempts"))?,
        created_at: row.get("created_at")?,
        last_error: row.get("last_error")?,
        unique_key: row.get("unique_key")?,
        fence: row.get("fence")?,
        leased_until: row.get("leased_until")?,
    })
}
