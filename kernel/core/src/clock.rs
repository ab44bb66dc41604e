//! The one clock. Real in production, moved by hand in tests and the demo.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::Notify;

use crate::Timestamp;

/// A handle to the current time. A use case reads it once and passes `now` down.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Manual(Arc<Manual>),
}

struct Manual {
    now: AtomicI64,
    moved: Notify,
}

impl Clock {
    /// The clock of the machine.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until it is moved.
    pub fn manual(now: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(Manual {
            now: AtomicI64::new(now.as_millis()),
            moved: Notify::new(),
        })))
    }

    /// The current moment.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the wall clock"
    )]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
            }
            Source::Manual(manual) => Timestamp::from_millis(manual.now.load(Ordering::SeqCst)),
        }
    }

    /// Sets a manual clock, forwards or back.
    ///
    /// # Panics
    /// On the clock of the machine, which nobody may set.
    pub fn set(&self, now: Timestamp) {
        let Source::Manual(manual) = &self.0 else {
            panic!("only a manual clock can be set");
        };
        manual.now.store(now.as_millis(), Ordering::SeqCst);
        manual.moved.notify_waiters();
    }

    /// Moves a manual clock forwards.
    ///
    /// # Panics
    /// On the clock of the machine.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.set(self.now().plus_millis(millis));
    }

    /// Waits. On a manual clock until it has been moved far enough.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that sleeps")]
    pub async fn sleep(&self, duration: Duration) {
        let Source::Manual(manual) = &self.0 else {
            tokio::time::sleep(duration).await;
            return;
        };
        let until = self
            .now()
            .plus_millis(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX));
        loop {
            let moved = manual.moved.notified();
            if self.now() >= until {
                return;
            }
            moved.await;
        }
    }

    /// Starts to measure how long something takes, for metrics and progress. Always real time.
    #[expect(
        clippy::disallowed_methods,
        reason = "durations for metrics are monotonic, not business time"
    )]
    pub fn stopwatch(&self) -> Stopwatch {
        Stopwatch(Instant::now())
    }
}

/// A running measurement.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
