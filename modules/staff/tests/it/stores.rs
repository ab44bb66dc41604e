//! Stores, and what lies outside an operator's own.

use huika_testing::db_test;
use serde_json::{Value, json};

use crate::rig::Node;

const PATH: &str = "/api/admin/v1/stores";

db_test! { migrations = huika_staff::migrations,
    async fn a_store_is_made_renamed_closed_and_listed(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let made = node.post(PATH, &token, json!({ "code": "jingan", "name_zh": "静安店", "name_en": "Jing'an" })).await;
        assert_eq!(made.status, 201);
        assert_eq!(made.body, json!({
            "code": "jingan", "name_zh": "静安店", "name_en": "Jing'an", "is_open": true,
            "created_at": "2026-11-21T02:00:00.000Z", "closed_at": null,
        }));
        let again = node.post(PATH, &token, json!({ "code": "jingan", "name_zh": "x" })).await;
        assert_eq!((again.status, again.code().as_str()), (409, "staff.store_exists"));
        let renamed = node.put(&format!("{PATH}/jingan"), &token, json!({ "name_zh": "静安寺店" })).await;
        assert_eq!((renamed.text("/name_zh").as_str(), &renamed.body["name_en"]), ("静安寺店", &Value::Null));
        for _ in 0..2 {
            let closed = node.post(&format!("{PATH}/jingan/close"), &token, Value::Null).await;
            assert_eq!((closed.status, &closed.body["is_open"]), (200, &json!(false)), "twice is as once");
        }
        for (answer, expected) in [
            (node.put(&format!("{PATH}/nowhere"), &token, json!({ "name_zh": "x" })).await, "staff.store_missing"),
            (node.post(&format!("{PATH}/nowhere/close"), &token, Value::Null).await, "staff.store_missing"),
            (node.post(&format!("{PATH}/%E9%9D%99/close"), &token, Value::Null).await, "request.path_invalid"),
            (node.post(PATH, &token, json!({ "code": "静安", "name_zh": "x" })).await, "request.invalid"),
            (node.post(PATH, &token, json!({ "code": "a", "name_zh": "" })).await, "request.invalid"),
        ] {
            assert_eq!(answer.code(), expected);
        }
        let audited = "SELECT COUNT(*) AS n FROM kernel_audit WHERE subject = 'jingan'";
        assert_eq!(cx.count(audited).await, 3, "made, renamed, closed once");
    }

    async fn pages_go_by_code(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        for code in ["c", "a", "e", "b", "d"] {
            node.store(&token, code).await;
        }
        let (mut seen, mut cursor) = (String::new(), String::new());
        loop {
            let page = node.get(&format!("{PATH}?limit=2{cursor}"), &token).await;
            for item in page.body["items"].as_array().unwrap() {
                seen.push_str(item["code"].as_str().unwrap());
            }
            match page.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, "abcde");
        assert_eq!(node.get(&format!("{PATH}?cursor=%20"), &token).await.code(), "request.query_invalid");
    }

    async fn whoever_has_stores_acts_in_them_alone(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        node.store(&token, "jingan").await;
        node.store(&token, "pudong").await;
        let role = node.role(&token, &["staff.manage_stores", "staff.read_stores"]).await;
        let access = json!({ "roles": [role], "stores": ["jingan"] });
        let (_, local) = node.operator(&token, "local@example.com", access).await;
        let name = json!({ "name_zh": "新名" });
        assert_eq!(node.put(&format!("{PATH}/jingan"), &local, name.clone()).await.status, 200);
        for answer in [
            node.put(&format!("{PATH}/pudong"), &local, name).await,
            node.post(&format!("{PATH}/pudong/close"), &local, Value::Null).await,
            node.post(PATH, &local, json!({ "code": "hongkou", "name_zh": "虹口店" })).await,
        ] {
            assert_eq!((answer.status, answer.code().as_str()), (403, "access.store_denied"));
        }
        assert_eq!(node.get(PATH, &local).await.body["items"].as_array().unwrap().len(), 2);
    }
}
