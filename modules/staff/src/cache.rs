//! What was found in the database a moment ago, so that checking credentials costs no query.
//!
//! An entry is used for ten seconds at most: so long may a revocation on another node go unnoticed. From its
//! fifth second on one caller loads it anew while the others go on using it, so that an entry in steady use
//! never makes a crowd wait for the database.
//!
//! What was read before a revocation of this node is not kept, however long the reading took: a load names the
//! generation in which it began, and every revocation begins another one.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use huika_core::Timestamp;

const REFRESH_MS: i64 = 5_000;
const STALE_MS: i64 = 10_000;
/// Entries kept at most; beyond that old ones go, or all of them.
const CAPACITY: usize = 20_000;

pub(crate) struct Cache<K, V> {
    entries: RwLock<HashMap<K, Entry<V>>>,
    /// Raised under the lock of the entries.
    generation: AtomicU64,
}

struct Entry<V> {
    value: Arc<V>,
    loaded_at: Timestamp,
    refreshing: AtomicBool,
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self {
            entries: RwLock::default(),
            generation: AtomicU64::new(0),
        }
    }
}

impl<K: Eq + Hash, V> Cache<K, V> {
    /// What is known about a key; absent when the caller must load and insert it.
    pub(crate) fn get(&self, key: &K, now: Timestamp) -> Option<Arc<V>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(key)?;
        let age = now.millis_since(entry.loaded_at);
        // A clock that was set back makes an entry's age unknown.
        if !(0..STALE_MS).contains(&age) {
            return None;
        }
        if age >= REFRESH_MS && !entry.refreshing.swap(true, Ordering::Relaxed) {
            return None;
        }
        Some(Arc::clone(&entry.value))
    }

    /// The present generation, to be asked before loading.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Keeps what was loaded, unless something was revoked since the loading began.
    pub(crate) fn insert(&self, generation: u64, key: K, value: Arc<V>, now: Timestamp) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if self.generation.load(Ordering::Acquire) != generation {
            return;
        }
        if entries.len() >= CAPACITY {
            entries.retain(|_, entry| now.millis_since(entry.loaded_at) < STALE_MS);
            if entries.len() >= CAPACITY {
                entries.clear();
            }
        }
        entries.insert(
            key,
            Entry {
                value,
                loaded_at: now,
                refreshing: AtomicBool::new(false),
            },
        );
    }

    /// Forgets a key that names nothing any more. Anybody can make this happen, so it touches nothing else.
    pub(crate) fn remove(&self, key: &K) {
        self.entries
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }

    /// Forgets a key, because what it named was revoked just now.
    pub(crate) fn revoke(&self, key: &K) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::AcqRel);
        entries.remove(key);
    }

    /// Forgets everything, because what ended is not known by its keys.
    pub(crate) fn clear(&self) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::AcqRel);
        entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_refreshes_and_nobody_uses_what_is_ten_seconds_old() {
        let cache = Cache::default();
        let start = Timestamp::from_millis(1_000_000);
        let at = |seconds: i64| {
            cache
                .get(&"key", start.plus_millis(seconds * 1_000))
                .map(|value: Arc<i32>| *value)
        };
        assert_eq!(at(0), None);
        cache.insert(0, "key", Arc::new(7), start);
        assert_eq!(at(4), Some(7));
        assert_eq!(at(5), None, "the first caller loads");
        assert_eq!(at(6), Some(7), "the others go on");
        assert_eq!((at(10), at(11)), (None, None));
        assert_eq!(at(-1), None, "the clock was set back");
        cache.insert(0, "key", Arc::new(8), start.plus_millis(5_000));
        assert_eq!(at(6), Some(8));
        cache.remove(&"key");
        assert_eq!(at(6), None);
    }

    #[test]
    fn what_was_loaded_before_a_revocation_is_not_kept() {
        let cache = Cache::default();
        let now = Timestamp::from_millis(1_000_000);
        let before = cache.generation();
        cache.revoke(&"key");
        cache.insert(before, "key", Arc::new(7), now);
        assert_eq!(cache.get(&"key", now), None);
        cache.insert(cache.generation(), "key", Arc::new(7), now);
        assert!(cache.get(&"key", now).is_some());
        // Whoever asks for what does not exist keeps nobody else out of the cache.
        let before = cache.generation();
        cache.remove(&"nobody");
        cache.insert(before, "other", Arc::new(7), now);
        assert!(cache.get(&"other", now).is_some());
        let before = cache.generation();
        cache.clear();
        cache.insert(before, "key", Arc::new(7), now);
        assert_eq!(cache.get(&"key", now), None);
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let cache = Cache::default();
        for number in 0..3 * CAPACITY {
            cache.insert(0, number, Arc::new(()), Timestamp::from_millis(0));
        }
        assert!(cache.entries.read().unwrap().len() <= CAPACITY);
    }
}
