//! The transactions of the baseline, statement by statement as `pgbench/earn.sql` has them, through sqlx alone.

use std::{str::FromStr as _, time::Duration};

use huika_core::IdGenerator;
use huika_db::Engine;
use sha2::{Digest as _, Sha256};
use sqlx::{
    Executor as _, MySqlPool, PgPool, SqlitePool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{Failure, Outcome, Wish};
use crate::database::{Setting, synchronous_name};

const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_AMOUNT: i64 = 1_000_000_000_000_000;
/// The end of the year after the next, as the programme has it.
const EXPIRES_AT: i64 = 1_830_268_800_000;
const ACTOR: &str = "apc_01hpw4v5z6k8f";

/// The SQL, once with `?` and once with the numbers of PostgreSQL.
macro_rules! statement {
    ($name:ident, $($text:literal),+ $(,)?) => {
        const $name: [&str; 2] = statement!(@both concat!($($text),+));
    };
    (@both $text:expr) => {{
        const PLAIN: &str = $text;
        const NUMBERED_BYTES: [u8; numbered_length(PLAIN)] = numbered(PLAIN);
        // Digits and dollars replace question marks, so the bytes stay UTF-8.
        [PLAIN, match std::str::from_utf8(&NUMBERED_BYTES) {
            Ok(text) => text,
            Err(_) => "",
        }]
    }};
}

/// Bytes of a statement with `$1`, `$2` … instead of `?`.
const fn numbered_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut length, mut number) = (0, 0, 0);
    while at < bytes.len() {
        if bytes[at] == b'?' {
            number += 1;
            length += if number < 10 { 2 } else { 3 };
        } else {
            length += 1;
        }
        at += 1;
    }
    length
}

const fn numbered<const N: usize>(text: &str) -> [u8; N] {
    let bytes = text.as_bytes();
    let mut out = [0; N];
    let (mut at, mut to, mut number) = (0, 0, 0_u8);
    while at < bytes.len() {
        if bytes[at] == b'?' {
            number += 1;
            out[to] = b'$';
            to += 1;
            if number >= 10 {
                out[to] = b'0' + number / 10;
                to += 1;
            }
            out[to] = b'0' + number % 10;
        } else {
            out[to] = bytes[at];
        }
        to += 1;
        at += 1;
    }
    out
}

statement!(
    EARN_ACCOUNT,
    "UPDATE ledger_account SET available = available + ?, lifetime_in = lifetime_in + ?, sequence = sequence + 1, ",
    "chain = ?, next_change_at = CASE WHEN next_change_at < ? THEN next_change_at ELSE ? END ",
    "WHERE member_id = ? AND asset = 1 AND lifetime_in <= ?",
);
statement!(
    READ_ACCOUNT,
    "SELECT available, sequence FROM ledger_account WHERE member_id = ? AND asset = 1"
);
statement!(
    LOCK_ACCOUNT,
    "SELECT available, sequence FROM ledger_account WHERE member_id = ? AND asset = 1 FOR UPDATE",
);
statement!(
    READ_LOTS,
    "SELECT lot_id, remaining - held FROM ledger_lot WHERE member_id = ? AND asset = 1 AND state = 2 ",
    "ORDER BY expires_at, lot_id",
);
statement!(
    SPEND_LOT,
    // The state first: MySQL assigns from left to right and would see what is left.
    "UPDATE ledger_lot SET state = CASE WHEN remaining = ? THEN 3 ELSE state END, remaining = remaining - ? ",
    "WHERE member_id = ? AND lot_id = ? AND remaining - held >= ?",
);
statement!(
    SPEND_ACCOUNT,
    "UPDATE ledger_account SET available = available - ?, lifetime_out = lifetime_out + ?, sequence = sequence + 1, ",
    "chain = ? WHERE member_id = ? AND asset = 1 AND available >= ?",
);
statement!(
    POSTING,
    "INSERT INTO ledger_posting (member_id, posting_id, kind, idem_key, input_hash, reference, actor, effective_at, ",
    "recorded_at, outcome, trace) VALUES (?, ?, ?, ?, ?, '', ?, ?, ?, ?, ?)",
);
statement!(
    ENTRY,
    "INSERT INTO ledger_entry (member_id, asset, sequence, posting_id, kind, counter_account, available_change, ",
    "pending_change, held_change, shortfall, chain) VALUES (?, 1, ?, ?, ?, ?, ?, 0, 0, 0, ?)",
);
statement!(
    LOT,
    "INSERT INTO ledger_lot (member_id, lot_id, asset, posting_id, amount, remaining, held, expired, state, ",
    "available_at, release_event, expires_at) VALUES (?, ?, 1, ?, ?, ?, 0, 0, 2, NULL, NULL, ?)",
);
statement!(
    LOT_ENTRY,
    "INSERT INTO ledger_lot_entry (member_id, posting_id, lot_id, remaining_change, held_change) ",
    "VALUES (?, ?, ?, ?, 0)",
);

