//! The routes as a caller sees them.

use std::{sync::Arc, time::Duration};

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
        Ok(Actor::with_rights(
            "opr_test",
            rights.split(' ').map(str::to_owned),
        ))
    }
}

fn app(shop: &Shop) -> Router {
    let gate = Arc::new(RightsInHeader);
    let (router, _) = OpenApiRouter::with_openapi(api_description("test"))
        .merge(authenticated(
            huika_loyalty::http::router(shop.loyalty.clone()),
            gate.clone(),
            BodyLimit::DEFAULT,
        ))
        .merge(authenticated(
            huika_loyalty::http::bulk_router(shop.loyalty.clone()),
            gate,
            BodyLimit::BULK,
        ))
        .split_for_parts();
    finish(
        router,
        HttpOptions::new(shop.cx.clock.clone(), shop.cx.rng.clone()),
    )
}

const ALL: &str = "loyalty.read loyalty.earn loyalty.redeem loyalty.publish";

async fn send(
    app: &Router,
    method: Method,
    path: &str,
    rights: &str,
    key: &str,
    body: Value,
) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("rights", rights)
        .header("accept-language", "en")
        .header("content-type", "application/json");
    let request = if key.is_empty() {
        request
    } else {
        request.header("idempotency-key", key)
    };
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

async fn get(app: &Router, path: &str) -> (u16, Value) {
    send(app, Method::GET, path, ALL, "", Value::Null).await
}

