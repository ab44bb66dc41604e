//! Approval by a second operator: a command above somebody's limit is filed in the transaction of whoever asks, and
//! carried out in the transaction of whoever approves.
//!
//! - The approver is another operator than the requester, may decide approvals, and may do by hand what is approved.
//! - The row decides: of many who approve or refuse at once, one does. What the handler does and that it was
//!   approved commit together, or not at all; a handler that refuses leaves the request pending.
//! - The approver names the hash of what they saw, and the hash is computed anew from what is stored: neither a
//!   mistaken screen nor an altered row makes somebody approve what they did not see.
//! - What nobody has decided within [`LIFETIME_MS`] is expired, whether or not anything has written that down.

use std::{error::Error, fmt, sync::Arc};

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use huika_core::{Actor, Denied, Id, IdGenerator, IdKind, Permission, Problem, Refusal, Timestamp, problems};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    Db, DbError, Executor, Row, Tx,
    audit::{AuditEntry, record_audit_in_tx},
    dialect::Insert,
    params,
};

/// How long a request waits for a decision: seven days.
pub const LIFETIME_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// Requests that one list shows, at most.
pub const MAX_PAGE: u32 = 200;
/// The longest command and the longest result, in bytes of JSON.
pub const MAX_JSON_BYTES: usize = 64 * 1_024;
/// The longest reason for a refusal, in characters.
pub const MAX_REASON_CHARS: usize = 500;

const PENDING: i64 = 1;
const EXECUTED: i64 = 2;
const REFUSED: i64 = 3;

/// To see what waits for approval and what was decided.
pub const READ: Permission = Permission {
    name: "approvals.read",
    en: "See commands that wait for approval and what was decided",
    zh: "查看待审批操作及审批结果",
};
/// To approve and refuse.
pub const DECIDE: Permission = Permission {
    name: "approvals.decide",
    en: "Approve or refuse what others asked for, where one may do it oneself",
    zh: "审批他人提交的操作（须同时具备该操作的权限）",
};
/// All permissions of this file.
pub const PERMISSIONS: &[Permission] = &[READ, DECIDE];

/// The kind of a request's id.
pub enum ApprovalKind {}
impl IdKind for ApprovalKind {
    const PREFIX: &'static str = "apr";
}
/// The id of a request for approval.
pub type ApprovalId = Id<ApprovalKind>;

/// Where a page of [`Approvals::list`] begins: before this request.
pub type ApprovalCursor = (Timestamp, ApprovalId);

