//! What can be set from outside: defaults < file < environment < flags.
//!
//! The file is `huika.toml` in the working directory, or the one that `--config` or `HUIKA_CONFIG` names. A variable
//! `HUIKA_DATABASE__URL` sets `url` of `[database]`. Unknown keys are errors in every layer. This is the only file
//! that reads the environment; everything below gets a [`Config`].

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use figment::{
    Figment, Metadata, Profile, Provider,
    error::Kind,
    providers::{Format as _, Toml},
    value::{Dict, Map, Value},
};
use huika_core::{Calendar, Currency, Language};
use huika_http::{Network, TrustedProxies};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::CommandError;

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "huika.toml";
const PREFIX: &str = "HUIKA_";
/// Where the key file is unless it is told.
pub(crate) const DEFAULT_KEY_FILE: &str = "data/huika.key";
/// The first owner's address unless it is told.
pub(crate) const DEFAULT_OWNER: &str = "owner@localhost";
/// Variables that are not settings: of tests, the filter of the log, the place of the file.
const NOT_SETTINGS: [&str; 2] = ["HUIKA_LOG", "HUIKA_CONFIG"];
const TEST_PREFIX: &str = "HUIKA_TEST_";

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How strict the checks are.
    pub environment: Environment,
    /// The database.
    pub database: DatabaseConfig,
    /// The HTTP server.
    pub server: ServerConfig,
    /// Keys.
    pub security: SecurityConfig,
    /// What several nodes share.
    pub redis: RedisConfig,
    /// Logs.
    pub log: LogConfig,
    /// Work behind the scenes.
    pub worker: WorkerConfig,
    /// How commands of many callers are put together.
    pub committer: CommitterConfig,
    /// What the first start makes.
    pub setup: SetupConfig,
}

/// How strict the checks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// For trying out and building: unsafe settings are named and accepted.
    #[default]
    Development,
    /// For a shop: unsafe settings are refused.
    Production,
}

/// The database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// sqlite:, postgres: or mysql: address.
    pub url: Address,
    /// Connections of this process to PostgreSQL or MySQL.
    pub max_connections: u32,
}

impl DatabaseConfig {
    /// The file of a SQLite database. Absent for servers and for memory, and where the address spells the name in
    /// percent codes, which the driver alone reads.
    pub fn file(&self) -> Option<PathBuf> {
        let address = self.url.reveal().strip_prefix("sqlite:")?;
        let path = address.strip_prefix("//").unwrap_or(address);
        let path = path.split('?').next().unwrap_or_default();
        (path != ":memory:" && !path.contains('%')).then(|| path.into())
    }

    /// The file of a SQLite database that is not there yet.
    pub(crate) fn missing_file(&self) -> Option<String> {
        let file = self.file()?;
        (!file.exists()).then(|| file.display().to_string())
    }
}

/// The HTTP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// How long a request may take before it is answered with 503.
    pub request_timeout_seconds: u64,
    /// The largest body of a single command; bulk routes take 32 MiB.
    pub max_body_bytes: usize,
    /// How people and programs reach this server, for links and the checks of `huika check`.
    pub public_url: Option<Url>,
    /// The proxies before this server, as addresses or ranges with commas between them. Only they are believed when
    /// they say, in `X-Forwarded-For`, for whom they ask.
    pub trusted_proxies: String,
}

impl ServerConfig {
    /// The proxies that are trusted.
    pub fn proxies(&self) -> TrustedProxies {
        // What cannot be read was refused when the settings were loaded.
        TrustedProxies::new(self.proxy_texts().filter_map(|text| text.parse().ok()))
    }

    fn proxy_texts(&self) -> impl Iterator<Item = &str> {
        let texts = self.trusted_proxies.split(',').map(str::trim);
        texts.filter(|text| !text.is_empty())
    }
}

/// Keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecurityConfig {
    /// The file with the keys of personal data and secrets.
    pub key_file: PathBuf,
}

