//! Whether the settings are sound: of every setting one verdict, in words.
//!
//! `huika check` shows them all; `huika serve` refuses what is unsafe for production with the same words. What would
//! only be a nuisance is a note.

use std::{path::Path, time::Duration};

use huika_core::Language;
use huika_db::{Db, Engine, NodeLease, audit::list_audit, pending_migrations};
use huika_staff::NonceStore;
use serde::Serialize;

use crate::{
    compose,
    config::{Config, DEFAULT_OWNER, Environment},
    error::chain,
    key_file::{self, KeyFileState},
};

/// How long something outside may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How good a setting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// Nothing to say.
    Fine,
    /// Something to know.
    Note,
    /// Not for a shop, or nothing works with it.
    Unsafe,
}

/// What is to be said about one setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    /// The path of the setting.
    pub(crate) setting: &'static str,
    /// Its value, secrets hidden.
    pub(crate) value: String,
    /// How good it is.
    pub(crate) level: Level,
    /// The stable code.
    pub(crate) code: &'static str,
    /// In English.
    pub(crate) en: String,
    /// In Chinese.
    pub(crate) zh: String,
}

impl Verdict {
    /// One line for the terminal.
    pub(crate) fn line(&self, language: Language) -> String {
        let (mark, words) = match self.level {
            Level::Fine => ("ok    ", "好    "),
            Level::Note => ("note  ", "提示  "),
            Level::Unsafe => ("UNSAFE", "不安全"),
        };
        let (mark, text) = match language {
            Language::English => (mark, &self.en),
            Language::Chinese => (words, &self.zh),
        };
        format!("{mark} {} = {}: {text} ({})", self.setting, self.value, self.code)
    }
}

/// Collects verdicts.
struct Verdicts(Vec<Verdict>);

