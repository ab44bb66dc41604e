//! How long things took: histograms of microseconds and what is reported of them.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longer than a server lets a request live.
const LONGEST_MICROS: u64 = 120_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// Latencies of one case.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

/// What is reported of latencies, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_MICROS, SIGNIFICANT_DIGITS);
        Self(histogram.unwrap_or_else(|error| unreachable!("the bounds are constants: {error}")))
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        self.record_micros(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn record_micros(&mut self, micros: u64) {
        self.0.saturating_record(micros);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so nothing can lie outside.
        let _ = self.0.add(&other.0);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// `None` when nothing was recorded.
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        let millis = |micros: u64| micros as f64 / 1_000.0;
        (self.count() > 0).then(|| Percentiles {
            p50_ms: millis(self.0.value_at_quantile(0.50)),
            p99_ms: millis(self.0.value_at_quantile(0.99)),
            max_ms: millis(self.0.max()),
        })
    }

    /// Adds the transactions of a file that `pgbench --log` wrote: the third column is microseconds.
    pub(crate) fn add_pgbench_log(&mut self, log: &str) {
        for line in log.lines() {
            // A failed transaction says so instead of a number.
            if let Some(micros) = line.split(' ').nth(2).and_then(|column| column.parse().ok()) {
                self.record_micros(micros);
            }
        }
    }
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let (mut first, mut second) = (Latencies::new(), Latencies::new());
        for millis in 1..=50 {
            first.record(Duration::from_millis(millis));
            second.record(Duration::from_millis(50 + millis));
        }
        first.merge(&second);
        assert_eq!(first.count(), 100);
        let Percentiles {
            p50_ms,
            p99_ms,
            max_ms,
        } = first.percentiles().unwrap();
        for (measured, expected) in [(p50_ms, 50.0), (p99_ms, 99.0), (max_ms, 100.0)] {
            assert!(
                (measured - expected).abs() <= expected * 0.001,
                "{measured} instead of {expected}"
            );
        }
    }

    #[test]
    fn one_slow_request_in_a_thousand_shows_in_the_maximum_alone() {
        let mut latencies = Latencies::new();
        for _ in 0..999 {
            latencies.record_micros(1_000);
        }
        latencies.record(Duration::from_secs(600));
        let percentiles = latencies.percentiles().unwrap();
        assert!(
            percentiles.p99_ms < 1.1 && percentiles.max_ms > 100_000.0,
            "{percentiles:?}"
        );
    }

    #[test]
    fn nothing_recorded_is_nothing_reported() {
        assert_eq!(Latencies::new().percentiles(), None);
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn logs_of_pgbench_are_read_without_their_failures() {
        let mut latencies = Latencies::new();
        latencies.add_pgbench_log(
            "0 1 28378 0 1795294593 252468\n2 1 failed 0 1795294593 256907\n\n8 1 73698 0 1 2\n",
        );
        assert_eq!(latencies.count(), 2);
        let longest = latencies.percentiles().unwrap().max_ms;
        assert!((73.6..73.8).contains(&longest), "{longest}");
    }

    #[test]
    fn medians_lie_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
