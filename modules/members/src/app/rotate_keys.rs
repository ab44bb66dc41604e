//! Work under new keys: members' keys are wrapped by the newest master key, and what members are found by is indexed
//! by the newest index key. In small steps, each a transaction that says how far it came.
//!
//! Numbers in other systems are known by their index alone and cannot be indexed anew: the line of an old index key
//! stays in the key file as long as such numbers are used.

use huika_core::{Actor, Keyring, MemberId, Timestamp};
use huika_db::Tx;

use crate::{
    Identity, Members, MembersError, Rotation,
    app::merge::lookups_of,
    domain::{member::MemberRecord, personal::MemberKey},
    permission, store,
};

/// Members of one step: each of them writes a few rows (ADR 7, rule 11).
const STEP: u32 = 50;
/// Raised when something new is indexed, so that members of before are indexed for it as well.
const INDEXED: u32 = 1;

impl Members {
    /// Takes one step of the work that the keys at hand ask for, and tells how many members it did: none when
    /// everybody is done.
    ///
    /// # Errors
    /// When the database fails; [`MembersError::KeysMissing`].
    pub async fn rotate_keys_step(&self) -> Result<usize, MembersError> {
        let now = self.db.clock().now();
        let target = &self.rotation_target();
        self.db
            .run_tx("members.rotate_keys", |tx| {
                Box::pin(async move {
                    store::rotation_begin(tx, target, now).await?;
                    let rotations = store::rotation_list(tx).await?;
                    let Some(at) = rotations.into_iter().find(|one| &one.target == target) else {
                        return Ok(0);
                    };
                    if at.finished_at.is_some() {
                        return Ok(0);
                    }
                    let ids = store::member_ids_after(tx, at.last_member_id, STEP).await?;
                    let Some(last) = ids.last() else {
                        store::rotation_finish(tx, target, now).await?;
                        return Ok(0);
                    };
                    store::rotation_advance(tx, &at, *last, ids.len()).await?;
                    let mut members = store::member_list(tx, &ids, now).await?;
                    members.sort_unstable_by_key(|member| member.id);
                    for member in &members {
                        self.rotate_member(tx, member, now).await?;
                    }
                    Ok(ids.len())
                })
            })
            .await
    }

    /// How far the work under each set of keys has come, latest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rotations(&self, actor: &Actor) -> Result<Vec<Rotation>, MembersError> {
        actor.authorize(&permission::READ)?;
        let mut db = &self.db;
        let rotations = store::rotation_list(&mut db).await?;
        Ok(rotations
            .into_iter()
            .map(|one| Rotation {
                keys: one.target,
                members_done: one.members_done,
                started_at: one.started_at,
                finished_at: one.finished_at,
            })
            .collect())
    }

    fn rotation_target(&self) -> String {
        let indexes = self.keyring.index_generations();
        let newest = indexes.first().copied().unwrap_or_default();
        let master = self.keyring.master_generation();
        format!("master {master}, index {newest}, lookups {INDEXED}")
    }

    async fn rotate_member(
        &self,
        tx: &mut Tx<'_>,
        member: &MemberRecord,
        now: Timestamp,
    ) -> Result<(), MembersError> {
        let (Some(key), Some(wrapped)) = (member.key(&self.keyring)?, &member.wrapped_key) else {
            return Ok(());
        };
        if Keyring::generation_of(wrapped) != Some(self.keyring.master_generation()) {
            let again = MemberKey::rewrap(&self.keyring, self.db.rng(), member.id, wrapped)?;
            store::key_rewrap(tx, member.id, wrapped, again).await?;
        }
        // The version guards what was read: a profile that changes meanwhile is indexed by that change.
        store::member_touch_same(tx, member).await?;
        if member.merged_into.is_none() {
            let sealed = store::personal_list(tx, member.id).await?;
            let lookups = lookups_of(member, &key, &sealed)?;
            let lookups = lookups.into_iter().map(|lookup| (member.id, lookup)).collect();
            store::lookup_delete_all(tx, member.id).await?;
            store::lookup_insert(tx, &self.keyring, lookups).await?;
        }
        self.rotate_phone(tx, member, &key, now).await
    }

    async fn rotate_phone(
        &self,
        tx: &mut Tx<'_>,
        member: &MemberRecord,
        key: &MemberKey,
        now: Timestamp,
    ) -> Result<(), MembersError> {
        let Some(sealed) = &member.phone_sealed else {
            return Ok(());
        };
        let name = Identity::Phone(key.open_phone(sealed)?).name(&self.keyring);
        let owners = store::identity_owners(tx, std::slice::from_ref(&name)).await?;
        // Of a member who was merged the phone belongs to the winner.
        let owner: Option<MemberId> = owners.get(&name).copied();
        if let Some(owner) = owner {
            store::identity_extend(tx, &name, owner, now).await?;
        }
        Ok(())
    }
}
