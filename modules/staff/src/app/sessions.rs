//! Sessions: who is logged in, and ending that.

use huika_core::Actor;
use serde_json::json;

use super::{audit_in_tx, operators::load, reach::check_target};
use crate::{
    OPERATORS_MANAGE, OPERATORS_READ, OperatorId, SessionId, SessionInfo, Staff, StaffError,
    domain::operator::operator_of,
    store::{self, people},
};

impl Staff {
    /// The sessions of the actor that have not ended, latest first. Needs no permission: everybody may see their own.
    ///
    /// # Errors
    /// [`StaffError::OperatorNeeded`]; when the database fails.
    pub async fn list_own_sessions(&self, actor: &Actor) -> Result<Vec<SessionInfo>, StaffError> {
        let operator = operator_of(actor)?;
        Ok(people::session_list(&mut self.db(), operator, self.clock().now()).await?)
    }

    /// The sessions of an operator that have not ended, latest first.
    ///
    /// # Errors
    /// When the actor lacks the permission or the database fails.
    pub async fn list_sessions(
        &self,
        actor: &Actor,
        operator: OperatorId,
    ) -> Result<Vec<SessionInfo>, StaffError> {
        actor.authorize(&OPERATORS_READ)?;
        Ok(people::session_list(&mut self.db(), operator, self.clock().now()).await?)
    }

    /// Ends a session of the actor. Needs no permission: everybody may end their own.
    ///
    /// # Errors
    /// [`StaffError::OperatorNeeded`]; [`StaffError::SessionUnknown`].
    pub async fn revoke_own_session(&self, actor: &Actor, session: &SessionId) -> Result<(), StaffError> {
        let operator = operator_of(actor)?;
        self.revoke(actor, operator, session, false).await
    }

    /// Ends a session of an operator.
    ///
    /// # Errors
    /// When the actor lacks the permission or may do less; [`StaffError::OperatorUnknown`];
    /// [`StaffError::SessionUnknown`].
    pub async fn revoke_session(
        &self,
        actor: &Actor,
        operator: OperatorId,
        session: &SessionId,
    ) -> Result<(), StaffError> {
        actor.authorize(&OPERATORS_MANAGE)?;
        self.revoke(actor, operator, session, true).await
    }

    async fn revoke(
        &self,
        actor: &Actor,
        operator: OperatorId,
        session: &SessionId,
        of_another: bool,
    ) -> Result<(), StaffError> {
        let (now, ids) = (self.clock().now(), &self.0.ids);
        let ended = self
            .db()
            .run_tx("staff.revoke_session", |tx| {
                Box::pin(async move {
                    if of_another {
                        let target = load(tx, operator).await?;
                        check_target(tx, actor, &target).await?;
                    }
                    let sessions = people::session_list(tx, operator, now).await?;
                    let found = sessions.into_iter().find(|info| info.id() == *session);
                    let hash = found.ok_or(StaffError::SessionUnknown)?.token_hash;
                    if store::session_revoke(tx, hash, operator, now).await? {
                        let detail = json!({ "session": session.to_string() });
                        let subject = operator.to_string();
                        audit_in_tx(tx, ids, actor, "staff.revoke_session", subject, detail).await?;
                    }
                    Ok::<_, StaffError>(hash)
                })
            })
            .await?;
        self.0.sessions.revoke(&ended);
        Ok(())
    }
}
