//! The profile of a member: personal data that comes and changes after the registration.

use std::collections::BTreeMap;

use huika_core::{Actor, MemberId, Timestamp};
use huika_db::{
    Tx,
    audit::{AuditEntry, record_audit_in_tx},
};

use crate::{
    BirthdayChanged, MemberView, Members, MembersError, Nickname, PersonalField, PersonalValue,
    ProfileCompleted,
    domain::{
        lookup::{Lookup, LookupKind},
        member::MemberRecord,
        personal::MemberKey,
    },
    permission, store,
};

/// A member with the personal data that is known. What of it is shown in clear is decided where it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileView {
    /// The member.
    pub member: MemberView,
    /// Raised by every change: given back with a change, so that nobody overwrites what somebody else has written.
    pub version: i64,
    /// What is known, in the order of fields. Empty after erasure.
    pub values: Vec<PersonalValue>,
}

/// A change of a member's profile. What is not named stays.
#[derive(Debug, Clone, Default)]
pub struct ChangeProfile {
    /// The version that was read.
    pub version: i64,
    /// A new nickname.
    pub nickname: Option<Nickname>,
    /// New values.
    pub set: Vec<PersonalValue>,
    /// Fields to forget.
    pub remove: Vec<PersonalField>,
}

/// What a profile needs to be complete, beside phone and nickname.
const COMPLETE: [PersonalField; 2] = [PersonalField::Birthday, PersonalField::Gender];
const COMPLETED: &str = "profile_completed";

impl Members {
    /// A member with the personal data that is known.
    ///
    /// # Errors
    /// [`MembersError::NotFound`].
    pub async fn profile(&self, actor: &Actor, id: MemberId) -> Result<ProfileView, MembersError> {
        actor.authorize(&permission::READ)?;
        let mut db = &self.db;
        let member = store::member_find(&mut db, id, self.now()).await?;
        let member = member.ok_or(MembersError::NotFound)?;
        let sealed = store::personal_list(&mut db, id).await?;
        self.profile_view(&member, &sealed)
    }

    /// Changes a member's profile.
    ///
    /// # Errors
    /// [`MembersError::NotFound`], [`MembersError::ChangedMeanwhile`], [`MembersError::Erased`],
    /// [`MembersError::GuardianRequired`], [`MembersError::Merged`].
    pub async fn change_profile(
        &self,
        actor: &Actor,
        id: MemberId,
        change: ChangeProfile,
    ) -> Result<ProfileView, MembersError> {
        actor.authorize(&permission::EDIT)?;
        let now = self.db.clock().now();
        let change = &change;
        self.db
            .run_tx("members.change_profile", |tx| {
                Box::pin(async move {
                    let member = store::member_find(tx, id, self.now())
                        .await?
                        .ok_or(MembersError::NotFound)?;
                    if let Some(winner) = member.merged_into {
                        return Err(MembersError::Merged { winner });
                    }
                    if member.version != change.version {
                        return Err(MembersError::ChangedMeanwhile);
                    }
                    let key = member.key(&self.keyring)?.ok_or(MembersError::Erased)?;
                    if change.set.iter().any(|value| value.needs_guardian(now))
                        && !store::guardian_exists(tx, id).await?
                    {
                        return Err(MembersError::GuardianRequired);
                    }
                    self.write_profile(tx, actor, &member, &key, change, now).await?;
                    let member = store::member_find(tx, id, self.now())
                        .await?
                        .ok_or(MembersError::NotFound)?;
                    let sealed = store::personal_list(tx, id).await?;
                    let named = member.phone_sealed.is_some() && member.nickname_sealed.is_some();
                    self.tell_completed(tx, id, named, sealed.keys(), now).await?;
                    self.profile_view(&member, &sealed)
                })
            })
            .await
    }

