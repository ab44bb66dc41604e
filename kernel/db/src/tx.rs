//! Transactions and statements.

use std::{future::Future, marker::PhantomData, time::Duration};

use futures::TryStreamExt as _;
use sqlx::{
    Arguments as _, Database, MySql, Pool, Postgres, Sqlite, TransactionManager as _, mysql::MySqlArguments,
    pool::PoolConnection, postgres::PgArguments, sqlite::SqliteArguments,
};
use tokio::time::timeout;

use crate::{
    BoxFuture, Db, DbError, Engine, Param, Params, Row,
    connect::Pools,
    dialect::{self, Insert, Rendered, Update},
    error::find_db_error,
};

/// How often a transaction runs again after a collision before the caller is told that the system is busy.
const MAX_TRIES: u32 = 10;
/// How long after its first try a transaction may run again: one wait for a lock is half of it.
const RETRY_WITHIN: Duration = Duration::from_secs(10);
/// How long one try may take: a connection that died without a word would otherwise keep it for ever. With
/// [`RETRY_WITHIN`] below the time limit of a request.
const TRY_WITHIN: Duration = Duration::from_secs(15);
/// The same for a read beside a transaction.
const READ_WITHIN: Duration = Duration::from_secs(15);
const NO_ANSWER: DbError = DbError::Busy("the database did not answer in time");
const FIRST_PAUSE_MS: u64 = 2;
const LONGEST_PAUSE_MS: u64 = 500;

/// Reads rows, in a transaction or beside one.
pub trait Executor: Send {
    /// The engine behind.
    fn engine(&self) -> Engine;

    /// All rows of a query.
    ///
    /// # Errors
    /// When the database fails.
    fn fetch_all(
        &mut self,
        sql: &str,
        params: Params,
    ) -> impl Future<Output = Result<Vec<Row>, DbError>> + Send;

    /// The first row of a query, if there is one.
    ///
    /// # Errors
    /// When the database fails.
    fn fetch_optional(
        &mut self,
        sql: &str,
        params: Params,
    ) -> impl Future<Output = Result<Option<Row>, DbError>> + Send {
        async move { Ok(self.fetch_all(sql, params).await?.into_iter().next()) }
    }

    /// The only row of a query that always has one, such as a count.
    ///
    /// # Errors
    /// When the database fails.
    fn fetch_one(&mut self, sql: &str, params: Params) -> impl Future<Output = Result<Row, DbError>> + Send {
        async move {
            self.fetch_optional(sql, params)
                .await?
                .ok_or(DbError::Other(sqlx::Error::RowNotFound))
        }
    }
}

/// An open transaction. Given to the body of [`Db::run_tx`]; commits when the body succeeds.
pub struct Tx<'env> {
    connection: Connection,
    db: &'env Db,
    /// Lets the body's future borrow from its surroundings.
    surroundings: PhantomData<&'env ()>,
}

enum Connection {
    Sqlite(Open<Sqlite>),
    Postgres(Open<Postgres>),
    Mysql(Open<MySql>),
}

/// A connection inside a transaction; dropping it rolls back. In place of sqlx's own guard, because that returns
/// also a dead connection to the pool, where it holds its place until the network gives it up.
struct Open<D: Database> {
    connection: PoolConnection<D>,
    /// A rollback is due.
    open: bool,
    /// It was left in the middle of a call and may be dead: closed instead of returned to the pool.
    suspect: bool,
}

impl<D: Database> Open<D> {
    async fn begin(pool: &Pool<D>, statement: Option<&'static str>) -> Result<Self, sqlx::Error> {
        let mut begun = Self {
            connection: pool.acquire().await?,
            open: false,
            suspect: true,
        };
        let done = D::TransactionManager::begin(&mut begun.connection, statement.map(Into::into)).await;
        begun.suspect = false;
        done?;
        begun.open = true;
        Ok(begun)
    }

