//! The HTTP face: decode, call one use case, encode.

mod admin;
mod card_codes;
mod consents;
mod merges;
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
        .routes(routes!(admin::show_profile, admin::change_profile))
        .routes(routes!(admin::reveal_profile_field))
        .routes(routes!(admin::export_member))
        .routes(routes!(admin::erase_member))
        .routes(routes!(admin::list_key_rotations))
        .routes(routes!(consents::publish_agreement, consents::list_agreements))
        .routes(routes!(consents::decide_consent, consents::list_consents))
        .routes(routes!(consents::set_guardian))
        .routes(routes!(consents::search_members))
        .routes(routes!(card_codes::show_card_code))
        .routes(routes!(card_codes::verify_card_code))
        .routes(routes!(card_codes::show_card_key))
        .routes(routes!(merges::preview_merge))
        .routes(routes!(merges::merge_members))
        .routes(routes!(merges::unmerge_member))
        .with_state(Arc::new(members))
}
