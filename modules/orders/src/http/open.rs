//! The open API: tills, shops and other systems, and operators alike.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use garde::Validate;
use huika_core::MemberId;
use huika_http::{
    ApiError, ApiResult, Body, Caller, Cursor, IdempotencyHeader, Page, PageQuery, PathId, Problems, Query,
    RequiredIdempotencyKey,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::bodies::{
    ClaimBody, PurchaseBody, PurchaseViewBody, PurchasesBody, ReceiptBody, ReceiptItemBody, ReceiptsBody,
    RefundBody, RefundReceiptBody, RefundViewBody, UnlinkedRefundBody,
};
use crate::{Orders, PurchaseView, Receipt};

/// The name of a purchase.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PurchaseQuery {
    /// The code of the reporting system.
    #[garde(length(min = 1, max = 32))]
    #[param(
        min_length = 1,
        max_length = 32,
        pattern = "^[A-Za-z0-9._-]{1,32}$",
        example = "pos"
    )]
    source: String,
    /// The number of the order there.
    #[garde(length(min = 1, max = 64))]
    #[param(
        min_length = 1,
        max_length = 64,
        pattern = "^[!-~]{1,64}$",
        example = "A-1001"
    )]
    external_order_no: String,
}

/// Records a purchase and settles it into points, growth and tier.
///
/// Idempotent by the order number of its source and by the key. Needs the permission `orders.record`.
#[utoipa::path(post, path = "/api/open/v1/purchases", tag = "orders", request_body = PurchaseBody,
    params(IdempotencyHeader),
    responses(
        (status = 201, body = ReceiptBody, description = "The purchase is recorded and settled."),
        (status = 200, body = ReceiptBody, description = "It was recorded before: the first answer again."),
        Problems,
    ))]
pub(super) async fn record_purchase(
    State(orders): State<Arc<Orders>>,
    Caller(actor): Caller,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    Body(body): Body<PurchaseBody>,
) -> ApiResult<(StatusCode, Json<ReceiptBody>)> {
    let intake = body.into_intake(Some(key), &actor, orders.now())?;
    let receipt = orders.take_in(&actor, intake).await?;
    answer(&orders, receipt).await
}

/// Records many purchases in one transaction; a refused one refuses itself alone.
///
/// Idempotent by the order numbers. Needs the permission `orders.record`.
#[utoipa::path(post, path = "/api/open/v1/purchases/bulk", tag = "orders", request_body = PurchasesBody,
    responses((status = 200, body = ReceiptsBody, description = "An answer for each purchase."), Problems))]
pub(super) async fn record_purchases_in_bulk(
    State(orders): State<Arc<Orders>>,
    Caller(actor): Caller,
    Body(body): Body<PurchasesBody>,
) -> ApiResult<Json<ReceiptsBody>> {
    let now = orders.now();
    let mut items: Vec<Option<ReceiptItemBody>> = Vec::with_capacity(body.purchases.len());
    let mut intakes = Vec::with_capacity(body.purchases.len());
    for purchase in body.purchases {
        match purchase.into_intake(None, &actor, now) {
            Ok(intake) => {
                intakes.push(intake);
                items.push(None);
            }
            Err(problem) => items.push(Some(refused(problem.into()))),
        }
    }
    let mut results = Vec::with_capacity(intakes.len());
    for result in orders.take_in_bulk(&actor, intakes).await? {
        results.push(match result {
            Ok(receipt) => ReceiptItemBody {
                receipt: Some(receipt_body(&orders, receipt).await?),
                problem: None,
            },
            Err(error) => refused(error.into()),
        });
    }
    let mut results = results.into_iter();
    let items = items
        .into_iter()
        .filter_map(|item| item.or_else(|| results.next()))
        .collect();
    Ok(Json(ReceiptsBody { items }))
}

/// Makes an anonymous purchase a member's, by the code on its receipt or by number, amount and date.
///
/// It is settled as of the time at which it was paid, less what was refunded since. Idempotent: the same member gets
/// the first answer again. Needs the permission `orders.claim`.
#[utoipa::path(post, path = "/api/open/v1/purchases/claims", tag = "orders", request_body = ClaimBody,
    responses(
        (status = 201, body = ReceiptBody, description = "The purchase is the member's and settled."),
        (status = 200, body = ReceiptBody, description = "The member had claimed it before: the first answer again."),
        Problems,
    ))]
pub(super) async fn claim_purchase(
    State(orders): State<Arc<Orders>>,
    Caller(actor): Caller,
    Body(body): Body<ClaimBody>,
) -> ApiResult<(StatusCode, Json<ReceiptBody>)> {
    let (member, evidence) = body.into_claim()?;
    let receipt = orders.claim(&actor, &member, &evidence).await?;
    answer(&orders, receipt).await
}

/// Shows a purchase by its number, with lines and why.
///
/// Needs the permission `orders.read`.
#[utoipa::path(get, path = "/api/open/v1/purchases/lookup", tag = "orders", params(PurchaseQuery),
    responses((status = 200, body = PurchaseViewBody, description = "The purchase."), Problems))]
