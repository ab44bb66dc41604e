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
use huika_testing::TestDb;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use utoipa_axum::router::OpenApiRouter;

use crate::shop::{PHONE, Shop};

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
        Ok(Actor::with_rights(
            "opr_test",
            rights.split(' ').map(str::to_owned),
        ))
    }
}

fn app(cx: &TestDb) -> Router {
    let routes = huika_members::http::router(Shop::open(cx).members);
    let (router, _) = OpenApiRouter::with_openapi(api_description("test"))
        .merge(authenticated(
            routes,
            Arc::new(RightsInHeader),
            BodyLimit::DEFAULT,
        ))
        .split_for_parts();
    finish(router, HttpOptions::new(cx.clock.clone(), cx.rng.clone()))
}

const ALL: &str = "members.read members.register members.reveal members.set_state";

async fn send(app: &Router, method: Method, path: &str, rights: &str, body: Value) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("rights", rights)
        .header("content-type", "application/json")
        .body(if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        });
    let response = app.clone().oneshot(request.unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn post(app: &Router, path: &str, body: Value) -> (u16, Value) {
    send(app, Method::POST, path, ALL, body).await
}

huika_testing::db_test! { migrations = huika_members::migrations,
    async fn a_member_is_registered_found_revealed_and_frozen(cx) {
        let app = app(&cx);
        let body = json!({
            "phone": "138 0013 8000", "external": {"issuer": "online-retail", "subject": "17850"},
            "nickname": "小明", "channel": "pos", "store_code": "SH-001",
        });
        let (status, registered) = post(&app, "/api/open/v1/members", body.clone()).await;
        let member = &registered["member"];
        let (id, card) = (member["id"].as_str().unwrap(), member["card_number"].as_str().unwrap());
        let mut expected = json!({
            "id": id, "card_number": card, "state": "normal", "phone_masked": "138****8000", "nickname": "小明",
            "channel": "pos", "store_code": "SH-001", "registered_at": "2026-11-21T02:00:00.000Z",
        });
        let answer = |created| json!({"id": id, "created": created, "member": expected});
        assert_eq!((status, &registered), (201, &answer(true)));
        let again = post(&app, "/api/open/v1/members", body.clone()).await;
        assert_eq!(again, (200, answer(false)));
        let (status, known) = send(&app, Method::POST, "/api/open/v1/members", "members.register", body).await;
        assert_eq!((status, known), (200, json!({"id": id, "created": false, "member": null})));

        let path = format!("/api/open/v1/members/{id}");
        assert_eq!(send(&app, Method::GET, &path, ALL, Value::Null).await, (200, expected.clone()));
        for key in [
            json!({"phone": "+8613800138000"}),
            json!({"card_number": card}),
            json!({"external": {"issuer": "online-retail", "subject": "17850"}}),
        ] {
            let found = post(&app, "/api/open/v1/members/lookup", key.clone()).await;
            assert_eq!(found, (200, expected.clone()), "{key}");
        }
        let revealed = send(&app, Method::GET, &format!("{path}/phone"), ALL, Value::Null).await;
        assert_eq!(revealed, (200, json!({"phone": "+8613800138000"})));

        expected["state"] = json!("frozen");
        let body = json!({"state": "frozen", "reason": "chargeback"});
        assert_eq!(send(&app, Method::PUT, &format!("{path}/state"), ALL, body).await, (200, expected));
    }

    async fn bad_input_is_refused_with_its_code_and_never_repeated_in_an_answer(cx) {
        let app = app(&cx);
        let register = "/api/open/v1/members";
        let lookup = "/api/open/v1/members/lookup";
        let taken = json!({"phone": PHONE, "external": {"issuer": "web", "subject": "1"}, "channel": "pos"});
        assert_eq!(post(&app, register, taken).await.0, 201);
        let other = json!({"external": {"issuer": "web", "subject": "2"}, "channel": "pos"});
        assert_eq!(post(&app, register, other).await.0, 201);
        let web = |subject: &str| json!({"issuer": "web", "subject": subject});
        let long = "9".repeat(65);
        for (path, body, status, code) in [
            (register, json!({"channel": "pos"}), 422, "members.identity_required"),
            (register, json!({"phone": PHONE}), 422, "request.invalid"),
            (register, json!({"phone": PHONE, "channel": "门店"}), 422, "request.invalid"),
            (register, json!({"phone": PHONE, "channel": "pos", "store_code": ""}), 422, "request.invalid"),
            (register, json!({"phone": PHONE, "channel": "pos", "age": 7}), 422, "request.invalid"),
            (register, json!({"phone": "138001380001", "channel": "pos"}), 422, "members.phone_invalid"),
            (register, json!({"phone": PHONE, "channel": "pos", "nickname": " "}), 422, "members.nickname_invalid"),
            (register, json!({"external": web(&long), "channel": "pos"}), 422, "request.invalid"),
            (register, json!({"external": web("a b"), "channel": "pos"}), 422, "members.external_invalid"),
            (register, json!({"phone": PHONE, "external": web("2"), "channel": "pos"}), 409, "members.identity_conflict"),
            (register, json!({"phone": "13800138001", "external": web("1"), "channel": "pos"}), 409, "members.phone_differs"),
            (lookup, json!({"phone": "13800138001"}), 404, "members.not_found"),
            (lookup, json!({"card_number": "8800000000000014"}), 422, "members.card_number_invalid"),
            (lookup, json!({"phone": PHONE, "card_number": "8800000000000013"}), 422, "request.invalid"),
            (lookup, json!({"openid": "o1"}), 422, "request.invalid"),
            (lookup, json!({}), 422, "request.invalid"),
        ] {
            let (answered, problem) = post(&app, path, body.clone()).await;
            assert_eq!((answered, problem["code"].as_str()), (status, Some(code)), "{body}");
            assert!(!problem.to_string().contains("1380013800"), "{problem}");
        }
        let set = |state: &str, reason: &str| json!({"state": state, "reason": reason});
        for (path, body, status, code) in [
            ("mbr_0000000000042/state", set("closed", "left"), 404, "members.not_found"),
            ("mbr_0000000000042/state", set("asleep", "left"), 422, "request.invalid"),
            ("mbr_0000000000042/state", set("closed", ""), 422, "request.invalid"),
            ("mbr_0000000000042/state", set("closed", "  "), 422, "members.reason_invalid"),
            ("42/state", set("closed", "left"), 400, "request.path_invalid"),
        ] {
            let path = format!("/api/open/v1/members/{path}");
            let (answered, problem) = send(&app, Method::PUT, &path, ALL, body).await;
            assert_eq!((answered, problem["code"].as_str()), (status, Some(code)), "{path}");
        }
    }

    async fn each_route_needs_its_permission(cx) {
        let app = app(&cx);
        let body = json!({"phone": PHONE, "channel": "pos"});
        let (_, member) = post(&app, "/api/open/v1/members", body.clone()).await;
        let path = format!("/api/open/v1/members/{}", member["id"].as_str().unwrap());
        for (method, path, body, needed) in [
            (Method::POST, "/api/open/v1/members".to_owned(), body, "members.register"),
            (Method::POST, "/api/open/v1/members/lookup".to_owned(), json!({"phone": PHONE}), "members.read"),
            (Method::GET, path.clone(), Value::Null, "members.read"),
            (Method::GET, format!("{path}/phone"), Value::Null, "members.reveal"),
            (Method::PUT, format!("{path}/state"), json!({"state": "frozen", "reason": "test"}), "members.set_state"),
        ] {
            let others: Vec<&str> = ALL.split(' ').filter(|right| *right != needed).collect();
            let (status, problem) = send(&app, method.clone(), &path, &others.join(" "), body.clone()).await;
            assert_eq!((status, problem["params"]["permission"].as_str()), (403, Some(needed)), "{method} {path}");
            let (status, _) = send(&app, method.clone(), &path, needed, body).await;
            assert_eq!(status, 200, "{method} {path}");
        }
    }
}
