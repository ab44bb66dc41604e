//! What machines ask: is the process alive, is it ready, how is it doing, what does its API look like.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use huika_db::{Db, Migration, jobs::measure_jobs, pending_migrations};
use serde::Serialize;
use utoipa::openapi::OpenApi;

use crate::{compose, telemetry::Metrics};

/// How long the database may take to answer before the process counts as not ready.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What the probes look at.
#[derive(Clone)]
pub struct Probes {
    db: Db,
    known: Arc<Vec<Migration>>,
    metrics: Metrics,
    stopping: Arc<AtomicBool>,
}

impl Probes {
    /// Probes of a process that holds its node number: it ends at once when it loses that.
    pub fn new(db: Db, metrics: Metrics) -> Self {
        Self {
            db,
            known: Arc::new(compose::migrations()),
            metrics,
            stopping: Arc::default(),
        }
    }

    /// From now on the process is not ready: nothing new should be sent to it.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    async fn readiness(&self) -> Readiness {
        let asked = tokio::time::timeout(ANSWER_WITHIN, pending_migrations(&self.db, &self.known)).await;
        let (database, migrations) = match asked {
            Ok(Ok(pending)) => (true, pending.is_empty()),
            Ok(Err(huika_db::DbError::Setup(_))) => (true, false),
            _ => (false, false),
        };
        let running = !self.stopping.load(Ordering::Relaxed);
        Readiness {
            ready: database && migrations && running,
            database,
            migrations,
            running,
        }
    }
}

/// Why a process is ready or not.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    /// The database answers.
    database: bool,
    /// Its tables are those of this version.
    migrations: bool,
    /// The process has not been told to stop.
    running: bool,
}

/// The routes of the probes.
pub(crate) fn router(probes: Probes) -> Router {
    Router::new()
        .route(
            "/healthz",
            get(async || Json(serde_json::json!({ "alive": true }))),
        )
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(probes)
}

/// The description of the API.
pub(crate) fn description(description: &OpenApi) -> Router {
    // Written once: it does not change while the process runs.
    let description: Arc<str> = description.to_json().unwrap_or_default().into();
    Router::new().route("/openapi.json", get(async move || json(description.to_string())))
}

async fn ready(State(probes): State<Probes>) -> Response {
    let readiness = probes.readiness().await;
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness)).into_response()
}

async fn metrics(State(probes): State<Probes>) -> Response {
    // A database that does not answer leaves the last values: `/readyz` tells of that.
    let measured = tokio::time::timeout(ANSWER_WITHIN, measure_jobs(&probes.db)).await;
    if !matches!(measured, Ok(Ok(_))) {
        tracing::debug!("the job queue could not be measured");
    }
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        probes.metrics.render(),
    )
        .into_response()
}

fn json(text: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}
