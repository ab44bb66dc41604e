//! Measures Huika over HTTP against what the same database does with one transaction per request, and checks that
//! nothing which was answered is lost or doubled when the server is killed under load.
//!
//! `docs/benchmarks.md` says how to run it and how to read what it prints.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool speaks to the terminal"
)]
#![expect(clippy::float_arithmetic, reason = "statistics; no value is computed here")]
#![expect(clippy::disallowed_methods, reason = "latencies are measured in real time")]

mod baseline;
mod chance;
mod chaos;
mod connection;
mod database;
mod expiry;
mod import_file;
mod latency;
mod load;
mod machine;
mod options;
mod pgbench;
mod process;
mod results;
mod run;
mod scenario;
mod server;
mod site;
mod table;
mod tuning;
mod wire;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use crate::options::{Cli, Command};

/// The allocator of the server, so that the baseline is no slower for its own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    // The load takes one thread, so that the server has the rest of the machine. The baseline is a server itself.
    let mut runtime = match cli.command {
        Some(Command::BaselineServer { .. }) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime
        .enable_all()
        .build()
        .context("the runtime does not start")?;
    runtime.block_on(execute(cli))
}

/// Carries out the command. Failure means that the server was at fault or, with `--strict`, missed a demand.
async fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    let succeeded = match cli.command {
        None => run::run(cli.run.with_quick()).await?,
        Some(Command::Chaos(options)) => chaos::run(&options).await?,
        Some(Command::Table { file }) => {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("{} cannot be read", file.display()))?;
            let results =
                serde_json::from_str(&text).context("the file is not of this version of the bench")?;
            print!("{}", table::render(&results, table::Form::Markdown));
            true
        }
        Some(Command::Generate { file, invoices, seed }) => {
            let shape = import_file::Shape::of(invoices, seed);
            let made = import_file::write_file(&file, &shape)?;
            println!(
                "{} invoices, {} of them cancellations, {} rows",
                invoices, made.cancellations, made.rows
            );
            true
        }
        Some(Command::BaselineServer { database_url, pool }) => {
            baseline::serve(&database_url, pool).await?;
            true
        }
    };
    Ok(if succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
