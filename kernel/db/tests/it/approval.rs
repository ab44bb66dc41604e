//! Approval by a second operator.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use huika_core::{Actor, Permission, Problem, ProblemKind, Refusal};
use huika_db::{
    Db, DbError, Tx,
    approval::{
        Approvable, Approval, ApprovalError, ApprovalId, ApprovalState, Approvals, Approved, HandlerRefusal,
        NewApproval, request_in_tx,
    },
    audit::list_audit,
    params,
};
use huika_testing::{TestDb, db_test};
use serde_json::{Value, json};

const POUR: Permission = Permission {
    name: "cups.pour",
    en: "Fill cups",
    zh: "倒茶",
};

#[derive(Debug, thiserror::Error)]
#[error("the pot is empty")]
struct PotEmpty;

impl Refusal for PotEmpty {
    fn problem(&self) -> Problem {
        Problem::new(&ProblemKind {
            code: "cups.pot_empty",
            status: 409,
            en: "The pot is empty: make tea.",
            zh: "茶壶已空。",
        })
    }
}

/// Fills cups: a row per cup, with no key that would keep a second one out.
struct Pour;

#[async_trait]
impl Approvable for Pour {
    fn kind(&self) -> &'static str {
        "cups.pour"
    }

    fn permission(&self) -> Permission {
        POUR
    }

    async fn execute_in_tx(&self, tx: &mut Tx<'_>, approved: Approved<'_>) -> Result<Value, HandlerRefusal> {
        let cups = approved.command["cups"].as_i64().unwrap_or_default();
        tx.execute("UPDATE pot SET poured = poured + ?", params![cups])
            .await
            .map_err(HandlerRefusal::new)?;
        if cups > 10 {
            return Err(HandlerRefusal::new(PotEmpty));
        }
        Ok(json!({ "poured": cups, "for": approved.requested_by }))
    }
}

fn rights(id: &str, names: &[&str]) -> Actor {
    Actor::with_rights(id, names.iter().map(|name| (*name).to_owned()))
}

fn chief() -> Actor {
    rights("opr_chief", &["approvals.read", "approvals.decide", "cups.pour"])
}

async fn shop(cx: &TestDb) -> Approvals {
    cx.execute("CREATE TABLE pot (poured BIGINT NOT NULL)", params![])
        .await;
    cx.execute("INSERT INTO pot (poured) VALUES (0)", params![]).await;
    Approvals::new(cx.db.clone(), cx.ids.clone(), vec![Arc::new(Pour)])
}

async fn ask(cx: &TestDb, kind: &'static str, cups: i64) -> ApprovalId {
    let (actor, command) = (&rights("opr_waiter", &[]), &json!({ "cups": cups }));
    let asked = cx.db.run_tx("test.ask", |tx| {
        Box::pin(async move {
            let asked = NewApproval {
                kind,
                subject: "tbl_7",
                command,
            };
            request_in_tx(tx, &cx.ids, actor, asked).await
        })
    });
    asked.await.unwrap()
}

async fn poured(cx: &TestDb) -> i64 {
    cx.count("SELECT poured AS n FROM pot").await
}

async fn actions(cx: &TestDb) -> Vec<(String, String)> {
    let entries = list_audit(&mut &cx.db, None, 50).await.unwrap();
    entries
        .into_iter()
        .map(|entry| (entry.actor, entry.action))
        .collect()
}

fn code<T: std::fmt::Debug>(answer: Result<T, ApprovalError>) -> &'static str {
    answer.unwrap_err().problem().code
}

