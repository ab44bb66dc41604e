//! `run_tx`: again after a collision, never after a refusal.

use std::sync::atomic::{AtomicU32, Ordering};

use huika_db::{DbError, Executor as _, dialect::Update, params};

use crate::support::{TestError, cups, insert_of, read_cups};

huika_testing::db_test! { migrations = cups,
    async fn a_stale_transaction_runs_again_without_its_first_effects(cx) {
        let runs = &AtomicU32::new(0);
        let done: Result<u32, DbError> = cx.db.run_tx("test.stale", |tx| Box::pin(async move {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            tx.insert(insert_of(&[(i64::from(run), "a".into(), None, None, None, 0)])).await?;
            if run < 2 { Err(DbError::Stale("test_cup")) } else { Ok(run) }
        })).await;
        assert_eq!(done.unwrap(), 2);
        assert_eq!(read_cups(&cx).await, [(2, "a".to_owned(), None, None, None, 0)]);
    }

    async fn a_refusal_rolls_back_and_runs_once(cx) {
        let runs = &AtomicU32::new(0);
        let done: Result<(), TestError> = cx.db.run_tx("test.refused", |tx| Box::pin(async move {
            runs.fetch_add(1, Ordering::SeqCst);
            tx.insert(insert_of(&[(1, "a".into(), None, None, None, 0)])).await?;
            Err(TestError::Refused)
        })).await;
        assert!(matches!(done, Err(TestError::Refused)));
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert_eq!(read_cups(&cx).await, []);
    }

    /// The error that the body wraps is found, whatever it is wrapped in.
    async fn a_wrapped_collision_runs_again(cx) {
        let runs = &AtomicU32::new(0);
        let done: Result<(), TestError> = cx.db.run_tx("test.wrapped", |_| Box::pin(async move {
            match runs.fetch_add(1, Ordering::SeqCst) {
                0 => Err(TestError::Db(DbError::Stale("test_cup"))),
                _ => Ok(()),
            }
        })).await;
        assert!(done.is_ok());
    }

    async fn guarded_updates_of_one_row_all_count(cx) {
        cx.db.run_tx("test.insert", |tx| Box::pin(async move {
            tx.insert(insert_of(&[(1, "a".into(), None, Some(0), None, 0)])).await
        })).await.unwrap();
        let add = async || -> Result<(), DbError> {
            cx.db.run_tx("test.add", |tx| Box::pin(async move {
                let row = tx.fetch_one("SELECT amount, sequence FROM test_cup WHERE shop = 1", params![]).await?;
                let (amount, sequence): (i64, i64) = (row.get("amount")?, row.get("sequence")?);
                let mut update = Update::table("test_cup", &["amount", "sequence"], &["shop", "code", "sequence"]);
                update.push(params![amount + 1, sequence + 1, 1_i64, "a", sequence]);
                tx.update(update).await
            })).await
        };
        let all = futures::future::join_all((0..6).map(|_| add())).await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");
        assert_eq!(read_cups(&cx).await, [(1, "a".to_owned(), None, Some(6), None, 6)]);
    }

    async fn a_snapshot_does_not_see_later_commits(cx) {
        let cx = &cx;
        let seen: Result<Vec<i64>, DbError> = cx.db.run_snapshot(|tx| Box::pin(async move {
            let count = "SELECT COUNT(*) AS n FROM test_cup";
            let mut seen = vec![tx.fetch_one(count, params![]).await?.get("n")?];
            cx.execute("INSERT INTO test_cup (shop, code, sequence) VALUES (1, 'a', 0)", params![]).await;
            seen.push(tx.fetch_one(count, params![]).await?.get("n")?);
            Ok(seen)
        })).await;
        assert_eq!(seen.unwrap(), [0, 0]);
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM test_cup").await, 1);
    }
}
