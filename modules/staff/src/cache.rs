//! What was found in the database a moment ago, so that checking credentials costs no query.
//!
//! An entry is used for ten seconds at most: so long may a revocation on another node go unnoticed. From its
//! fifth second on one caller loads it anew while the others go on using it, so that an entry in steady use
//! never makes a crowd wait for the database.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use huika_core::Timestamp;

const REFRESH_MS: i64 = 5_000;
const STALE_MS: i64 = 10_000;
/// Entries kept at most; beyond that old ones go, or all of them.
const CAPACITY: usize = 20_000;

pub(crate) struct Cache<K, V>(RwLock<HashMap<K, Entry<V>>>);

struct Entry<V> {
    value: Arc<V>,
    loaded_at: Timestamp,
    refreshing: AtomicBool,
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Eq + Hash, V> Cache<K, V> {
    /// What is known about a key; absent when the caller must load and insert it.
    pub(crate) fn get(&self, key: &K, now: Timestamp) -> Option<Arc<V>> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
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

    /// Keeps what was loaded.
    pub(crate) fn insert(&self, key: K, value: Arc<V>, now: Timestamp) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
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

    /// Forgets a key, because what it named has ended.
    pub(crate) fn remove(&self, key: &K) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Forgets everything, because what ended is not known by its keys.
    pub(crate) fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
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
        cache.insert("key", Arc::new(7), start);
        assert_eq!(at(4), Some(7));
        assert_eq!(at(5), None, "the first caller loads");
        assert_eq!(at(6), Some(7), "the others go on");
        assert_eq!((at(10), at(11)), (None, None));
        assert_eq!(at(-1), None, "the clock was set back");
        cache.insert("key", Arc::new(8), start.plus_millis(5_000));
        assert_eq!(at(6), Some(8));
        cache.remove(&"key");
        assert_eq!(at(6), None);
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let cache = Cache::default();
        for number in 0..3 * CAPACITY {
            cache.insert(number, Arc::new(()), Timestamp::from_millis(0));
        }
        assert!(cache.0.read().unwrap().len() <= CAPACITY);
    }
}
