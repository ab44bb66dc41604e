//! The server under test: the real binary, started as a child with a configuration of its own.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    pin::pin,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tokio::process::{Child, Command};

use crate::{
    connection::Connection,
    options::Surroundings,
    process::memory_of,
    wire::{Credentials, Request},
};

/// How long a start may take, migrations included.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// Fine enough for a start that is measured in milliseconds.
const POLL_EVERY: Duration = Duration::from_millis(1);
/// How often the memory of a command is looked at.
const WATCH_EVERY: Duration = Duration::from_millis(50);
/// Where the first start leaves the owner's log-in, beside the key file.
const OWNER_FILE: &str = "owner-login.json";

/// What is measured: a binary, and how it is started where that is not as it is shipped.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) binary: PathBuf,
    lanes: Option<u64>,
}

impl Program {
    /// The binary that the options name, or a fresh one.
    ///
    /// # Errors
    /// When it does not build.
    pub(crate) async fn of(surroundings: &Surroundings) -> anyhow::Result<Self> {
        let binary = match &surroundings.huika {
            Some(binary) => binary.clone(),
            None => build().await?,
        };
        let lanes = surroundings.lanes;
        Ok(Self { binary, lanes })
    }
}

/// Builds the release binary where its sources are newer, and tells where it is.
///
/// # Errors
/// When it does not build.
async fn build() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the bench lies in no workspace")?;
    eprintln!("building the server (cargo build --release -p huika)");
    let output = Command::new("cargo")
        .args([
            "build",
            "--release",
            "-p",
            "huika",
            "--bin",
            "huika",
            "--message-format",
            "json-render-diagnostics",
        ])
        .current_dir(root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("the server does not build");
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let binary = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "huika")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    binary.context("cargo does not say where the binary is")
}

/// The binary and the configuration that it is started with.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    program: Program,
    folder: PathBuf,
    pub(crate) address: SocketAddr,
}

/// What the first owner logs in with.
#[derive(Deserialize)]
pub(crate) struct Owner {
    pub(crate) email: String,
    pub(crate) password: String,
}

impl Installation {
    /// Writes a configuration for one database into a folder of its own under `folder`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn prepare(
        program: &Program,
        folder: &Path,
        label: &str,
        database_url: &str,
    ) -> anyhow::Result<Self> {
        let folder = folder.join(label);
        // What an earlier run left there belongs to another database.
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let address = free_address()?;
        let key_file = folder.join("huika.key").display().to_string();
        // Everything else stays as it is shipped, the log included.
        let mut text = format!(
            "[database]\nurl = {database_url:?}\n\n[server]\nlisten = \"{address}\"\n\n[security]\nkey_file = {key_file:?}\n"
        );
        if let Some(lanes) = program.lanes {
            text.push_str(&format!("\n[committer]\nlanes = {lanes}\n"));
        }
        fs::write(folder.join("huika.toml"), text)?;
        File::create(folder.join("huika.log"))?;
        Ok(Self {
            program: program.clone(),
            folder,
            address,
        })
    }

    /// The same program on another database.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn on(&self, folder: &Path, label: &str, database_url: &str) -> anyhow::Result<Self> {
        Self::prepare(&self.program, folder, label, database_url)
    }

    /// Starts the server and waits for its first answer.
    ///
    /// # Errors
    /// When it ends or does not answer in time.
    pub(crate) async fn start(&self) -> anyhow::Result<Server> {
        let log = self.folder.join("huika.log");
        let output = File::options().append(true).open(&log)?;
        let spawned = Instant::now();
        let child = self
            .command(&["serve", "--migrate"])
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .context("the server cannot be started")?;
        let mut server = Server {
            child,
            address: self.address,
            log,
            until_answer: Duration::ZERO,
        };
        server.wait_for_answer(spawned).await?;
        server.until_answer = spawned.elapsed();
        Ok(server)
    }

    /// The owner that the first start made.
    ///
    /// # Errors
    /// When it made none.
    pub(crate) fn owner(&self) -> anyhow::Result<Owner> {
        let path = self.folder.join(OWNER_FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Runs a command of the binary on this configuration and returns what it printed.
    ///
    /// # Errors
    /// When it fails; with what it said.
    pub(crate) async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self
            .command(arguments)
            .kill_on_drop(true)
            .output()
            .await
            .context("huika cannot be started")?;
        printed(arguments, &output)
    }

    /// The same, with the most memory that the process had.
    ///
    /// # Errors
    /// When it fails; with what it said.
    pub(crate) async fn run_watched(&self, arguments: &[&str]) -> anyhow::Result<(String, Option<f64>)> {
        let child = self
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("huika cannot be started")?;
        let process = child.id();
        let mut peak = None;
        let mut ended = pin!(child.wait_with_output());
        let output = loop {
            match tokio::time::timeout(WATCH_EVERY, &mut ended).await {
                Ok(output) => break output?,
                // A process that has just ended tells nothing: what it told before stands.
                Err(_) => peak = process.and_then(memory_of).map(|memory| memory.peak_mib).or(peak),
            }
        };
        Ok((printed(arguments, &output)?, peak))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program.binary);
        // Settings of whoever runs the bench are not what is measured.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HUIKA_") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .arg("--config")
            .arg(self.folder.join("huika.toml"))
            .stdin(Stdio::null());
        command
    }
}

fn printed(arguments: &[&str], output: &std::process::Output) -> anyhow::Result<String> {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!(
            "huika {}: {printed}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(printed)
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    log: PathBuf,
    /// From the start of the process to its first answer.
    pub(crate) until_answer: Duration,
}

impl Server {
    /// The id of the process. Absent once it has ended.
    pub(crate) fn process(&self) -> Option<u32> {
        self.child.id()
    }

    async fn wait_for_answer(&mut self, spawned: Instant) -> anyhow::Result<()> {
        let probe = Request::new("GET", "/healthz");
        loop {
            // A refused connection costs microseconds, so the wait does not lengthen what is measured.
            if TcpStream::connect(self.address).is_ok()
                && let Ok(mut connection) = Connection::open(self.address).await
                && let Ok(answer) = connection.exchange(&probe, &Credentials::None).await
                && answer.is_success()
            {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the server ended at its start with {status}:\n{}",
                    self.last_lines()
                );
            }
            if spawned.elapsed() > START_TIMEOUT {
                bail!(
                    "the server does not answer after {START_TIMEOUT:?}:\n{}",
                    self.last_lines()
                );
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// Lets it finish what runs, and waits until it has ended.
    ///
    /// # Errors
    /// When it does not end in time or reports a failure.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let Some(process) = self.process() else {
            bail!("the server had ended by itself:\n{}", self.last_lines())
        };
        // The standard library sends no signal but SIGKILL.
        Command::new("kill")
            .args(["-TERM", &process.to_string()])
            .status()
            .await?;
        let ended = tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await;
        let status = ended.with_context(|| format!("the server does not stop within {STOP_TIMEOUT:?}"))??;
        if !status.success() {
            bail!("the server stopped with {status}:\n{}", self.last_lines());
        }
        Ok(())
    }

    /// Ends it at once, as a crash would (SIGKILL).
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("the server cannot be killed")
    }

    fn last_lines(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// An address of this machine that nobody listens on.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
