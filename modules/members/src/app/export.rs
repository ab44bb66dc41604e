//! Everything that is kept of one member, for the member (PIPL article 45).

use huika_core::{Actor, MemberId};
use huika_db::{
    Tx,
    audit::{AuditEntry, record_audit_in_tx},
};
use serde_json::{Map, Value, json};

use crate::{Members, MembersError, permission, store};

impl Members {
    /// Everything that is kept of one member, personal data in clear, and what other modules keep, by their names.
    /// The audit entry commits before anything is handed out.
    ///
    /// # Errors
    /// [`MembersError::NotFound`]; when a part fails.
    pub async fn export_member(&self, actor: &Actor, id: MemberId) -> Result<Value, MembersError> {
        actor.authorize(&permission::EXPORT)?;
        let now = self.db.clock().now();
        self.db
            .run_tx("members.export", |tx| {
                Box::pin(async move {
                    let member = store::member_find(tx, id, self.now())
                        .await?
                        .ok_or(MembersError::NotFound)?;
                    let sealed = store::personal_list(tx, id).await?;
                    let profile = self.profile_view(&member, &sealed)?;
                    let phone = match member.phone(&self.keyring) {
                        Ok(phone) => Some(phone.reveal().to_owned()),
                        Err(MembersError::PhoneUnknown | MembersError::Erased) => None,
                        Err(error) => return Err(error),
                    };
                    let values = profile.values.iter();
                    let personal: Map<String, Value> = values
                        .map(|value| (value.field().name().to_owned(), value.reveal().into()))
                        .collect();
                    let attribution = store::attribution_find(tx, id).await?;
                    let mut consents = store::consent_list(tx, &[id], None).await?;
                    let consents: Vec<Value> = consents
                        .remove(&id)
                        .unwrap_or_default()
                        .iter()
                        .map(|one| {
                            json!({
                                "purpose": one.decision.purpose,
                                "granted": one.decision.granted,
                                "agreement": one.decision.agreement,
                                "decided_at": one.decided_at,
                            })
                        })
                        .collect();
                    let parts = self.export_parts(tx, id).await?;
                    // What was written for members who turned out to be this person is this person's as well.
                    let mut merged = Vec::new();
                    for loser in self.merged_into(tx, id).await? {
                        let parts = self.export_parts(tx, loser).await?;
                        merged.push(json!({ "member_id": loser, "parts": parts }));
                    }
                    let entry = AuditEntry {
                        actor,
                        action: permission::EXPORT.name,
                        subject: id.to_string(),
                        detail: json!({}),
                    };
                    record_audit_in_tx(tx, &self.ids, entry).await?;
                    let view = profile.member;
                    Ok(json!({
                        "exported_at": now,
                        "member_id": id,
                        "card_number": view.card_number.as_str(),
                        "state": view.state.name(),
                        "phone": phone,
                        "nickname": view.nickname.as_ref().map(|nickname| nickname.as_str()),
                        "channel": view.channel,
                        "store_code": view.store_code,
                        "registered_at": view.registered_at,
                        "attribution": {
                            "scene": attribution.scene,
                            "staff_code": attribution.staff_code,
                            "inviter": attribution.inviter,
                        },
                        "personal": personal,
                        "consents": consents,
                        "identities": store::identities_of(tx, id).await?,
                        "parts": parts,
                        "merged_members": merged,
                    }))
                })
            })
            .await
    }

    async fn export_parts(&self, tx: &mut Tx<'_>, id: MemberId) -> Result<Map<String, Value>, MembersError> {
        let mut parts = Map::new();
        for part in self.parts() {
            parts.insert(part.name().to_owned(), part.export(tx, id).await?);
        }
        Ok(parts)
    }

    /// Everybody who was merged into a member, directly or by way of others.
    pub(super) async fn merged_into(
        &self,
        tx: &mut Tx<'_>,
        id: MemberId,
    ) -> Result<Vec<MemberId>, MembersError> {
        let mut all = store::member_losers(tx, id).await?;
        let mut at = 0;
        while let Some(next) = all.get(at).copied() {
            all.extend(store::member_losers(tx, next).await?);
            at += 1;
        }
        Ok(all)
    }
}
