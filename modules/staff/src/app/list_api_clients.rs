//! The list of API clients.

use huika_core::{Actor, Timestamp};

use crate::{API_CLIENTS_READ, ApiClient, ApiClientId, Staff, StaffError, store};

impl Staff {
    /// API clients, latest first, beginning after the one named: revoked ones too, so that the log can be read.
    ///
    /// # Errors
    /// When the actor lacks the permission or the database fails.
    pub async fn list_api_clients(
        &self,
        actor: &Actor,
        after: Option<(Timestamp, ApiClientId)>,
        limit: u32,
    ) -> Result<Vec<ApiClient>, StaffError> {
        actor.authorize(&API_CLIENTS_READ)?;
        Ok(store::api_client_list(&mut self.db(), after, limit).await?)
    }
}