    async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.suspect = true;
        let done = D::TransactionManager::commit(&mut self.connection).await;
        self.suspect = false;
        done?;
        self.open = false;
        Ok(())
    }
}

impl<D: Database> Drop for Open<D> {
    fn drop(&mut self) {
        if self.open {
            D::TransactionManager::start_rollback(&mut self.connection);
        }
        if self.suspect {
            self.connection.close_on_drop();
        }
    }
}

impl Db {
    /// Runs a transaction: named for metrics and logs, run again when it collides with another.
    ///
    /// The body may run several times, so it has no effect outside the transaction. A [`DbError`] that it wraps
    /// must be found through `source()`: `#[error(transparent)]` would hide it, and with it the collision.
    ///
    /// # Errors
    /// What the body refuses with, after a rollback; or the database's failure.
    pub async fn run_tx<'env, T, E, F>(&'env self, name: &'static str, body: F) -> Result<T, E>
    where
        F: for<'a> FnMut(&'a mut Tx<'env>) -> BoxFuture<'a, Result<T, E>> + Send,
        T: Send,
        E: From<DbError> + std::error::Error + Send + 'static,
    {
        self.run_tx_within(TRY_WITHIN, name, body).await
    }

    /// As [`Db::run_tx`], with another limit on one try: migrations may rewrite whole tables.
    pub(crate) async fn run_tx_within<'env, T, E, F>(
        &'env self,
        within: Duration,
        name: &'static str,
        mut body: F,
    ) -> Result<T, E>
    where
        F: for<'a> FnMut(&'a mut Tx<'env>) -> BoxFuture<'a, Result<T, E>> + Send,
        T: Send,
        E: From<DbError> + std::error::Error + Send + 'static,
    {
        let stopwatch = self.clock.stopwatch();
        let mut tries = 0;
        let result = loop {
            tries += 1;
            let result = self.try_tx(within, &mut body).await;
            let Err(error) = &result else { break result };
            let Some(cause) = find_db_error(error).filter(|cause| cause.passes_by_itself()) else {
                break result;
            };
            metrics::counter!("huika_tx_retries_total", "tx" => name).increment(1);
            if tries == MAX_TRIES || stopwatch.elapsed() >= RETRY_WITHIN {
                tracing::warn!(tx = name, tries, %cause, "transaction given up");
                break result;
            }
            tracing::debug!(tx = name, tries, %cause, "transaction runs again");
            pause(self.pause_after(tries)).await;
        };
        metrics::histogram!("huika_tx_seconds", "tx" => name).record(stopwatch.elapsed().as_secs_f64());
        result
    }

    async fn try_tx<'env, T, E, F>(&'env self, within: Duration, body: &mut F) -> Result<T, E>
    where
        F: for<'a> FnMut(&'a mut Tx<'env>) -> BoxFuture<'a, Result<T, E>> + Send,
        E: From<DbError>,
    {
        let stopwatch = self.clock.stopwatch();
        let begun = timeout(within, self.begin()).await.map_err(|_| NO_ANSWER)?;
        let mut tx = Tx {
            connection: begun.map_err(DbError::from)?,
            db: self,
            surroundings: PhantomData,
        };
        let left = || within.saturating_sub(stopwatch.elapsed());
        let value = match timeout(left(), body(&mut tx)).await {
            // A refusal drops the transaction, and dropping rolls back.
            Ok(decided) => decided?,
            Err(_) => {
                tx.suspect();
                return Err(NO_ANSWER.into());
            }
        };
        let commit = async {
            match tx.connection {
                Connection::Sqlite(open) => open.commit().await,
                Connection::Postgres(open) => open.commit().await,
                Connection::Mysql(open) => open.commit().await,
            }
        };
        let committed = timeout(left(), commit).await.map_err(|_| NO_ANSWER)?;
        committed.map_err(DbError::from)?;
        Ok(value)
    }

    /// Runs reads on one consistent snapshot of the whole database, for verification and backup.
    ///
    /// # Errors
    /// What the body fails with.
    pub async fn run_snapshot<'env, T, E, F>(&'env self, body: F) -> Result<T, E>
    where
        F: for<'a> FnOnce(&'a mut Tx<'env>) -> BoxFuture<'a, Result<T, E>> + Send,
        E: From<DbError>,
    {
        let connection = self.begin_snapshot().await.map_err(DbError::from)?;
        let mut tx = Tx {
            connection,
            db: self,
            surroundings: PhantomData,
        };
        body(&mut tx).await
    }

    async fn begin(&self) -> Result<Connection, sqlx::Error> {
        Ok(match &self.pools {
            // A deferred transaction that turns into a writer fails at once when another one writes.
            Pools::Sqlite { writer, .. } => {
                // sqlx 0.8 forgets a transaction whose caller leaves while it begins, and the one writer would stay
                // inside it for ever. The task sees it through; dropping its answer rolls back.
                let writer = writer.clone();
                let begun = tokio::spawn(async move { Open::begin(&writer, Some("BEGIN IMMEDIATE")).await });
                Connection::Sqlite(begun.await.map_err(|_| sqlx::Error::WorkerCrashed)??)
            }
            Pools::Postgres(pool) => Connection::Postgres(Open::begin(pool, None).await?),
            Pools::Mysql(pool) => Connection::Mysql(Open::begin(pool, None).await?),
        })
    }

    async fn begin_snapshot(&self) -> Result<Connection, sqlx::Error> {
        Ok(match &self.pools {
            Pools::Sqlite { readers, .. } => Connection::Sqlite(Open::begin(readers, None).await?),
            Pools::Postgres(pool) => Connection::Postgres(
                Open::begin(pool, Some("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")).await?,
            ),
            Pools::Mysql(pool) => {
                let mut begun = Open::begin(pool, None).await?;
                // The level counts from the next transaction on, and only for that one.
                for sql in [
                    "ROLLBACK",
                    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                    "START TRANSACTION WITH CONSISTENT SNAPSHOT",
                ] {
                    sqlx::Executor::execute(&mut *begun.connection, sql).await?;
                }
                Connection::Mysql(begun)
            }
        })
    }

    /// Exponential with jitter, so that colliding transactions do not collide again.
    fn pause_after(&self, tries: u32) -> Duration {
        let ceiling = (FIRST_PAUSE_MS << tries.min(10)).min(LONGEST_PAUSE_MS);
        Duration::from_millis(ceiling / 2 + self.rng.below(ceiling / 2 + 1))
    }
}

