//! No statement of the hot paths reads a whole table. The statements run for real on thousands of rows, and
//! the engine says afterwards how it read: PostgreSQL and MySQL count scans, SQLite explains each statement.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    thread::ThreadId,
};

use huika_core::MemberId;
use huika_db::{Executor as _, Tx, params};
use huika_ledger::{
    Asset, Availability, Book, Command, CounterAccount, LedgerError, Need, NegativePolicy, Operation,
    PostingId,
};
use huika_testing::{Engine, TestDb};

use crate::counter::{Counter, DAY, command, earn, earn_until, hold, reverse_spend, spend};

const MEMBERS: usize = 2_500;
const BATCH: usize = 40;
/// Far below the rows of any table, above what the paths need.
const MOST_ROWS_READ: i64 = 1_200;

/// Members with lots, growth, a hold, a spend and a refund each, and a purchase of the first, who shops often.
async fn fill(counter: &Counter) -> (Vec<(MemberId, PostingId)>, PostingId) {
    let (ids, now) = (&counter.cx.ids, counter.now());
    let members: Vec<MemberId> = (0..MEMBERS).map(|_| ids.next()).collect();
    let mut filled = Vec::new();
    for members in members.chunks(500) {
        let spent: Vec<(MemberId, PostingId)> = counter
            .cx
            .db
            .run_tx("test.fill", |tx| {
                Box::pin(async move {
                    let needs: Vec<Need> = members
                        .iter()
                        .map(|member_id| Need::of(&command(*member_id, "spend", now, vec![spend(30)])))
                        .collect();
                    let mut book = Book::load_in_tx(tx, ids, now, &needs).await?;
                    let mut spent = Vec::new();
                    for member_id in members {
                        let until = now.plus_millis(30 * DAY);
                        book.apply(&command(
                            *member_id,
                            "earn",
                            now,
                            vec![earn_until(60, until), earn(40), growth(40)],
                        ))?;
                        book.apply(&command(*member_id, "hold", now, vec![hold(10, until)]))?;
                        let source = book
                            .apply(&command(*member_id, "spend", now, vec![spend(80)]))?
                            .posting_id;
                        book.apply(&command(
                            *member_id,
                            "refund",
                            now,
                            vec![reverse_spend(source, 5)],
                        ))?;
                        spent.push((*member_id, source));
                    }
                    book.save_in_tx(tx).await?;
                    Ok::<_, LedgerError>(spent)
                })
            })
            .await
            .unwrap();
        filled.extend(spent);
    }
    let purchase = shop_often(counter, filled[0].0).await;
    match counter.cx.db.engine() {
        Engine::Sqlite => {}
        Engine::Postgres => drop(counter.cx.execute("ANALYZE", params![]).await),
        Engine::Mysql => {
            for table in [
                "account",
                "lot",
                "hold",
                "posting",
                "entry",
                "lot_entry",
                "reversal",
            ] {
                counter
                    .cx
                    .fetch_all(&format!("ANALYZE TABLE ledger_{table}"))
                    .await;
            }
        }
    }
    (filled, purchase)
}

/// The first member shops so often that its growth lots alone are more rows than the paths may read. Gives its
/// last purchase.
async fn shop_often(counter: &Counter, member_id: MemberId) -> PostingId {
    let purchases = command(member_id, "purchases", counter.now(), vec![growth(1); 1_500]);
    counter.ledger.post(purchases).await.unwrap();
    let purchase = command(member_id, "purchase", counter.now(), vec![earn(9), growth(9)]);
    counter.ledger.post(purchase).await.unwrap().posting_id
}

fn growth(amount: i64) -> Operation {
    Operation::Earn {
        asset: Asset::Growth,
        amount,
        counter_account: CounterAccount::Issuance,
        availability: Availability::Now,
        expires_at: None,
    }
}