problems! {
    /// Refusals and failures of approvals.
    pub enum ApprovalError {
        /// No request has this id.
        [404 "approvals.unknown"]
        Unknown
        en "There is no such request for approval: look it up in the list."
        zh "该审批申请不存在，请在列表中查找。";

        /// Only people decide.
        [403 "approvals.operator_needed"]
        OperatorNeeded
        en "Only an operator who is logged in can decide on an approval: ask one to do it."
        zh "审批仅限已登录的员工，请由员工处理。";

        /// The requester cannot approve.
        [403 "approvals.own_request"]
        OwnRequest
        en "You asked for this yourself: another operator must decide on it."
        zh "不能审批本人提交的申请，请由其他员工处理。";

        /// Somebody decided before.
        [409 "approvals.decided"]
        Decided { state: &'static str }
        en "This request is {state} already: look at it again. To have it done all the same, file it anew."
        zh "该申请已处理（{state}），请刷新查看；如仍需执行，请重新提交。";

        /// What was approved is not what is stored.
        [409 "approvals.input_changed"]
        InputChanged
        en "This is not the command that you looked at: open the request again and check it before you approve."
        zh "待审批内容与您查看时不一致，请重新打开并核对后再审批。";

        /// Nothing in this version can do it.
        [409 "approvals.kind_unknown"]
        KindUnknown { kind: String }
        en "This version of Huika cannot carry out {kind}: refuse the request and file it anew."
        zh "当前版本无法执行 {kind}，请驳回后重新提交。";

        /// The command or its result is too long to be kept.
        [422 "approvals.too_long"]
        TooLong { longest: usize }
        en "A command that waits for approval has at most {longest} bytes: split it."
        zh "待审批的操作内容不能超过 {longest} 字节，请拆分后提交。";

        /// The reason is missing or too long.
        [422 "approvals.reason_invalid"]
        ReasonInvalid { longest: usize }
        en "Say in 1 to {longest} characters why you refuse."
        zh "请填写驳回原因（1 至 {longest} 个字符）。";
    }
    from {
        /// A permission is missing.
        Denied(Denied),
        /// The handler refused.
        Handler(HandlerRefusal),
        /// The database failed.
        Db(DbError),
    }
}

/// What a handler refused with: any module's own error.
#[derive(Debug)]
pub struct HandlerRefusal(Box<dyn Refusal>);

impl HandlerRefusal {
    /// Takes a module's error.
    pub fn new(refusal: impl Refusal) -> Self {
        Self(Box::new(refusal))
    }
}

impl fmt::Display for HandlerRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for HandlerRefusal {
    // The whole error and not its cause: a collision of the database may be what it is itself.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

impl Refusal for HandlerRefusal {
    fn problem(&self) -> Problem {
        self.0.problem()
    }
}

/// What is to be approved.
#[derive(Debug, Clone, Copy)]
pub struct NewApproval<'a> {
    /// What is to be done, `area.verb`, at most 64 characters: [`Approvable::kind`] of its handler.
    pub kind: &'static str,
    /// To what: an id with its prefix, at most 64 characters.
    pub subject: &'a str,
    /// All that the handler needs, without personal data. Must stand by itself for a week.
    pub command: &'a Value,
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalState {
    /// Waits for a second operator.
    Pending,
    /// Approved, and done in the same moment.
    Executed,
    /// A second operator said no.
    Refused,
    /// Nobody decided in time.
    Expired,
}

impl ApprovalState {
    /// Its name in lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Executed => "executed",
            Self::Refused => "refused",
            Self::Expired => "expired",
        }
    }
}

/// A request for approval.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    /// The id.
    pub id: ApprovalId,
    /// What is to be done.
    pub kind: String,
    /// To what.
    pub subject: String,
    /// What exactly.
    pub command: Value,
    /// The hash of kind, subject and command as they were filed.
    pub input_hash: String,
    /// Who asked.
    pub requested_by: String,
    /// When.
    pub requested_at: Timestamp,
    /// Until when it can be approved.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub state: ApprovalState,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// Why it was refused.
    pub reason: Option<String>,
    /// What the handler answered.
    pub result: Option<Value>,
}

/// A command that a second operator has approved.
#[derive(Debug, Clone, Copy)]
pub struct Approved<'a> {
    /// The request: also the idempotency key of whatever the handler does.
    pub approval_id: ApprovalId,
    /// Who asked, as [`Actor::id`].
    pub requested_by: &'a str,
    /// Who approved.
    pub approver: &'a Actor,
    /// To what.
    pub subject: &'a str,
    /// What was filed.
    pub command: &'a Value,
}

/// Does what was approved. Registered once per kind where the application is composed.
#[async_trait]
pub trait Approvable: Send + Sync {
    /// What it can do, `area.verb`.
    fn kind(&self) -> &'static str;

    /// What the approver must be allowed to do by hand.
    fn permission(&self) -> Permission;

    /// Does it, in the transaction that approves it, and tells what came of it as JSON without personal data. May
    /// run more than once, as every body of a transaction.
    ///
    /// # Errors
    /// What keeps it from being done: nothing is changed then, and the request stays pending.
    async fn execute_in_tx(&self, tx: &mut Tx<'_>, approved: Approved<'_>) -> Result<Value, HandlerRefusal>;
}

