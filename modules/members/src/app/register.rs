//! Registration. Idempotent by identity: whoever is known comes back as the same member.
//!
//! Names are claimed before members are created (ADR 7, rule 3). Of two transactions that want one name
//! the second waits for the first, finds that it came too late, and runs again as a look-up. A name whose
//! member cannot be seen yet, after a crash inside a commit over two shards, is waited for in the same way.

use std::collections::{HashMap, HashSet};

use huika_core::{Actor, MemberId, Timestamp};
use huika_db::{
    DbError, Tx,
    audit::{AuditEntry, record_audit_in_tx},
};

use crate::{
    CardNumber, Identity, IdentityJoined, MemberRegistered, MemberView, Members, MembersError,
    RegisterMember, Registered,
    domain::{
        identity::IdentityName,
        lookup::Lookup,
        member::MemberRecord,
        personal::MemberKey,
        registration::{Attached, Candidate, Known, PhoneStatus, Plan, plan},
    },
    permission, store,
};

/// The member that a registration ended with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The member.
    pub member_id: MemberId,
    /// Whether the member is new.
    pub created: bool,
    /// The member as it is now. `None` for somebody who was a member already where the actor may not see members:
    /// registering is no way to look people up.
    pub member: Option<MemberView>,
}

impl Members {
    /// Registers a person, or finds the member that the person is already. What the command brings along
    /// is joined: a known customer number gains the phone, a known phone the customer number.
    ///
    /// # Errors
    /// [`MembersError::IdentityRequired`], [`MembersError::IdentityConflict`], [`MembersError::PhoneDiffers`],
    /// [`MembersError::Erased`]. Nothing was changed then.
    pub async fn register(
        &self,
        actor: &Actor,
        command: RegisterMember,
    ) -> Result<Registration, MembersError> {
        actor.authorize(&permission::REGISTER)?;
        let command = &command;
        self.db
            .run_tx("members.register", |tx| {
                Box::pin(async move {
                    let mut outcomes = self.register_many_in_tx(tx, actor, vec![command.clone()]).await?;
                    let Registered { member_id, created } =
                        outcomes.pop().unwrap_or(Err(MembersError::NotFound))?;
                    if created && actor.is_operator() {
                        let entry = AuditEntry {
                            actor,
                            action: permission::REGISTER.name,
                            subject: member_id.to_string(),
                            detail: serde_json::json!({}),
                        };
                        record_audit_in_tx(tx, &self.ids, entry).await?;
                    }
                    let member = if created || actor.authorize(&permission::READ).is_ok() {
                        let record = store::member_find(tx, member_id, self.now()).await?;
                        let record = record.ok_or(DbError::Stale("members_member"))?;
                        Some(record.view(&self.keyring)?)
                    } else {
                        None
                    };
                    Ok(Registration {
                        member_id,
                        created,
                        member,
                    })
                })
            })
            .await
    }

    /// Registers many people with a few statements, for imports; the caller has authorized its actor for
    /// [`permission::REGISTER`]. There is one outcome for each command, in order, and a refused command refuses
    /// itself alone. Names that known members gain are recorded in the audit log, in one entry.
    ///
    /// # Errors
    /// When the database fails or somebody else claims one of the names at the same time; the error then
    /// makes the caller's transaction run again.
    pub async fn register_many_in_tx(
        &self,
        tx: &mut Tx<'_>,
        actor: &Actor,
        commands: Vec<RegisterMember>,
    ) -> Result<Vec<Result<Registered, MembersError>>, MembersError> {
        let now = self.db.clock().now();
        let candidates: Vec<Candidate> = commands
            .into_iter()
            .map(|command| self.candidate(command))
            .collect();
        let names: Vec<IdentityName> = candidates.iter().flat_map(Candidate::names).cloned().collect();
        let owners = store::identity_owners(tx, &names).await?;
        let joining: Vec<MemberId> = candidates
            .iter()
            .filter_map(|candidate| candidate.may_join(&owners))
            .collect();
        let records = self.existing_members(tx, &joining).await?;
        let phones = records
            .iter()
            .map(|(id, record)| (*id, record.phone_status()))
            .collect();

        let found_by = if joining.is_empty() {
            HashMap::new()
        } else {
            owners.clone()
        };
        let mut plan = plan(candidates, Known { owners, phones }, || self.ids.next());
        let cards = self.draw_cards(&mut plan);
        store::identity_insert(tx, std::mem::take(&mut plan.claims), now).await?;
        self.insert_created(tx, &plan, &cards, now).await?;
        self.store_joined(tx, &plan, &records, now).await?;
        if !plan.attached.is_empty() {
            // The members stand still now. A merge may have come between the two reads above, and then what a person
            // was found by leads to somebody else.
            let owners = store::identity_owners(tx, &names).await?;
            if found_by
                .iter()
                .any(|(name, owner)| owners.get(name) != Some(owner))
            {
                return Err(DbError::Stale("members_identity").into());
            }
        }
        self.tell_attached(tx, actor, &plan.attached, now).await?;
        Ok(plan.outcomes)
    }

    fn candidate(&self, command: RegisterMember) -> Candidate {
        let phone = command
            .phone
            .clone()
            .map(|phone| Identity::Phone(phone).name(&self.keyring));
        let external = command
            .external
            .clone()
            .map(|external| Identity::External(external).name(&self.keyring));
        Candidate {
            command,
            phone,
            external,
        }
    }

