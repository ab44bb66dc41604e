//! Becoming an operator by invitation.

use std::time::Duration;

use huika_testing::db_test;
use serde_json::{Value, json};

use crate::rig::{EMAIL, Node, PASSWORD};

const PATH: &str = "/api/admin/v1/invitations";

fn invite(email: &str, access: Value) -> Value {
    json!({ "email": email, "display_name": "小王", "access": access })
}

db_test! { migrations = huika_staff::migrations,
    async fn an_invited_person_chooses_a_password_and_logs_in(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        node.store(&token, "jingan").await;
        let role = node.role(&token, &["staff.read_stores"]).await;
        let access = json!({ "roles": [role], "stores": ["jingan"] });
        let invited = node.post(PATH, &token, invite(" Wang@Example.com", access)).await;
        assert_eq!(invited.status, 201, "{}", invited.body);
        assert!(invited.text("/token").starts_with("hiv_"));
        assert_eq!(invited.text("/invitation/expires_at"), "2026-11-24T02:00:00.000Z", "72 hours");

        assert_eq!(node.accept(&invited.text("/token"), "short").await.code(), "staff.password_unsuitable");
        let accepted = node.accept(&invited.text("/token"), PASSWORD).await;
        assert_eq!((accepted.status, accepted.text("/email").as_str()), (201, "wang@example.com"));
        let me = node.me(&node.log_in("wang@example.com", PASSWORD).await.text("/token")).await;
        assert_eq!((&me.body["roles"], &me.body["stores"], &me.body["is_owner"]), (&json!([role]), &json!(["jingan"]), &json!(false)));
        assert_eq!(node.accept(&invited.text("/token"), PASSWORD).await.code(), "staff.invitation_invalid");
        assert_eq!(node.get(PATH, &token).await.text("/items/0/state"), "accepted");
        let emails = "SELECT COUNT(*) AS n FROM kernel_audit WHERE detail LIKE '%example.com%'";
        assert_eq!(cx.count(emails).await, 0, "the audit log holds no addresses");
    }

    async fn an_invitation_is_accepted_once_however_many_try(cx) {
        let node = Node::with_owner(&cx).await;
        let other = Node::on(&cx, cx.second_pool().await, huika_staff::NonceStore::in_process(cx.clock.now()));
        let token = node.token().await;
        let invited = node.post(PATH, &token, invite("wang@example.com", json!({}))).await.text("/token");
        let answers = futures::future::join_all((0..6).map(|number| {
            let (node, invited) = (if number % 2 == 0 { &node } else { &other }, &invited);
            async move { node.accept(invited, &format!("{PASSWORD} {number}")).await }
        }))
        .await;
        let won: Vec<usize> = (0..6).filter(|number| answers[*number].status == 201).collect();
        assert_eq!(won.len(), 1, "{:?}", answers.iter().map(|answer| answer.code()).collect::<Vec<_>>());
        for lost in answers.iter().filter(|answer| answer.status != 201) {
            assert!(["staff.invitation_invalid", "staff.busy"].contains(&lost.code().as_str()), "{}", lost.body);
        }
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM staff_operator").await, 2);
        let password = format!("{PASSWORD} {}", won[0]);
        assert_eq!(node.log_in("wang@example.com", &password).await.status, 201, "the password of whoever won");
    }

    async fn an_invitation_ends_by_time_by_hand_and_by_another_one(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let send = async |email: &str| node.post(PATH, &token, invite(email, json!({}))).await;
        let replaced = send("wang@example.com").await.text("/token");
        let late = send("wang@example.com").await.text("/token");
        assert_eq!(node.accept(&replaced, PASSWORD).await.code(), "staff.invitation_invalid");
        let revoked = send("li@example.com").await;
        let path = format!("{PATH}/{}", revoked.text("/invitation/id"));
        for _ in 0..2 {
            assert_eq!(node.delete(&path, &token).await.text("/state"), "revoked");
        }
        assert_eq!(node.delete(&format!("{PATH}/inv_0000000000001"), &token).await.code(), "staff.invitation_unknown");
        assert_eq!(node.accept(&revoked.text("/token"), PASSWORD).await.code(), "staff.invitation_invalid");
        cx.clock.advance(Duration::from_secs(72 * 3_600));
        assert_eq!(node.accept(&late, PASSWORD).await.code(), "staff.invitation_invalid");
        assert_eq!(node.accept("hiv_guessed", PASSWORD).await.code(), "staff.invitation_invalid");
        let token = node.token().await;
        let states: Vec<String> = node.get(PATH, &token).await.body["items"]
            .as_array().unwrap().iter().map(|item| item["state"].as_str().unwrap().to_owned()).collect();
        assert_eq!(states, ["revoked", "expired", "revoked"]);
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM staff_operator").await, 1);
    }

    async fn nobody_invites_to_more_than_they_have(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        node.store(&token, "jingan").await;
        node.store(&token, "pudong").await;
        node.store(&token, "closed").await;
        node.post("/api/admin/v1/stores/closed/close", &token, Value::Null).await;
        let own = node.role(&token, &["staff.manage_operators", "staff.read_operators"]).await;
        let more = node.role(&token, &["staff.manage_stores"]).await;
        let access = json!({ "roles": [own], "stores": ["jingan"] });
        let (_, manager) = node.operator(&token, "manager@example.com", access).await;
        let local = |role: &str, store: &str| json!({ "roles": [role], "stores": [store] });
        // who, what, code
        for (who, access, expected) in [
            (&manager, json!({ "is_owner": true }), "staff.owner_needed"),
            (&manager, json!({ "roles": [own] }), "staff.scope_exceeded"),
            (&manager, local(&own, "pudong"), "staff.scope_exceeded"),
            (&manager, local(&more, "jingan"), "access.denied"),
            (&manager, local(&own, "jingan"), "201"),
            (&token, json!({ "is_owner": true, "roles": [own] }), "staff.owner_unlimited"),
            (&token, local("rol_0000000000001", "jingan"), "staff.role_unknown"),
            (&token, local(&own, "nowhere"), "staff.store_unknown"),
            (&token, local(&own, "closed"), "staff.store_unknown"),
            (&token, json!({ "stores": vec!["jingan"; 501] }), "request.invalid"),
            (&token, json!({ "is_owner": true }), "201"),
        ] {
            let answer = node.post(PATH, who, invite("li@example.com", access.clone())).await;
            assert_eq!(answer.code(), expected, "{access:.100}");
        }
        for (email, expected) in [(EMAIL, "staff.email_taken"), ("li", "staff.email_invalid")] {
            assert_eq!(node.post(PATH, &token, invite(email, json!({}))).await.code(), expected);
        }
    }

    async fn one_address_becomes_one_operator(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        // Two invitations that did not see each other.
        let first = node.post(PATH, &token, invite("wang@example.com", json!({}))).await.text("/token");
        cx.execute("UPDATE staff_invitation SET email = 'other@example.com'", huika_db::params![]).await;
        let second = node.post(PATH, &token, invite("wang@example.com", json!({}))).await.text("/token");
        cx.execute("UPDATE staff_invitation SET email = 'wang@example.com'", huika_db::params![]).await;
        assert_eq!(node.accept(&first, PASSWORD).await.status, 201);
        let taken = node.accept(&second, PASSWORD).await;
        assert_eq!((taken.status, taken.code().as_str()), (409, "staff.email_taken"));
    }
}
