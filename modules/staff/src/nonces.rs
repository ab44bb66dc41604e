//! Which nonces were taken, so that a signed request is answered once.
//!
//! A nonce is taken together with its timestamp and must be remembered until that leaves the window. In one process that is a set per ten
//! seconds of timestamps. When the sets are full, the oldest goes and the window becomes shorter: requests that
//! were signed before it are refused, and those of clients with a right clock are not. Several nodes share
//! Redis. The answer is never guessed: where it cannot be told, the request is refused.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, PoisonError},
};

use huika_core::Timestamp;
use redis::aio::ConnectionManager;

use crate::domain::{api_client::ApiClientId, error::StaffError, signature::WINDOW_S};

/// Nonces kept in memory at most, about 40 MB; at 15,000 requests a second the window is then two minutes long.
const CAPACITY: usize = 2_000_000;
/// Timestamps that share a set.
const SLICE_S: i64 = 10;
/// The window is never made shorter than this.
const SHORTEST_WINDOW_S: i64 = 30;
/// Requests that were signed this long before the process started are still taken, for the sake of clients
/// whose clock is slow. What came just before a restart could be sent again in that time; commands that move
/// value have their own idempotency keys.
const RESTART_GRACE_S: i64 = 5;

/// Where nonces are remembered.
pub struct NonceStore(Place);

enum Place {
    InProcess(InProcess),
    Redis(ConnectionManager),
}

impl NonceStore {
    /// In this process, for an installation of one node that starts now.
    pub fn in_process(now: Timestamp) -> Self {
        Self(Place::InProcess(InProcess::new(now, CAPACITY)))
    }

    /// In Redis, for several nodes.
    ///
    /// # Errors
    /// When the address cannot be read or nobody answers there.
    pub async fn redis(url: &str) -> Result<Self, redis::RedisError> {
        let manager = redis::Client::open(url)?.get_connection_manager().await?;
        Ok(Self(Place::Redis(manager)))
    }

