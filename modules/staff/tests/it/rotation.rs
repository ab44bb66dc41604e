//! Secrets and rights of API clients, changed while they work.

use std::time::Duration;

use huika_core::{Actor, Refusal as _};
use huika_staff::NonceStore;
use huika_testing::db_test;
use serde_json::{Value, json};

use crate::rig::{Node, Signed};

const PATH: &str = "/api/admin/v1/api-clients";
const DAY: Duration = Duration::from_secs(24 * 3_600);

db_test! { migrations = huika_staff::migrations,
    async fn both_secrets_are_taken_until_the_old_one_ends(cx) {
        let node = Node::with_owner(&cx).await;
        let other = Node::on(&cx, cx.second_pool().await, NonceStore::in_process(cx.clock.now()));
        let token = node.token().await;
        let (client, old) = node.client(&token, &["staff.read_api_clients"]).await;
        let drawn = std::sync::atomic::AtomicU32::new(0);
        let signs = async |node: &Node, secret: &str| {
            let number = drawn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let now = cx.clock.now().as_millis() / 1_000;
            Signed::list(&client, secret, now, &format!("nonce-{number:010}")).send(node).await.status
        };
        assert_eq!((signs(&node, &old).await, signs(&other, &old).await), (200, 200));
        let rotated = node.post(&format!("{PATH}/{client}/rotate"), &token, json!({})).await;
        assert_eq!(rotated.text("/client/old_secret_until"), "2026-11-22T02:00:00.000Z", "{}", rotated.body);
        let new = rotated.text("/secret");
        assert_eq!((signs(&node, &old).await, signs(&node, &new).await), (200, 200));
        cx.clock.advance(Duration::from_secs(10));
        assert_eq!((signs(&other, &old).await, signs(&other, &new).await), (200, 200));
        cx.clock.advance(DAY - Duration::from_millis(10_001));
        assert_eq!(signs(&node, &old).await, 200);
        cx.clock.advance(Duration::from_millis(1));
        assert_eq!((signs(&node, &old).await, signs(&node, &new).await), (401, 200), "exactly then");

        // Ended by hand, at once.
        let token = node.token().await;
        let until = json!({ "old_secret_until": "2026-11-29T02:00:00Z" });
        let newest = node.post(&format!("{PATH}/{client}/rotate"), &token, until).await.text("/secret");
        assert_eq!((signs(&node, &new).await, signs(&node, &newest).await), (200, 200));
        for _ in 0..2 {
            assert_eq!(node.delete(&format!("{PATH}/{client}/old-secret"), &token).await.status, 204);
        }
        assert_eq!((signs(&node, &new).await, signs(&node, &newest).await), (401, 200));
        let audited = "SELECT COUNT(*) AS n FROM kernel_audit WHERE action IN ('staff.rotate_api_client', 'staff.end_old_secret')";
        assert_eq!(cx.count(audited).await, 3);
    }

    async fn there_are_never_more_than_two_secrets(cx) {
        let node = Node::with_owner(&cx).await;
        let other = Node::on(&cx, cx.second_pool().await, NonceStore::in_process(cx.clock.now()));
        let token = node.token().await;
        let (client, old) = node.client(&token, &["staff.read_api_clients"]).await;
        let id = client.parse().unwrap();
        let owner = &Actor::with_all_rights("opr_test");
        let answers = futures::future::join_all((0..8).map(|number| {
            let node = if number % 2 == 0 { &node } else { &other };
            async move { node.staff.rotate_api_client(owner, id, None).await }
        }))
        .await;
        let won: Vec<_> = answers.iter().flatten().collect();
        assert_eq!(won.len(), 1);
        for lost in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            assert_eq!(lost.problem().code, "staff.rotation_unfinished", "{lost:?}");
        }
        let now = cx.clock.now().as_millis() / 1_000;
        for (secret, nonce) in [(old.as_str(), "nonce-0000000001"), (won[0].1.as_str(), "nonce-0000000002")] {
            assert_eq!(Signed::list(&client, secret, now, nonce).send(&node).await.status, 200, "the old and the one that was shown");
        }
    }

    async fn rotations_that_make_no_sense_are_refused(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let (client, _) = node.client(&token, &[]).await;
        let rotate = async |id: &str, until: Value| {
            node.post(&format!("{PATH}/{id}/rotate"), &token, json!({ "old_secret_until": until })).await.code()
        };
        for until in ["2026-11-21T01:59:59Z", "2026-11-28T02:00:01Z"] {
            assert_eq!(rotate(&client, json!(until)).await, "staff.overlap_invalid");
        }
        assert_eq!(rotate("apc_0000000000001", Value::Null).await, "staff.api_client_unknown");
        assert_eq!(node.delete(&format!("{PATH}/{client}"), &token).await.status, 204);
        assert_eq!(rotate(&client, Value::Null).await, "staff.api_client_unknown", "revoked for ever");
        let access = node.put(&format!("{PATH}/{client}/access"), &token, json!({ "permissions": [] })).await;
        assert_eq!(access.code(), "staff.api_client_unknown");
    }

    async fn rights_and_stores_change_within_ones_own(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        node.store(&token, "jingan").await;
        node.store(&token, "pudong").await;
        let (client, secret) = node.client(&token, &["staff.read_stores"]).await;
        let path = format!("{PATH}/{client}/access");
        let access = |permissions: &[&str], stores: Value| json!({ "permissions": permissions, "stores": stores });
        let wanted = access(&["staff.manage_stores", "staff.read_stores"], json!(["jingan"]));
        let changed = node.put(&path, &token, wanted).await;
        assert_eq!(changed.body["stores"], json!(["jingan"]), "{}", changed.body);
        assert_eq!(changed.body["permissions"], json!(["staff.manage_stores", "staff.read_stores"]));
        for (store, nonce, expected) in [("jingan", "nonce-0000000001", 200), ("pudong", "nonce-0000000002", 403)] {
            let now = cx.clock.now().as_millis() / 1_000;
            let close = Signed {
                method: axum::http::Method::POST, path: format!("/api/admin/v1/stores/{store}/close"), query: String::new(),
                ..Signed::list(&client, &secret, now, nonce)
            };
            assert_eq!(close.sign(&secret).send(&node).await.status, expected, "{store}");
        }
        let role = node.role(&token, &["staff.manage_api_clients", "staff.read_stores"]).await;
        let (_, local) = node.operator(&token, "local@example.com", json!({ "roles": [role], "stores": ["pudong"] })).await;
        let own = json!({ "name": "till", "permissions": ["staff.read_stores"], "stores": ["pudong"] });
        let own = node.post(PATH, &local, own).await.text("/client/id");
        for (what, answer, expected) in [
            ("unknown store", node.put(&path, &token, access(&[], json!(["nowhere"]))).await, "staff.store_unknown"),
            ("unknown permission", node.put(&path, &token, access(&["coupons.fly"], Value::Null)).await, "staff.permission_unknown"),
            ("a stronger client", node.put(&path, &local, access(&[], json!(["pudong"]))).await, "access.denied"),
            ("its secret", node.post(&format!("{PATH}/{client}/rotate"), &local, json!({})).await, "access.denied"),
            ("its old secret", node.delete(&format!("{PATH}/{client}/old-secret"), &local).await, "access.denied"),
            ("everywhere", node.put(&format!("{PATH}/{own}/access"), &local, access(&[], Value::Null)).await, "staff.scope_exceeded"),
            ("one's own", node.put(&format!("{PATH}/{own}/access"), &local, access(&[], json!(["pudong"]))).await, "200"),
        ] {
            assert_eq!(answer.code(), expected, "{what}");
        }
    }
}