/// What the hot paths ask for, by one member and by a batch of many.
async fn hot_paths(
    tx: &mut Tx<'_>,
    counter: &Counter,
    filled: &[(MemberId, PostingId)],
    purchase: PostingId,
) -> Result<(), LedgerError> {
    let now = counter.now();
    let (member_id, source) = filled[0];
    let one = |key: &str, operations| command(member_id, key, now, operations);
    let held = counter
        .ledger
        .post_in_tx(tx, &one("one-hold", vec![hold(1, now.plus_millis(DAY))]))
        .await?;
    let hold_id = held.entries[0].hold_id.unwrap();
    let payment = CounterAccount::Payment;
    for command in [
        one("one-earn", vec![earn(10)]),
        one("one-spend", vec![spend(5)]),
        one(
            "one-post",
            vec![Operation::PostHold {
                hold_id,
                amount: 1,
                counter_account: payment,
            }],
        ),
        one("one-refund", vec![reverse_spend(source, 5)]),
        one("one-refund", vec![reverse_spend(source, 5)]),
        one(
            "one-return",
            [Asset::Points, Asset::Growth]
                .map(|asset| Operation::ReverseEarn {
                    source: purchase,
                    asset,
                    amount: 4,
                    policy: NegativePolicy::TakeExisting,
                })
                .to_vec(),
        ),
    ] {
        counter.ledger.post_in_tx(tx, &command).await?;
    }
    let closed = one("one-void", vec![Operation::VoidHold { hold_id }]);
    assert!(counter.ledger.post_in_tx(tx, &closed).await.is_err());

    if tx.engine() == Engine::Postgres {
        // For so many of so few, scanning is right; the question is whether an index could serve.
        tx.execute("SET LOCAL enable_seqscan = off", params![]).await?;
    }
    let commands: Vec<Command> = filled[1..=BATCH]
        .iter()
        .enumerate()
        .map(|(number, (member_id, source))| {
            let operation = match number % 4 {
                0 => earn(10),
                1 => spend(5),
                2 => reverse_spend(*source, 5),
                _ => hold(1, now.plus_millis(DAY)),
            };
            command(*member_id, "many", now, vec![operation])
        })
        .collect();
    let needs: Vec<Need> = commands.iter().map(Need::of).collect();
    let mut book = Book::load_in_tx(tx, &counter.cx.ids, now, &needs).await?;
    for command in &commands {
        book.apply(command)?;
    }
    book.save_in_tx(tx).await?;

    huika_ledger::balances(tx, &counter.cx.ids, member_id, now).await?;
    // What is due is read with its lots and holds.
    huika_ledger::balances(tx, &counter.cx.ids, member_id, now.plus_millis(40 * DAY)).await?;
    huika_ledger::lots(tx, &counter.cx.ids, member_id, Asset::Points, now, None, 100).await?;
    huika_ledger::first_expiring(tx, &counter.cx.ids, member_id, Asset::Points, now).await?;
    huika_ledger::statement(tx, member_id, Asset::Points, None, 20).await?;
    // As the job asks, when nothing is due.
    tx.fetch_all(
        "SELECT member_id FROM ledger_account WHERE next_change_at <= ? ORDER BY next_change_at LIMIT ?",
        params![now, 500_i64],
    )
    .await?;
    Ok(())
}

/// How many rows of the ledger, or on MySQL of anything, this transaction has read so far.
async fn rows_read(tx: &mut Tx<'_>) -> Result<i64, LedgerError> {
    match tx.engine() {
        Engine::Sqlite => Ok(0),
        Engine::Postgres => {
            let sql = "SELECT CAST(SUM(seq_tup_read + COALESCE(idx_tup_fetch, 0)) AS {int}) AS n \
                 FROM pg_stat_xact_user_tables WHERE relname LIKE 'ledger%'";
            Ok(tx.fetch_one(sql, params![]).await?.get("n")?)
        }
        Engine::Mysql => {
            // Rows in the order of the table, and rows along an index.
            let rows = tx
                .fetch_all("SHOW SESSION STATUS LIKE 'Handler_read%next'", params![])
                .await?;
            let mut sum = 0;
            for row in rows {
                sum += row.get::<String>("Value")?.parse::<i64>().unwrap();
            }
            Ok(sum)
        }
    }
}

