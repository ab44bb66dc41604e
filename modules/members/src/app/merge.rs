//! Merging two members who are one person, and taking a merge back.
//!
//! No row moves: the loser becomes a redirect, its names lead to the winner, and parts move what the person owns
//! (ADR on merging). Both members' versions are raised under guard before anything else, so that of two merges, or of
//! a merge and a registration that attaches a name, the second reads again.

use std::collections::{BTreeMap, HashMap};

use huika_core::{Actor, Bilingual, MemberId, Timestamp};
use huika_db::{
    DbError, Executor, Tx,
    audit::{AuditEntry, record_audit_in_tx},
};

use crate::{
    Identity, MemberState, Members, MembersError, MembersMerged, MembersUnmerged, Merge, MergeEffect,
    PersonalField, Reason,
    domain::{
        consent::gained,
        lookup::{Lookup, LookupKind},
        member::MemberRecord,
        merge::{Changes, Sealed, sides},
        personal::MemberKey,
    },
    permission,
    store::{self, MemberChange},
};

/// Redirects that are followed. Each merge adds one at most, and nobody has so many cards.
const MAX_REDIRECTS: usize = 32;
/// The name of this module among the parts.
const SELF: &str = "members";

/// What a merge would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergePreview {
    /// The member who would stay.
    pub winner: MemberId,
    /// The member who would become a redirect.
    pub loser: MemberId,
    /// What would happen, part by part.
    pub effects: Vec<MergeEffect>,
}

impl MergePreview {
    /// Whether nothing stands in the way.
    pub fn can_merge(&self) -> bool {
        self.effects.iter().all(|effect| !effect.blocks)
    }
}

/// What the winner would gain.
struct Gains {
    phone: Option<Sealed>,
    nickname: Option<Sealed>,
    fields: Vec<(PersonalField, Vec<u8>)>,
    lookups: Vec<Lookup>,
}

impl Members {
    /// What merging two members would do. Changes nothing.
    ///
    /// # Errors
    /// As [`Members::merge`], save for what the effects say of the parts.
    pub async fn preview_merge(
        &self,
        actor: &Actor,
        one: MemberId,
        other: MemberId,
    ) -> Result<MergePreview, MembersError> {
        actor.authorize(&permission::MERGE)?;
        let now = self.db.clock().now();
        self.db
            .run_tx("members.preview_merge", |tx| {
                Box::pin(async move {
                    let (winner, loser) = sides(found(tx, one, now).await?, found(tx, other, now).await?)?;
                    let merge = self.merge_of(actor, &winner, &loser, now);
                    let gains = self.gains(tx, &winner, &loser).await?;
                    let names = store::identity_keys(tx, loser.id).await?.len();
                    let mut effects = own_effects(&gains, names);
                    for part in self.parts() {
                        effects.extend(part.preview_merge(tx, &merge).await?);
                    }
                    Ok(MergePreview {
                        winner: winner.id,
                        loser: loser.id,
                        effects,
                    })
                })
            })
            .await
    }

    /// Merges two members who are one person. Whoever registered first stays; the other becomes a redirect. Merging
    /// the same two again gives the same merge.
    ///
    /// # Errors
    /// [`MembersError::NotFound`], [`MembersError::MergeSelf`], [`MembersError::Merged`],
    /// [`MembersError::MergeState`], [`MembersError::Erased`]; when a part refuses. Nothing was changed then.
    pub async fn merge(
        &self,
        actor: &Actor,
        one: MemberId,
        other: MemberId,
        reason: &Reason,
    ) -> Result<Merge, MembersError> {
        actor.authorize(&permission::MERGE)?;
        let now = self.db.clock().now();
        self.db
            .run_tx("members.merge", |tx| {
                Box::pin(async move {
                    let (first, second) = (found(tx, one, now).await?, found(tx, other, now).await?);
                    for (loser, winner) in [(&first, &second), (&second, &first)] {
                        if loser.merged_into == Some(winner.id)
                            && let Some(open) = store::merge_open(tx, loser.id).await?
                        {
                            return Ok(open.merge);
                        }
                    }
                    let (winner, loser) = sides(first, second)?;
                    let merge = self.merge_of(actor, &winner, &loser, now);
                    self.merge_own_rows(tx, &merge, &winner, &loser, reason).await?;
                    for part in self.parts() {
                        part.merge_in_tx(tx, &merge).await?;
                    }
                    self.record_merge(tx, actor, "members.merge", &merge, reason)
                        .await?;
                    let event = MembersMerged {
                        merge_id: merge.id,
                        winner: merge.winner,
                        loser: merge.loser,
                        merged_at: now,
                    };
                    tx.record_event(&self.ids, &event).await?;
                    Ok(merge)
                })
            })
            .await
    }

