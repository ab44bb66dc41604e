//! The command line: reads it, loads the configuration, runs one command, and turns its end into an exit code.
//!
//! 0: done. 1: not done, or what was looked at is not as it should be. 2: the command line was not understood.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use huika_core::{Clock, Currency, Language, Rng};

use crate::{
    commands::{self, Context},
    config::{Config, Flags, Surroundings},
    error::{CommandError, Failure},
    output::Output,
    telemetry,
};

/// How long a process that is done waits for threads that still block.
const LEAVE_WITHIN: Duration = Duration::from_millis(100);

/// 会卡 Huika: membership and loyalty for merchants, in one program.
#[derive(Debug, Parser)]
#[command(
    name = "huika",
    version,
    max_term_width = 100,
    after_help = "\
Settings come from huika.toml, then from variables such as HUIKA_DATABASE__URL, then from flags; `huika check` shows \
them. Start with `huika demo --serve` to look around, with `huika serve` to work."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Shared {
    /// The configuration file [default: huika.toml where it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The database: sqlite:FILE, postgres://… or mysql://…
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// Print one JSON object on standard output, and no progress
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server
    ///
    /// On SQLite the tables are brought up to date first; elsewhere with --migrate. The first start makes the
    /// owner, whose password is shown once, and the programme that everybody begins with.
    Serve(ServeArgs),
    /// Run background jobs without serving HTTP
    Worker(WorkerArgs),
    /// Bring the tables up to date
    Migrate,
    /// Make a demo shop in a folder of its own: members, a year of purchases, log-ins
    ///
    /// A demo that exists is left as it is. Its database, key file and log-ins (demo-login.json) lie in the folder.
    Demo(DemoArgs),
    /// Take in data from files
    #[command(subcommand)]
    Import(ImportCommand),
    /// Write members, purchases, refunds or entries to a file, phones masked
    Export(ExportArgs),
    /// Recompute every balance and check every invariant
    ///
    /// Works on one snapshot while others go on writing. Exit code 1 when something does not add up.
    Verify,
    /// Show the figures of the shop's history
    Report,
    /// Print the description of the HTTP API
    Openapi(OpenapiArgs),
    /// Write the whole database to a compressed file
    ///
    /// A snapshot, taken while the system works, that `huika restore` reads on any engine. The key file is not in it:
    /// keep that in another place.
    Backup(BackupArgs),
    /// Read a backup into an empty database, of any engine
    Restore(RestoreArgs),
    /// Help an owner who cannot log in
    #[command(subcommand)]
    Owner(OwnerCommand),
    /// Say of every setting whether it is sound, and what is missing
    ///
    /// Exit code 1 when something is unsafe.
    Check,
}

/// Arguments of `huika serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Bring the tables up to date first; always done on SQLite
    #[arg(long)]
    pub(crate) migrate: bool,
    /// The address that the first owner logs in with
    #[arg(long, value_name = "EMAIL")]
    pub(crate) owner_email: Option<String>,
}

/// Arguments of `huika worker`.
#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// Jobs that run at once
    #[arg(long, value_name = "NUMBER")]
    pub(crate) parallel: Option<u64>,
    /// Address and port for metrics and health [default: none]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
}

/// Arguments of `huika demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Serve it afterwards
    #[arg(long)]
    pub(crate) serve: bool,
    /// The folder of the demo
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub(crate) data_dir: PathBuf,
    /// The port to serve on; 0 lets the system choose
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
    /// How many members the shop has
    #[arg(long, value_name = "NUMBER", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) members: u32,
    /// The same seed makes the same shop
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Debug, Subcommand)]
enum OwnerCommand {
    /// Give the first owner a new password and end all of their sessions
    ///
    /// The password is shown once on a terminal; elsewhere it is written to owner-login.json beside the key file.
    ResetPassword,
}

#[derive(Debug, Subcommand)]
enum ImportCommand {
    /// Take in purchases and refunds
    ///
    /// An import that was stopped goes on where it was when it is run again; what is known already changes nothing.
    /// A broken row is reported with its line and refuses its own document only.
    Purchases(ImportPurchasesArgs),
}

/// Arguments of `huika import purchases`.
#[derive(Debug, Args)]
pub(crate) struct ImportPurchasesArgs {
    /// The file; gzipped when its name ends in .gz
    pub(crate) file: PathBuf,
    /// What kind of file it is
    #[arg(long, value_enum)]
    pub(crate) format: PurchaseFormat,
    /// The code under which its order and customer numbers are known [default: the format's name]
    #[arg(long, value_name = "CODE")]
    pub(crate) source: Option<String>,
    /// The currency of its amounts [default: the programme's]
    #[arg(long, value_name = "CODE")]
    pub(crate) currency: Option<Currency>,
    /// End with exit code 0 although rows were refused
    #[arg(long)]
    pub(crate) allow_bad_rows: bool,
}

