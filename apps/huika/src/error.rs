//! Why a command did not succeed, in words for the person at the machine and with a code for programs.

use std::{error::Error, fmt};

use huika_core::{Language, Refusal, problems};
use huika_db::{DbError, backup::BackupError};

problems! {
    /// What the commands of `huika` refuse. The statuses are those that a server would answer with.
    pub enum CommandError {
        /// A setting is unknown, missing or of the wrong form.
        [422 "config.invalid"]
        ConfigInvalid { reason: String }
        en "The configuration cannot be used: {reason}"
        zh "配置无法使用：{reason}";

        /// An environment variable that begins with HUIKA_ names no setting.
        [422 "config.unknown_variable"]
        UnknownVariable { name: String }
        en "The environment variable {name} names no setting: compare it with huika.example.toml, or unset it."
        zh "环境变量 {name} 不对应任何配置项：请对照 huika.example.toml，或取消该变量。";

        /// A production setting is unsafe.
        [422 "config.unsafe"]
        ConfigUnsafe { codes: String }
        en "Settings are unsafe for production ({codes}): `huika check` says why. Correct them and start again."
        zh "存在不安全的生产环境配置（{codes}）：请运行 `huika check` 查看说明，修正后重新启动。";

        /// The key file does not exist where it must.
        [422 "key_file.missing"]
        KeyFileMissing { path: String }
        en "The key file {path} is missing: restore it from where you keep it, since personal data cannot be read without it."
        zh "密钥文件 {path} 不存在：请从备份中恢复，否则无法读取个人信息。";

        /// The key file cannot be read or written.
        [422 "key_file.unusable"]
        KeyFileUnusable { path: String, reason: String }
        en "The key file {path} cannot be used: {reason}"
        zh "密钥文件 {path} 无法使用：{reason}";

        /// The file for the owner's new password cannot be written.
        [422 "owner.login_unwritable"]
        OwnerLoginUnwritable { path: String, reason: String }
        en "The owner's new password goes to {path}, which cannot be written: {reason}. Remove an old file, let this user write to the folder, or run the command on a terminal."
        zh "所有者的新密码需写入 {path}，但无法写入：{reason}。请删除旧文件、授予该目录的写权限，或在终端中运行此命令。";

        /// Nobody owns this installation yet.
        [409 "owner.missing"]
        OwnerMissing
        en "There is no owner yet: the first `huika serve` makes one."
        zh "尚无所有者账号：首次运行 `huika serve` 时创建。";

        /// The database cannot be used.
        [503 "database.unusable"]
        DatabaseUnusable { reason: String }
        en "The database cannot be used: {reason}"
        zh "数据库无法使用：{reason}";

        /// The file of a SQLite database is not there.
        [422 "database.file_missing"]
        DatabaseFileMissing { path: String }
        en "There is no database file {path}: correct database.url. A new one is made by `huika migrate` or the first start."
        zh "数据库文件 {path} 不存在：请修正 database.url。新数据库由 `huika migrate` 或首次启动创建。";

        /// The tables are older than the program.
        [409 "database.migrations_pending"]
        MigrationsPending { count: usize }
        en "The database lacks {count} migrations of this version: run `huika migrate` (or `huika serve --migrate`) first."
        zh "数据库缺少本版本的 {count} 个迁移：请先运行 `huika migrate`（或 `huika serve --migrate`）。";

        /// Another process took the number of this one.
        [503 "node.lease_lost"]
        LeaseLost
        en "This process lost its node number and stopped at once, so that no id is made twice: start it again."
        zh "本进程失去节点编号，已立即停止以避免编号重复：请重新启动。";

        /// The address to listen on is taken or not ours.
        [503 "server.cannot_listen"]
        CannotListen { address: String, reason: String }
        en "Nobody can listen on {address}: {reason}. Choose another address with server.listen."
        zh "无法监听 {address}：{reason}。请通过 server.listen 更换地址。";

        /// Redis does not answer.
        [503 "redis.unusable"]
        RedisUnusable { reason: String }
        en "Redis cannot be used: {reason}. Correct redis.url, or start Redis."
        zh "Redis 无法使用：{reason}。请修正 redis.url 或启动 Redis。";

        /// A file cannot be read or written.
        [422 "file.unusable"]
        FileUnusable { path: String, reason: String }
        en "The file {path} cannot be used: {reason}"
        zh "文件 {path} 无法使用：{reason}";

        /// A backup was not taken or not restored.
        [422 "backup.failed"]
        BackupFailed { reason: String }
        en "The backup did not succeed: {reason}"
        zh "备份或恢复未成功：{reason}";

        /// What is stored does not add up.
        [409 "verify.not_clean"]
        NotClean { findings: u64 }
        en "{findings} things do not add up: keep a copy of the database as it is and follow docs/guides/operations.md."
        zh "有 {findings} 处账目不符：请先保留数据库副本，再按 docs/guides/operations.md 处理。";

        /// Rows of a file were refused.
        [422 "import.rows_refused"]
        RowsRefused { rows: u64 }
        en "{rows} rows were refused and reported; the good rows were taken in. Correct them and run the import again."
        zh "有 {rows} 行被拒绝并已列出，其余行已导入。请修正后重新导入。";

        /// The machine refused something that the command needs.
        [500 "system.refused"]
        SystemRefused { reason: String }
        en "The operating system refused: {reason}"
        zh "操作系统拒绝：{reason}";
    }
}

