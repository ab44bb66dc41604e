//! A new password of one's own.

use huika_core::Actor;
use serde_json::json;

use super::{audit_in_tx, second_factor::OwnPassword};
use crate::{
    Staff, StaffError,
    domain::{operator::operator_of, password, session::TokenHash},
    store::{self, people},
};

impl Staff {
    /// Gives the actor another password. Needs no permission: the present password is the proof, and wrong ones are
    /// counted as at log-in. All other sessions of the actor end.
    ///
    /// # Errors
    /// [`StaffError::OperatorNeeded`]; [`StaffError::PasswordWrong`]; [`StaffError::Throttled`];
    /// [`StaffError::PasswordUnsuitable`].
    pub async fn change_password(
        &self,
        actor: &Actor,
        token: &str,
        present: String,
        new: String,
    ) -> Result<(), StaffError> {
        let operator = operator_of(actor)?;
        password::check(&new)?;
        let OwnPassword { hash, index } = self.check_own_password(operator, present).await?;
        let new_hash = self.hash_password(new).await?;
        let (now, kept, ids) = (self.clock().now(), TokenHash::of(token), &self.0.ids);
        let (index, hash, new_hash) = (index.as_str(), hash.as_str(), new_hash.as_str());
        self.db()
            .run_tx("staff.change_password", |tx| {
                Box::pin(async move {
                    // Hashing took a while: the password may be another one by now, or the operator suspended.
                    if !store::operator_holds_password(tx, operator, hash).await? {
                        return Err(StaffError::PasswordWrong);
                    }
                    store::operator_set_password(tx, operator, new_hash).await?;
                    let sessions = people::session_revoke_others(tx, operator, kept, now).await?;
                    store::login_attempt_clear(tx, index).await?;
                    let (subject, detail) = (operator.to_string(), json!({ "sessions": sessions }));
                    audit_in_tx(tx, ids, actor, "staff.change_password", subject, detail).await?;
                    Ok(())
                })
            })
            .await?;
        self.0.sessions.clear();
        Ok(())
    }
}
