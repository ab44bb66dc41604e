//! A signed request is answered once, and only as it was signed.

use std::time::Duration;

use axum::http::Method;
use huika_staff::NonceStore;
use huika_testing::db_test;
use serde_json::Value;

use crate::rig::{Node, Signed};

const NONCE: &str = "nonce-0000000001";

db_test! { migrations = huika_staff::migrations,
    async fn whatever_is_altered_on_the_way_is_refused(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let (client, secret) = node.client(&token, &["staff.read_api_clients", "staff.manage_api_clients"]).await;
        let now = cx.clock.now().as_millis() / 1_000;
        let signed = Signed::list(&client, &secret, now, NONCE);

        let other = node.client(&token, &[]).await.0;
        for (what, altered) in [
            ("method", Signed { method: Method::POST, ..signed.clone() }),
            ("path", Signed { path: "/api/admin/v1/operators/me".into(), ..signed.clone() }),
            ("query", Signed { query: "limit=11".into(), ..signed.clone() }),
            ("missing query", Signed { query: String::new(), ..signed.clone() }),
            ("body", Signed { body: " ".into(), ..signed.clone() }),
            ("timestamp", Signed { timestamp: (now + 1).to_string(), ..signed.clone() }),
            ("nonce", Signed { nonce: "nonce-0000000002".into(), ..signed.clone() }),
            ("client", Signed { client: other, ..signed.clone() }),
            ("unknown client", Signed { client: "apc_0000000000001".into(), ..signed.clone() }),
            ("secret", signed.clone().sign("hsk_guessed")),
        ] {
            let answer = altered.send(&node).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "staff.signature_invalid"), "{what}");
        }
        // None of the refused ones used up the nonce.
        assert_eq!(signed.send(&node).await.status, 200);
    }

    async fn a_request_is_answered_once(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let (client, secret) = node.client(&token, &["staff.read_api_clients"]).await;
        let now = cx.clock.now().as_millis() / 1_000;
        let signed = Signed::list(&client, &secret, now, NONCE);
        let answers = futures::future::join_all((0..32).map(|_| signed.send(&node))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
        assert_eq!(answers.iter().filter(|answer| answer.code() == "staff.nonce_used").count(), 31);
        assert_eq!(Signed::list(&client, &secret, now, "nonce-0000000002").send(&node).await.status, 200);
        // The nonce is remembered for as long as its timestamp would be taken.
        cx.clock.advance(Duration::from_secs(300));
        assert_eq!(signed.send(&node).await.code(), "staff.nonce_used");
        cx.clock.advance(Duration::from_secs(1));
        assert_eq!(signed.send(&node).await.code(), "staff.timestamp_refused");
    }

    async fn timestamps_outside_the_window_and_wrong_forms_are_refused(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let (client, secret) = node.client(&token, &["staff.read_api_clients"]).await;
        cx.clock.advance(Duration::from_secs(3_600));
        let now = cx.clock.now().as_millis() / 1_000;
        let at = async |timestamp: i64, nonce: &str| Signed::list(&client, &secret, timestamp, nonce).send(&node).await;
        assert_eq!(at(now - 300, "nonce-0000000001").await.status, 200);
        assert_eq!(at(now + 300, "nonce-0000000002").await.status, 200);
        for timestamp in [now - 301, now + 301, 0] {
            let answer = at(timestamp, "nonce-0000000003").await;
            assert_eq!(answer.code(), "staff.timestamp_refused");
            assert_eq!(answer.text("/params/server_time"), now.to_string());
        }
        let good = Signed::list(&client, &secret, now, NONCE);
        for (header, wrong) in [
            ("Huika-Client", Signed { client: "apc_1".into(), ..good.clone() }),
            ("Huika-Timestamp", Signed { timestamp: "now".into(), ..good.clone() }),
            ("Huika-Nonce", Signed { nonce: "short".into(), ..good.clone() }),
            ("Huika-Signature", Signed { signature: good.signature.to_uppercase(), ..good.clone() }),
        ] {
            let answer = wrong.send(&node).await;
            assert_eq!((answer.code().as_str(), answer.text("/params/header").as_str()), ("staff.signature_incomplete", header));
        }
        let only = node.send(Method::GET, "/api/admin/v1/api-clients", &[("huika-client", &client)], "").await;
        assert_eq!(only.code(), "staff.signature_incomplete");
    }

    async fn a_revoked_client_is_refused_at_once_here_and_within_ten_seconds_elsewhere(cx) {
        let node = Node::with_owner(&cx).await;
        let other_node = Node::on(&cx, cx.second_pool().await, NonceStore::in_process(cx.clock.now()));
        let token = node.token().await;
        let (client, secret) = node.client(&token, &["staff.read_api_clients"]).await;
        let now = || cx.clock.now().as_millis() / 1_000;
        let list = |nonce: &str| Signed::list(&client, &secret, now(), nonce);
        assert_eq!(list("nonce-0000000001").send(&node).await.status, 200);
        assert_eq!(list("nonce-0000000002").send(&other_node).await.status, 200);
        let path = format!("/api/admin/v1/api-clients/{client}");
        assert_eq!(node.with_token(Method::DELETE, &path, &token, Value::Null).await.status, 204);
        assert_eq!(list("nonce-0000000003").send(&node).await.code(), "staff.signature_invalid");
        cx.clock.advance(Duration::from_secs(10));
        assert_eq!(list("nonce-0000000004").send(&other_node).await.code(), "staff.signature_invalid");
    }

    async fn while_a_client_is_known_its_requests_ask_the_database_nothing(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let (client, secret) = node.client(&token, &[]).await;
        let now = cx.clock.now().as_millis() / 1_000;
        // Refused for want of a permission, which is decided before anything is loaded.
        assert_eq!(Signed::list(&client, &secret, now, "nonce-0000000001").send(&node).await.code(), "access.denied");
        assert_eq!(node.me(&token).await.status, 200);
        cx.db.close().await;
        assert_eq!(Signed::list(&client, &secret, now, "nonce-0000000002").send(&node).await.code(), "access.denied");
        assert_eq!(node.me(&token).await.code(), "system.busy", "the session is known, the operator must be loaded");
    }
}

/// Several nodes share their nonces in Redis.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_share_redis_answer_a_request_once() {
    let Some(url) = huika_testing::redis_url() else {
        return;
    };
    let cx = huika_testing::TestDb::sqlite().await;
    cx.migrate(&huika_staff::migrations()).await;
    let first = Node::on(&cx, cx.db.clone(), NonceStore::redis(&url).await.unwrap());
    let second = Node::on(&cx, cx.db.clone(), NonceStore::redis(&url).await.unwrap());
    first
        .staff
        .ensure_owner(crate::rig::EMAIL, Some(crate::rig::PASSWORD.into()))
        .await
        .unwrap();
    let token = first.token().await;
    let (client, secret) = first.client(&token, &["staff.read_api_clients"]).await;
    let now = cx.clock.now().as_millis() / 1_000;
    // Redis outlives the test, so the nonce must be new in every run.
    let nonce = format!("test-{:016x}", huika_core::Rng::system().next_u64());
    let signed = Signed::list(&client, &secret, now, &nonce);
    let nodes = [&first, &second];
    let answers = futures::future::join_all((0..16).map(|number| signed.send(nodes[number % 2]))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer.code() == "staff.nonce_used")
            .count(),
        15
    );
}
