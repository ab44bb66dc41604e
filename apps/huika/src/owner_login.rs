//! The way of an owner's new password to the person who logs in with it.
//!
//! On a terminal it is shown once. Elsewhere standard error may end in a log that many read, so the password goes to
//! a file for its owner alone; and since nobody else knows it, that file is on disk before the password counts.

use std::{
    io::{ErrorKind, IsTerminal as _},
    path::PathBuf,
};

use huika_core::Bilingual;
use serde_json::json;

use crate::{commands::Context, error::CommandError, files};

/// Beside the key file, which lies where few may read.
const FILE: &str = "owner-login.json";

/// A log-in that does not count yet.
pub(crate) struct OwnerLogin {
    email: String,
    password: String,
    /// Absent where it is shown on the terminal.
    file: Option<PathBuf>,
}

impl OwnerLogin {
    /// Writes the file, where there is no terminal. A file that is there already is never replaced: the password in it
    /// may be the one that counts.
    ///
    /// # Errors
    /// [`CommandError::OwnerLoginUnwritable`].
    pub(crate) fn prepare(context: &Context, email: &str, password: String) -> Result<Self, CommandError> {
        let on_terminal = !context.output.json && std::io::stderr().is_terminal();
        let file = (!on_terminal).then(|| context.config.security.key_file.with_file_name(FILE));
        if let Some(path) = &file {
            let text = json!({ "email": email, "password": &password }).to_string();
            let written =
                files::write_private(path, text.as_bytes()).and_then(|()| files::sync_folder_of(path));
            written.map_err(|error| CommandError::OwnerLoginUnwritable {
                path: path.display().to_string(),
                reason: match error.kind() {
                    ErrorKind::AlreadyExists => "it is there already".to_owned(),
                    _ => error.to_string(),
                },
            })?;
        }
        Ok(Self {
            email: email.to_owned(),
            password,
            file,
        })
    }

    /// The password that is going to count.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// Takes it back, because it does not count.
    pub(crate) fn withdraw(self) {
        if let Some(path) = &self.file {
            // What cannot be removed opens nothing.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Says what counts from now on, or where it is written. Tells the file.
    pub(crate) fn hand_over(self, context: &Context) -> Option<PathBuf> {
        let Self {
            email,
            password,
            file,
        } = self;
        let words = match &file {
            None => Bilingual::new(
                format!("\n  所有者账号（仅显示一次，请立即记录）：\n  邮箱：{email}\n  密码：{password}\n"),
                format!(
                    "\n  The owner's log-in, shown this once. Write it down:\n  e-mail:   {email}\n  password: {password}\n"
                ),
            ),
            Some(path) => {
                let place = path.display();
                Bilingual::new(
                    format!("所有者账号已写入 {place}，请记录后删除该文件。"),
                    format!("The owner's log-in was written to {place}: note it, then remove the file."),
                )
            }
        };
        context.output.say(&words);
        file
    }
}
