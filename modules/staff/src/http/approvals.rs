//! The console's routes for what waits for a second operator.

use axum::{Json, extract::State};
use huika_core::Timestamp;
use huika_db::approval::{Approval, ApprovalId, ApprovalState, Approvals};
use huika_http::{ApiResult, Body, Caller, Cursor, Page, PageQuery, PathId, Problems, Query};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Routes for those who are logged in.
pub fn approvals_router(approvals: Approvals) -> OpenApiRouter {
    OpenApiRouter::default()
        .routes(routes!(list_approvals))
        .routes(routes!(show_approval))
        .routes(routes!(approve))
        .routes(routes!(refuse))
        .with_state(approvals)
}

/// Which requests for approval.
#[derive(Deserialize, IntoParams, garde::Validate)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ApprovalsQuery {
    /// In which state.
    #[serde(default)]
    #[garde(skip)]
    #[param(inline)]
    state: ApprovalStateBody,
    /// `next_cursor` of the page before. Absent for the latest.
    #[garde(skip)]
    #[param(value_type = Option<String>, nullable = false)]
    cursor: Option<Cursor>,
    /// How many at most.
    #[serde(default = "default_limit")]
    #[garde(range(min = 1, max = PageQuery::MAX_LIMIT))]
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: u32,
}

fn default_limit() -> u32 {
    50
}

/// Where a request for approval stands.
#[derive(Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ApprovalStateBody {
    /// Waits for a second operator.
    #[default]
    Pending,
    /// Approved and done.
    Executed,
    /// A second operator said no.
    Refused,
    /// Nobody decided within seven days.
    Expired,
}

/// A command that waits, or waited, for a second operator.
#[derive(Serialize, ToSchema)]
struct ApprovalBody {
    /// The id.
    #[schema(value_type = String, example = "apr_01q9v7x2k0g00")]
    id: ApprovalId,
    /// What is to be done.
    #[schema(example = "loyalty.adjust_points")]
    kind: String,
    /// To what.
    #[schema(example = "mbr_2p3rvd1w6k8fz")]
    subject: String,
    /// What exactly.
    #[schema(value_type = Object)]
    command: serde_json::Value,
    /// Names this very command: sent back by whoever approves it.
    #[schema(min_length = 64, max_length = 64)]
    input_hash: String,
    /// Who asked for it.
    #[schema(example = "opr_01q9v7x2k0g00")]
    requested_by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    requested_at: Timestamp,
    /// Until when it can be decided.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// Where it stands.
    state: ApprovalStateBody,
    /// Who decided. Null while nobody has.
    #[schema(required)]
    decided_by: Option<String>,
    /// When. Null while nobody has.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    decided_at: Option<Timestamp>,
    /// Why it was refused. Null unless it was.
    #[schema(required)]
    reason: Option<String>,
    /// What came of it. Null unless it was executed.
    #[schema(value_type = Option<Object>, required)]
    result: Option<serde_json::Value>,
}

/// What whoever approves has looked at.
#[derive(Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
struct Approve {
    /// `input_hash` of the request as it was shown.
    #[garde(length(chars, min = 64, max = 64))]
    #[schema(min_length = 64, max_length = 64)]
    input_hash: String,
}

/// Why a request is refused.
#[derive(Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
struct RefuseApproval {
    /// In the words of whoever refuses; no personal data.
    #[garde(length(chars, min = 1, max = 500))]
    #[schema(min_length = 1, max_length = 500, example = "Not covered by the policy")]
    reason: String,
}

/// List requests for approval
///
/// Latest first, those that wait unless told otherwise. Needs `approvals.read`.
#[utoipa::path(
    get, path = "/api/admin/v1/approvals", tag = "approvals", params(ApprovalsQuery),
    responses((status = 200, description = "One page of requests.", body = Page<ApprovalBody>), Problems)
)]
async fn list_approvals(
    State(approvals): State<Approvals>,
    Caller(actor): Caller,
    Query(query): Query<ApprovalsQuery>,
) -> ApiResult<Json<Page<ApprovalBody>>> {
    let before = query
        .cursor
        .map(|Cursor(at, id)| (Timestamp::from_millis(at), ApprovalId::from_i64(id)));
    let rows = approvals
        .list(&actor, query.state.into(), before, query.limit + 1)
        .await?;
    let page = Page::cut(rows, query.limit, |last| {
        Cursor(last.requested_at.as_millis(), last.id.as_i64())
    });
    Ok(Json(page.map(ApprovalBody::from)))
}

