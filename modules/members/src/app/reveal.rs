//! Showing personal data in clear: a right of its own, and never without a trace.

use huika_core::{Actor, MemberId};
use huika_db::{
    Tx,
    audit::{AuditEntry, record_audit_in_tx},
};

use crate::{Members, MembersError, PersonalField, PersonalValue, PhoneNumber, permission, store};

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
                    let member = store::member_find(tx, id, self.now())
                        .await?
                        .ok_or(MembersError::NotFound)?;
                    let phone = member.phone(&self.keyring)?;
                    self.record_reveal(tx, actor, id, "phone").await?;
                    Ok(phone)
                })
            })
            .await
    }

    /// One field of a member's personal data in clear. The audit entry commits before the value is handed out.
    ///
    /// # Errors
    /// [`MembersError::NotFound`], [`MembersError::FieldUnknown`], [`MembersError::Erased`].
    pub async fn reveal_field(
        &self,
        actor: &Actor,
        id: MemberId,
        field: PersonalField,
    ) -> Result<PersonalValue, MembersError> {
        actor.authorize(&permission::REVEAL)?;
        self.db
            .run_tx("members.reveal_field", |tx| {
                Box::pin(async move {
                    let member = store::member_find(tx, id, self.now())
                        .await?
                        .ok_or(MembersError::NotFound)?;
                    let key = member.key(&self.keyring)?.ok_or(MembersError::Erased)?;
                    let sealed = store::personal_list(tx, id).await?;
                    let sealed = sealed.get(&field).ok_or(MembersError::FieldUnknown)?;
                    let value = key.open_value(field, sealed)?;
                    self.record_reveal(tx, actor, id, field.name()).await?;
                    Ok(value)
                })
            })
            .await
    }

    async fn record_reveal(
        &self,
        tx: &mut Tx<'_>,
        actor: &Actor,
        id: MemberId,
        field: &str,
    ) -> Result<(), MembersError> {
        let entry = AuditEntry {
            actor,
            action: permission::REVEAL.name,
            subject: id.to_string(),
            detail: serde_json::json!({ "field": field }),
        };
        Ok(record_audit_in_tx(tx, &self.ids, entry).await?)
    }
}