/// Files a request in the caller's transaction. The caller has authorized the actor.
///
/// # Errors
/// [`ApprovalError::TooLong`]; when the database fails.
pub async fn request_in_tx(
    tx: &mut Tx<'_>,
    ids: &IdGenerator,
    actor: &Actor,
    asked: NewApproval<'_>,
) -> Result<ApprovalId, ApprovalError> {
    let NewApproval {
        kind,
        subject,
        command,
    } = asked;
    let text = bounded(command)?;
    let (id, now): (ApprovalId, _) = (ids.next(), tx.db().clock().now());
    let input_hash = hash_of(kind, subject, &text);
    let mut insert = Insert::into_table(
        "kernel_approval",
        &[
            "approval_id",
            "kind",
            "subject",
            "command",
            "input_hash",
            "requested_by",
            "requested_at",
            "expires_at",
            "state",
        ],
    );
    insert.push(params![
        id,
        kind,
        subject,
        text,
        &input_hash,
        actor.id(),
        now,
        now.plus_millis(LIFETIME_MS),
        PENDING,
    ]);
    tx.insert(insert).await?;
    let entry = AuditEntry {
        actor,
        action: "approvals.request",
        subject: id.to_string(),
        detail: json!({ "kind": kind, "subject": subject, "input_hash": input_hash }),
    };
    record_audit_in_tx(tx, ids, entry).await?;
    Ok(id)
}

/// What waits for approval, and who can carry it out. Clones share everything.
#[derive(Clone)]
pub struct Approvals {
    db: Db,
    ids: IdGenerator,
    handlers: Arc<[Arc<dyn Approvable>]>,
}

impl Approvals {
    /// Joins the requests with their handlers.
    pub fn new(db: Db, ids: IdGenerator, handlers: Vec<Arc<dyn Approvable>>) -> Self {
        Self {
            db,
            ids,
            handlers: handlers.into(),
        }
    }

    /// Requests in a state, latest first, at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// When the actor lacks the permission or the database fails.
    pub async fn list(
        &self,
        actor: &Actor,
        state: ApprovalState,
        before: Option<ApprovalCursor>,
        limit: u32,
    ) -> Result<Vec<Approval>, ApprovalError> {
        actor.authorize(&READ)?;
        let now = self.db.clock().now();
        let (stored, ends) = match state {
            ApprovalState::Pending => (PENDING, "expires_at > ?"),
            ApprovalState::Expired => (PENDING, "expires_at <= ?"),
            ApprovalState::Executed => (EXECUTED, "requested_at <= ?"),
            ApprovalState::Refused => (REFUSED, "requested_at <= ?"),
        };
        // What was decided may have been asked by a node whose clock is ahead.
        let bound = if stored == PENDING { now } else { Timestamp::MAX };
        let (at, id) = before.unwrap_or((Timestamp::MAX, ApprovalId::from_i64(i64::MAX)));
        let sql = format!(
            "SELECT {COLUMNS} FROM kernel_approval WHERE state = ? AND {ends} \
             AND requested_at <= ? AND (requested_at < ? OR approval_id < ?) \
             ORDER BY requested_at DESC, approval_id DESC LIMIT ?"
        );
        let limit = i64::from(limit.min(MAX_PAGE));
        let rows = (&mut &self.db)
            .fetch_all(&sql, params![stored, bound, at, at, id, limit])
            .await?;
        Ok(rows
            .iter()
            .map(|row| approval_from(row, now))
            .collect::<Result<_, _>>()?)
    }

    /// One request.
    ///
    /// # Errors
    /// When the actor lacks the permission; [`ApprovalError::Unknown`].
    pub async fn find(&self, actor: &Actor, id: ApprovalId) -> Result<Approval, ApprovalError> {
        actor.authorize(&READ)?;
        find(&mut &self.db, id, self.db.clock().now()).await
    }

