//! A new API client.

use huika_core::Actor;
use zeroize::Zeroizing;

use super::{audit_in_tx, change_api_client::client_detail, reach::check_stores};
use crate::{
    API_CLIENTS_MANAGE, ApiClient, ApiClientState, NewApiClient, Staff, StaffError,
    domain::{
        api_client,
        role::{granted_by, within_reach},
    },
    store,
};

impl Staff {
    /// Makes a client and its secret, which is shown this once.
    ///
    /// # Errors
    /// When the actor lacks the permission, or a permission or store that the client is to get;
    /// [`StaffError::PermissionUnknown`]; [`StaffError::StoreUnknown`].
    pub async fn create_api_client(
        &self,
        actor: &Actor,
        asked: NewApiClient,
    ) -> Result<(ApiClient, Zeroizing<String>), StaffError> {
        actor.authorize(&API_CLIENTS_MANAGE)?;
        let permissions = granted_by(actor, &asked.permissions, &self.0.known_permissions)?;
        within_reach(actor, false, &permissions, &asked.stores)?;
        check_stores(&mut self.db(), &asked.stores).await?;
        let client = ApiClient {
            id: self.0.ids.next(),
            name: asked.name,
            permissions,
            stores: asked.stores,
            state: ApiClientState::Active,
            created_at: self.clock().now(),
            revoked_at: None,
            old_secret_until: None,
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
                    let detail = client_detail(row);
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