/// What several nodes share.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedisConfig {
    /// redis: or rediss: (TLS) address. Absent: one node.
    pub url: Option<Address>,
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// How a line looks.
    pub format: LogFormat,
    /// What is written, for example `info` or `info,huika_db=debug`.
    pub filter: String,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object.
    Json,
    /// For people.
    Text,
}

/// Work behind the scenes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerConfig {
    /// Whether `huika serve` runs jobs too. Otherwise `huika worker` must run somewhere.
    pub enabled: bool,
    /// Jobs that run at once.
    pub parallel: usize,
    /// Where `huika worker` answers `/metrics`, `/healthz` and `/readyz`. Absent: nowhere.
    pub listen: Option<SocketAddr>,
}

/// How commands of many callers are put together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CommitterConfig {
    /// Transactions that run side by side. SQLite has one writer and gets one.
    pub lanes: usize,
    /// Most commands of one transaction.
    pub max_batch: usize,
}

/// What the first start makes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SetupConfig {
    /// The address that the first owner logs in with.
    pub owner_email: String,
    /// The currency of the first programme, which no later version can change.
    pub currency: Currency,
    /// The time zone of the first programme.
    pub time_zone: String,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: Address("sqlite:data/huika.db".into()),
            max_connections: 16,
        }
    }
}
impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            request_timeout_seconds: 30,
            max_body_bytes: 1024 * 1024,
            public_url: None,
            trusted_proxies: String::new(),
        }
    }
}
impl Default for SecurityConfig {
    fn default() -> Self {
        Self {
            key_file: DEFAULT_KEY_FILE.into(),
        }
    }
}
impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Auto,
            filter: "info".into(),
        }
    }
}
impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            parallel: 4,
            listen: None,
        }
    }
}
impl Default for CommitterConfig {
    fn default() -> Self {
        Self {
            lanes: 3,
            max_batch: 256,
        }
    }
}
impl Default for SetupConfig {
    fn default() -> Self {
        Self {
            owner_email: DEFAULT_OWNER.into(),
            currency: Currency::CNY,
            time_zone: "Asia/Shanghai".into(),
        }
    }
}

/// The address of a database or of Redis. Its password is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Address(String);

impl Address {
    /// The address with its password, for the driver alone.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Parameters may hold a password too, and a password may hold an @.
        let (address, parameters) = self
            .0
            .split_once('?')
            .map_or((&*self.0, ""), |(address, _)| (address, "?…"));
        let parts = address
            .split_once("://")
            .and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?)));
        let Some((scheme, (credentials, host))) = parts else {
            return write!(f, "{address}{parameters}");
        };
        let user = credentials.split(':').next().unwrap_or_default();
        let secret = if credentials.contains(':') { ":***" } else { "" };
        write!(f, "{scheme}://{user}{secret}@{host}{parameters}")
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Settings that were given on the command line, by their path.
#[derive(Debug, Clone, Default)]
pub struct Flags(Vec<(&'static str, Value)>);

impl Flags {
    /// Sets a path such as `database.url`, if there is a value.
    pub fn set(&mut self, path: &'static str, value: Option<impl Into<Value>>) {
        self.0.extend(value.map(|value| (path, value.into())));
    }
}

/// What the process was started with: read once, in `main`.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    variables: Vec<(String, String)>,
    /// The language of the person at the machine.
    pub language: Option<Language>,
}

impl Surroundings {
    /// Reads the environment of the process.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the environment"
    )]
    pub fn read() -> Self {
        // As the C library decides it: the first of these that is set.
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        let language = locale.map(|locale| {
            if locale.starts_with("zh") {
                Language::Chinese
            } else {
                Language::English
            }
        });
        // A variable of ours that is not UTF-8 shows as a wrong value; those of others do not matter.
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        Self { variables, language }
    }

    /// Surroundings for tests.
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self {
            variables,
            language: None,
        }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(other, _)| other == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

