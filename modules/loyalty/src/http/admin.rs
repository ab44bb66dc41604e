//! The admin API: the versions of the programme.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use garde::Validate;
use huika_core::Timestamp;
use huika_http::{ApiResult, Body, Caller, Page, Path, Problems};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Loyalty, ProgramVersion, Rules};

/// Rules and the moment from which they hold.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishProgramBody {
    /// The rules.
    #[garde(skip)]
    rules: Rules,
    /// From when on: at least ten seconds ahead, except for the first version. Absent: as soon as possible.
    #[garde(skip)]
    #[schema(value_type = Option<String>, format = DateTime)]
    effective_from: Option<Timestamp>,
}

/// A published version.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProgramVersionBody {
    /// Counts from 1.
    #[schema(example = 1)]
    version: i64,
    /// What holds.
    rules: Rules,
    /// From when on.
    #[schema(value_type = String, format = DateTime)]
    effective_from: Timestamp,
    /// When it was published.
    #[schema(value_type = String, format = DateTime)]
    published_at: Timestamp,
    /// By whom.
    published_by: String,
    /// Whether it was withdrawn before it held.
    withdrawn: bool,
}

/// Lists the versions of the programme, the first first.
///
/// Needs the permission `loyalty.read`.
#[utoipa::path(get, path = "/api/admin/v1/program-versions", tag = "loyalty",
    responses((status = 200, body = Page<ProgramVersionBody>, description = "Every version."), Problems))]
pub(super) async fn list_program_versions(
    State(loyalty): State<Arc<Loyalty>>,
    Caller(actor): Caller,
) -> ApiResult<Json<Page<ProgramVersionBody>>> {
    let versions = loyalty.program_versions(&actor).await?;
    Ok(Json(Page {
        items: versions.into_iter().map(Into::into).collect(),
        next_cursor: None,
    }))
}

/// Publishes a version of the programme.
///
/// Needs the permission `loyalty.publish`.
#[utoipa::path(post, path = "/api/admin/v1/program-versions", tag = "loyalty", request_body = PublishProgramBody,
    responses((status = 201, body = ProgramVersionBody, description = "The version is published."), Problems))]
pub(super) async fn publish_program(
    State(loyalty): State<Arc<Loyalty>>,
    Caller(actor): Caller,
    Body(body): Body<PublishProgramBody>,
) -> ApiResult<(StatusCode, Json<ProgramVersionBody>)> {
    let published = loyalty
        .publish_program(&actor, body.rules, body.effective_from)
        .await?;
    Ok((StatusCode::CREATED, Json(published.into())))
}

/// Withdraws a version of the programme that does not hold yet.
///
/// The versions before and after it hold on as if it had not been published. Needs the permission
/// `loyalty.publish`.
#[utoipa::path(post, path = "/api/admin/v1/program-versions/{version}/withdraw", tag = "loyalty",
    params(("version" = i64, Path, description = "The version.", minimum = 1, example = 2)),
    responses((status = 200, body = ProgramVersionBody, description = "The version is withdrawn."), Problems))]
pub(super) async fn withdraw_program(
    State(loyalty): State<Arc<Loyalty>>,
    Caller(actor): Caller,
    Path(VersionPath { version }): Path<VersionPath>,
) -> ApiResult<Json<ProgramVersionBody>> {
    Ok(Json(loyalty.withdraw_program(&actor, version).await?.into()))
}

/// A version of the programme.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct VersionPath {
    #[garde(range(min = 1))]
    version: i64,
}

impl From<ProgramVersion> for ProgramVersionBody {
    fn from(version: ProgramVersion) -> Self {
        Self {
            version: version.version,
            rules: version.rules,
            effective_from: version.effective_from,
            published_at: version.published_at,
            published_by: version.published_by,
            withdrawn: version.withdrawn,
        }
    }
}