    /// Takes back the merge that made a member a redirect: both members are as they were, and what happened to the
    /// winner since stays with the winner.
    ///
    /// # Errors
    /// [`MembersError::NotFound`]; [`MembersError::NotMerged`]; [`MembersError::Merged`] where the winner was merged
    /// into somebody else since, which must be taken back first; [`MembersError::Erased`]; when a part refuses.
    pub async fn unmerge(
        &self,
        actor: &Actor,
        loser: MemberId,
        reason: &Reason,
    ) -> Result<Merge, MembersError> {
        actor.authorize(&permission::MERGE)?;
        let now = self.db.clock().now();
        self.db
            .run_tx("members.unmerge", |tx| {
                Box::pin(async move {
                    let loser = found(tx, loser, now).await?;
                    let open = store::merge_open(tx, loser.id).await?;
                    let store::MergeRecord { merge, changes } = open.ok_or(MembersError::NotMerged)?;
                    let winner = found(tx, merge.winner, now).await?;
                    if let Some(winner) = winner.merged_into {
                        return Err(MembersError::Merged { winner });
                    }
                    self.unmerge_own_rows(tx, &merge, &changes, &winner, &loser, now)
                        .await?;
                    store::merge_close(tx, &merge, now).await?;
                    for part in self.parts().iter().rev() {
                        part.unmerge_in_tx(tx, &merge).await?;
                    }
                    self.record_merge(tx, actor, "members.unmerge", &merge, reason)
                        .await?;
                    let event = MembersUnmerged {
                        merge_id: merge.id,
                        winner: merge.winner,
                        loser: merge.loser,
                        unmerged_at: now,
                    };
                    tx.record_event(&self.ids, &event).await?;
                    Ok(merge)
                })
            })
            .await
    }

