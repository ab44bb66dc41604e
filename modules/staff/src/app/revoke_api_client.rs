//! The end of an API client.

use huika_core::Actor;

use super::audit_in_tx;
use crate::{API_CLIENTS_MANAGE, ApiClientId, Staff, StaffError, store};

impl Staff {
    /// Revokes a client for ever; revoking it again changes nothing. Afterwards its signatures open nothing on
    /// this node, and within ten seconds on no other.
    ///
    /// # Errors
    /// When the actor lacks the permission; [`StaffError::ApiClientUnknown`].
    pub async fn revoke_api_client(&self, actor: &Actor, client: ApiClientId) -> Result<(), StaffError> {
        actor.authorize(&API_CLIENTS_MANAGE)?;
        let (now, ids) = (self.clock().now(), &self.0.ids);
        self.db()
            .run_tx("staff.revoke_api_client", |tx| {
                Box::pin(async move {
                    if store::api_client_revoke(tx, client, now).await? {
                        let detail = serde_json::json!({});
                        audit_in_tx(
                            tx,
                            ids,
                            actor,
                            "staff.revoke_api_client",
                            client.to_string(),
                            detail,
                        )
                        .await?;
                        return Ok(());
                    }
                    let found = store::api_client_find(tx, client).await?;
                    if found.is_some() {
                        Ok(())
                    } else {
                        Err(StaffError::ApiClientUnknown)
                    }
                })
            })
            .await?;
        self.0.clients.revoke(&client);
        Ok(())
    }
}