impl Config {
    /// Joins all layers. `file` was named on the command line; without it `HUIKA_CONFIG` counts, and then
    /// [`DEFAULT_FILE`] where it exists.
    ///
    /// # Errors
    /// [`CommandError::ConfigInvalid`] and [`CommandError::UnknownVariable`], which name the key and its layer.
    pub fn load(
        file: Option<&Path>,
        surroundings: &Surroundings,
        flags: &Flags,
    ) -> Result<Self, CommandError> {
        let named = file
            .map(Path::to_path_buf)
            .or_else(|| surroundings.variable("HUIKA_CONFIG").map(PathBuf::from));
        let mut figment = Figment::new();
        let path = named.clone().unwrap_or_else(|| DEFAULT_FILE.into());
        match std::fs::read_to_string(&path) {
            Ok(text) => figment = figment.merge(Layer::of_file(&path, &text)?),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(invalid(format!("{}: {error}", path.display()))),
        }
        figment = figment.merge(Layer::of_variables(&surroundings.variables)?);
        figment = figment.merge(Layer::of_flags(flags));
        let mut config: Self = figment.extract().map_err(|error| invalid(words_of(error)))?;
        if let Some(filter) = surroundings.variable("HUIKA_LOG") {
            config.log.filter = filter.to_owned();
        }
        config.validate()?;
        Ok(config)
    }

    /// Checks what the types cannot.
    fn validate(&self) -> Result<(), CommandError> {
        let ranges = [
            (
                "database.max_connections",
                u64::from(self.database.max_connections),
                1,
                1_000,
            ),
            (
                "server.request_timeout_seconds",
                self.server.request_timeout_seconds,
                1,
                600,
            ),
            (
                "server.max_body_bytes",
                self.server.max_body_bytes as u64,
                1 << 10,
                32 << 20,
            ),
            ("worker.parallel", self.worker.parallel as u64, 1, 256),
            ("committer.lanes", self.committer.lanes as u64, 1, 64),
            ("committer.max_batch", self.committer.max_batch as u64, 1, 2_048),
        ];
        for (path, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(invalid(format!(
                    "{path} is {value} and must lie between {least} and {most}"
                )));
            }
        }
        huika_db::Engine::of_url(self.database.url.reveal())
            .map_err(|error| invalid(format!("database.url: {error}")))?;
        if let Some(url) = &self.server.public_url
            && !matches!(url.scheme(), "http" | "https")
        {
            return Err(invalid(
                "server.public_url begins with https:// (or http:// for trying out)",
            ));
        }
        for text in self.server.proxy_texts() {
            text.parse::<Network>()
                .map_err(|error| invalid(format!("server.trusted_proxies: {text}: {error}")))?;
        }
        if let Some(url) = &self.redis.url
            && !["redis://", "rediss://"]
                .iter()
                .any(|scheme| url.reveal().starts_with(scheme))
        {
            return Err(invalid("redis.url begins with redis:// or rediss://"));
        }
        Calendar::try_new(&self.setup.time_zone)
            .map_err(|error| invalid(format!("setup.time_zone: {error}")))?;
        crate::telemetry::parse_filter(&self.log.filter)
            .map_err(|error| invalid(format!("log.filter: {error}")))?;
        Ok(())
    }

    /// The paths of all settings, for example `database.url`.
    pub fn paths() -> Vec<String> {
        let mut paths = Vec::new();
        // A struct of texts and numbers always has a JSON form.
        let tree = serde_json::to_value(Self::default()).unwrap_or_default();
        collect_paths(&tree, String::new(), &mut paths);
        paths
    }
}

fn collect_paths(tree: &serde_json::Value, prefix: String, paths: &mut Vec<String>) {
    match tree.as_object() {
        Some(section) => {
            for (key, value) in section {
                let path = if prefix.is_empty() {
                    key.clone()
                } else {
                    format!("{prefix}.{key}")
                };
                collect_paths(value, path, paths);
            }
        }
        None => paths.push(prefix),
    }
}