impl Verdicts {
    fn add(
        &mut self,
        level: Level,
        (setting, value): (&'static str, &dyn ToString),
        code: &'static str,
        en: impl Into<String>,
        zh: impl Into<String>,
    ) {
        let (value, en, zh) = (value.to_string(), en.into(), zh.into());
        self.0.push(Verdict {
            setting,
            value,
            level,
            code,
            en,
            zh,
        });
    }

    fn fine(&mut self, setting: (&'static str, &dyn ToString)) {
        self.add(Level::Fine, setting, "check.fine", "sound.", "正常。");
    }
}

/// How many of the verdicts are unsafe.
pub(crate) fn count_unsafe(verdicts: &[Verdict]) -> usize {
    verdicts
        .iter()
        .filter(|verdict| verdict.level == Level::Unsafe)
        .count()
}

/// Verdicts that need nothing but the settings and a look at the key file.
pub(crate) fn of_settings(config: &Config) -> Vec<Verdict> {
    let mut verdicts = Verdicts(Vec::new());
    environment(config, &mut verdicts);
    database(config, &mut verdicts);
    server(config, &mut verdicts);
    keys(config, &mut verdicts);
    redis(config, &mut verdicts);
    rest(config, &mut verdicts);
    verdicts.0
}

fn in_production(config: &Config) -> bool {
    config.environment == Environment::Production
}

/// What is unsafe for a shop and accepted for trying out.
fn strict(config: &Config) -> Level {
    if in_production(config) {
        Level::Unsafe
    } else {
        Level::Note
    }
}

fn environment(config: &Config, verdicts: &mut Verdicts) {
    let setting = (
        "environment",
        &if in_production(config) {
            "production"
        } else {
            "development"
        } as &dyn ToString,
    );
    if in_production(config) {
        return verdicts.fine(setting);
    }
    verdicts.add(
        Level::Note,
        setting,
        "check.development",
        "settings are accepted that a shop must not use. Set it to production for a shop.",
        "将接受门店不应使用的配置。正式使用请设为 production。",
    );
}

fn database(config: &Config, verdicts: &mut Verdicts) {
    let setting = ("database.url", &config.database.url as &dyn ToString);
    let on_sqlite = Engine::of_url(config.database.url.reveal()).is_ok_and(|engine| engine == Engine::Sqlite);
    if on_sqlite && in_production(config) {
        verdicts.add(
            Level::Note,
            setting,
            "check.sqlite",
            "one machine holds everything: take backups to another one, and move to PostgreSQL or MySQL for a second node.",
            "所有数据位于一台机器：请定期备份到其他机器；如需多节点，请迁移至 PostgreSQL 或 MySQL。",
        );
    } else {
        verdicts.fine(setting);
    }
    let connections = (
        "database.max_connections",
        &config.database.max_connections as &dyn ToString,
    );
    // Points, ledger and orders have lanes of their own, and each lane holds a connection while it works.
    let wanted = 3 * config.committer.lanes + 2;
    if !on_sqlite && (config.database.max_connections as usize) < wanted {
        verdicts.add(
            Level::Note,
            connections,
            "check.few_connections",
            format!("{wanted} would let all lanes and some readers work at once."),
            format!("设为 {wanted} 可使所有批处理通道与部分查询同时工作。"),
        );
    } else {
        verdicts.fine(connections);
    }
}

fn server(config: &Config, verdicts: &mut Verdicts) {
    let listen = ("server.listen", &config.server.listen as &dyn ToString);
    let https = config
        .server
        .public_url
        .as_ref()
        .is_some_and(|url| url.scheme() == "https");
    if config.server.listen.ip().is_loopback() || (in_production(config) && https) {
        verdicts.fine(listen);
    } else {
        verdicts.add(
            strict(config),
            listen,
            "check.open_without_https",
            "others can reach this port, and passwords and phones would travel in clear. Listen on 127.0.0.1 behind a \
             proxy with TLS, and name its https:// address in server.public_url.",
            "该端口可被外部访问，密码与手机号将以明文传输。请监听 127.0.0.1 并置于 TLS 代理之后，\
             同时在 server.public_url 中填写其 https:// 地址。",
        );
    }
    match &config.server.public_url {
        None if in_production(config) => verdicts.add(
            Level::Note,
            ("server.public_url", &"(not set)"),
            "check.public_url_missing",
            "nobody outside this machine is expected. Name the https:// address under which the shop reaches it.",
            "视为仅供本机访问。请填写门店访问所用的 https:// 地址。",
        ),
        Some(url) if in_production(config) && !https => verdicts.add(
            Level::Unsafe,
            ("server.public_url", url),
            "check.public_url_plain",
            "passwords and phones would travel in clear. It must begin with https://.",
            "密码与手机号将以明文传输，必须以 https:// 开头。",
        ),
        Some(url) => verdicts.fine(("server.public_url", url)),
        None => verdicts.fine(("server.public_url", &"(not set)")),
    }
    verdicts.fine((
        "server.request_timeout_seconds",
        &config.server.request_timeout_seconds,
    ));
    verdicts.fine(("server.max_body_bytes", &config.server.max_body_bytes));
    verdicts.fine(("server.trusted_proxies", &config.server.trusted_proxies));
}

fn keys(config: &Config, verdicts: &mut Verdicts) {
    let path = &config.security.key_file;
    let setting = ("security.key_file", &path.display() as &dyn ToString);
    if in_production(config) && lies_beside_the_data(config) {
        verdicts.add(
            Level::Unsafe,
            setting,
            "check.key_file_beside_data",
            "it lies beside the data: whoever copies the folder can read every phone. Keep it in another place, name \
             that place, and keep a copy apart from the backups.",
            "密钥与数据位于同一目录：复制该目录即可读取全部手机号。请移至其他位置并在此填写，另存一份且勿与备份放在一起。",
        );
    }
    match key_file::look(path) {
        KeyFileState::Private => verdicts.fine(setting),
        KeyFileState::Missing if in_production(config) => verdicts.add(
            Level::Unsafe,
            setting,
            "check.key_file_missing",
            "there is no such file. Restore it; for a new installation make one as docs/guides/operations.md shows.",
            "文件不存在，请恢复；若为全新安装，请按 docs/guides/operations.md 生成。",
        ),
        KeyFileState::Missing => verdicts.add(
            Level::Note,
            setting,
            "check.key_file_to_be_made",
            "there is no such file yet. The first start makes it.",
            "文件尚不存在，首次启动时生成。",
        ),
        KeyFileState::Shared(mode) => verdicts.add(
            strict(config),
            setting,
            "check.key_file_shared",
            format!("others on this machine may read it (mode {mode:03o}): run chmod 600 on it."),
            format!("本机其他用户可读取该文件（权限 {mode:03o}）：请执行 chmod 600。"),
        ),
        KeyFileState::Unreadable => verdicts.add(
            Level::Unsafe,
            setting,
            "check.key_file_unreadable",
            "it cannot be read or holds no keys: restore it from where you keep it.",
            "无法读取或内容不是密钥：请从备份中恢复。",
        ),
    }
}

fn lies_beside_the_data(config: &Config) -> bool {
    // By whatever names the two are called; the files themselves may be missing yet.
    let folder = |file: &Path| {
        let file = std::path::absolute(file).ok()?;
        let folder = file.parent()?;
        Some(folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf()))
    };
    let data = config.database.file().and_then(|file| folder(&file));
    data.is_some() && data == folder(&config.security.key_file)
}

fn redis(config: &Config, verdicts: &mut Verdicts) {
    let on_sqlite = Engine::of_url(config.database.url.reveal()).is_ok_and(|engine| engine == Engine::Sqlite);
    match &config.redis.url {
        Some(url) => verdicts.fine(("redis.url", url)),
        None if on_sqlite => verdicts.fine(("redis.url", &"(not set)")),
        None => verdicts.add(
            Level::Note,
            ("redis.url", &"(not set)"),
            "check.redis_for_several",
            "right for one server process. Several need Redis, so that a signed request is taken by one of them only.",
            "适用于单个服务进程。多个进程需要 Redis，以确保同一签名请求只被接受一次。",
        ),
    }
}

fn rest(config: &Config, verdicts: &mut Verdicts) {
    let format = format!("{:?}", config.log.format).to_lowercase();
    verdicts.fine(("log.format", &format));
    let filter = ("log.filter", &config.log.filter as &dyn ToString);
    let wordy = ["debug", "trace"]
        .iter()
        .any(|level| config.log.filter.contains(level));
    if in_production(config) && wordy {
        verdicts.add(
            Level::Note,
            filter,
            "check.wordy_logs",
            "libraries write much at this level, and slow the server down.",
            "此级别日志量很大，会降低性能。",
        );
    } else {
        verdicts.fine(filter);
    }
    let enabled = ("worker.enabled", &config.worker.enabled as &dyn ToString);
    if config.worker.enabled {
        verdicts.fine(enabled);
    } else {
        verdicts.add(
            Level::Note,
            enabled,
            "check.worker_elsewhere",
            "run `huika worker` somewhere: events and schedules wait until one runs.",
            "请另行运行 `huika worker`，否则事件与定时任务不会执行。",
        );
    }
    verdicts.fine(("worker.parallel", &config.worker.parallel));
    match &config.worker.listen {
        None => verdicts.fine(("worker.listen", &"(not set)")),
        Some(listen) if listen.ip().is_loopback() => verdicts.fine(("worker.listen", listen)),
        Some(listen) => verdicts.add(
            Level::Note,
            ("worker.listen", listen),
            "check.metrics_open",
            "others can reach the metrics of the worker. Keep this port away from the internet.",
            "该端口的监控指标可被外部访问，请勿暴露到互联网。",
        ),
    }
    verdicts.fine(("committer.lanes", &config.committer.lanes));
    verdicts.fine(("committer.max_batch", &config.committer.max_batch));
    let owner = ("setup.owner_email", &config.setup.owner_email as &dyn ToString);
    if in_production(config) && config.setup.owner_email == DEFAULT_OWNER {
        verdicts.add(
            Level::Note,
            owner,
            "check.owner_default",
            "counts at the first start only. Name a mailbox that exists.",
            "仅在首次启动时使用，请填写真实邮箱。",
        );
    } else {
        verdicts.fine(owner);
    }
    verdicts.fine(("setup.currency", &config.setup.currency));
    verdicts.fine(("setup.time_zone", &config.setup.time_zone));
}

/// Verdicts that need the database and Redis.
pub(crate) async fn of_surroundings(config: &Config, db: Result<Db, String>) -> Vec<Verdict> {
    let mut verdicts = Verdicts(Vec::new());
    match db {
        Err(reason) => verdicts.add(
            Level::Unsafe,
            ("database.url", &config.database.url),
            "check.database_unreachable",
            format!("the database cannot be used: {reason}."),
            format!("数据库无法使用：{reason}。"),
        ),
        Ok(db) => {
            tables(config, &db, &mut verdicts).await;
            db.close().await;
        }
    }
    if let Some(url) = &config.redis.url {
        let setting = ("redis.url", url as &dyn ToString);
        let reason = match tokio::time::timeout(ANSWER_WITHIN, NonceStore::redis(url.reveal())).await {
            Ok(Ok(_)) => {
                verdicts.add(
                    Level::Fine,
                    setting,
                    "check.redis_answers",
                    "Redis answers.",
                    "Redis 连接正常。",
                );
                return verdicts.0;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "nobody answers".to_owned(),
        };
        verdicts.add(
            Level::Unsafe,
            setting,
            "check.redis_unreachable",
            format!("Redis cannot be used: {reason}."),
            format!("Redis 无法使用：{reason}。"),
        );
    }
    verdicts.0
}

async fn tables(config: &Config, db: &Db, verdicts: &mut Verdicts) {
    let setting = ("database.url", &config.database.url as &dyn ToString);
    match pending_migrations(db, &compose::migrations()).await {
        Err(error) => {
            let reason = chain(&error);
            verdicts.add(
                Level::Unsafe,
                setting,
                "check.database_unfit",
                format!("the database does not fit this version: {reason}."),
                format!("数据库与本版本不符：{reason}。"),
            );
        }
        Ok(pending) if pending.is_empty() => {
            let words = (
                "it answers, and its tables are current.",
                "连接正常，表结构为最新。",
            );
            verdicts.add(Level::Fine, setting, "check.database_current", words.0, words.1);
            in_use(config, db, verdicts).await;
        }
        Ok(pending) => {
            let (count, by_itself) = (pending.len(), db.engine() == Engine::Sqlite);
            verdicts.add(
                if by_itself { Level::Note } else { Level::Unsafe },
                setting,
                "check.migrations_pending",
                format!("{count} migrations are pending: run `huika migrate`."),
                format!("有 {count} 个迁移待执行：请运行 `huika migrate`。"),
            );
        }
    }
}

async fn in_use(config: &Config, db: &Db, verdicts: &mut Verdicts) {
    if key_is_lost(config, db).await {
        verdicts.add(
            Level::Unsafe,
            ("security.key_file", &config.security.key_file.display()),
            "check.key_file_lost",
            "the database is in use and its key file is not here: restore it, or no phone can be read again.",
            "数据库已在使用但缺少密钥文件：请恢复，否则手机号将无法读取。",
        );
    }
    // Numbers are given out from 0: a higher one means that others are at work.
    let Ok(lease) = NodeLease::acquire(db).await else {
        return;
    };
    let others = lease.node();
    // Lapses by itself after a minute where this fails.
    let _ = lease.release(db).await;
    if others > 0 && config.redis.url.is_none() {
        verdicts.add(
            Level::Note,
            ("redis.url", &"(not set)"),
            "check.other_nodes",
            format!("{others} other processes work on this database or did a minute ago: if two of them serve, set redis.url."),
            format!("另有 {others} 个进程正在（或一分钟内曾）使用此数据库：若其中两个提供服务，请设置 redis.url。"),
        );
    }
}

/// Whether the key file is missing although something was written with its keys: making a new one would hide that
/// the old one is lost. Whatever is done to an installation leaves an audit entry, beginning with its owner.
pub(crate) async fn key_is_lost(config: &Config, db: &Db) -> bool {
    key_file::look(&config.security.key_file) == KeyFileState::Missing
        && list_audit(&mut &*db, None, 1)
            .await
            .is_ok_and(|entries| !entries.is_empty())
}

#[cfg(test)]
mod tests {
    use huika_core::Rng;

    use super::*;

    fn codes(config: &Config) -> Vec<(&'static str, Level)> {
        let verdicts = of_settings(config).into_iter();
        verdicts
            .filter(|verdict| verdict.level != Level::Fine)
            .map(|verdict| (verdict.code, verdict.level))
            .collect()
    }

    #[test]
    fn every_setting_has_a_verdict() {
        let verdicts = of_settings(&Config::default());
        for path in Config::paths() {
            assert!(
                verdicts.iter().any(|verdict| verdict.setting == path),
                "{path} has no verdict"
            );
        }
    }

    #[test]
    fn defaults_are_for_trying_out_and_refused_for_a_shop() {
        let mut config = Config::default();
        // A key file of the machine that the test runs on must not matter.
        let folder = tempfile::tempdir().unwrap();
        config.security.key_file = folder.path().join("huika.key");
        let (note, refused) = (Level::Note, Level::Unsafe);
        assert_eq!(
            codes(&config),
            [("check.development", note), ("check.key_file_to_be_made", note)]
        );

        config.environment = Environment::Production;
        config.server.listen = "0.0.0.0:80".parse().unwrap();
        config.server.public_url = Some("http://shop.example".parse().unwrap());
        config.log.filter = "debug".into();
        assert_eq!(
            codes(&config),
            [
                ("check.sqlite", note),
                ("check.open_without_https", refused),
                ("check.public_url_plain", refused),
                ("check.key_file_missing", refused),
                ("check.wordy_logs", note),
                ("check.owner_default", note),
            ]
        );

        key_file::make(&config.security.key_file, &Rng::seeded(1)).unwrap();
        config.server.public_url = Some("https://shop.example".parse().unwrap());
        assert_eq!(count_unsafe(&of_settings(&config)), 0);

        // Beside the data it is refused, by whatever way it is named.
        let beside = ("check.key_file_beside_data", refused);
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let url = format!("sqlite://{}?mode=rwc", data.join("huika.db").display());
        config.database.url = url.as_str().into();
        assert!(!codes(&config).contains(&beside));
        for path in ["data/other.key", "data/../data/huika.key"] {
            config.security.key_file = folder.path().join(path);
            assert!(codes(&config).contains(&beside), "{path}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&data, folder.path().join("link")).unwrap();
            config.security.key_file = folder.path().join("link/huika.key");
            assert!(codes(&config).contains(&beside));
        }
        config.database.url = "postgres://db/huika".into();
        assert!(!codes(&config).contains(&beside));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_that_others_may_read_is_refused_for_a_shop() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.security.key_file = folder.path().join("huika.key");
        key_file::make(&config.security.key_file, &Rng::seeded(1)).unwrap();
        std::fs::set_permissions(&config.security.key_file, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(codes(&config).contains(&("check.key_file_shared", Level::Note)));
        config.environment = Environment::Production;
        assert!(codes(&config).contains(&("check.key_file_shared", Level::Unsafe)));
    }
}
