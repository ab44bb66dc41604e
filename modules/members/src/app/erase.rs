//! Erasing a member who has left: the key of the personal data is destroyed, entries in other modules stay.

use huika_core::{Actor, MemberId, Timestamp};
use huika_db::{
    Tx,
    audit::{AuditEntry, record_audit_in_tx},
};

use crate::{CardNumber, MemberErased, MemberState, Members, MembersError, Reason, permission, store};

/// The length of a wrapped key, over which chance is written before the row goes.
const WRAPPED_BYTES: usize = 65;
/// Members that one call of the job erases, each in a transaction of its own.
const PAGE: u32 = 50;

impl Members {
    /// Destroys the personal data of a member who has left, and of everybody who was merged into that member. Nobody
    /// can bring it back; the phone may register anew as somebody else. Erasing again changes nothing.
    ///
    /// # Errors
    /// [`MembersError::NotFound`], [`MembersError::Merged`], [`MembersError::NotClosed`]; when a part fails.
    pub async fn erase(&self, actor: &Actor, id: MemberId, reason: &Reason) -> Result<(), MembersError> {
        actor.authorize(&permission::ERASE)?;
        let now = self.db.clock().now();
        self.db
            .run_tx("members.erase", |tx| {
                Box::pin(async move {
                    let member = store::member_find(tx, id, now).await?;
                    let member = member.ok_or(MembersError::NotFound)?;
                    if let Some(winner) = member.merged_into {
                        return Err(MembersError::Merged { winner });
                    }
                    if member.state != MemberState::Closed {
                        return Err(MembersError::NotClosed);
                    }
                    if member.wrapped_key.is_none() {
                        return Ok(());
                    }
                    let mut person = vec![id];
                    person.extend(self.merged_into(tx, id).await?);
                    for id in &person {
                        self.erase_one(tx, *id, now).await?;
                        for part in self.parts() {
                            part.erase_in_tx(tx, *id).await?;
                        }
                    }
                    for (loser, merge, mut changes) in store::merges_of(tx, &person).await? {
                        changes.forget();
                        store::merge_update_changes(tx, loser, merge, &changes).await?;
                    }
                    let entry = AuditEntry {
                        actor,
                        action: permission::ERASE.name,
                        subject: id.to_string(),
                        detail: serde_json::json!({ "members": person, "reason": reason }),
                    };
                    record_audit_in_tx(tx, &self.ids, entry).await?;
                    let erased = |member_id: &MemberId| MemberErased {
                        member_id: *member_id,
                        erased_at: now,
                    };
                    let events: Vec<MemberErased> = person.iter().map(erased).collect();
                    Ok(tx.record_events(&self.ids, &events).await?)
                })
            })
            .await
    }

    async fn erase_one(&self, tx: &mut Tx<'_>, id: MemberId, now: Timestamp) -> Result<(), MembersError> {
        let member = store::member_find(tx, id, now)
            .await?
            .ok_or(MembersError::NotFound)?;
        let rng = self.db.rng();
        let card = CardNumber::draw(rng);
        let chance = rng.bytes::<WRAPPED_BYTES>().to_vec();
        Ok(store::member_erase(tx, &member, card.as_str(), chance, now).await?)
    }

    /// Erases members who left before a moment, a page of them after one, and tells the last one that it looked at:
    /// None when nobody is left. A member whom a part does not let go is passed over, with a line in the log.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn erase_closed(
        &self,
        before: Timestamp,
        after: Option<MemberId>,
    ) -> Result<Option<MemberId>, MembersError> {
        let actor = Actor::system("retention");
        let reason: Reason = "the time for which data is kept is over".parse()?;
        let mut db = &self.db;
        let page = store::members_closed_before(&mut db, before, after, PAGE).await?;
        for id in &page {
            match self.erase(&actor, *id, &reason).await {
                // Somebody brought the member back in between.
                Ok(()) | Err(MembersError::NotClosed) => {}
                Err(MembersError::Part(error)) => {
                    tracing::warn!(member = %id, %error, "a member who left is not erased yet");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(page.last().copied())
    }
}
