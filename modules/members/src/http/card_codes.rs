//! The open API of rotating codes.

use std::sync::Arc;

use axum::{Json, extract::State};
use data_encoding::BASE64;
use garde::Validate;
use huika_core::{MemberId, Timestamp};
use huika_http::{ApiResult, Body, Caller, PathId, Problems};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::open::MemberBody;
use crate::Members;

/// A code to be shown.
#[derive(Serialize, ToSchema)]
pub(super) struct CardCodeBody {
    /// 25 digits, for a QR code.
    #[schema(example = "1000000000000132012345678")]
    code: String,
    /// When the next one is due.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// A code that a till has scanned.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyCardCodeBody {
    /// The digits.
    #[garde(length(chars, min = 1, max = 40))]
    #[schema(min_length = 1, max_length = 40, example = "1000000000000132012345678")]
    code: String,
}

/// The key by which codes of one day are checked without a network.
#[derive(Serialize, ToSchema)]
pub(super) struct CardKeyBody {
    /// 32 bytes in Base64. Keep it in memory alone.
    key: String,
    /// From when on codes are made with it.
    #[schema(value_type = String, format = DateTime)]
    valid_from: Timestamp,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    valid_until: Timestamp,
}

/// Shows the code of a member's card.
///
/// It changes every 30 seconds. Needs the permission `members.issue_code`.
#[utoipa::path(post, path = "/api/open/v1/members/{member_id}/card-codes", tag = "members",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz")),
    responses((status = 200, body = CardCodeBody, description = "The code of this moment."), Problems))]
pub(super) async fn show_card_code(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
) -> ApiResult<Json<CardCodeBody>> {
    let code = members.card_code(&actor, member_id).await?;
    Ok(Json(CardCodeBody {
        code: code.code,
        expires_at: code.expires_at,
    }))
}

/// Takes a code that a member shows.
///
/// Each code counts once. Needs the permission `members.verify_code`.
#[utoipa::path(post, path = "/api/open/v1/card-code-verifications", tag = "members",
    request_body = VerifyCardCodeBody,
    responses((status = 200, body = MemberBody, description = "The member whose card shows it."), Problems))]
pub(super) async fn verify_card_code(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
    Body(body): Body<VerifyCardCodeBody>,
) -> ApiResult<Json<MemberBody>> {
    Ok(Json(members.verify_card_code(&actor, &body.code).await?.into()))
}

/// Gets the key by which codes of today are checked without a network.
///
/// Needs the permission `members.card_key`.
#[utoipa::path(get, path = "/api/open/v1/card-key", tag = "members",
    responses((status = 200, body = CardKeyBody, description = "The key of this UTC day."), Problems))]
pub(super) async fn show_card_key(
    State(members): State<Arc<Members>>,
    Caller(actor): Caller,
) -> ApiResult<Json<CardKeyBody>> {
    let key = members.card_key(&actor)?;
    Ok(Json(CardKeyBody {
        key: BASE64.encode(&*key.key),
        valid_from: key.valid_from,
        valid_until: key.valid_until,
    }))
}