    async fn existing_members(
        &self,
        tx: &mut Tx<'_>,
        ids: &[MemberId],
    ) -> Result<HashMap<MemberId, MemberRecord>, MembersError> {
        let records: HashMap<MemberId, MemberRecord> = store::member_list(tx, ids, self.now())
            .await?
            .into_iter()
            .map(|record| (record.id, record))
            .collect();
        match ids.iter().find(|id| !records.contains_key(id)) {
            Some(_) => Err(DbError::Stale("members_member").into()),
            None => Ok(records),
        }
    }

    /// Draws a card number for each new member and claims it. One that is taken makes the transaction run
    /// again, with other numbers.
    fn draw_cards(&self, plan: &mut Plan) -> Vec<CardNumber> {
        let cards: Vec<CardNumber> = plan
            .created
            .iter()
            .map(|_| CardNumber::draw(self.db.rng()))
            .collect();
        for ((member_id, _), card) in plan.created.iter().zip(&cards) {
            plan.claims
                .push((Identity::Card(card.clone()).name(&self.keyring), *member_id));
        }
        cards
    }

    async fn insert_created(
        &self,
        tx: &mut Tx<'_>,
        plan: &Plan,
        cards: &[CardNumber],
        now: Timestamp,
    ) -> Result<(), MembersError> {
        let rng = self.db.rng();
        let mut rows = Vec::with_capacity(cards.len());
        for ((member_id, command), card) in plan.created.iter().zip(cards) {
            let (key, wrapped_key) = MemberKey::generate(&self.keyring, rng, *member_id);
            rows.push(store::MemberRow {
                id: *member_id,
                card_number: card.as_str(),
                phone_sealed: command.phone.as_ref().map(|phone| key.seal_phone(rng, phone)),
                nickname_sealed: command
                    .nickname
                    .as_ref()
                    .map(|nickname| key.seal_nickname(rng, nickname)),
                channel: command.channel.as_str(),
                store_code: command.store_code.as_ref().map(|code| code.as_str()),
                wrapped_key,
            });
        }
        store::member_insert(tx, rows, now).await?;
        let mut lookups = Vec::with_capacity(2 * plan.created.len());
        for (member_id, command) in &plan.created {
            let phone = command.phone.as_ref().map(Lookup::of_phone);
            let nickname = command.nickname.as_ref().map(Lookup::of_nickname);
            let found_by = phone.into_iter().chain(nickname.into_iter().flatten());
            lookups.extend(found_by.map(|lookup| (*member_id, lookup)));
        }
        store::lookup_insert(tx, &self.keyring, lookups).await?;
        let created = plan.created.iter().zip(cards);
        let events: Vec<MemberRegistered> = created
            .map(|((member_id, command), card)| MemberRegistered::new(*member_id, card, command, now))
            .collect();
        tx.record_events(&self.ids, &events).await?;
        Ok(())
    }

    async fn store_joined(
        &self,
        tx: &mut Tx<'_>,
        plan: &Plan,
        records: &HashMap<MemberId, MemberRecord>,
        now: Timestamp,
    ) -> Result<(), MembersError> {
        let mut phones = Vec::with_capacity(plan.joined.len());
        let mut lookups = Vec::with_capacity(plan.joined.len());
        for (member_id, phone) in &plan.joined {
            let record = records.get(member_id).ok_or(MembersError::NotFound)?;
            let key = record.key(&self.keyring)?.ok_or(MembersError::Erased)?;
            phones.push((*member_id, record.version, key.seal_phone(self.db.rng(), phone)));
            lookups.push((*member_id, Lookup::of_phone(phone)));
        }
        // Whoever gains a phone has a new version by it already.
        let gained_phone: HashSet<MemberId> = plan.joined.iter().map(|(id, _)| *id).collect();
        let gained_name: HashSet<MemberId> = plan.attached.iter().map(|one| one.member_id).collect();
        let touched = gained_name.difference(&gained_phone);
        let touched = touched.filter_map(|id| Some((*id, records.get(id)?.version)));
        store::member_touch_many(tx, touched.collect(), now).await?;
        store::member_update_phone(tx, phones, now).await?;
        store::lookup_insert(tx, &self.keyring, lookups).await?;
        Ok(())
    }

    /// Records which names were attached to members who were there before, and tells others.
    async fn tell_attached(
        &self,
        tx: &mut Tx<'_>,
        actor: &Actor,
        attached: &[Attached],
        now: Timestamp,
    ) -> Result<(), MembersError> {
        if attached.is_empty() {
            return Ok(());
        }
        let events: Vec<IdentityJoined> = attached
            .iter()
            .map(|one| IdentityJoined {
                member_id: one.member_id,
                kind: one.kind.to_owned(),
                issuer: Some(one.issuer.clone()).filter(|issuer| !issuer.is_empty()),
                joined_at: now,
            })
            .collect();
        let entry = AuditEntry {
            actor,
            action: "members.join_identity",
            subject: match attached {
                [one] => one.member_id.to_string(),
                _ => "members".to_owned(),
            },
            detail: serde_json::json!({ "joined": events }),
        };
        record_audit_in_tx(tx, &self.ids, entry).await?;
        tx.record_events(&self.ids, &events).await?;
        Ok(())
    }
}

impl MemberRecord {
    fn phone_status(&self) -> PhoneStatus {
        match (&self.wrapped_key, &self.phone_sealed) {
            (None, _) => PhoneStatus::Erased,
            (Some(_), None) => PhoneStatus::Unknown,
            (Some(_), Some(_)) => PhoneStatus::Known,
        }
    }
}
