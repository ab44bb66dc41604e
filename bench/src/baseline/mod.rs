//! What Huika is compared with: a server that does the same writes on the same tables, one transaction per
//! request, without signatures, rights, rules or batches. Everything that it leaves out is in its favour.
//!
//! It has durability as Huika has it, prepared statements, READ COMMITTED on MySQL, and as many connections as it is
//! told: [`pools`] says which numbers are measured (SQLite: one writer, `BEGIN IMMEDIATE`).

mod fill;
mod transactions;

use std::{net::SocketAddr, process::Stdio, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use huika_core::{Clock, IdGenerator, MemberId};
use huika_db::Engine;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
};

pub(crate) use fill::{STRIDE, fill, member_ids};
pub(crate) use transactions::Pool;

use crate::database::Setting;

const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Said on standard output when the server listens.
const LISTENING: &str = "listening on ";
const BACKLOG: u32 = 1024;

/// As many connections as Huika has.
const AS_HUIKA: u32 = 16;
/// Many: more transactions share a flush, and more of them wait for one another.
const MANY: u32 = 64;

/// The sizes of the pool that are measured under so many clients. A larger pool than there are clients is the same.
pub(crate) fn pools(engine: Engine, clients: usize) -> &'static [u32] {
    match engine {
        Engine::Sqlite => &[1],
        _ if clients > AS_HUIKA as usize => &[AS_HUIKA, MANY],
        _ => &[AS_HUIKA],
    }
}

/// A command on one member's points.
#[derive(Debug)]
pub(crate) struct Wish {
    member_id: i64,
    points: i64,
    key: String,
    reason: String,
}

/// What became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    posting_id: i64,
    replayed: bool,
    available: i64,
    pending: i64,
    held: i64,
}

/// Why nothing became of it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The member is not known or has too little.
    Refused,
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PointsBody {
    points: i64,
    reason: String,
}

struct Shared {
    pool: Pool,
    ids: IdGenerator,
}

type Answer = Result<(StatusCode, Json<Outcome>), (StatusCode, String)>;

/// Serves until it is killed.
///
/// # Errors
/// When the database or the address is not to be had.
pub(crate) async fn serve(database_url: &str, pool: u32) -> anyhow::Result<()> {
    let pool = Pool::connect(database_url, pool).await?;
    let shared = Arc::new(Shared {
        pool,
        ids: IdGenerator::new(Clock::system(), 0),
    });
    let router = Router::new()
        .route("/api/open/v1/members/{member_id}/points/earnings", post(earn))
        .route(
            "/api/open/v1/members/{member_id}/points/redemptions",
            post(redeem),
        )
        .route("/durability", get(durability))
        .with_state(shared);
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let listener = socket.listen(BACKLOG)?;
    println!("{LISTENING}{}", listener.local_addr()?);
    axum::serve(NoDelay(listener), router).await?;
    Ok(())
}

/// Answers are small: waiting to send more with them would cost the baseline what it does not cost Huika.
struct NoDelay(TcpListener);

impl axum::serve::Listener for NoDelay {
    type Io = tokio::net::TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = axum::serve::Listener::accept(&mut self.0).await;
        // Without it the connection works too, only later.
        let _ = stream.set_nodelay(true);
        (stream, address)
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

async fn earn(
    State(shared): State<Arc<Shared>>,
    Path(member_id): Path<MemberId>,
    headers: HeaderMap,
    Json(body): Json<PointsBody>,
) -> Answer {
    let wish = wish(member_id, &headers, body)?;
    answer(shared.pool.earn(&shared.ids, &wish).await)
}

async fn redeem(
    State(shared): State<Arc<Shared>>,
    Path(member_id): Path<MemberId>,
    headers: HeaderMap,
    Json(body): Json<PointsBody>,
) -> Answer {
    let wish = wish(member_id, &headers, body)?;
    answer(shared.pool.redeem(&shared.ids, &wish).await)
}

async fn durability(State(shared): State<Arc<Shared>>) -> Result<Json<Vec<Setting>>, (StatusCode, String)> {
    let settings = shared.pool.durability().await;
    settings
        .map(Json)
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

fn wish(member_id: MemberId, headers: &HeaderMap, body: PointsBody) -> Result<Wish, (StatusCode, String)> {
    let key = headers
        .get("Idempotency-Key")
        .and_then(|value| value.to_str().ok());
    let key = key
        .ok_or((StatusCode::BAD_REQUEST, "no idempotency key".to_owned()))?
        .to_owned();
    Ok(Wish {
        member_id: member_id.as_i64(),
        points: body.points,
        key,
        reason: body.reason,
    })
}

fn answer(result: Result<Outcome, Failure>) -> Answer {
    match result {
        Ok(outcome) => Ok((StatusCode::CREATED, Json(outcome))),
        Err(Failure::Refused) => Err((StatusCode::CONFLICT, "refused".to_owned())),
        Err(Failure::Database(error)) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

/// The baseline as a child of this program, so that it has a process of its own as Huika has.
pub(crate) struct BaselineServer {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl BaselineServer {
    /// Starts this program once more as the baseline.
    ///
    /// # Errors
    /// When it does not say where it listens.
    pub(crate) async fn start(engine: Engine, database_url: &str, pool: u32) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["baseline-server", "--database-url", database_url])
            .args(["--pool", &pool.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("the baseline cannot be started")?;
        let stdout = child.stdout.take().context("the baseline has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(START_TIMEOUT, lines.next_line())
            .await??
            .unwrap_or_default();
        let Some(address) = line.strip_prefix(LISTENING) else {
            bail!("the baseline on {} does not start: {line}", engine.name());
        };
        Ok(Self {
            address: address.parse()?,
            child,
        })
    }

    pub(crate) fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it. It holds nothing that a stop would save.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}
