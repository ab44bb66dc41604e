//! Logging in with address and password.

use std::fmt;

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
    /// Begins a session. Needs no permission: the password is the proof.
    ///
    /// The attempt is counted before the password is looked at, so that many guesses at once do not slip through
    /// together; a success clears the count.
    ///
    /// # Errors
    /// [`StaffError::LoginRefused`] for a wrong address, a wrong password and a suspended operator alike, after
    /// the same time; [`StaffError::Throttled`] after ten failures for one address in fifteen minutes.
    pub async fn log_in(&self, email: &str, password: String) -> Result<LoggedIn, StaffError> {
        let now = self.clock().now();
        let email = Email::normalized(email);
        let index = self.0.keyring.blind_index("staff_login_attempt", email.as_str());
        self.count_attempt(&index, now).await?;

        let found = store::operator_find_by_email(&mut self.db(), email.as_str()).await?;
        let (operator, hash) = found.map_or((None, password::NOBODY.to_owned()), |(operator, hash)| {
            (Some(operator), hash)
        });
        let checked = hash.clone();
        let fits = self
            .with_password(move || password::fits(&password, &checked))
            .await?;
        let Some(operator) = operator.filter(|operator| fits && operator.is_active) else {
            return Err(StaffError::LoginRefused);
        };

        let token = session::new_token(self.rng());
        let (token_hash, expires_at) = (TokenHash::of(&token), session::expiry(now));
        let (actor, subject) = (&Actor::with_rights(operator.id, []), operator.id);
        let (index, hash, ids) = (index.as_str(), hash.as_str(), &self.0.ids);
        self.db()
            .run_tx("staff.log_in", |tx| {
                Box::pin(async move {
                    // Checking took a while: the password may be another one by now.
                    if !store::operator_holds_password(tx, subject, hash).await? {
                        return Err(StaffError::LoginRefused);
                    }
                    store::session_insert(tx, token_hash, subject, now, expires_at).await?;
                    store::login_attempt_clear(tx, index).await?;
                    let detail = serde_json::json!({});
                    audit_in_tx(tx, ids, actor, "staff.log_in", subject.to_string(), detail).await?;
                    Ok::<_, StaffError>(())
                })
            })
            .await?;
        Ok(LoggedIn {
            token,
            expires_at,
            operator,
        })
    }

    pub(super) async fn count_attempt(&self, index: &str, now: Timestamp) -> Result<(), StaffError> {
        self.db()
            .run_tx("staff.count_attempt", |tx| {
                Box::pin(async move {
                    let window_ends_at = login_window::end_of_window(now);
                    match store::login_attempt_count(tx, index, now, window_ends_at).await? {
                        None => Ok(()),
                        Some(full_until) => Err(login_window::throttled(now, full_until).into()),
                    }
                })
            })
            .await
    }
}
