//! The audit log.

use std::time::Duration;

use huika_core::Actor;
use huika_db::{
    DbError,
    audit::{AuditEntry, in_trace, list_audit, record_audit_in_tx},
};
use huika_testing::TestDb;
use serde_json::json;

async fn record(cx: &TestDb, subject: &str) {
    let actor = &Actor::system("test");
    let done: Result<(), DbError> = cx
        .db
        .run_tx("test.audit", |tx| {
            Box::pin(async move {
                let detail = json!({ "before": 1, "after": "二" });
                let entry = AuditEntry {
                    actor,
                    action: "cups.wash",
                    subject: subject.into(),
                    detail,
                };
                record_audit_in_tx(tx, &cx.ids, entry).await
            })
        })
        .await;
    done.unwrap();
}

huika_testing::db_test! {
    async fn entries_are_listed_latest_first_and_page_by_page(cx) {
        for number in 0..5 {
            // Three of one millisecond, then two later ones.
            if number > 2 {
                cx.clock.advance(Duration::from_secs(1));
            }
            record(&cx, &format!("cup_{number}")).await;
        }
        let mut subjects = Vec::new();
        let mut before = None;
        loop {
            let page = list_audit(&mut &cx.db, before, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some((last.recorded_at, last.id));
            subjects.extend(page.into_iter().map(|entry| entry.subject));
        }
        assert_eq!(subjects, ["cup_4", "cup_3", "cup_2", "cup_1", "cup_0"]);
    }

    async fn an_entry_carries_the_trace_of_its_request(cx) {
        in_trace("trace-1".into(), record(&cx, "cup_1")).await;
        record(&cx, "cup_2").await;
        let entries = list_audit(&mut &cx.db, None, 10).await.unwrap();
        let traces: Vec<_> = entries.iter().map(|entry| entry.trace_id.as_deref()).collect();
        assert_eq!(traces, [None, Some("trace-1")]);
        assert_eq!((entries[0].actor.as_str(), entries[0].action.as_str()), ("system:test", "cups.wash"));
        assert_eq!(entries[0].detail, json!({ "before": 1, "after": "二" }));
    }
}
