//! Backups: from every engine to every other one, whole or not at all.

use std::io::{BufRead, Cursor};

use huika_core::Actor;
use huika_db::{
    DbError, Engine, Migration, NodeLease,
    audit::{AuditEntry, record_audit_in_tx},
    backup::{BackupError, BackupReport, RestoreReport, backup, restore},
    jobs::{NewJob, enqueue_all_in_tx},
    kernel_migrations, migrate, params, pending_migrations,
};
use huika_testing::TestDb;
use serde_json::json;

use crate::support::{cups, insert_of};

fn all() -> Vec<Migration> {
    kernel_migrations().into_iter().chain(cups()).collect()
}

/// Rows of every kind: NULLs, long texts, all bytes, the ends of the numbers, and more than one batch of them.
async fn fill(cx: &TestDb) {
    let actor = &Actor::system("test");
    let done: Result<(), DbError> = cx
        .db
        .run_tx("test.fill", |tx| {
            Box::pin(async move {
                let numbers = [i64::MIN, -1, 0, i64::MAX];
                let mut rows = vec![(
                    1,
                    "\"'\\".to_owned(),
                    Some("\"'\\\n\t☕é".to_owned()),
                    None,
                    None,
                    0,
                )];
                for at in 0..1_100_i64 {
                    let bytes = (0..=63).map(|byte| (byte * 4 + at) as u8).collect();
                    let amount = numbers[at as usize % 4];
                    rows.push((at, format!("c{at}"), None, Some(amount), Some(bytes), at));
                }
                rows.push((2, "empty".into(), Some(String::new()), None, Some(Vec::new()), 0));
                tx.insert(insert_of(&rows)).await?;
                let now = tx.db().clock().now();
                let job = |queue: &str, payload: String, key: Option<&str>| NewJob {
                    queue: queue.to_owned().into(),
                    payload,
                    run_at: now,
                    unique_key: key.map(str::to_owned),
                };
                let jobs = vec![
                    job("a", "杯".repeat(100_000), None),
                    job("b", "{}".into(), Some("key")),
                ];
                enqueue_all_in_tx(tx, &cx.ids, jobs).await?;
                let detail = json!({ "n": 1 });
                let entry = AuditEntry {
                    actor,
                    action: "cups.fill",
                    subject: "cup_1".into(),
                    detail,
                };
                record_audit_in_tx(tx, &cx.ids, entry).await
            })
        })
        .await;
    done.unwrap();
    NodeLease::acquire(&cx.db).await.unwrap();
}

async fn take(cx: &TestDb, known: &[Migration]) -> (Vec<u8>, BackupReport) {
    let mut file = Vec::new();
    let report = backup(&cx.db, known, &mut file).await.unwrap();
    (file, report)
}

async fn put_back(cx: &TestDb, known: &[Migration], file: &[u8]) -> Result<RestoreReport, BackupError> {
    let file = file.to_vec();
    restore(&cx.db, known, move || {
        Ok(Box::new(Cursor::new(file.clone())) as Box<dyn BufRead + Send>)
    })
    .await
}

/// The rows behind each header, sorted, since engines keep them in different orders.
fn contents(file: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut contents: Vec<String> = Vec::new();
    let mut header = "";
    for line in &lines[1..lines.len() - 1] {
        if line.starts_with('{') {
            header = line;
        }
        contents.push(format!("{header} {line}"));
    }
    contents.sort();
    contents
}

huika_testing::db_test! { migrations = cups,
    async fn a_backup_restores_on_every_engine(cx) {
        fill(&cx).await;
        let (file, taken) = take(&cx, &all()).await;
        // An audit entry stands there with the row that asks for its seal.
        assert_eq!(taken.rows, 1_102 + 2 + 2);
        for engine in [Engine::Sqlite, Engine::Postgres, Engine::Mysql] {
            let Some(target) = TestDb::open(engine).await else { continue };
            let restored = put_back(&target, &all(), &file).await.unwrap();
            assert_eq!((restored.rows, restored.tables), (taken.rows, taken.tables));
            assert_eq!((restored.engine.as_str(), restored.created_at), (cx.db.engine().name(), cx.clock.now()));
            let (again, _) = take(&target, &all()).await;
            assert!(contents(&again) == contents(&file), "{engine:?} holds other rows");
            assert_eq!(target.count("SELECT COUNT(*) AS n FROM kernel_node").await, 0, "leases are not carried");
        }
    }

    async fn a_database_that_holds_rows_is_refused(cx) {
        let (file, _) = take(&cx, &all()).await;
        cx.execute("INSERT INTO test_cup (shop, code, sequence) VALUES (1, 'a', 0)", params![]).await;
        let refused = put_back(&cx, &all(), &file).await;
        assert!(matches!(refused, Err(BackupError::Refused(_))), "{refused:?}");
    }

    async fn an_empty_database_with_tables_is_filled(cx) {
        let (file, _) = take(&cx, &all()).await;
        assert_eq!(put_back(&cx, &all(), &file).await.unwrap().rows, 0);
    }

    async fn a_backup_needs_the_program_of_its_database(cx) {
        let refused = backup(&cx.db, &kernel_migrations(), Vec::new()).await;
        assert!(matches!(refused, Err(BackupError::Refused(_))), "{refused:?}");
    }
}

