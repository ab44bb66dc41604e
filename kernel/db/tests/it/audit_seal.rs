//! The chain over the audit log: each entry once, in one order, and whatever is altered is found.

use std::collections::BTreeSet;

use huika_core::Actor;
use huika_db::{
    Db, DbError, Tx,
    audit::{AuditEntry, AuditVerification, SealAudit, record_audit_in_tx, seal_audit, verify_audit_in_tx},
    jobs::{JobHandler as _, Worker},
    params,
};
use huika_testing::{TestDb, db_test};
use serde_json::json;

async fn record_in_tx(tx: &mut Tx<'_>, cx: &TestDb, subject: &str) -> Result<(), DbError> {
    let entry = AuditEntry {
        actor: &Actor::system("test"),
        action: "cups.wash",
        subject: subject.into(),
        detail: json!({ "b": 1, "a": "二" }),
    };
    record_audit_in_tx(tx, &cx.ids, entry).await
}

async fn record(cx: &TestDb, db: &Db, subject: &str) {
    let done: Result<(), DbError> = db
        .run_tx("test.audit", |tx| Box::pin(record_in_tx(tx, cx, subject)))
        .await;
    done.unwrap();
}

async fn seal_all(db: &Db) {
    while seal_audit(db).await.unwrap() > 0 {}
}

async fn verify(cx: &TestDb) -> AuditVerification {
    let checked: Result<_, DbError> = cx.db.run_snapshot(|tx| Box::pin(verify_audit_in_tx(tx))).await;
    checked.unwrap()
}

/// The problems in order, with the subject-less row left out.
fn problems(report: &AuditVerification) -> Vec<&'static str> {
    report
        .first_findings
        .iter()
        .map(|finding| finding.problem)
        .collect()
}