/// What ends a command early: the words, the code, and the causes for the person who looks for them.
#[derive(Debug)]
pub struct Failure {
    /// The stable code.
    pub code: &'static str,
    /// What happened and what to do, in English.
    pub en: String,
    /// The same in Chinese.
    pub zh: String,
}

impl Failure {
    /// The words in one language.
    pub fn in_language(&self, language: Language) -> &str {
        match language {
            Language::Chinese => &self.zh,
            Language::English => &self.en,
        }
    }

    /// A failure of the database, whose causes the person at the machine may see.
    pub(crate) fn database(error: DbError) -> Self {
        CommandError::DatabaseUnusable {
            reason: chain(&error),
        }
        .into()
    }

    /// A file that cannot be read or written.
    pub(crate) fn file(path: &std::path::Path, error: impl fmt::Display) -> Self {
        CommandError::FileUnusable {
            path: path.display().to_string(),
            reason: error.to_string(),
        }
        .into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.en, self.code)
    }
}

impl<E: Refusal> From<E> for Failure {
    /// On the wire causes stay in the logs; at the machine they are what is looked for.
    fn from(refusal: E) -> Self {
        let problem = refusal.problem();
        let (mut en, mut zh) = (problem.en, problem.zh);
        if problem.status >= 500
            && let Some(cause) = refusal.source()
        {
            let causes = chain(cause);
            en = format!("{en} ({causes})");
            zh = format!("{zh}（{causes}）");
        }
        Self {
            code: problem.code,
            en,
            zh,
        }
    }
}

/// From a backup or a restore.
pub(crate) fn backup_failure(error: BackupError) -> Failure {
    match error {
        BackupError::Db(error) => Failure::database(error),
        other => CommandError::BackupFailed {
            reason: chain(&other),
        }
        .into(),
    }
}

/// An error and its causes in one line. A wrapper that repeats the text of what it wraps is left out.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut last = error.to_string();
    let mut text = last.clone();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if next != last {
            text.push_str(": ");
            text.push_str(&next);
        }
        last = next;
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_database_names_its_cause() {
        let failure = Failure::database(DbError::Unavailable(std::io::Error::other("refused").into()));
        assert_eq!(failure.code, "database.unusable");
        assert!(failure.en.contains("cannot be reached"), "{failure}");
        assert!(failure.en.contains("refused"), "{failure}");
    }
}
