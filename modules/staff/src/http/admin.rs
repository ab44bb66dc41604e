//! The console's routes: sessions, oneself, API clients.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use huika_core::Timestamp;
use huika_http::{
    ApiError, ApiResult, Body, Caller, ClientAddress, Cursor, Page, PageQuery, PathId, Problems, Query,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    authenticator::bearer_token,
    bodies::{OperatorBody, codes_of, is_store_code, scope_of},
    people, shops,
};
use crate::{ApiClient, ApiClientId, ApiClientState, LoggedIn, NewApiClient, Staff, StaffError};

/// Routes that need no credentials: logging in and accepting an invitation.
pub fn public_router(staff: Staff) -> OpenApiRouter {
    OpenApiRouter::default()
        .routes(routes!(log_in))
        .merge(people::public_router())
        .with_state(staff)
}

/// Routes for those who are logged in or sign.
pub fn router(staff: Staff) -> OpenApiRouter {
    OpenApiRouter::default()
        .routes(routes!(log_out))
        .routes(routes!(who_am_i))
        .routes(routes!(create_api_client, list_api_clients))
        .routes(routes!(revoke_api_client))
        .routes(routes!(set_api_client_access))
        .routes(routes!(rotate_api_client))
        .routes(routes!(end_old_secret))
        .merge(people::router())
        .merge(shops::router())
        .with_state(staff)
}

/// What an operator logs in with.
#[derive(Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
struct LogIn {
    /// The operator's address, in any case.
    #[garde(length(chars, min = 1, max = 254))]
    #[schema(min_length = 1, max_length = 254, example = "owner@example.com")]
    email: String,
    /// The operator's password.
    #[garde(length(chars, min = 1, max = 256))]
    #[schema(min_length = 1, max_length = 256, format = Password)]
    password: String,
    /// The six digits that the operator's device shows, or a recovery code. Where a second factor is set up.
    #[serde(default)]
    #[garde(inner(length(chars, min = 1, max = 40)))]
    #[schema(min_length = 1, max_length = 40, example = "287082")]
    code: Option<String>,
}

/// A session that has begun.
#[derive(Serialize, ToSchema)]
struct SessionBody {
    /// Send it as `Authorization: Bearer …`. It is shown this once.
    #[schema(example = "hst_Zk3…")]
    token: String,
    /// When the session ends if it is not used.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// Who is logged in.
    operator: OperatorBody,
}

/// What is asked for a new API client.
#[derive(Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
struct CreateApiClient {
    /// What people will call it.
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(min_length = 1, max_length = 100, example = "Till of the shop in Jing'an")]
    name: String,
    /// The names of its permissions.
    #[garde(length(max = 200), inner(length(chars, min = 1, max = 64)))]
    #[schema(max_items = 200, example = json!(["orders.record"]))]
    permissions: Vec<String>,
    /// The codes of the stores in which it may act. Null: in all of them.
    #[serde(default)]
    #[garde(inner(length(max = 500), inner(custom(is_store_code))))]
    #[schema(max_items = 500, example = json!(["jingan"]))]
    stores: Option<Vec<String>>,
}

/// What an API client is to be allowed.
#[derive(Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
struct ApiClientAccess {
    /// The names of its permissions.
    #[garde(length(max = 200), inner(length(chars, min = 1, max = 64)))]
    #[schema(max_items = 200, example = json!(["orders.record"]))]
    permissions: Vec<String>,
    /// The codes of the stores in which it may act. Null: in all of them.
    #[serde(default)]
    #[garde(inner(length(max = 500), inner(custom(is_store_code))))]
    #[schema(max_items = 500, example = json!(["jingan"]))]
    stores: Option<Vec<String>>,
}

/// How an API client changes over to a new secret.
#[derive(Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
struct RotateApiClient {
    /// Until when the old secret is taken too: at most seven days ahead. Null: for a day.
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = Option<String>, format = DateTime)]
    old_secret_until: Option<Timestamp>,
}

