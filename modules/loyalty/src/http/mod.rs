//! The HTTP face: decode, call one use case, encode.

mod admin;
mod bodies;
mod open;

pub use bodies::{BilingualBody, NextTierBody, PointsBalanceBody, TierProgressBody};
use std::sync::Arc;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::Loyalty;

/// Every route of this module. All of them stand behind authentication.
pub fn router(loyalty: Loyalty) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(open::show_standing))
        .routes(routes!(open::list_tier_changes))
        .routes(routes!(open::show_points))
        .routes(routes!(open::list_points_entries))
        .routes(routes!(open::list_points_lots))
        .routes(routes!(open::earn_points))
        .routes(routes!(open::redeem_points))
        .routes(routes!(open::hold_points))
        .routes(routes!(open::post_hold))
        .routes(routes!(open::void_hold))
        .routes(routes!(open::return_points))
        .routes(routes!(admin::list_program_versions, admin::publish_program))
        .routes(routes!(admin::withdraw_program))
        .with_state(Arc::new(loyalty))
}

/// The routes whose bodies hold many commands and may be larger.
pub fn bulk_router(loyalty: Loyalty) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(open::command_points_in_bulk))
        .with_state(Arc::new(loyalty))
}
