//! Logging in and out, and what slows down those who guess.

use std::{sync::Arc, time::Duration};

use axum::http::Method;
use huika_db::{audit::list_audit, jobs::Worker, params};
use huika_staff::jobs;
use huika_testing::db_test;
use serde_json::{Value, json};

use crate::rig::{EMAIL, Node, PASSWORD};

const HOUR: Duration = Duration::from_secs(3_600);

db_test! { migrations = huika_staff::migrations,
    async fn an_operator_logs_in_and_is_recognised(cx) {
        let node = Node::with_owner(&cx).await;
        let answer = node.log_in(" Owner@Example.COM", PASSWORD).await;
        assert_eq!(answer.status, 201);
        assert_eq!(answer.text("/expires_at"), "2026-11-21T14:00:00.000Z");
        assert!(answer.text("/token").starts_with("hst_"));
        let me = node.me(&answer.text("/token")).await;
        assert_eq!((me.status, &me.body), (200, &answer.body["operator"]));
        assert_eq!((me.text("/email").as_str(), &me.body["is_owner"]), (EMAIL, &json!(true)));
        assert!(me.text("/id").starts_with("opr_"));
    }

    async fn wrong_address_wrong_password_and_suspension_look_the_same(cx) {
        let node = Node::with_owner(&cx).await;
        let (password, address) = (node.log_in(EMAIL, "wrong").await, node.log_in("nobody@example.com", PASSWORD).await);
        assert_eq!((password.status, password.code().as_str()), (401, "staff.login_refused"));
        for other in [address, {
            cx.execute("UPDATE staff_operator SET state = 2", params![]).await;
            node.log_in(EMAIL, PASSWORD).await
        }] {
            assert_eq!(other.status, 401);
            let without_trace = |mut body: Value| { body["trace_id"] = Value::Null; body };
            assert_eq!(without_trace(other.body), without_trace(password.body.clone()));
        }
    }

    async fn after_ten_failures_an_address_waits_fifteen_minutes(cx) {
        let node = Node::with_owner(&cx).await;
        // Many at once: exactly ten reach the password, whichever they are.
        let answers = futures::future::join_all((0..24).map(|_| node.log_in(EMAIL, "wrong"))).await;
        let count = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(401), count(429)), (10, 14));

        let locked = node.log_in(EMAIL, PASSWORD).await;
        assert_eq!((locked.status, locked.code().as_str()), (429, "staff.login_throttled"));
        assert_eq!(locked.headers["retry-after"], "900");
        assert_eq!(node.log_in("other@example.com", "wrong").await.status, 401, "another address is not locked");

        cx.clock.advance(Duration::from_millis(15 * 60_000 - 1));
        assert_eq!(node.log_in(EMAIL, PASSWORD).await.headers["retry-after"], "1");
        cx.clock.advance(Duration::from_millis(1));
        assert_eq!(node.log_in(EMAIL, PASSWORD).await.status, 201);
    }

    async fn a_success_clears_the_failures(cx) {
        let node = Node::with_owner(&cx).await;
        for _ in 0..2 {
            for _ in 0..9 {
                assert_eq!(node.log_in(EMAIL, "wrong").await.status, 401);
            }
            assert_eq!(node.log_in(EMAIL, PASSWORD).await.status, 201);
        }
    }

    async fn whoever_tries_many_addresses_from_one_place_waits(cx) {
        let node = Node::with_owner(&cx).await;
        let place = "203.0.113.9";
        for number in 0..49 {
            let answer = node.log_in_from(place, &format!("guess{number}@example.com"), "wrong").await;
            assert_eq!(answer.status, 401, "{number}: {}", answer.body);
        }
        // A success takes itself out of the count, and clears nothing else.
        assert_eq!(node.log_in_from(place, EMAIL, PASSWORD).await.status, 201);
        assert_eq!(node.log_in_from(place, "guess49@example.com", "wrong").await.status, 401);
        let locked = node.log_in_from(place, EMAIL, PASSWORD).await;
        assert_eq!((locked.status, locked.code().as_str()), (429, "staff.login_throttled"));
        assert_eq!(node.log_in_from("203.0.113.10", EMAIL, PASSWORD).await.status, 201, "other places are free");
        cx.clock.advance(Duration::from_secs(15 * 60));
        assert_eq!(node.log_in_from(place, EMAIL, PASSWORD).await.status, 201);
        let refused = "SELECT COUNT(*) AS n FROM kernel_audit WHERE action = 'staff.log_in_refused'";
        assert_eq!(cx.count(refused).await, 50, "each attempt that reached the password");
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM kernel_audit WHERE detail LIKE '%203.0.113%'").await, 0);
    }

    async fn a_session_ends_twelve_hours_after_its_last_use(cx) {
        let node = Node::with_owner(&cx).await;
        let (used, unused) = (node.token().await, node.token().await);
        for _ in 0..3 {
            cx.clock.advance(11 * HOUR);
            assert_eq!(node.me(&used).await.status, 200);
        }
        let ended = node.me(&unused).await;
        assert_eq!((ended.status, ended.code().as_str()), (401, "staff.session_invalid"));
        assert_eq!(ended.headers["www-authenticate"], "Bearer realm=\"huika\"");
        cx.clock.advance(12 * HOUR);
        assert_eq!(node.me(&used).await.status, 401);
    }

    async fn using_a_session_writes_at_most_once_a_minute(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let mut ends = std::collections::BTreeSet::new();
        for _ in 0..24 {
            cx.clock.advance(Duration::from_secs(10));
            assert_eq!(node.me(&token).await.status, 200);
            ends.insert(cx.count("SELECT expires_at AS n FROM staff_session").await);
        }
        assert_eq!(ends.len(), 5, "the first end and one for each of four minutes: {ends:?}");
    }

    async fn a_session_that_was_logged_out_opens_nothing(cx) {
        let node = Node::with_owner(&cx).await;
        let other_node = Node::new(&cx);
        let (token, kept) = (node.token().await, node.token().await);
        assert_eq!(other_node.me(&token).await.status, 200);
        let out = async |token: &str| {
            node.with_token(Method::DELETE, "/api/admin/v1/sessions/current", token, Value::Null).await.status
        };
        assert_eq!(out(&token).await, 204);
        assert_eq!(node.me(&token).await.status, 401, "at once on the same node");
        assert_eq!(out(&token).await, 401);
        cx.clock.advance(Duration::from_secs(10));
        assert_eq!(other_node.me(&token).await.status, 401, "within ten seconds on another");
        assert_eq!(node.me(&kept).await.status, 200, "other sessions go on");
        let actions: Vec<String> =
            list_audit(&mut &cx.db, None, 10).await.unwrap().into_iter().map(|entry| entry.action).collect();
        assert_eq!(actions, ["staff.log_out", "staff.log_in", "staff.log_in", "staff.create_owner"]);
    }

    async fn the_audit_log_carries_the_trace_of_the_request(cx) {
        let node = Node::with_owner(&cx).await;
        let answer = node.log_in(EMAIL, PASSWORD).await;
        let entry = list_audit(&mut &cx.db, None, 1).await.unwrap().remove(0);
        assert_eq!(entry.trace_id.as_deref(), Some(answer.headers["trace-id"].to_str().unwrap()));
        assert_eq!((entry.actor.as_str(), entry.subject), (&*answer.text("/operator/id"), answer.text("/operator/id")));
    }

    async fn made_up_tokens_and_other_schemes_are_refused(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        for header in ["Bearer ".to_owned(), "Bearer hst_x".into(), format!("Basic {token}"), token.clone(), format!("Bearer {token}x")] {
            let answer = node.send(Method::GET, "/api/admin/v1/operators/me", &[("authorization", &header)], "").await;
            assert_eq!(answer.code(), "staff.session_invalid", "{header}");
        }
        let none = node.send(Method::GET, "/api/admin/v1/operators/me", &[], "").await;
        assert_eq!(none.code(), "access.unauthenticated");
        let any_case = node.send(Method::GET, "/api/admin/v1/operators/me", &[("authorization", &format!("bearer {token}"))], "").await;
        assert_eq!(any_case.status, 200);
    }

    async fn what_has_ended_is_removed(cx) {
        let node = Node::with_owner(&cx).await;
        node.token().await;
        node.log_in("nobody@example.com", "wrong").await;
        assert_eq!(node.staff.tidy().await.unwrap(), 0);
        cx.clock.advance(Duration::from_secs(15 * 60));
        assert_eq!(node.staff.tidy().await.unwrap(), 1, "the window of failures");

        // By itself, once the worker has a schedule for it.
        let mut worker = Worker::new(cx.db.clone(), cx.ids.clone());
        worker.handlers.push(Arc::new(jobs::Tidy(node.staff.clone())));
        worker.schedules = jobs::schedules();
        worker.run_due().await.unwrap();
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM staff_session").await, 1, "kept for a week after its end");
        cx.clock.advance(8 * 24 * HOUR);
        assert_eq!(worker.run_due().await.unwrap(), 1);
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM staff_session").await, 0);
    }
}
