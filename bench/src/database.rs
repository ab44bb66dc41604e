//! Databases of a run: made, asked whether a commit survives a crash, dropped.

use std::{
    path::{Path, PathBuf},
    str::FromStr as _,
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use huika_core::{Clock, Rng};
use huika_db::{Db, DbOptions, Engine, Executor as _, params};
use serde::{Deserialize, Serialize};
use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, MySqlConnection, PgConnection,
    mysql::MySqlConnectOptions, postgres::PgConnectOptions,
};
use url::Url;

use crate::{options::Surroundings, process::file_system_of};

/// Where the databases of a run may be made.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) folder: PathBuf,
    postgres: String,
    mysql: String,
    /// What was made on servers, for a run that ends early.
    made: Mutex<Vec<(Url, String)>>,
}

/// A database that is dropped at the end.
pub(crate) struct Database {
    pub(crate) engine: Engine,
    pub(crate) url: String,
    place: Place,
}

enum Place {
    File(PathBuf),
    Server { admin: Url, name: String },
}

/// A setting that durability rests on, as the engine told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Whether a commit that was answered survives a crash under this value.
    pub(crate) durable: bool,
}

impl Places {
    /// The places that the options name; the folder is made.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn of(surroundings: &Surroundings) -> anyhow::Result<Self> {
        let folder = &surroundings.work_dir;
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        Ok(Self {
            folder: folder.canonicalize()?,
            postgres: surroundings.postgres_url.clone(),
            mysql: surroundings.mysql_url.clone(),
            made: Mutex::default(),
        })
    }

    /// Drops what is left of a run that ended early.
    ///
    /// # Errors
    /// When a database cannot be dropped.
    pub(crate) async fn clean_up(&self) -> anyhow::Result<()> {
        let made = std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner));
        for (admin, name) in made {
            drop_database(&admin, &name).await?;
        }
        Ok(())
    }

    /// Makes an empty database. `None` when the server of the engine does not answer.
    ///
    /// # Errors
    /// When it answers and refuses.
    pub(crate) async fn create(&self, engine: Engine, label: &str) -> anyhow::Result<Option<Database>> {
        let admin = match engine {
            Engine::Sqlite => {
                let file = self.folder.join(format!("{label}.db"));
                remove_file(&file)?;
                let url = format!("sqlite:{}", file.display());
                return Ok(Some(Database {
                    engine,
                    url,
                    place: Place::File(file),
                }));
            }
            Engine::Postgres => &self.postgres,
            Engine::Mysql => &self.mysql,
        };
        let admin = Url::parse(admin).with_context(|| format!("{admin} is no address"))?;
        let name = format!("huika_bench_{:08x}_{label}", Rng::system().next_u64() as u32);
        let create = match engine {
            Engine::Postgres => format!("CREATE DATABASE {name} TEMPLATE template0"),
            _ => format!("CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
        };
        match administer(&admin, &[create]).await {
            Ok(()) => {}
            Err(sqlx::Error::Io(error)) => {
                eprintln!(
                    "{} is left out: nobody answers at {} ({error})",
                    engine.name(),
                    shown(&admin)
                );
                return Ok(None);
            }
            Err(error) => return Err(error).with_context(|| format!("{} refuses a database", shown(&admin))),
        }
        let mut own = admin.clone();
        own.set_path(&name);
        self.made
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((admin.clone(), name.clone()));
        Ok(Some(Database {
            engine,
            url: own.to_string(),
            place: Place::Server { admin, name },
        }))
    }
}

