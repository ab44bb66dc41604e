//! Group commit: what one command breaks, the others do not pay for.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::future::join_all;
use huika_db::{BatchOptions, Batcher, DbError, RunBatch, Tx, dialect::Insert, params};
use huika_testing::TestDb;
use tokio::sync::Semaphore;

use crate::support::{COLUMNS, TestError, cups, read_cups};

/// What a caller wants done to the table of cups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Adds the cup of this number and answers with how many commands shared the transaction.
    Add(i64),
    /// Breaks a rule of the table, which fails the whole transaction.
    Break,
    /// Is refused before anything is written.
    Refuse,
    Panic,
    /// Adds to the cup of this number, which somebody else may have locked.
    Fill(i64),
    /// Finds the database gone.
    FindNobody,
}

#[derive(Clone, Default)]
struct Adding {
    /// How many transactions were begun.
    runs: Arc<AtomicUsize>,
    /// Held shut to let commands gather.
    gate: Option<Arc<Semaphore>>,
}

#[async_trait]
impl RunBatch for Adding {
    type Command = Wish;
    type Answer = usize;
    type Error = TestError;
    const NAME: &'static str = "test.batch";

    fn key(wish: &Wish) -> i64 {
        match wish {
            Wish::Add(number) | Wish::Fill(number) => *number,
            _ => -1,
        }
    }

    async fn run_in_tx(
        &self,
        tx: &mut Tx<'_>,
        wishes: &[Wish],
    ) -> Result<Vec<Result<usize, TestError>>, TestError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        if let Some(gate) = &self.gate {
            drop(gate.acquire().await.unwrap());
        }
        let mut insert = Insert::into_table("test_cup", COLUMNS);
        let mut answers = Vec::new();
        for wish in wishes {
            answers.push(match wish {
                Wish::Add(number) => {
                    insert.push(params![
                        *number,
                        "a",
                        None::<String>,
                        None::<i64>,
                        None::<Vec<u8>>,
                        0_i64
                    ]);
                    Ok(wishes.len())
                }
                Wish::Break => {
                    tx.execute("INSERT INTO test_cup (shop, code) VALUES (0, 'a')", params![])
                        .await?;
                    Ok(0)
                }
                Wish::Refuse => Err(TestError::Refused),
                Wish::Panic => panic!("a bug"),
                Wish::Fill(number) => {
                    tx.execute("UPDATE test_cup SET amount = 1 WHERE shop = ?", params![*number])
                        .await?;
                    Ok(wishes.len())
                }
                Wish::FindNobody => return Err(DbError::Busy("nobody answers").into()),
            });
        }
        tx.insert(insert).await?;
        Ok(answers)
    }
}

fn batcher(cx: &TestDb, work: &Adding) -> Batcher<Adding> {
    let options = BatchOptions {
        lanes: 1,
        max_batch: 100,
    };
    Batcher::start(&cx.db, work.clone(), &options)
}

async fn numbers(cx: &TestDb) -> Vec<i64> {
    read_cups(cx).await.into_iter().map(|cup| cup.0).collect()
}