fn invalid(reason: impl Into<String>) -> CommandError {
    CommandError::ConfigInvalid {
        reason: reason.into(),
    }
}

/// One source of settings.
struct Layer {
    name: String,
    settings: Dict,
}

impl Layer {
    fn of_file(path: &Path, text: &str) -> Result<Self, CommandError> {
        // The error as a whole repeats the line that it is in, which may hold a password.
        let settings: Dict = Toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
            let words = error.message().replace('\n', "; ");
            invalid(format!("{}: line {line}: {words}", path.display()))
        })?;
        Ok(Self {
            name: path.display().to_string(),
            settings,
        })
    }

    fn of_variables(variables: &[(String, String)]) -> Result<Self, CommandError> {
        let known = Config::paths();
        let mut settings = Dict::new();
        for (name, text) in variables {
            if NOT_SETTINGS.contains(&name.as_str()) || name.starts_with(TEST_PREFIX) {
                continue;
            }
            let path = name[PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
            if !known.contains(&path) {
                return Err(CommandError::UnknownVariable { name: name.clone() });
            }
            insert(&mut settings, &path, scalar(text));
        }
        Ok(Self {
            name: "the environment".into(),
            settings,
        })
    }

    fn of_flags(flags: &Flags) -> Self {
        let mut settings = Dict::new();
        for (path, value) in &flags.0 {
            insert(&mut settings, path, value.clone());
        }
        Self {
            name: "the command line".into(),
            settings,
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.settings.clone()))
    }
}

/// A variable holds a number, yes or no, or a text; settings that are texts never look like one of the others.
fn scalar(text: &str) -> Value {
    if let Ok(number) = text.parse::<u64>() {
        return number.into();
    }
    match text {
        "true" => true.into(),
        "false" => false.into(),
        _ => text.into(),
    }
}

fn insert(settings: &mut Dict, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            settings.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            let section = settings
                .entry(section.to_owned())
                .or_insert_with(|| Dict::new().into());
            if let Value::Dict(_, inner) = section {
                insert(inner, rest, value);
            }
        }
    }
}