/// What the process computes for a posting, as Huika does.
struct Prepared {
    posting_id: i64,
    lot_id: i64,
    now: i64,
    hash: Vec<u8>,
    trace: String,
}

impl Prepared {
    fn of(ids: &IdGenerator, wish: &Wish, sign: i64) -> Self {
        // Ids of any time-ordered kind: what matters is their order.
        let id = || ids.next::<OrderedKind>().as_i64();
        let (posting_id, lot_id) = (id(), id());
        let mut hasher = Sha256::new();
        hasher.update(wish.member_id.to_be_bytes());
        hasher.update(&wish.key);
        hasher.update(wish.points.to_be_bytes());
        Self {
            posting_id,
            lot_id,
            now: huika_core::Clock::system().now().as_millis(),
            hash: hasher.finalize().to_vec(),
            trace:
                serde_json::json!({ "rule": "direct", "points": sign * wish.points, "reason": wish.reason })
                    .to_string(),
        }
    }
}

#[derive(Debug)]
enum OrderedKind {}
impl huika_core::IdKind for OrderedKind {
    const PREFIX: &'static str = "pst";
}

macro_rules! transactions {
    ($module:ident, $database:ty, $statement:literal, $begin:expr, $for_update:expr) => {
        mod $module {
            use super::*;

            type Database = $database;

            /// Update, read, insert three rows, commit.
            pub(super) async fn earn(
                pool: &sqlx::Pool<Database>,
                ids: &IdGenerator,
                wish: &Wish,
            ) -> Result<Outcome, Failure> {
                let prepared = Prepared::of(ids, wish, 1);
                let Prepared { posting_id, lot_id, now, hash, trace } = &prepared;
                let (member_id, points) = (wish.member_id, wish.points);
                let mut tx = pool.begin_with($begin).await?;
                let met = sqlx::query::<Database>(EARN_ACCOUNT[$statement])
                    .bind(points)
                    .bind(points)
                    .bind(hash)
                    .bind(EXPIRES_AT)
                    .bind(EXPIRES_AT)
                    .bind(member_id)
                    .bind(MAX_AMOUNT - points)
                    .execute(&mut *tx)
                    .await?
                    .rows_affected();
                if met != 1 {
                    return Err(Failure::Refused);
                }
                let (available, sequence): (i64, i64) = sqlx::query_as::<Database, _>(READ_ACCOUNT[$statement])
                    .bind(member_id)
                    .fetch_one(&mut *tx)
                    .await?;
                let outcome = serde_json::json!([{
                    "asset": "points", "kind": "earn", "counter_account": "issuance",
                    "available_change": points, "available": available, "lot_id": format!("lot_{lot_id:013}"),
                }])
                .to_string();
                sqlx::query::<Database>(POSTING[$statement])
                    .bind(member_id)
                    .bind(posting_id)
                    .bind("earn")
                    .bind(&wish.key)
                    .bind(hash)
                    .bind(ACTOR)
                    .bind(now)
                    .bind(now)
                    .bind(outcome)
                    .bind(trace)
                    .execute(&mut *tx)
                    .await?;
                sqlx::query::<Database>(ENTRY[$statement])
                    .bind(member_id)
                    .bind(sequence)
                    .bind(posting_id)
                    .bind("earn")
                    .bind("issuance")
                    .bind(points)
                    .bind(hash)
                    .execute(&mut *tx)
                    .await?;
                sqlx::query::<Database>(LOT[$statement])
                    .bind(member_id)
                    .bind(lot_id)
                    .bind(posting_id)
                    .bind(points)
                    .bind(points)
                    .bind(EXPIRES_AT)
                    .execute(&mut *tx)
                    .await?;
                tx.commit().await?;
                Ok(Outcome { posting_id: *posting_id, replayed: false, available, pending: 0, held: 0 })
            }

            /// Lock the account, read its lots, take from the first to expire, insert, commit.
            pub(super) async fn redeem(
                pool: &sqlx::Pool<Database>,
                ids: &IdGenerator,
                wish: &Wish,
            ) -> Result<Outcome, Failure> {
                let prepared = Prepared::of(ids, wish, -1);
                let Prepared { posting_id, now, hash, trace, .. } = &prepared;
                let (member_id, points) = (wish.member_id, wish.points);
                let mut tx = pool.begin_with($begin).await?;
                let lock = if $for_update { LOCK_ACCOUNT } else { READ_ACCOUNT };
                let account: Option<(i64, i64)> = sqlx::query_as::<Database, _>(lock[$statement])
                    .bind(member_id)
                    .fetch_optional(&mut *tx)
                    .await?;
                let Some((available, sequence)) = account.filter(|(available, _)| *available >= points) else {
                    return Err(Failure::Refused);
                };
                let lots: Vec<(i64, i64)> = sqlx::query_as::<Database, _>(READ_LOTS[$statement])
                    .bind(member_id)
                    .fetch_all(&mut *tx)
                    .await?;
                let mut left = points;
                let mut taken = Vec::new();
                for (lot_id, free) in lots {
                    let part = left.min(free);
                    if part > 0 {
                        taken.push((lot_id, part));
                        left -= part;
                    }
                }
                for (lot_id, part) in &taken {
                    let met = sqlx::query::<Database>(SPEND_LOT[$statement])
                        .bind(part)
                        .bind(part)
                        .bind(member_id)
                        .bind(lot_id)
                        .bind(part)
                        .execute(&mut *tx)
                        .await?
                        .rows_affected();
                    if met != 1 {
                        return Err(Failure::Refused);
                    }
                }
                let met = sqlx::query::<Database>(SPEND_ACCOUNT[$statement])
                    .bind(points)
                    .bind(points)
                    .bind(hash)
                    .bind(member_id)
                    .bind(points)
                    .execute(&mut *tx)
                    .await?
                    .rows_affected();
                if left > 0 || met != 1 {
                    return Err(Failure::Refused);
                }
                let available = available - points;
                let lots: Vec<(String, i64)> =
                    taken.iter().map(|(lot_id, part)| (format!("lot_{lot_id:013}"), *part)).collect();
                let outcome = serde_json::json!([{
                    "asset": "points", "kind": "spend", "counter_account": "redemption",
                    "available_change": -points, "available": available, "lots": lots,
                }])
                .to_string();
                sqlx::query::<Database>(POSTING[$statement])
                    .bind(member_id)
                    .bind(posting_id)
                    .bind("redeem")
                    .bind(&wish.key)
                    .bind(hash)
                    .bind(ACTOR)
                    .bind(now)
                    .bind(now)
                    .bind(outcome)
                    .bind(trace)
                    .execute(&mut *tx)
                    .await?;
                sqlx::query::<Database>(ENTRY[$statement])
                    .bind(member_id)
                    .bind(sequence + 1)
                    .bind(posting_id)
                    .bind("spend")
                    .bind("redemption")
                    .bind(-points)
                    .bind(hash)
                    .execute(&mut *tx)
                    .await?;
                for (lot_id, part) in &taken {
                    sqlx::query::<Database>(LOT_ENTRY[$statement])
                        .bind(member_id)
                        .bind(posting_id)
                        .bind(lot_id)
                        .bind(-part)
                        .execute(&mut *tx)
                        .await?;
                }
                tx.commit().await?;
                Ok(Outcome { posting_id: *posting_id, replayed: false, available, pending: 0, held: 0 })
            }
        }
    };
}
transactions!(sqlite, sqlx::Sqlite, 0, "BEGIN IMMEDIATE", false);
transactions!(postgres, sqlx::Postgres, 1, "BEGIN", true);
transactions!(mysql, sqlx::MySql, 0, "BEGIN", true);

