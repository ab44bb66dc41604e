//! The open API: tills, shops and other systems, and operators alike.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use garde::Validate;
use huika_core::{IdempotencyKey, MemberId, Timestamp};
use huika_http::{
    ApiError, ApiResult, Body, Caller, Cursor, IdempotencyHeader, Page, PageQuery, Path, PathId, ProblemBody,
    Problems, Query, RequiredIdempotencyKey,
};
use huika_ledger::{HoldId, LotId, LotPlace, PostingId};
use huika_members::{MembersError, Reason};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::bodies::{PointsBalanceBody, PointsEntryBody, PointsLotBody, PointsOutcomeBody, StandingBody};
use crate::{Loyalty, Metrics, PointsCommand, PointsOperation, PointsOutcome, TierReason};

const MAX_POINTS: i64 = 1_000_000_000_000_000;

/// Points and the words for them.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PointsBody {
    /// How many.
    #[garde(range(min = 1, max = MAX_POINTS))]
    #[schema(minimum = 1, maximum = 1_000_000_000_000_000_i64, example = 100)]
    points: i64,
    /// Why; the member reads it. Phone numbers in it are masked.
    #[garde(length(chars, min = 1, max = Reason::MAX_CHARS))]
    #[schema(min_length = 1, max_length = 200, example = "Birthday gift")]
    reason: String,
}

/// Points to set aside.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldBody {
    /// How many.
    #[garde(range(min = 1, max = MAX_POINTS))]
    #[schema(minimum = 1, maximum = 1_000_000_000_000_000_i64, example = 100)]
    points: i64,
    /// After how many seconds they return by themselves.
    #[garde(range(min = 1, max = 2_592_000))]
    #[schema(minimum = 1, maximum = 2_592_000, example = 900)]
    ttl_seconds: i64,
}

/// Points that return to the lots which a posting took them from.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReturnPointsBody {
    /// The posting that spent them.
    #[garde(skip)]
    #[schema(value_type = String, example = "pst_01hpw4v5z6k8f")]
    posting_id: PostingId,
    /// How many.
    #[garde(range(min = 1, max = MAX_POINTS))]
    #[schema(minimum = 1, maximum = 1_000_000_000_000_000_i64, example = 100)]
    points: i64,
    /// Why; the member reads it. Phone numbers in it are masked.
    #[garde(length(chars, min = 1, max = Reason::MAX_CHARS))]
    #[schema(min_length = 1, max_length = 200, example = "Order cancelled")]
    reason: String,
}

/// A hold of a member.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldPath {
    #[garde(skip)]
    member_id: MemberId,
    #[garde(skip)]
    hold_id: HoldId,
}

/// A change of tier, or the renewal of one.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TierChangeBody {
    /// The code of the tier before.
    #[schema(example = "bronze")]
    from_tier: String,
    /// The code of the tier after; the same where it was kept.
    #[schema(example = "silver")]
    to_tier: String,
    /// Why.
    reason: TierReason,
    /// The metrics that decided.
    metrics: Metrics,
    /// The version of the rules that decided.
    #[schema(example = 1)]
    version: i64,
    /// What brought it about: a purchase. Empty for evaluations.
    #[schema(example = "pur_01hpw4v5z6k8f")]
    reference: String,
    /// The moment from which on purchases count in the tier after.
    #[schema(value_type = String, format = DateTime)]
    effective_at: Timestamp,
    /// The moment at which it is evaluated. Null: it holds until something raises it.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// When it was recorded.
    #[schema(value_type = String, format = DateTime)]
    changed_at: Timestamp,
}

/// Many commands on points.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PointsBulkBody {
    /// At most 500; each is carried out or refused by itself.
    #[garde(length(min = 1, max = 500), dive)]
    #[schema(min_items = 1, max_items = 500)]
    commands: Vec<PointsBulkItemBody>,
}

