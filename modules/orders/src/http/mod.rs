//! The HTTP face: decode, call one use case, encode.

mod bodies;
mod open;

use std::sync::Arc;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::Orders;

/// Every route of this module. All of them stand behind authentication.
pub fn router(orders: Orders) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(open::record_purchase))
        .routes(routes!(open::look_up_purchase))
        .routes(routes!(open::claim_purchase))
        .routes(routes!(open::record_refund))
        .routes(routes!(open::record_unlinked_refund))
        .routes(routes!(open::list_member_purchases))
        .routes(routes!(open::list_member_refunds))
        .with_state(Arc::new(orders))
}

/// The routes whose bodies hold many documents and may be larger.
pub fn bulk_router(orders: Orders) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(open::record_purchases_in_bulk))
        .with_state(Arc::new(orders))
}
