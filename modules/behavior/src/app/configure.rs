//! The shop's decisions about sampling, retention and consent.

use huika_core::Actor;
use huika_db::audit::{AuditEntry, record_audit_in_tx};
use serde_json::json;

use crate::{Behavior, BehaviorError, CONFIGURE, Settings, store};

impl Behavior {
    /// The settings in force.
    ///
    /// # Errors
    /// When the actor may not.
    pub async fn settings(&self, actor: &Actor) -> Result<Settings, BehaviorError> {
        actor.authorize(&CONFIGURE)?;
        Ok(store::settings_load(&mut &self.db).await?.0)
    }

    /// Puts other settings in force, for events that come in from now on.
    ///
    /// # Errors
    /// [`BehaviorError::SettingsInvalid`].
    pub async fn configure(&self, actor: &Actor, settings: Settings) -> Result<Settings, BehaviorError> {
        actor.authorize(&CONFIGURE)?;
        settings.validate()?;
        let settings = &settings;
        self.db
            .run_tx("behavior.configure", |tx| {
                Box::pin(async move {
                    let now = tx.db().clock().now();
                    let (before, version) = store::settings_load(tx).await?;
                    if before == *settings {
                        return Ok(());
                    }
                    store::settings_save(tx, settings, version, now).await?;
                    let entry = AuditEntry {
                        actor,
                        action: "behavior.configure",
                        subject: "behavior".to_owned(),
                        detail: json!({ "before": before, "after": settings }),
                    };
                    record_audit_in_tx(tx, &self.ids, entry).await?;
                    Ok::<_, BehaviorError>(())
                })
            })
            .await?;
        Ok(settings.clone())
    }
}