/// The connections of the baseline.
pub(crate) enum Pool {
    /// One writer, as SQLite has one.
    Sqlite(SqlitePool),
    Postgres(PgPool),
    Mysql(MySqlPool),
}

impl Pool {
    pub(crate) async fn connect(url: &str, connections: u32) -> anyhow::Result<Self> {
        Ok(match Engine::of_url(url)? {
            Engine::Sqlite => {
                let options = SqliteConnectOptions::from_str(url)?
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(ACQUIRE_TIMEOUT)
                    .foreign_keys(false)
                    .pragma("temp_store", "memory")
                    .pragma("wal_autocheckpoint", "8000")
                    .pragma("journal_size_limit", "67108864")
                    .pragma("cache_size", "-16000");
                let pool = SqlitePoolOptions::new().max_connections(1);
                Self::Sqlite(
                    pool.acquire_timeout(ACQUIRE_TIMEOUT)
                        .test_before_acquire(false)
                        .connect_with(options)
                        .await?,
                )
            }
            Engine::Postgres => {
                let pool = PgPoolOptions::new()
                    .max_connections(connections)
                    .min_connections(connections);
                let pool = pool.acquire_timeout(ACQUIRE_TIMEOUT).test_before_acquire(false);
                Self::Postgres(pool.connect_with(PgConnectOptions::from_str(url)?).await?)
            }
            Engine::Mysql => {
                let options = MySqlConnectOptions::from_str(url)?
                    .charset("utf8mb4")
                    .collation("utf8mb4_bin");
                let pool = MySqlPoolOptions::new()
                    .max_connections(connections)
                    .min_connections(connections);
                let pool = pool
                    .acquire_timeout(ACQUIRE_TIMEOUT)
                    .test_before_acquire(false)
                    .after_connect(|connection, _| {
                        Box::pin(async move {
                            let isolation = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
                            connection.execute(isolation).await.map(drop)
                        })
                    });
                Self::Mysql(pool.connect_with(options).await?)
            }
        })
    }

