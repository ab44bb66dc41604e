//! The commands, one per file: open what is needed, call use cases, say what came of it.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod migrate;
pub(crate) mod openapi;
pub(crate) mod owner;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod serve;
pub(crate) mod verify;
pub(crate) mod worker;

use huika_core::{Actor, Clock, Currency, Keyring, Rng};
use huika_db::{Db, Engine};
use huika_loyalty::{Loyalty, LoyaltyError, Rules, default_rules};
use huika_staff::NonceStore;

use crate::{
    checks,
    compose::{self, Migrate, Services, Workplace},
    config::{Config, Environment},
    error::{CommandError, Failure},
    key_file,
    output::Output,
};

/// What every command begins with.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) output: Output,
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
}

impl Context {
    /// The database, its tables as they are.
    pub(crate) async fn connect(&self) -> Result<Db, Failure> {
        compose::connect(&self.config, self.clock.clone(), self.rng.clone()).await
    }

    /// A database file is brought up to date by whoever opens it first. A server may have other users, who decide.
    pub(crate) fn usual_migrate(&self) -> Result<Migrate, Failure> {
        match Engine::of_url(self.config.database.url.reveal()).map_err(Failure::database)? {
            Engine::Sqlite => Ok(Migrate::Apply),
            Engine::Postgres | Engine::Mysql => Ok(Migrate::Refuse),
        }
    }

    /// Connecting to SQLite makes the file. What only reads must not make one where an address was mistyped.
    pub(crate) fn refuse_missing_file(&self) -> Result<(), CommandError> {
        match self.config.database.missing_file() {
            Some(path) => Err(CommandError::DatabaseFileMissing { path }),
            None => Ok(()),
        }
    }

    /// A database whose tables are current.
    pub(crate) async fn database(&self, how: Migrate) -> Result<Db, Failure> {
        if how == Migrate::Refuse {
            self.refuse_missing_file()?;
        }
        let db = self.connect().await?;
        compose::prepare(&db, how).await?;
        Ok(db)
    }

    /// A number on a database whose tables are current.
    pub(crate) async fn enter(&self, how: Migrate) -> Result<Workplace, Failure> {
        Workplace::enter(self.database(how).await?).await
    }

    /// A number and the services, on a database of this process alone or of several that share Redis. The number
    /// comes last: what fails before leaves none behind.
    pub(crate) async fn open(&self, how: Migrate) -> Result<(Workplace, Services), Failure> {
        let db = self.database(how).await?;
        let (keyring, nonces) = (self.keyring(&db).await?, self.nonces().await?);
        let place = Workplace::enter(db).await?;
        let services = Services::start(&place, keyring, nonces, &self.config.committer);
        Ok((place, services))
    }

    /// The services for a command that reads no personal data: without the key file too, and without Redis.
    pub(crate) fn start_without_keys(&self, place: &Workplace) -> Result<Services, Failure> {
        let keyring =
            key_file::read(&self.config.security.key_file)?.map_or_else(|| throwaway(&self.rng), Ok)?;
        let nonces = NonceStore::in_process(self.clock.now());
        Ok(Services::start(place, keyring, nonces, &self.config.committer))
    }

    /// The keys. Made where there are none yet, except in production and where a database waits for lost ones.
    async fn keyring(&self, db: &Db) -> Result<Keyring, Failure> {
        let path = &self.config.security.key_file;
        if let Some(keyring) = key_file::read(path)? {
            return Ok(keyring);
        }
        if self.config.environment == Environment::Production || checks::key_is_lost(&self.config, db).await {
            return Err(CommandError::KeyFileMissing {
                path: path.display().to_string(),
            }
            .into());
        }
        Ok(key_file::make(path, &self.rng)?)
    }

    async fn nonces(&self) -> Result<NonceStore, Failure> {
        match &self.config.redis.url {
            None => Ok(NonceStore::in_process(self.clock.now())),
            Some(url) => NonceStore::redis(url.reveal()).await.map_err(|error| {
                CommandError::RedisUnusable {
                    reason: error.to_string(),
                }
                .into()
            }),
        }
    }
}

/// Keys that open nothing, for what needs a keyring and never uses it.
pub(crate) fn throwaway(rng: &Rng) -> Result<Keyring, CommandError> {
    Keyring::parse(&Keyring::generate(rng)).map_err(|error| CommandError::KeyFileUnusable {
        path: "(none)".into(),
        reason: error.to_string(),
    })
}

/// Publishes the rules that a shop begins with, where none were published, and tells whether it did.
pub(crate) async fn ensure_program(
    loyalty: &Loyalty,
    currency: Currency,
    time_zone: &str,
) -> Result<bool, Failure> {
    match loyalty.program_now().await {
        Err(LoyaltyError::NoProgram) => {}
        other => return other.map(|_| false).map_err(Failure::from),
    }
    let rules = Rules {
        currency,
        time_zone: time_zone.to_owned(),
        ..default_rules()
    };
    match loyalty
        .publish_program(&Actor::system("setup"), rules, None)
        .await
    {
        // Another node starts for the first time too.
        Err(LoyaltyError::VersionExists { .. }) => Ok(false),
        other => other.map(|_| true).map_err(Failure::from),
    }
}