/// Collisions pass in real time: a manual clock, which nobody moves meanwhile, would never end the pause.
#[expect(clippy::disallowed_methods, reason = "see above")]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

impl Executor for &Db {
    fn engine(&self) -> Engine {
        Db::engine(self)
    }

    async fn fetch_all(&mut self, sql: &str, params: Params) -> Result<Vec<Row>, DbError> {
        let Rendered { sql, params } = dialect::render(Db::engine(self), sql, params);
        macro_rules! read {
            ($pool:ident, $arguments:ident, $row:ident) => {{
                let mut connection = $pool.acquire().await?;
                let rows = sqlx::query_with(&sql, $arguments(params)?).fetch_all(&mut *connection);
                match timeout(READ_WITHIN, rows).await {
                    Ok(rows) => rows?.into_iter().map(Row::$row).collect(),
                    Err(_) => {
                        connection.close_on_drop();
                        return Err(NO_ANSWER);
                    }
                }
            }};
        }
        Ok(match &self.pools {
            Pools::Sqlite { readers, .. } => read!(readers, sqlite_arguments, Sqlite),
            Pools::Postgres(pool) => read!(pool, postgres_arguments, Postgres),
            Pools::Mysql(pool) => read!(pool, mysql_arguments, Mysql),
        })
    }
}

