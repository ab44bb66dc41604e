//! Use cases, one per file: authorize, load, decide, save.

pub(crate) mod authenticate;
pub(crate) mod create_api_client;
pub(crate) mod ensure_owner;
pub(crate) mod list_api_clients;
pub(crate) mod log_in;
pub(crate) mod log_out;
pub(crate) mod reset_owner_password;
pub(crate) mod revoke_api_client;
pub(crate) mod tidy;
pub(crate) mod who_am_i;

use huika_core::{Actor, IdGenerator};
use huika_db::{
    DbError, Tx,
    audit::{AuditEntry, record_audit_in_tx},
};

use crate::{
    Staff,
    domain::{error::StaffError, password},
};

impl Staff {
    /// Hashes or checks a password where blocking is allowed, a few at a time.
    async fn with_password<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StaffError> + Send + 'static,
    ) -> Result<T, StaffError> {
        // The semaphore is never closed; were it, nobody could log in any more.
        let _permit = self
            .0
            .hashings
            .acquire()
            .await
            .map_err(|_| StaffError::HashingFailed)?;
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| StaffError::HashingFailed)?
    }

    async fn hash_password(&self, password: String) -> Result<String, StaffError> {
        let salt = password::salt(self.rng());
        self.with_password(move || password::hash(&password, &salt)).await
    }
}

/// Records what an actor did to a subject, with the change itself.
async fn audit_in_tx(
    tx: &mut Tx<'_>,
    ids: &IdGenerator,
    actor: &Actor,
    action: &'static str,
    subject: String,
    detail: serde_json::Value,
) -> Result<(), DbError> {
    record_audit_in_tx(
        tx,
        ids,
        AuditEntry {
            actor,
            action,
            subject,
            detail,
        },
    )
    .await
}
