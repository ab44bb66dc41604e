//! How often a password may be guessed: ten failures for one address in fifteen minutes.

use huika_core::Timestamp;

use super::error::LoginThrottled;

/// Failures that a window holds.
pub(crate) const MAX_FAILURES: i64 = 10;
const WINDOW_MS: i64 = 15 * 60 * 1_000;

/// When a window ends that begins now.
pub(crate) fn end_of_window(now: Timestamp) -> Timestamp {
    now.plus_millis(WINDOW_MS)
}

/// The refusal while a full window lasts, in whole seconds, rounded up.
pub(crate) fn throttled(now: Timestamp, window_ends_at: Timestamp) -> LoginThrottled {
    let seconds = window_ends_at.millis_since(now).max(1).saturating_add(999) / 1_000;
    LoginThrottled {
        retry_after_seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_rounded_up_to_seconds() {
        let now = Timestamp::from_millis(1_000_000);
        let wait = |millis| throttled(now, now.plus_millis(millis)).retry_after_seconds;
        assert_eq!(
            [
                wait(-5),
                wait(0),
                wait(1),
                wait(1_000),
                wait(1_001),
                wait(WINDOW_MS)
            ],
            [1, 1, 1, 1, 2, 900]
        );
    }
}
