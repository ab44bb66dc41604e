//! Versions of the programme: publishing one, and finding the one that holds at a moment.

use std::sync::{Arc, PoisonError};

use huika_core::{Actor, Timestamp};
use huika_db::{
    DbError, Executor,
    audit::{AuditEntry, record_audit_in_tx},
};

use crate::{Loyalty, LoyaltyError, PUBLISH, READ, Rules, store};

/// How long a process trusts what it read: other nodes publish too, and a version always begins later.
const CACHE_MS: i64 = 5_000;

/// A published version of the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramVersion {
    /// Counts from 1.
    pub version: i64,
    /// What holds.
    pub rules: Rules,
    /// From when on.
    pub effective_from: Timestamp,
    /// When it was published.
    pub published_at: Timestamp,
    /// By whom.
    pub published_by: String,
}

/// What this process knows of the published versions.
#[derive(Default)]
pub(crate) struct ProgramCache {
    read_at: Option<Timestamp>,
    versions: Arc<Vec<ProgramVersion>>,
}

impl Loyalty {
    /// Publishes a version. `effective_from` lies in the future or is now; the first version holds for all time
    /// before it as well.
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
        let now = self.db.clock().now();
        let effective_from = effective_from.unwrap_or(now);
        if effective_from < now {
            return Err(LoyaltyError::RulesInvalid {
                en: "a version begins now or later.".into(),
                zh: "生效时间不能早于现在。".into(),
            });
        }
        let rules = &rules;
        let published = self
            .db
            .run_tx("loyalty.publish", |tx| {
                Box::pin(async move {
                    let versions = store::version_list(tx).await?;
                    let version = versions.last().map_or(1, |last| last.version + 1);
                    if let Some(last) = versions.last()
                        && (last.effective_from >= effective_from || last.rules.currency != rules.currency)
                    {
                        return Err(LoyaltyError::RulesInvalid {
                            en: "a version begins after the one before it and keeps its currency.".into(),
                            zh: "新版本须晚于上一版本生效，且不能更改币种。".into(),
                        });
                    }
                    let published = ProgramVersion {
                        version,
                        rules: rules.clone(),
                        effective_from,
                        published_at: now,
                        published_by: actor.id().to_owned(),
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
        self.programs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .read_at = None;
        Ok(published)
    }

    /// All versions, the first first.
    ///
    /// # Errors
    /// When the actor may not, or the database fails.
    pub async fn program_versions(&self, actor: &Actor) -> Result<Vec<ProgramVersion>, LoyaltyError> {
        actor.authorize(&READ)?;
        Ok(store::version_list(&mut &self.db).await?)
    }

    /// The currency of the programme, which every purchase must have.
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
        {
            let cache = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
            if cache
                .read_at
                .is_some_and(|read_at| (0..CACHE_MS).contains(&now.millis_since(read_at)))
            {
                return Ok(Arc::clone(&cache.versions));
            }
        }
        let versions = Arc::new(store::version_list(executor).await?);
        let mut cache = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        cache.versions = Arc::clone(&versions);
        cache.read_at = (!versions.is_empty()).then_some(now);
        Ok(versions)
    }
}

/// The version that holds at a moment; the first for everything before it.
pub(crate) fn version_at(
    versions: &[ProgramVersion],
    moment: Timestamp,
) -> Result<&ProgramVersion, LoyaltyError> {
    versions
        .iter()
        .rev()
        .find(|version| version.effective_from <= moment)
        .or(versions.first())
        .ok_or(LoyaltyError::NoProgram)
}
