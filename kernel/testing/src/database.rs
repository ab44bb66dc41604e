//! One fresh database per test, dropped at the end, also when the test panics.

use std::str::FromStr as _;

use huika_core::{Clock, IdGenerator, Rng, Timestamp};
use huika_db::{
    Db, DbError, DbOptions, Engine, Executor as _, Migration, Params, Row, kernel_migrations, migrate,
};
use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, MySqlConnection, PgConnection,
    mysql::MySqlConnectOptions, postgres::PgConnectOptions,
};
use tempfile::TempDir;
use url::Url;

use crate::demand::{setting, skip};

/// When the clock of every test starts: 2026-11-21T02:00:00Z, ten in the morning in Shanghai.
pub const START: Timestamp = Timestamp::from_millis(1_795_226_400_000);

const POSTGRES_URL: &str = "postgres://postgres@127.0.0.1:5432/test";
const MYSQL_URL: &str = "mysql://root@127.0.0.1:3306/test";
const SEED: u64 = 20_261_121;
const CONNECTIONS: u32 = 8;

/// A fresh database with the handles that a test needs.
pub struct TestDb {
    /// The database.
    pub db: Db,
    /// Its clock, which stands at [`START`] until the test moves it.
    pub clock: Clock,
    /// Its source of chance, the same in every run.
    pub rng: Rng,
    /// Makes ids for node 0.
    pub ids: IdGenerator,
    url: String,
    /// Dropped last, after the pools.
    _place: Place,
}

/// Where the database is; dropping this removes it.
enum Place {
    Folder(#[expect(dead_code, reason = "removes the folder when it is dropped")] TempDir),
    Server { admin: Url, name: String },
}

impl TestDb {
    /// A database file in a folder of its own, without tables.
    ///
    /// # Panics
    /// When the file cannot be made.
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder for a database: {error}"));
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        Self::connect(url, Place::Folder(folder)).await
    }

    /// A database without tables on the server of `HUIKA_TEST_POSTGRES_URL`. Absent when it does not answer.
    ///
    /// # Panics
    /// When the server does not answer and `HUIKA_TEST_DEMAND` names postgres.
    pub async fn postgres() -> Option<Self> {
        Self::on_server(Engine::Postgres, "HUIKA_TEST_POSTGRES_URL", POSTGRES_URL).await
    }

    /// A database without tables on the server of `HUIKA_TEST_MYSQL_URL`. Absent when it does not answer.
    ///
    /// # Panics
    /// When the server does not answer and `HUIKA_TEST_DEMAND` names mysql.
    pub async fn mysql() -> Option<Self> {
        Self::on_server(Engine::Mysql, "HUIKA_TEST_MYSQL_URL", MYSQL_URL).await
    }

    /// A database without tables on one engine. Absent when its server does not answer.
    ///
    /// # Panics
    /// When the server does not answer and `HUIKA_TEST_DEMAND` names it.
    pub async fn open(engine: Engine) -> Option<Self> {
        match engine {
            Engine::Sqlite => Some(Self::sqlite().await),
            Engine::Postgres => Self::postgres().await,
            Engine::Mysql => Self::mysql().await,
        }
    }

    /// Applies the kernel's migrations and those given, which must not repeat the kernel's.
    ///
    /// # Panics
    /// When a statement fails.
    pub async fn migrate(&self, migrations: &[Migration]) {
        let known: Vec<Migration> = kernel_migrations()
            .into_iter()
            .chain(migrations.iter().copied())
            .collect();
        if let Err(error) = migrate(&self.db, &known).await {
            panic!(
                "the migrations fail on {}: {}",
                self.db.engine().name(),
                chain(&error)
            );
        }
    }