/// An API client.
#[derive(Serialize, ToSchema)]
struct ApiClientBody {
    /// The id, sent as `Huika-Client`.
    #[schema(value_type = String, example = "apc_01q9v7x2k0g00")]
    id: ApiClientId,
    /// What people call it.
    name: String,
    /// The names of its permissions.
    permissions: Vec<String>,
    /// The codes of the stores in which it may act. Null: in all of them.
    #[schema(required)]
    stores: Option<Vec<String>>,
    /// Whether it may sign.
    state: ApiClientStateBody,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was revoked. Null while it is active.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    revoked_at: Option<Timestamp>,
    /// Until when the secret before the present one is taken too. Null where it was never rotated.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    old_secret_until: Option<Timestamp>,
}

/// Whether an API client may sign.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ApiClientStateBody {
    /// It may.
    Active,
    /// Never again.
    Revoked,
}

/// An API client with the secret that was just made.
#[derive(Serialize, ToSchema)]
struct ApiClientCreatedBody {
    /// The client.
    client: ApiClientBody,
    /// The key of its signatures from now on. It is shown this once.
    #[schema(example = "hsk_Q2x…")]
    secret: String,
}

/// Log in
///
/// Begins a session of twelve hours, which use prolongs. Where the operator has set up a device, the code that it shows
/// goes with the password; each code works once.
#[utoipa::path(
    post, path = "/api/admin/v1/sessions", tag = "staff", security(()), request_body = LogIn,
    responses((status = 201, description = "The session has begun.", body = SessionBody), Problems)
)]
async fn log_in(
    State(staff): State<Staff>,
    ClientAddress(from): ClientAddress,
    Body(body): Body<LogIn>,
) -> ApiResult<(StatusCode, Json<SessionBody>)> {
    let LoggedIn {
        token,
        expires_at,
        operator,
    } = staff
        .log_in(crate::LogIn {
            email: &body.email,
            password: body.password,
            code: body.code.as_deref(),
            from,
        })
        .await?;
    Ok((
        StatusCode::CREATED,
        Json(SessionBody {
            token,
            expires_at,
            operator: operator.into(),
        }),
    ))
}

/// Log out
///
/// Ends the session that the request carries.
#[utoipa::path(
    delete, path = "/api/admin/v1/sessions/current", tag = "staff",
    responses((status = 204, description = "The session has ended."), Problems)
)]
async fn log_out(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    headers: HeaderMap,
) -> ApiResult<StatusCode> {
    let token = bearer_token(&headers).ok_or(StaffError::OperatorNeeded)?;
    staff.log_out(&actor, token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who am I
///
/// The operator who is logged in.
#[utoipa::path(
    get, path = "/api/admin/v1/operators/me", tag = "staff",
    responses((status = 200, description = "The operator.", body = OperatorBody), Problems)
)]
async fn who_am_i(State(staff): State<Staff>, Caller(actor): Caller) -> ApiResult<Json<OperatorBody>> {
    Ok(Json(staff.who_am_i(&actor).await?.into()))
}

/// Create an API client
///
/// Nobody grants permissions that they lack. Needs `staff.manage_api_clients`.
#[utoipa::path(
    post, path = "/api/admin/v1/api-clients", tag = "staff", request_body = CreateApiClient,
    responses((status = 201, description = "The client and its secret.", body = ApiClientCreatedBody), Problems)
)]
async fn create_api_client(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    Body(body): Body<CreateApiClient>,
) -> ApiResult<(StatusCode, Json<ApiClientCreatedBody>)> {
    let asked = NewApiClient {
        name: body.name,
        permissions: body.permissions,
        stores: scope_of(body.stores),
    };
    let (client, secret) = staff.create_api_client(&actor, asked).await?;
    let created = ApiClientCreatedBody {
        client: client.into(),
        secret: secret.to_string(),
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// List API clients
///
/// Latest first, revoked ones too. Needs `staff.read_api_clients`.
#[utoipa::path(
    get, path = "/api/admin/v1/api-clients", tag = "staff", params(PageQuery),
    responses((status = 200, description = "One page of clients.", body = Page<ApiClientBody>), Problems)
)]
async fn list_api_clients(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    Query(page): Query<PageQuery>,
) -> ApiResult<Json<Page<ApiClientBody>>> {
    let after = page
        .cursor
        .map(|Cursor(at, id)| (Timestamp::from_millis(at), ApiClientId::from_i64(id)));
    let rows = staff.list_api_clients(&actor, after, page.limit + 1).await?;
    let cut = Page::cut(rows, page.limit, |last| {
        Cursor(last.created_at.as_millis(), last.id.as_i64())
    });
    Ok(Json(cut.map(ApiClientBody::from)))
}

