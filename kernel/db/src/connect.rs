//! Addresses, pools and the settings that every connection gets.

use std::{collections::HashSet, str::FromStr, sync::Arc, time::Duration};

use huika_core::{Clock, Rng};
use sqlx::{
    Executor as _, MySqlPool, PgPool, SqlitePool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
    pool::PoolOptions,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::DbError;

/// How long a request waits for a connection before it is told that the system is busy.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements kept per connection; multi-row statements have five sizes each.
const STATEMENT_CACHE: usize = 400;
const SQLITE_READERS: u32 = 4;
/// The same on SQLite, where it is the wait for the one writer's turn. Below the time limit of a request, so that
/// a writer that is kept busy shows as a busy system.
const SQLITE_TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// An engine that Huika runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// SQLite: the embedded default.
    Sqlite,
    /// PostgreSQL 14 or later, also Citus.
    Postgres,
    /// MySQL 8, MariaDB 10.6 or later, TiDB, Galera.
    Mysql,
}

impl Engine {
    /// The engine that an address names.
    ///
    /// # Errors
    /// When the scheme is not sqlite, postgres or mysql.
    pub fn of_url(url: &str) -> Result<Self, DbError> {
        match url.split(':').next() {
            Some("sqlite") => Ok(Self::Sqlite),
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            Some("mysql" | "mariadb") => Ok(Self::Mysql),
            _ => Err(DbError::Setup(
                "the database address starts with sqlite:, postgres: or mysql: (for example sqlite:data/huika.db)".into(),
            )),
        }
    }

    /// Its name in metrics, reports and snapshots.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
        }
    }
}

/// What is decided about a connection from outside.
#[derive(Debug, Clone)]
pub struct DbOptions {
    /// Connections per process on PostgreSQL and MySQL.
    pub max_connections: u32,
}

impl Default for DbOptions {
    fn default() -> Self {
        Self { max_connections: 16 }
    }
}

#[derive(Clone)]
pub(crate) enum Pools {
    /// One writer, since SQLite has one; several readers, which see the last commit.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres(PgPool),
    Mysql(MySqlPool),
}

/// A database. Clones share the pools.
#[derive(Clone)]
pub struct Db {
    pub(crate) pools: Pools,
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
    pub(crate) topics: Arc<HashSet<&'static str>>,
}

impl Db {
    /// Connects, with durability on: a commit that was answered survives a crash of the machine.
    ///
    /// # Errors
    /// [`DbError::Setup`] for an address that cannot be read, [`DbError::Unavailable`] when nobody answers.
    pub async fn connect(url: &str, options: &DbOptions, clock: Clock, rng: Rng) -> Result<Self, DbError> {
        let pools = match Engine::of_url(url)? {
            Engine::Sqlite => connect_sqlite(url).await?,
            Engine::Postgres => connect_postgres(url, options).await?,
            Engine::Mysql => connect_mysql(url, options).await?,
        };
        Ok(Self {
            pools,
            clock,
            rng,
            topics: Arc::default(),
        })
    }

    /// Names the topics that somebody subscribes to: events of other topics are not written.
    pub fn with_topics(mut self, topics: impl IntoIterator<Item = &'static str>) -> Self {
        self.topics = Arc::new(topics.into_iter().collect());
        self
    }

    /// The engine behind.
    pub fn engine(&self) -> Engine {
        match self.pools {
            Pools::Sqlite { .. } => Engine::Sqlite,
            Pools::Postgres(_) => Engine::Postgres,
            Pools::Mysql(_) => Engine::Mysql,
        }
    }

    /// The clock that this database was opened with.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The source of chance that this database was opened with.
    pub fn rng(&self) -> &Rng {
        &self.rng
    }

    /// Closes every connection after its running statement.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
            Pools::Mysql(pool) => pool.close().await,
        }
    }
}

fn setup(error: sqlx::Error) -> DbError {
    match error {
        sqlx::Error::Configuration(source) => {
            DbError::Setup(format!("the database address cannot be read: {source}"))
        }
        other => other.into(),
    }
}

async fn connect_sqlite(url: &str) -> Result<Pools, DbError> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(setup)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(false)
        .statement_cache_capacity(STATEMENT_CACHE)
        .pragma("temp_store", "memory")
        // Fewer, larger checkpoints: at the default of 1,000 pages every few batches wait for one.
        .pragma("wal_autocheckpoint", "8000")
        .pragma("journal_size_limit", "67108864")
        .pragma("cache_size", "-64000");
    if let Some(folder) = options.get_filename().parent() {
        std::fs::create_dir_all(folder).map_err(|error| {
            DbError::Setup(format!("the folder {} cannot be made: {error}", folder.display()))
        })?;
    }
    let pool = || {
        SqlitePoolOptions::new()
            .acquire_timeout(SQLITE_TURN_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
    };
    let writer = pool()
        .max_connections(1)
        .connect_with(options.clone())
        .await
        .map_err(setup)?;
    let readers = pool()
        .min_connections(0)
        .max_connections(SQLITE_READERS)
        .connect_lazy_with(options.pragma("query_only", "on").pragma("cache_size", "-16000"));
    Ok(Pools::Sqlite { writer, readers })
}

async fn connect_postgres(url: &str, options: &DbOptions) -> Result<Pools, DbError> {
    let connect = PgConnectOptions::from_str(url)
        .map_err(setup)?
        .application_name("huika")
        .statement_cache_capacity(STATEMENT_CACHE)
        .options([
            ("lock_timeout", "5s"),
            ("idle_in_transaction_session_timeout", "60s"),
            ("timezone", "UTC"),
        ]);
    let pool = server_pool(PgPoolOptions::new(), options)
        .connect_with(connect)
        .await
        .map_err(setup)?;
    Ok(Pools::Postgres(pool))
}

async fn connect_mysql(url: &str, options: &DbOptions) -> Result<Pools, DbError> {
    let connect = MySqlConnectOptions::from_str(url)
        .map_err(setup)?
        .statement_cache_capacity(STATEMENT_CACHE)
        .charset("utf8mb4")
        .collation("utf8mb4_bin");
    let pool = server_pool(MySqlPoolOptions::new(), options)
        .after_connect(|connection, _| {
            Box::pin(async move {
                // As a statement, since the variable has two names: MariaDB before 11.1 says tx_isolation.
                connection
                    .execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
                    .await?;
                connection
                    .execute(
                        // The locks of a node that vanished are free again soon, not after the usual eight hours.
                        // MySQL has no limit of its own for idle transactions.
                        "SET SESSION innodb_lock_wait_timeout = 5, wait_timeout = 900, \
                         sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO' \
                         /*M! , idle_transaction_timeout = 60 */",
                    )
                    .await
                    .map(drop)
            })
        })
        .connect_with(connect)
        .await
        .map_err(setup)?;
    Ok(Pools::Mysql(pool))
}

fn server_pool<D: sqlx::Database>(pool: PoolOptions<D>, options: &DbOptions) -> PoolOptions<D> {
    pool.max_connections(options.max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        // The pool looks at its idle connections as often: they live for twice as long at most.
        .idle_timeout(Duration::from_secs(300))
}
