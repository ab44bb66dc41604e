//! The one source of chance. Seeded in tests, so that a failing run can be repeated.

use std::sync::{Arc, Mutex, PoisonError};

use rand::{Rng as _, SeedableRng, rngs::StdRng};

/// A handle to a cryptographically secure generator. Clones share its state.
#[derive(Clone)]
pub struct Rng(Arc<Mutex<StdRng>>);

impl Rng {
    /// Seeded by the operating system: for everything but tests and the demo.
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(rand::make_rng())))
    }

    /// Seeded by a number: the same seed gives the same sequence.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Fills an array with random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.lock().fill_bytes(&mut bytes);
        bytes
    }

    /// A random 64-bit number.
    pub fn next_u64(&self) -> u64 {
        self.lock().next_u64()
    }

    /// A number from 0 to `bound − 1`, each equally likely.
    ///
    /// # Panics
    /// When `bound` is zero.
    pub fn below(&self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing lies below zero");
        // Numbers above the largest multiple of `bound` would favour small results: draw again.
        let limit = u64::MAX - u64::MAX % bound;
        loop {
            let drawn = self.next_u64();
            if drawn < limit {
                return drawn % bound;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, StdRng> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_sequence() {
        let (a, b) = (Rng::seeded(42), Rng::seeded(42));
        assert_eq!(a.bytes::<16>(), b.bytes::<16>());
        assert_ne!(a.next_u64(), Rng::seeded(43).next_u64());
        assert!((0..1_000).all(|_| a.below(7) < 7));
    }
}
