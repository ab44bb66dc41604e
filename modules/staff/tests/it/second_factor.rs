//! The second factor: codes of a device, each once, and recovery codes.

use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use huika_core::Actor;
use huika_testing::{TestDb, db_test};
use serde_json::json;
use sha1::Sha1;

use crate::rig::{Answer, EMAIL, Node, PASSWORD};

const PATH: &str = "/api/admin/v1/operators/me/second-factor";
const STEP: Duration = Duration::from_secs(30);

/// What a device shows now, computed apart from the code under test.
fn shown(cx: &TestDb, secret: &str) -> String {
    let step = cx.clock.now().as_millis() / 30_000;
    let mut mac = Hmac::<Sha1>::new_from_slice(&BASE32_NOPAD.decode(secret.as_bytes()).unwrap()).unwrap();
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let at = usize::from(hash[19] & 15);
    let number = hash[at..at + 4]
        .iter()
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
}

async fn log_in(node: &Node, code: Option<&str>) -> Answer {
    let body = json!({ "email": EMAIL, "password": PASSWORD, "code": code }).to_string();
    node.send(axum::http::Method::POST, "/api/admin/v1/sessions", &[], &body)
        .await
}

/// Sets a device up: its secret and the recovery codes.
async fn set_up(cx: &TestDb, node: &Node, token: &str) -> (String, Vec<String>) {
    let begun = node.post(PATH, token, json!({ "password": PASSWORD })).await;
    assert_eq!(begun.status, 201, "{}", begun.body);
    let secret = begun.text("/secret");
    assert!(begun.text("/uri").contains(&secret));
    let confirmed = node
        .post(
            &format!("{PATH}/confirm"),
            token,
            json!({ "code": shown(cx, &secret) }),
        )
        .await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    let codes = confirmed.body["recovery_codes"].as_array().unwrap();
    (
        secret,
        codes
            .iter()
            .map(|code| code.as_str().unwrap().to_owned())
            .collect(),
    )
}

