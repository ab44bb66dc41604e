//! Showing a phone in clear: a right of its own, and never without a trace.

use huika_core::{Actor, MemberId};
use huika_db::audit::{AuditEntry, record_audit_in_tx};

use crate::{Members, MembersError, PhoneNumber, permission, store};

impl Members {
    /// The clear phone of a member. The audit entry commits before the number is handed out.
    ///
    /// # Errors
    /// [`MembersError::NotFound`], [`MembersError::PhoneUnknown`], [`MembersError::Erased`].
    pub async fn reveal_phone(&self, actor: &Actor, id: MemberId) -> Result<PhoneNumber, MembersError> {
        actor.authorize(&permission::REVEAL)?;
        self.db
            .run_tx("members.reveal_phone", |tx| {
                Box::pin(async move {
                    let member = store::member_find(tx, id).await?.ok_or(MembersError::NotFound)?;
                    let phone = member.phone(&self.keyring)?;
                    let entry = AuditEntry {
                        actor,
                        action: permission::REVEAL.name,
                        subject: id.to_string(),
                        detail: serde_json::json!({ "field": "phone" }),
                    };
                    record_audit_in_tx(tx, &self.ids, entry).await?;
                    Ok(phone)
                })
            })
            .await
    }
}