impl Executor for Tx<'_> {
    fn engine(&self) -> Engine {
        self.db.engine()
    }

    async fn fetch_all(&mut self, sql: &str, params: Params) -> Result<Vec<Row>, DbError> {
        let Rendered { sql, params } = dialect::render(self.db.engine(), sql, params);
        Ok(match &mut self.connection {
            Connection::Sqlite(tx) => {
                let rows = sqlx::query_with(&sql, sqlite_arguments(params)?)
                    .fetch_all(&mut *tx.connection)
                    .await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Connection::Postgres(tx) => {
                let rows = sqlx::query_with(&sql, postgres_arguments(params)?)
                    .fetch_all(&mut *tx.connection)
                    .await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
            Connection::Mysql(tx) => {
                let rows = sqlx::query_with(&sql, mysql_arguments(params)?)
                    .fetch_all(&mut *tx.connection)
                    .await?;
                rows.into_iter().map(Row::Mysql).collect()
            }
        })
    }
}

impl<'env> Tx<'env> {
    fn suspect(&mut self) {
        match &mut self.connection {
            Connection::Sqlite(open) => open.suspect = true,
            Connection::Postgres(open) => open.suspect = true,
            Connection::Mysql(open) => open.suspect = true,
        }
    }

    /// The database that this transaction runs on.
    pub fn db(&self) -> &'env Db {
        self.db
    }

    /// Runs one statement and tells how many rows it met.
    ///
    /// # Errors
    /// [`DbError::Duplicate`] when a unique constraint is violated; otherwise when the database fails.
    pub async fn execute(&mut self, sql: &str, params: Params) -> Result<u64, DbError> {
        let rendered = dialect::render(self.db.engine(), sql, params);
        self.execute_rendered(rendered).await
    }

    /// Inserts rows in bulk and tells how many were new.
    ///
    /// # Errors
    /// [`DbError::Duplicate`] when a key exists, unless the insert skips existing rows.
    pub async fn insert(&mut self, insert: Insert) -> Result<u64, DbError> {
        let mut inserted = 0;
        for statement in insert.render(self.db.engine()) {
            inserted += self.execute_rendered(statement).await?;
        }
        Ok(inserted)
    }

    /// Updates rows in bulk; every row must be met.
    ///
    /// # Errors
    /// [`DbError::Stale`] when a key or guard was not met, which makes the transaction run again.
    pub async fn update(&mut self, update: Update) -> Result<(), DbError> {
        let (table, expected) = (update.table, update.len() as u64);
        let mut met = 0;
        for statement in update.render(self.db.engine()) {
            met += self.execute_rendered(statement).await?;
        }
        if met == expected {
            Ok(())
        } else {
            Err(DbError::Stale(table))
        }
    }

    /// Hands every row of a query to a function, without holding them all in memory.
    ///
    /// # Errors
    /// When the database or the function fails.
    pub async fn for_each<E: From<DbError>>(
        &mut self,
        sql: &str,
        params: Params,
        mut on_row: impl FnMut(Row) -> Result<(), E> + Send,
    ) -> Result<(), E> {
        let Rendered { sql, params } = dialect::render(self.db.engine(), sql, params);
        macro_rules! drain {
            ($tx:ident, $arguments:ident, $row:ident) => {{
                let mut rows = sqlx::query_with(&sql, $arguments(params)?).fetch(&mut *$tx.connection);
                while let Some(row) = rows.try_next().await.map_err(DbError::from)? {
                    on_row(Row::$row(row))?;
                }
            }};
        }
        match &mut self.connection {
            Connection::Sqlite(tx) => drain!(tx, sqlite_arguments, Sqlite),
            Connection::Postgres(tx) => drain!(tx, postgres_arguments, Postgres),
            Connection::Mysql(tx) => drain!(tx, mysql_arguments, Mysql),
        }
        Ok(())
    }

    /// Runs a text of SQL as it stands, for migrations alone.
    pub(crate) async fn execute_raw(&mut self, sql: String) -> Result<(), DbError> {
        // A plain text is sent unprepared; the trait's own method keeps the future Send.
        match &mut self.connection {
            Connection::Sqlite(tx) => sqlx::Executor::execute(&mut *tx.connection, sql.as_str())
                .await
                .map(drop),
            Connection::Postgres(tx) => sqlx::Executor::execute(&mut *tx.connection, sql.as_str())
                .await
                .map(drop),
            Connection::Mysql(tx) => sqlx::Executor::execute(&mut *tx.connection, sql.as_str())
                .await
                .map(drop),
        }
        .map_err(DbError::from)
    }

    async fn execute_rendered(&mut self, rendered: Rendered) -> Result<u64, DbError> {
        let Rendered { sql, params } = rendered;
        Ok(match &mut self.connection {
            Connection::Sqlite(tx) => sqlx::query_with(&sql, sqlite_arguments(params)?)
                .execute(&mut *tx.connection)
                .await?
                .rows_affected(),
            Connection::Postgres(tx) => sqlx::query_with(&sql, postgres_arguments(params)?)
                .execute(&mut *tx.connection)
                .await?
                .rows_affected(),
            Connection::Mysql(tx) => sqlx::query_with(&sql, mysql_arguments(params)?)
                .execute(&mut *tx.connection)
                .await?
                .rows_affected(),
        })
    }
}

