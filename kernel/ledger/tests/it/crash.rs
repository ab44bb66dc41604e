//! What is left when a transaction does not end, or ends without the caller hearing of it.

use std::sync::atomic::{AtomicU32, Ordering};

use huika_db::DbError;
use huika_ledger::{LedgerError, Need};

use crate::counter::{Counter, DAY, earn, earn_until, hold, reverse_earn, spend};

const TABLES: [&str; 7] = [
    "ledger_account",
    "ledger_lot",
    "ledger_hold",
    "ledger_posting",
    "ledger_entry",
    "ledger_lot_entry",
    "ledger_reversal",
];

async fn rows(counter: &Counter) -> Vec<i64> {
    let mut rows = Vec::new();
    for table in TABLES {
        rows.push(
            counter
                .cx
                .count(&format!("SELECT COUNT(*) AS n FROM {table}"))
                .await,
        );
    }
    rows
}

huika_testing::db_test! { migrations = huika_ledger::migrations,

    async fn a_transaction_that_fails_after_saving_leaves_nothing(cx) {
        let counter = Counter::open(cx);
        let source = counter.done(vec![earn_until(100, counter.in_days(1)), earn(100)]).await.posting_id;
        counter.pass(DAY);
        let before = (rows(&counter).await, counter.points().await);

        let operations =
            vec![spend(10), hold(10, counter.in_days(1)), reverse_earn(source, 5, huika_ledger::NegativePolicy::TakeExisting)];
        let command = counter.command(operations);
        let (ledger, command) = (&counter.ledger, &command);
        let failed: Result<(), LedgerError> = counter
            .cx
            .db
            .run_tx("test.crash", |tx| {
                Box::pin(async move {
                    ledger.post_in_tx(tx, command).await?;
                    Err(LedgerError::Stopping)
                })
            })
            .await;
        assert!(matches!(failed, Err(LedgerError::Stopping)));
        assert_eq!((rows(&counter).await, counter.points().await), before);
        counter.assert_proven().await;

        // The key is free: the same command can still be carried out.
        assert!(!counter.ledger.post(command.clone()).await.unwrap().replayed);
        assert_eq!(counter.available().await, 75);
        counter.assert_proven().await;
    }

    /// The server may die between its commit and its answer. The caller sends the same again.
    async fn a_command_repeated_after_an_unheard_commit_gets_the_first_answer(cx) {
        let counter = Counter::open(cx);
        counter.done(vec![earn(100)]).await;
        let command = counter.command(vec![spend(30), hold(20, counter.in_days(1))]);
        let (ledger, command) = (&counter.ledger, &command);
        let first = counter
            .cx
            .db
            .run_tx("test.unheard", |tx| Box::pin(ledger.post_in_tx(tx, command)))
            .await
            .unwrap();
        let after = (rows(&counter).await, counter.points().await);

        // By either way, and also by another process.
        let by_post = ledger.post(command.clone()).await.unwrap();
        let by_tx = counter
            .cx
            .db
            .run_tx("test.again", |tx| Box::pin(ledger.post_in_tx(tx, command)))
            .await
            .unwrap();
        let second_pool = counter.cx.second_pool().await;
        let elsewhere = huika_ledger::Ledger::new(
            second_pool,
            huika_core::IdGenerator::new(counter.cx.clock.clone(), 1),
            &huika_db::BatchOptions::default(),
        );
        let by_another = elsewhere.post(command.clone()).await.unwrap();
        for again in [by_post, by_tx, by_another] {
            assert!(again.replayed);
            assert_eq!((again.posting_id, &again.entries), (first.posting_id, &first.entries));
        }
        assert_eq!((rows(&counter).await, counter.points().await), after);
        counter.assert_proven().await;
    }

    /// The body of a transaction runs again after a collision.
    async fn a_body_that_runs_twice_counts_once(cx) {
        let counter = Counter::open(cx);
        counter.done(vec![earn(100)]).await;
        let command = counter.command(vec![spend(30)]);
        let (ledger, command, tries) = (&counter.ledger, &command, &AtomicU32::new(0));
        let outcome = counter
            .cx
            .db
            .run_tx("test.twice", |tx| {
                Box::pin(async move {
                    let outcome = ledger.post_in_tx(tx, command).await?;
                    if tries.fetch_add(1, Ordering::SeqCst) == 0 {
                        return Err(LedgerError::Db(DbError::Stale("test")));
                    }
                    Ok(outcome)
                })
            })
            .await
            .unwrap();
        assert_eq!(tries.load(Ordering::SeqCst), 2);
        assert!(!outcome.replayed, "the first try was rolled back");
        assert_eq!(counter.available().await, 70);
        counter.assert_proven().await;
    }

    /// Two transactions read the same account and both want to write it: the row lock is an optimization,
    /// the sequence is the guard.
    async fn a_book_that_was_loaded_before_another_write_is_not_saved(cx) {
        let counter = Counter::open(cx);
        counter.done(vec![earn(100)]).await;
        let command = counter.command(vec![spend(100)]);
        let (ledger, command, tries) = (&counter.ledger, &command, &AtomicU32::new(0));
        let refused = counter
            .cx
            .db
            .run_tx("test.stale", |tx| {
                Box::pin(async move {
                    let mut book = ledger.book_in_tx(tx, &[Need::of(command)]).await?;
                    book.apply(command)?;
                    if tries.fetch_add(1, Ordering::SeqCst) == 0 {
                        // As another node would that does not honour the lock.
                        tx.execute(
                            "UPDATE ledger_account SET sequence = sequence + 1 WHERE member_id = ?",
                            huika_db::params![command.member_id],
                        )
                        .await?;
                    }
                    book.save_in_tx(tx).await
                })
            })
            .await;
        refused.unwrap();
        assert_eq!(tries.load(Ordering::SeqCst), 2, "the first book was stale");
        assert_eq!(counter.available().await, 0);
        counter.assert_proven().await;
    }
}
