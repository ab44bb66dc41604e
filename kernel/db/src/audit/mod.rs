//! The audit log: who did what to what, written in the transaction that did it. Rows are never changed; a job seals
//! them into a chain of hashes.

mod seal;

use huika_core::{Actor, Id, IdGenerator, IdKind, Timestamp};

use crate::{DbError, Executor, Row, Tx, dialect::Insert, params};

pub use seal::{
    AuditFinding, AuditVerification, SEAL_QUEUE, SealAudit, schedules, seal_audit, verify_audit_in_tx,
};

/// Entries that one list shows, at most.
pub const MAX_PAGE: u32 = 200;

const COLUMNS: &[&str] = &[
    "audit_id",
    "actor",
    "action",
    "subject",
    "detail",
    "trace_id",
    "recorded_at",
];

tokio::task_local! {
    static TRACE_ID: String;
}

/// The kind of an entry's id.
pub enum AuditKind {}
impl IdKind for AuditKind {
    const PREFIX: &'static str = "aud";
}
/// The id of an entry.
pub type AuditId = Id<AuditKind>;

/// Where a page of [`list_audit`] begins: before this entry.
pub type AuditCursor = (Timestamp, AuditId);

/// What is to be recorded.
#[derive(Debug, Clone)]
pub struct AuditEntry<'a> {
    /// Who did it.
    pub actor: &'a Actor,
    /// What was done, `area.verb`.
    pub action: &'static str,
    /// To what: an id with its prefix.
    pub subject: String,
    /// What else matters, without personal data.
    pub detail: serde_json::Value,
}

/// An entry as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRecord {
    /// The id.
    pub id: AuditId,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// What else matters.
    pub detail: serde_json::Value,
    /// The request that it was done in.
    pub trace_id: Option<String>,
    /// When.
    pub recorded_at: Timestamp,
}

/// Runs a request: entries that it records carry its trace id, at most 64 characters.
pub async fn in_trace<F: Future>(trace_id: String, request: F) -> F::Output {
    TRACE_ID.scope(trace_id, request).await
}

/// Records an entry with the caller's transaction.
///
/// # Errors
/// When the database fails.
pub async fn record_audit_in_tx(
    tx: &mut Tx<'_>,
    ids: &IdGenerator,
    entry: AuditEntry<'_>,
) -> Result<(), DbError> {
    let now = tx.db().clock().now();
    let trace_id = TRACE_ID.try_with(Clone::clone).ok();
    let id: AuditId = ids.next();
    let mut insert = Insert::into_table("kernel_audit", COLUMNS);
    insert.push(params![
        id,
        entry.actor.id(),
        entry.action,
        entry.subject,
        entry.detail.to_string(),
        trace_id,
        now,
    ]);
    tx.insert(insert).await?;
    seal::await_seal_in_tx(tx, id).await
}

/// The entries, latest first, at most [`MAX_PAGE`].
///
/// # Errors
/// When the database fails.
pub async fn list_audit(
    exec: &mut impl Executor,
    before: Option<AuditCursor>,
    limit: u32,
) -> Result<Vec<AuditRecord>, DbError> {
    let (recorded_at, id) = before.unwrap_or((Timestamp::MAX, AuditId::from_i64(i64::MAX)));
    let sql = format!(
        "SELECT {} FROM kernel_audit WHERE recorded_at <= ? AND (recorded_at < ? OR audit_id < ?) \
         ORDER BY recorded_at DESC, audit_id DESC LIMIT ?",
        COLUMNS.join(", ")
    );
    let limit = i64::from(limit.min(MAX_PAGE));
    let rows = exec
        .fetch_all(&sql, params![recorded_at, recorded_at, id, limit])
        .await?;
    rows.iter().map(record_from).collect()
}

fn record_from(row: &Row) -> Result<AuditRecord, DbError> {
    Ok(AuditRecord {
        id: row.get("audit_id")?,
        actor: row.get("actor")?,
        action: row.get("action")?,
        subject: row.get("subject")?,
        detail: serde_json::from_str(&row.get::<String>("detail")?)
            .map_err(|_| DbError::corrupt("detail"))?,
        trace_id: row.get("trace_id")?,
        recorded_at: row.get("recorded_at")?,
    })
}
