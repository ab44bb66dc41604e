//! A new secret for an API client, beside the old one for a while.

use huika_core::{Actor, Timestamp};
use serde_json::json;
use zeroize::Zeroizing;

use super::{audit_in_tx, change_api_client::load_within_reach};
use crate::{
    API_CLIENTS_MANAGE, ApiClient, ApiClientId, Staff, StaffError,
    domain::api_client::{self, overlap_until},
    store,
};

impl Staff {
    /// Gives a client a new secret, which is shown this once. The old one is taken until a moment at most seven days
    /// ahead, a day unless told otherwise, so that the client can change over without a gap. There are never more
    /// than two.
    ///
    /// # Errors
    /// When the actor lacks the permission or something that the client has; [`StaffError::ApiClientUnknown`] also of
    /// a revoked one; [`StaffError::OverlapInvalid`]; [`StaffError::RotationUnfinished`].
    pub async fn rotate_api_client(
        &self,
        actor: &Actor,
        client: ApiClientId,
        old_secret_until: Option<Timestamp>,
    ) -> Result<(ApiClient, Zeroizing<String>), StaffError> {
        actor.authorize(&API_CLIENTS_MANAGE)?;
        let now = self.clock().now();
        let until = overlap_until(old_secret_until, now)?;
        let secret = api_client::new_secret(self.rng());
        let context = api_client::secret_context(client);
        let sealed = self.0.keyring.seal(self.rng(), &context, secret.as_bytes());
        let (sealed, ids) = (sealed.as_slice(), &self.0.ids);
        let rotated = self
            .db()
            .run_tx("staff.rotate_api_client", |tx| {
                Box::pin(async move {
                    // The row first: of two rotations at once the second waits here and finds two secrets alive.
                    let rotated = store::api_client_rotate(tx, client, sealed, until, now).await?;
                    let found = load_within_reach(tx, actor, client).await?;
                    if !rotated {
                        let until = found.old_secret_until.unwrap_or(now);
                        return Err(StaffError::RotationUnfinished { until });
                    }
                    let detail = json!({ "old_secret_until": until });
                    let (action, subject) = ("staff.rotate_api_client", client.to_string());
                    audit_in_tx(tx, ids, actor, action, subject, detail).await?;
                    Ok(found)
                })
            })
            .await?;
        self.0.clients.revoke(&client);
        Ok((rotated, secret))
    }

    /// Ends the old secret of a rotation at once, on other nodes within ten seconds; where none is taken any more,
    /// nothing changes.
    ///
    /// # Errors
    /// When the actor lacks the permission or something that the client has; [`StaffError::ApiClientUnknown`].
    pub async fn end_old_secret(&self, actor: &Actor, client: ApiClientId) -> Result<(), StaffError> {
        actor.authorize(&API_CLIENTS_MANAGE)?;
        let (now, ids) = (self.clock().now(), &self.0.ids);
        self.db()
            .run_tx("staff.end_old_secret", |tx| {
                Box::pin(async move {
                    load_within_reach(tx, actor, client).await?;
                    if store::api_client_end_previous(tx, client, now).await? {
                        let (action, subject) = ("staff.end_old_secret", client.to_string());
                        audit_in_tx(tx, ids, actor, action, subject, json!({})).await?;
                    }
                    Ok::<_, StaffError>(())
                })
            })
            .await?;
        self.0.clients.revoke(&client);
        Ok(())
    }
}
