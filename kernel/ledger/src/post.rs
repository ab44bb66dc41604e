//! Carrying out commands: inside a caller's transaction, or together with those of other callers.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use futures::future::try_join_all;
use huika_core::{IdGenerator, MemberId, Timestamp};
use huika_db::{BatchOptions, Batcher, Db, Engine, RunBatch, Tx};

use crate::{Book, Command, LedgerError, Need, Outcome, book::SETTLED_ROWS, store};

/// Accounts that one look for what is due finds. Each look walks past what earlier ones left in the index and nobody
/// has cleaned up yet, so they are few: a million accounts are found in 250 of them.
const DUE_PAGE: i64 = 4_000;
/// Transactions of the tidying job that run side by side, each on members of its own: while one waits for the disk,
/// another decides. More of them would only take the machine from who earns and redeems meanwhile.
const SETTLE_LANES: usize = 2;
/// Members that the first transaction of a lane loads; later ones load as many as their rows allow.
const SETTLE_FIRST: usize = 50;
/// Most members that one transaction loads, however little each writes.
const SETTLE_MOST: usize = 250;

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
    /// it: they are settled when they are read. Returns how many accounts were found due and settled, in many
    /// transactions of bounded size; call again while that is not zero. Nothing is kept between the calls: who is
    /// interrupted begins again with what is still due.
    ///
    /// # Errors
    /// When the database fails. What was settled until then stays.
    pub async fn settle_due(&self) -> Result<usize, LedgerError> {
        let now = self.db.clock().now();
        let mut members = store::account_list_due(&mut &self.db, now, DUE_PAGE).await?;
        let due = members.len();
        members.sort_unstable();
        members.dedup();
        let lanes = match self.db.engine() {
            Engine::Sqlite => 1,
            Engine::Postgres | Engine::Mysql => SETTLE_LANES,
        };
        let share = members.len().div_ceil(lanes).max(1);
        let lanes = members.chunks(share).map(|share| self.settle_members(now, share));
        try_join_all(lanes).await?;
        Ok(due)
    }

    /// Settles these members, who are in order, transaction by transaction. Each takes as many as write about what
    /// the one before it has shown a transaction to hold.
    async fn settle_members(&self, now: Timestamp, mut members: &[MemberId]) -> Result<(), LedgerError> {
        let ids = &self.ids;
        let mut take = SETTLE_FIRST;
        while !members.is_empty() {
            let needs: Vec<Need> = members.iter().take(take).copied().map(Need::to_settle).collect();
            let needs = &needs;
            let (settled, rows) = self
                .db
                .run_tx("ledger.settle_due", |tx| {
                    Box::pin(async move {
                        let mut book = Book::load_in_tx(tx, ids, now, needs).await?;
                        let done = book.settle_all();
                        book.save_in_tx(tx).await?;
                        Ok::<_, LedgerError>(done)
                    })
                })
                .await?;
            members = members.get(settled..).unwrap_or_default();
            take = (SETTLED_ROWS * settled)
                .div_ceil(rows.max(1))
                .clamp(1, SETTLE_MOST);
        }
        Ok(())
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
