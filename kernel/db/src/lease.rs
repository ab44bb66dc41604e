//! Holding a lease: renewed in time, or known to be lost when it ends.

use std::{future::Future, time::Duration};

use huika_core::{Clock, Timestamp};

use crate::DbError;

/// The pause after a renewal that failed.
const AGAIN_AFTER: Duration = Duration::from_secs(3);

/// Renews a lease of `millis` until it is lost, then returns. A renewal may hang as long as the database does: the
/// holder learns of the lease's end all the same, before anybody else can take it.
pub(crate) async fn keep<F>(
    clock: &Clock,
    millis: i64,
    every: Duration,
    mut until: Timestamp,
    renew: impl Fn() -> F,
) where
    F: Future<Output = Result<bool, DbError>>,
{
    let left = |until: Timestamp| {
        let left = until.millis_since(clock.now());
        Duration::from_millis(u64::try_from(left).unwrap_or_default())
    };
    let mut pause = every;
    loop {
        clock.sleep(pause.min(left(until))).await;
        // Counted from before it is asked for: the database counts from later.
        let renewed_until = clock.now().plus_millis(millis);
        let renewed = tokio::select! {
            renewed = renew() => renewed,
            () = clock.sleep(left(until)) => return,
        };
        pause = match renewed {
            Ok(true) => {
                until = renewed_until;
                every
            }
            Ok(false) => return,
            Err(_) => AGAIN_AFTER,
        };
    }
}