    /// Its address, for a test that starts another process or a second pool.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A second set of pools on the same database, with the same clock and chance: another node.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn second_pool(&self) -> Db {
        connect(&self.url, &self.clock, &self.rng).await
    }

    /// All rows of a query without parameters.
    ///
    /// # Panics
    /// When the query fails.
    pub async fn fetch_all(&self, sql: &str) -> Vec<Row> {
        match (&mut &self.db).fetch_all(sql, Params::new()).await {
            Ok(rows) => rows,
            Err(error) => panic!("{sql}: {}", chain(&error)),
        }
    }

    /// The number that a query such as `SELECT COUNT(*) AS n FROM …` answers with in column `n`.
    ///
    /// # Panics
    /// When the query fails or has no such column.
    pub async fn count(&self, sql: &str) -> i64 {
        match self.fetch_all(sql).await.first().map(|row| row.get("n")) {
            Some(Ok(number)) => number,
            Some(Err(error)) => panic!("{sql}: {}", chain(&error)),
            None => panic!("{sql}: no row"),
        }
    }

    /// Runs one statement in a transaction of its own and tells how many rows it met.
    ///
    /// # Panics
    /// When the statement fails.
    pub async fn execute(&self, sql: &str, params: Params) -> u64 {
        let (sql, params) = (sql.to_owned(), &params);
        let done: Result<u64, DbError> = self
            .db
            .run_tx("test.execute", |tx| {
                let (sql, params) = (sql.clone(), params.clone());
                Box::pin(async move { tx.execute(&sql, params).await })
            })
            .await;
        done.unwrap_or_else(|error| panic!("{sql}: {}", chain(&error)))
    }

    async fn on_server(engine: Engine, variable: &str, default: &str) -> Option<Self> {
        let admin = Url::parse(&setting(variable, default))
            .unwrap_or_else(|error| panic!("{variable} is not an address: {error}"));
        // The name must differ between test processes, so it does not come from the seed.
        let name = format!("huika_test_{:016x}", Rng::system().next_u64());
        let create = match engine {
            // Nobody can be connected to template0, which would forbid copying it.
            Engine::Postgres => format!("CREATE DATABASE {name} TEMPLATE template0"),
            _ => format!("CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
        };
        match administer(&admin, create).await {
            Ok(()) => {}
            Err(sqlx::Error::Database(error)) => panic!("{} refuses a test database: {error}", engine.name()),
            Err(error) => {
                skip(engine.name(), &error.to_string());
                return None;
            }
        }
        let mut own = admin.clone();
        own.set_path(&name);
        Some(Self::connect(own.to_string(), Place::Server { admin, name }).await)
    }

    async fn connect(url: String, place: Place) -> Self {
        let (clock, rng) = (Clock::manual(START), Rng::seeded(SEED));
        let db = connect(&url, &clock, &rng).await;
        Self {
            db,
            ids: IdGenerator::new(clock.clone(), 0),
            clock,
            rng,
            url,
            _place: place,
        }
    }
}

impl Drop for Place {
    #[expect(clippy::print_stderr, reason = "a database that stays behind must be seen")]
    fn drop(&mut self) {
        let Self::Server { admin, name } = self else {
            return;
        };
        let (admin, database) = (admin.clone(), name.clone());
        // The runtime of the test may be unwinding: the database is dropped from a thread with its own.
        let dropped = std::thread::spawn(move || drop_database(&admin, &database)).join();
        if !matches!(dropped, Ok(Ok(()))) {
            eprintln!("*** the test database {name} stays behind");
        }
    }
}

fn drop_database(admin: &Url, name: &str) -> Result<(), sqlx::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(sqlx::Error::Io)?;
    runtime.block_on(async {
        if admin.scheme().starts_with("postgres") {
            return administer(admin, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        }
        // Open transactions of a panicked test hold locks that would make DROP DATABASE wait for ever.
        let mut connection = mysql(admin).await?;
        let kill: Vec<(u64,)> =
            sqlx::query_as("SELECT CAST(id AS UNSIGNED) FROM information_schema.processlist WHERE db = ?")
                .bind(name)
                .fetch_all(&mut connection)
                .await?;
        for (id,) in kill {
            // It may have ended by itself meanwhile.
            let _ = connection.execute(format!("KILL {id}").as_str()).await;
        }
        connection
            .execute(format!("DROP DATABASE IF EXISTS {name}").as_str())
            .await?;
        connection.close().await
    })
}

/// Runs one statement on the server, beside any database of a test.
async fn administer(admin: &Url, sql: String) -> Result<(), sqlx::Error> {
    if admin.scheme().starts_with("postgres") {
        let options = PgConnectOptions::from_str(admin.as_str())?.disable_statement_logging();
        let mut connection: PgConnection = options.connect().await?;
        connection.execute(sql.as_str()).await?;
        connection.close().await
    } else {
        let mut connection = mysql(admin).await?;
        connection.execute(sql.as_str()).await?;
        connection.close().await
    }
}

async fn mysql(admin: &Url) -> Result<MySqlConnection, sqlx::Error> {
    MySqlConnectOptions::from_str(admin.as_str())?
        .disable_statement_logging()
        .connect()
        .await
}

async fn connect(url: &str, clock: &Clock, rng: &Rng) -> Db {
    let options = DbOptions {
        max_connections: CONNECTIONS,
    };
    match Db::connect(url, &options, clock.clone(), rng.clone()).await {
        Ok(db) => db,
        Err(error) => panic!("the test database does not answer: {}", chain(&error)),
    }
}

/// An error with its causes, since a failing test shows nothing else.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
