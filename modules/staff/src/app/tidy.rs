//! What has ended is removed after a while.

use crate::{Staff, StaffError, store};

/// Sessions stay for this long after their end, so that "since when" can still be answered.
const KEEP_SESSIONS_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

impl Staff {
    /// Removes sessions that ended a week ago and windows of failed log-ins that have ended, at most 500 of each,
    /// and tells how many. To be called again while that is more than none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tidy(&self) -> Result<u64, StaffError> {
        let now = self.clock().now();
        self.db()
            .run_tx("staff.tidy", |tx| {
                Box::pin(async move {
                    let sessions =
                        store::session_delete_ended(tx, now.plus_millis(-KEEP_SESSIONS_MS)).await?;
                    Ok(sessions + store::login_attempt_delete_ended(tx, now).await?)
                })
            })
            .await
    }
}
