//! Use cases, one per file: authorize, load, decide, save.

pub(crate) mod authenticate;
pub(crate) mod change_api_client;
pub(crate) mod create_api_client;
pub(crate) mod ensure_owner;
pub(crate) mod invitations;
pub(crate) mod list_api_clients;
pub(crate) mod log_in;
pub(crate) mod log_out;
pub(crate) mod operators;
pub(crate) mod passwords;
mod reach;
pub(crate) mod reset_owner_password;
pub(crate) mod revoke_api_client;
pub(crate) mod roles;
pub(crate) mod rotate_api_client;
pub(crate) mod second_factor;
pub(crate) mod sessions;
pub(crate) mod stores;
pub(crate) mod tidy;
pub(crate) mod who_am_i;

use std::time::Duration;

use huika_core::{Actor, IdGenerator};
use huika_db::{
    DbError, Tx,
    audit::{AuditEntry, record_audit_in_tx},
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    Staff,
    domain::{error::StaffError, password},
};

/// How long a log-in waits for its turn.
const SEAT_WAIT: Duration = Duration::from_secs(5);

impl Staff {
    /// Hashes or checks a password where blocking is allowed, a few at a time. Whoever finds too many before them
    /// is sent away: a flood of log-ins must not hold memory and connections without end.
    async fn with_password<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StaffError> + Send + 'static,
    ) -> Result<T, StaffError> {
        let _permit = seat(&self.0.hashings, SEAT_WAIT).await?;
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| StaffError::HashingFailed)?
    }

    async fn hash_password(&self, password: String) -> Result<String, StaffError> {
        let salt = password::salt(self.rng());
        self.with_password(move || password::hash(&password, &salt)).await
    }
}

async fn seat(seats: &Semaphore, wait: Duration) -> Result<SemaphorePermit<'_>, StaffError> {
    tokio::time::timeout(wait, seats.acquire())
        .await
        .map_err(|_| StaffError::Busy)?
        // The semaphore is never closed; were it, nobody could log in any more.
        .map_err(|_| StaffError::HashingFailed)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_too_long_for_a_seat_is_sent_away() {
        let seats = Semaphore::new(1);
        let wait = Duration::from_millis(1);
        let taken = seat(&seats, wait).await.unwrap();
        assert!(matches!(seat(&seats, wait).await, Err(StaffError::Busy)));
        drop(taken);
        assert!(seat(&seats, wait).await.is_ok());
    }
}
