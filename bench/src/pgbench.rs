//! pgbench, where it is installed: the same writes without any server in between.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::process::Command;

use crate::{baseline::STRIDE, latency::Latencies};

/// The scripts, so that the program does not depend on where it is started.
const EARN: &str = include_str!("../pgbench/earn.sql");
const EARN_CTE: &str = include_str!("../pgbench/earn_cte.sql");
/// As many as there are cores on the smallest machine that is measured.
const THREADS: usize = 2;

/// Which script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Script {
    /// One transaction of several statements.
    Transaction,
    /// The same as one statement.
    OneStatement,
}

/// What came of a run.
pub(crate) struct Run {
    pub(crate) transactions_per_second: f64,
    pub(crate) transactions: u64,
    pub(crate) failed: u64,
    pub(crate) latencies: Latencies,
}

/// pgbench on one database.
pub(crate) struct Pgbench {
    folder: PathBuf,
    url: String,
    members: usize,
}

impl Pgbench {
    /// Writes the scripts into a folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn prepare(folder: &Path, url: &str, members: usize) -> anyhow::Result<Self> {
        fs::write(folder.join("earn.sql"), EARN)?;
        fs::write(folder.join("earn_cte.sql"), EARN_CTE)?;
        Ok(Self {
            folder: folder.to_owned(),
            url: url.to_owned(),
            members,
        })
    }

    /// Warms up, then measures.
    ///
    /// # Errors
    /// When pgbench fails.
    pub(crate) async fn run(
        &self,
        script: Script,
        clients: usize,
        warm_up: Duration,
        window: Duration,
    ) -> anyhow::Result<Run> {
        self.pgbench(script, clients, warm_up, &[]).await?;
        let prefix = self.folder.join("pgbench-log");
        let logging = ["--log".to_owned(), format!("--log-prefix={}", prefix.display())];
        let output = self.pgbench(script, clients, window, &logging).await?;
        let mut latencies = Latencies::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("pgbench-log."))
            {
                latencies.add_pgbench_log(&fs::read_to_string(&path)?);
                fs::remove_file(&path)?;
            }
        }
        let mut run = parse(&output).with_context(|| format!("pgbench says something new:\n{output}"))?;
        run.latencies = latencies;
        Ok(run)
    }

    async fn pgbench(
        &self,
        script: Script,
        clients: usize,
        duration: Duration,
        more: &[String],
    ) -> anyhow::Result<String> {
        let file = match script {
            Script::Transaction => "earn.sql",
            Script::OneStatement => "earn_cte.sql",
        };
        let output = Command::new("pgbench")
            .args(["--no-vacuum", "--protocol=prepared"])
            .arg(format!("--client={clients}"))
            .arg(format!("--jobs={}", THREADS.min(clients)))
            .arg(format!("--time={}", duration.as_secs().max(1)))
            .arg(format!("--file={}", self.folder.join(file).display()))
            .arg(format!("--define=members={}", self.members))
            .arg(format!("--define=stride={STRIDE}"))
            .args(more)
            .arg(&self.url)
            .kill_on_drop(true)
            .output()
            .await
            .context("pgbench cannot be started")?;
        if !output.status.success() {
            bail!("pgbench: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn parse(output: &str) -> Option<Run> {
    let after = |words: &str| {
        let rest = output.lines().find_map(|line| line.strip_prefix(words))?;
        rest.split([' ', '/']).find(|word| !word.is_empty())
    };
    Some(Run {
        transactions_per_second: after("tps =")?.parse().ok()?,
        transactions: after("number of transactions actually processed:")?
            .parse()
            .ok()?,
        // Versions before 15 do not count them: there the first failure ends the run.
        failed: after("number of failed transactions:")
            .and_then(|count| count.parse().ok())
            .unwrap_or(0),
        latencies: Latencies::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pgbench_says_is_read() {
        let output = "scaling factor: 1\nnumber of transactions actually processed: 2538\n\
                      number of failed transactions: 3 (0.118%)\nlatency average = 12.160 ms\n\
                      tps = 1315.757413 (without initial connection time)\n";
        let run = parse(output).unwrap();
        assert_eq!((run.transactions, run.failed), (2_538, 3));
        assert!((run.transactions_per_second - 1_315.757_413).abs() < 1e-6);
        assert!(parse("pgbench: error").is_none());
    }
}
