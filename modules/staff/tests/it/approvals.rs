//! The routes of what waits for a second operator.

use std::sync::Arc;

use async_trait::async_trait;
use axum::{
    body::{Body, to_bytes},
    http::{Method, Request},
};
use huika_core::{Actor, Permission};
use huika_db::{
    Tx,
    approval::{
        Approvable, ApprovalError, ApprovalId, Approvals, Approved, HandlerRefusal, NewApproval,
        request_in_tx,
    },
};
use huika_http::{BodyLimit, HttpOptions, authenticated, finish};
use huika_staff::{STORES_MANAGE, http::approvals_router};
use huika_testing::{TestDb, db_test};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::rig::{Answer, Node};

const PATH: &str = "/api/admin/v1/approvals";

struct Echo;

#[async_trait]
impl Approvable for Echo {
    fn kind(&self) -> &'static str {
        "stores.move"
    }

    fn permission(&self) -> Permission {
        STORES_MANAGE
    }

    async fn execute_in_tx(&self, _: &mut Tx<'_>, approved: Approved<'_>) -> Result<Value, HandlerRefusal> {
        Ok(approved.command.clone())
    }
}

async fn send(cx: &TestDb, node: &Node, method: Method, path: &str, token: &str, body: Value) -> Answer {
    let approvals = Approvals::new(cx.db.clone(), cx.ids.clone(), vec![Arc::new(Echo)]);
    let inside = authenticated(
        approvals_router(approvals),
        Arc::new(node.staff.clone()),
        BodyLimit::DEFAULT,
    );
    let router = finish(
        inside.split_for_parts().0,
        HttpOptions::new(cx.clock.clone(), cx.rng.clone()),
    );
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"));
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let response = router
        .oneshot(request.body(Body::from(text)).unwrap())
        .await
        .unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).unwrap(),
    }
}

async fn ask(cx: &TestDb, actor: &Actor) -> ApprovalId {
    let command = &json!({ "to": "pudong" });
    let asked: Result<_, ApprovalError> = cx
        .db
        .run_tx("test.ask", |tx| {
            Box::pin(async move {
                let asked = NewApproval {
                    kind: "stores.move",
                    subject: "jingan",
                    command,
                };
                request_in_tx(tx, &cx.ids, actor, asked).await
            })
        })
        .await;
    asked.unwrap()
}

db_test! { migrations = huika_staff::migrations,
    async fn what_waits_is_shown_approved_and_refused(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let clerk = Actor::with_rights("opr_clerk", []);
        let (first, second) = (ask(&cx, &clerk).await, ask(&cx, &clerk).await);
        let get = async |path: &str| send(&cx, &node, Method::GET, path, &token, Value::Null).await;
        let post = async |path: &str, body: Value| send(&cx, &node, Method::POST, path, &token, body).await;

        let list = get(PATH).await;
        assert_eq!(list.body["items"].as_array().unwrap().len(), 2, "{}", list.body);
        let shown = get(&format!("{PATH}/{first}")).await;
        assert_eq!((shown.text("/state").as_str(), &shown.body["command"]), ("pending", &json!({ "to": "pudong" })));
        let approve = format!("{PATH}/{first}/approve");
        assert_eq!(post(&approve, json!({ "input_hash": "0".repeat(64) })).await.code(), "approvals.input_changed");
        assert_eq!(post(&approve, json!({ "input_hash": "0" })).await.code(), "request.invalid");
        let done = post(&approve, json!({ "input_hash": shown.text("/input_hash") })).await;
        assert_eq!((done.status, done.text("/state").as_str()), (200, "executed"), "{}", done.body);
        assert_eq!(done.body["result"], json!({ "to": "pudong" }));

        let refuse = format!("{PATH}/{second}/refuse");
        assert_eq!(post(&refuse, json!({ "reason": "" })).await.code(), "request.invalid");
        let refused = post(&refuse, json!({ "reason": "不合规" })).await;
        assert_eq!((refused.text("/state").as_str(), refused.text("/reason").as_str()), ("refused", "不合规"));
        assert_eq!(post(&refuse, json!({ "reason": "again" })).await.code(), "approvals.decided");
        assert_eq!(get(&format!("{PATH}?state=refused")).await.text("/items/0/id"), second.to_string());
        assert_eq!(get(&format!("{PATH}?state=pending")).await.body["items"], json!([]));
        assert_eq!(get(&format!("{PATH}/apr_0000000000001")).await.code(), "approvals.unknown");
    }
}
