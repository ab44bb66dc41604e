//! What a figure depends on beside the code: the machine and the versions of what runs on it.

use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::process::{cpu_model, kernel_release, load_average, memory_total_mib};

/// The machine of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) memory_mib: Option<f64>,
    pub(crate) system: String,
    /// At the start; more than a little means that somebody else is at work.
    pub(crate) load_average: Option<f64>,
    pub(crate) huika: String,
    pub(crate) commit: String,
    pub(crate) pgbench: Option<String>,
}

impl Machine {
    pub(crate) async fn look(huika: &std::path::Path) -> Self {
        let unknown = || "unknown".to_owned();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: cpu_model().unwrap_or_else(unknown),
            memory_mib: memory_total_mib(),
            system: format!(
                "{} {}",
                std::env::consts::OS,
                kernel_release().unwrap_or_else(unknown)
            ),
            load_average: load_average(),
            huika: first_line(&huika.display().to_string(), &["--version"])
                .await
                .unwrap_or_else(unknown),
            commit: first_line(
                "git",
                &[
                    "-C",
                    env!("CARGO_MANIFEST_DIR"),
                    "describe",
                    "--always",
                    "--dirty",
                ],
            )
            .await
            .unwrap_or_else(unknown),
            pgbench: first_line("pgbench", &["--version"]).await,
        }
    }
}

/// What a command prints first. `None` where it is not installed.
async fn first_line(command: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(command)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .await;
    let output = output.ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()
        .map(str::to_owned)
}
