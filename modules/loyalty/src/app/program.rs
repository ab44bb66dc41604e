//! Versions of the programme: publishing one, and finding the one that holds at a moment.

use std::sync::{Arc, PoisonError};

use huika_core::{Actor, Timestamp};
use huika_db::{
    DbError, Executor,
    audit::{AuditEntry, record_audit_in_tx},
};

use crate::{Loyalty, LoyaltyError, PUBLISH, ProgramVersion, READ, Rules, domain::version_at, store};

/// How long a process trusts what it read.
const CACHE_MS: i64 = 5_000;
/// How long before it holds a version is published or withdrawn at the latest, so that every node knows by then:
/// what they trust, and as much again for a slow commit and clocks that differ.
const NOTICE_MS: i64 = 2 * CACHE_MS;

/// What this process knows of the published versions.
#[derive(Default)]
pub(crate) struct ProgramCache {
    read_at: Option<Timestamp>,
    versions: Arc<Vec<ProgramVersion>>,
    /// Raised by each change of this process: what was read before it is not kept.
    generation: u64,
}

impl Loyalty {
    /// Publishes a version. Without `effective_from` it holds as soon as every node can know: the first one now,
    /// and for all time before as well, a later one in ten seconds.
    ///
    /// # Errors
    /// [`LoyaltyError::RulesInvalid`]; [`LoyaltyError::VersionExists`] when somebody else was first.
    pub async fn publish_program(
        &self,
        actor: &Actor,
        rules: Rules,
        effective_from: Option<Timestamp>,
    ) -> Result<ProgramVersion, LoyaltyError> {
        actor.authorize(&PUBLISH)?;
        rules.validate()?;
        rules.require_supported()?;
        let rules = &rules;
        let published = self
            .db
            .run_tx("loyalty.publish", |tx| {
                Box::pin(async move {
                    let now = tx.db().clock().now();
                    let versions = store::version_list(tx).await?;
                    let version = versions.last().map_or(1, |last| last.version + 1);
                    let earliest = if version == 1 { now } else { now.plus_millis(NOTICE_MS) };
                    let effective_from = effective_from.unwrap_or(earliest);
                    if effective_from < earliest {
                        return Err(LoyaltyError::RulesInvalid {
                            en: format!(
                                "the first version begins now or later, others at least {} seconds ahead: give no \
                                 time for as soon as possible.",
                                NOTICE_MS / 1_000
                            ),
                            zh: format!(
                                "首个版本最早立即生效，其后的版本至少提前 {} 秒：不填生效时间即尽快生效。",
                                NOTICE_MS / 1_000
                            ),
                        });
                    }
                    if let Some(last) = versions.iter().rev().find(|version| !version.withdrawn)
                        && (last.effective_from >= effective_from
                            || last.rules.currency != rules.currency
                            || last.rules.time_zone != rules.time_zone)
                    {
                        return Err(LoyaltyError::RulesInvalid {
                            en: "a version begins after the one before it and keeps its currency and its time zone.".into(),
                            zh: "新版本须晚于上一版本生效，且不能更改币种与时区。".into(),
                        });
                    }
                    let published = ProgramVersion {
                        version,
                        rules: rules.clone(),
                        effective_from,
                        published_at: now,
                        published_by: actor.id().to_owned(),
                        withdrawn: false,
                    };
                    match store::version_insert(tx, &published).await {
                        Err(DbError::Duplicate(_)) => return Err(LoyaltyError::VersionExists { version }),
                        other => other?,
                    }
                    let entry = AuditEntry {
                        actor,
                        action: "loyalty.publish",
                        subject: format!("program/{version}"),
                        detail: serde_json::json!({ "effective_from": effective_from }),
                    };
                    record_audit_in_tx(tx, &self.ids, entry).await?;
                    Ok(published)
                })
            })
            .await?;
        self.forget_versions();
        Ok(published)
    }

    /// Withdraws a version that does not hold yet; a withdrawn one is left as it is.
    ///
    /// # Errors
    /// [`LoyaltyError::VersionNotFound`]; [`LoyaltyError::VersionHolds`] for the first version, and for one that
    /// holds or begins so soon that other nodes could not know.
    pub async fn withdraw_program(
        &self,
        actor: &Actor,
        version: i64,
    ) -> Result<ProgramVersion, LoyaltyError> {
        actor.authorize(&PUBLISH)?;
        let withdrawn = self
            .db
            .run_tx("loyalty.withdraw", |tx| {
                Box::pin(async move {
                    let known = store::version_list(tx).await?;
                    let Some(mut found) = known.into_iter().find(|known| known.version == version) else {
                        return Err(LoyaltyError::VersionNotFound { version });
                    };
                    if found.withdrawn {
                        return Ok(found);
                    }
                    // The first version holds for all time before it, whenever it begins.
                    let earliest = tx.db().clock().now().plus_millis(NOTICE_MS);
                    if version == 1 || !store::version_withdraw(tx, version, earliest).await? {
                        return Err(LoyaltyError::VersionHolds { version });
                    }
                    let entry = AuditEntry {
                        actor,
                        action: "loyalty.withdraw",
                        subject: format!("program/{version}"),
                        detail: serde_json::json!({ "effective_from": found.effective_from }),
                    };
                    record_audit_in_tx(tx, &self.ids, entry).await?;
                    found.withdrawn = true;
                    Ok(found)
                })
            })
            .await?;
        self.forget_versions();
        Ok(withdrawn)
    }

    /// Makes the next look at the versions read them, also where somebody is reading them at this moment.
    fn forget_versions(&self) {
        let mut cache = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        cache.read_at = None;
        cache.generation += 1;
    }

    /// All versions, the first first.
    ///
    /// # Errors
    /// When the actor may not, or the database fails.
    pub async fn program_versions(&self, actor: &Actor) -> Result<Vec<ProgramVersion>, LoyaltyError> {
        actor.authorize(&READ)?;
        Ok(store::version_list(&mut &self.db).await?)
    }

    /// The version that holds now.
    ///
    /// # Errors
    /// [`LoyaltyError::NoProgram`] before the first version.
    pub async fn program_now(&self) -> Result<ProgramVersion, LoyaltyError> {
        let versions = self.versions().await?;
        version_at(&versions, self.db.clock().now()).cloned()
    }

    /// The versions as this process knows them, read again when they are a few seconds old.
    pub(crate) async fn versions(&self) -> Result<Arc<Vec<ProgramVersion>>, LoyaltyError> {
        self.versions_by(&mut &self.db).await
    }

    /// The same through the caller's transaction: one that waited for a second connection while it holds one
    /// could wait for ever, with all others that do the same.
    pub(crate) async fn versions_by(
        &self,
        executor: &mut impl Executor,
    ) -> Result<Arc<Vec<ProgramVersion>>, LoyaltyError> {
        let now = self.db.clock().now();
        let generation = {
            let cache = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
            if cache
                .read_at
                .is_some_and(|read_at| (0..CACHE_MS).contains(&now.millis_since(read_at)))
            {
                return Ok(Arc::clone(&cache.versions));
            }
            cache.generation
        };
        let versions = Arc::new(store::version_list(executor).await?);
        let mut cache = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.generation == generation {
            cache.versions = Arc::clone(&versions);
            cache.read_at = (!versions.is_empty()).then_some(now);
        }
        Ok(versions)
    }
}