pub(super) async fn look_up_purchase(
    State(orders): State<Arc<Orders>>,
    Caller(actor): Caller,
    Query(query): Query<PurchaseQuery>,
) -> ApiResult<Json<PurchaseViewBody>> {
    let (source, number) = (query.source.parse()?, query.external_order_no.parse()?);
    Ok(Json(
        orders.purchase_by_number(&actor, &source, &number).await?.into(),
    ))
}

/// Records a refund of a purchase and takes back its share of points and growth.
///
/// Idempotent by the refund number and by the key. Needs the permission `orders.refund`.
#[utoipa::path(post, path = "/api/open/v1/refunds", tag = "orders", request_body = RefundBody,
    params(IdempotencyHeader),
    responses(
        (status = 201, body = RefundReceiptBody, description = "The refund is recorded."),
        (status = 200, body = RefundReceiptBody, description = "It was recorded before: the first answer again."),
        Problems,
    ))]
pub(super) async fn record_refund(
    State(orders): State<Arc<Orders>>,
    Caller(actor): Caller,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    Body(body): Body<RefundBody>,
) -> ApiResult<(StatusCode, Json<RefundReceiptBody>)> {
    let (document, input) = body.into_document(orders.now())?;
    let refund = orders.refund(&actor, &document, &key, input).await?;
    let status = status(refund.receipt.replayed);
    let receipt = receipt_body(&orders, refund.receipt).await?;
    Ok((
        status,
        Json(RefundReceiptBody::new(
            receipt,
            refund.amount_minor,
            refund.left_minor,
        )),
    ))
}

/// Records a refund whose purchase is not known: takes back what such an amount earns at the base rate.
///
/// Idempotent by the refund number and by the key. Needs the permission `orders.refund`.
#[utoipa::path(post, path = "/api/open/v1/refunds/unlinked", tag = "orders", request_body = UnlinkedRefundBody,
    params(IdempotencyHeader),
    responses(
        (status = 201, body = ReceiptBody, description = "The refund is recorded."),
        (status = 200, body = ReceiptBody, description = "It was recorded before: the first answer again."),
        Problems,
    ))]
pub(super) async fn record_unlinked_refund(
    State(orders): State<Arc<Orders>>,
    Caller(actor): Caller,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    Body(body): Body<UnlinkedRefundBody>,
) -> ApiResult<(StatusCode, Json<ReceiptBody>)> {
    let intake = body.into_intake(key, &actor, orders.now())?;
    let receipt = orders.take_in(&actor, intake).await?;
    answer(&orders, receipt).await
}

/// Lists a member's purchases, newest first.
///
/// Needs the permission `orders.read`.
#[utoipa::path(get, path = "/api/open/v1/members/{member_id}/purchases", tag = "orders",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz"), PageQuery),
    responses((status = 200, body = Page<PurchaseViewBody>, description = "A page of purchases."), Problems))]
pub(super) async fn list_member_purchases(
    State(orders): State<Arc<Orders>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<Page<PurchaseViewBody>>> {
    let before = query
        .cursor
        .map(|Cursor(placed_at, purchase_id)| (placed_at, purchase_id));
    let views = orders
        .purchases_of(&actor, member_id, before, i64::from(query.limit) + 1)
        .await?;
    let page = Page::cut(views, query.limit, |last: &PurchaseView| {
        Cursor(last.placed_at.as_millis(), last.purchase_id.as_i64())
    });
    Ok(Json(page.map(PurchaseViewBody::from)))
}

/// Lists a member's latest refunds, newest first.
///
/// Needs the permission `orders.read`.
#[utoipa::path(get, path = "/api/open/v1/members/{member_id}/refunds", tag = "orders",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz")),
    responses((status = 200, body = Page<RefundViewBody>, description = "At most 200 refunds."), Problems))]
pub(super) async fn list_member_refunds(
    State(orders): State<Arc<Orders>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
) -> ApiResult<Json<Page<RefundViewBody>>> {
    let refunds = orders.refunds_of(&actor, member_id).await?;
    Ok(Json(Page {
        items: refunds.into_iter().map(RefundViewBody::from).collect(),
        next_cursor: None,
    }))
}

async fn answer(orders: &Orders, receipt: Receipt) -> ApiResult<(StatusCode, Json<ReceiptBody>)> {
    let status = status(receipt.replayed);
    Ok((status, Json(receipt_body(orders, receipt).await?)))
}

async fn receipt_body(orders: &Orders, receipt: Receipt) -> ApiResult<ReceiptBody> {
    let points = orders.points_after(&receipt).await?;
    let progress = orders.progress_after(&receipt).await?;
    Ok(ReceiptBody::new(receipt, points, progress))
}

fn status(replayed: bool) -> StatusCode {
    if replayed {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    }
}

fn refused(error: ApiError) -> ReceiptItemBody {
    ReceiptItemBody {
        receipt: None,
        problem: Some(error.to_body()),
    }
}
