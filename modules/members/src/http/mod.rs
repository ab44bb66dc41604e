//! The HTTP face: decode, call one use case, encode.

mod open;

use std::sync::Arc;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::Members;

/// Every route of this module. All of them stand behind authentication.
pub fn router(members: Members) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(open::register_member))
        .routes(routes!(open::look_up_member))
        .routes(routes!(open::show_member))
        .routes(routes!(open::reveal_member_phone))
        .routes(routes!(open::set_member_state))
        .with_state(Arc::new(members))
}
