//! Freezing, blacklisting, closing and restoring a member.

use huika_core::{Actor, MemberId};
use huika_db::audit::{AuditEntry, record_audit_in_tx};

use crate::{MemberState, MemberView, Members, MembersError, Reason, permission, store};

impl Members {
    /// Changes how a member stands with the shop. A state that holds already is left as it is, without an
    /// audit entry.
    ///
    /// # Errors
    /// [`MembersError::NotFound`], [`MembersError::StateNotSettable`], [`MembersError::Merged`].
    pub async fn set_state(
        &self,
        actor: &Actor,
        id: MemberId,
        state: MemberState,
        reason: &Reason,
    ) -> Result<MemberView, MembersError> {
        actor.authorize(&permission::SET_STATE)?;
        if state == MemberState::Merged {
            return Err(MembersError::StateNotSettable);
        }
        let now = self.db.clock().now();
        self.db
            .run_tx("members.set_state", |tx| {
                Box::pin(async move {
                    let mut member = store::member_find(tx, id).await?.ok_or(MembersError::NotFound)?;
                    if let Some(winner) = member.merged_into {
                        return Err(MembersError::Merged { winner });
                    }
                    if member.state != state {
                        store::member_update_state(tx, &member, state, now).await?;
                        let entry = AuditEntry {
                            actor,
                            action: permission::SET_STATE.name,
                            subject: id.to_string(),
                            detail: serde_json::json!({
                                "from": member.state.name(), "to": state.name(), "reason": reason,
                            }),
                        };
                        record_audit_in_tx(tx, &self.ids, entry).await?;
                        member.state = state;
                    }
                    member.view(&self.keyring)
                })
            })
            .await
    }
}
