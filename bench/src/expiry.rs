//! Very many lots that expire at one moment: how long the ledger's job takes to write that down, while others read.
//!
//! The lots are made by the product's own book of the ledger, and the job is the product's own: both run here as a
//! library, on threads of their own, because the server would begin the job only at its next turn.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use huika_core::{Clock, IdGenerator, IdempotencyKey, MemberId, Rng, Timestamp};
use huika_db::{BatchOptions, Db, DbOptions};
use huika_ledger::{
    Asset, Availability, Book, Command, CounterAccount, InputHash, Ledger, LedgerError, Need, Operation,
};
use serde::{Deserialize, Serialize};

const LOTS_PER_MEMBER: u64 = 5;
const POINTS_PER_LOT: i64 = 10;
const MEMBERS_PER_TX: usize = 100;
/// Transactions that fill at once.
const FILLING: usize = 2;
/// Threads of the job, as many as the demand is about.
const THREADS: usize = 2;
/// Between two reads beside the job.
const READ_EVERY: Duration = Duration::from_millis(5);
/// The highest number that an id takes: no server of this run has it.
const NODE: u16 = huika_core::MAX_NODE;
const DAY_MS: i64 = 86_400_000;

/// How lots expired.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Expiry {
    pub(crate) lots: u64,
    pub(crate) members: u64,
    /// Of the job alone.
    pub(crate) seconds: f64,
    /// Balances that were read before, meanwhile and afterwards.
    pub(crate) reads: u64,
    /// Those among them that were not exact.
    pub(crate) wrong_reads: u64,
    pub(crate) verify_seconds: f64,
}

/// Fills an empty ledger with lots that expired a day ago. Gives the members.
///
/// # Errors
/// When the database fails.
pub(crate) async fn fill(url: &str, lots: u64) -> anyhow::Result<Vec<MemberId>> {
    let db = connect(url).await?;
    let ids = IdGenerator::new(db.clock().clone(), NODE);
    let members: Vec<MemberId> = (0..lots.div_ceil(LOTS_PER_MEMBER)).map(|_| ids.next()).collect();
    let (earned_at, expires_at) = (days_ago(&db, 2), days_ago(&db, 1));
    let share = members.len().div_ceil(FILLING).max(1);
    let filling = members.chunks(share).map(|members| {
        let (db, ids) = (&db, &ids);
        async move {
            for members in members.chunks(MEMBERS_PER_TX) {
                fill_some(db, ids, members, (earned_at, expires_at)).await?;
            }
            Ok::<_, LedgerError>(())
        }
    });
    futures::future::try_join_all(filling)
        .await
        .context("the lots cannot be made")?;
    db.close().await;
    Ok(members)
}

async fn fill_some(
    db: &Db,
    ids: &IdGenerator,
    members: &[MemberId],
    (earned_at, expires_at): (Timestamp, Timestamp),
) -> Result<(), LedgerError> {
    let lot = Operation::Earn {
        asset: Asset::Points,
        amount: POINTS_PER_LOT,
        counter_account: CounterAccount::Issuance,
        availability: Availability::Now,
        expires_at: Some(expires_at),
    };
    let operations = vec![lot; LOTS_PER_MEMBER as usize];
    let commands: Vec<Command> = members
        .iter()
        .map(|member_id| Command {
            member_id: *member_id,
            key: IdempotencyKey::derived("bench", "expiry"),
            input: InputHash::of(&operations),
            kind: "earn",
            reference: String::new(),
            actor: "system:bench".to_owned(),
            effective_at: earned_at,
            trace: None,
            operations: operations.clone(),
        })
        .collect();
    let commands = &commands;
    db.run_tx("bench.expiry", |tx| {
        Box::pin(async move {
            let needs: Vec<Need> = commands.iter().map(Need::of).collect();
            let mut book = Book::load_in_tx(tx, ids, earned_at, &needs).await?;
            for command in commands {
                book.apply(command)?;
            }
            book.save_in_tx(tx).await
        })
    })
    .await
}

/// Runs the job on threads of its own until nothing is due, and reads balances meanwhile.
///
/// # Errors
/// When the database fails.
pub(crate) async fn run(url: &str, members: Vec<MemberId>) -> anyhow::Result<Expiry> {
    let url = url.to_owned();
    let run = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()
            .context("the threads of the job do not start")?;
        runtime.block_on(settle(&url, Arc::new(members)))
    });
    run.await.context("the job panicked")?
}

async fn settle(url: &str, members: Arc<Vec<MemberId>>) -> anyhow::Result<Expiry> {
    let db = connect(url).await?;
    let ids = IdGenerator::new(db.clock().clone(), NODE);
    let ledger = Ledger::new(db.clone(), ids.clone(), &BatchOptions::default());
    let (reads, wrong) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let reader = {
        let (db, members) = (db.clone(), Arc::clone(&members));
        let (reads, wrong, stop) = (Arc::clone(&reads), Arc::clone(&wrong), Arc::clone(&stop));
        tokio::spawn(async move {
            // Before the moment everything is there, at a clock that has not reached it.
            let whole = POINTS_PER_LOT * LOTS_PER_MEMBER as i64;
            let before = days_ago(&db, 1).plus_millis(-DAY_MS / 2);
            for member_id in members.iter().step_by(members.len().div_ceil(100).max(1)) {
                let points = available(&db, &ids, *member_id, before).await?;
                reads.fetch_add(1, Ordering::Relaxed);
                wrong.fetch_add(u64::from(points != whole), Ordering::Relaxed);
            }
            anyhow::Ok(async move {
                let rng = Rng::seeded(1);
                while !stop.load(Ordering::Relaxed) {
                    let member_id = members[rng.below(members.len() as u64) as usize];
                    let points = available(&db, &ids, member_id, db.clock().now()).await?;
                    reads.fetch_add(1, Ordering::Relaxed);
                    wrong.fetch_add(u64::from(points != 0), Ordering::Relaxed);
                    tokio::time::sleep(READ_EVERY).await;
                }
                anyhow::Ok(())
            })
        })
    };
    let meanwhile = tokio::spawn(reader.await.context("a read panicked")??);
    let began = Instant::now();
    while ledger.settle_due().await.context("the job fails")? > 0 {}
    let seconds = began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    meanwhile.await.context("a read panicked")??;
    db.close().await;
    Ok(Expiry {
        lots: members.len() as u64 * LOTS_PER_MEMBER,
        members: members.len() as u64,
        seconds,
        reads: reads.load(Ordering::Relaxed),
        wrong_reads: wrong.load(Ordering::Relaxed),
        verify_seconds: 0.0,
    })
}

async fn available(db: &Db, ids: &IdGenerator, member_id: MemberId, now: Timestamp) -> anyhow::Result<i64> {
    let balance = huika_ledger::balance(&mut &*db, ids, member_id, Asset::Points, now).await?;
    Ok(balance.available)
}

async fn connect(url: &str) -> anyhow::Result<Db> {
    let options = DbOptions { max_connections: 8 };
    Ok(Db::connect(url, &options, Clock::system(), Rng::system()).await?)
}

fn days_ago(db: &Db, days: i64) -> Timestamp {
    db.clock().now().plus_millis(-days * DAY_MS)
}