async fn post(app: &Router, path: &str, key: &str, body: Value) -> (u16, Value) {
    send(app, Method::POST, path, ALL, key, body).await
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

/// The rules that every shop starts with, as they are sent, with seven pending days.
fn rules() -> Value {
    let mut rules = huika_loyalty::default_rules();
    rules.pending_days = 7;
    serde_json::to_value(rules).unwrap()
}

const VERSIONS: &str = "/api/admin/v1/program-versions";

huika_testing::db_test! { migrations = migrations,
    async fn a_published_version_comes_back_as_it_was_sent(cx) {
        let shop = Shop::without_program(cx);
        let app = app(&shop);
        let (status, version) = post(&app, VERSIONS, "", json!({"rules": rules()})).await;
        let now = "2026-11-21T02:00:00.000Z";
        let expected = json!({
            "version": 1, "rules": rules(), "effective_from": now, "published_at": now, "published_by": "opr_test",
            "withdrawn": false,
        });
        assert_eq!((status, &version), (201, &expected));
        let later = json!({"rules": rules(), "effective_from": "2027-01-01T00:00:00+08:00"});
        let (_, second) = post(&app, VERSIONS, "", later).await;
        assert_eq!(second["effective_from"], "2026-12-31T16:00:00.000Z");
        assert_eq!(get(&app, VERSIONS).await, (200, json!({"items": [expected, second], "next_cursor": null})));
    }

    async fn a_standing_reads_as_documented(cx) {
        let shop = Shop::open(cx).await;
        let app = app(&shop);
        let member = shop.member(1).await;
        shop.buy(member, "1", 126_800).await;
        let (status, standing) = get(&app, &format!("/api/open/v1/members/{member}/standing")).await;
        assert_eq!(status, 200);
        insta::assert_snapshot!(pretty(&standing), @r##"
        {
          "expiring_next": {
            "expires_at": "2027-12-31T16:00:00.000Z",
            "points": 1268
          },
          "points": {
            "available": 1268,
            "held": 0,
            "lifetime_earned": 1268,
            "lifetime_redeemed": 0,
            "pending": 0
          },
          "tier": {
            "benefits": {
              "birthday": {
                "points": 100
              },
              "card_colour": "#c9ccd1",
              "early_access_hours": 0,
              "invitations": false,
              "price_bp": 9500,
              "service": "priority"
            },
            "growth": 126800,
            "keep": null,
            "name": {
              "en": "Silver",
              "zh": "白银会员"
            },
            "next": {
              "all": true,
              "name": {
                "en": "Gold",
                "zh": "黄金会员"
              },
              "requirements": [
                {
                  "metric": "spend",
                  "missing": 373200,
                  "present": 126800,
                  "threshold": 500000
                }
              ],
              "tier": "gold"
            },
            "reason": "reached",
            "since": "2026-11-21T02:00:00.000Z",
            "tier": "silver"
          }
        }
        "##);
    }

    async fn points_move_over_http(cx) {
        let shop = Shop::open(cx).await;
        let app = app(&shop);
        let member = shop.member(1).await;
        let path = |rest: &str| format!("/api/open/v1/members/{member}/points{rest}");
        let gift = json!({"points": 100, "reason": "Birthday gift"});
        let (status, granted) = post(&app, &path("/earnings"), "gift", gift.clone()).await;
        let posting_id = granted["posting_id"].as_str().unwrap().to_owned();
        let expected = json!({
            "posting_id": posting_id, "replayed": false, "hold_id": null, "available": 100, "pending": 0, "held": 0,
        });
        assert_eq!((status, &granted), (201, &expected));
        let (_, again) = post(&app, &path("/earnings"), "gift", gift).await;
        assert_eq!((&again["replayed"], &again["posting_id"]), (&json!(true), &json!(posting_id)));

        let (_, held) = post(&app, &path("/holds"), "order", json!({"points": 40, "ttl_seconds": 900})).await;
        let hold = held["hold_id"].as_str().unwrap();
        assert_eq!((&held["available"], &held["held"]), (&json!(60), &json!(40)));
        let paid = json!({"points": 30, "reason": "Order 1001"});
        let (status, posted) = post(&app, &path(&format!("/holds/{hold}/post")), "paid", paid).await;
        assert_eq!((status, &posted["available"], &posted["held"]), (201, &json!(70), &json!(0)));
        assert_eq!(posted["hold_id"], Value::Null, "no hold was made");
        let (_, held) = post(&app, &path("/holds"), "order-2", json!({"points": 40, "ttl_seconds": 900})).await;
        let hold = held["hold_id"].as_str().unwrap();
        let (status, free) = post(&app, &path(&format!("/holds/{hold}/void")), "off", Value::Null).await;
        assert_eq!((status, &free["available"], &free["hold_id"]), (201, &json!(70), &Value::Null));

        let (_, mug) = post(&app, &path("/redemptions"), "mug", json!({"points": 70, "reason": "Mug"})).await;
        let back = json!({"posting_id": mug["posting_id"], "points": 20, "reason": "Chipped"});
        assert_eq!(post(&app, &path("/returns"), "mug-back", back).await.1["available"], 20);
        let balance = json!({
            "available": 20, "pending": 0, "held": 0, "lifetime_earned": 100, "lifetime_redeemed": 80,
        });
        assert_eq!(get(&app, &path("")).await, (200, balance));
        let (_, lots) = get(&app, &path("/lots")).await;
        assert_eq!((&lots["items"][0]["remaining"], &lots["items"][0]["amount"]), (&json!(20), &json!(100)));
        assert_eq!(lots["next_cursor"], Value::Null);

        let (_, page) = get(&app, &path("/entries?limit=2")).await;
        assert_eq!(page["items"][0]["why"]["en"], "20 points returned: Chipped");
        let seen = page["items"][1]["sequence"].as_i64().unwrap();
        let cursor = page["next_cursor"].as_str().unwrap();
        let (_, rest) = get(&app, &path(&format!("/entries?limit=200&cursor={cursor}"))).await;
        assert_eq!(rest["next_cursor"], Value::Null);
        assert_eq!(rest["items"].as_array().unwrap().len() as i64, seen - 1);

        post(&app, &path("/earnings"), "more", json!({"points": 1, "reason": "Gift"})).await;
        let (_, first) = get(&app, &path("/lots?limit=1")).await;
        let cursor = first["next_cursor"].as_str().unwrap();
        let (_, second) = get(&app, &path(&format!("/lots?limit=1&cursor={cursor}"))).await;
        assert_eq!((&second["items"][0]["remaining"], &second["next_cursor"]), (&json!(1), &Value::Null));
    }

    async fn bad_input_is_a_problem_and_changes_nothing(cx) {
        let shop = Shop::open(cx).await;
        let app = app(&shop);
        let member = shop.member(1).await;
        let earnings = format!("/api/open/v1/members/{member}/points/earnings");
        let gift = json!({"points": 100, "reason": "Gift"});
        let nobody = "/api/open/v1/members/mbr_0000000000042/points/earnings";
        let long_reason = "长".repeat(201);
        for (path, key, body, status, code) in [
            (earnings.as_str(), "", gift.clone(), 400, "request.idempotency_key_missing"),
            (&earnings, "two words", gift.clone(), 400, "request.idempotency_key_invalid"),
            (&earnings, "a", json!({"points": 0, "reason": "Gift"}), 422, "request.invalid"),
            (&earnings, "a", json!({"points": -5, "reason": "Gift"}), 422, "request.invalid"),
            (&earnings, "a", json!({"points": 1.5, "reason": "Gift"}), 422, "request.invalid"),
            (&earnings, "a", json!({"points": "100", "reason": "Gift"}), 422, "request.invalid"),
            (&earnings, "a", json!({"points": 100}), 422, "request.invalid"),
            (&earnings, "a", json!({"points": 100, "reason": ""}), 422, "request.invalid"),
            (&earnings, "a", json!({"points": 100, "reason": long_reason}), 422, "request.invalid"),
            (&earnings, "a", json!({"points": 100, "reason": "Gift", "bonus": 5}), 422, "request.invalid"),
            (&earnings, "a", json!({"points": 99_999_999_999_999_999_i64, "reason": "Gift"}), 422, "request.invalid"),
            (nobody, "a", gift.clone(), 404, "members.not_found"),
            ("/api/open/v1/members/42/points/earnings", "a", gift.clone(), 400, "request.path_invalid"),
            ("/api/open/v1/points/bulk", "", json!({"commands": []}), 422, "request.invalid"),
        ] {
            let (answered, problem) = post(&app, path, key, body.clone()).await;
            assert_eq!((answered, problem["code"].as_str()), (status, Some(code)), "{path} {body} {problem}");
        }
        let balance = get(&app, &format!("/api/open/v1/members/{member}/points")).await;
        assert_eq!(balance.1["lifetime_earned"], 0);
        assert_eq!(get(&app, "/api/open/v1/members/mbr_0000000000042/points").await.0, 404);
    }

    async fn rules_that_mean_nothing_are_refused(cx) {
        let shop = Shop::without_program(cx);
        let app = app(&shop);
        for (pointer, value, status, code) in [
            ("/currency", json!("JPY"), 422, "request.invalid"),
            ("/time_zone", json!("Mars/Olympus"), 422, "loyalty.rules_invalid"),
            ("/points_rate/denominator", json!(0), 422, "request.invalid"),
            ("/tiers", json!([]), 422, "loyalty.rules_invalid"),
            ("/tiers/1/thresholds", json!({"spend_minor": 0}), 422, "loyalty.rules_invalid"),
            ("/tiers/1/thresholds", json!({"visits": 3}), 422, "request.invalid"),
            ("/tiers/1/code", json!("Gold Member"), 422, "loyalty.rules_invalid"),
            ("/tiers/0/multiplier", json!({"numerator": 1, "denominator": 2}), 422, "loyalty.rules_invalid"),
            ("/expiry", json!("sometimes"), 422, "request.invalid"),
            ("/expiry", json!({"end_of_month_after": {"months": 300}}), 422, "loyalty.rules_invalid"),
            ("/claw_back", json!({"go_negative": {"limit": -1}}), 422, "loyalty.rules_invalid"),
            ("/pending_days", json!(9_999), 422, "loyalty.rules_invalid"),
        ] {
            let mut changed = rules();
            *changed.pointer_mut(pointer).unwrap() = value;
            let (answered, problem) = post(&app, VERSIONS, "", json!({"rules": changed})).await;
            assert_eq!((answered, problem["code"].as_str()), (status, Some(code)), "{pointer} {problem}");
        }
        assert_eq!(get(&app, VERSIONS).await.1["items"], json!([]));
    }

    async fn bulk_answers_each_command(cx) {
        let shop = Shop::open(cx).await;
        let app = app(&shop);
        let member = shop.member(1).await;
        let one = |key: &str, action: &str, points: i64| {
            json!({"member_id": member, "idempotency_key": key, "action": action, "points": points, "reason": "Opening"})
        };
        let commands = json!({"commands": [one("a", "earn", 100), one("b", "redeem", 101), one("c", "redeem", 100)]});
        let (status, answers) = post(&app, "/api/open/v1/points/bulk", "", commands).await;
        assert_eq!(status, 200);
        let items = answers["items"].as_array().unwrap();
        assert_eq!((&items[0]["outcome"]["available"], &items[0]["problem"]), (&json!(100), &Value::Null));
        assert_eq!((&items[1]["problem"]["code"], &items[1]["outcome"]), (&json!("ledger.insufficient"), &Value::Null));
        assert_eq!(items[2]["outcome"]["available"], 0);
    }

    async fn each_route_needs_its_permission(cx) {
        let shop = Shop::open(cx).await;
        let app = app(&shop);
        let member = shop.member(1).await;
        let base = format!("/api/open/v1/members/{member}");
        let gift = json!({"points": 10, "reason": "Gift"});
        let grant = format!("{base}/points/earnings");
        post(&app, &grant, "seed", json!({"points": 1_000, "reason": "Gift"})).await;
        let spend = format!("{base}/points/redemptions");
        let (_, mug) = post(&app, &spend, "mug", gift.clone()).await;
        let hold = async |key: &str| {
            let (_, held) =
                post(&app, &format!("{base}/points/holds"), key, json!({"points": 10, "ttl_seconds": 900})).await;
            held["hold_id"].as_str().unwrap().to_owned()
        };
        let (first, second) = (hold("h1").await, hold("h2").await);
        shop.cx.clock.advance(Duration::from_secs(1));
        let back = json!({"posting_id": mug["posting_id"], "points": 1, "reason": "Back"});
        let publish = json!({"rules": rules()});
        let held = json!({"points": 1, "ttl_seconds": 900});
        let at = |rest: &str| format!("{base}{rest}");
        for (method, path, body, needed, status) in [
            (Method::GET, at("/standing"), Value::Null, "loyalty.read", 200),
            (Method::GET, at("/tier-changes"), Value::Null, "loyalty.read", 200),
            (Method::GET, at("/points"), Value::Null, "loyalty.read", 200),
            (Method::GET, at("/points/entries"), Value::Null, "loyalty.read", 200),
            (Method::GET, at("/points/lots"), Value::Null, "loyalty.read", 200),
            (Method::POST, grant, gift.clone(), "loyalty.earn", 201),
            (Method::POST, spend, gift.clone(), "loyalty.redeem", 201),
            (Method::POST, at("/points/holds"), held, "loyalty.redeem", 201),
            (Method::POST, at(&format!("/points/holds/{first}/post")), gift, "loyalty.redeem", 201),
            (Method::POST, at(&format!("/points/holds/{second}/void")), Value::Null, "loyalty.redeem", 201),
            (Method::POST, at("/points/returns"), back, "loyalty.redeem", 201),
            (Method::GET, VERSIONS.to_owned(), Value::Null, "loyalty.read", 200),
            (Method::POST, VERSIONS.to_owned(), publish, "loyalty.publish", 201),
        ] {
            let key = path.rsplit('/').next().unwrap();
            let others: Vec<&str> = ALL.split(' ').filter(|right| *right != needed).collect();
            let (answered, problem) =
                send(&app, method.clone(), &path, &others.join(" "), key, body.clone()).await;
            assert_eq!((answered, problem["params"]["permission"].as_str()), (403, Some(needed)), "{method} {path}");
            let (answered, problem) = send(&app, method.clone(), &path, needed, key, body).await;
            assert_eq!(answered, status, "{method} {path} {problem}");
        }
    }
}
