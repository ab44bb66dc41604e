//! The way back for an owner who cannot log in.

use huika_core::Actor;

use super::audit_in_tx;
use crate::{
    Operator, Staff, StaffError,
    domain::password,
    store::{self, factors},
};

impl Staff {
    /// The operator whom the first run made; absent before it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn first_owner(&self) -> Result<Option<Operator>, StaffError> {
        Ok(store::first_owner_find(&mut self.db()).await?)
    }

    /// A password that nobody can guess, for whoever is about to get a new one.
    pub fn new_password(&self) -> String {
        password::generate(self.rng())
    }

    /// Gives the first owner another password. Needs no permission: it has no route, and whoever can call it has the
    /// database in their hands anyway.
    ///
    /// Afterwards the old password opens nothing, all sessions of the owner have ended (on other nodes within ten
    /// seconds), failed log-ins before are forgotten, and no code is asked for until a device is set up again. False when there is no owner yet.
    ///
    /// # Errors
    /// When the password will not do, or the database fails.
    pub async fn reset_owner_password(&self, actor: &Actor, password: String) -> Result<bool, StaffError> {
        password::check(&password)?;
        let Some(owner) = self.first_owner().await? else {
            return Ok(false);
        };
        let password_hash = self.hash_password(password).await?;
        let index = self.0.keyring.blind_index("staff_login_attempt", &owner.email);
        let (now, owner, ids) = (self.clock().now(), owner.id, &self.0.ids);
        let (password_hash, index) = (password_hash.as_str(), index.as_str());
        self.db()
            .run_tx("staff.reset_owner_password", |tx| {
                Box::pin(async move {
                    // The hash first: a log-in that has checked the old one is refused from here on, or has begun its
                    // session already, which then ends with the others.
                    store::operator_set_password(tx, owner, password_hash).await?;
                    let sessions = store::session_revoke_all(tx, owner, now).await?;
                    store::login_attempt_clear(tx, index).await?;
                    // Whoever lost the password may have lost the device too, and nobody else can help an owner.
                    let second_factor = factors::factor_remove(tx, owner).await?;
                    let detail = serde_json::json!({ "sessions": sessions, "second_factor": second_factor });
                    let action = "staff.reset_owner_password";
                    audit_in_tx(tx, ids, actor, action, owner.to_string(), detail).await?;
                    Ok::<_, StaffError>(())
                })
            })
            .await?;
        self.0.sessions.clear();
        Ok(true)
    }
}
