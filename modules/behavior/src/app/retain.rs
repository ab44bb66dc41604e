//! Forgetting: events live as long as the settings say.

use crate::{Behavior, BehaviorError, store};

const DAY_MS: i64 = 86_400_000;

impl Behavior {
    /// Deletes some of the events that are too old. Says how many: call again while that is not zero.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_expired(&self) -> Result<u64, BehaviorError> {
        self.db
            .run_tx("behavior.retain", |tx| {
                Box::pin(async move {
                    let (settings, _) = store::settings_load(tx).await?;
                    let now = tx.db().clock().now();
                    let limit = now.plus_millis(-i64::from(settings.retention_days) * DAY_MS);
                    Ok(store::event_delete_before(tx, limit).await?)
                })
            })
            .await
    }
}
