//! Many clients do everything at once on one hot member and on thousands of others, the
//! server is killed in the middle, and afterwards every answered request is there, exactly once.
//!
//! A client that gets no answer sends the same request with the same key until it gets one, as a till would. So
//! at the end every request was answered, and what the answers say must be what the ledger holds.

mod client;
mod deeds;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use huika_db::Engine;
use serde::Serialize;
use tokio::task::JoinSet;

use self::{
    client::{Client, Report},
    deeds::Answered,
};
use crate::{
    chance::Chance,
    connection::Connection,
    database::Places,
    options::ChaosOptions,
    server::{Installation, Program, Server},
    site::{Opening, Site, ask},
    wire::{Credentials, Request},
};

/// What everybody starts with: enough for every redemption that is meant to succeed.
const OPENING_POINTS: i64 = 1_000_000;
const LOTS: i64 = 3;
/// Answered requests that are sent once more at the end.
const SAMPLE: usize = 5_000;
const CHECKING: usize = 32;
const SHOWN_VIOLATIONS: usize = 20;

/// What everybody shares.
struct World {
    address: std::net::SocketAddr,
    credentials: Arc<Credentials>,
    members: Arc<Vec<String>>,
    hot_percent: u64,
    seed: u64,
    until: Instant,
}

/// What is printed at the end.
#[derive(Serialize)]
struct Summary {
    passed: bool,
    engine: &'static str,
    seconds: u64,
    clients: u64,
    members: usize,
    kills: u64,
    /// Answered requests by what they did.
    answered: BTreeMap<&'static str, u64>,
    /// Refusals that were right, by code.
    refused: BTreeMap<String, u64>,
    /// Requests that were sent again because no answer came.
    sent_again: u64,
    /// Balances that were compared with the sum of the answers.
    balances_checked: usize,
    /// Answered requests that were sent once more after the end.
    replays_checked: usize,
    /// Purchases and refunds that were answered, and those that the database holds.
    documents_answered: u64,
    documents_found: Option<u64>,
    ledger_is_clean: bool,
    violations: usize,
    first_violations: Vec<String>,
}

/// Does all that and prints a summary as JSON. False when anything is not as it must be.
///
/// # Errors
/// When something cannot be set up.
pub(crate) async fn run(options: &ChaosOptions) -> anyhow::Result<bool> {
    let surroundings = &options.surroundings;
    let program = Program::of(surroundings).await?;
    let places = Places::of(surroundings)?;
    let passed = torment(options, &places, &program).await;
    if !surroundings.keep {
        places.clean_up().await?;
    }
    passed
}

async fn torment(options: &ChaosOptions, places: &Places, program: &Program) -> anyhow::Result<bool> {
    let surroundings = &options.surroundings;
    let engine = Engine::from(options.engine);
    let opening = Opening {
        members: usize::try_from(surroundings.members)?,
        lots: LOTS,
        points_per_lot: OPENING_POINTS / LOTS,
    };
    eprintln!("{}: opening a shop of {} members", engine.name(), opening.members);
    let site = Site::open(places, program, engine, "chaos", &opening).await?;
    let site = site.with_context(|| format!("{} does not answer", engine.name()))?;
    let Site {
        installation,
        server,
        database,
        credentials,
        members,
    } = site;
    let length = Duration::from_secs(options.seconds);
    let world = Arc::new(World {
        address: server.address,
        credentials,
        members,
        hot_percent: options.hot_percent,
        seed: surroundings.seed,
        until: Instant::now() + length,
    });

    eprintln!(
        "{}: {} clients for {} s, {} kills",
        engine.name(),
        options.clients,
        options.seconds,
        options.kills
    );
    let mut clients = JoinSet::new();
    for number in 0..options.clients {
        clients.spawn(Client::new(Arc::clone(&world), number).run());
    }
    let server = kill_again_and_again(&installation, server, length, options.kills).await?;
    let mut report = Report::default();
    while let Some(client) = clients.join_next().await {
        report.merge(client.context("a client panicked")?);
    }

    eprintln!("{}: checking balances and replays", engine.name());
    let opened = opening.lots * opening.points_per_lot;
    let balances_checked = check_balances(&world, &mut report, opened).await?;
    let replays_checked = check_replays(&world, &mut report).await?;
    server.stop().await?;

    eprintln!("{}: verifying the ledger", engine.name());
    let verification = verify(&installation, &mut report).await;
    let documents_answered = ["purchase", "refund"]
        .iter()
        .filter_map(|deed| report.answered.get(deed))
        .sum();
    let documents_found = verification["orders"]["documents"].as_u64();
    if documents_found.is_some_and(|found| found != documents_answered) {
        report.violate(format!(
            "{documents_answered} documents were answered and {documents_found:?} are there"
        ));
    }
    let summary = Summary {
        passed: report.violations.is_empty(),
        engine: engine.name(),
        seconds: options.seconds,
        clients: options.clients,
        members: world.members.len(),
        kills: options.kills,
        answered: report.answered,
        refused: report.refused,
        sent_again: report.sent_again,
        balances_checked,
        replays_checked,
        documents_answered,
        documents_found,
        ledger_is_clean: verification["clean"] == true,
        violations: report.violations.len(),
        first_violations: report.violations.into_iter().take(SHOWN_VIOLATIONS).collect(),
    };
    println!("{}", serde_json::to_string_pretty(&summary)?);
    if surroundings.keep {
        eprintln!("kept: {}", database.url);
    } else {
        database.remove().await?;
    }
    Ok(summary.passed)
}