/// One of many commands.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PointsBulkItemBody {
    /// Whose points.
    #[garde(skip)]
    #[schema(value_type = String, example = "mbr_2p3rvd1w6k8fz")]
    member_id: MemberId,
    /// The caller's own key for this command.
    #[garde(skip)]
    #[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[!-~]{1,64}$", example = "import-2026-1")]
    idempotency_key: IdempotencyKey,
    /// What to do.
    #[garde(skip)]
    action: PointsBulkAction,
    /// How many.
    #[garde(range(min = 1, max = MAX_POINTS))]
    #[schema(minimum = 1, maximum = 1_000_000_000_000_000_i64, example = 100)]
    points: i64,
    /// Why; the member reads it. Phone numbers in it are masked.
    #[garde(length(chars, min = 1, max = Reason::MAX_CHARS))]
    #[schema(min_length = 1, max_length = 200, example = "Opening balance")]
    reason: String,
}

/// What a command of a bulk does.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum PointsBulkAction {
    /// Grant points.
    Earn,
    /// Spend points.
    Redeem,
}

/// The answers to many commands, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PointsBulkResultBody {
    /// One for each command.
    items: Vec<PointsBulkItemResultBody>,
}

/// The answer to one of many commands: an outcome or a problem.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PointsBulkItemResultBody {
    /// What came of it. Null when it was refused.
    #[schema(required)]
    outcome: Option<PointsOutcomeBody>,
    /// Why it was refused. Null when it was carried out.
    #[schema(required)]
    problem: Option<ProblemBody>,
}

/// Shows a member's points, tier and the way to the next.
///
/// Needs the permission `loyalty.read`.
#[utoipa::path(get, path = "/api/open/v1/members/{member_id}/standing", tag = "loyalty",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz")),
    responses((status = 200, body = StandingBody, description = "Where the member stands now."), Problems))]
pub(super) async fn show_standing(
    State(loyalty): State<Arc<Loyalty>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
) -> ApiResult<Json<StandingBody>> {
    Ok(Json(loyalty.standing(&actor, member_id).await?.into()))
}

/// Lists the changes of a member's tier, newest first.
///
/// Needs the permission `loyalty.read`.
#[utoipa::path(get, path = "/api/open/v1/members/{member_id}/tier-changes", tag = "loyalty",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz")),
    responses((status = 200, body = Page<TierChangeBody>, description = "At most 200 changes."), Problems))]
pub(super) async fn list_tier_changes(
    State(loyalty): State<Arc<Loyalty>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
) -> ApiResult<Json<Page<TierChangeBody>>> {
    let changes = loyalty.tier_changes(&actor, member_id).await?;
    let items = changes
        .into_iter()
        .map(|change| TierChangeBody {
            from_tier: change.from_tier,
            to_tier: change.span.tier,
            reason: change.span.reason,
            metrics: change.span.metrics,
            version: change.span.version,
            reference: change.reference,
            effective_at: change.span.from,
            until: change.span.until,
            changed_at: change.changed_at,
        })
        .collect();
    Ok(Json(Page {
        items,
        next_cursor: None,
    }))
}

/// Shows a member's points account.
///
/// Needs the permission `loyalty.read`.
#[utoipa::path(get, path = "/api/open/v1/members/{member_id}/points", tag = "loyalty",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz")),
    responses((status = 200, body = PointsBalanceBody, description = "The account now; zeros before the first entry."), Problems))]
pub(super) async fn show_points(
    State(loyalty): State<Arc<Loyalty>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
) -> ApiResult<Json<PointsBalanceBody>> {
    Ok(Json(loyalty.points_balance(&actor, member_id).await?.into()))
}

/// Lists the entries of a member's points, newest first, each with its why.
///
/// Needs the permission `loyalty.read`.
#[utoipa::path(get, path = "/api/open/v1/members/{member_id}/points/entries", tag = "loyalty",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz"), PageQuery),
    responses((status = 200, body = Page<PointsEntryBody>, description = "A page of entries."), Problems))]
pub(super) async fn list_points_entries(
    State(loyalty): State<Arc<Loyalty>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<Page<PointsEntryBody>>> {
    let before = query.cursor.map(|Cursor(sequence, _)| sequence);
    let views = loyalty
        .points_statement(&actor, member_id, before, i64::from(query.limit) + 1)
        .await?;
    // Sorted by one number.
    let page = Page::cut(views, query.limit, |last| Cursor(last.line.sequence, 0));
    Ok(Json(page.map(PointsEntryBody::from)))
}

/// Lists the lots of a member's points, earliest expiry first.
///
/// Needs the permission `loyalty.read`.
#[utoipa::path(get, path = "/api/open/v1/members/{member_id}/points/lots", tag = "loyalty",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz"), PageQuery),
    responses((status = 200, body = Page<PointsLotBody>, description = "A page of the lots that are not used up."), Problems))]
