//! Carrying out commands: inside a caller's transaction, or together with those of other callers.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use huika_core::IdGenerator;
use huika_db::{BatchOptions, Batcher, Db, RunBatch, Tx};

use crate::{Book, Command, LedgerError, Need, Outcome, store};

/// Most accounts that one transaction of the tidying job loads: with a few lots each, some hundred rows.
const SETTLE_BATCH: i64 = 50;

/// The ledger of a database. Clones share the lanes.
#[derive(Clone)]
pub struct Ledger {
    db: Db,
    ids: IdGenerator,
    options: BatchOptions,
    /// Started by the first command: who only uses the book of the ledger needs none.
    lanes: Arc<OnceLock<Batcher<Posting>>>,
}

impl Ledger {
    /// The ledger of a database. Lanes start with the first [`Ledger::post`] and stop when the last clone is gone,
    /// after answering what waits.
    pub fn new(db: Db, ids: IdGenerator, options: &BatchOptions) -> Self {
        Self {
            db,
            ids,
            options: options.clone(),
            lanes: Arc::default(),
        }
    }

    /// Carries out a command together with those of other callers, and returns after the commit.
    ///
    /// # Errors
    /// What the ledger refuses. A refused command refuses itself alone.
    pub async fn post(&self, command: Command) -> Result<Outcome, LedgerError> {
        let start = || {
            let ids = self.ids.clone();
            Batcher::start(&self.db, Posting { ids }, &self.options)
        };
        let answer = self.lanes.get_or_init(start).submit(command).await;
        answer.map_err(|_| LedgerError::Stopping)?
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
    /// it: they are settled when they are read. Returns how many accounts were found due, of which some at least
    /// were settled; call again while that is not zero.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_due(&self) -> Result<usize, LedgerError> {
        let now = self.db.clock().now();
        let mut members = store::account_list_due(&mut &self.db, now, SETTLE_BATCH).await?;
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

/// Commands decided in one book.
struct Posting {
    ids: IdGenerator,
}

#[async_trait]
impl RunBatch for Posting {
    type Command = Command;
    type Answer = Outcome;
    type Error = LedgerError;
    const NAME: &'static str = "ledger.post";

    fn key(command: &Command) -> i64 {
        command.member_id.as_i64()
    }

    async fn run_in_tx(
        &self,
        tx: &mut Tx<'_>,
        commands: &[Command],
    ) -> Result<Vec<Result<Outcome, LedgerError>>, LedgerError> {
        let needs: Vec<Need> = commands.iter().map(Need::of).collect();
        let now = tx.db().clock().now();
        let mut book = Book::load_in_tx(tx, &self.ids, now, &needs).await?;
        let results = commands.iter().map(|command| book.apply(command)).collect();
        book.save_in_tx(tx).await?;
        Ok(results)
    }
}
