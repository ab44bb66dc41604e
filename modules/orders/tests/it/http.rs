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

use crate::shop::{Shop, migrations, phone};

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
            "cli_till",
            rights.split(' ').map(str::to_owned),
        ))
    }
}

fn app(shop: &Shop) -> Router {
    let gate = Arc::new(RightsInHeader);
    let (router, _) = OpenApiRouter::with_openapi(api_description("test"))
        .merge(authenticated(
            huika_orders::http::router(shop.orders.clone()),
            gate.clone(),
            BodyLimit::DEFAULT,
        ))
        .merge(authenticated(
            huika_orders::http::bulk_router(shop.orders.clone()),
            gate,
            BodyLimit::BULK,
        ))
        .split_for_parts();
    finish(
        router,
        HttpOptions::new(shop.cx.clock.clone(), shop.cx.rng.clone()),
    )
}

const ALL: &str = "orders.read orders.record orders.refund";
const PURCHASES: &str = "/api/open/v1/purchases";
const BULK: &str = "/api/open/v1/purchases/bulk";
const REFUNDS: &str = "/api/open/v1/refunds";
const CLAIMS: &str = "/api/open/v1/purchases/claims";
const UNLINKED: &str = "/api/open/v1/refunds/unlinked";
const LOOKUP: &str = "/api/open/v1/purchases/lookup?source=pos&external_order_no=A-1001";