db_test! { migrations = huika_staff::migrations,
    async fn a_device_is_asked_for_once_it_has_shown_a_code(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        assert_eq!(node.post(PATH, &token, json!({ "password": "wrong" })).await.code(), "staff.password_wrong");
        let confirm = format!("{PATH}/confirm");
        assert_eq!(node.post(&confirm, &token, json!({ "code": "123456" })).await.code(), "staff.second_factor_missing");
        // Begun twice: only the device of the last time counts.
        let first = node.post(PATH, &token, json!({ "password": PASSWORD })).await.text("/secret");
        assert_eq!(log_in(&node, None).await.status, 201, "nothing is asked for yet");
        cx.clock.advance(Duration::from_millis(1));
        let secret = node.post(PATH, &token, json!({ "password": PASSWORD })).await.text("/secret");
        assert_eq!(node.post(&confirm, &token, json!({ "code": shown(&cx, &first) })).await.code(), "staff.code_refused");
        assert_eq!(node.me(&token).await.body["has_second_factor"], json!(false));
        assert_eq!(node.post(&confirm, &token, json!({ "code": shown(&cx, &secret) })).await.status, 200);
        assert_eq!(node.me(&token).await.body["has_second_factor"], json!(true));
        assert_eq!(node.post(PATH, &token, json!({ "password": PASSWORD })).await.code(), "staff.second_factor_exists");
        assert_eq!(node.post(&confirm, &token, json!({ "code": shown(&cx, &secret) })).await.code(), "staff.second_factor_exists");

        assert_eq!(log_in(&node, None).await.code(), "staff.code_needed");
        assert_eq!(log_in(&node, Some(&shown(&cx, &secret))).await.code(), "staff.code_refused", "it was used to confirm");
        cx.clock.advance(STEP);
        let code = shown(&cx, &secret);
        assert_eq!(log_in(&node, Some(&format!(" {code} "))).await.status, 201);
        assert_eq!(log_in(&node, Some(&code)).await.code(), "staff.code_refused");
        let refused = "SELECT COUNT(*) AS n FROM kernel_audit WHERE action = 'staff.log_in_refused'";
        assert_eq!(cx.count(refused).await, 3);
    }

    async fn a_code_opens_one_session_however_many_try(cx) {
        let node = Node::with_owner(&cx).await;
        let other = Node::on(&cx, cx.second_pool().await, huika_staff::NonceStore::in_process(cx.clock.now()));
        let token = node.token().await;
        let (secret, recovery) = set_up(&cx, &node, &token).await;
        cx.clock.advance(STEP);
        for code in [shown(&cx, &secret), recovery[0].clone()] {
            let before = cx.count("SELECT COUNT(*) AS n FROM staff_session").await;
            let answers = futures::future::join_all((0..6).map(|number| {
                let (node, code) = (if number % 2 == 0 { &node } else { &other }, &code);
                async move { log_in(node, Some(code)).await.code() }
            }))
            .await;
            assert_eq!(answers.iter().filter(|answer| *answer == "201").count(), 1, "{answers:?}");
            assert_eq!(cx.count("SELECT COUNT(*) AS n FROM staff_session").await, before + 1);
        }
    }

    async fn recovery_codes_stand_in_for_the_device_once_each(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let (_, recovery) = set_up(&cx, &node, &token).await;
        assert_eq!(recovery.len(), 10);
        for code in &recovery {
            assert_eq!(log_in(&node, Some(&code.to_uppercase())).await.status, 201);
            assert_eq!(log_in(&node, Some(code)).await.code(), "staff.code_refused");
        }
        for code in &recovery {
            let stored = format!("SELECT COUNT(*) AS n FROM staff_recovery_code WHERE code_index LIKE '%{}%'", code.replace('-', ""));
            assert_eq!(cx.count(&stored).await, 0, "no code is stored in clear");
        }
    }

    async fn codes_are_not_guessed(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let (secret, _) = set_up(&cx, &node, &token).await;
        cx.clock.advance(STEP);
        let right = shown(&cx, &secret);
        let wrong = if right == "000000" { "000001" } else { "000000" };
        let remove = json!({ "password": PASSWORD, "code": wrong });
        // With the right password: by log-in and by a session that was left open, counted together.
        for _ in 0..5 {
            assert_eq!(log_in(&node, Some(wrong)).await.code(), "staff.code_refused");
            assert_eq!(node.post(&format!("{PATH}/remove"), &token, remove.clone()).await.code(), "staff.code_refused");
        }
        assert_eq!(log_in(&node, Some(&right)).await.status, 429);
        assert_eq!(node.post(&format!("{PATH}/remove"), &token, remove).await.status, 429);
    }

    async fn a_device_is_removed_by_its_operator_and_reset_by_another(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let me = node.me(&token).await.text("/id");
        let (secret, recovery) = set_up(&cx, &node, &token).await;
        cx.clock.advance(STEP);
        let remove = |password: &str, code: &str| json!({ "password": password, "code": code });
        let path = format!("{PATH}/remove");
        assert_eq!(node.post(&path, &token, remove("wrong", &shown(&cx, &secret))).await.code(), "staff.password_wrong");
        assert_eq!(node.post(&path, &token, remove(PASSWORD, &shown(&cx, &secret))).await.status, 204);
        assert_eq!(node.post(&path, &token, remove(PASSWORD, &recovery[0])).await.code(), "staff.second_factor_missing");
        assert_eq!(log_in(&node, None).await.status, 201);

        let (_, second) = node.operator(&token, "second@example.com", json!({ "is_owner": true })).await;
        let (_, clerk) = node.operator(&token, "clerk@example.com", json!({})).await;
        set_up(&cx, &node, &token).await;
        let reset = format!("/api/admin/v1/operators/{me}/second-factor");
        assert_eq!(node.delete(&reset, &token).await.code(), "staff.second_factor_own");
        assert_eq!(node.delete(&reset, &clerk).await.code(), "access.denied");
        assert_eq!(node.delete(&reset, &second).await.status, 204);
        assert_eq!(node.delete(&reset, &second).await.code(), "staff.second_factor_missing");
        assert_eq!(node.me(&token).await.status, 401);
        assert_eq!(log_in(&node, None).await.status, 201);
    }

    async fn whoever_holds_the_machine_helps_an_owner_without_a_device(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        set_up(&cx, &node, &token).await;
        let actor = Actor::system("owner");
        assert!(node.staff.reset_owner_password(&actor, PASSWORD.to_owned()).await.unwrap());
        assert_eq!(log_in(&node, None).await.status, 201);
        assert_eq!(cx.fetch_all("SELECT operator_id FROM staff_recovery_code").await.len(), 0);
    }
}
