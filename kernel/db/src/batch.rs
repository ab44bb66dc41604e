//! Group commit: many callers, one transaction.
//!
//! Callers hand in commands and wait. A lane takes what has gathered while it was busy, up to a limit, and
//! runs it as one transaction. Under load batches grow by themselves; alone, a command waits for nobody.
//! Commands of one key always share a lane, so that lanes never wait for each other's rows.
//!
//! A batch that fails may be the doing of one command. Then each runs in a transaction of its own, those of one
//! key in their order, so that the guilty one alone is refused; commands that would begin too late are answered
//! with [`DbError::Busy`], since others wait behind them. A database that does not answer refuses all of them at
//! once: asking it again for each would hold the lane for minutes.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _, stream};
use huika_core::Chain;
use tokio::sync::{mpsc, oneshot};

use crate::{Db, DbError, Engine, Tx, error::find_db_error};

/// Commands that may wait in one lane before callers are slowed down.
const QUEUE: usize = 4_096;
/// Commands of a failed batch that run at once, each in a transaction of its own.
const ALONE_AT_ONCE: usize = 4;
/// How long after a batch failed its commands may still begin alone.
const ALONE_WITHIN: Duration = Duration::from_secs(5);

/// How commands of many callers are put together.
#[derive(Debug, Clone)]
pub struct BatchOptions {
    /// Transactions that run side by side. SQLite has one writer and gets one lane.
    pub lanes: usize,
    /// Most commands of one transaction.
    pub max_batch: usize,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            lanes: 3,
            max_batch: 256,
        }
    }
}

/// The batcher has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the process is stopping")]
pub struct BatcherClosed;

/// Carries out commands together.
#[async_trait]
pub trait RunBatch: Send + Sync + 'static {
    /// What a caller hands in.
    type Command: Send + Sync + 'static;
    /// What it gets back.
    type Answer: Send + 'static;
    /// What it is refused with.
    type Error: From<DbError> + std::error::Error + Send + Sync + 'static;

    /// The name of the transaction in metrics and logs.
    const NAME: &'static str;

    /// Commands of one key run one after the other. The high bits decide: those of a member's id are scattered.
    fn key(command: &Self::Command) -> i64;

    /// Answers each command in order. A refused command refuses itself alone; an error of the whole undoes all.
    /// May run several times, so it has no effect outside the transaction.
    ///
    /// # Errors
    /// What makes the whole transaction fail.
    async fn run_in_tx(
        &self,
        tx: &mut Tx<'_>,
        commands: &[Self::Command],
    ) -> Result<Vec<Result<Self::Answer, Self::Error>>, Self::Error>;
}

/// The answer to one command.
type Answered<B> = Result<<B as RunBatch>::Answer, <B as RunBatch>::Error>;
/// A command with the place where its caller waits for the answer.
type Waiting<B> = (<B as RunBatch>::Command, oneshot::Sender<Answered<B>>);

/// A handle to the lanes. They stop when the last handle is gone, after what was handed in is answered.
pub struct Batcher<B: RunBatch> {
    db: Db,
    work: Arc<B>,
    lanes: Arc<Vec<mpsc::Sender<Waiting<B>>>>,
}

impl<B: RunBatch> Clone for Batcher<B> {
    fn clone(&self) -> Self {
        Self {
            db: self.db.clone(),
            work: Arc::clone(&self.work),
            lanes: Arc::clone(&self.lanes),
        }
    }
}

impl<B: RunBatch> Batcher<B> {
    /// Starts the lanes.
    pub fn start(db: &Db, work: B, options: &BatchOptions) -> Self {
        let work = Arc::new(work);
        let lanes = match db.engine() {
            Engine::Sqlite => 1,
            Engine::Postgres | Engine::Mysql => options.lanes.max(1),
        };
        let lanes = (0..lanes)
            .map(|_| {
                let (sender, receiver) = mpsc::channel(QUEUE);
                tokio::spawn(run_lane(
                    db.clone(),
                    Arc::clone(&work),
                    receiver,
                    options.max_batch,
                ));
                sender
            })
            .collect();
        Self {
            db: db.clone(),
            work,
            lanes: Arc::new(lanes),
        }
    }

