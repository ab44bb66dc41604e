//! A table to write to, and a way to wait for what happens in another task.

use std::time::Duration;

use huika_core::{Clock, Timestamp};
use huika_db::{DbError, Migration, dialect::Insert, params};
use huika_testing::TestDb;

pub(crate) const CUPS: &str = "CREATE TABLE test_cup (
  shop BIGINT NOT NULL,
  code {key(32)} NOT NULL,
  title {text(40)},
  amount BIGINT,
  picture {bytes(64)},
  sequence BIGINT NOT NULL,
  CONSTRAINT pk_test_cup PRIMARY KEY (shop, code)
) {clustered};

CREATE INDEX ix_test_cup_amount ON test_cup (amount);
";

/// The module of the tests: one table.
pub(crate) fn cups() -> Vec<Migration> {
    vec![Migration {
        module: "test",
        number: 1,
        name: "cups",
        sql: CUPS,
    }]
}

pub(crate) const COLUMNS: &[&str] = &["shop", "code", "title", "amount", "picture", "sequence"];

/// A row of `test_cup`.
pub(crate) type Cup = (i64, String, Option<String>, Option<i64>, Option<Vec<u8>>, i64);

pub(crate) fn insert_of(cups: &[Cup]) -> Insert {
    let mut insert = Insert::into_table("test_cup", COLUMNS);
    for (shop, code, title, amount, picture, sequence) in cups.iter().cloned() {
        insert.push(params![shop, code, title, amount, picture, sequence]);
    }
    insert
}

/// All cups in the order of their keys.
pub(crate) async fn read_cups(cx: &TestDb) -> Vec<Cup> {
    let rows = cx.fetch_all("SELECT * FROM test_cup ORDER BY shop, code").await;
    rows.iter()
        .map(|row| {
            Ok::<Cup, DbError>((
                row.get("shop")?,
                row.get("code")?,
                row.get("title")?,
                row.get("amount")?,
                row.get("picture")?,
                row.get("sequence")?,
            ))
        })
        .collect::<Result<_, _>>()
        .unwrap()
}

/// Runs `step` until it answers with something, for at most ten seconds of real time.
pub(crate) async fn eventually<T>(mut step: impl AsyncFnMut() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let found = async {
        loop {
            if let Some(found) = step().await {
                return found;
            }
            ticks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), found)
        .await
        .expect("it should have happened by now")
}

/// Moves a manual clock on while somebody renews a lease in real time: never so far that a renewal which is on its
/// way could come too late. `check` runs after each step.
pub(crate) async fn advance_held(
    clock: &Clock,
    end: Timestamp,
    held_until: impl AsyncFn() -> Timestamp,
    check: impl AsyncFn(),
) {
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let mut waiting = clock.stopwatch();
    while clock.now() < end {
        let left = held_until().await.millis_since(clock.now());
        // Who began to wait after the clock was moved needs it moved again.
        let waits_for_us = left > 10_000 && waiting.elapsed() > Duration::from_millis(200);
        if left > 45_000 || waits_for_us {
            clock.advance(Duration::from_secs(5));
            waiting = clock.stopwatch();
        }
        check().await;
        ticks.tick().await;
    }
}

/// What a test refuses with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TestError {
    #[error("refused")]
    Refused,
    #[error("the database failed")]
    Db(#[from] DbError),
}