pub(super) async fn list_points_lots(
    State(loyalty): State<Arc<Loyalty>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<Page<PointsLotBody>>> {
    let after = query.cursor.map(|Cursor(expires_at, lot_id)| LotPlace {
        expires_at: Timestamp::from_millis(expires_at),
        lot_id: LotId::from_i64(lot_id),
    });
    let lots = loyalty
        .points_lots(&actor, member_id, after, query.limit as usize + 1)
        .await?;
    let page = Page::cut(lots, query.limit, |lot| {
        let place = LotPlace::from((lot.expires_at, lot.lot_id));
        Cursor(place.expires_at.as_millis(), place.lot_id.as_i64())
    });
    Ok(Json(page.map(Into::into)))
}

/// Grants points to a member.
///
/// Needs the permission `loyalty.earn`.
#[utoipa::path(post, path = "/api/open/v1/members/{member_id}/points/earnings", tag = "loyalty", request_body = PointsBody,
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz"), IdempotencyHeader),
    responses((status = 201, body = PointsOutcomeBody, description = "The points are granted."), Problems))]
pub(super) async fn earn_points(
    State(loyalty): State<Arc<Loyalty>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    Body(body): Body<PointsBody>,
) -> ApiResult<(StatusCode, Json<PointsOutcomeBody>)> {
    let operation = PointsOperation::Earn {
        points: body.points,
        reason: body.reason.parse()?,
    };
    command(&loyalty, &actor, member_id, key, operation).await
}

/// Spends points of a member: those that expire first, first.
///
/// Needs the permission `loyalty.redeem`.
#[utoipa::path(post, path = "/api/open/v1/members/{member_id}/points/redemptions", tag = "loyalty", request_body = PointsBody,
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz"), IdempotencyHeader),
    responses((status = 201, body = PointsOutcomeBody, description = "The points are spent."), Problems))]
pub(super) async fn redeem_points(
    State(loyalty): State<Arc<Loyalty>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    Body(body): Body<PointsBody>,
) -> ApiResult<(StatusCode, Json<PointsOutcomeBody>)> {
    let operation = PointsOperation::Redeem {
        points: body.points,
        reason: body.reason.parse()?,
    };
    command(&loyalty, &actor, member_id, key, operation).await
}

/// Sets points aside for an order that awaits payment.
///
/// Needs the permission `loyalty.redeem`.
#[utoipa::path(post, path = "/api/open/v1/members/{member_id}/points/holds", tag = "loyalty", request_body = HoldBody,
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz"), IdempotencyHeader),
    responses((status = 201, body = PointsOutcomeBody, description = "The points are set aside."), Problems))]
pub(super) async fn hold_points(
    State(loyalty): State<Arc<Loyalty>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    Body(body): Body<HoldBody>,
) -> ApiResult<(StatusCode, Json<PointsOutcomeBody>)> {
    let operation = PointsOperation::Hold {
        points: body.points,
        ttl_seconds: body.ttl_seconds,
    };
    command(&loyalty, &actor, member_id, key, operation).await
}

/// Spends points from a hold; what is not spent returns.
///
/// Needs the permission `loyalty.redeem`.
#[utoipa::path(post, path = "/api/open/v1/members/{member_id}/points/holds/{hold_id}/post", tag = "loyalty", request_body = PointsBody,
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz"),
        ("hold_id" = String, Path, description = "The hold.", example = "hld_01hpw4v5z6k8f"), IdempotencyHeader),
    responses((status = 201, body = PointsOutcomeBody, description = "The points are spent."), Problems))]