    /// Who stands for each of these members: the winner at the end of the redirects, or the member itself. For
    /// modules that have authorized their actor. Ids that nobody has stand for themselves.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resolve_in_tx(
        &self,
        executor: &mut impl Executor,
        ids: &[MemberId],
    ) -> Result<HashMap<MemberId, MemberId>, MembersError> {
        let mut resolved: HashMap<MemberId, MemberId> = ids.iter().map(|id| (*id, *id)).collect();
        let mut ends: Vec<MemberId> = ids.to_vec();
        for _ in 0..MAX_REDIRECTS {
            let winners = store::member_winners(executor, &ends).await?;
            if winners.is_empty() {
                break;
            }
            for end in resolved.values_mut() {
                if let Some(winner) = winners.get(end) {
                    *end = *winner;
                }
            }
            ends = winners.into_values().collect();
        }
        Ok(resolved)
    }

    fn merge_of(&self, actor: &Actor, winner: &MemberRecord, loser: &MemberRecord, now: Timestamp) -> Merge {
        Merge {
            id: self.ids.next(),
            winner: winner.id,
            loser: loser.id,
            merged_at: now,
            actor: actor.id().to_owned(),
        }
    }

    /// What the loser has told and the winner has not, under the winner's key.
    async fn gains(
        &self,
        tx: &mut Tx<'_>,
        winner: &MemberRecord,
        loser: &MemberRecord,
    ) -> Result<Gains, MembersError> {
        let (from, to) = (self.open_key(loser)?, self.open_key(winner)?);
        let rng = self.db.rng();
        let mut lookups = Vec::new();
        let phone = match (&winner.phone_sealed, &loser.phone_sealed) {
            (None, Some(sealed)) => {
                let phone = from.open_phone(sealed)?;
                lookups.push(Lookup::of_phone(&phone));
                Some(Sealed(to.seal_phone(rng, &phone)))
            }
            _ => None,
        };
        let nickname = match (&winner.nickname_sealed, &loser.nickname_sealed) {
            (None, Some(sealed)) => {
                let nickname = from.open_nickname(sealed)?;
                lookups.extend(Lookup::of_nickname(&nickname));
                Some(Sealed(to.seal_nickname(rng, &nickname)))
            }
            _ => None,
        };
        let known = store::personal_list(tx, winner.id).await?;
        let mut fields = Vec::new();
        for (field, sealed) in store::personal_list(tx, loser.id).await? {
            if !known.contains_key(&field) {
                let value = from.open_value(field, &sealed)?;
                lookups.extend(Lookup::of_value(&value));
                fields.push((field, to.seal_value(rng, &value)));
            }
        }
        Ok(Gains {
            phone,
            nickname,
            fields,
            lookups,
        })
    }

    async fn merge_own_rows(
        &self,
        tx: &mut Tx<'_>,
        merge: &Merge,
        winner: &MemberRecord,
        loser: &MemberRecord,
        reason: &Reason,
    ) -> Result<(), MembersError> {
        let now = merge.merged_at;
        let gains = self.gains(tx, winner, loser).await?;
        let or_gained = |own: &Option<Vec<u8>>, gained: &Option<Sealed>| {
            own.clone()
                .or_else(|| gained.as_ref().map(|sealed| sealed.0.clone()))
        };
        let mut rows = [
            MemberChange {
                phone_sealed: or_gained(&winner.phone_sealed, &gains.phone),
                nickname_sealed: or_gained(&winner.nickname_sealed, &gains.nickname),
                ..unchanged(winner, now)
            },
            MemberChange {
                state: MemberState::Merged.name(),
                merged_into: Some(winner.id),
                ..unchanged(loser, now)
            },
        ];
        // In one order, so that two merges never wait for each other in a circle.
        rows.sort_unstable_by_key(|row| row.id);
        for row in rows {
            store::member_update(tx, row).await?;
        }
        let names = store::identity_keys(tx, loser.id).await?;
        store::identity_move(tx, &names, loser.id, winner.id).await?;
        store::lookup_delete_all(tx, loser.id).await?;
        let lookups = gains.lookups.into_iter().map(|lookup| (winner.id, lookup));
        store::lookup_insert(tx, &self.keyring, lookups.collect()).await?;
        let fields = gains.fields.iter();
        let rows = fields.map(|(field, sealed)| (winner.id, *field, sealed.clone()));
        store::personal_insert(tx, rows.collect(), now).await?;
        let mut consents = store::consent_list(tx, &[winner.id, loser.id], None).await?;
        let mut of = |id| consents.remove(&id).unwrap_or_default();
        let decisions = gained(&of(winner.id), &of(loser.id)).into_iter();
        let decisions = decisions
            .map(|decision| (winner.id, self.ids.next(), decision))
            .collect();
        store::consent_insert(tx, decisions, Some(merge.id), &merge.actor, now).await?;
        let changes = Changes {
            loser_state: loser.state.name().to_owned(),
            loser_version: loser.version,
            loser_updated_at: loser.updated_at,
            winner_version: winner.version,
            winner_updated_at: winner.updated_at,
            names,
            phone: gains.phone,
            nickname: gains.nickname,
            fields: gains
                .fields
                .into_iter()
                .map(|(field, sealed)| (field.name().to_owned(), Sealed(sealed)))
                .collect(),
        };
        Ok(store::merge_insert(tx, merge, &reason.to_string(), &changes).await?)
    }

    async fn unmerge_own_rows(
        &self,
        tx: &mut Tx<'_>,
        merge: &Merge,
        changes: &Changes,
        winner: &MemberRecord,
        loser: &MemberRecord,
        now: Timestamp,
    ) -> Result<(), MembersError> {
        // Neither side can be told apart again once a key is gone.
        self.open_key(winner)?;
        let loser_key = self.open_key(loser)?;
        let without = |own: &Option<Vec<u8>>, gained: &Option<Sealed>| {
            own.clone()
                .filter(|own| gained.as_ref().map(|gained| &gained.0) != Some(own))
        };
        // A member whom nobody touched since gets the old version back: it is the same content again, so that whoever
        // has read it then may still go on from it.
        let was = |member: &MemberRecord, version: i64, updated_at: Timestamp| {
            if member.version == version + 1 {
                (version, updated_at)
            } else {
                (member.version + 1, now)
            }
        };
        let winner_was = was(winner, changes.winner_version, changes.winner_updated_at);
        let loser_was = was(loser, changes.loser_version, changes.loser_updated_at);
        let mut rows = [
            MemberChange {
                version: winner_was.0,
                updated_at: winner_was.1,
                phone_sealed: without(&winner.phone_sealed, &changes.phone),
                nickname_sealed: without(&winner.nickname_sealed, &changes.nickname),
                ..unchanged(winner, now)
            },
            MemberChange {
                version: loser_was.0,
                updated_at: loser_was.1,
                state: &changes.loser_state,
                merged_into: None,
                ..unchanged(loser, now)
            },
        ];
        rows.sort_unstable_by_key(|row| row.id);
        for row in rows {
            store::member_update(tx, row).await?;
        }
        store::identity_move(tx, &changes.names, merge.winner, merge.loser).await?;
        if let Some(sealed) = &loser.phone_sealed {
            // Names that the phone was given since, under an index key that the merge did not know.
            let name = Identity::Phone(loser_key.open_phone(sealed)?).name(&self.keyring);
            store::identity_follow(tx, &name, merge.winner, merge.loser).await?;
        }

        store::consent_delete_of_merge(tx, merge.winner, merge.id).await?;
        // What the winner gained goes, unless it was changed since.
        let kept = store::personal_list(tx, merge.winner).await?;
        let mut fields = Vec::new();
        let mut kinds: Vec<LookupKind> = Vec::new();
        for (name, sealed) in &changes.fields {
            let field: PersonalField = name.parse().map_err(|_| DbError::corrupt("changes"))?;
            if kept.get(&field) == Some(&sealed.0) {
                fields.push(field);
                kinds.extend(LookupKind::of(field));
            }
        }
        let gone = |own: &Option<Vec<u8>>, gained: &Option<Sealed>| {
            gained
                .as_ref()
                .is_some_and(|gained| own.as_ref() == Some(&gained.0))
        };
        if gone(&winner.phone_sealed, &changes.phone) {
            kinds.push(LookupKind::PhoneTail);
        }
        if gone(&winner.nickname_sealed, &changes.nickname) {
            kinds.extend(LookupKind::OF_NICKNAME);
        }
        store::personal_delete(tx, merge.winner, &fields).await?;
        store::lookup_delete(tx, merge.winner, kinds).await?;
        let sealed = store::personal_list(tx, merge.loser).await?;
        let lookups = lookups_of(loser, &loser_key, &sealed)?;
        let lookups = lookups.into_iter().map(|lookup| (merge.loser, lookup));
        Ok(store::lookup_insert(tx, &self.keyring, lookups.collect()).await?)
    }

    async fn record_merge(
        &self,
        tx: &mut Tx<'_>,
        actor: &Actor,
        action: &'static str,
        merge: &Merge,
        reason: &Reason,
    ) -> Result<(), MembersError> {
        let entry = AuditEntry {
            actor,
            action,
            subject: merge.winner.to_string(),
            detail: serde_json::json!({ "merge": merge.id, "loser": merge.loser, "reason": reason }),
        };
        Ok(record_audit_in_tx(tx, &self.ids, entry).await?)
    }

    pub(super) fn open_key(&self, member: &MemberRecord) -> Result<MemberKey, MembersError> {
        member.key(&self.keyring)?.ok_or(MembersError::Erased)
    }
}