async fn send(app: &Router, method: Method, path: &str, rights: &str, key: &str, body: &str) -> (u16, Value) {
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
    let response = app
        .clone()
        .oneshot(request.body(Body::from(body.to_owned())).unwrap())
        .await
        .unwrap();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn get(app: &Router, path: &str) -> (u16, Value) {
    send(app, Method::GET, path, ALL, "", "").await
}

async fn post(app: &Router, path: &str, key: &str, body: &Value) -> (u16, Value) {
    send(app, Method::POST, path, ALL, key, &body.to_string()).await
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

/// The purchase of the README, by a member's phone.
fn purchase() -> Value {
    json!({
        "source": "pos", "external_order_no": "A-1001", "member": {"phone": phone(1)},
        "store_code": "SH-001", "payment_method": "wechat_pay",
        "placed_at": "2026-11-21T09:58:00+08:00",
        "paid": {"minor": 26_800, "currency": "CNY"},
        "lines": [
            {"sku": "LATTE-L", "name": "大杯拿铁", "category": "coffee", "quantity": 2, "paid_minor": 6_800},
            {"sku": "CAKE", "name": "歌剧院蛋糕", "quantity": 1, "paid_minor": 20_000},
        ],
    })
}

fn refund(number: &str) -> Value {
    json!({"source": "pos", "external_order_no": "A-1001", "external_refund_no": number})
}

fn changed(mut body: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
        other => other[name] = value,
    }
    body
}

huika_testing::db_test! { migrations = migrations,
    async fn a_receipt_reads_as_documented(cx) {
        let shop = Shop::open(cx).await;
        let app = app(&shop);
        shop.member(1).await;
        let (status, receipt) = post(&app, PURCHASES, "till-1/1001", &purchase()).await;
        assert_eq!(status, 201);
        insta::assert_snapshot!(pretty(&receipt), @r##"
        {
          "id": "pur_06xsavs000003",
          "member_id": "mbr_496x7x5ztafgb",
          "points": {
            "available": 268,
            "change": 268,
            "pending": 0,
            "posting_id": "pst_06xsavs000004",
            "shortfall": 0
          },
          "replayed": false,
          "tier": {
            "benefits": {
              "birthday": {
                "points": 0
              },
              "card_colour": "#8a5a3b",
              "early_access_hours": 0,
              "invitations": false,
              "price_bp": 10000,
              "service": "standard"
            },
            "growth": 26800,
            "keep": null,
            "name": {
              "en": "Bronze",
              "zh": "青铜会员"
            },
            "next": {
              "all": true,
              "name": {
                "en": "Silver",
                "zh": "白银会员"
              },
              "requirements": [
                {
                  "metric": "spend",
                  "missing": 73200,
                  "present": 26800,
                  "threshold": 100000
                }
              ],
              "tier": "silver"
            },
            "reason": null,
            "since": null,
            "tier": "bronze"
          },
          "tier_before": "bronze",
          "why": {
            "en": "Paid ¥268 → 268 points (1 point per ¥1), valid until 2027-12-31.",
            "zh": "实付 ¥268 → 268 积分（每 ¥1 得 1 积分），有效期至 2027-12-31。"
          }
        }
        "##);

        // The same again is 200 and says so; nothing else differs.
        let (status, again) = post(&app, PURCHASES, "till-1/1001", &purchase()).await;
        assert_eq!((status, &again["replayed"]), (200, &json!(true)));
        assert_eq!(changed(again, "/replayed", json!(false)), receipt);
    }

    async fn a_refund_receipt_reads_as_documented(cx) {
        let shop = Shop::open(cx).await;
        let app = app(&shop);
        shop.member(1).await;
        post(&app, PURCHASES, "till-1/1001", &purchase()).await;
        let body = changed(refund("R-1"), "/lines", json!([{"line_no": 1, "amount_minor": 3_400}]));
        let (status, receipt) = post(&app, REFUNDS, "till-1/r1", &body).await;
        assert_eq!(status, 201);
        insta::assert_snapshot!(pretty(&receipt), @r#"
        {
          "amount_minor": 3400,
          "left_minor": 23400,
          "receipt": {
            "id": "ref_06xsavs000007",
            "member_id": "mbr_496x7x5ztafgb",
            "points": {
              "available": 234,
              "change": -34,
              "pending": 0,
              "posting_id": "pst_06xsavs000008",
              "shortfall": 0
            },
            "replayed": false,
            "tier": null,
            "tier_before": null,
            "why": {
              "en": "Refunded ¥34 of ¥268, which had earned 268 points → 34 points taken back.",
              "zh": "退款 ¥34（原实付 ¥268，原得 268 积分）→ 收回 34 积分。"
            }
          }
        }
        "#);
        let (status, again) = post(&app, REFUNDS, "till-1/r1", &body).await;
        assert_eq!((status, &again["receipt"]["replayed"]), (200, &json!(true)));
        assert_eq!(changed(again, "/receipt/replayed", json!(false)), receipt);
        let rest = post(&app, REFUNDS, "till-1/r2", &refund("R-2")).await;
        assert_eq!((rest.0, &rest.1["amount_minor"], &rest.1["left_minor"]), (201, &json!(23_400), &json!(0)));
    }

    async fn a_purchase_is_looked_up_with_lines_and_why(cx) {
        let shop = Shop::open(cx).await;
        let app = app(&shop);
        let member = shop.member(1).await;
        post(&app, PURCHASES, "till-1/1001", &purchase()).await;
        post(&app, REFUNDS, "till-1/r1", &changed(refund("R-1"), "/amount", json!({"minor": 800, "currency": "CNY"}))).await;
        let (status, view) = get(&app, LOOKUP).await;
        assert_eq!(status, 200);
        insta::assert_snapshot!(pretty(&view), @r#"
        {
          "channel": "pos",
          "external_order_no": "A-1001",
          "id": "pur_06xsavs000003",
          "lines": [
            {
              "category": "coffee",
              "line_no": 1,
              "name": "大杯拿铁",
              "paid_minor": 6800,
              "points": 68,
              "quantity": 2,
              "refunded_minor": 203,
              "sku": "LATTE-L"
            },
            {
              "category": null,
              "line_no": 2,
              "name": "歌剧院蛋糕",
              "paid_minor": 20000,
              "points": 200,
              "quantity": 1,
              "refunded_minor": 597,
              "sku": "CAKE"
            }
          ],
          "member_id": "mbr_496x7x5ztafgb",
          "paid": {
            "currency": "CNY",
            "minor": 26800
          },
          "placed_at": "2026-11-21T01:58:00.000Z",
          "points": 268,
          "refunded": {
            "currency": "CNY",
            "minor": 800
          },
          "source": "pos",
          "store_code": "SH-001",
          "tier": "bronze",
          "why": {
            "en": "Paid ¥268 → 268 points (1 point per ¥1), valid until 2027-12-31.",
            "zh": "实付 ¥268 → 268 积分（每 ¥1 得 1 积分），有效期至 2027-12-31。"
          }
        }
        "#);

        let (_, page) = get(&app, &format!("/api/open/v1/members/{member}/purchases?limit=1")).await;
        let mut listed = view;
        listed["lines"] = json!([]);
        listed["why"] = Value::Null;
        assert_eq!(page, json!({"items": [listed], "next_cursor": null}));
        let (_, refunds) = get(&app, &format!("/api/open/v1/members/{member}/refunds")).await;
        let first = &refunds["items"][0];
        assert_eq!((&first["amount"]["minor"], &first["external_refund_no"]), (&json!(800), &json!("R-1")));
    }

    /// Balances and the tier are told as they are, also where the purchase itself changed nothing of them.
    async fn a_receipt_tells_the_whole_account(cx) {
        let shop = Shop::open(cx).await;
        let app = app(&shop);
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[126_800]).await;
        let small = |number: &str, minor: i64| {
            json!({"source": "pos", "external_order_no": number, "member": {"member_id": member},
                "paid": {"minor": minor, "currency": "CNY"}})
        };
        for (number, minor, growth) in [("A-2", 99, 126_899), ("A-3", 0, 126_899)] {
            for _ in 0..2 {
                let (_, receipt) = post(&app, PURCHASES, number, &small(number, minor)).await;
                assert_eq!((&receipt["points"]["change"], &receipt["points"]["available"]), (&json!(0), &json!(1_268)));
                assert_eq!(receipt["tier"]["growth"], growth, "{number}");
                assert_eq!(receipt["tier"]["tier"], "silver");
            }
        }
        let body = json!({"source": "pos", "external_order_no": "A-2", "external_refund_no": "R-2"});
        let (_, refund) = post(&app, REFUNDS, "r2", &body).await;
        let points = &refund["receipt"]["points"];
        assert_eq!((&points["change"], &points["available"]), (&json!(0), &json!(1_268)));
    }

    async fn an_anonymous_sale_and_an_unlinked_refund(cx) {
        let shop = Shop::open(cx).await;
        let app = app(&shop);
        let anonymous = json!({"source": "pos", "external_order_no": "A-1", "paid": {"minor": 500, "currency": "CNY"}});
        let (status, receipt) = post(&app, PURCHASES, "k-1", &anonymous).await;
        let (id, printed) = (receipt["id"].clone(), receipt["claim_code"].clone());
        let expected = json!({
            "id": id, "claim_code": printed, "member_id": null, "replayed": false, "points": null, "tier": null, "tier_before": null, "why": null,
        });
        assert_eq!((status, receipt), (201, expected));
        let member = shop.member(1).await;
        let body = json!({
            "source": "pos", "external_refund_no": "R-1", "member": {"customer_no": "customer-1"},
            "amount": {"minor": 26_800, "currency": "CNY"},
        });
        let (status, receipt) = post(&app, UNLINKED, "k-2", &body).await;
        assert_eq!((status, &receipt["member_id"]), (201, &json!(member)));
        assert_eq!((&receipt["points"]["change"], &receipt["points"]["available"]), (&json!(-268), &json!(-268)));
        assert_eq!((&receipt["tier"], &receipt["tier_before"]), (&Value::Null, &Value::Null));
        let (status, again) = post(&app, UNLINKED, "k-2", &body).await;
        assert_eq!((status, &again["id"]), (200, &receipt["id"]));
    }

    async fn an_anonymous_sale_is_claimed_by_its_receipt(cx) {
        let shop = Shop::open(cx).await;
        let app = app(&shop);
        let (member, other) = (shop.member(1).await, shop.member(2).await);
        let anonymous = json!({"source": "pos", "external_order_no": "A-1", "paid": {"minor": 26_800, "currency": "CNY"}});
        let (_, receipt) = post(&app, PURCHASES, "k-1", &anonymous).await;
        let by_code = json!({"member": {"member_id": member}, "claim_code": receipt["claim_code"]});
        let by_receipt = |paid: i64| json!({
            "member": {"customer_no": "customer-1"}, "source": "pos", "external_order_no": "A-1",
            "paid": {"minor": paid, "currency": "CNY"}, "date": "2026-11-21",
        });
        let right = "orders.claim";
        let send = async |body: &Value, rights: &str| {
            let (status, answer) = send(&app, Method::POST, CLAIMS, rights, "", &body.to_string()).await;
            (status, answer["code"].as_str().unwrap_or_default().to_owned(), answer)
        };
        assert_eq!(send(&by_code, "orders.record").await.0, 403);
        assert_eq!(send(&by_receipt(1), right).await.1, "orders.claim_not_found");
        let both = changed(by_receipt(26_800), "/claim_code", receipt["claim_code"].clone());
        assert_eq!(send(&both, right).await.0, 422);
        let (status, _, claimed) = send(&by_receipt(26_800), right).await;
        assert_eq!((status, &claimed["points"]["change"]), (201, &json!(268)));
        let (status, _, again) = send(&by_code, right).await;
        assert_eq!((status, &again["id"], &again["replayed"]), (200, &claimed["id"], &json!(true)));
        let elsewhere = changed(by_code, "/member/member_id", json!(other));
        assert_eq!(send(&elsewhere, right).await.1, "orders.already_claimed");
    }

    async fn bad_input_is_a_problem_and_changes_nothing(cx) {
        let shop = Shop::open(cx).await;
        let app = app(&shop);
        shop.member(1).await;
        let bad = "request.invalid";
        let good_line = json!({"quantity": 1, "paid_minor": 26_800});
        for (pointer, value, status, code) in [
            ("/source", json!(""), 422, bad),
            ("/source", json!("my till"), 422, bad),
            ("/external_order_no", json!("A 1"), 422, bad),
            ("/external_order_no", json!("9".repeat(65)), 422, bad),
            ("/external_order_no", json!(1001), 422, bad),
            ("/paid/minor", json!(-1), 422, "orders.amount_invalid"),
            ("/paid/minor", json!(268.5), 422, bad),
            ("/paid/minor", json!("26800"), 422, bad),
            ("/paid/minor", json!(9_223_372_036_854_775_807_i64), 422, "orders.amount_invalid"),
            ("/paid/minor", json!(26_801), 422, "orders.lines_do_not_add_up"),
            ("/paid/currency", json!("JPY"), 422, bad),
            ("/paid/currency", json!("GBP"), 422, "orders.currency_mismatch"),
            ("/placed_at", json!("2026-02-30T10:00:00Z"), 422, bad),
            ("/placed_at", json!("2026-11-21 10:00:00"), 422, bad),
            ("/placed_at", json!("2036-11-21T10:00:00Z"), 422, "orders.time_in_future"),
            ("/member", json!({}), 422, bad),
            ("/member", json!({"phone": phone(1), "customer_no": "customer-1"}), 422, bad),
            ("/member", json!({"phone": "12345"}), 422, "members.phone_invalid"),
            ("/member", json!({"phone": phone(9)}), 404, "members.not_found"),
            ("/member", json!({"member_id": "mbr_0000000000042"}), 404, "members.not_found"),
            ("/member", json!({"member_id": "A-1"}), 422, bad),
            ("/member", json!({"card_number": "1"}), 422, "members.card_number_invalid"),
            ("/member", json!({"customer_no": "no body"}), 422, "members.external_invalid"),
            ("/lines", json!([]), 422, bad),
            ("/lines", json!(vec![good_line; 501]), 422, bad),
            ("/lines/0/quantity", json!(0), 422, bad),
            ("/lines/0/paid_minor", json!(-6_800), 422, bad),
            ("/lines/0/sku", json!("S".repeat(65)), 422, bad),
            ("/lines/0/colour", json!("red"), 422, bad),
            ("/tip", json!(5), 422, bad),
        ] {
            let body = changed(purchase(), pointer, value);
            let (answered, problem) = post(&app, PURCHASES, "key", &body).await;
            assert_eq!((answered, problem["code"].as_str()), (status, Some(code)), "{pointer} {problem}");
        }
        for (key, body, status, code) in [
            ("", purchase().to_string(), 400, "request.idempotency_key_missing"),
            ("key", "{".to_owned(), 400, "request.json_syntax"),
            ("key", "{\"source\":\"pos\",\"source\":\"pos\"}".to_owned(), 422, bad),
            ("key", " ".repeat(1_100_000), 413, "request.too_large"),
        ] {
            let (answered, problem) = send(&app, Method::POST, PURCHASES, ALL, key, &body).await;
            assert_eq!((answered, problem["code"].as_str()), (status, Some(code)), "{problem}");
        }
        assert_eq!((shop.count("orders_external_ref").await, shop.count("ledger_posting").await), (0, 0));
    }

    async fn bad_refunds_are_problems_and_change_nothing(cx) {
        let shop = Shop::open(cx).await;
        let app = app(&shop);
        let member = shop.member(1).await;
        post(&app, PURCHASES, "k", &purchase()).await;
        let money = |minor: i64| json!({"minor": minor, "currency": "CNY"});
        for (body, status, code) in [
            (changed(refund("R-1"), "/external_order_no", json!("A-1002")), 404, "orders.purchase_not_found"),
            (changed(refund("R-1"), "/source", json!("web")), 404, "orders.purchase_not_found"),
            (changed(refund("R-1"), "/amount", money(26_801)), 409, "orders.refund_exceeds"),
            (changed(refund("R-1"), "/amount", money(-1)), 422, "orders.amount_invalid"),
            (changed(refund("R-1"), "/amount", money(0)), 409, "orders.nothing_to_refund"),
            (changed(refund("R-1"), "/amount", json!({"minor": 1, "currency": "GBP"})), 422, "orders.currency_mismatch"),
            (changed(refund("R-1"), "/lines", json!([{"line_no": 3}])), 422, "orders.refund_line_invalid"),
            (changed(refund("R-1"), "/lines", json!([{"line_no": 1}, {"line_no": 1}])), 422, "orders.refund_line_invalid"),
            (changed(refund("R-1"), "/lines", json!([{"line_no": 1, "amount_minor": 6_801}])), 409, "orders.line_refund_exceeds"),
            (changed(refund("R-1"), "/lines", json!([{"line_no": 1, "amount_minor": 0}])), 422, "request.invalid"),
            (changed(refund("R-1"), "/lines", json!([])), 422, "request.invalid"),
            (changed(changed(refund("R-1"), "/amount", money(1)), "/lines", json!([{"line_no": 1}])), 422, "request.invalid"),
            (changed(refund("R-1"), "/refunded_at", json!("2036-11-21T10:00:00Z")), 422, "orders.time_in_future"),
        ] {
            let (answered, problem) = post(&app, REFUNDS, "r", &body).await;
            assert_eq!((answered, problem["code"].as_str()), (status, Some(code)), "{body} {problem}");
        }
        assert_eq!((shop.amounts(member).await, shop.count("orders_refund").await), ((268, 0, 26_800), 0));
    }

    async fn bulk_answers_each_purchase(cx) {
        let shop = Shop::open(cx).await;
        let app = app(&shop);
        shop.member(1).await;
        let second = changed(purchase(), "/external_order_no", json!("A-1002"));
        let unknown = changed(second.clone(), "/member", json!({"phone": phone(9)}));
        let nonsense = changed(second.clone(), "/member", json!({}));
        let body = json!({"purchases": [purchase(), unknown, nonsense, second, purchase()]});
        let (status, answers) = send(&app, Method::POST, BULK, ALL, "", &body.to_string()).await;
        assert_eq!(status, 200);
        let items = answers["items"].as_array().unwrap();
        let told: Vec<(Option<&str>, Option<bool>)> =
            items.iter().map(|item| (item["problem"]["code"].as_str(), item["receipt"]["replayed"].as_bool())).collect();
        let expected = [
            (None, Some(false)),
            (Some("members.not_found"), None),
            (Some("request.invalid"), None),
            (None, Some(false)),
            (None, Some(true)),
        ];
        assert_eq!(told, expected);
        assert_eq!(items[3]["receipt"]["points"]["available"], 536);
    }

    async fn each_route_needs_its_permission(cx) {
        let shop = Shop::open(cx).await;
        let app = app(&shop);
        let member = shop.member(1).await;
        let unlinked = json!({"source": "pos", "external_refund_no": "U-1", "amount": {"minor": 1, "currency": "CNY"}});
        let many = json!({"purchases": [changed(purchase(), "/external_order_no", json!("A-1002"))]});
        for (method, path, body, needed, status) in [
            (Method::POST, PURCHASES.to_owned(), purchase(), "orders.record", 201),
            (Method::GET, LOOKUP.to_owned(), Value::Null, "orders.read", 200),
            (Method::POST, REFUNDS.to_owned(), refund("R-1"), "orders.refund", 201),
            (Method::POST, UNLINKED.to_owned(), unlinked, "orders.refund", 201),
            (Method::GET, format!("/api/open/v1/members/{member}/purchases"), Value::Null, "orders.read", 200),
            (Method::GET, format!("/api/open/v1/members/{member}/refunds"), Value::Null, "orders.read", 200),
        ] {
            let others: Vec<&str> = ALL.split(' ').filter(|right| *right != needed).collect();
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let (answered, problem) = send(&app, method.clone(), &path, &others.join(" "), &path[12..], &body).await;
            assert_eq!((answered, problem["params"]["permission"].as_str()), (403, Some(needed)), "{method} {path}");
            let (answered, problem) = send(&app, method.clone(), &path, needed, &path[12..], &body).await;
            assert_eq!(answered, status, "{method} {path} {problem}");
        }
        let (status, problem) = send(&app, Method::POST, BULK, "orders.read", "", &many.to_string()).await;
        assert_eq!((status, &problem["code"]), (403, &json!("access.denied")));
        let meaningless = json!({"purchases": [changed(purchase(), "/paid/currency", json!("XXX"))]});
        let (status, _) = send(&app, Method::POST, BULK, "orders.read", "", &meaningless.to_string()).await;
        assert_eq!(status, 403, "nothing is told before the right is");
    }
}
