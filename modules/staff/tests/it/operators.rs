//! Suspending and restoring operators, what they may do, their passwords and sessions.

use std::time::Duration;

use huika_testing::db_test;
use serde_json::{Value, json};

use crate::rig::{EMAIL, Node, PASSWORD};

const PATH: &str = "/api/admin/v1/operators";

fn suspend(id: &str) -> String {
    format!("{PATH}/{id}/suspend")
}

db_test! { migrations = huika_staff::migrations,
    async fn a_suspended_operator_is_out_at_once_and_may_come_back(cx) {
        let node = Node::with_owner(&cx).await;
        let other = Node::new(&cx);
        let token = node.token().await;
        let role = node.role(&token, &["staff.manage_operators"]).await;
        let (id, clerk) = node.operator(&token, "clerk@example.com", json!({ "roles": [role] })).await;
        let invitation = json!({ "email": "friend@example.com", "display_name": "x", "access": { "roles": [role] } });
        let invited = node.post("/api/admin/v1/invitations", &clerk, invitation).await.text("/token");
        assert_eq!(other.me(&clerk).await.status, 200);
        for _ in 0..2 {
            let suspended = node.post(&suspend(&id), &token, Value::Null).await;
            assert_eq!((suspended.status, &suspended.body["is_active"]), (200, &json!(false)), "{}", suspended.body);
        }
        assert_eq!(node.me(&clerk).await.status, 401);
        assert_eq!(node.log_in("clerk@example.com", PASSWORD).await.code(), "staff.login_refused");
        assert_eq!(node.accept(&invited, PASSWORD).await.code(), "staff.invitation_invalid");
        cx.clock.advance(Duration::from_secs(10));
        assert_eq!(other.me(&clerk).await.status, 401);
        for _ in 0..2 {
            assert_eq!(node.post(&format!("{PATH}/{id}/restore"), &token, Value::Null).await.status, 200);
        }
        assert_eq!(node.me(&clerk).await.status, 401, "the old session stays ended");
        assert_eq!(node.log_in("clerk@example.com", PASSWORD).await.status, 201);
        let audited = "SELECT COUNT(*) AS n FROM kernel_audit WHERE action IN ('staff.suspend_operator', 'staff.restore_operator')";
        assert_eq!(cx.count(audited).await, 2);
    }

    async fn the_last_owner_stays_an_owner(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let me = node.me(&token).await.text("/id");
        let (second, _) = node.operator(&token, "second@example.com", json!({ "is_owner": true })).await;
        assert_eq!(node.post(&suspend(&second), &token, Value::Null).await.status, 200);
        let demote = format!("{PATH}/{me}/access");
        for answer in [
            node.post(&suspend(&me), &token, Value::Null).await,
            node.put(&demote, &token, json!({})).await,
        ] {
            assert_eq!((answer.status, answer.code().as_str()), (409, "staff.last_owner"));
        }
        assert_eq!(node.post(&format!("{PATH}/{second}/restore"), &token, Value::Null).await.status, 200);
        assert_eq!(node.put(&demote, &token, json!({})).await.status, 200);
        assert_eq!(node.get(PATH, &token).await.status, 403, "at once");
    }

    /// Whatever two owners do to each other at the same moment, one of them stays.
    async fn two_owners_who_remove_each_other_do_not_both_succeed(cx) {
        let node = Node::with_owner(&cx).await;
        let other = Node::on(&cx, cx.second_pool().await, huika_staff::NonceStore::in_process(cx.clock.now()));
        let owner = huika_core::Actor::with_all_rights("opr_test");
        let token = node.token().await;
        let first = node.me(&token).await.text("/id").parse().unwrap();
        let (second, _) = node.operator(&token, "second@example.com", json!({ "is_owner": true })).await;
        let second = second.parse().unwrap();
        for round in 0..6 {
            let nothing = huika_staff::Access::try_new(false, vec![], huika_core::StoreScope::All).unwrap();
            let one = async {
                if round % 2 == 0 {
                    node.staff.suspend_operator(&owner, first).await
                } else {
                    node.staff.set_operator_access(&owner, first, &nothing).await
                }
            };
            let (one, two) = futures::join!(one, other.staff.suspend_operator(&owner, second));
            let left = "SELECT COUNT(*) AS n FROM staff_operator WHERE is_owner = 1 AND state = 1";
            assert_eq!(cx.count(left).await, 1, "round {round}: {one:?} {two:?}");
            let refused = [one, two].into_iter().filter_map(Result::err).map(|error| huika_core::Refusal::problem(&error).code);
            assert_eq!(refused.collect::<Vec<_>>(), ["staff.last_owner"]);
            cx.execute("UPDATE staff_operator SET is_owner = 1, state = 1", huika_db::params![]).await;
        }
    }

    async fn nobody_touches_somebody_who_may_do_more(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let owner = node.me(&token).await.text("/id");
        node.store(&token, "jingan").await;
        node.store(&token, "pudong").await;
        let rights = ["staff.manage_operators", "staff.read_operators"];
        let (own, more) = (node.role(&token, &rights).await, node.role(&token, &["staff.manage_stores"]).await);
        let local = |roles: Value, stores: Value| json!({ "roles": roles, "stores": stores });
        let (manager_id, manager) = node.operator(&token, "manager@example.com", local(json!([own]), json!(["jingan"]))).await;
        let (stronger, _) = node.operator(&token, "a@example.com", local(json!([more]), json!(["jingan"]))).await;
        let (elsewhere, _) = node.operator(&token, "b@example.com", local(json!([]), json!(["pudong"]))).await;
        let (weaker, _) = node.operator(&token, "c@example.com", local(json!([]), json!(["jingan"]))).await;
        // whom, code
        for (whom, expected) in [
            (owner.as_str(), "staff.owner_needed"),
            (&stronger, "access.denied"),
            (&elsewhere, "staff.scope_exceeded"),
            ("opr_0000000000001", "staff.operator_unknown"),
        ] {
            for action in ["suspend", "restore"] {
                let answer = node.post(&format!("{PATH}/{whom}/{action}"), &manager, Value::Null).await;
                assert_eq!(answer.code(), expected, "{action} {whom}");
            }
            let answer = node.put(&format!("{PATH}/{whom}/access"), &manager, local(json!([]), json!([]))).await;
            assert_eq!(answer.code(), expected, "access {whom}");
        }
        assert_eq!(node.post(&suspend(&weaker), &manager, Value::Null).await.status, 200);
        let up = node.put(&format!("{PATH}/{manager_id}/access"), &manager, local(json!([own, more]), json!(["jingan"]))).await;
        assert_eq!(up.code(), "access.denied", "nor give themselves more");
    }

    async fn access_is_replaced_as_a_whole(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        node.store(&token, "jingan").await;
        let (a, b) = (node.role(&token, &[]).await, node.role(&token, &["staff.read_stores"]).await);
        let (id, clerk) = node.operator(&token, "clerk@example.com", json!({ "roles": [a], "stores": ["jingan"] })).await;
        let changed = node.put(&format!("{PATH}/{id}/access"), &token, json!({ "roles": [b] })).await;
        assert_eq!((&changed.body["roles"], &changed.body["stores"]), (&json!([b]), &Value::Null));
        let me = node.me(&clerk).await;
        assert_eq!(me.body, changed.body);
        assert_eq!(node.get("/api/admin/v1/stores", &clerk).await.status, 200);
        let list = node.get(&format!("{PATH}?limit=1"), &token).await;
        assert_eq!((&list.body["items"][0], list.body["next_cursor"].is_string()), (&changed.body, true));
        let next = format!("{PATH}?limit=1&cursor={}", list.text("/next_cursor"));
        assert_eq!(node.get(&next, &token).await.text("/items/0/email"), EMAIL);
    }

    async fn invitations_of_somebody_whose_rights_change_are_taken_back(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let role = node.role(&token, &["staff.manage_operators", "staff.read_stores"]).await;
        let (id, manager) = node.operator(&token, "manager@example.com", json!({ "roles": [role] })).await;
        let friend = json!({ "email": "friend@example.com", "display_name": "x", "access": { "roles": [role] } });
        let invited = node.post("/api/admin/v1/invitations", &manager, friend).await.text("/token");
        assert_eq!(node.put(&format!("{PATH}/{id}/access"), &token, json!({})).await.status, 200);
        assert_eq!(node.accept(&invited, PASSWORD).await.code(), "staff.invitation_invalid");
    }

    async fn a_new_password_ends_all_other_sessions(cx) {
        let node = Node::with_owner(&cx).await;
        let (token, other) = (node.token().await, node.token().await);
        let path = format!("{PATH}/me/password");
        let body = |present: &str, new: &str| json!({ "present_password": present, "new_password": new });
        let new = "another horse battery";
        assert_eq!(node.put(&path, &token, body("wrong", new)).await.code(), "staff.password_wrong");
        assert_eq!(node.put(&path, &token, body(PASSWORD, "short")).await.code(), "staff.password_unsuitable");
        assert_eq!(node.put(&path, &token, body(PASSWORD, new)).await.status, 204);
        assert_eq!((node.me(&token).await.status, node.me(&other).await.status), (200, 401));
        assert_eq!(node.log_in(EMAIL, PASSWORD).await.status, 401);
        assert_eq!(node.log_in(EMAIL, new).await.status, 201);
        // A stolen session does not become a way to guess.
        for _ in 0..10 {
            assert_eq!(node.put(&path, &token, body("wrong", new)).await.code(), "staff.password_wrong");
        }
        assert_eq!(node.put(&path, &token, body(new, PASSWORD)).await.status, 429);
    }

    async fn sessions_are_listed_and_ended_one_by_one(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let (id, clerk) = node.operator(&token, "clerk@example.com", json!({})).await;
        cx.clock.advance(Duration::from_secs(60));
        let second = node.log_in("clerk@example.com", PASSWORD).await.text("/token");
        let own = node.get(&format!("{PATH}/me/sessions"), &clerk).await;
        assert_eq!((&own.body["items"][0]["is_current"], &own.body["items"][1]["is_current"]), (&json!(false), &json!(true)));
        let latest = own.text("/items/0/id");
        assert!(!second.contains(&latest[4..]) && latest.len() == 36, "{latest}");

        assert_eq!(node.delete(&format!("{PATH}/me/sessions/{latest}"), &token).await.code(), "staff.session_unknown");
        assert_eq!(node.delete(&format!("{PATH}/me/sessions/{latest}"), &clerk).await.status, 204);
        assert_eq!((node.me(&second).await.status, node.me(&clerk).await.status), (401, 200));
        assert_eq!(node.delete(&format!("{PATH}/me/sessions/{latest}"), &clerk).await.code(), "staff.session_unknown");

        assert_eq!(node.get(&format!("{PATH}/{id}/sessions"), &clerk).await.code(), "access.denied");
        let left = node.get(&format!("{PATH}/{id}/sessions"), &token).await;
        assert_eq!(left.body["items"].as_array().unwrap().len(), 1);
        let path = format!("{PATH}/{id}/sessions/{}", left.text("/items/0/id"));
        assert_eq!(node.delete(&path, &clerk).await.code(), "access.denied");
        assert_eq!(node.delete(&path, &token).await.status, 204);
        assert_eq!(node.me(&clerk).await.status, 401);
        assert_eq!(node.delete(&format!("{PATH}/{id}/sessions/nonsense"), &token).await.code(), "staff.session_unknown");
    }
}