    /// Takes a nonce of a request that was otherwise found right and whose timestamp lies in the window.
    pub(crate) async fn claim(
        &self,
        client: ApiClientId,
        nonce: &str,
        timestamp_s: i64,
        now: Timestamp,
    ) -> Result<(), StaffError> {
        let now_s = now.as_millis().div_euclid(1_000);
        let claim = match &self.0 {
            Place::InProcess(store) => store.claim(client, nonce, timestamp_s, now_s),
            Place::Redis(manager) => claim_in_redis(manager.clone(), client, nonce, timestamp_s, now_s).await,
        };
        match claim {
            Claim::New => Ok(()),
            Claim::Used => Err(StaffError::NonceUsed),
            Claim::TooOld => Err(StaffError::TimestampRefused { server_time: now_s }),
            Claim::Unknown => Err(StaffError::NoncesUnavailable),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    New,
    Used,
    TooOld,
    Unknown,
}

async fn claim_in_redis(
    mut manager: ConnectionManager,
    client: ApiClientId,
    nonce: &str,
    timestamp_s: i64,
    now_s: i64,
) -> Claim {
    // One second more, because the timestamp is taken until the window's last second has passed.
    let keep_s = (timestamp_s + WINDOW_S - now_s).max(0) + 1;
    let mut command = redis::cmd("SET");
    command
        .arg(format!("huika:nonce:{client}:{timestamp_s}:{nonce}"))
        .arg(1)
        .arg("NX")
        .arg("EX")
        .arg(keep_s);
    match command.query_async::<Option<String>>(&mut manager).await {
        Ok(Some(_)) => Claim::New,
        Ok(None) => Claim::Used,
        Err(error) => {
            tracing::warn!(%error, "Redis does not remember nonces");
            Claim::Unknown
        }
    }
}

struct InProcess {
    slices: Mutex<Slices>,
    /// Keyed at random per process, so that nobody can prepare two nonces that look the same.
    hasher: RandomState,
    capacity: usize,
}

struct Slices {
    /// Hashes of client, timestamp and nonce by the slice of the timestamp.
    by_time: BTreeMap<i64, HashSet<u64>>,
    count: usize,
    /// Older timestamps are refused: their nonces are forgotten. Never falls, also when the clock is set back.
    floor_s: i64,
}

impl InProcess {
    fn new(started: Timestamp, capacity: usize) -> Self {
        let floor_s = started.as_millis().div_euclid(1_000) - RESTART_GRACE_S;
        let slices = Slices {
            by_time: BTreeMap::new(),
            count: 0,
            floor_s,
        };
        Self {
            slices: Mutex::new(slices),
            hasher: RandomState::new(),
            capacity,
        }
    }

    fn claim(&self, client: ApiClientId, nonce: &str, timestamp_s: i64, now_s: i64) -> Claim {
        let hash = self.hasher.hash_one((client.as_i64(), timestamp_s, nonce));
        let mut slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        slices.forget_before(now_s - WINDOW_S);
        if slices.count >= self.capacity && !slices.forget_oldest(now_s - SHORTEST_WINDOW_S) {
            metrics::counter!("huika_staff_nonces_full_total").increment(1);
            return Claim::Unknown;
        }
        if timestamp_s < slices.floor_s {
            return Claim::TooOld;
        }
        if slices
            .by_time
            .entry(timestamp_s.div_euclid(SLICE_S))
            .or_default()
            .insert(hash)
        {
            slices.count += 1;
            Claim::New
        } else {
            Claim::Used
        }
    }
}

impl Slices {
    fn forget_before(&mut self, oldest_s: i64) {
        while self.forget_oldest(oldest_s) {}
    }

    /// Drops the oldest slice if all of it lies before `oldest_s`.
    fn forget_oldest(&mut self, oldest_s: i64) -> bool {
        let Some(slice) = self.by_time.first_entry() else {
            return false;
        };
        let end_s = (slice.key() + 1) * SLICE_S;
        if end_s > oldest_s {
            return false;
        }
        self.count -= slice.remove().len();
        self.floor_s = self.floor_s.max(end_s);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: i64 = 1_795_226_400;

    fn store(capacity: usize) -> InProcess {
        InProcess::new(Timestamp::from_millis((NOW_S - 1_000) * 1_000), capacity)
    }

    #[test]
    fn redis_may_be_reached_over_tls() {
        // Without the feature such an address is refused before anybody is asked.
        assert!(redis::Client::open("rediss://cache.example:6379").is_ok());
    }

    fn client(number: i64) -> ApiClientId {
        ApiClientId::from_i64(number)
    }

    #[test]
    fn a_nonce_is_taken_once_per_client_for_as_long_as_its_timestamp_is() {
        let store = store(100);
        let claim = |nonce: &str, timestamp_s, now_s| store.claim(client(1), nonce, timestamp_s, now_s);
        assert_eq!(claim("a", NOW_S, NOW_S), Claim::New);
        assert_eq!(claim("a", NOW_S, NOW_S), Claim::Used);
        assert_eq!(store.claim(client(2), "a", NOW_S, NOW_S), Claim::New);
        // A timestamp ahead of our clock is remembered until it leaves the window.
        assert_eq!(claim("b", NOW_S + 300, NOW_S), Claim::New);
        assert_eq!(claim("b", NOW_S + 300, NOW_S + 600), Claim::Used);
        assert_eq!(
            claim("a", NOW_S, NOW_S + 300),
            Claim::TooOld,
            "forgotten, and therefore refused"
        );
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_open_what_was_forgotten() {
        let store = store(100);
        assert_eq!(store.claim(client(1), "a", NOW_S, NOW_S), Claim::New);
        assert_eq!(store.claim(client(1), "b", NOW_S + 400, NOW_S + 400), Claim::New);
        assert_eq!(store.claim(client(1), "a", NOW_S, NOW_S), Claim::TooOld);
    }

    #[test]
    fn a_full_store_shortens_the_window_and_then_refuses() {
        let store = store(3);
        let claim = |nonce: &str, timestamp_s, now_s| store.claim(client(1), nonce, timestamp_s, now_s);
        for (nonce, timestamp_s) in [("a", NOW_S - 200), ("b", NOW_S - 100), ("c", NOW_S)] {
            assert_eq!(claim(nonce, timestamp_s, NOW_S), Claim::New);
        }
        assert_eq!(claim("d", NOW_S, NOW_S), Claim::New, "the oldest makes room");
        assert_eq!(claim("a", NOW_S - 200, NOW_S), Claim::TooOld);
        assert_eq!(claim("b", NOW_S, NOW_S), Claim::New);
        assert_eq!(
            claim("e", NOW_S, NOW_S),
            Claim::Unknown,
            "everything left is too recent to forget"
        );
        assert_eq!(
            claim("e", NOW_S + 50, NOW_S + 50),
            Claim::New,
            "later there is room again"
        );
    }

    #[test]
    fn what_was_signed_before_the_start_is_refused() {
        let store = InProcess::new(Timestamp::from_millis(NOW_S * 1_000), 100);
        assert_eq!(
            store.claim(client(1), "a", NOW_S - RESTART_GRACE_S, NOW_S),
            Claim::New
        );
        assert_eq!(
            store.claim(client(1), "a", NOW_S - RESTART_GRACE_S - 1, NOW_S),
            Claim::TooOld
        );
    }
}