/// Revoke an API client
///
/// For ever; revoking it again changes nothing. Needs `staff.manage_api_clients`.
#[utoipa::path(
    delete, path = "/api/admin/v1/api-clients/{client_id}", tag = "staff",
    params(("client_id" = String, Path, description = "The client.", example = "apc_01q9v7x2k0g00")),
    responses((status = 204, description = "The client is revoked."), Problems)
)]
async fn revoke_api_client(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    PathId(client): PathId<ApiClientId>,
) -> Result<StatusCode, ApiError> {
    staff.revoke_api_client(&actor, client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Set what an API client may do
///
/// Nobody grants permissions or stores that they lack. Needs `staff.manage_api_clients` and whatever the client may do.
#[utoipa::path(
    put, path = "/api/admin/v1/api-clients/{client_id}/access", tag = "staff", request_body = ApiClientAccess,
    params(("client_id" = String, Path, description = "The client.", example = "apc_01q9v7x2k0g00")),
    responses((status = 200, description = "The client.", body = ApiClientBody), Problems)
)]
async fn set_api_client_access(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    PathId(client): PathId<ApiClientId>,
    Body(body): Body<ApiClientAccess>,
) -> ApiResult<Json<ApiClientBody>> {
    let stores = scope_of(body.stores);
    let changed = staff
        .set_api_client_access(&actor, client, &body.permissions, stores)
        .await?;
    Ok(Json(changed.into()))
}

/// Give an API client a new secret
///
/// The old one is taken for a day, or until a moment at most seven days ahead. Needs `staff.manage_api_clients` and
/// whatever the client may do.
#[utoipa::path(
    post, path = "/api/admin/v1/api-clients/{client_id}/rotate", tag = "staff", request_body = RotateApiClient,
    params(("client_id" = String, Path, description = "The client.", example = "apc_01q9v7x2k0g00")),
    responses((status = 200, description = "The client and its new secret.", body = ApiClientCreatedBody), Problems)
)]
async fn rotate_api_client(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    PathId(client): PathId<ApiClientId>,
    Body(body): Body<RotateApiClient>,
) -> ApiResult<Json<ApiClientCreatedBody>> {
    let (client, secret) = staff
        .rotate_api_client(&actor, client, body.old_secret_until)
        .await?;
    Ok(Json(ApiClientCreatedBody {
        client: client.into(),
        secret: secret.to_string(),
    }))
}

/// End the old secret of an API client
///
/// At once, when the client has changed over. Needs `staff.manage_api_clients` and whatever the client may do.
#[utoipa::path(
    delete, path = "/api/admin/v1/api-clients/{client_id}/old-secret", tag = "staff",
    params(("client_id" = String, Path, description = "The client.", example = "apc_01q9v7x2k0g00")),
    responses((status = 204, description = "Only the new secret is taken."), Problems)
)]
async fn end_old_secret(
    State(staff): State<Staff>,
    Caller(actor): Caller,
    PathId(client): PathId<ApiClientId>,
) -> ApiResult<StatusCode> {
    staff.end_old_secret(&actor, client).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<ApiClient> for ApiClientBody {
    fn from(client: ApiClient) -> Self {
        let ApiClient {
            id,
            name,
            permissions,
            stores,
            state,
            created_at,
            revoked_at,
            old_secret_until,
        } = client;
        let state = match state {
            ApiClientState::Active => ApiClientStateBody::Active,
            ApiClientState::Revoked => ApiClientStateBody::Revoked,
        };
        Self {
            id,
            name,
            permissions,
            stores: codes_of(&stores),
            state,
            created_at,
            revoked_at,
            old_secret_until,
        }
    }
}