    /// Approves a request and carries it out. `input_hash` is that of the request as the approver saw it.
    ///
    /// # Errors
    /// When the actor lacks a permission, is the requester or no operator; when the request was decided, is
    /// expired or is not what was seen; what the handler refuses with.
    pub async fn approve(
        &self,
        actor: &Actor,
        id: ApprovalId,
        input_hash: &str,
    ) -> Result<Approval, ApprovalError> {
        let (seen, handler) = self.may_decide(actor, id).await?;
        let handler = handler.ok_or_else(|| ApprovalError::KindUnknown {
            kind: seen.kind.clone(),
        })?;
        let stored = hash_of(&seen.kind, &seen.subject, &seen.command.to_string());
        if stored != seen.input_hash || input_hash != seen.input_hash {
            return Err(ApprovalError::InputChanged);
        }
        let (seen, now, ids) = (&seen, self.db.clock().now(), &self.ids);
        let handler = &handler;
        self.db
            .run_tx("approvals.approve", |tx| {
                Box::pin(async move {
                    // First, so that of two approvers the second waits here and then finds it decided.
                    let sql = "UPDATE kernel_approval SET state = ?, decided_by = ?, decided_at = ? \
                               WHERE approval_id = ? AND state = ? AND expires_at > ? AND input_hash = ?";
                    let row = params![EXECUTED, actor.id(), now, id, PENDING, now, &seen.input_hash];
                    if tx.execute(sql, row).await? == 0 {
                        return Err(decided(tx, id, now).await);
                    }
                    let approved = Approved {
                        approval_id: id,
                        requested_by: &seen.requested_by,
                        approver: actor,
                        subject: &seen.subject,
                        command: &seen.command,
                    };
                    let result = bounded(&handler.execute_in_tx(tx, approved).await?)?;
                    let sql = "UPDATE kernel_approval SET result = ? WHERE approval_id = ?";
                    tx.execute(sql, params![result, id]).await?;
                    let entry = AuditEntry {
                        actor,
                        action: "approvals.approve",
                        subject: id.to_string(),
                        detail: json!({
                            "kind": seen.kind, "subject": seen.subject, "input_hash": seen.input_hash,
                            "requested_by": seen.requested_by,
                        }),
                    };
                    record_audit_in_tx(tx, ids, entry).await?;
                    Ok(())
                })
            })
            .await?;
        find(&mut &self.db, id, self.db.clock().now()).await
    }

    /// Refuses a request for good.
    ///
    /// # Errors
    /// As [`Approvals::approve`]; [`ApprovalError::ReasonInvalid`].
    pub async fn refuse(
        &self,
        actor: &Actor,
        id: ApprovalId,
        reason: &str,
    ) -> Result<Approval, ApprovalError> {
        let (seen, _) = self.may_decide(actor, id).await?;
        let reason = reason.trim();
        if reason.is_empty() || reason.chars().count() > MAX_REASON_CHARS {
            return Err(ApprovalError::ReasonInvalid {
                longest: MAX_REASON_CHARS,
            });
        }
        let (seen, now, ids) = (&seen, self.db.clock().now(), &self.ids);
        self.db
            .run_tx("approvals.refuse", |tx| {
                Box::pin(async move {
                    let sql = "UPDATE kernel_approval SET state = ?, decided_by = ?, decided_at = ?, reason = ? \
                               WHERE approval_id = ? AND state = ? AND expires_at > ?";
                    let row = params![REFUSED, actor.id(), now, reason, id, PENDING, now];
                    if tx.execute(sql, row).await? == 0 {
                        return Err(decided(tx, id, now).await);
                    }
                    // The reason stands with the request alone: people write names into it.
                    let entry = AuditEntry {
                        actor,
                        action: "approvals.refuse",
                        subject: id.to_string(),
                        detail: json!({
                            "kind": seen.kind, "subject": seen.subject, "requested_by": seen.requested_by,
                        }),
                    };
                    record_audit_in_tx(tx, ids, entry).await?;
                    Ok(())
                })
            })
            .await?;
        find(&mut &self.db, id, self.db.clock().now()).await
    }

