//! Logs and metrics of the process.
//!
//! Logs go to standard error, one line per event, joined to requests by their trace id; what is written there holds
//! no personal data, which the modules answer for. Metrics are kept in memory and rendered when they are asked for.

use std::{io::IsTerminal as _, time::Duration};

use huika_core::{Clock, Timestamp};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{
    EnvFilter, filter::ParseError, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::config::{LogConfig, LogFormat};

/// What is logged of commands that answer on the terminal, unless a filter is set.
pub(crate) const QUIET: &str = "warn";
/// How often histograms are folded: otherwise they grow while nobody asks for the metrics.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// Seconds, from a cached read to a request that was given up.
const SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0,
];
/// Commands of one transaction.
const BATCH_SIZES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Reads a filter, so that a wrong one is refused before anything starts.
pub(crate) fn parse_filter(text: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(text)
}

/// Starts to log. The second call in one process changes nothing, which tests rely on.
pub(crate) fn start_logs(log: &LogConfig, filter: &str) {
    // The filter was checked with the configuration.
    let filter = parse_filter(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let as_json = match log.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    let started = if as_json {
        registry
            .with(lines.json().flatten_event(true).with_span_list(false))
            .try_init()
    } else {
        registry
            .with(lines.with_ansi(std::io::stderr().is_terminal()))
            .try_init()
    };
    drop(started);
}

/// The metrics of this process.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    started_at: Timestamp,
}

impl Metrics {
    /// Begins to collect, for the whole process.
    ///
    /// # Errors
    /// When another recorder was installed before.
    pub(crate) fn start(clock: &Clock) -> Result<Self, BuildError> {
        let handle = builder()?.install_recorder()?;
        Ok(Self {
            handle,
            started_at: clock.now(),
        })
    }

    /// Metrics that nobody collects into, for tests that serve several times in one process.
    pub fn detached(clock: &Clock) -> Self {
        Self {
            handle: PrometheusBuilder::new().build_recorder().handle(),
            started_at: clock.now(),
        }
    }

    /// Folds histograms until the process ends.
    pub(crate) async fn keep_up(self, clock: Clock) {
        loop {
            clock.sleep(UPKEEP_EVERY).await;
            self.handle.run_upkeep();
        }
    }

    /// Everything in the text form of Prometheus.
    pub(crate) fn render(&self) -> String {
        let mut text = self.handle.render();
        let process = Process::read();
        let seconds = self.started_at.as_millis() / 1_000;
        for (name, kind, value) in [
            ("process_resident_memory_bytes", "gauge", process.resident_bytes),
            ("process_open_fds", "gauge", process.open_files),
            ("process_threads", "gauge", process.threads),
            ("process_start_time_seconds", "gauge", u64::try_from(seconds).ok()),
        ] {
            if let Some(value) = value {
                text.push_str(&format!("# TYPE {name} {kind}\n{name} {value}\n\n"));
            }
        }
        let version = env!("CARGO_PKG_VERSION");
        text.push_str(&format!(
            "# TYPE huika_build_info gauge\nhuika_build_info{{version=\"{version}\"}} 1\n"
        ));
        text
    }
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Full("huika_batch_size".into()), &BATCH_SIZES)
}

/// What Linux tells about the process; absent elsewhere.
#[derive(Default)]
struct Process {
    resident_bytes: Option<u64>,
    threads: Option<u64>,
    open_files: Option<u64>,
}

impl Process {
    fn read() -> Self {
        // From status and not from statm, which counts in pages of a size that must be asked for.
        let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
            return Self::default();
        };
        let field = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':')
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        };
        Self {
            resident_bytes: field("VmRSS").map(|kibibytes| kibibytes * 1_024),
            threads: field("Threads"),
            open_files: std::fs::read_dir("/proc/self/fd")
                .ok()
                .map(|files| files.count() as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_tell_about_the_process() {
        let text = Metrics::detached(&Clock::system()).render();
        assert!(text.contains("huika_build_info{version=\""), "{text}");
        if cfg!(target_os = "linux") {
            assert!(text.contains("process_resident_memory_bytes "), "{text}");
        }
    }

    #[test]
    fn buckets_are_taken() {
        assert!(builder().is_ok());
    }
}
