//! The router that the tests talk to, and how they talk.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{
    Json, Router,
    body::to_bytes,
    http::{HeaderMap, Method, Request, StatusCode},
};
use huika_core::{Actor, Clock, Id, IdKind, Refusal, Rng};
use huika_http::{
    ApiError, ApiResult, Authenticator, Body, BodyLimit, Caller, Cursor, HttpOptions, IdempotencyHeader,
    InvalidInput, MoneyBody, Page, PageQuery, Path, PathId, Problems, Query, RequestError,
    RequiredIdempotencyKey, SignedRequest, api_description, authenticated, finish,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower::ServiceExt as _;
use utoipa::{IntoParams, ToSchema, openapi::OpenApi};
use utoipa_axum::{router::OpenApiRouter, routes};

#[derive(Debug)]
enum CupKind {}
impl IdKind for CupKind {
    const PREFIX: &'static str = "cup";
}
type CupId = Id<CupKind>;

/// An order for cups.
#[derive(Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
struct OrderCups {
    #[garde(dive, length(min = 1, max = 3))]
    lines: Vec<LineBody>,
    #[garde(dive)]
    price: MoneyBody,
}

#[derive(Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
struct LineBody {
    #[garde(range(min = 1))]
    #[schema(minimum = 1)]
    quantity: i64,
    #[garde(skip)]
    kind: Kind,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Tea,
    Coffee,
}

#[derive(Serialize, ToSchema)]
struct CupBody {
    id: String,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct SaucerPath {
    #[param(value_type = String)]
    cup_id: CupId,
    number: i64,
}

/// Orders cups.
#[utoipa::path(post, path = "/api/open/v1/cups", params(IdempotencyHeader), request_body = OrderCups,
    responses((status = 201, body = CupBody), Problems))]
async fn order_cups(
    Caller(actor): Caller,
    RequiredIdempotencyKey(key): RequiredIdempotencyKey,
    Body(order): Body<OrderCups>,
) -> ApiResult<(StatusCode, Json<CupBody>)> {
    let price: huika_core::Money = order.price.try_into()?;
    let sum: i64 = order.lines.iter().map(|line| line.quantity).sum();
    let teas = order
        .lines
        .iter()
        .filter(|line| matches!(line.kind, Kind::Tea))
        .count();
    let coffees = order
        .lines
        .iter()
        .filter(|line| matches!(line.kind, Kind::Coffee))
        .count();
    let id = format!("{} {key} {sum} {teas} {coffees} {price}", actor.id());
    Ok((StatusCode::CREATED, Json(CupBody { id })))
}

/// Lists cups.
#[utoipa::path(get, path = "/api/open/v1/cups", params(PageQuery),
    responses((status = 200, body = Page<CupBody>), Problems))]
async fn list_cups(Query(page): Query<PageQuery>) -> ApiResult<Json<Page<CupBody>>> {
    let after = page.cursor.map_or(0, |cursor| cursor.0);
    let rows: Vec<i64> = (after + 1..=5).take(page.limit as usize + 1).collect();
    let page = Page::cut(rows, page.limit, |row| Cursor(*row, 0));
    Ok(Json(page.map(|row| CupBody { id: row.to_string() })))
}

/// Shows a cup.
#[utoipa::path(get, path = "/api/open/v1/cups/{cup_id}", params(("cup_id" = String, Path, description = "The cup.")),
    responses((status = 200, body = CupBody), Problems))]
async fn show_cup(PathId(cup): PathId<CupId>) -> Json<CupBody> {
    Json(CupBody { id: cup.to_string() })
}

/// Shows a saucer.
#[utoipa::path(get, path = "/api/open/v1/cups/{cup_id}/saucers/{number}", params(SaucerPath),
    responses((status = 200, body = CupBody), Problems))]
async fn show_saucer(Path(path): Path<SaucerPath>) -> Json<CupBody> {
    Json(CupBody {
        id: format!("{} {}", path.cup_id, path.number),
    })
}