huika_testing::db_test! { migrations = cups,
    async fn waiting_commands_share_a_transaction_and_each_gets_its_own_answer(cx) {
        let work = Adding::default();
        let batcher = batcher(&cx, &work);
        let mut wishes: Vec<Wish> = (1..=50).map(Wish::Add).collect();
        wishes[9] = Wish::Refuse;
        let answers = join_all(wishes.iter().map(|wish| batcher.submit(*wish))).await;
        for (wish, answer) in wishes.iter().zip(answers) {
            let answer = answer.unwrap();
            assert_eq!(matches!(answer, Err(TestError::Refused)), *wish == Wish::Refuse, "{wish:?}: {answer:?}");
        }
        assert_eq!(numbers(&cx).await.len(), 49);
        assert!(work.runs.load(Ordering::SeqCst) < 25, "most of them waited together");
    }

    async fn a_command_that_breaks_the_batch_is_refused_alone(cx) {
        let work = Adding::default();
        let wishes = [Wish::Add(1), Wish::Add(2), Wish::Break, Wish::Add(3), Wish::Refuse];
        let answers = batcher(&cx, &work).run(&wishes).await;
        assert!(matches!(answers[0], Ok(1)) && matches!(answers[1], Ok(1)) && matches!(answers[3], Ok(1)), "{answers:?}");
        assert!(matches!(answers[2], Err(TestError::Db(DbError::Other(_)))), "{answers:?}");
        assert!(matches!(answers[4], Err(TestError::Refused)), "{answers:?}");
        assert_eq!(numbers(&cx).await, [1, 2, 3]);
    }

    async fn a_panic_is_answered_and_leaves_the_lane_alive(cx) {
        let batcher = batcher(&cx, &Adding::default());
        let (one, two, bug) =
            tokio::join!(batcher.submit(Wish::Add(1)), batcher.submit(Wish::Add(2)), batcher.submit(Wish::Panic));
        assert!(one.unwrap().is_ok() && two.unwrap().is_ok());
        assert!(matches!(bug.unwrap(), Err(TestError::Db(DbError::Panicked))));
        assert!(batcher.submit(Wish::Add(3)).await.unwrap().is_ok());
        assert_eq!(numbers(&cx).await, [1, 2, 3]);
    }

    /// Once for all of them, not once for each.
    async fn a_database_that_does_not_answer_is_asked_once(cx) {
        let work = Adding::default();
        let mut wishes: Vec<Wish> = (1..=50).map(Wish::Add).collect();
        wishes.push(Wish::FindNobody);
        let answers = batcher(&cx, &work).run(&wishes).await;
        assert!(answers.iter().all(|answer| matches!(answer, Err(TestError::Db(DbError::Busy(_))))), "{answers:?}");
        assert_eq!(work.runs.load(Ordering::SeqCst), 1);
    }

    async fn the_pool_that_is_used_up_is_asked_once(cx) {
        // Whoever holds every connection keeps the batch waiting for one.
        let (gate, work) = (Arc::new(Semaphore::new(0)), Adding::default());
        let holding = Adding { gate: Some(gate.clone()), ..Adding::default() };
        let holders: Vec<_> = (0..8).map(|_| {
            let (db, holding) = (cx.db.clone(), holding.clone());
            let options = BatchOptions { lanes: 1, max_batch: 1 };
            tokio::spawn(async move { Batcher::start(&db, holding, &options).submit(Wish::Refuse).await })
        }).collect();
        let most = if cx.db.engine() == huika_db::Engine::Sqlite { 1 } else { 8 };
        crate::support::eventually(async || (holding.runs.load(Ordering::SeqCst) == most).then_some(())).await;
        let wishes: Vec<Wish> = (1..=50).map(Wish::Add).collect();
        let stopwatch = cx.clock.stopwatch();
        let answers = batcher(&cx, &work).run(&wishes).await;
        assert!(answers.iter().all(|answer| matches!(answer, Err(TestError::Db(error)) if error.is_retryable())), "{answers:?}");
        assert!(stopwatch.elapsed() < Duration::from_secs(15), "{:?}", stopwatch.elapsed());
        gate.add_permits(100);
        for holder in holders {
            holder.await.unwrap().unwrap().unwrap_err();
        }
    }

    /// A lock that somebody keeps costs the commands of other rows a wait that ends, and nothing else.
    async fn a_locked_row_delays_the_others_and_does_not_refuse_them(cx) {
        if cx.db.engine() == huika_db::Engine::Sqlite {
            return; // Its one lock is that of the whole file.
        }
        batcher(&cx, &Adding::default()).run(&[Wish::Add(1)]).await;
        let (locked, free) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let keeper = tokio::spawn({
            let (db, locked, free) = (cx.db.clone(), locked.clone(), free.clone());
            async move {
                let (locked, free) = (&locked, &free);
                let kept: Result<(), DbError> = db.run_tx("test.keep", |tx| Box::pin(async move {
                    tx.execute("UPDATE test_cup SET amount = 2 WHERE shop = 1", params![]).await?;
                    locked.add_permits(1);
                    drop(free.acquire().await.unwrap());
                    Ok(())
                })).await;
                kept
            }
        });
        drop(locked.acquire().await.unwrap());
        let mut wishes = vec![Wish::Fill(1); 100];
        wishes.extend((2..=20).map(Wish::Add));
        let stopwatch = cx.clock.stopwatch();
        let answers = batcher(&cx, &Adding::default()).run(&wishes).await;
        assert!(stopwatch.elapsed() < Duration::from_secs(40), "{:?}", stopwatch.elapsed());
        for (wish, answer) in wishes.iter().zip(answers) {
            match answer {
                Err(TestError::Db(error)) if *wish == Wish::Fill(1) => assert!(error.is_retryable(), "{error:?}"),
                answer => assert!(answer.is_ok(), "{answer:?}"),
            }
        }
        free.add_permits(1);
        // Its own limit may have ended the keeper meanwhile, which is as well.
        let _ = keeper.await.unwrap();
    }

    async fn what_waits_is_answered_also_when_the_last_handle_is_gone(cx) {
        let gate = Arc::new(Semaphore::new(0));
        let work = Adding { gate: Some(gate.clone()), ..Adding::default() };
        let batcher = batcher(&cx, &work);
        let callers: Vec<_> = (1..=10).map(|number| {
            let batcher = batcher.clone();
            tokio::spawn(async move { batcher.submit(Wish::Add(number)).await })
        }).collect();
        crate::support::eventually(async || (work.runs.load(Ordering::SeqCst) == 1).then_some(())).await;
        drop(batcher);
        gate.add_permits(1);
        let answers = join_all(callers).await;
        assert!(answers.into_iter().all(|answer| answer.unwrap().unwrap().is_ok()));
        let found: HashSet<i64> = numbers(&cx).await.into_iter().collect();
        assert_eq!(found, (1..=10).collect());
    }
}
