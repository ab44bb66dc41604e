//! What belongs to no module: the job queue and the audit log, as an operator of the installation sees them.

use axum::{Json, extract::State, http::StatusCode};
use garde::Validate;
use huika_core::{Actor, Denied, IdGenerator, Permission, Timestamp, problems};
use huika_db::{
    Db, DbError, Tx,
    audit::{AuditEntry, AuditId, AuditRecord, list_audit, record_audit_in_tx},
    jobs::{Job, JobId, JobState, discard_in_tx, list_jobs, replay_in_tx},
};
use huika_http::{ApiResult, Caller, Cursor, Page, PathId, Problems, Query};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Rows of one page at most.
const MAX_LIMIT: u32 = 100;

/// See jobs and the audit log.
pub const READ: Permission = Permission {
    name: "operations.read",
    en: "See background jobs and the audit log",
    zh: "查看后台任务与审计日志",
};
/// Replay and discard dead jobs.
pub const REPLAY: Permission = Permission {
    name: "operations.replay",
    en: "Replay and discard jobs that failed for good",
    zh: "重试或丢弃失败的后台任务",
};
/// All permissions of this file.
pub const PERMISSIONS: &[Permission] = &[READ, REPLAY];

problems! {
    /// Refusals and failures of operations.
    pub enum OperationsError {
        /// There is no dead job with this id.
        [404 "operations.job_not_dead"]
        JobNotDead { job: String }
        en "There is no job {job} that failed for good: it may have been replayed or discarded meanwhile."
        zh "不存在失败的任务 {job}，可能已被重试或丢弃。";
    }
    from {
        /// A permission is missing.
        Denied(Denied),
        /// The database failed.
        Db(DbError),
    }
}

/// The job queue and the audit log. Clones share the database.
#[derive(Clone)]
pub(crate) struct Operations {
    db: Db,
    ids: IdGenerator,
}

impl Operations {
    /// Joins what the routes need.
    pub(crate) fn new(db: Db, ids: IdGenerator) -> Self {
        Self { db, ids }
    }

    /// Makes a dead job ready again.
    async fn replay(&self, actor: &Actor, id: JobId) -> Result<(), OperationsError> {
        actor.authorize(&REPLAY)?;
        let replay = self.db.run_tx("operations.replay_job", |tx| {
            Box::pin(async move {
                let met = replay_in_tx(tx, id).await?;
                self.record_in_tx(tx, actor, id, met, "operations.replay_job")
                    .await
            })
        });
        replay.await
    }

    /// Removes a dead job for good.
    async fn discard(&self, actor: &Actor, id: JobId) -> Result<(), OperationsError> {
        actor.authorize(&REPLAY)?;
        let discard = self.db.run_tx("operations.discard_job", |tx| {
            Box::pin(async move {
                let met = discard_in_tx(tx, id).await?;
                self.record_in_tx(tx, actor, id, met, "operations.discard_job")
                    .await
            })
        });
        discard.await
    }

    /// The audit entry, in the transaction of what it tells of.
    async fn record_in_tx(
        &self,
        tx: &mut Tx<'_>,
        actor: &Actor,
        id: JobId,
        met: bool,
        action: &'static str,
    ) -> Result<(), OperationsError> {
        let subject = id.to_string();
        if !met {
            return Err(OperationsError::JobNotDead { job: subject });
        }
        let detail = serde_json::json!({});
        let entry = AuditEntry {
            actor,
            action,
            subject,
            detail,
        };
        record_audit_in_tx(tx, &self.ids, entry).await?;
        Ok(())
    }
}

/// Every route of this file. All of them stand behind authentication.
pub(crate) fn router(operations: Operations) -> OpenApiRouter {
    OpenApiRouter::default()
        .routes(routes!(list_background_jobs))
        .routes(routes!(replay_job))
        .routes(routes!(discard_job))
        .routes(routes!(list_audit_entries))
        .with_state(operations)
}

/// Which jobs.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct JobsQuery {
    /// In which state.
    #[serde(default)]
    #[garde(skip)]
    #[param(inline)]
    state: JobStateBody,
    /// `next_cursor` of the page before. Absent for the first page.
    #[garde(skip)]
    #[param(value_type = Option<String>, nullable = false)]
    cursor: Option<Cursor>,
    /// How many at most.
    #[serde(default = "default_limit")]
    #[garde(range(min = 1, max = MAX_LIMIT))]
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: u32,
}

/// Which entries of the audit log.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// `next_cursor` of the page before. Absent for the latest entries.
    #[garde(skip)]
    #[param(value_type = Option<String>, nullable = false)]
    cursor: Option<Cursor>,
    /// How many at most.
    #[serde(default = "default_limit")]
    #[garde(range(min = 1, max = MAX_LIMIT))]
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: u32,
}

