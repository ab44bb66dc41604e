//! A new API client.

use huika_core::Actor;
use zeroize::Zeroizing;

use super::audit_in_tx;
use crate::{
    API_CLIENTS_MANAGE, ApiClient, ApiClientState, NewApiClient, Staff, StaffError, domain::api_client, store,
};

impl Staff {
    /// Makes a client and its secret, which is shown this once.
    ///
    /// # Errors
    /// When the actor lacks the permission, or one that the client is to get; [`StaffError::PermissionUnknown`].
    pub async fn create_api_client(
        &self,
        actor: &Actor,
        asked: NewApiClient,
    ) -> Result<(ApiClient, Zeroizing<String>), StaffError> {
        actor.authorize(&API_CLIENTS_MANAGE)?;
        let permissions = asked.granted_by(actor, &self.0.known_permissions)?;
        let client = ApiClient {
            id: self.0.ids.next(),
            name: asked.name,
            permissions,
            state: ApiClientState::Active,
            created_at: self.clock().now(),
            revoked_at: None,
        };
        let secret = api_client::new_secret(self.rng());
        let sealed = self.0.keyring.seal(
            self.rng(),
            &api_client::secret_context(client.id),
            secret.as_bytes(),
        );
        let (row, sealed, ids) = (&client, sealed.as_slice(), &self.0.ids);
        self.db()
            .run_tx("staff.create_api_client", |tx| {
                Box::pin(async move {
                    store::api_client_insert(tx, row, sealed).await?;
                    let detail = serde_json::json!({ "name": row.name, "permissions": row.permissions });
                    audit_in_tx(
                        tx,
                        ids,
                        actor,
                        "staff.create_api_client",
                        row.id.to_string(),
                        detail,
                    )
                    .await?;
                    Ok::<_, StaffError>(())
                })
            })
            .await?;
        Ok((client, secret))
    }
}
