//! How often a password may be guessed: ten failures for one address in fifteen minutes, and fifty from one.

use std::net::{IpAddr, Ipv6Addr};

use huika_core::Timestamp;

use super::error::LoginThrottled;

/// Failures that a window holds.
pub(crate) const MAX_FAILURES: i64 = 10;
/// Failures that a window holds of whoever sends them from one place: an office has many operators, a guesser has many
/// addresses to try.
pub(crate) const MAX_FROM_SOURCE: i64 = 50;
const WINDOW_MS: i64 = 15 * 60 * 1_000;

/// What counts as one place. Of IPv6 the first half: whoever has one address there has all the others of its network.
pub(crate) fn source_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            format!("{}/64", Ipv6Addr::from_bits(network))
        }
    }
}

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
    fn one_place_is_an_address_or_half_of_one() {
        for (address, place) in [
            ("203.0.113.9", "203.0.113.9"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(source_of(address.parse().unwrap()), place);
        }
    }

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