/// Takes bytes.
#[utoipa::path(post, path = "/api/open/v1/cups/bulk", responses((status = 200, body = CupBody), Problems))]
async fn bulk(Caller(actor): Caller, request: axum::extract::Request) -> Json<CupBody> {
    let bytes = to_bytes(request.into_body(), usize::MAX)
        .await
        .unwrap_or_default();
    Json(CupBody {
        id: format!("{} {}", actor.id(), bytes.len()),
    })
}

async fn panics() -> StatusCode {
    panic!("a bug")
}

async fn hangs() -> StatusCode {
    std::future::pending().await
}

async fn breaks() -> ApiError {
    InvalidInput::field("cup", "is broken", "已破损").into()
}

/// Knows one word, and refuses everything that does not carry it.
struct OneWord;

#[async_trait]
impl Authenticator for OneWord {
    async fn screen(&self, head: &SignedRequest<'_>) -> Result<(), Box<dyn Refusal>> {
        if head.headers.contains_key("word") {
            Ok(())
        } else {
            Err(Box::new(RequestError::Unauthenticated))
        }
    }

    async fn authenticate(&self, request: &SignedRequest<'_>) -> Result<Actor, Box<dyn Refusal>> {
        let word = &request.headers["word"];
        let seen = format!(
            "{} {}?{} {}",
            request.method,
            request.path,
            request.query,
            request.body.len()
        );
        // The word is what the request looks like, so that a test sees what a signature would cover.
        if word.as_bytes() == seen.as_bytes() || word == "open" {
            Ok(Actor::with_all_rights("apc_1"))
        } else {
            Err(Box::new(InvalidInput::field("word", seen, "不符")))
        }
    }
}

pub(crate) const TIMEOUT: Duration = Duration::from_millis(50);

pub(crate) fn app() -> (Router, OpenApi) {
    let inside = OpenApiRouter::new().routes(routes!(order_cups));
    let bulk = OpenApiRouter::new().routes(routes!(bulk));
    let outside = OpenApiRouter::new()
        .routes(routes!(list_cups))
        .routes(routes!(show_cup))
        .routes(routes!(show_saucer))
        .route("/panics", axum::routing::get(panics))
        .route("/hangs", axum::routing::get(hangs))
        .route("/breaks", axum::routing::get(breaks))
        .route("/not-behind-the-gate", axum::routing::post(order_cups));
    let (router, api) = OpenApiRouter::with_openapi(api_description("1.2.3"))
        .merge(outside)
        .merge(authenticated(inside, Arc::new(OneWord), BodyLimit::DEFAULT))
        .merge(authenticated(bulk, Arc::new(OneWord), BodyLimit::BULK))
        .split_for_parts();
    let options = HttpOptions {
        timeout: TIMEOUT,
        ..HttpOptions::new(Clock::system(), Rng::seeded(7))
    };
    (finish(router, options), api)
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }

    /// The wrong fields as `(field, English)`.
    pub(crate) fn fields(&self) -> Vec<(&str, &str)> {
        let fields = self.body["fields"].as_array().unwrap();
        fields
            .iter()
            .map(|f| (f["field"].as_str().unwrap(), f["detail_en"].as_str().unwrap()))
            .collect()
    }
}

pub(crate) async fn send(
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<axum::body::Body>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = app().0.oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).unwrap()
    };
    let answer = Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body,
    };
    if answer.status >= 400 && answer.body != Value::Null {
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.body["status"], answer.status);
        assert_eq!(
            answer.body["type"],
            format!("urn:huika:problem:{}", answer.code())
        );
        assert_eq!(answer.body["trace_id"], answer.header("trace-id"));
    }
    answer
}

pub(crate) async fn get(path: &str) -> Answer {
    send(Method::GET, path, &[], "").await
}

/// Orders cups as somebody who is let in.
pub(crate) async fn order(body: impl Into<axum::body::Body>) -> Answer {
    let headers = [
        ("word", "open"),
        ("idempotency-key", "k1"),
        ("content-type", "application/json"),
    ];
    send(Method::POST, "/api/open/v1/cups", &headers, body).await
}