    /// Hands in a command and waits for its answer. The command runs also when the caller stops waiting.
    ///
    /// # Errors
    /// When the process is stopping.
    pub async fn submit(&self, command: B::Command) -> Result<Answered<B>, BatcherClosed> {
        let lane = (B::key(&command) as u64 >> 40) as usize % self.lanes.len();
        let (answer, answered) = oneshot::channel();
        self.lanes[lane]
            .send((command, answer))
            .await
            .map_err(|_| BatcherClosed)?;
        answered.await.map_err(|_| BatcherClosed)
    }

    /// Runs commands that came together beside the lanes, and answers each of them in order.
    pub async fn run(&self, commands: &[B::Command]) -> Vec<Answered<B>> {
        run_together(&self.db, &*self.work, commands).await
    }
}

async fn run_lane<B: RunBatch>(
    db: Db,
    work: Arc<B>,
    mut waiting: mpsc::Receiver<Waiting<B>>,
    max_batch: usize,
) {
    let mut batch = Vec::with_capacity(max_batch);
    while waiting.recv_many(&mut batch, max_batch.max(1)).await > 0 {
        metrics::histogram!("huika_batch_size").record(batch.len() as f64);
        let (commands, answers): (Vec<B::Command>, Vec<_>) = batch.drain(..).unzip();
        let results = run_together(&db, &*work, &commands).await;
        for (answer, result) in answers.into_iter().zip(results) {
            // A caller that stopped waiting does not need the answer.
            let _ = answer.send(result);
        }
    }
}

async fn run_together<B: RunBatch>(db: &Db, work: &B, commands: &[B::Command]) -> Vec<Answered<B>> {
    let error = match attempt(db, work, commands).await {
        Ok(answers) => return answers,
        // Its caller gets the error whole, and logs it.
        Err(error) if commands.len() == 1 => return vec![Err(error)],
        Err(error) => error,
    };
    tracing::warn!(tx = B::NAME, commands = commands.len(), error = %Chain(&error), "a batch failed");
    if find_db_error(&error).is_some_and(DbError::is_outage) {
        return commands
            .iter()
            .map(|_| Err(DbError::Busy(NOT_REACHED).into()))
            .collect();
    }
    run_alone(db, work, commands).await
}

const NOT_REACHED: &str = "the database did not answer the batch of this command";
const TOO_LATE: &str = "the batch of this command failed, and no time was left to run it alone";

/// Runs each command in a transaction of its own: those of one key in order, those of other keys beside them, so
/// that a row which somebody else has locked keeps nobody waiting but its own.
async fn run_alone<B: RunBatch>(db: &Db, work: &B, commands: &[B::Command]) -> Vec<Answered<B>> {
    let stopwatch = db.clock().stopwatch();
    let mut keys: HashMap<i64, Vec<usize>> = HashMap::new();
    for (at, command) in commands.iter().enumerate() {
        keys.entry(B::key(command)).or_default().push(at);
    }
    let one_key = |places: Vec<usize>| async move {
        let mut answers = Vec::with_capacity(places.len());
        for at in places {
            let answer = if stopwatch.elapsed() < ALONE_WITHIN {
                let alone = attempt(db, work, std::slice::from_ref(&commands[at])).await;
                alone.and_then(|mut answers| answers.pop().unwrap_or(Err(DbError::Panicked.into())))
            } else {
                Err(DbError::Busy(TOO_LATE).into())
            };
            answers.push((at, answer));
        }
        answers
    };
    let mut answers: Vec<(usize, Answered<B>)> = stream::iter(keys.into_values().map(one_key))
        .buffer_unordered(ALONE_AT_ONCE)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .flatten()
        .collect();
    answers.sort_unstable_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// One transaction. A panic inside it is a failure like others, so that the lane lives on.
async fn attempt<B: RunBatch>(
    db: &Db,
    work: &B,
    commands: &[B::Command],
) -> Result<Vec<Answered<B>>, B::Error> {
    let run = db.run_tx(B::NAME, |tx| {
        Box::pin(async move {
            let answers = work.run_in_tx(tx, commands).await?;
            // Before the commit: nothing is kept for which nobody gets an answer.
            assert_eq!(
                answers.len(),
                commands.len(),
                "each command of {} is answered",
                B::NAME
            );
            Ok(answers)
        })
    });
    let answers = AssertUnwindSafe(run).catch_unwind().await;
    answers.unwrap_or_else(|_| Err(DbError::Panicked.into()))
}
