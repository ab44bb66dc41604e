//! Freezing, blacklisting, closing and restoring a member.

use huika_core::{Actor, MemberId, Timestamp};
use huika_db::audit::{AuditEntry, record_audit_in_tx};

use crate::{MemberState, MemberView, Members, MembersError, Reason, Standing, permission, store};

impl Members {
    /// Changes how a member stands with the shop, until further notice. A state that holds already is left as it is,
    /// without an audit entry.
    ///
    /// # Errors
    /// As [`Members::set_state_until`].
    pub async fn set_state(
        &self,
        actor: &Actor,
        id: MemberId,
        state: MemberState,
        reason: &Reason,
    ) -> Result<MemberView, MembersError> {
        self.set_state_until(actor, id, state, reason, None).await
    }

    /// Changes how a member stands with the shop; a freeze may end by itself. A member who leaves is let go by every
    /// part first. A state that holds already with the same end is left as it is, without an audit entry.
    ///
    /// # Errors
    /// [`MembersError::NotFound`], [`MembersError::StateNotSettable`], [`MembersError::UntilInvalid`],
    /// [`MembersError::Merged`], [`MembersError::Erased`] where somebody who was erased is to come back; when a part
    /// does not let the member go.
    pub async fn set_state_until(
        &self,
        actor: &Actor,
        id: MemberId,
        state: MemberState,
        reason: &Reason,
        until: Option<Timestamp>,
    ) -> Result<MemberView, MembersError> {
        actor.authorize(&permission::SET_STATE)?;
        if state == MemberState::Merged {
            return Err(MembersError::StateNotSettable);
        }
        let now = self.db.clock().now();
        if until.is_some_and(|until| until <= now || state != MemberState::Frozen) {
            return Err(MembersError::UntilInvalid);
        }
        self.db
            .run_tx("members.set_state", |tx| {
                Box::pin(async move {
                    let member = store::member_find(tx, id, now).await?;
                    let mut member = member.ok_or(MembersError::NotFound)?;
                    if let Some(winner) = member.merged_into {
                        return Err(MembersError::Merged { winner });
                    }
                    if member.state == state
                        && (state != MemberState::Frozen || member.standing.until == until)
                    {
                        return member.view(&self.keyring);
                    }
                    if member.wrapped_key.is_none() && state != MemberState::Closed {
                        return Err(MembersError::Erased);
                    }
                    let standing = Standing {
                        reason: Some(reason.to_string()),
                        actor: Some(actor.id().to_owned()),
                        since: Some(now),
                        until,
                    };
                    store::member_update_state(tx, &member, state, &standing, now).await?;
                    if state == MemberState::Closed {
                        for part in self.parts() {
                            part.may_close_in_tx(tx, id).await?;
                        }
                    }
                    let mut detail = serde_json::json!({
                        "from": member.state.name(), "to": state.name(), "reason": reason,
                    });
                    if let Some(until) = until {
                        detail["until"] = serde_json::json!(until);
                    }
                    let entry = AuditEntry {
                        actor,
                        action: permission::SET_STATE.name,
                        subject: id.to_string(),
                        detail,
                    };
                    record_audit_in_tx(tx, &self.ids, entry).await?;
                    member.state = state;
                    member.standing = standing;
                    member.view(&self.keyring)
                })
            })
            .await
    }
}
