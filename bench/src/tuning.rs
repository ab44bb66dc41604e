//! What the operations guide advises to set on MySQL and MariaDB, in force while the bench runs.
//!
//! Their defaults are for a small machine with a disk that turns. On those, what is measured is how the server writes
//! back pages that do not fit, unequally for two sides that write at different speeds. None of these settings touches
//! what survives a crash.

use std::str::FromStr as _;

use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, MySqlConnection, mysql::MySqlConnectOptions,
};

use crate::results::Tuned;

/// In the order in which they are set; the limit goes before what it limits.
const ADVISED: [(&str, u64); 5] = [
    ("innodb_buffer_pool_size", 1 << 30),
    ("innodb_log_file_size", 1 << 30),
    ("innodb_io_capacity_max", 4_000),
    ("innodb_io_capacity", 2_000),
    ("innodb_flush_neighbors", 0),
];

/// Settings of a server that are put back at the end.
#[derive(Debug)]
pub(crate) struct Tuning {
    address: String,
    before: Vec<(&'static str, u64)>,
}

impl Tuning {
    /// Sets what is advised. A server that lacks a setting, or does not let us change it, keeps what it has, and
    /// the results say so.
    pub(crate) async fn of(address: &str) -> Self {
        let mut tuning = Self {
            address: address.to_owned(),
            before: Vec::new(),
        };
        if let Err(error) = tuning.set().await {
            eprintln!("mysql: the settings of the server stay as they are ({error})");
        }
        tuning
    }

    async fn set(&mut self) -> Result<(), sqlx::Error> {
        let mut connection = connect(&self.address).await?;
        for (name, value) in ADVISED {
            // One after the other: what MySQL calls otherwise than MariaDB is left out.
            let Ok(before) = read(&mut connection, name).await else {
                continue;
            };
            if write(&mut connection, name, value).await.is_ok() {
                self.before.push((name, before));
            }
        }
        connection.close().await
    }

    /// What is in force of the settings.
    pub(crate) async fn in_force(&self) -> Vec<Tuned> {
        let mut tuned = Vec::new();
        if let Ok(mut connection) = connect(&self.address).await {
            for (name, _) in ADVISED {
                if let Ok(value) = read(&mut connection, name).await {
                    tuned.push(Tuned {
                        name: name.to_owned(),
                        value,
                    });
                }
            }
        }
        tuned
    }

    /// Puts back what was before, the last first.
    ///
    /// # Errors
    /// When the server does not answer or refuses.
    pub(crate) async fn put_back(self) -> Result<(), sqlx::Error> {
        let mut connection = connect(&self.address).await?;
        for (name, value) in self.before.into_iter().rev() {
            write(&mut connection, name, value).await?;
        }
        connection.close().await
    }
}

async fn connect(address: &str) -> Result<MySqlConnection, sqlx::Error> {
    MySqlConnectOptions::from_str(address)?
        .disable_statement_logging()
        .connect()
        .await
}

async fn read(connection: &mut MySqlConnection, name: &str) -> Result<u64, sqlx::Error> {
    let sql = format!("SELECT CAST(@@GLOBAL.{name} AS UNSIGNED)");
    sqlx::query_scalar(&sql).fetch_one(connection).await
}

async fn write(connection: &mut MySqlConnection, name: &str, value: u64) -> Result<(), sqlx::Error> {
    let sql = format!("SET GLOBAL {name} = {value}");
    connection.execute(sql.as_str()).await.map(drop)
}