    /// The request and its handler, if the actor may decide on it. Nothing that this looks at ever changes.
    async fn may_decide(
        &self,
        actor: &Actor,
        id: ApprovalId,
    ) -> Result<(Approval, Option<Arc<dyn Approvable>>), ApprovalError> {
        actor.authorize(&DECIDE)?;
        if !actor.is_operator() {
            return Err(ApprovalError::OperatorNeeded);
        }
        let seen = find(&mut &self.db, id, self.db.clock().now()).await?;
        if seen.requested_by == actor.id() {
            return Err(ApprovalError::OwnRequest);
        }
        let handler = self
            .handlers
            .iter()
            .find(|handler| handler.kind() == seen.kind)
            .map(Arc::clone);
        if let Some(handler) = &handler {
            actor.authorize(&handler.permission())?;
        }
        Ok((seen, handler))
    }
}

const COLUMNS: &str = "approval_id, kind, subject, command, input_hash, requested_by, requested_at, expires_at, \
                       state, decided_by, decided_at, reason, result";

async fn find(exec: &mut impl Executor, id: ApprovalId, now: Timestamp) -> Result<Approval, ApprovalError> {
    let sql = format!("SELECT {COLUMNS} FROM kernel_approval WHERE approval_id = ?");
    let row = exec.fetch_optional(&sql, params![id]).await?;
    let row = row.ok_or(ApprovalError::Unknown)?;
    Ok(approval_from(&row, now)?)
}

/// Why a decision met no row.
async fn decided(tx: &mut Tx<'_>, id: ApprovalId, now: Timestamp) -> ApprovalError {
    match find(tx, id, now).await {
        // Met no row and is pending: its time is over, or the row was altered beside this code.
        Ok(found) if found.state == ApprovalState::Pending => ApprovalError::Decided {
            state: ApprovalState::Expired.name(),
        },
        Ok(found) => ApprovalError::Decided {
            state: found.state.name(),
        },
        Err(error) => error,
    }
}

/// The JSON text, within its limit. The keys of objects are in order, so that the text of a value is always the same.
fn bounded(value: &Value) -> Result<String, ApprovalError> {
    let text = value.to_string();
    if text.len() > MAX_JSON_BYTES {
        return Err(ApprovalError::TooLong {
            longest: MAX_JSON_BYTES,
        });
    }
    Ok(text)
}

fn hash_of(kind: &str, subject: &str, command: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(json!([kind, subject, command]).to_string()))
}

/// A row as it stands at a moment.
fn approval_from(row: &Row, now: Timestamp) -> Result<Approval, DbError> {
    let json_of = |column: &str, text: String| {
        serde_json::from_str::<Value>(&text).map_err(|_| DbError::corrupt(column))
    };
    let expires_at: Timestamp = row.get("expires_at")?;
    let state = match row.get::<i64>("state")? {
        PENDING if expires_at <= now => ApprovalState::Expired,
        PENDING => ApprovalState::Pending,
        EXECUTED => ApprovalState::Executed,
        REFUSED => ApprovalState::Refused,
        _ => return Err(DbError::corrupt("state")),
    };
    let result: Option<String> = row.get("result")?;
    Ok(Approval {
        id: row.get("approval_id")?,
        kind: row.get("kind")?,
        subject: row.get("subject")?,
        command: json_of("command", row.get("command")?)?,
        input_hash: row.get("input_hash")?,
        requested_by: row.get("requested_by")?,
        requested_at: row.get("requested_at")?,
        expires_at,
        state,
        decided_by: row.get("decided_by")?,
        decided_at: row.get("decided_at")?,
        reason: row.get("reason")?,
        result: result.map(|text| json_of("result", text)).transpose()?,
    })
}
