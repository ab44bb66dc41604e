//! The load: so many clients, each sending its next request when it has the answer to the last (a closed loop,
//! as pgbench's clients do), first to warm up and then for the window that is measured.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{
    sync::{Barrier, Notify},
    task::JoinSet,
    time::sleep_until,
};

use crate::{
    chance::Chance,
    connection::Connection,
    latency::Latencies,
    process::cpu_seconds_of,
    scenario::Scenario,
    wire::{Credentials, Request},
};

/// A client that fails so often gives up.
const MAX_FAILURES: u64 = 100;
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(20);

/// One load.
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) connections: usize,
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
    pub(crate) seed: u64,
    /// The process whose use of the processor is noted.
    pub(crate) server_process: Option<u32>,
}

/// What came of a load.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Of the requests that began in the window.
    pub(crate) latencies: Latencies,
    /// Requests that were answered with success within the window.
    pub(crate) answered: u64,
    /// What they carried and was not refused.
    pub(crate) items: u64,
    pub(crate) seconds: f64,
    /// Over the whole load, warm-up included.
    pub(crate) trouble: Trouble,
    /// Cores that the server used on average.
    pub(crate) server_cores: Option<f64>,
    /// Cores that this program used on average.
    pub(crate) client_cores: Option<f64>,
}

/// What should not happen.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// Answers by status, those of success left out.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Items of bulks that were refused.
    pub(crate) refused_items: u64,
    /// Requests without an answer.
    pub(crate) failures: u64,
    /// The first of all these in words.
    pub(crate) first: Option<String>,
}

impl Trouble {
    pub(crate) fn count(&self) -> u64 {
        self.statuses.values().sum::<u64>() + self.refused_items + self.failures
    }

    /// Whether the server failed: a 5xx, or no answer at all.
    pub(crate) fn is_server_fault(&self) -> bool {
        self.failures > 0 || self.statuses.keys().any(|status| *status >= 500)
    }

    fn note(&mut self, describe: impl FnOnce() -> String) {
        if self.first.is_none() {
            self.first = Some(describe());
        }
    }

    fn merge(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.refused_items += other.refused_items;
        self.failures += other.failures;
        self.first = self.first.take().or(other.first);
    }
}

/// When the window begins and ends.
#[derive(Clone, Copy)]
struct Window {
    from: Instant,
    until: Instant,
}

struct Lane {
    latencies: Latencies,
    answered: u64,
    items: u64,
    trouble: Trouble,
}

impl Load {
    /// Runs it.
    ///
    /// # Errors
    /// When the clients cannot connect.
    pub(crate) async fn run(self) -> anyhow::Result<Measured> {
        let load = Arc::new(self);
        let gate = Arc::new((Barrier::new(load.connections + 1), OnceLock::new()));
        let mut lanes = JoinSet::new();
        for client in 0..load.connections {
            // Opened one after another, so that the backlog of the server is not what is measured.
            let connection = Connection::open(load.address)
                .await
                .context("a client cannot connect")?;
            lanes.spawn(Arc::clone(&load).drive(client, connection, Arc::clone(&gate)));
        }
        let begin = Instant::now();
        let window = Window {
            from: begin + load.warm_up,
            until: begin + load.warm_up + load.window,
        };
        let _ = gate.1.set(window);
        gate.0.wait().await;

        let cpu = || {
            (
                load.server_process.and_then(cpu_seconds_of),
                cpu_seconds_of(std::process::id()),
            )
        };
        sleep_until(window.from.into()).await;
        let (server_before, client_before) = cpu();
        sleep_until(window.until.into()).await;
        let (server_after, client_after) = cpu();

        let seconds = load.window.as_secs_f64();
        let cores = |before: Option<f64>, after: Option<f64>| Some((after? - before?) / seconds);
        let mut measured = Measured {
            latencies: Latencies::new(),
            answered: 0,
            items: 0,
            seconds,
            trouble: Trouble::default(),
            server_cores: cores(server_before, server_after),
            client_cores: cores(client_before, client_after),
        };
        while let Some(lane) = lanes.join_next().await {
            let lane = lane.context("a client panicked")?;
            measured.latencies.merge(&lane.latencies);
            measured.answered += lane.answered;
            measured.items += lane.items;
            measured.trouble.merge(lane.trouble);
        }
        Ok(measured)
    }

    /// Sends one request after another at a fixed distance, from now until told to stop. One that comes late is made
    /// up for, so that the rate holds.
    ///
    /// # Errors
    /// When it cannot connect, or the server does not answer.
    pub(crate) async fn stream(self, every: Duration, stop: Arc<Notify>) -> anyhow::Result<Measured> {
        let connection = Connection::open(self.address).await;
        let mut connection = connection.context("the stream cannot connect")?;
        let mut chance = Chance::new(self.seed);
        let mut request = Request::new("GET", "");
        let mut measured = Measured {
            latencies: Latencies::new(),
            answered: 0,
            items: 0,
            seconds: 0.0,
            trouble: Trouble::default(),
            server_cores: None,
            client_cores: None,
        };
        let mut ticks = tokio::time::interval(every);
        let began = Instant::now();
        for number in 0.. {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.notified() => break,
            }
            self.scenario.fill(&mut request, &mut chance, 0, number);
            let sent = Instant::now();
            let answer = connection.exchange(&request, &self.credentials).await;
            let answer = answer.context("the stream broke off")?;
            if answer.is_success() {
                let refused = self.scenario.refused(answer.body);
                measured.answered += 1;
                measured.items += self.scenario.action.items() - refused;
                measured.trouble.refused_items += refused;
            } else {
                *measured.trouble.statuses.entry(answer.status).or_default() += 1;
                measured.trouble.note(|| answer.describe());
            }
            measured.latencies.record(sent.elapsed());
        }
        measured.seconds = began.elapsed().as_secs_f64();
        Ok(measured)
    }

    async fn drive(
        self: Arc<Self>,
        client: usize,
        mut connection: Connection,
        gate: Arc<(Barrier, OnceLock<Window>)>,
    ) -> Lane {
        let mut lane = Lane {
            latencies: Latencies::new(),
            answered: 0,
            items: 0,
            trouble: Trouble::default(),
        };
        let mut chance = Chance::new(self.seed.wrapping_add(client as u64));
        let mut request = Request::new("GET", "");
        gate.0.wait().await;
        let Some(window) = gate.1.get().copied() else {
            return lane;
        };
        for number in 0.. {
            self.scenario.fill(&mut request, &mut chance, client, number);
            let sent = Instant::now();
            if sent >= window.until || lane.trouble.failures > MAX_FAILURES {
                break;
            }
            let answer = connection.exchange(&request, &self.credentials).await;
            let received = Instant::now();
            match answer {
                Ok(answer) if answer.is_success() => {
                    let refused = self.scenario.refused(answer.body);
                    if refused > 0 {
                        lane.trouble.refused_items += refused;
                        lane.trouble.note(|| answer.describe());
                    }
                    if sent >= window.from {
                        lane.latencies.record(received - sent);
                    }
                    if (window.from..window.until).contains(&received) {
                        lane.answered += 1;
                        lane.items += self.scenario.action.items() - refused;
                    }
                }
                Ok(answer) => {
                    *lane.trouble.statuses.entry(answer.status).or_default() += 1;
                    lane.trouble.note(|| answer.describe());
                }
                Err(error) => {
                    lane.trouble.failures += 1;
                    lane.trouble.note(|| error.to_string());
                    tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
                }
            }
        }
        lane
    }
}
