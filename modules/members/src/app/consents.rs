//! Consents of members, and the agreements that they are given to.

use std::collections::HashSet;

use huika_core::{Actor, Bilingual, MemberId, Timestamp};
use huika_db::{
    Executor, Tx,
    audit::{AuditEntry, record_audit_in_tx},
};

use crate::{
    AgreementVersion, Code, ConsentDecided, ConsentDecision, ConsentRecord, Members, MembersError,
    PhoneNumber, Purpose, domain::consent::current, permission, store,
};

/// The longest title of an agreement.
const MAX_TITLE_CHARS: usize = 100;
const HASH_DIGITS: usize = 64;

/// A text to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAgreement {
    /// Which text.
    pub code: Code,
    /// Its title.
    pub title: Bilingual,
    /// SHA-256 of the text, in hexadecimal.
    pub text_hash: String,
}

/// A text that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// Which text and which version.
    pub version: AgreementVersion,
    /// Its title.
    pub title: Bilingual,
    /// SHA-256 of the text, in hexadecimal.
    pub text_hash: String,
    /// When it was published.
    pub published_at: Timestamp,
}

impl Members {
    /// Publishes a text that members agree to, under the next version of its code. The same text again is the version
    /// that it was before, where that is the latest.
    ///
    /// # Errors
    /// [`MembersError::AgreementInvalid`].
    pub async fn publish_agreement(
        &self,
        actor: &Actor,
        new: NewAgreement,
    ) -> Result<Agreement, MembersError> {
        actor.authorize(&permission::CONFIGURE)?;
        let text_hash = new.text_hash.to_ascii_lowercase();
        let title_fits = |title: &str| (1..=MAX_TITLE_CHARS).contains(&title.trim().chars().count());
        let is_hash =
            text_hash.len() == HASH_DIGITS && text_hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hash || !title_fits(&new.title.zh) || !title_fits(&new.title.en) {
            return Err(MembersError::AgreementInvalid);
        }
        let now = self.now();
        let (new, text_hash) = (&new, &text_hash);
        self.db
            .run_tx("members.publish_agreement", |tx| {
                Box::pin(async move {
                    let all = store::agreement_list(tx).await?;
                    let latest = all.into_iter().rfind(|one| one.version.code == new.code);
                    if let Some(latest) = &latest
                        && &latest.text_hash == text_hash
                        && latest.title == new.title
                    {
                        return Ok(latest.clone());
                    }
                    let agreement = Agreement {
                        version: AgreementVersion {
                            code: new.code.clone(),
                            version: latest.map_or(1, |latest| latest.version.version + 1),
                        },
                        title: new.title.clone(),
                        text_hash: text_hash.clone(),
                        published_at: now,
                    };
                    store::agreement_insert(tx, &agreement).await?;
                    let entry = AuditEntry {
                        actor,
                        action: permission::CONFIGURE.name,
                        subject: format!("agreement:{}", new.code),
                        detail: serde_json::json!({ "version": agreement.version.version, "text_hash": text_hash }),
                    };
                    record_audit_in_tx(tx, &self.ids, entry).await?;
                    Ok(agreement)
                })
            })
            .await
    }

