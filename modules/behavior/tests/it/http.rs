//! The routes as a caller sees them.

use std::sync::Arc;

use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Method, Request},
};
use huika_core::{Actor, Refusal};
use huika_http::{
    Authenticator, BodyLimit, HttpOptions, RequestError, SignedRequest, api_description, authenticated,
    finish,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use utoipa_axum::router::OpenApiRouter;

use crate::shop::{Shop, migrations};

/// Takes the rights that the test asks for out of a header.
struct RightsInHeader;

#[async_trait]
impl Authenticator for RightsInHeader {
    async fn screen(&self, _: &SignedRequest<'_>) -> Result<(), Box<dyn Refusal>> {
        Ok(())
    }

    async fn authenticate(&self, request: &SignedRequest<'_>) -> Result<Actor, Box<dyn Refusal>> {
        let Some(Ok(rights)) = request.headers.get("rights").map(|value| value.to_str()) else {
            return Err(Box::new(RequestError::Unauthenticated));
        };
        let rights = rights.split(' ').map(str::to_owned);
        Ok(Actor::with_rights("cli_web", rights))
    }
}

fn app(shop: &Shop) -> Router {
    let gate = Arc::new(RightsInHeader);
    let (usual, bulk) = (
        huika_behavior::http::router(shop.behavior.clone()),
        huika_behavior::http::bulk_router(shop.behavior.clone()),
    );
    let (router, _) = OpenApiRouter::with_openapi(api_description("test"))
        .merge(authenticated(usual, gate.clone(), BodyLimit::DEFAULT))
        .merge(authenticated(bulk, gate, BodyLimit::BULK))
        .split_for_parts();
    let options = HttpOptions::new(shop.cx.clock.clone(), shop.cx.rng.clone());
    finish(router, options)
}

async fn send(app: &Router, method: Method, path: &str, rights: &str, body: &Value) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("rights", rights)
        .header("accept-language", "en")
        .header("content-type", "application/json");
    let body = if body.is_null() {
        Body::empty()
    } else {
        Body::from(body.to_string())
    };
    let response = app.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

const EVENTS: &str = "/api/open/v1/events";
const SETTINGS: &str = "/api/admin/v1/behavior/settings";

fn view(id: &str) -> Value {
    json!({"event_id": id, "name": "page_view", "visitor_id": "device-1", "occurred_at": "2026-11-21T09:59:00+08:00",
        "page": "/menu?phone=13800138000", "properties": {"sku": "LATTE-L", "position": 2}})
}

fn with(mut event: Value, field: &str, value: Value) -> Value {
    event[field] = value;
    event
}

huika_testing::db_test! { migrations = migrations,
    async fn events_come_in_and_are_seen_again(cx) {
        let shop = Shop::open(cx);
        let app = app(&shop);
        let member_id = shop.member(1, true).await.to_string();
        let mut by_member = with(view("e-4"), "member", json!({"member_id": member_id}));
        by_member.as_object_mut().unwrap().remove("visitor_id");
        let body = json!({"events": [
            view("e-1"),
            with(view("e-2"), "properties", json!({"email": "x"})),
            with(view("e-3"), "member", json!({"phone": "13900000001"})),
            by_member,
            with(view("e-5"), "occurred_at", json!("2026-12-21T09:59:00+08:00")),
            view("e-1"),
        ]});
        let (status, answer) = send(&app, Method::POST, EVENTS, "behavior.record", &body).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!((&answer["accepted"], &answer["known"]), (&json!(3), &json!(1)));
        let refused: Vec<(u64, &str)> = answer["refused"].as_array().unwrap().iter()
            .map(|one| (one["index"].as_u64().unwrap(), one["problem"]["code"].as_str().unwrap()))
            .collect();
        assert_eq!(refused, [
            (1, "behavior.personal_data"), (2, "behavior.subject_invalid"), (4, "behavior.time_in_future"),
        ]);

        let path = format!("/api/admin/v1/members/{member_id}/events");
        let (status, page) = send(&app, Method::GET, &path, "behavior.read", &Value::Null).await;
        assert_eq!(status, 200, "{page}");
        let event = &page["items"][0];
        assert_eq!((&event["page"], &event["properties"]["position"]), (&json!("/menu"), &json!(2)));
        let counts = "/api/admin/v1/behavior/counts?from=2026-11-21&until=2026-11-21&name=page_view";
        let (status, counts) = send(&app, Method::GET, counts, "behavior.read", &Value::Null).await;
        assert_eq!((status, &counts["items"][0]["stored"]), (200, &json!(2)), "{counts}");
    }

    async fn bad_requests_say_what_is_wrong(cx) {
        let shop = Shop::open(cx);
        let app = app(&shop);
        let one = |event: Value| json!({ "events": [event] });
        for (body, field) in [
            (json!({"events": []}), "events"),
            (one(with(view("e"), "name", json!("Page View"))), "events[0].name"),
            (one(with(view("a b"), "name", json!("click"))), "events[0].event_id"),
            (one(with(view("e"), "duration_ms", json!(-1))), "events[0].duration_ms"),
            (one(with(view("e"), "nothing", json!(1))), "events[0].nothing"),
        ] {
            let (status, problem) = send(&app, Method::POST, EVENTS, "behavior.record", &body).await;
            assert_eq!((status, &problem["fields"][0]["field"]), (422, &json!(field)), "{problem}");
        }
        let many = json!({"events": (0..501).map(|n| view(&format!("e{n}"))).collect::<Vec<_>>()});
        assert_eq!(send(&app, Method::POST, EVENTS, "behavior.record", &many).await.0, 422);
        for range in ["from=2026-11-21&until=2026-11-20", "from=2026-01-01&until=2026-12-31"] {
            let path = format!("/api/admin/v1/behavior/counts?{range}");
            let (status, problem) = send(&app, Method::GET, &path, "behavior.read", &Value::Null).await;
            assert_eq!((status, &problem["code"]), (422, &json!("behavior.range_invalid")));
        }
        let settings = json!({"retention_days": 30, "without_consent": "drop", "sampling": {"click": 0}});
        let (status, problem) = send(&app, Method::PUT, SETTINGS, "behavior.configure", &settings).await;
        assert_eq!((status, &problem["code"]), (422, &json!("behavior.settings_invalid")));
    }

    async fn each_route_asks_for_its_right(cx) {
        let shop = Shop::open(cx);
        let app = app(&shop);
        let member_id = shop.member(1, true).await;
        let settings = json!({"retention_days": 30, "without_consent": "drop", "sampling": {"click": 100}});
        for (method, path, right, body) in [
            (Method::POST, EVENTS.to_owned(), "behavior.record", json!({"events": [view("e")]})),
            (Method::GET, format!("/api/admin/v1/members/{member_id}/events"), "behavior.read", Value::Null),
            (Method::GET, "/api/admin/v1/behavior/counts?from=2026-11-21&until=2026-11-21".to_owned(),
                "behavior.read", Value::Null),
            (Method::GET, SETTINGS.to_owned(), "behavior.configure", Value::Null),
            (Method::PUT, SETTINGS.to_owned(), "behavior.configure", settings),
        ] {
            let (status, problem) = send(&app, method.clone(), &path, "members.read", &body).await;
            assert_eq!((status, &problem["code"]), (403, &json!("access.denied")), "{path}");
            let (status, answer) = send(&app, method, &path, right, &body).await;
            assert_eq!(status, 200, "{path}: {answer}");
        }
    }
}