huika_testing::db_test! { unmigrated,
    async fn an_older_backup_is_restored_and_migrated_on(cx) {
        let Some(older) = TestDb::open(cx.db.engine()).await else { return };
        older.migrate(&[]).await;
        let (file, _) = take(&older, &kernel_migrations()).await;
        put_back(&cx, &all(), &file).await.unwrap();
        assert_eq!(pending_migrations(&cx.db, &all()).await.unwrap().len(), 0);
        // But not into tables that it does not know.
        let refused = put_back(&cx, &all(), &file).await;
        assert!(matches!(refused, Err(BackupError::Refused(_))), "{refused:?}");
    }

    async fn a_newer_backup_is_refused(cx) {
        migrate(&cx.db, &all()).await.unwrap();
        let (file, _) = take(&cx, &all()).await;
        let Some(target) = TestDb::open(cx.db.engine()).await else { return };
        let refused = put_back(&target, &kernel_migrations(), &file).await;
        assert!(matches!(refused, Err(BackupError::Refused(_))), "{refused:?}");
    }

    async fn a_truncated_or_altered_file_changes_nothing(cx) {
        let source = TestDb::sqlite().await;
        source.migrate(&cups()).await;
        source.execute("INSERT INTO test_cup (shop, code, sequence) VALUES (1, 'first', 0)", params![]).await;
        source.execute("INSERT INTO test_cup (shop, code, sequence) VALUES (2, 'second', 0)", params![]).await;
        let (file, _) = take(&source, &all()).await;
        let ends: Vec<usize> = (0..file.len()).filter(|at| file[*at] == b'\n').collect();
        let mut bad: Vec<Vec<u8>> = vec![Vec::new()];
        for end in &ends[..ends.len() - 1] {
            bad.push(file[..=*end].to_vec());
            bad.push(file[..*end].to_vec());
        }
        bad.push(file[..file.len() - 3].to_vec());
        bad.push([file.as_slice(), b"\n"].concat());
        let text = String::from_utf8(file.clone()).unwrap();
        for (from, to) in [
            ("first", "fir5t"),
            ("[1,\"first\"", "[3,\"first\""),
            ("[1,\"first\"", "[\"1\",\"first\""),
            ("[1,\"first\"", "[1.5,\"first\""),
            ("[1,\"first\"", "[\"first\""),
            ("\"rows\":2", "\"rows\":3"),
            ("\"engine\":\"sqlite\"", "\"engine\":\"mysql\""),
            ("test_cup", "test_mug"),
        ] {
            assert!(text.contains(from), "{from}");
            bad.push(text.replacen(from, to, 1).into_bytes());
        }
        // One row less, one table less, two rows exchanged.
        let lines: Vec<&str> = text.lines().collect();
        for (skipped, line) in lines.iter().enumerate() {
            let rest: Vec<&str> = lines.iter().enumerate().filter(|(at, _)| *at != skipped).map(|(_, l)| *l).collect();
            bad.push((rest.join("\n") + "\n").into_bytes());
            if line.contains("first") {
                let mut exchanged = lines.clone();
                exchanged.swap(skipped, skipped + 1);
                bad.push((exchanged.join("\n") + "\n").into_bytes());
            }
        }
        for file in bad {
            let refused = put_back(&cx, &all(), &file).await;
            let text = String::from_utf8_lossy(&file);
            assert!(matches!(refused, Err(BackupError::Damaged { .. })), "{refused:?} for\n{text}");
        }
        assert_eq!(pending_migrations(&cx.db, &all()).await.unwrap().len(), all().len(), "nothing was made");
        assert_eq!(put_back(&cx, &all(), &file).await.unwrap().rows, 2);
    }

    async fn a_failing_reader_is_reported(cx) {
        let failed = restore(&cx.db, &all(), || Err(std::io::Error::other("no such file"))).await;
        assert!(matches!(failed, Err(BackupError::Io(_))), "{failed:?}");
    }
}