    /// Every version of every agreement.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn agreements(&self, actor: &Actor) -> Result<Vec<Agreement>, MembersError> {
        actor.authorize(&permission::READ)?;
        let mut db = &self.db;
        Ok(store::agreement_list(&mut db).await?)
    }

    /// Everything that a member has decided, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn consents(&self, actor: &Actor, id: MemberId) -> Result<Vec<ConsentRecord>, MembersError> {
        actor.authorize(&permission::READ)?;
        let mut db = &self.db;
        let mut all = store::consent_list(&mut db, &[id], None).await?;
        Ok(all.remove(&id).unwrap_or_default())
    }

    /// Enters what a member decides about a purpose. What holds already is not entered again.
    ///
    /// # Errors
    /// [`MembersError::NotFound`], [`MembersError::Merged`], [`MembersError::AgreementUnknown`].
    pub async fn decide_consent(
        &self,
        actor: &Actor,
        id: MemberId,
        decision: ConsentDecision,
    ) -> Result<Vec<ConsentRecord>, MembersError> {
        actor.authorize(&permission::CONSENT)?;
        let now = self.now();
        let decision = &decision;
        self.db
            .run_tx("members.decide_consent", |tx| {
                Box::pin(async move {
                    let member = store::member_find(tx, id, now).await?.ok_or(MembersError::NotFound)?;
                    if let Some(winner) = member.merged_into {
                        return Err(MembersError::Merged { winner });
                    }
                    self.check_agreements(tx, std::slice::from_ref(decision)).await?;
                    // Under the guard of the version: a merge sees every decision or none.
                    store::member_touch(tx, &member, None, now).await?;
                    let mut all = store::consent_list(tx, &[id], None).await?;
                    let mut records = all.remove(&id).unwrap_or_default();
                    let held = current(&records).get(&decision.purpose).map(|held| held.decision.clone());
                    if held.as_ref() == Some(decision) {
                        return Ok(records);
                    }
                    let record = ConsentRecord {
                        id: self.ids.next(),
                        decision: decision.clone(),
                        actor: actor.id().to_owned(),
                        decided_at: now,
                    };
                    let row = (id, record.id, decision.clone());
                    store::consent_insert(tx, vec![row], None, actor.id(), now).await?;
                    let entry = AuditEntry {
                        actor,
                        action: permission::CONSENT.name,
                        subject: id.to_string(),
                        detail: serde_json::json!({
                            "purpose": decision.purpose, "granted": decision.granted, "agreement": decision.agreement,
                        }),
                    };
                    record_audit_in_tx(tx, &self.ids, entry).await?;
                    let event = ConsentDecided {
                        member_id: id,
                        purpose: decision.purpose.name().to_owned(),
                        granted: decision.granted,
                        decided_at: now,
                    };
                    tx.record_event(&self.ids, &event).await?;
                    records.push(record);
                    Ok(records)
                })
            })
            .await
    }

    /// Those of the members who consent to a purpose now, for modules that have authorized their actor. A redirect
    /// consents to nothing: ask for the member who stands for it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn consents_in_tx(
        &self,
        executor: &mut impl Executor,
        ids: &[MemberId],
        purpose: Purpose,
    ) -> Result<HashSet<MemberId>, MembersError> {
        let all = store::consent_list(executor, ids, Some(purpose)).await?;
        let merged = store::member_winners(executor, ids).await?;
        let consents = |records: &[ConsentRecord]| {
            let current = current(records);
            current
                .get(&purpose)
                .is_some_and(|record| record.decision.granted)
        };
        Ok(all
            .into_iter()
            .filter(|(id, records)| !merged.contains_key(id) && consents(records))
            .map(|(id, _)| id)
            .collect())
    }

    /// Enters that a guardian consents for a member.
    ///
    /// # Errors
    /// [`MembersError::NotFound`], [`MembersError::Merged`], [`MembersError::Erased`];
    /// [`MembersError::GuardianRequired`] where it is the member's own phone.
    pub async fn set_guardian(
        &self,
        actor: &Actor,
        id: MemberId,
        phone: &PhoneNumber,
    ) -> Result<(), MembersError> {
        actor.authorize(&permission::CONSENT)?;
        let now = self.now();
        self.db
            .run_tx("members.set_guardian", |tx| {
                Box::pin(async move {
                    let member = store::member_find(tx, id, now)
                        .await?
                        .ok_or(MembersError::NotFound)?;
                    if let Some(winner) = member.merged_into {
                        return Err(MembersError::Merged { winner });
                    }
                    let key = self.open_key(&member)?;
                    if let Some(own) = &member.phone_sealed
                        && key.open_phone(own)? == *phone
                    {
                        return Err(MembersError::GuardianRequired);
                    }
                    store::member_touch(tx, &member, None, now).await?;
                    let sealed = key.seal_guardian(self.db.rng(), phone);
                    store::guardian_put(tx, vec![(id, sealed)], actor.id(), now).await?;
                    let entry = AuditEntry {
                        actor,
                        action: permission::CONSENT.name,
                        subject: id.to_string(),
                        detail: serde_json::json!({ "guardian": true }),
                    };
                    Ok(record_audit_in_tx(tx, &self.ids, entry).await?)
                })
            })
            .await
    }

    /// Refuses decisions that name an agreement which was never published.
    pub(super) async fn check_agreements(
        &self,
        tx: &mut Tx<'_>,
        decisions: &[ConsentDecision],
    ) -> Result<(), MembersError> {
        let named: Vec<&AgreementVersion> = decisions
            .iter()
            .filter_map(|decision| decision.agreement.as_ref())
            .collect();
        if named.is_empty() {
            return Ok(());
        }
        let published = store::agreement_list(tx).await?;
        let known = |version: &&AgreementVersion| published.iter().any(|one| one.version == **version);
        if named.iter().all(known) {
            Ok(())
        } else {
            Err(MembersError::AgreementUnknown)
        }
    }
}
