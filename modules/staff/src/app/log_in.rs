//! Logging in with address and password.

use std::{fmt, net::IpAddr};

use huika_core::{Actor, Timestamp};

use super::audit_in_tx;
use crate::{
    Operator, Staff, StaffError,
    domain::{
        login_window,
        operator::Email,
        password,
        session::{self, TokenHash},
    },
    store,
};

/// What somebody logs in with.
pub struct LogIn<'a> {
    /// The address, in any case.
    pub email: &'a str,
    /// The password.
    pub password: String,
    /// A code of the device or a recovery code, where a second factor is set up.
    pub code: Option<&'a str>,
    /// From which address the request came, as far as the server knows.
    pub from: Option<IpAddr>,
}

/// A session that has just begun.
#[derive(Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// The token, which is shown this once.
    pub token: String,
    /// When the session ends if it is not used.
    pub expires_at: Timestamp,
    /// Whose it is.
    pub operator: Operator,
}

impl fmt::Debug for LoggedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggedIn")
            .field("expires_at", &self.expires_at)
            .field("operator", &self.operator.id)
            .finish_non_exhaustive()
    }
}

impl Staff {
    /// Begins a session. Needs no permission: the password is the proof, with a code where a device is set up.
    ///
    /// The attempt is counted before the password is looked at, for the address that is tried and for the one that
    /// the request came from, so that many guesses at once do not slip through together. A success clears the count
    /// of the first and takes itself out of the second. Every refusal after that is in the audit log.
    ///
    /// # Errors
    /// [`StaffError::LoginRefused`] for a wrong address, a wrong password and a suspended operator alike, after
    /// the same time; [`StaffError::CodeNeeded`]; [`StaffError::CodeRefused`]; [`StaffError::Throttled`] after ten
    /// failures for one address, or fifty from one, in fifteen minutes.
    pub async fn log_in(&self, attempt: LogIn<'_>) -> Result<LoggedIn, StaffError> {
        let now = self.clock().now();
        let email = Email::normalized(attempt.email);
        let index = self.0.keyring.blind_index("staff_login_attempt", email.as_str());
        let source = attempt.from.map(|address| {
            self.0
                .keyring
                .blind_index("staff_login_source", &login_window::source_of(address))
        });
        if let Some(source) = &source {
            self.count(source, login_window::MAX_FROM_SOURCE, now).await?;
        }
        self.count_attempt(&index, now).await?;

        let found = store::operator_find_by_email(&mut self.db(), email.as_str()).await?;
        let (operator, hash) = found.map_or((None, password::NOBODY.to_owned()), |(operator, hash)| {
            (Some(operator), hash)
        });
        let (checked, password) = (hash.clone(), attempt.password);
        let fits = self
            .with_password(move || password::fits(&password, &checked))
            .await?;
        let Some(operator) = operator.clone().filter(|operator| fits && operator.is_active) else {
            let why = match &operator {
                None => "address",
                Some(_) if !fits => "password",
                Some(_) => "suspended",
            };
            let subject = operator.map_or_else(|| unknown(&index), |operator| operator.id.to_string());
            self.audit_refusal(subject, why).await?;
            return Err(StaffError::LoginRefused);
        };

        let token = session::new_token(self.rng());
        let (token_hash, expires_at) = (TokenHash::of(&token), session::expiry(now));
        let (actor, subject) = (&Actor::with_rights(operator.id, []), operator.id);
        let (index, hash, ids) = (index.as_str(), hash.as_str(), &self.0.ids);
        let source = source.as_deref();
        let begun = self
            .db()
            .run_tx("staff.log_in", |tx| {
                Box::pin(async move {
                    // Checking took a while: the password may be another one by now. This also locks the operator, so
                    // that a device which is activated beside it is either seen or ends up after the session.
                    if !store::operator_holds_password(tx, subject, hash).await? {
                        return Err(StaffError::LoginRefused);
                    }
                    let second_factor = self.take_code_in_tx(tx, subject, attempt.code, now).await?;
                    store::session_insert(tx, token_hash, subject, now, expires_at).await?;
                    store::login_attempt_clear(tx, index).await?;
                    if let Some(source) = source {
                        store::login_attempt_take_back(tx, source, now).await?;
                    }
                    let detail = serde_json::json!({ "second_factor": second_factor });
                    audit_in_tx(tx, ids, actor, "staff.log_in", subject.to_string(), detail).await?;
                    Ok::<_, StaffError>(())
                })
            })
            .await;
        if let Err(error) = begun {
            let why = match &error {
                StaffError::CodeNeeded => Some("code_missing"),
                StaffError::CodeRefused => Some("code"),
                StaffError::LoginRefused => Some("password"),
                _ => None,
            };
            if let Some(why) = why {
                self.audit_refusal(subject.to_string(), why).await?;
            }
            return Err(error);
        }
        Ok(LoggedIn {
            token,
            expires_at,
            operator,
        })
    }

    /// Says in the audit log that somebody was refused. Bounded by the windows that count attempts.
    async fn audit_refusal(&self, subject: String, why: &'static str) -> Result<(), StaffError> {
        let (actor, ids, subject) = (&Actor::system("log_in"), &self.0.ids, subject.as_str());
        self.db()
            .run_tx("staff.log_in_refused", |tx| {
                Box::pin(async move {
                    let detail = serde_json::json!({ "why": why });
                    audit_in_tx(tx, ids, actor, "staff.log_in_refused", subject.to_owned(), detail).await?;
                    Ok(())
                })
            })
            .await
    }

    /// Counts an attempt for the address that is tried.
    pub(super) async fn count_attempt(&self, index: &str, now: Timestamp) -> Result<(), StaffError> {
        self.count(index, login_window::MAX_FAILURES, now).await
    }

    async fn count(&self, index: &str, most: i64, now: Timestamp) -> Result<(), StaffError> {
        self.db()
            .run_tx("staff.count_attempt", |tx| {
                Box::pin(async move {
                    let window_ends_at = login_window::end_of_window(now);
                    match store::login_attempt_count(tx, index, most, now, window_ends_at).await? {
                        None => Ok(()),
                        Some(full_until) => Err(login_window::throttled(now, full_until).into()),
                    }
                })
            })
            .await
    }
}

/// How an address that nobody has is named in the audit log: people type passwords there.
fn unknown(index: &str) -> String {
    format!("adr_{}", &index[..32])
}
