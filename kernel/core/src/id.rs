//! Typed 64-bit ids that the process makes by itself, so that no insert waits for the database.
//!
//! Layout of a time-ordered id, high to low: 41 bits of milliseconds since 2025-01-01 UTC (until 2094),
//! 10 bits of node number, 12 bits of sequence. Ids of members are scattered (a bijection of the same
//! number) because they stand first in every key of a member's rows and must spread over shards.

use std::{
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Clock, Timestamp};

/// 2025-01-01T00:00:00Z in milliseconds of Unix time.
const EPOCH_MS: i64 = 1_735_689_600_000;
const SEQUENCE_BITS: u32 = 12;
const NODE_BITS: u32 = 10;
const POSITIVE: u64 = (1 << 63) - 1;
/// An odd number, so that multiplying by it modulo 2^63 loses nothing (2^63 divided by the golden ratio).
const SCATTER: u64 = 0x4F1B_BCDC_BFA5_3E0B;
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const DIGITS: usize = 13;

/// The highest node number that fits into an id.
pub const MAX_NODE: u16 = (1 << NODE_BITS) - 1;

/// What an id identifies. Implemented by empty enums, so that ids of two kinds cannot be confused.
pub trait IdKind: 'static {
    /// Stands before the underscore in the text form, for example `mbr`.
    const PREFIX: &'static str;
    /// Whether ids of this kind are scattered instead of time-ordered (ADR 7, rule 2).
    const SCATTERED: bool = false;
}

/// A typed id. Text outside the process (`mbr_…`), a positive 64-bit integer in the database.
pub struct Id<K>(i64, PhantomData<fn() -> K>);

impl<K: IdKind> Id<K> {
    /// Takes an id from its stored number. The number is trusted: it comes from our own database.
    pub const fn from_i64(value: i64) -> Self {
        Self(value, PhantomData)
    }
}

impl<K> Id<K> {
    /// The number that is stored.
    pub const fn as_i64(self) -> i64 {
        self.0
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<K: IdKind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0_u8; DIGITS];
        let mut rest = self.0 as u64;
        for digit in digits.iter_mut().rev() {
            *digit = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
        f.write_str(K::PREFIX)?;
        f.write_str("_")?;
        f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
    }
}

impl<K: IdKind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id of the form {prefix}_ and 13 letters or digits")]
pub struct ParseIdError {
    /// The prefix that was expected.
    pub prefix: &'static str,
}

impl<K: IdKind> FromStr for Id<K> {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let error = ParseIdError { prefix: K::PREFIX };
        let digits = text
            .strip_prefix(K::PREFIX)
            .and_then(|rest| rest.strip_prefix('_'))
            .filter(|digits| digits.len() == DIGITS)
            .ok_or_else(|| error.clone())?;
        let mut value: u128 = 0;
        for byte in digits.bytes() {
            let digit = ALPHABET
                .iter()
                .position(|letter| *letter == byte)
                .ok_or_else(|| error.clone())?;
            value = value << 5 | digit as u128;
        }
        i64::try_from(value).map(Self::from_i64).map_err(|_| error)
    }
}

impl<K: IdKind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: IdKind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The kind of a member's id. It lives in the kernel because member tables of every crate begin with it.
#[derive(Debug)]
pub enum MemberKind {}
impl IdKind for MemberKind {
    const PREFIX: &'static str = "mbr";
    const SCATTERED: bool = true;
}

/// A member: one natural person with one card.
pub type MemberId = Id<MemberKind>;

/// Makes ids from the clock and the node's number. Clones share the sequence.
///
/// Ids never repeat within one node number, also when the clock is set back or more than 4,096 are asked
/// for in one millisecond: the generator then runs ahead of the clock instead of waiting.
#[derive(Clone)]
pub struct IdGenerator {
    clock: Clock,
    node: u16,
    /// Milliseconds since the epoch, shifted left, with the sequence in the low bits.
    last: Arc<AtomicU64>,
}