    pub(crate) async fn earn(&self, ids: &IdGenerator, wish: &Wish) -> Result<Outcome, Failure> {
        match self {
            Self::Sqlite(pool) => sqlite::earn(pool, ids, wish).await,
            Self::Postgres(pool) => postgres::earn(pool, ids, wish).await,
            Self::Mysql(pool) => mysql::earn(pool, ids, wish).await,
        }
    }

    pub(crate) async fn redeem(&self, ids: &IdGenerator, wish: &Wish) -> Result<Outcome, Failure> {
        match self {
            Self::Sqlite(pool) => sqlite::redeem(pool, ids, wish).await,
            Self::Postgres(pool) => postgres::redeem(pool, ids, wish).await,
            Self::Mysql(pool) => mysql::redeem(pool, ids, wish).await,
        }
    }

    /// What durability rests on, from a connection that the transactions use.
    pub(crate) async fn durability(&self) -> Result<Vec<Setting>, sqlx::Error> {
        let setting = |name: &str, value: String, durable| Setting {
            name: name.to_owned(),
            value,
            durable,
        };
        Ok(match self {
            Self::Sqlite(pool) => {
                let level: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(pool).await?;
                let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(pool).await?;
                let durable = mode == "wal";
                vec![
                    setting("synchronous", synchronous_name(level).to_owned(), level >= 2),
                    setting("journal_mode", mode, durable),
                ]
            }
            Self::Postgres(pool) => {
                let level: String = sqlx::query_scalar("SHOW synchronous_commit")
                    .fetch_one(pool)
                    .await?;
                let durable = level != "off";
                vec![setting("synchronous_commit", level, durable)]
            }
            Self::Mysql(pool) => {
                let sql = "SELECT CAST(@@innodb_flush_log_at_trx_commit AS SIGNED)";
                let flush: i64 = sqlx::query_scalar(sql).fetch_one(pool).await?;
                vec![setting(
                    "innodb_flush_log_at_trx_commit",
                    flush.to_string(),
                    flush == 1,
                )]
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_get_their_numbers() {
        assert_eq!(
            READ_ACCOUNT[1],
            "SELECT available, sequence FROM ledger_account WHERE member_id = $1 AND asset = 1"
        );
        assert!(
            POSTING[1].ends_with("VALUES ($1, $2, $3, $4, $5, '', $6, $7, $8, $9, $10)"),
            "{}",
            POSTING[1]
        );
    }
}