/// A member's row with nothing changed but the version.
fn unchanged(member: &MemberRecord, now: Timestamp) -> MemberChange<'_> {
    MemberChange {
        id: member.id,
        read_version: member.version,
        version: member.version + 1,
        updated_at: now,
        state: member.state.name(),
        merged_into: member.merged_into,
        phone_sealed: member.phone_sealed.clone(),
        nickname_sealed: member.nickname_sealed.clone(),
    }
}

/// Everything that a member is found by.
pub(super) fn lookups_of(
    member: &MemberRecord,
    key: &MemberKey,
    sealed: &BTreeMap<PersonalField, Vec<u8>>,
) -> Result<Vec<Lookup>, MembersError> {
    let mut lookups = Vec::new();
    if let Some(sealed) = &member.phone_sealed {
        lookups.push(Lookup::of_phone(&key.open_phone(sealed)?));
    }
    if let Some(sealed) = &member.nickname_sealed {
        lookups.extend(Lookup::of_nickname(&key.open_nickname(sealed)?));
    }
    for (field, sealed) in sealed {
        lookups.extend(Lookup::of_value(&key.open_value(*field, sealed)?));
    }
    Ok(lookups)
}

async fn found(tx: &mut Tx<'_>, id: MemberId, now: Timestamp) -> Result<MemberRecord, MembersError> {
    store::member_find(tx, id, now)
        .await?
        .ok_or(MembersError::NotFound)
}

fn own_effects(gains: &Gains, names: usize) -> Vec<MergeEffect> {
    let effect = |zh: String, en: String| MergeEffect {
        part: SELF,
        text: Bilingual::new(zh, en),
        blocks: false,
    };
    let mut effects = vec![effect(
        format!("{names} 个身份标识将指向保留的会员。"),
        format!("{names} names will lead to the member who stays."),
    )];
    let mut gained: Vec<&str> = Vec::new();
    gained.extend(gains.phone.as_ref().map(|_| "phone"));
    gained.extend(gains.nickname.as_ref().map(|_| "nickname"));
    gained.extend(gains.fields.iter().map(|(field, _)| field.name()));
    if !gained.is_empty() {
        let list = gained.join(", ");
        effects.push(effect(
            format!("保留的会员将补充以下资料：{list}。"),
            format!("The member who stays gains: {list}."),
        ));
    }
    effects
}