pub(super) async fn post_hold(
    State(loyalty): State<Arc<Loyalty>>,
    Caller(actor): Caller,
    Path(HoldPath { member_id, hold_id }): Path<HoldPath>,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    Body(body): Body<PointsBody>,
) -> ApiResult<(StatusCode, Json<PointsOutcomeBody>)> {
    let operation = PointsOperation::PostHold {
        hold_id,
        points: body.points,
        reason: body.reason.parse()?,
    };
    command(&loyalty, &actor, member_id, key, operation).await
}

/// Returns a hold.
///
/// Needs the permission `loyalty.redeem`.
#[utoipa::path(post, path = "/api/open/v1/members/{member_id}/points/holds/{hold_id}/void", tag = "loyalty",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz"),
        ("hold_id" = String, Path, description = "The hold.", example = "hld_01hpw4v5z6k8f"), IdempotencyHeader),
    responses((status = 201, body = PointsOutcomeBody, description = "The points are free again."), Problems))]
pub(super) async fn void_hold(
    State(loyalty): State<Arc<Loyalty>>,
    Caller(actor): Caller,
    Path(HoldPath { member_id, hold_id }): Path<HoldPath>,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
) -> ApiResult<(StatusCode, Json<PointsOutcomeBody>)> {
    command(
        &loyalty,
        &actor,
        member_id,
        key,
        PointsOperation::VoidHold { hold_id },
    )
    .await
}

/// Puts points back into the lots that a posting took them from.
///
/// Needs the permission `loyalty.redeem`.
#[utoipa::path(post, path = "/api/open/v1/members/{member_id}/points/returns", tag = "loyalty", request_body = ReturnPointsBody,
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz"), IdempotencyHeader),
    responses((status = 201, body = PointsOutcomeBody, description = "The points are back."), Problems))]
pub(super) async fn return_points(
    State(loyalty): State<Arc<Loyalty>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    Body(body): Body<ReturnPointsBody>,
) -> ApiResult<(StatusCode, Json<PointsOutcomeBody>)> {
    let operation = PointsOperation::ReturnPoints {
        source: body.posting_id,
        points: body.points,
        reason: body.reason.parse()?,
    };
    command(&loyalty, &actor, member_id, key, operation).await
}

/// Grants and spends points of many members in one transaction; a refused command refuses itself alone.
///
/// Needs the permissions `loyalty.earn` and `loyalty.redeem` for what it holds.
#[utoipa::path(post, path = "/api/open/v1/points/bulk", tag = "loyalty", request_body = PointsBulkBody,
    responses((status = 200, body = PointsBulkResultBody, description = "An answer for each command."), Problems))]
pub(super) async fn command_points_in_bulk(
    State(loyalty): State<Arc<Loyalty>>,
    Caller(actor): Caller,
    Body(body): Body<PointsBulkBody>,
) -> ApiResult<Json<PointsBulkResultBody>> {
    let commands = body
        .commands
        .into_iter()
        .map(|item| {
            let (points, reason) = (item.points, item.reason.parse()?);
            Ok(PointsCommand {
                member_id: item.member_id,
                key: item.idempotency_key,
                operation: match item.action {
                    PointsBulkAction::Earn => PointsOperation::Earn { points, reason },
                    PointsBulkAction::Redeem => PointsOperation::Redeem { points, reason },
                },
            })
        })
        .collect::<Result<Vec<PointsCommand>, MembersError>>()?;
    let results = loyalty.command_points_in_bulk(&actor, commands).await?;
    let items = results
        .into_iter()
        .map(|result| match result {
            Ok(outcome) => PointsBulkItemResultBody {
                outcome: Some(outcome.into()),
                problem: None,
            },
            Err(refused) => PointsBulkItemResultBody {
                outcome: None,
                problem: Some(ApiError::from(refused).to_body()),
            },
        })
        .collect();
    Ok(Json(PointsBulkResultBody { items }))
}

async fn command(
    loyalty: &Loyalty,
    actor: &huika_core::Actor,
    member_id: MemberId,
    key: IdempotencyKey,
    operation: PointsOperation,
) -> ApiResult<(StatusCode, Json<PointsOutcomeBody>)> {
    let outcome: PointsOutcome = loyalty
        .command_points(
            actor,
            PointsCommand {
                member_id,
                key,
                operation,
            },
        )
        .await?;
    Ok((StatusCode::CREATED, Json(outcome.into())))
}