fn encode_error(error: sqlx::error::BoxDynError) -> DbError {
    DbError::Other(sqlx::Error::Encode(error))
}

macro_rules! scalar_arguments {
    ($name:ident, $arguments:ty) => {
        fn $name(params: Params) -> Result<$arguments, DbError> {
            let mut arguments = <$arguments>::default();
            for param in params {
                match param {
                    Param::Int(value) => arguments.add(value),
                    Param::Text(value) => arguments.add(value),
                    Param::Bytes(value) => arguments.add(value),
                    Param::Ints(_) | Param::Texts(_) | Param::Array(_) => {
                        return Err(DbError::Setup(
                            "a list parameter stands where one value belongs".into(),
                        ));
                    }
                }
                .map_err(encode_error)?;
            }
            Ok(arguments)
        }
    };
}
scalar_arguments!(sqlite_arguments, SqliteArguments<'static>);
scalar_arguments!(mysql_arguments, MySqlArguments);

fn postgres_arguments(params: Params) -> Result<PgArguments, DbError> {
    let mut arguments = PgArguments::default();
    for param in params {
        match param {
            Param::Int(value) => arguments.add(value),
            Param::Text(value) => arguments.add(value),
            Param::Bytes(value) => arguments.add(value),
            Param::Ints(values) => arguments.add(values),
            Param::Texts(values) => arguments.add(values),
            Param::Array(values) => match values.first() {
                Some(Param::Int(_)) => arguments.add(column(values, |value| match value {
                    Param::Int(value) => Some(value),
                    _ => None,
                })?),
                Some(Param::Text(_)) => arguments.add(column(values, |value| match value {
                    Param::Text(value) => Some(value),
                    _ => None,
                })?),
                _ => arguments.add(column(values, |value| match value {
                    Param::Bytes(value) => Some(value),
                    _ => None,
                })?),
            },
        }
        .map_err(encode_error)?;
    }
    Ok(arguments)
}

/// The values of one column; rows that disagree about its type are a bug of the caller.
fn column<T>(
    values: Vec<Param>,
    pick: impl Fn(Param) -> Option<Option<T>>,
) -> Result<Vec<Option<T>>, DbError> {
    values
        .into_iter()
        .map(|value| {
            pick(value).ok_or_else(|| DbError::Setup("the rows of one column have two types".into()))
        })
        .collect()
}