db_test! {
    async fn every_entry_is_sealed_once_in_one_order(cx) {
        let empty = verify(&cx).await;
        assert!(empty.is_clean() && empty.sealed == 0);
        for number in 0..7 {
            record(&cx, &cx.db, &format!("cup_{number}")).await;
        }
        assert_eq!((verify(&cx).await.sealed, verify(&cx).await.waiting), (0, 7));
        seal_all(&cx.db).await;
        let first = verify(&cx).await;
        assert_eq!((first.sealed, first.waiting, first.findings), (7, 0, 0), "{first:?}");
        assert_eq!(seal_audit(&cx.db).await.unwrap(), 0, "a second time there is nothing to do");
        assert_eq!(verify(&cx).await.digest, first.digest);
        record(&cx, &cx.db, "cup_7").await;
        seal_all(&cx.db).await;
        let second = verify(&cx).await;
        assert!(second.is_clean() && second.sealed == 8 && second.digest != first.digest);
    }

    /// Ids are drawn before the commit: an entry may appear behind others that are sealed already.
    async fn what_commits_late_is_sealed_all_the_same(cx) {
        let late = cx.ids.next::<huika_db::audit::AuditKind>();
        record(&cx, &cx.db, "cup_1").await;
        seal_all(&cx.db).await;
        for sql in [
            "INSERT INTO kernel_audit (audit_id, actor, action, subject, detail, trace_id, recorded_at) \
             VALUES (?, 'opr_1', 'cups.wash', 'cup_0', '{}', NULL, 1)",
            "INSERT INTO kernel_audit_unsealed (audit_id) VALUES (?)",
        ] {
            cx.execute(sql, params![late]).await;
        }
        seal_all(&cx.db).await;
        let report = verify(&cx).await;
        assert_eq!((report.sealed, report.waiting, report.findings), (2, 0, 0), "{report:?}");
    }

    async fn many_sealers_beside_many_writers_leave_one_chain(cx) {
        let other = cx.second_pool().await;
        let writers = futures::future::join_all((0..4).map(|writer| {
            let (cx, db) = (&cx, if writer % 2 == 0 { &cx.db } else { &other });
            async move {
                for number in 0..10 {
                    record(cx, db, &format!("cup_{writer}_{number}")).await;
                }
            }
        }));
        let sealers = futures::future::join_all((0..3).map(|sealer| {
            let db = if sealer % 2 == 0 { &cx.db } else { &other };
            async move {
                for _ in 0..6 {
                    // Whoever collides ten times leaves it to the others.
                    let _ = seal_audit(db).await;
                }
            }
        }));
        futures::join!(writers, sealers);
        seal_all(&cx.db).await;
        let report = verify(&cx).await;
        assert_eq!((report.sealed, report.waiting, report.findings), (40, 0, 0), "{report:?}");
    }

    async fn more_than_a_batch_is_sealed_and_checked(cx) {
        let done: Result<(), DbError> = cx.db.run_tx("test.audit", |tx| {
            let cx = &cx;
            Box::pin(async move {
                for number in 0..310 {
                    record_in_tx(tx, cx, &format!("cup_{number}")).await?;
                }
                Ok(())
            })
        }).await;
        done.unwrap();
        seal_all(&cx.db).await;
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM kernel_audit_unsealed").await, 0);
        let report = verify(&cx).await;
        assert_eq!((report.sealed, report.findings), (310, 0), "{report:?}");
    }

    async fn whatever_is_altered_is_found_and_named(cx) {
        // statement, what is found
        for (sql, found) in [
            ("UPDATE kernel_audit SET actor = 'opr_2' WHERE subject = 'cup_3'", "the entry or its seal was altered"),
            ("UPDATE kernel_audit SET detail = '{\"a\":\"二\",\"b\":2}' WHERE subject = 'cup_3'", "the entry or its seal was altered"),
            ("UPDATE kernel_audit SET recorded_at = recorded_at - 1 WHERE subject = 'cup_3'", "the entry or its seal was altered"),
            ("UPDATE kernel_audit SET trace_id = '' WHERE subject = 'cup_3'", "the entry or its seal was altered"),
            ("DELETE FROM kernel_audit WHERE subject = 'cup_3'", "the entry was removed: its seal is still there"),
            ("DELETE FROM kernel_audit_seal WHERE position = 3", "the position is missing"),
            (
                "INSERT INTO kernel_audit (audit_id, actor, action, subject, detail, trace_id, recorded_at) \
                 VALUES (5, 'opr_2', 'cups.wash', 'cup_9', '{}', NULL, 1)",
                "the entry was inserted beside the log: no seal is due for it",
            ),
        ] {
            cx.execute("DELETE FROM kernel_audit", params![]).await;
            cx.execute("DELETE FROM kernel_audit_seal", params![]).await;
            cx.execute("DELETE FROM kernel_audit_unsealed", params![]).await;
            for number in 0..6 {
                record(&cx, &cx.db, &format!("cup_{number}")).await;
            }
            seal_all(&cx.db).await;
            assert!(verify(&cx).await.is_clean());
            assert!(cx.execute(sql, params![]).await == 1, "{sql}");
            let report = verify(&cx).await;
            assert!(problems(&report).contains(&found), "{sql}: {report:?}");
            let named: BTreeSet<&str> = report.first_findings.iter().map(|finding| finding.row.as_str()).collect();
            assert!(named.iter().all(|row| row.starts_with("kernel_audit")), "{report:?}");
        }
        // Taken away before its seal, with its announcement still there.
        record(&cx, &cx.db, "cup_8").await;
        cx.execute("DELETE FROM kernel_audit WHERE subject = 'cup_8'", params![]).await;
        assert!(problems(&verify(&cx).await).contains(&"the entry was removed before it was sealed"));
    }

    async fn entries_of_an_older_program_are_adopted_by_the_daily_job(cx) {
        for number in 0..3 {
            record(&cx, &cx.db, &format!("cup_{number}")).await;
        }
        cx.execute("DELETE FROM kernel_audit_unsealed", params![]).await;
        seal_all(&cx.db).await;
        assert_eq!(verify(&cx).await.findings, 3);

        let mut worker = Worker::new(cx.db.clone(), cx.ids.clone());
        let handler = SealAudit(cx.db.clone());
        assert_eq!(handler.queue(), huika_db::audit::SEAL_QUEUE);
        worker.handlers.push(std::sync::Arc::new(handler));
        worker.schedules = huika_db::audit::schedules();
        worker.run_due().await.unwrap();
        cx.clock.advance(std::time::Duration::from_secs(24 * 3_600));
        worker.run_due().await.unwrap();
        let report = verify(&cx).await;
        assert_eq!((report.sealed, report.waiting, report.findings), (3, 0, 0), "{report:?}");

        // Announced although it is sealed: the row goes, the chain stays.
        cx.execute("INSERT INTO kernel_audit_unsealed (audit_id) SELECT audit_id FROM kernel_audit_seal", params![]).await;
        seal_all(&cx.db).await;
        assert_eq!((verify(&cx).await.sealed, verify(&cx).await.digest), (3, report.digest));
    }
}