/// Show a request for approval
///
/// Needs `approvals.read`.
#[utoipa::path(
    get, path = "/api/admin/v1/approvals/{approval_id}", tag = "approvals",
    params(("approval_id" = String, Path, description = "The request.", example = "apr_01q9v7x2k0g00")),
    responses((status = 200, description = "The request.", body = ApprovalBody), Problems)
)]
async fn show_approval(
    State(approvals): State<Approvals>,
    Caller(actor): Caller,
    PathId(id): PathId<ApprovalId>,
) -> ApiResult<Json<ApprovalBody>> {
    Ok(Json(approvals.find(&actor, id).await?.into()))
}

/// Approve a request
///
/// Carries it out at once, exactly once; if that is refused, nothing is changed and the request goes on waiting. The
/// approver is another operator than the one who asked, and may do by hand what is approved. Needs
/// `approvals.decide`.
#[utoipa::path(
    post, path = "/api/admin/v1/approvals/{approval_id}/approve", tag = "approvals", request_body = Approve,
    params(("approval_id" = String, Path, description = "The request.", example = "apr_01q9v7x2k0g00")),
    responses((status = 200, description = "It is done.", body = ApprovalBody), Problems)
)]
async fn approve(
    State(approvals): State<Approvals>,
    Caller(actor): Caller,
    PathId(id): PathId<ApprovalId>,
    Body(body): Body<Approve>,
) -> ApiResult<Json<ApprovalBody>> {
    Ok(Json(
        approvals.approve(&actor, id, &body.input_hash).await?.into(),
    ))
}

/// Refuse a request
///
/// For good: what is wanted all the same is filed anew. Needs `approvals.decide`.
#[utoipa::path(
    post, path = "/api/admin/v1/approvals/{approval_id}/refuse", tag = "approvals", request_body = RefuseApproval,
    params(("approval_id" = String, Path, description = "The request.", example = "apr_01q9v7x2k0g00")),
    responses((status = 200, description = "It is refused.", body = ApprovalBody), Problems)
)]
async fn refuse(
    State(approvals): State<Approvals>,
    Caller(actor): Caller,
    PathId(id): PathId<ApprovalId>,
    Body(body): Body<RefuseApproval>,
) -> ApiResult<Json<ApprovalBody>> {
    Ok(Json(approvals.refuse(&actor, id, &body.reason).await?.into()))
}

impl From<ApprovalStateBody> for ApprovalState {
    fn from(state: ApprovalStateBody) -> Self {
        match state {
            ApprovalStateBody::Pending => Self::Pending,
            ApprovalStateBody::Executed => Self::Executed,
            ApprovalStateBody::Refused => Self::Refused,
            ApprovalStateBody::Expired => Self::Expired,
        }
    }
}

impl From<Approval> for ApprovalBody {
    fn from(approval: Approval) -> Self {
        let Approval {
            id,
            kind,
            subject,
            command,
            input_hash,
            requested_by,
            requested_at,
            expires_at,
            state,
            decided_by,
            decided_at,
            reason,
            result,
        } = approval;
        let state = match state {
            ApprovalState::Pending => ApprovalStateBody::Pending,
            ApprovalState::Executed => ApprovalStateBody::Executed,
            ApprovalState::Refused => ApprovalStateBody::Refused,
            ApprovalState::Expired => ApprovalStateBody::Expired,
        };
        Self {
            id,
            kind,
            subject,
            command,
            input_hash,
            requested_by,
            requested_at,
            expires_at,
            state,
            decided_by,
            decided_at,
            reason,
            result,
        }
    }
}