/// The kinds of files with purchases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PurchaseFormat {
    /// The history of a UK shop, one row per line, as published by UCI
    OnlineRetail,
    /// Our CSV: docs/guides/import.md
    Csv,
    /// Our JSON lines: docs/guides/import.md
    Jsonl,
}

/// Arguments of `huika export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// What to write
    #[arg(long, value_enum)]
    pub(crate) what: ExportWhat,
    /// How to write it
    #[arg(long, value_enum, default_value_t = ExportFormat::Csv)]
    pub(crate) format: ExportFormat,
    /// The file to write; standard output without it. Needed with --json
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// What can be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportWhat {
    /// Members, phones masked
    Members,
    /// Purchases, one row each
    Purchases,
    /// Refunds, one row each
    Refunds,
    /// Entries of the ledger
    Entries,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// For spreadsheets
    Csv,
    /// One JSON object per line
    Jsonl,
}

/// Arguments of `huika openapi`.
#[derive(Debug, Args)]
pub(crate) struct OpenapiArgs {
    /// Write openapi.json, errors.md, permissions.md and schema.sql to this folder instead
    #[arg(long, value_name = "DIR")]
    pub(crate) write: Option<PathBuf>,
}

/// Arguments of `huika backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file to write, for example backup.gz
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// Arguments of `huika restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The file that `huika backup` wrote
    pub(crate) file: PathBuf,
}

/// Reads the command line and does what it says.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let surroundings = Surroundings::read();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are printed to standard output with code 0, misuse to standard error with code 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let language = surroundings.language.unwrap_or(Language::English);
    let output = Output {
        json: cli.shared.json,
        language,
    };
    match start(cli, &surroundings, output) {
        Ok(code) => code,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli, surroundings: &Surroundings, output: Output) -> Result<ExitCode, Failure> {
    if let (Command::Demo(_), Some(_)) = (&cli.command, &cli.shared.database_url) {
        let reason = "a demo keeps its database in its own folder: choose that with --data-dir".into();
        return Err(CommandError::ConfigInvalid { reason }.into());
    }
    let config = Config::load(cli.shared.config.as_deref(), surroundings, &flags_of(&cli))?;
    let serves = match &cli.command {
        Command::Serve(_) | Command::Worker(_) => true,
        Command::Demo(demo) => demo.serve,
        _ => false,
    };
    // The default is for servers: a command that answers on the terminal logs warnings only.
    let quiet = !serves && config.log.filter == Config::default().log.filter;
    telemetry::start_logs(
        &config.log,
        if quiet {
            telemetry::QUIET
        } else {
            &config.log.filter
        },
    );

    let refused = |error: std::io::Error| CommandError::SystemRefused {
        reason: error.to_string(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(refused)?;
    let context = Context {
        config,
        output,
        clock: Clock::system(),
        rng: Rng::system(),
    };
    let result = runtime.block_on(dispatch(context, cli.command));
    runtime.shutdown_timeout(LEAVE_WITHIN);
    result
}

async fn dispatch(context: Context, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(args) => commands::serve::run(context, args).await,
        Command::Worker(_) => commands::worker::run(context).await,
        Command::Migrate => commands::migrate::run(context).await,
        Command::Demo(args) => commands::demo::run(context, args).await,
        Command::Import(ImportCommand::Purchases(args)) => commands::import::run(context, args).await,
        Command::Export(args) => commands::export::run(context, args).await,
        Command::Verify => commands::verify::run(context).await,
        Command::Report => commands::report::run(context).await,
        Command::Openapi(args) => commands::openapi::run(context, args).await,
        Command::Backup(args) => commands::backup::run(context, args).await,
        Command::Restore(args) => commands::restore::run(context, args).await,
        Command::Owner(OwnerCommand::ResetPassword) => commands::owner::reset_password(context).await,
        Command::Check => commands::check::run(context).await,
    }
}

fn flags_of(cli: &Cli) -> Flags {
    let mut flags = Flags::default();
    flags.set("database.url", cli.shared.database_url.clone());
    match &cli.command {
        Command::Serve(args) => {
            flags.set("server.listen", args.listen.map(|address| address.to_string()));
            flags.set("setup.owner_email", args.owner_email.clone());
        }
        Command::Worker(args) => {
            flags.set("worker.parallel", args.parallel);
            flags.set("worker.listen", args.listen.map(|address| address.to_string()));
        }
        _ => {}
    }
    flags
}