/// Kills the server and starts it again, evenly over the time.
async fn kill_again_and_again(
    installation: &Installation,
    mut server: Server,
    length: Duration,
    kills: u64,
) -> anyhow::Result<Server> {
    let kills = u32::try_from(kills)?;
    let pause = length / (kills + 1);
    for kill in 1..=kills {
        tokio::time::sleep(pause).await;
        server.kill().await?;
        server = installation
            .start()
            .await
            .with_context(|| format!("after kill {kill}"))?;
        eprintln!(
            "killed and started again ({kill} of {kills}): it answered after {:?}",
            server.until_answer
        );
    }
    tokio::time::sleep(pause).await;
    Ok(server)
}

/// What each member has must be what they started with and what the answers say.
async fn check_balances(world: &Arc<World>, report: &mut Report, opened: i64) -> anyhow::Result<usize> {
    let mut expected = vec![opened; world.members.len()];
    for answered in &report.journal {
        expected[answered.member] += answered.change;
    }
    let expected = Arc::new(expected);
    let mut lanes = JoinSet::new();
    for lane in 0..CHECKING {
        let (world, expected) = (Arc::clone(world), Arc::clone(&expected));
        lanes.spawn(async move {
            let mut connection = Connection::open(world.address).await?;
            let mut violations = Vec::new();
            for at in (lane..expected.len()).step_by(CHECKING) {
                let member = &world.members[at];
                let request = Request::new("GET", format!("/api/open/v1/members/{member}/points"));
                let balance = ask(&mut connection, &request, &world.credentials).await?;
                let parts = ["available", "pending", "held"].map(|part| balance[part].as_i64());
                let found = parts.into_iter().sum::<Option<i64>>();
                if found != Some(expected[at]) {
                    violations.push(format!(
                        "{member} has {balance}; the answers add up to {}",
                        expected[at]
                    ));
                }
            }
            anyhow::Ok(violations)
        });
    }
    while let Some(lane) = lanes.join_next().await {
        for violation in lane?? {
            report.violate(violation);
        }
    }
    Ok(expected.len())
}

/// Sends answered requests once more: each must be answered as it was, and say so.
async fn check_replays(world: &World, report: &mut Report) -> anyhow::Result<usize> {
    let mut chance = Chance::new(world.seed);
    let mut connection = Connection::open(world.address).await?;
    let mut violations = Vec::new();
    let sample = SAMPLE.min(report.journal.len());
    for _ in 0..sample {
        let answered: &Answered = &report.journal[chance.index(report.journal.len())];
        let answer = connection.exchange(&answered.request, &world.credentials).await?;
        if let Err(violation) = answered.compare_replay(answer.status, &answer.json()) {
            violations.push(violation);
        }
    }
    for violation in violations {
        report.violate(violation);
    }
    Ok(sample)
}

/// Runs `huika verify`. A ledger that does not verify is a violation.
async fn verify(installation: &Installation, report: &mut Report) -> serde_json::Value {
    match installation.run(&["verify", "--json"]).await {
        Ok(printed) => serde_json::from_str(&printed).unwrap_or_default(),
        Err(error) => {
            report.violate(format!("the ledger does not verify: {error}"));
            serde_json::Value::Null
        }
    }
}
