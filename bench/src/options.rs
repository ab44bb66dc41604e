//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use huika_db::Engine;
use serde::Serialize;

/// Measures Huika against its baselines on every engine that answers.
#[derive(Debug, Parser)]
#[command(name = "huika-bench", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Mixed load, with the server killed in the middle, and then: every answered request is there exactly once
    Chaos(ChaosOptions),
    /// Render the results of a run as Markdown, for docs/benchmarks.md
    Table {
        /// The results.
        #[arg(long, default_value_os_t = default_out())]
        file: PathBuf,
    },
    /// Make an import file in the online-retail format
    Generate {
        /// Where to.
        file: PathBuf,
        #[arg(long, default_value_t = 25_000)]
        invoices: u64,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// The baseline: one transaction per request, without anything else. Started by the bench itself
    BaselineServer {
        #[arg(long)]
        database_url: String,
        /// Connections to the database.
        #[arg(long, default_value_t = 16)]
        pool: u32,
    },
}

/// An engine, as one names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EngineName {
    Sqlite,
    Postgres,
    #[value(alias = "mariadb")]
    Mysql,
}

impl From<EngineName> for Engine {
    fn from(name: EngineName) -> Self {
        match name {
            EngineName::Sqlite => Self::Sqlite,
            EngineName::Postgres => Self::Postgres,
            EngineName::Mysql => Self::Mysql,
        }
    }
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// Start to first answer, and memory when idle
    Start,
    Redeem,
    Earn,
    Purchase,
    /// The bulk routes
    Bulk,
    /// Balances
    Read,
    Import,
    Verify,
    /// Very many lots that expire at one moment
    Expiry,
    /// Behaviour events, alone and beside earning
    Events,
}

/// Where things are.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Surroundings {
    /// The server to measure; built with cargo when it is not named.
    #[arg(long)]
    pub(crate) huika: Option<PathBuf>,
    /// Where SQLite databases, configurations and logs go: on a disk, not in memory.
    #[arg(long, default_value_os_t = default_work_dir())]
    pub(crate) work_dir: PathBuf,
    /// A PostgreSQL server on which databases may be made.
    #[arg(
        long,
        env = "HUIKA_TEST_POSTGRES_URL",
        default_value = "postgres://postgres@127.0.0.1:5432/test"
    )]
    #[serde(skip)]
    pub(crate) postgres_url: String,
    /// A MySQL or MariaDB server on which databases may be made.
    #[arg(
        long,
        env = "HUIKA_TEST_MYSQL_URL",
        default_value = "mysql://root@127.0.0.1:3306/test"
    )]
    #[serde(skip)]
    pub(crate) mysql_url: String,
    /// Members among whom the load is spread.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) members: u64,
    /// What is drawn by chance is drawn from this.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Lanes of the server's committer, for experiments [default: as it is shipped]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(crate) lanes: Option<u64>,
    /// Leave databases and logs for a look.
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) surroundings: Surroundings,
    /// Engines; those whose server does not answer are left out.
    #[arg(long, value_delimiter = ',', default_value = "sqlite,postgres,mysql")]
    pub(crate) engines: Vec<EngineName>,
    /// How often each case is measured, in turn with its baseline; the middle one counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    pub(crate) rounds: u64,
    /// Length of the measured window of each case.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// Warm-up before each window.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) warm_up: u64,
    /// Numbers of connections.
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256")]
    pub(crate) connections: Vec<usize>,
    /// Only these parts.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<Part>,
    /// Leave out the baselines.
    #[arg(long)]
    pub(crate) no_baselines: bool,
    /// Short windows and few cases: to see that everything works. The figures mean little.
    #[arg(long)]
    pub(crate) quick: bool,
    /// A file in the online-retail format to import, plain or gzip; made when it is not named.
    #[arg(long)]
    pub(crate) import_file: Option<PathBuf>,
    /// Where the results go as JSON [default: bench/results/latest.json, quick.json with --quick]
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Lots that expire at one moment on PostgreSQL; a tenth of them elsewhere.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    pub(crate) expiring_lots: u64,
    /// Behaviour events per second that come in beside earning.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(500..=100_000))]
    pub(crate) events_rate: u64,
    /// Fail when a demand is missed or was not measured, for example because an engine does not answer.
    #[arg(long)]
    pub(crate) strict: bool,
}

impl RunOptions {
    /// With what `--quick` stands for.
    pub(crate) fn with_quick(mut self) -> Self {
        if self.quick {
            self.rounds = 1;
            self.seconds = 3;
            self.warm_up = 1;
            self.expiring_lots = self.expiring_lots.min(20_000);
            self.connections = vec![1, 16];
            self.surroundings.members = self.surroundings.members.min(1_000);
        }
        self
    }

    /// Where the results go. Quick ones never take the place of real ones.
    pub(crate) fn out(&self) -> PathBuf {
        match &self.out {
            Some(out) => out.clone(),
            None if self.quick => default_out().with_file_name("quick.json"),
            None => default_out(),
        }
    }

    pub(crate) fn measures(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct ChaosOptions {
    #[command(flatten)]
    pub(crate) surroundings: Surroundings,
    /// The engine.
    #[arg(long, default_value = "sqlite")]
    pub(crate) engine: EngineName,
    /// How long the clients work.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) seconds: u64,
    /// How often the server is killed meanwhile.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=100))]
    pub(crate) kills: u64,
    /// Clients at work.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1_024))]
    pub(crate) clients: u64,
    /// How many requests in a hundred go to the one hot member.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=100))]
    pub(crate) hot_percent: u64,
}

fn default_out() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("results/latest.json")
}

fn default_work_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/bench")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn engines_go_by_the_names_that_the_reports_have() {
        for name in EngineName::value_variants() {
            let engine = Engine::from(*name);
            assert_eq!(
                name.to_possible_value().map(|value| value.get_name().to_owned()),
                Some(engine.name().to_owned())
            );
        }
    }
}
