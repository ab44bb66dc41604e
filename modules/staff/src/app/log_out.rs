//! Logging out.

use huika_core::Actor;

use super::audit_in_tx;
use crate::{
    Staff, StaffError,
    domain::{operator::operator_of, session::TokenHash},
    store,
};

impl Staff {
    /// Ends the session that a token belongs to. Needs no permission: everybody may end their own session.
    /// Afterwards the token opens nothing on this node, and within ten seconds on no other.
    ///
    /// # Errors
    /// [`StaffError::OperatorNeeded`] when the actor is no operator; otherwise when the database fails.
    pub async fn log_out(&self, actor: &Actor, token: &str) -> Result<(), StaffError> {
        let operator = operator_of(actor)?;
        let (now, token_hash, ids) = (self.clock().now(), TokenHash::of(token), &self.0.ids);
        self.db()
            .run_tx("staff.log_out", |tx| {
                Box::pin(async move {
                    // A second log-out of the same session changes nothing.
                    if store::session_revoke(tx, token_hash, operator, now).await? {
                        let detail = serde_json::json!({});
                        audit_in_tx(tx, ids, actor, "staff.log_out", operator.to_string(), detail).await?;
                    }
                    Ok::<_, StaffError>(())
                })
            })
            .await?;
        self.0.sessions.revoke(&token_hash);
        Ok(())
    }
}