impl IdGenerator {
    /// A generator for one node. Two running processes must never share a node number on one database.
    ///
    /// # Panics
    /// When `node` is above [`MAX_NODE`]: the lease table never hands out such a number.
    pub fn new(clock: Clock, node: u16) -> Self {
        assert!(node <= MAX_NODE, "node number {node} does not fit into an id");
        Self {
            clock,
            node,
            last: Arc::new(AtomicU64::new(0)),
        }
    }

    /// The next id of a kind.
    pub fn next<K: IdKind>(&self) -> Id<K> {
        self.next_at(self.clock.now())
    }

    /// The next id of a kind, for callers that have read the time already: nothing here asks a clock.
    pub fn next_at<K: IdKind>(&self, now: Timestamp) -> Id<K> {
        let ordered = self.next_ordered(now);
        if K::SCATTERED {
            Id::from_i64((ordered.wrapping_mul(SCATTER) & POSITIVE) as i64)
        } else {
            Id::from_i64(ordered as i64)
        }
    }

    /// The number of the node that this generator makes ids for.
    pub fn node(&self) -> u16 {
        self.node
    }

    fn next_ordered(&self, now: Timestamp) -> u64 {
        let elapsed = (now.as_millis() - EPOCH_MS).max(0) as u64;
        let from_clock = elapsed << SEQUENCE_BITS;
        let mut last = self.last.load(Ordering::Relaxed);
        let tick = loop {
            let tick = from_clock.max(last + 1);
            match self
                .last
                .compare_exchange_weak(last, tick, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => break tick,
                Err(current) => last = current,
            }
        };
        let (millis, sequence) = (tick >> SEQUENCE_BITS, tick & ((1 << SEQUENCE_BITS) - 1));
        (millis << (NODE_BITS + SEQUENCE_BITS) | u64::from(self.node) << SEQUENCE_BITS | sequence) & POSITIVE
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[derive(Debug)]
    enum Ordered {}
    impl IdKind for Ordered {
        const PREFIX: &'static str = "ord";
    }
    #[derive(Debug)]
    enum Scattered {}
    impl IdKind for Scattered {
        const PREFIX: &'static str = "sca";
        const SCATTERED: bool = true;
    }

    #[test]
    fn ids_stay_unique_when_one_millisecond_overflows_and_the_clock_is_set_back() {
        let clock = Clock::manual(Timestamp::from_millis(EPOCH_MS + 1_000));
        let ids = IdGenerator::new(clock.clone(), 7);
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            assert!(seen.insert(ids.next::<Ordered>()));
        }
        clock.set(Timestamp::from_millis(EPOCH_MS));
        for _ in 0..10_000 {
            assert!(seen.insert(ids.next::<Ordered>()));
        }
    }

    #[test]
    fn scattered_ids_spread_over_the_high_bits() {
        let ids = IdGenerator::new(Clock::manual(Timestamp::from_millis(EPOCH_MS + 5)), 0);
        let buckets: HashSet<i64> = (0..1_000)
            .map(|_| ids.next::<Scattered>().as_i64() >> 57)
            .collect();
        assert!(buckets.len() > 50, "only {} of 64 buckets", buckets.len());
    }

    #[test]
    fn the_text_form_comes_back_and_other_kinds_are_refused() {
        let ids = IdGenerator::new(Clock::manual(Timestamp::from_millis(EPOCH_MS + 5)), 3);
        let id = ids.next::<Scattered>();
        assert_eq!(id.to_string().parse::<Id<Scattered>>(), Ok(id));
        for wrong in [
            id.to_string().replace("sca", "ord"),
            "sca_".into(),
            "sca_zzzzzzzzzzzzz".into(),
            String::new(),
        ] {
            assert!(wrong.parse::<Id<Scattered>>().is_err(), "{wrong}");
        }
    }
}
