//! The HTTP face: decode, call one use case, encode.

mod admin;
mod open;

use std::sync::Arc;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::Behavior;

/// Every route of this module but the one that takes events. All of them stand behind authentication.
pub fn router(behavior: Behavior) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(admin::list_behavior_counts))
        .routes(routes!(admin::list_member_events))
        .routes(routes!(
            admin::show_behavior_settings,
            admin::change_behavior_settings
        ))
        .with_state(Arc::new(behavior))
}

/// The route whose body holds many events and may be larger.
pub fn bulk_router(behavior: Behavior) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(open::record_events))
        .with_state(Arc::new(behavior))
}