    async fn write_profile(
        &self,
        tx: &mut Tx<'_>,
        actor: &Actor,
        member: &MemberRecord,
        key: &MemberKey,
        change: &ChangeProfile,
        now: Timestamp,
    ) -> Result<(), MembersError> {
        let (id, rng) = (member.id, self.db.rng());
        let nickname = change.nickname.as_ref().map(|name| key.seal_nickname(rng, name));
        store::member_touch(tx, member, nickname, now).await?;
        let before = store::personal_list(tx, id).await?;
        let set: BTreeMap<PersonalField, &PersonalValue> =
            change.set.iter().map(|value| (value.field(), value)).collect();
        let mut touched = change.remove.clone();
        touched.extend(set.keys());
        store::personal_delete(tx, id, &touched).await?;
        let rows = set
            .values()
            .map(|value| (id, value.field(), key.seal_value(rng, value)));
        store::personal_insert(tx, rows.collect(), now).await?;

        let mut kinds: Vec<LookupKind> = Vec::new();
        kinds.extend(touched.iter().flat_map(|field| LookupKind::of(*field)));
        let mut lookups: Vec<Lookup> = set.values().flat_map(|value| Lookup::of_value(value)).collect();
        if let Some(nickname) = &change.nickname {
            kinds.extend(LookupKind::OF_NICKNAME);
            lookups.extend(Lookup::of_nickname(nickname));
        }
        store::lookup_delete(tx, id, kinds).await?;
        let lookups = lookups.into_iter().map(|lookup| (id, lookup)).collect();
        store::lookup_insert(tx, &self.keyring, lookups).await?;

        let mut fields: Vec<&str> = touched.iter().map(|field| field.name()).collect();
        fields.extend(change.nickname.as_ref().map(|_| "nickname"));
        let entry = AuditEntry {
            actor,
            action: permission::EDIT.name,
            subject: id.to_string(),
            detail: serde_json::json!({ "profile": fields }),
        };
        record_audit_in_tx(tx, &self.ids, entry).await?;

        let birthday = |sealed: Option<&Vec<u8>>| {
            sealed
                .map(|sealed| key.open_value(PersonalField::Birthday, sealed))
                .transpose()
        };
        let was = birthday(before.get(&PersonalField::Birthday))?;
        let is = match touched.contains(&PersonalField::Birthday) {
            true => set.get(&PersonalField::Birthday).map(|value| (*value).clone()),
            false => was.clone(),
        };
        if was != is {
            let event = BirthdayChanged {
                member_id: id,
                was_known: was.is_some(),
                is_known: is.is_some(),
                changed_at: now,
            };
            tx.record_event(&self.ids, &event).await?;
        }
        Ok(())
    }

    /// Tells that a profile is complete, once in a member's life. `named`: phone and nickname are known.
    pub(super) async fn tell_completed(
        &self,
        tx: &mut Tx<'_>,
        member_id: MemberId,
        named: bool,
        known: impl Iterator<Item = &PersonalField>,
        now: Timestamp,
    ) -> Result<(), MembersError> {
        let known: Vec<&PersonalField> = known.collect();
        let complete = named && COMPLETE.iter().all(|field| known.contains(&field));
        if complete && store::milestone_insert(tx, member_id, COMPLETED, now).await? {
            let event = ProfileCompleted {
                member_id,
                completed_at: now,
            };
            tx.record_event(&self.ids, &event).await?;
        }
        Ok(())
    }

    pub(super) fn profile_view(
        &self,
        member: &MemberRecord,
        sealed: &BTreeMap<PersonalField, Vec<u8>>,
    ) -> Result<ProfileView, MembersError> {
        let mut values = Vec::with_capacity(sealed.len());
        if let Some(key) = member.key(&self.keyring)? {
            for (field, sealed) in sealed {
                values.push(key.open_value(*field, sealed)?);
            }
        }
        Ok(ProfileView {
            member: member.view(&self.keyring)?,
            version: member.version,
            values,
        })
    }
}
