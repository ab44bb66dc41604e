//! The console's routes for stores.

use axum::{Json, extract::State, http::StatusCode};
use huika_core::Timestamp;
use huika_http::{ApiResult, Body, Caller, Page, PageQuery, PathId, Problems, Query};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::bodies::{self, code_of};
use crate::{Staff, Store, StoreCode};

/// Routes for those who are logged in or sign.
pub(super) fn router() -> OpenApiRouter<Staff> {
    OpenApiRouter::default()
        .routes(routes!(create_store, list_stores))
        .routes(routes!(rename_store))
        .routes(routes!(close_store))
}

/// Which stores.
#[derive(Deserialize, IntoParams, garde::Validate)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StoresQuery {
    /// `next_cursor` of the page before. Absent for the first page.
    #[garde(inner(custom(bodies::is_store_code)))]
    #[param(nullable = false)]
    cursor: Option<String>,
    /// How many at most.
    #[serde(default = "default_limit")]
    #[garde(range(min = 1, max = PageQuery::MAX_LIMIT))]
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: u32,
}

fn default_limit() -> u32 {
    50
}

/// A new store.
#[derive(Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
struct CreateStore {
    /// What tills and shops send: letters, digits, dots, hyphens and underscores. It never changes.
    #[garde(custom(bodies::is_store_code))]
    #[schema(min_length = 1, max_length = 32, example = "jingan")]
    code: String,
    /// The Chinese name.
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(min_length = 1, max_length = 100, example = "静安店")]
    name_zh: String,
    /// The English name, where it has one.
    #[serde(default)]
    #[garde(inner(length(chars, min = 1, max = 100)))]
    #[schema(min_length = 1, max_length = 100, example = "Jing'an")]
    name_en: Option<String>,
}

/// Other names for a store.
#[derive(Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
struct RenameStore {
    /// The Chinese name.
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(min_length = 1, max_length = 100, example = "静安寺店")]
    name_zh: String,
    /// The English name, where it has one.
    #[serde(default)]
    #[garde(inner(length(chars, min = 1, max = 100)))]
    #[schema(min_length = 1, max_length = 100)]
    name_en: Option<String>,
}

/// A store.
#[derive(Serialize, ToSchema)]
struct StoreBody {
    /// What tills and shops send.
    #[schema(example = "jingan")]
    code: String,
    /// The Chinese name.
    name_zh: String,
    /// The English name. Null where it has none.
    #[schema(required)]
    name_en: Option<String>,
    /// Whether it is open.
    is_open: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was closed. Null while it is open.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    closed_at: Option<Timestamp>,
}

/// Create a store
///
/// Needs `staff.manage_stores`, in all stores.
#[utoipa::path(
    post, path = "/api/admin/v1/stores", tag = "staff", request_body = CreateStore,
    responses((status = 201, description = "The store.", body = StoreBody), Problems)
)]
async fn create_store(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    Body(body): Body<CreateStore>,
) -> ApiResult<(StatusCode, Json<StoreBody>)> {
    let code = code_of(&body.code)?;
    let store = staff
        .create_store(&actor, code, body.name_zh, body.name_en)
        .await?;
    Ok((StatusCode::CREATED, Json(store.into())))
}

/// List stores
///
/// By their codes, closed ones too. Needs `staff.read_stores`.
#[utoipa::path(
    get, path = "/api/admin/v1/stores", tag = "staff", params(StoresQuery),
    responses((status = 200, description = "One page of stores.", body = Page<StoreBody>), Problems)
)]
async fn list_stores(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    Query(query): Query<StoresQuery>,
) -> ApiResult<Json<Page<StoreBody>>> {
    let after = query.cursor.as_deref().map(code_of).transpose()?;
    let mut items = staff.list_stores(&actor, after.as_ref(), query.limit + 1).await?;
    let more = items.len() > query.limit as usize;
    items.truncate(query.limit as usize);
    let next_cursor = items.last().filter(|_| more).map(|last| last.code.to_string());
    let items = items.into_iter().map(StoreBody::from).collect();
    Ok(Json(Page { items, next_cursor }))
}

/// Rename a store
///
/// Needs `staff.manage_stores` in this store.
#[utoipa::path(
    put, path = "/api/admin/v1/stores/{code}", tag = "staff", request_body = RenameStore,
    params(("code" = String, Path, description = "The store.", example = "jingan")),
    responses((status = 200, description = "The store.", body = StoreBody), Problems)
)]
async fn rename_store(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    PathId(code): PathId<StoreCode>,
    Body(body): Body<RenameStore>,
) -> ApiResult<Json<StoreBody>> {
    let store = staff
        .rename_store(&actor, &code, &body.name_zh, body.name_en.as_deref())
        .await?;
    Ok(Json(store.into()))
}

/// Close a store
///
/// For ever; closing it again changes nothing. Nobody is newly given it, and what happened there stays. Needs
/// `staff.manage_stores` in this store.
#[utoipa::path(
    post, path = "/api/admin/v1/stores/{code}/close", tag = "staff",
    params(("code" = String, Path, description = "The store.", example = "jingan")),
    responses((status = 200, description = "The store.", body = StoreBody), Problems)
)]
async fn close_store(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    PathId(code): PathId<StoreCode>,
) -> ApiResult<Json<StoreBody>> {
    Ok(Json(staff.close_store(&actor, &code).await?.into()))
}

impl From<Store> for StoreBody {
    fn from(store: Store) -> Self {
        Self {
            code: store.code.to_string(),
            name_zh: store.name_zh,
            name_en: store.name_en,
            is_open: store.is_open,
            created_at: store.created_at,
            closed_at: store.closed_at,
        }
    }
}