impl Database {
    /// Connects exactly as Huika does.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn connect(&self) -> anyhow::Result<Db> {
        let options = DbOptions { max_connections: 4 };
        Ok(Db::connect(&self.url, &options, Clock::system(), Rng::system()).await?)
    }

    /// What durability rests on, as a connection of Huika's kind sees it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn durability(&self) -> anyhow::Result<Vec<Setting>> {
        let db = self.connect().await?;
        let mut settings = Vec::new();
        match self.engine {
            Engine::Sqlite => {
                let row = (&mut &db).fetch_one("PRAGMA synchronous", params![]).await?;
                let level: i64 = row.get("synchronous")?;
                settings.push(setting("synchronous", synchronous_name(level), level >= 2));
                let row = (&mut &db).fetch_one("PRAGMA journal_mode", params![]).await?;
                let mode: String = row.get("journal_mode")?;
                settings.push(setting("journal_mode", &mode, mode == "wal"));
            }
            Engine::Postgres => {
                for name in ["fsync", "synchronous_commit", "full_page_writes"] {
                    let sql = format!("SELECT current_setting('{name}') AS v");
                    let value: String = (&mut &db).fetch_one(&sql, params![]).await?.get("v")?;
                    // Every other level of synchronous_commit than off waits at least for the local disk.
                    settings.push(setting(name, &value, value != "off"));
                }
            }
            Engine::Mysql => {
                let read = async |name: &str| -> anyhow::Result<String> {
                    let sql = format!("SELECT CAST(@@{name} AS CHAR) AS v");
                    Ok((&mut &db).fetch_one(&sql, params![]).await?.get("v")?)
                };
                let flush = read("innodb_flush_log_at_trx_commit").await?;
                settings.push(setting("innodb_flush_log_at_trx_commit", &flush, flush == "1"));
                let doublewrite = read("innodb_doublewrite").await?;
                settings.push(setting("innodb_doublewrite", &doublewrite, !is_off(&doublewrite)));
                // Without a binary log there is nothing to synchronize.
                let binary_log = read("log_bin").await?;
                let sync = read("sync_binlog").await?;
                settings.push(setting("sync_binlog", &sync, sync == "1" || is_off(&binary_log)));
                settings.push(setting("log_bin", &binary_log, true));
            }
        }
        db.close().await;
        if let Place::File(file) = &self.place {
            let kind = file_system_of(file).unwrap_or_else(|| "unknown".to_owned());
            settings.push(setting(
                "file system",
                &kind,
                !matches!(&*kind, "tmpfs" | "ramfs" | "overlay-tmpfs"),
            ));
        }
        Ok(settings)
    }

    /// The version of the engine.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn version(&self) -> anyhow::Result<String> {
        let db = self.connect().await?;
        let sql = match self.engine {
            Engine::Sqlite => "SELECT sqlite_version() AS v",
            Engine::Postgres => "SELECT current_setting('server_version') AS v",
            Engine::Mysql => "SELECT CAST(version() AS CHAR) AS v",
        };
        let version: String = (&mut &db).fetch_one(sql, params![]).await?.get("v")?;
        db.close().await;
        Ok(version)
    }

    /// Brings the database into the state that every case starts from: statistics current, nothing left to
    /// write to the data files. Otherwise one case would pay for what another has left.
    ///
    /// # Errors
    /// When the database refuses.
    pub(crate) async fn settle(&self, analyze: bool) -> anyhow::Result<()> {
        let Place::Server { .. } = &self.place else {
            return Ok(());
        };
        let own = Url::parse(&self.url)?;
        let analyze = analyze.then(|| "VACUUM ANALYZE".to_owned());
        if self.engine == Engine::Postgres {
            let statements: Vec<String> = analyze.into_iter().chain(["CHECKPOINT".to_owned()]).collect();
            administer(&own, &statements)
                .await
                .context("PostgreSQL refuses a checkpoint")?;
        }
        Ok(())
    }

    /// How many more clients the server would let in. `None` where nobody counts.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn free_connections(&self) -> anyhow::Result<Option<usize>> {
        if self.engine != Engine::Postgres {
            return Ok(None);
        }
        let db = self.connect().await?;
        let sql = "SELECT CAST(current_setting('max_connections') AS BIGINT) \
                   - CAST(current_setting('superuser_reserved_connections') AS BIGINT) \
                   - (SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS n";
        let free: i64 = (&mut &db).fetch_one(sql, params![]).await?.get("n")?;
        db.close().await;
        Ok(Some(usize::try_from(free).unwrap_or(0)))
    }

    /// Removes the database.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) async fn remove(self) -> anyhow::Result<()> {
        match self.place {
            Place::File(file) => remove_file(&file),
            Place::Server { admin, name } => drop_database(&admin, &name).await,
        }
    }
}

async fn drop_database(admin: &Url, name: &str) -> anyhow::Result<()> {
    let force = if admin.scheme().starts_with("postgres") {
        " WITH (FORCE)"
    } else {
        ""
    };
    let drop = format!("DROP DATABASE IF EXISTS {name}{force}");
    administer(admin, &[drop])
        .await
        .with_context(|| format!("{name} stays behind"))
}

fn setting(name: &str, value: &str, durable: bool) -> Setting {
    Setting {
        name: name.to_owned(),
        value: value.to_owned(),
        durable,
    }
}

/// MariaDB and MySQL write a switch as a number or a word, depending on the variable.
fn is_off(value: &str) -> bool {
    matches!(value, "0" | "OFF")
}

pub(crate) fn synchronous_name(level: i64) -> &'static str {
    match level {
        0 => "OFF",
        1 => "NORMAL",
        2 => "FULL",
        _ => "EXTRA",
    }
}

/// Removes an SQLite database with the files beside it.
fn remove_file(file: &Path) -> anyhow::Result<()> {
    for ending in ["", "-wal", "-shm"] {
        let path = PathBuf::from(format!("{}{ending}", file.display()));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{} cannot be removed", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// An address without its password.
fn shown(address: &Url) -> String {
    let mut shown = address.clone();
    if shown.password().is_some() {
        // Only addresses without a host cannot have a password, and they have none.
        let _ = shown.set_password(Some("***"));
    }
    shown.to_string()
}

async fn administer(address: &Url, statements: &[String]) -> Result<(), sqlx::Error> {
    macro_rules! run {
        ($connection:expr) => {{
            let mut connection = $connection;
            for statement in statements {
                connection.execute(statement.as_str()).await?;
            }
            connection.close().await
        }};
    }
    if address.scheme().starts_with("postgres") {
        let options = PgConnectOptions::from_str(address.as_str())?.disable_statement_logging();
        let connection: PgConnection = options.connect().await?;
        run!(connection)
    } else {
        let options = MySqlConnectOptions::from_str(address.as_str())?.disable_statement_logging();
        let connection: MySqlConnection = options.connect().await?;
        run!(connection)
    }
}