huika_testing::db_test! { migrations = huika_ledger::migrations,

    async fn no_hot_statement_reads_a_whole_table(cx) {
        let spy = Spy::start();
        let counter = Counter::open(cx);
        let (filled, purchase) = fill(&counter).await;
        let (counter, filled) = (&counter, &filled);
        let (before, after) = counter
            .cx
            .db
            .run_tx("test.hot_paths", |tx| {
                Box::pin(async move {
                    tx.fetch_one(MARKER, params![]).await?;
                    let before = rows_read(tx).await?;
                    hot_paths(tx, counter, filled, purchase).await?;
                    let after = rows_read(tx).await?;
                    Ok::<_, LedgerError>((before, after))
                })
            })
            .await
            .unwrap();
        if counter.cx.db.engine() == Engine::Sqlite {
            explain(&counter.cx, &spy.statements()).await;
        } else {
            assert!(after - before < MOST_ROWS_READ, "{} rows read", after - before);
        }
        counter.assert_proven().await;

        // The measure itself: a scan is seen.
        let (before, after) = counter
            .cx
            .db
            .run_tx("test.scan", |tx| {
                Box::pin(async move {
                    tx.fetch_one(MARKER, params![]).await?;
                    let before = rows_read(tx).await?;
                    tx.fetch_all("SELECT lot_id FROM ledger_lot WHERE remaining = ?", params![4_711_i64]).await?;
                    let after = rows_read(tx).await?;
                    Ok::<_, LedgerError>((before, after))
                })
            })
            .await
            .unwrap();
        if counter.cx.db.engine() == Engine::Sqlite {
            assert_eq!(scans(&counter.cx, &spy.statements()).await.len(), 1);
        } else {
            assert!(after - before > MOST_ROWS_READ, "{} rows read", after - before);
        }
    }
}

// ---- SQLite keeps no count, so its statements are overheard and explained -----------------------------------------

/// Tells which worker thread of the driver serves the test: other tests may run in this process.
const MARKER: &str = "SELECT 4711 AS marker_of_plans";

static HEARD: Mutex<Vec<(ThreadId, String)>> = Mutex::new(Vec::new());

/// Hears every statement that the driver logs.
struct Spy;

impl Spy {
    fn start() -> Self {
        // The second of two tests in one process finds it set.
        let _ = tracing::subscriber::set_global_default(Self);
        Self
    }

    /// The statements of the connection that ran the marker last, from the marker on.
    fn statements(&self) -> BTreeSet<String> {
        let heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = heard.iter().rposition(|(_, sql)| sql == MARKER) else {
            return BTreeSet::new();
        };
        let thread = heard[at].0;
        heard[at + 1..]
            .iter()
            .filter(|(of, _)| *of == thread)
            .map(|(_, sql)| sql.clone())
            .collect()
    }
}

impl tracing::Subscriber for Spy {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }
    fn event(&self, event: &tracing::Event<'_>) {
        let mut statement = Statement::default();
        event.record(&mut statement);
        let sql = if statement.whole.trim().is_empty() {
            statement.summary
        } else {
            statement.whole
        };
        let mut heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
        heard.push((std::thread::current().id(), sql.trim().to_owned()));
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[derive(Default)]
struct Statement {
    summary: String,
    whole: String,
}

impl tracing::field::Visit for Statement {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        match field.name() {
            "summary" => self.summary = value.to_owned(),
            "db.statement" => self.whole = value.to_owned(),
            _ => {}
        }
    }
    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
}

async fn explain(cx: &TestDb, statements: &BTreeSet<String>) {
    for table in [
        "account",
        "posting",
        "lot",
        "hold",
        "entry",
        "lot_entry",
        "reversal",
    ] {
        let name = format!("ledger_{table} ");
        assert!(
            statements.iter().any(|sql| sql.contains(&name)),
            "{name} is not in {statements:#?}"
        );
    }
    let scans = scans(cx, statements).await;
    assert!(scans.is_empty(), "{scans:#?}");
}

/// The statements that scan a table, with the line of the plan that says so.
async fn scans(cx: &TestDb, statements: &BTreeSet<String>) -> Vec<(String, String)> {
    let mut scans = Vec::new();
    for sql in statements.iter().filter(|sql| sql.contains("ledger_")) {
        // The values do not matter to the plan.
        let plan = cx
            .fetch_all(&format!("EXPLAIN QUERY PLAN {}", sql.replace('?', "1")))
            .await;
        for row in plan {
            let line: String = row.get("detail").unwrap();
            // The rows that a statement brings along are scanned, of course.
            let own = ["SCAN v", "SCAN CONSTANT ROW", "SCAN 1 CONSTANT ROW"].contains(&line.as_str())
                || line.ends_with("CONSTANT ROWS")
                || line.ends_with("-ROW VALUES CLAUSE");
            if line.starts_with("SCAN") && !own {
                scans.push((sql.clone(), line));
            }
        }
    }
    scans
}
