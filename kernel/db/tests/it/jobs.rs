//! The queue: leases, fences, retries, dead jobs.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use huika_core::{Clock, Timestamp};
use huika_db::{
    Db, DbError, DbOptions,
    jobs::{
        Job, JobError, JobHandler, JobId, JobState, LEASE, LONGEST_PAUSE, MAX_ATTEMPTS, NewJob, Outcome,
        Worker, claim, complete, discard_in_tx, enqueue_in_tx, fail, list_jobs, measure_jobs, renew,
        replay_in_tx,
    },
    params,
};
use huika_testing::TestDb;
use tokio::sync::{Semaphore, watch};

use crate::support::{advance_held, eventually};

type Body = Box<dyn Fn(&Job) -> futures::future::BoxFuture<'static, Result<(), JobError>> + Send + Sync>;

/// Runs a closure for every job of the queue `wash`.
struct Washing(Body);

#[async_trait]
impl JobHandler for Washing {
    fn queue(&self) -> &'static str {
        "wash"
    }
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        (self.0)(job).await
    }
}

fn worker<F>(cx: &TestDb, body: impl Fn(&Job) -> F + Send + Sync + 'static) -> Worker
where
    F: Future<Output = Result<(), JobError>> + Send + 'static,
{
    let mut worker = Worker::new(cx.db.clone(), cx.ids.clone());
    worker
        .handlers
        .push(Arc::new(Washing(Box::new(move |job| Box::pin(body(job))))));
    worker
}

fn job(cx: &TestDb) -> NewJob {
    NewJob {
        queue: "wash".into(),
        payload: "{}".into(),
        run_at: cx.clock.now(),
        unique_key: None,
    }
}

async fn enqueue(cx: &TestDb, job: NewJob) -> bool {
    let job = &job;
    let done: Result<bool, DbError> = cx
        .db
        .run_tx("test.enqueue", |tx| {
            Box::pin(async { enqueue_in_tx(tx, &cx.ids, job.clone()).await })
        })
        .await;
    done.unwrap()
}

async fn claim_one(cx: &TestDb) -> Option<Job> {
    claim(&cx.db, &["wash".to_owned()], 1).await.unwrap().pop()
}

async fn replay(cx: &TestDb, id: JobId) -> bool {
    let done: Result<bool, DbError> = cx
        .db
        .run_tx("test.replay", |tx| Box::pin(replay_in_tx(tx, id)))
        .await;
    done.unwrap()
}

async fn discard(cx: &TestDb, id: JobId) -> bool {
    let done: Result<bool, DbError> = cx
        .db
        .run_tx("test.discard", |tx| Box::pin(discard_in_tx(tx, id)))
        .await;
    done.unwrap()
}

async fn list(cx: &TestDb, state: JobState) -> Vec<Job> {
    list_jobs(&mut &cx.db, state, None, 100).await.unwrap()
}

huika_testing::db_test! {
    async fn a_job_runs_when_it_is_due_and_is_gone_when_it_is_done(cx) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        let worker = worker(&cx, move |job| {
            sink.lock().unwrap().push(job.payload::<i64>().unwrap());
            async { Ok(()) }
        });
        for (payload, after) in [("1", 10), ("2", 5), ("3", 0)] {
            let run_at = cx.clock.now().plus_millis(after * 1_000);
            enqueue(&cx, NewJob { payload: payload.into(), run_at, ..job(&cx) }).await;
        }
        assert_eq!(worker.run_due().await.unwrap(), 1);
        cx.clock.advance(Duration::from_secs(10));
        assert_eq!(worker.run_due().await.unwrap(), 2);
        assert_eq!(*seen.lock().unwrap(), [3, 2, 1]);
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM kernel_job").await, 0);
    }

    async fn the_same_work_is_queued_once(cx) {
        let unique = |key: &str| NewJob { unique_key: Some(key.into()), ..job(&cx) };
        assert!(enqueue(&cx, unique("a")).await);
        assert!(!enqueue(&cx, unique("a")).await);
        assert!(enqueue(&cx, unique("b")).await);
        assert!(enqueue(&cx, NewJob { queue: "dry".into(), ..unique("a") }).await);
        assert!(enqueue(&cx, job(&cx)).await && enqueue(&cx, job(&cx)).await);
        worker(&cx, |_| async { Ok(()) }).run_due().await.unwrap();
        assert!(enqueue(&cx, unique("a")).await, "done, so it may be asked for again");
    }

    async fn a_failing_job_is_retried_ever_later_then_dead_then_replayed(cx) {
        enqueue(&cx, job(&cx)).await;
        let failing = worker(&cx, |_| async { Err(JobError::retry("no water")) });
        let mut pauses = Vec::new();
        for _ in 1..MAX_ATTEMPTS {
            assert_eq!(failing.run_due().await.unwrap(), 1);
            let waiting = list(&cx, JobState::Ready).await.pop().unwrap();
            assert_eq!(waiting.last_error.as_deref(), Some("no water"));
            let pause = waiting.run_at.millis_since(cx.clock.now());
            assert_eq!(failing.run_due().await.unwrap(), 0, "not before its time");
            cx.clock.set(waiting.run_at);
            pauses.push(pause);
        }
        assert!(pauses[0] <= 5_000 && pauses.windows(2).take(5).all(|two| two[0] * 3 / 2 < two[1]), "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE.as_millis() as i64), "{pauses:?}");

        assert_eq!(failing.run_due().await.unwrap(), 1);
        let dead = list(&cx, JobState::Dead).await.pop().unwrap();
        assert_eq!((dead.attempts, dead.run_at), (MAX_ATTEMPTS, cx.clock.now()));
        cx.clock.advance(LONGEST_PAUSE * 10);
        assert_eq!(failing.run_due().await.unwrap(), 0);

        assert!(replay(&cx, dead.id).await);
        assert!(!replay(&cx, dead.id).await, "no longer dead");
        assert_eq!(list(&cx, JobState::Ready).await[0].attempts, 0);
        assert_eq!(worker(&cx, |_| async { Ok(()) }).run_due().await.unwrap(), 1);
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM kernel_job").await, 0);
    }

    async fn a_hopeless_job_is_dead_at_once_and_can_be_discarded(cx) {
        enqueue(&cx, NewJob { payload: "not JSON".into(), ..job(&cx) }).await;
        let worker = worker(&cx, |job| {
            let payload = job.payload::<i64>();
            async { payload.map(drop) }
        });
        assert_eq!(worker.run_due().await.unwrap(), 1);
        let dead = list(&cx, JobState::Dead).await.pop().unwrap();
        assert_eq!(dead.attempts, 1);
        assert!(discard(&cx, dead.id).await);
        assert!(!discard(&cx, dead.id).await);
    }

    async fn a_panicking_job_is_retried_and_harms_no_other(cx) {
        enqueue(&cx, job(&cx)).await;
        enqueue(&cx, job(&cx)).await;
        let runs = AtomicUsize::new(0);
        let worker = worker(&cx, move |_| {
            assert!(runs.fetch_add(1, Ordering::SeqCst) > 0, "the first run panics");
            async { Ok(()) }
        });
        assert_eq!(worker.run_due().await.unwrap(), 2);
        let waiting = list(&cx, JobState::Ready).await;
        assert_eq!(waiting.len(), 1);
        assert_eq!(waiting[0].last_error.as_deref(), Some("the job panicked"));
    }

    async fn a_job_whose_lease_lapsed_belongs_to_the_next_worker(cx) {
        enqueue(&cx, job(&cx)).await;
        let first = claim_one(&cx).await.unwrap();
        assert!(claim_one(&cx).await.is_none(), "held");
        cx.clock.advance(LEASE);
        let second = claim_one(&cx).await.unwrap();
        assert_eq!((second.id, second.attempts), (first.id, 2));

        assert!(!renew(&cx.db, &first).await.unwrap());
        assert_eq!(complete(&cx.db, &first).await.unwrap(), Outcome::Lost);
        assert_eq!(fail(&cx.db, &first, &JobError::fail("late")).await.unwrap(), Outcome::Lost);
        assert!(renew(&cx.db, &second).await.unwrap());
        assert_eq!(complete(&cx.db, &second).await.unwrap(), Outcome::Done);
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM kernel_job").await, 0);
    }

    /// The fence of a replayed job differs, so that a worker from before its death stays out.
    async fn a_worker_from_before_the_death_cannot_finish_the_replayed_job(cx) {
        enqueue(&cx, job(&cx)).await;
        let first = claim_one(&cx).await.unwrap();
        cx.clock.advance(LEASE);
        let second = claim_one(&cx).await.unwrap();
        fail(&cx.db, &second, &JobError::fail("broken")).await.unwrap();
        assert!(replay(&cx, first.id).await);
        let third = claim_one(&cx).await.unwrap();
        assert_eq!(complete(&cx.db, &second).await.unwrap(), Outcome::Lost);
        assert_eq!(complete(&cx.db, &third).await.unwrap(), Outcome::Done);
    }

    async fn a_job_that_takes_its_worker_down_every_time_is_dead_in_the_end(cx) {
        enqueue(&cx, job(&cx)).await;
        for _ in 0..MAX_ATTEMPTS {
            assert!(claim_one(&cx).await.is_some());
            cx.clock.advance(LEASE);
        }
        assert!(claim_one(&cx).await.is_none());
        assert_eq!(list(&cx, JobState::Dead).await.len(), 1);
    }

    async fn a_long_job_keeps_its_lease(cx) {
        enqueue(&cx, job(&cx)).await;
        let done = Arc::new(Semaphore::new(0));
        let until_done = done.clone();
        let worker = worker(&cx, move |_| {
            let until_done = until_done.clone();
            async move {
                drop(until_done.acquire().await);
                Ok(())
            }
        });
        let run = tokio::spawn(async move { worker.run_due().await });
        eventually(async || list(&cx, JobState::Running).await.pop()).await;
        let end = cx.clock.now().plus_millis(LEASE.as_millis() as i64 * 3);
        let held_until = async || list(&cx, JobState::Running).await[0].leased_until();
        advance_held(&cx.clock, end, held_until, async || assert!(claim_one(&cx).await.is_none(), "held")).await;
        done.add_permits(1);
        assert_eq!(run.await.unwrap().unwrap(), 1);
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM kernel_job").await, 0);
    }

    async fn a_body_whose_lease_is_lost_is_abandoned(cx) {
        /// Tells when the body is dropped.
        struct Dropped(Arc<AtomicUsize>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        enqueue(&cx, job(&cx)).await;
        let (started, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (starts, drops) = (started.clone(), dropped.clone());
        let worker = worker(&cx, move |_| {
            let (starts, held) = (starts.clone(), Dropped(drops.clone()));
            async move {
                let _held = held;
                starts.fetch_add(1, Ordering::SeqCst);
                std::future::pending().await
            }
        });
        let run = tokio::spawn(async move { worker.run_due().await });
        eventually(async || (started.load(Ordering::SeqCst) == 1).then_some(())).await;
        cx.execute("UPDATE kernel_job SET fence = fence + 1, state = 2", params![]).await;
        eventually(async || {
            cx.clock.advance(Duration::from_secs(1));
            (dropped.load(Ordering::SeqCst) == 1).then_some(())
        }).await;
        assert_eq!(run.await.unwrap().unwrap(), 1);
        assert_eq!(list(&cx, JobState::Dead).await.len(), 1, "the row is the other one's");
    }

    async fn many_claimers_share_the_jobs_without_overlap(cx) {
        for _ in 0..40 {
            enqueue(&cx, job(&cx)).await;
        }
        let pools = [cx.second_pool().await, cx.second_pool().await, cx.second_pool().await];
        let all = futures::future::join_all(pools.iter().map(async |db| {
            let mut mine = Vec::new();
            while cx.count("SELECT COUNT(*) AS n FROM kernel_job WHERE state = 0").await > 0 {
                mine.extend(claim(db, &["wash".to_owned()], 3).await.unwrap());
            }
            mine
        })).await;
        let mut ids: Vec<JobId> = all.into_iter().flatten().map(|job| job.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 40);
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM kernel_job WHERE attempts = 1").await, 40);
    }

    async fn lists_and_counts_show_where_jobs_stand(cx) {
        for second in 0..5 {
            enqueue(&cx, NewJob { run_at: cx.clock.now().plus_millis(second * 1_000), ..job(&cx) }).await;
        }
        claim_one(&cx).await.unwrap();
        let first = list_jobs(&mut &cx.db, JobState::Ready, None, 3).await.unwrap();
        let after = first.last().map(|job| (job.run_at, job.id));
        let second = list_jobs(&mut &cx.db, JobState::Ready, after, 3).await.unwrap();
        assert_eq!((first.len(), second.len()), (3, 1));
        assert!(first.iter().chain(&second).is_sorted_by_key(|job| job.run_at));

    }

    /// Also where no worker runs: any process that is asked for its metrics measures.
    async fn the_lag_and_the_dead_are_measured(cx) {
        for second in [0, 1, 5] {
            enqueue(&cx, NewJob { run_at: cx.clock.now().plus_millis(second * 1_000), ..job(&cx) }).await;
        }
        let hopeless = claim_one(&cx).await.unwrap();
        fail(&cx.db, &hopeless, &JobError::fail("broken")).await.unwrap();
        cx.clock.advance(Duration::from_secs(3));
        let health = measure_jobs(&cx.db).await.unwrap();
        assert_eq!((health.lag, health.dead), (Duration::from_secs(2), 1));
    }

    async fn a_worker_runs_until_it_is_stopped_and_finishes_what_it_began(cx) {
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = runs.clone();
        let worker = worker(&cx, move |_| {
            let counted = counted.clone();
            async move {
                counted.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        });
        // By the clock of the machine, since the worker's pauses pass in real time.
        let options = DbOptions::default();
        let db = Db::connect(cx.url(), &options, Clock::system(), cx.rng.clone()).await.unwrap();
        let worker = Worker { db, ..worker };
        let (stop, stopped) = watch::channel(false);
        let due = || NewJob { run_at: Timestamp::MIN, ..job(&cx) };
        for _ in 0..20 {
            enqueue(&cx, due()).await;
        }
        let run = tokio::spawn(worker.run(stopped));
        eventually(async || (runs.load(Ordering::SeqCst) == 20).then_some(())).await;
        enqueue(&cx, due()).await;
        eventually(async || (runs.load(Ordering::SeqCst) == 21).then_some(())).await;
        stop.send(true).unwrap();
        tokio::time::timeout(Duration::from_secs(10), run).await.unwrap().unwrap();
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM kernel_job").await, 0);
    }
}