db_test! {
    async fn a_second_operator_approves_and_it_is_done_once(cx) {
        let approvals = shop(&cx).await;
        let id = ask(&cx, "cups.pour", 3).await;
        let seen = approvals.find(&chief(), id).await.unwrap();
        assert_eq!((seen.state, &seen.command, seen.requested_by.as_str()), (ApprovalState::Pending, &json!({ "cups": 3 }), "opr_waiter"));
        assert_eq!(poured(&cx).await, 0);

        let done = approvals.approve(&chief(), id, &seen.input_hash).await.unwrap();
        assert_eq!((done.state, done.decided_by.as_deref()), (ApprovalState::Executed, Some("opr_chief")));
        assert_eq!(done.result, Some(json!({ "poured": 3, "for": "opr_waiter" })));
        assert_eq!(code(approvals.approve(&chief(), id, &seen.input_hash).await), "approvals.decided");
        assert_eq!(code(approvals.refuse(&chief(), id, "late").await), "approvals.decided");
        assert_eq!(poured(&cx).await, 3);
        let expected = [("opr_chief", "approvals.approve"), ("opr_waiter", "approvals.request")];
        assert_eq!(actions(&cx).await, expected.map(|(actor, action)| (actor.to_owned(), action.to_owned())));
    }

    async fn of_many_who_decide_at_once_one_does(cx) {
        let approvals = shop(&cx).await;
        let other: Db = cx.second_pool().await;
        let elsewhere = Approvals::new(other, cx.ids.clone(), vec![Arc::new(Pour)]);
        for round in 1..=4 {
            let id = ask(&cx, "cups.pour", 1).await;
            let hash = approvals.find(&chief(), id).await.unwrap().input_hash;
            let deciders: Vec<Actor> = (0..8)
                .map(|number| rights(&format!("opr_{number}"), &["approvals.decide", "approvals.read", "cups.pour"]))
                .collect();
            let answers = futures::future::join_all(deciders.iter().enumerate().map(|(number, actor)| {
                let (node, hash) = (if number % 2 == 0 { &approvals } else { &elsewhere }, &hash);
                async move {
                    if number == 7 { node.refuse(actor, id, "no").await } else { node.approve(actor, id, hash).await }
                }
            }))
            .await;
            let won: Vec<&Approval> = answers.iter().flatten().collect();
            assert_eq!(won.len(), 1, "round {round}: {answers:?}");
            for lost in answers.iter().filter_map(|answer| answer.as_ref().err()) {
                assert_eq!(lost.problem().code, "approvals.decided", "{lost:?}");
            }
            let before = poured(&cx).await;
            let executed = cx.count("SELECT COUNT(*) AS n FROM kernel_approval WHERE state = 2").await;
            assert_eq!(before, executed, "done once for each that was approved");
        }
    }

    async fn who_may_not_decide_is_told_why(cx) {
        let approvals = shop(&cx).await;
        let id = ask(&cx, "cups.pour", 3).await;
        let hash = approvals.find(&chief(), id).await.unwrap().input_hash;
        let all = ["approvals.read", "approvals.decide", "cups.pour"];
        // actor, code
        for (actor, expected) in [
            (rights("opr_waiter", &all), "approvals.own_request"),
            (rights("apc_till", &all), "approvals.operator_needed"),
            (rights("opr_1", &["approvals.decide"]), "access.denied"),
            (rights("opr_2", &["cups.pour"]), "access.denied"),
        ] {
            assert_eq!(code(approvals.approve(&actor, id, &hash).await), expected, "{actor:?}");
            assert_eq!(code(approvals.refuse(&actor, id, "no").await), expected, "{actor:?}");
        }
        assert_eq!(code(approvals.find(&rights("opr_3", &[]), id).await), "access.denied");
        assert_eq!(code(approvals.find(&chief(), ApprovalId::from_i64(1)).await), "approvals.unknown");
        assert_eq!(poured(&cx).await, 0);
    }

    async fn what_was_not_seen_is_not_approved(cx) {
        let approvals = shop(&cx).await;
        let id = ask(&cx, "cups.pour", 3).await;
        let hash = approvals.find(&chief(), id).await.unwrap().input_hash;
        let other = "0".repeat(64);
        assert_eq!(code(approvals.approve(&chief(), id, &other).await), "approvals.input_changed");
        cx.execute("UPDATE kernel_approval SET command = '{\"cups\":9}'", params![]).await;
        assert_eq!(code(approvals.approve(&chief(), id, &hash).await), "approvals.input_changed");
        assert_eq!(poured(&cx).await, 0);
    }

    async fn what_the_handler_refuses_stays_pending_and_changes_nothing(cx) {
        let approvals = shop(&cx).await;
        let id = ask(&cx, "cups.pour", 11).await;
        let hash = approvals.find(&chief(), id).await.unwrap().input_hash;
        assert_eq!(code(approvals.approve(&chief(), id, &hash).await), "cups.pot_empty");
        assert_eq!(approvals.find(&chief(), id).await.unwrap().state, ApprovalState::Pending);
        assert_eq!(poured(&cx).await, 0);
        assert_eq!(actions(&cx).await.len(), 1, "only the request");
        let unknown = ask(&cx, "cups.break", 1).await;
        let hash = approvals.find(&chief(), unknown).await.unwrap().input_hash;
        assert_eq!(code(approvals.approve(&chief(), unknown, &hash).await), "approvals.kind_unknown");
    }

    async fn a_refusal_says_why_and_is_final(cx) {
        let approvals = shop(&cx).await;
        let id = ask(&cx, "cups.pour", 3).await;
        for reason in [" ", &"x".repeat(501)] {
            assert_eq!(code(approvals.refuse(&chief(), id, reason).await), "approvals.reason_invalid");
        }
        let refused = approvals.refuse(&chief(), id, " 不合规 ").await.unwrap();
        assert_eq!((refused.state, refused.reason.as_deref()), (ApprovalState::Refused, Some("不合规")));
        assert_eq!(code(approvals.approve(&chief(), id, &refused.input_hash).await), "approvals.decided");
        assert_eq!(poured(&cx).await, 0);
    }

    async fn after_seven_days_nobody_can_decide(cx) {
        let approvals = shop(&cx).await;
        let id = ask(&cx, "cups.pour", 3).await;
        let hash = approvals.find(&chief(), id).await.unwrap().input_hash;
        cx.clock.advance(Duration::from_secs(7 * 24 * 3_600) - Duration::from_millis(1));
        assert_eq!(approvals.list(&chief(), ApprovalState::Pending, None, 10).await.unwrap().len(), 1);
        cx.clock.advance(Duration::from_millis(1));
        assert_eq!(code(approvals.approve(&chief(), id, &hash).await), "approvals.decided");
        assert_eq!(code(approvals.refuse(&chief(), id, "late").await), "approvals.decided");
        assert_eq!(approvals.list(&chief(), ApprovalState::Pending, None, 10).await.unwrap(), []);
        let expired = approvals.list(&chief(), ApprovalState::Expired, None, 10).await.unwrap();
        assert_eq!((expired[0].id, expired[0].state), (id, ApprovalState::Expired));
        assert_eq!(poured(&cx).await, 0);
    }

    async fn lists_go_page_by_page_latest_first(cx) {
        let approvals = shop(&cx).await;
        let mut made = Vec::new();
        for number in 0..5 {
            cx.clock.advance(Duration::from_millis(number % 2));
            made.insert(0, ask(&cx, "cups.pour", 1).await);
        }
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = approvals.list(&chief(), ApprovalState::Pending, before, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some((last.requested_at, last.id));
            seen.extend(page.iter().map(|request| request.id));
        }
        assert_eq!(seen, made);
        assert_eq!(approvals.list(&chief(), ApprovalState::Executed, None, 9).await.unwrap(), []);
    }

    async fn a_command_has_a_limit(cx) {
        let command = &json!("x".repeat(70_000));
        let actor = &rights("opr_waiter", &[]);
        let asked: Result<ApprovalId, ApprovalError> = cx.db.run_tx("test.ask", |tx| {
            Box::pin(request_in_tx(tx, &cx.ids, actor, NewApproval { kind: "cups.pour", subject: "tbl_7", command }))
        }).await;
        assert_eq!(code(asked), "approvals.too_long");
        // A collision inside a handler is seen as one, and so runs again.
        let wrapped = ApprovalError::from(HandlerRefusal::new(DbError::Stale("pot")));
        assert!(std::error::Error::source(&wrapped).and_then(|inner| inner.source()).is_some_and(|cause| cause.is::<DbError>()));
    }
}