fn default_limit() -> u32 {
    50
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum JobStateBody {
    /// Waits for its time or for a worker.
    Ready,
    /// A worker holds it.
    Running,
    /// Failed for good, until it is replayed or discarded.
    #[default]
    Dead,
}

/// A job of the queue.
#[derive(Debug, Serialize, ToSchema)]
struct JobBody {
    /// The job.
    #[schema(value_type = String, example = "job_01hpw4v5z6k8f")]
    id: JobId,
    /// Which handler runs it.
    #[schema(example = "loyalty.settle_due")]
    queue: String,
    /// JSON for the handler: ids, no personal data.
    payload: String,
    /// Where it stands.
    state: JobStateBody,
    /// Not before this moment. Of a dead job: when it died.
    #[schema(value_type = String, format = DateTime)]
    run_at: Timestamp,
    /// Runs so far.
    attempts: u32,
    /// Why the last run failed. Null before the first failure.
    #[schema(required)]
    last_error: Option<String>,
    /// When it was enqueued.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// An entry of the audit log.
#[derive(Debug, Serialize, ToSchema)]
struct AuditEntryBody {
    /// The entry.
    #[schema(value_type = String, example = "aud_01hpw4v5z6k8f")]
    id: AuditId,
    /// Who did it: an id with its prefix, or a purpose of the system's own.
    #[schema(example = "opr_01q9v7x2k0g00")]
    actor: String,
    /// What was done.
    #[schema(example = "members.set_state")]
    action: String,
    /// To what.
    #[schema(example = "mbr_2p3rvd1w6k8fz")]
    subject: String,
    /// What else matters.
    #[schema(value_type = Object)]
    detail: serde_json::Value,
    /// The request that it was done in. Null outside requests.
    #[schema(required)]
    trace_id: Option<String>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    recorded_at: Timestamp,
}

/// Lists background jobs, those that failed for good unless told otherwise
///
/// By the time at which they run or died. Needs the permission `operations.read`.
#[utoipa::path(get, path = "/api/admin/v1/jobs", tag = "operations", params(JobsQuery),
    responses((status = 200, body = Page<JobBody>, description = "A page of jobs."), Problems))]
async fn list_background_jobs(
    State(operations): State<Operations>,
    Caller(actor): Caller,
    Query(query): Query<JobsQuery>,
) -> ApiResult<Json<Page<JobBody>>> {
    actor.authorize(&READ)?;
    let after = query
        .cursor
        .map(|Cursor(at, id)| (Timestamp::from_millis(at), JobId::from_i64(id)));
    let jobs = list_jobs(&mut &operations.db, query.state.into(), after, query.limit + 1).await?;
    let page = Page::cut(jobs, query.limit, |job| {
        Cursor(job.run_at.as_millis(), job.id.as_i64())
    });
    Ok(Json(page.map(JobBody::from)))
}

/// Replays a job that failed for good
///
/// It is ready at once, with all its attempts. Recorded in the audit log. Needs the permission `operations.replay`.
#[utoipa::path(post, path = "/api/admin/v1/jobs/{job_id}/replay", tag = "operations",
    params(("job_id" = String, Path, description = "The job.", example = "job_01hpw4v5z6k8f")),
    responses((status = 204, description = "The job is ready."), Problems))]
async fn replay_job(
    State(operations): State<Operations>,
    Caller(actor): Caller,
    PathId(job_id): PathId<JobId>,
) -> ApiResult<StatusCode> {
    operations.replay(&actor, job_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Discards a job that failed for good
///
/// Recorded in the audit log. Needs the permission `operations.replay`.
#[utoipa::path(delete, path = "/api/admin/v1/jobs/{job_id}", tag = "operations",
    params(("job_id" = String, Path, description = "The job.", example = "job_01hpw4v5z6k8f")),
    responses((status = 204, description = "The job is gone."), Problems))]
async fn discard_job(
    State(operations): State<Operations>,
    Caller(actor): Caller,
    PathId(job_id): PathId<JobId>,
) -> ApiResult<StatusCode> {
    operations.discard(&actor, job_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the audit log, latest first
///
/// Needs the permission `operations.read`.
#[utoipa::path(get, path = "/api/admin/v1/audit-entries", tag = "operations", params(AuditQuery),
    responses((status = 200, body = Page<AuditEntryBody>, description = "A page of entries."), Problems))]
async fn list_audit_entries(
    State(operations): State<Operations>,
    Caller(actor): Caller,
    Query(query): Query<AuditQuery>,
) -> ApiResult<Json<Page<AuditEntryBody>>> {
    actor.authorize(&READ)?;
    let before = query
        .cursor
        .map(|Cursor(at, id)| (Timestamp::from_millis(at), AuditId::from_i64(id)));
    let entries = list_audit(&mut &operations.db, before, query.limit + 1).await?;
    let page = Page::cut(entries, query.limit, |entry| {
        Cursor(entry.recorded_at.as_millis(), entry.id.as_i64())
    });
    Ok(Json(page.map(AuditEntryBody::from)))
}

impl From<JobStateBody> for JobState {
    fn from(state: JobStateBody) -> Self {
        match state {
            JobStateBody::Ready => Self::Ready,
            JobStateBody::Running => Self::Running,
            JobStateBody::Dead => Self::Dead,
        }
    }
}

impl From<Job> for JobBody {
    fn from(job: Job) -> Self {
        let Job {
            id,
            queue,
            payload,
            run_at,
            attempts,
            last_error,
            created_at,
            ..
        } = job;
        let state = match job.state {
            JobState::Ready => JobStateBody::Ready,
            JobState::Running => JobStateBody::Running,
            JobState::Dead => JobStateBody::Dead,
        };
        Self {
            id,
            queue,
            payload,
            state,
            run_at,
            attempts,
            last_error,
            created_at,
        }
    }
}

impl From<AuditRecord> for AuditEntryBody {
    fn from(record: AuditRecord) -> Self {
        let AuditRecord {
            id,
            actor,
            action,
            subject,
            detail,
            trace_id,
            recorded_at,
        } = record;
        Self {
            id,
            actor,
            action,
            subject,
            detail,
            trace_id,
            recorded_at,
        }
    }
}