/// The first error in words: where, what, and in which layer. Values are not repeated: one may hold a password.
fn words_of(error: figment::Error) -> String {
    let path = error.path.join(".");
    let layer = error
        .metadata
        .as_ref()
        .map_or("the defaults", |metadata| &*metadata.name);
    let what = match &error.kind {
        Kind::UnknownField(name, known) => {
            let section = error
                .path
                .iter()
                .filter(|part| *part != name)
                .cloned()
                .collect::<Vec<_>>()
                .join(".");
            let place = if section.is_empty() {
                String::new()
            } else {
                format!("[{section}] ")
            };
            return format!(
                "{layer}: {place}knows no key {name}; it knows {}",
                known.join(", ")
            );
        }
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) => format!("expected {expected}"),
        Kind::UnknownVariant(name, known) => format!("{name} is none of {}", known.join(", ")),
        other => other.to_string(),
    };
    format!("{layer}: {path}: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, variables: &[(&str, &str)], flags: Flags) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huika.toml");
        std::fs::write(&path, file).unwrap();
        Config::load(Some(&path), &Surroundings::of(variables), &flags).map_err(|error| error.to_string())
    }

    #[test]
    fn later_layers_win() {
        let file = "[database]\nurl = \"sqlite:file.db\"\nmax_connections = 3\n[worker]\nparallel = 9\n";
        let variables = [
            ("HUIKA_DATABASE__URL", "sqlite:variable.db"),
            ("HUIKA_WORKER__PARALLEL", "7"),
        ];
        let mut flags = Flags::default();
        flags.set("worker.parallel", Some(5_u64));
        flags.set("server.listen", None::<String>);
        let config = load(file, &variables, flags).unwrap();
        assert_eq!(config.database.url.reveal(), "sqlite:variable.db");
        assert_eq!((config.database.max_connections, config.worker.parallel), (3, 5));
        assert_eq!(config.server, ServerConfig::default());
    }

    #[test]
    fn what_is_unknown_or_wrong_is_named_with_its_layer() {
        let none = Flags::default;
        let refused = |file: &str, variables: &[(&str, &str)]| load(file, variables, none()).unwrap_err();
        for (file, variables, words) in [
            (
                "[database]\nurll = 1",
                &[][..],
                vec!["huika.toml", "[database]", "urll", "max_connections"],
            ),
            ("databse = 1", &[], vec!["huika.toml", "databse"]),
            (
                "[server]\nlisten = \"localhost\"",
                &[],
                vec!["huika.toml", "server.listen"],
            ),
            ("[server", &[], vec!["huika.toml"]),
            ("environment = \"live\"", &[], vec!["live", "production"]),
            ("", &[("HUIKA_DATABSE__URL", "x")], vec!["HUIKA_DATABSE__URL"]),
            ("", &[("HUIKA_DATABASE", "x")], vec!["HUIKA_DATABASE"]),
            (
                "",
                &[("HUIKA_WORKER__PARALLEL", "many")],
                vec!["environment", "worker.parallel"],
            ),
            (
                "",
                &[("HUIKA_WORKER__PARALLEL", "0")],
                vec!["worker.parallel", "between"],
            ),
            (
                "[database]\nurl = \"oracle:x\"",
                &[],
                vec!["database.url", "sqlite"],
            ),
            (
                "[setup]\ntime_zone = \"Mars\"",
                &[],
                vec!["setup.time_zone", "Mars"],
            ),
            ("[setup]\ncurrency = \"JPY\"", &[], vec!["setup.currency"]),
            ("[log]\nfilter = \"=====\"", &[], vec!["log.filter"]),
            ("[redis]\nurl = \"http://x\"", &[], vec!["redis.url"]),
        ] {
            let error = refused(file, variables);
            for word in words {
                assert!(error.contains(word), "{error} does not say {word}");
            }
        }
        for (secret, words) in [
            ("[database]\nurl = [\"postgres://u:secret@h/d\"]", "database.url"),
            ("[database]\nurl = \"postgres://u:secr\\et@h/d\"", "line 2"),
            ("[database]\n\nurl = postgres://u:secret@h/d", "line 3"),
        ] {
            let error = refused(secret, &[]);
            assert!(!error.contains("secr") && error.contains(words), "{error}");
        }
    }

    #[test]
    fn variables_of_tests_the_log_and_the_file_are_no_settings() {
        let variables = [
            ("HUIKA_TEST_POSTGRES_URL", "x"),
            ("HUIKA_LOG", "debug"),
            ("HUIKA_CONFIG", ""),
        ];
        let config = load("", &variables, Flags::default()).unwrap();
        assert_eq!(config.log.filter, "debug");
        let missing = Config::load(
            Some(Path::new("/nonexistent.toml")),
            &Surroundings::default(),
            &Flags::default(),
        );
        assert!(missing.unwrap_err().to_string().contains("/nonexistent.toml"));
    }

    #[test]
    fn passwords_of_addresses_are_not_shown() {
        for (address, shown) in [
            (
                "postgres://huika:s3@cr:et@db.example/huika",
                "postgres://huika:***@db.example/huika",
            ),
            ("mysql://root@127.0.0.1/test", "mysql://root@127.0.0.1/test"),
            ("redis://:secret@cache:6379", "redis://:***@cache:6379"),
            ("sqlite:data/huika.db", "sqlite:data/huika.db"),
            (
                "postgres://db.example/huika?password=s3cret",
                "postgres://db.example/huika?…",
            ),
        ] {
            assert_eq!(Address::from(address).to_string(), shown);
        }
    }
}
