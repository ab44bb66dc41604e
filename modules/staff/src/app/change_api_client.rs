//! What an API client may do, changed.

use huika_core::{Actor, StoreScope};
use huika_db::Tx;

use super::{audit_in_tx, reach::check_stores};
use crate::{
    API_CLIENTS_MANAGE, ApiClient, ApiClientId, ApiClientState, Staff, StaffError,
    domain::role::{granted_by, within_reach},
    store,
};

impl Staff {
    /// Sets what a client may do and where. Holds at once on this node, and within ten seconds on all others.
    ///
    /// # Errors
    /// When the actor lacks the permission, or a permission or store that the client has or is to get;
    /// [`StaffError::ApiClientUnknown`] also of a revoked one; [`StaffError::PermissionUnknown`];
    /// [`StaffError::StoreUnknown`].
    pub async fn set_api_client_access(
        &self,
        actor: &Actor,
        client: ApiClientId,
        permissions: &[String],
        stores: StoreScope,
    ) -> Result<ApiClient, StaffError> {
        actor.authorize(&API_CLIENTS_MANAGE)?;
        let permissions = granted_by(actor, permissions, &self.0.known_permissions)?;
        within_reach(actor, false, &permissions, &stores)?;
        let (permissions, stores, ids) = (&permissions, &stores, &self.0.ids);
        let changed = self
            .db()
            .run_tx("staff.set_api_client_access", |tx| {
                Box::pin(async move {
                    let before = load_within_reach(tx, actor, client).await?;
                    check_stores(tx, stores).await?;
                    if !store::api_client_set_access(tx, client, permissions, stores).await? {
                        return Err(StaffError::ApiClientUnknown);
                    }
                    let changed = ApiClient {
                        permissions: permissions.clone(),
                        stores: stores.clone(),
                        ..before
                    };
                    let (action, subject) = ("staff.set_api_client_access", client.to_string());
                    audit_in_tx(tx, ids, actor, action, subject, client_detail(&changed)).await?;
                    Ok(changed)
                })
            })
            .await?;
        self.0.clients.revoke(&client);
        Ok(changed)
    }
}

/// An active client that may do no more than the actor.
pub(super) async fn load_within_reach(
    tx: &mut Tx<'_>,
    actor: &Actor,
    client: ApiClientId,
) -> Result<ApiClient, StaffError> {
    let found = store::api_client_find(tx, client).await?;
    let found = found.filter(|found| found.state == ApiClientState::Active);
    let found = found.ok_or(StaffError::ApiClientUnknown)?;
    within_reach(actor, false, &found.permissions, &found.stores)?;
    Ok(found)
}

/// What a client may do, for the audit log.
pub(super) fn client_detail(client: &ApiClient) -> serde_json::Value {
    let stores = client.stores.codes().map(Iterator::collect::<Vec<_>>);
    serde_json::json!({ "name": client.name, "permissions": client.permissions, "stores": stores })
}
