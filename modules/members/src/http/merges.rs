//! The console's routes for merging members.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use garde::Validate;
use huika_core::{MemberId, Timestamp};
use huika_http::{ApiResult, Body, Caller, PathId, Problems};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Members, Merge, MergeEffect, MergeId, MergePreview, Reason};

/// The other member.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PreviewMergeBody {
    /// The member who is the same person.
    #[garde(skip)]
    #[schema(value_type = String, example = "mbr_0000000000001")]
    other_member_id: MemberId,
}

/// The other member, and why both are one person.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MergeMembersBody {
    /// The member who is the same person.
    #[garde(skip)]
    #[schema(value_type = String, example = "mbr_0000000000001")]
    other_member_id: MemberId,
    /// Why. Kept in the audit log, phone numbers masked.
    #[garde(length(chars, min = 1, max = Reason::MAX_CHARS))]
    #[schema(min_length = 1, max_length = 200, example = "Same person, two phones")]
    reason: String,
}

/// Why a merge is taken back.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UnmergeMemberBody {
    /// Why. Kept in the audit log, phone numbers masked.
    #[garde(length(chars, min = 1, max = Reason::MAX_CHARS))]
    #[schema(min_length = 1, max_length = 200, example = "Two people with one name")]
    reason: String,
}

/// One thing that a merge will do.
#[derive(Serialize, ToSchema)]
pub(super) struct MergeEffectBody {
    /// The area.
    #[schema(example = "members")]
    part: String,
    /// What happens, in Chinese.
    zh: String,
    /// What happens, in English.
    en: String,
    /// Whether this stands in the way.
    blocks: bool,
}

/// What a merge would do.
#[derive(Serialize, ToSchema)]
pub(super) struct MergePreviewBody {
    /// The member who would stay: whoever registered first.
    #[schema(value_type = String, example = "mbr_2p3rvd1w6k8fz")]
    winner: MemberId,
    /// The member who would become a redirect.
    #[schema(value_type = String, example = "mbr_0000000000001")]
    loser: MemberId,
    /// What would happen.
    effects: Vec<MergeEffectBody>,
    /// Whether nothing stands in the way.
    can_merge: bool,
}

/// A merge.
#[derive(Serialize, ToSchema)]
pub(super) struct MergeBody {
    /// The merge.
    #[schema(value_type = String, example = "mrg_01q9v7x2k0g00")]
    id: MergeId,
    /// The member who stands for both.
    #[schema(value_type = String, example = "mbr_2p3rvd1w6k8fz")]
    winner: MemberId,
    /// The member who is a redirect.
    #[schema(value_type = String, example = "mbr_0000000000001")]
    loser: MemberId,
    /// When the merge took place.
    #[schema(value_type = String, format = DateTime)]
    merged_at: Timestamp,
}

/// Shows what merging two members would do.
///
/// Changes nothing. Needs the permission `members.merge`.
#[utoipa::path(post, path = "/api/admin/v1/members/{member_id}/merge-previews", tag = "members",
    params(("member_id" = String, Path, description = "One of the two.", example = "mbr_2p3rvd1w6k8fz")),
    request_body = PreviewMergeBody,
    responses((status = 200, body = MergePreviewBody, description = "What would happen."), Problems))]
pub(super) async fn preview_merge(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
    Body(body): Body<PreviewMergeBody>,
) -> ApiResult<Json<MergePreviewBody>> {
    let preview = members
        .preview_merge(&actor, member_id, body.other_member_id)
        .await?;
    Ok(Json(preview.into()))
}

/// Merges two members who are one person.
///
/// Whoever registered first stays; the other becomes a redirect, and what the person owns moves. Merging the same two
/// again gives the same merge. Needs the permission `members.merge`.
#[utoipa::path(post, path = "/api/admin/v1/members/{member_id}/merges", tag = "members",
    params(("member_id" = String, Path, description = "One of the two.", example = "mbr_2p3rvd1w6k8fz")),
    request_body = MergeMembersBody,
    responses((status = 201, body = MergeBody, description = "The merge."), Problems))]
pub(super) async fn merge_members(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
    Body(body): Body<MergeMembersBody>,
) -> ApiResult<(StatusCode, Json<MergeBody>)> {
    let reason = body.reason.parse()?;
    let merge = members
        .merge(&actor, member_id, body.other_member_id, &reason)
        .await?;
    Ok((StatusCode::CREATED, Json(merge.into())))
}

/// Takes a merge back.
///
/// The member is the redirect. Both members are as they were; what happened to the other one since stays there. Needs
/// the permission `members.merge`.
#[utoipa::path(post, path = "/api/admin/v1/members/{member_id}/unmerges", tag = "members",
    params(("member_id" = String, Path, description = "The redirect.", example = "mbr_2p3rvd1w6k8fz")),
    request_body = UnmergeMemberBody,
    responses((status = 200, body = MergeBody, description = "The merge that was taken back."), Problems))]
pub(super) async fn unmerge_member(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
    Body(body): Body<UnmergeMemberBody>,
) -> ApiResult<Json<MergeBody>> {
    let reason = body.reason.parse()?;
    Ok(Json(members.unmerge(&actor, member_id, &reason).await?.into()))
}

impl From<MergePreview> for MergePreviewBody {
    fn from(preview: MergePreview) -> Self {
        Self {
            winner: preview.winner,
            loser: preview.loser,
            can_merge: preview.can_merge(),
            effects: preview.effects.into_iter().map(MergeEffectBody::from).collect(),
        }
    }
}

impl From<MergeEffect> for MergeEffectBody {
    fn from(effect: MergeEffect) -> Self {
        Self {
            part: effect.part.to_owned(),
            zh: effect.text.zh,
            en: effect.text.en,
            blocks: effect.blocks,
        }
    }
}

impl From<Merge> for MergeBody {
    fn from(merge: Merge) -> Self {
        Self {
            id: merge.id,
            winner: merge.winner,
            loser: merge.loser,
            merged_at: merge.merged_at,
        }
    }
}
