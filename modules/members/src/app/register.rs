//! Registration. Idempotent by identity: whoever is known comes back as the same member.
//!
//! Names are claimed before members are created (ADR 7, rule 3). Of two transactions that want one name
//! the second waits for the first, finds that it came too late, and runs again as a look-up. A name whose
//! member cannot be seen yet, after a crash inside a commit over two shards, is waited for in the same way.

use std::collections::{BTreeMap, HashMap, HashSet};

use huika_core::{Actor, MemberId, Timestamp};
use huika_db::{
    DbError, Tx,
    audit::{AuditEntry, record_audit_in_tx},
};

use crate::{
    Attribution, CardNumber, ConsentDecision, ConsentId, Enrolment, Identity, IdentityJoined,
    MemberRegistered, MemberView, Members, MembersError, PersonalField, PersonalValue, RegisterMember,
    Registered,
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
    /// As [`Members::enrol`].
    pub async fn register(
        &self,
        actor: &Actor,
        command: RegisterMember,
    ) -> Result<Registration, MembersError> {
        self.enrol(actor, command.into()).await
    }

    /// Registers a person with a profile, consents and how the person came, or finds the member that the person is
    /// already, who keeps what is known.
    ///
    /// # Errors
    /// [`MembersError::IdentityRequired`], [`MembersError::IdentityConflict`], [`MembersError::PhoneDiffers`],
    /// [`MembersError::Erased`], [`MembersError::GuardianRequired`], [`MembersError::AgreementUnknown`],
    /// [`MembersError::InviterUnknown`]. Nothing was changed then.
    pub async fn enrol(&self, actor: &Actor, enrolment: Enrolment) -> Result<Registration, MembersError> {
        actor.authorize(&permission::REGISTER)?;
        let enrolment = &enrolment;
        self.db
            .run_tx("members.register", |tx| {
                Box::pin(async move {
                    let mut outcomes = self.enrol_many_in_tx(tx, actor, vec![enrolment.clone()]).await?;
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

    /// As [`Members::enrol_many_in_tx`], for people of whom nothing else is known.
    ///
    /// # Errors
    /// As [`Members::enrol_many_in_tx`].
    pub async fn register_many_in_tx(
        &self,
        tx: &mut Tx<'_>,
        actor: &Actor,
        commands: Vec<RegisterMember>,
    ) -> Result<Vec<Result<Registered, MembersError>>, MembersError> {
        let enrolments = commands.into_iter().map(Enrolment::from).collect();
        self.enrol_many_in_tx(tx, actor, enrolments).await
    }

    /// Registers many people with a few statements, for imports; the caller has authorized its actor for
    /// [`permission::REGISTER`]. There is one outcome for each command, in order, and a refused command refuses
    /// itself alone. Names that known members gain are recorded in the audit log, in one entry.
    ///
    /// # Errors
    /// When the database fails or somebody else claims one of the names at the same time; the error then
    /// makes the caller's transaction run again.
    pub async fn enrol_many_in_tx(
        &self,
        tx: &mut Tx<'_>,
        actor: &Actor,
        mut enrolments: Vec<Enrolment>,
    ) -> Result<Vec<Result<Registered, MembersError>>, MembersError> {
        let now = self.db.clock().now();
        let mut refused = self.check_enrolments(tx, &mut enrolments, now).await?;
        let accepted: Vec<&Enrolment> = enrolments
            .iter()
            .enumerate()
            .filter_map(|(at, one)| (!refused.contains_key(&at)).then_some(one))
            .collect();
        let candidates: Vec<Candidate> = accepted
            .iter()
            .map(|enrolment| self.candidate(enrolment.person.clone()))
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
        let enrolled: HashMap<MemberId, &Enrolment> = plan
            .outcomes
            .iter()
            .zip(&accepted)
            .filter_map(|(outcome, enrolment)| match outcome {
                Ok(registered) if registered.created => Some((registered.member_id, *enrolment)),
                _ => None,
            })
            .collect();
        self.insert_created(tx, actor, &plan, &cards, &enrolled, now)
            .await?;
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
        let mut decided = plan.outcomes.into_iter();
        Ok((0..enrolments.len())
            .filter_map(|at| match refused.remove(&at) {
                Some(error) => Some(Err(error)),
                None => decided.next(),
            })
            .collect())
    }

    /// What is refused before anybody is looked up, by its place. Inviters who were merged become those who stand for
    /// them.
    async fn check_enrolments(
        &self,
        tx: &mut Tx<'_>,
        enrolments: &mut [Enrolment],
        now: Timestamp,
    ) -> Result<HashMap<usize, MembersError>, MembersError> {
        let mut refused = HashMap::new();
        let inviters: Vec<MemberId> = enrolments
            .iter()
            .filter_map(|one| one.attribution.inviter)
            .collect();
        let (mut inviters_known, mut stand_for) = (HashMap::new(), HashMap::new());
        if !inviters.is_empty() {
            inviters_known = store::member_states(tx, &inviters, now).await?;
            stand_for = self.resolve_in_tx(tx, &inviters).await?;
        }
        for (at, enrolment) in enrolments.iter_mut().enumerate() {
            if let Err(error) = enrolment.check_guardian(now) {
                refused.insert(at, error);
            } else if let Some(inviter) = enrolment.attribution.inviter {
                if inviters_known.contains_key(&inviter) {
                    enrolment.attribution.inviter = stand_for.get(&inviter).copied().or(Some(inviter));
                } else {
                    refused.insert(at, MembersError::InviterUnknown);
                }
            }
            match self.check_agreements(tx, &enrolment.consents).await {
                Err(MembersError::AgreementUnknown) => {
                    refused.entry(at).or_insert(MembersError::AgreementUnknown);
                }
                other => other?,
            }
        }
        Ok(refused)
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
        actor: &Actor,
        plan: &Plan,
        cards: &[CardNumber],
        enrolled: &HashMap<MemberId, &Enrolment>,
        now: Timestamp,
    ) -> Result<(), MembersError> {
        let rng = self.db.rng();
        let mut rows = Vec::with_capacity(cards.len());
        let mut told = Told::default();
        for ((member_id, command), card) in plan.created.iter().zip(cards) {
            let (key, wrapped_key) = MemberKey::generate(&self.keyring, rng, *member_id);
            if let Some(enrolment) = enrolled.get(member_id) {
                self.take_told(&mut told, *member_id, enrolment, &key);
            }
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
        lookups.append(&mut told.lookups);
        store::lookup_insert(tx, &self.keyring, lookups).await?;
        store::personal_insert(tx, told.values, now).await?;
        store::consent_insert(tx, told.consents, None, actor.id(), now).await?;
        store::guardian_put(tx, told.guardians, actor.id(), now).await?;
        store::attribution_insert(tx, told.attributions).await?;
        let created = plan.created.iter().zip(cards);
        let events: Vec<MemberRegistered> = created
            .map(|((member_id, command), card)| {
                let unknown = Attribution::default();
                let attribution = enrolled.get(member_id).map_or(&unknown, |one| &one.attribution);
                MemberRegistered::new(*member_id, card, command, attribution, now)
            })
            .collect();
        tx.record_events(&self.ids, &events).await?;
        for (member_id, command) in &plan.created {
            let Some(enrolment) = enrolled.get(member_id).filter(|one| !one.values.is_empty()) else {
                continue;
            };
            let fields: Vec<PersonalField> = enrolment.values.iter().map(PersonalValue::field).collect();
            let named = command.phone.is_some() && command.nickname.is_some();
            self.tell_completed(tx, *member_id, named, fields.iter(), now)
                .await?;
        }
        Ok(())
    }

    /// What somebody told with the registration, sealed under the new key.
    fn take_told<'a>(
        &self,
        told: &mut Told<'a>,
        member_id: MemberId,
        enrolment: &'a Enrolment,
        key: &MemberKey,
    ) {
        let rng = self.db.rng();
        // The last of two values of one field counts.
        let values: BTreeMap<PersonalField, &PersonalValue> = enrolment
            .values
            .iter()
            .map(|value| (value.field(), value))
            .collect();
        for value in values.into_values() {
            told.values
                .push((member_id, value.field(), key.seal_value(rng, value)));
            let lookups = Lookup::of_value(value).into_iter();
            told.lookups.extend(lookups.map(|lookup| (member_id, lookup)));
        }
        for consent in &enrolment.consents {
            told.consents.push((member_id, self.ids.next(), consent.clone()));
        }
        if let Some(phone) = &enrolment.guardian_phone {
            told.guardians.push((member_id, key.seal_guardian(rng, phone)));
        }
        if enrolment.attribution != Attribution::default() {
            told.attributions.push((member_id, &enrolment.attribution));
        }
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

/// What new members told beside their names.
#[derive(Default)]
struct Told<'a> {
    values: Vec<(MemberId, PersonalField, Vec<u8>)>,
    lookups: Vec<(MemberId, Lookup)>,
    consents: Vec<(MemberId, ConsentId, ConsentDecision)>,
    guardians: Vec<(MemberId, Vec<u8>)>,
    attributions: Vec<(MemberId, &'a Attribution)>,
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
