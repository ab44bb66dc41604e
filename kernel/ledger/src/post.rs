//! Carrying out commands: inside a caller's transaction, or together with those of other callers.

use std::sync::Arc;

use huika_core::{IdGenerator, MemberId};
use huika_db::{Batcher, Db, Engine, Executor as _, Tx, params};

use crate::{Book, Command, LedgerError, Need, Outcome};

/// Most accounts that one run of the tidying job settles in one transaction (scale.md rule 24).
const SETTLE_BATCH: i64 = 500;

/// How commands of many callers are put together.
#[derive(Debug, Clone)]
pub struct LedgerOptions {
    /// Transactions that run side by side. SQLite has one writer and gets one lane.
    pub lanes: usize,
    /// Most commands of one transaction.
    pub max_batch: usize,
}

impl Default for LedgerOptions {
    fn default() -> Self {
        Self {
            lanes: 2,
            max_batch: 256,
        }
    }
}

/// The ledger of a database. Clones share the lanes.
#[derive(Clone)]
pub struct Ledger {
    db: Db,
    ids: IdGenerator,
    batcher: Batcher<Command, Result<Outcome, LedgerError>>,
}

impl Ledger {
    /// Starts the lanes. They stop when the last clone is gone, after answering what waits.
    pub fn start(db: Db, ids: IdGenerator, options: &LedgerOptions) -> Self {
        let lanes = if db.engine() == Engine::Sqlite {
            1
        } else {
            options.lanes
        };
        let run = {
            let (db, ids) = (db.clone(), ids.clone());
            Arc::new(move |commands| -> huika_db::BoxFuture<'static, _> {
                let (db, ids) = (db.clone(), ids.clone());
                Box::pin(async move { run_batch(&db, &ids, commands).await })
            })
        };
        let batcher = Batcher::start(lanes, options.max_batch, run);
        Self { db, ids, batcher }
    }

    /// Carries out a command together with those of other callers, and returns after the commit.
    ///
    /// # Errors
    /// What the ledger refuses. A refused command refuses itself alone.
    pub async fn post(&self, command: Command) -> Result<Outcome, LedgerError> {
        let key = command.member_id.as_i64();
        self.batcher
            .submit(key, command)
            .await
            .map_err(|_| LedgerError::Stopping)?
    }

    /// Carries out a command inside the caller's transaction.
    ///
    /// # Errors
    /// What the ledger refuses; the caller then rolls back.
    pub async fn post_in_tx(&self, tx: &mut Tx<'_>, command: &Command) -> Result<Outcome, LedgerError> {
        let mut book = self.book_in_tx(tx, &[Need::of(command)]).await?;
        let outcome = book.apply(command)?;
        book.save_in_tx(tx).await?;
        Ok(outcome)
    }

    /// Loads a book for a caller that decides many commands in its own transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn book_in_tx(&self, tx: &mut Tx<'_>, needs: &[Need]) -> Result<Book, LedgerError> {
        let now = self.db.clock().now();
        Book::load_in_tx(tx, &self.ids, now, needs).await
    }

    /// Settles accounts that time has changed, so that reports and lists show it too. Balances do not need
    /// it: they are settled when they are read. Returns how many accounts were settled; call again while
    /// that is not zero.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_due(&self) -> Result<usize, LedgerError> {
        let now = self.db.clock().now();
        let rows = (&mut &self.db)
            .fetch_all(
                "SELECT member_id FROM ledger_account WHERE next_change_at <= ? ORDER BY next_change_at LIMIT ?",
                params![now, SETTLE_BATCH],
            )
            .await?;
        let mut members = rows
            .iter()
            .map(|row| row.get("member_id"))
            .collect::<Result<Vec<MemberId>, _>>()?;
        let due = members.len();
        members.sort_unstable();
        members.dedup();
        if !members.is_empty() {
            let needs: Vec<Need> = members.into_iter().map(Need::to_settle).collect();
            let (needs, ids) = (&needs, &self.ids);
            self.db
                .run_tx("ledger.settle_due", |tx| {
                    Box::pin(async move {
                        let mut book = Book::load_in_tx(tx, ids, now, needs).await?;
                        book.settle_all();
                        book.save_in_tx(tx).await
                    })
                })
                .await?;
        }
        Ok(due)
    }
}

async fn run_batch(db: &Db, ids: &IdGenerator, commands: Vec<Command>) -> Vec<Result<Outcome, LedgerError>> {
    match post_together(db, ids, &commands).await {
        Ok(results) => results,
        // Whatever broke the transaction may be the doing of one command: each gets its own.
        Err(error) if commands.len() > 1 => {
            tracing::warn!(commands = commands.len(), %error, "batch failed, posting one by one");
            let mut results = Vec::with_capacity(commands.len());
            for command in &commands {
                results.push(post_alone(db, ids, command).await);
            }
            results
        }
        Err(error) => vec![Err(error)],
    }
}

async fn post_alone(db: &Db, ids: &IdGenerator, command: &Command) -> Result<Outcome, LedgerError> {
    let mut results = post_together(db, ids, std::slice::from_ref(command)).await?;
    results.pop().unwrap_or(Err(LedgerError::Stopping))
}

async fn post_together(
    db: &Db,
    ids: &IdGenerator,
    commands: &[Command],
) -> Result<Vec<Result<Outcome, LedgerError>>, LedgerError> {
    let needs: Vec<Need> = commands.iter().map(Need::of).collect();
    let needs = &needs;
    db.run_tx("ledger.post", |tx| {
        Box::pin(async move {
            let now = db.clock().now();
            let mut book = Book::load_in_tx(tx, ids, now, needs).await?;
            let results = commands.iter().map(|command| book.apply(command)).collect();
            book.save_in_tx(tx).await?;
            Ok::<_, LedgerError>(results)
        })
    })
    .await
}

impl From<huika_db::BatcherClosed> for LedgerError {
    fn from(_: huika_db::BatcherClosed) -> Self {
        Self::Stopping
    }
}
