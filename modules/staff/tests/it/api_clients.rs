//! API clients are made, listed and revoked by those who may.

use axum::http::Method;
use huika_testing::db_test;
use serde_json::{Value, json};

use crate::rig::{Node, Signed};

const PATH: &str = "/api/admin/v1/api-clients";

db_test! { migrations = huika_staff::migrations,
    async fn a_client_is_made_listed_and_revoked(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let (id, secret) = node.client(&token, &["staff.read_api_clients"]).await;
        assert!(id.starts_with("apc_") && secret.starts_with("hsk_") && secret.len() == 47, "{id} {secret}");

        let list = node.with_token(Method::GET, PATH, &token, Value::Null).await;
        assert_eq!(
            list.body,
            json!({
                "items": [{
                    "id": id, "name": "till", "permissions": ["staff.read_api_clients"], "stores": null, "state": "active",
                    "created_at": "2026-11-21T02:00:00.000Z", "revoked_at": null, "old_secret_until": null,
                }],
                "next_cursor": null,
            })
        );
        let revoke = async |id: &str| {
            node.with_token(Method::DELETE, &format!("{PATH}/{id}"), &token, Value::Null).await.code()
        };
        assert_eq!((revoke(&id).await.as_str(), revoke(&id).await.as_str()), ("204", "204"), "twice is as once");
        assert_eq!(revoke("apc_0000000000001").await, "staff.api_client_unknown");
        assert_eq!(revoke("opr_0000000000001").await, "request.path_invalid");
        let list = node.with_token(Method::GET, PATH, &token, Value::Null).await;
        assert_eq!((list.text("/items/0/state").as_str(), list.text("/items/0/revoked_at").as_str()), ("revoked", "2026-11-21T02:00:00.000Z"));
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM kernel_audit WHERE action LIKE 'staff.%_api_client'").await, 2);
    }

    async fn pages_show_every_client_once_latest_first(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let mut made = Vec::new();
        for number in 0..5 {
            // Two of a moment, so that the id must decide between them.
            cx.clock.advance(std::time::Duration::from_secs(number % 2));
            made.insert(0, node.client(&token, &[]).await.0);
        }
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = node.with_token(Method::GET, &format!("{PATH}?limit=2{cursor}"), &token, Value::Null).await;
            assert_eq!(page.status, 200);
            seen.extend(page.body["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            match page.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, made);
    }

    async fn unknown_permissions_and_bad_input_are_refused(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let make = async |body: Value| node.with_token(Method::POST, PATH, &token, body).await;
        let unknown = make(json!({ "name": "till", "permissions": ["staff.read_api_clients", "coupons.fly"] })).await;
        assert_eq!((unknown.code().as_str(), unknown.text("/params/name").as_str()), ("staff.permission_unknown", "coupons.fly"));
        for body in [
            json!({ "name": "", "permissions": [] }),
            json!({ "name": "x".repeat(101), "permissions": [] }),
            json!({ "name": "till" }),
            json!({ "name": "till", "permissions": "all" }),
            json!({ "name": "till", "permissions": [], "is_owner": true }),
            json!({ "name": "ti\0ll", "permissions": [] }),
            json!({ "name": "till", "permissions": vec!["x"; 201] }),
        ] {
            assert_eq!(make(body.clone()).await.code(), "request.invalid", "{body:.100}");
        }
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM staff_api_client").await, 0);
        assert_eq!(make(json!({ "name": "会员店 🍵", "permissions": [] })).await.text("/client/name"), "会员店 🍵");
    }

    async fn a_client_does_what_it_may_and_no_more(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let now = cx.clock.now().as_millis() / 1_000;
        let (reader, secret) = node.client(&token, &["staff.read_api_clients"]).await;
        let signed = |method: Method, path: &str, body: Value, nonce: &str| {
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let base = Signed::list(&reader, &secret, now, nonce);
            Signed { method, path: path.to_owned(), query: String::new(), body, ..base }.sign(&secret)
        };
        let read = signed(Method::GET, PATH, Value::Null, "nonce-0000000001");
        assert_eq!(read.send(&node).await.status, 200);
        let new = json!({ "name": "x", "permissions": [] });
        let make = signed(Method::POST, PATH, new, "nonce-0000000002").send(&node).await;
        assert_eq!((make.status, make.code().as_str()), (403, "access.denied"));
        let revoke = signed(Method::DELETE, &format!("{PATH}/{reader}"), Value::Null, "nonce-0000000003");
        assert_eq!(revoke.send(&node).await.code(), "access.denied");
        for (method, path, nonce) in [
            (Method::GET, "/api/admin/v1/operators/me", "nonce-0000000004"),
            (Method::DELETE, "/api/admin/v1/sessions/current", "nonce-0000000005"),
        ] {
            let answer = signed(method, path, Value::Null, nonce).send(&node).await;
            assert_eq!((answer.status, answer.code().as_str()), (403, "staff.operator_needed"));
        }
        // Who may make clients may not give away more than they have.
        let (manager, secret) = node.client(&token, &["staff.manage_api_clients"]).await;
        let new = json!({ "name": "x", "permissions": ["staff.read_api_clients"] }).to_string();
        let base = Signed::list(&manager, &secret, now, "nonce-0000000006");
        let more = Signed { method: Method::POST, query: String::new(), body: new, ..base }.sign(&secret);
        assert_eq!(more.send(&node).await.code(), "access.denied");
    }
}
