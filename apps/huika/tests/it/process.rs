//! The binary in a folder of its own, as an operator runs it, and the server that it starts.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use huika_core::Clock;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a server may take to start or to stop, on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A folder with its own configuration, keys and data.
pub(crate) struct Place(TempDir);

/// What a command left.
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Answer {
    /// The one object that `--json` prints.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.err))
    }

    /// The same answer, if the command was successful.
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_huika"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        // Nothing of the machine's own settings may reach the test.
        command.env_clear().envs(variables.iter().copied());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn huika(&self, arguments: &[&str]) -> Answer {
        self.huika_with(arguments, &[])
    }

    /// Runs a command with some variables to its end.
    pub(crate) fn huika_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Answer {
        let output = self.command(arguments, variables).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Answer {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Starts a command and leaves it running. What it says goes to `server.log`.
    pub(crate) fn start(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Running {
        let stderr = File::options()
            .create(true)
            .append(true)
            .open(self.path("server.log"))
            .unwrap();
        let mut command = self.command(arguments, variables);
        Running(command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap())
    }

    /// Starts `huika serve`, `huika demo --serve` or `huika worker --listen` and waits until it says where it listens.
    pub(crate) fn serve(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Server {
        let mut process = self.start(&[arguments, &["--json"]].concat(), variables);
        let mut line = String::new();
        let mut stdout = BufReader::new(process.0.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("the server says {line:?}: {}", self.read("server.log")));
        let base_url = said["base_url"]
            .as_str()
            .unwrap_or_else(|| panic!("{said}"))
            .to_owned();
        Server {
            process,
            stdout,
            base_url,
            said,
            http: reqwest::Client::new(),
        }
    }
}

/// A process that runs. Killed when the test ends.
pub(crate) struct Running(Child);

impl Running {
    /// SIGKILL: the process does nothing more.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// SIGTERM: the process stops in order.
    pub(crate) fn terminate(&self) {
        let kill = format!("kill -TERM {}", self.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for the end of the process.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("the process ends", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks again and again until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let stopwatch = Clock::system().stopwatch();
    while !is_so() {
        assert!(stopwatch.elapsed() < PATIENCE, "not in time: {what}");
        Clock::system().sleep(LOOK_AGAIN).await;
    }
}

/// A server that runs.
pub(crate) struct Server {
    pub(crate) process: Running,
    stdout: BufReader<ChildStdout>,
    pub(crate) base_url: String,
    /// What it said when it started.
    pub(crate) said: Value,
    pub(crate) http: reqwest::Client,
}

impl Server {
    /// Host and port.
    pub(crate) fn address(&self) -> String {
        self.base_url.trim_start_matches("http://").to_owned()
    }

    /// What it has said after that; waits for its end.
    pub(crate) fn said_more(&mut self) -> String {
        let mut more = String::new();
        self.stdout.read_to_string(&mut more).unwrap();
        more
    }

    /// Stops in order and expects a clean end.
    pub(crate) async fn stop(mut self) {
        self.process.terminate();
        assert!(self.process.ended().await.success());
    }

    /// Sends a request and returns status and body.
    pub(crate) async fn send(
        &self,
        token: &str,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(u16, Value), reqwest::Error> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base_url))
            .bearer_auth(token);
        if let Some(body) = body {
            // Every command has a key; routes that need none do not look at it.
            let key = format!("{:016x}", huika_core::Rng::system().next_u64());
            request = request.header("idempotency-key", key).json(&body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    /// Logs in and returns the token.
    pub(crate) async fn log_in(&self, email: &str, password: &str) -> String {
        let body = json!({ "email": email, "password": password });
        let url = format!("{}/api/admin/v1/sessions", self.base_url);
        let response = self.http.post(url).json(&body).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 201);
        response.json::<Value>().await.unwrap()["token"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

/// The log-in of the first owner, which a server without a terminal writes to a file.
pub(crate) async fn owner_token(place: &Place, server: &Server) -> String {
    let log_in: Value = serde_json::from_str(&place.read("data/owner-login.json")).unwrap();
    server
        .log_in(
            log_in["email"].as_str().unwrap(),
            log_in["password"].as_str().unwrap(),
        )
        .await
}
