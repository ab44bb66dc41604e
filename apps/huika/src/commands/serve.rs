//! `huika serve`: start, serve until told to stop, stop in order.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use huika_core::{Bilingual, Clock};
use huika_http::{BodyLimit, HttpOptions};
use serde_json::json;
use tokio::sync::watch;

use super::{Context, ensure_program};
use crate::{
    checks::{self, Level},
    cli::ServeArgs,
    compose::{Migrate, Services, Workplace},
    config::{Config, Environment},
    error::{CommandError, Failure},
    output::print_aside,
    owner_login::OwnerLogin,
    probes::Probes,
    server::Server,
    signals::StopSignals,
    telemetry::Metrics,
};

pub(crate) async fn run(context: Context, args: ServeArgs) -> Result<ExitCode, Failure> {
    let stopwatch = context.clock.stopwatch();
    refuse_unsafe(&context)?;
    let server = Server::bind(context.config.server.listen)?;
    let signals = StopSignals::install()?;
    let metrics = start_metrics(&context.clock)?;
    let how = if args.migrate {
        Migrate::Apply
    } else {
        context.usual_migrate()?
    };
    let (place, services) = context.open(how).await?;
    let owner_file = first_start(&context, &services).await?;

    let base_url = format!("http://{}", server.address());
    let milliseconds = stopwatch.elapsed().as_millis() as u64;
    tracing::info!(address = %server.address(), engine = place.db.engine().name(), node = place.lease.node(), milliseconds, "the server listens");
    if place.lease.node() > 0 && context.config.redis.url.is_none() {
        tracing::warn!(
            node = place.lease.node(),
            "another process works on this database, or was killed within the last minute: several servers need redis.url"
        );
    }
    if context.output.json {
        let fields = json!({ "base_url": base_url, "owner_login_file": owner_file });
        context.output.result(&fields, &Bilingual::default());
    }
    let ended = serve(place, services, server, metrics, signals, &context.config).await;
    tracing::info!("the server has stopped");
    Ok(context.output.ended(ended))
}

/// Refuses what is unsafe for production, with the words of `huika check`.
pub(crate) fn refuse_unsafe(context: &Context) -> Result<(), Failure> {
    let verdicts = checks::of_settings(&context.config);
    let is_unsafe = |verdict: &&checks::Verdict| verdict.level == Level::Unsafe;
    if !context.output.json {
        for verdict in verdicts.iter().filter(is_unsafe) {
            print_aside(&verdict.line(context.output.language));
        }
    }
    let codes: Vec<&str> = verdicts
        .iter()
        .filter(is_unsafe)
        .map(|verdict| verdict.code)
        .collect();
    if codes.is_empty() || context.config.environment != Environment::Production {
        return Ok(());
    }
    Err(CommandError::ConfigUnsafe {
        codes: codes.join(", "),
    }
    .into())
}

/// Begins to collect metrics for the process.
pub(crate) fn start_metrics(clock: &Clock) -> Result<Metrics, Failure> {
    let refused = |error: metrics_exporter_prometheus::BuildError| CommandError::SystemRefused {
        reason: error.to_string(),
    };
    Ok(Metrics::start(clock).map_err(refused)?)
}

/// What every answer of this process is made with.
pub(crate) fn http_options(config: &Config, place: &Workplace) -> HttpOptions {
    HttpOptions {
        clock: place.db.clock().clone(),
        rng: place.db.rng().clone(),
        timeout: Duration::from_secs(config.server.request_timeout_seconds),
        proxies: config.server.proxies(),
    }
}

/// Serves until the process is told to stop. Then nothing new is accepted, what runs is finished, the worker lets
/// its jobs finish, and the node number is given back.
pub(crate) async fn serve(
    place: Workplace,
    services: Services,
    server: Server,
    metrics: Metrics,
    signals: StopSignals,
    config: &Config,
) -> Result<(), Failure> {
    let clock = place.db.clock().clone();
    let probes = Probes::new(place.db.clone(), metrics.clone());
    let limit = BodyLimit::bytes(config.server.max_body_bytes);
    let router = services.router(probes.clone(), limit, http_options(config, &place));
    let worker = config
        .worker
        .enabled
        .then(|| services.worker(config.worker.parallel));
    drop(services);

    place
        .during(async {
            let (stop, stopped) = watch::channel(false);
            let upkeep = tokio::spawn(metrics.keep_up(clock.clone()));
            let worker = worker.map(|worker| tokio::spawn(worker.run(stopped.clone())));
            let until_told = async {
                signals.received().await;
                probes.stop();
                // Without a worker nobody listens.
                let _ = stop.send(true);
            };
            server.run(router, &clock, until_told).await;
            if let Some(worker) = worker {
                // A worker that panicked has nothing left to finish.
                let _ = worker.await;
            }
            upkeep.abort();
            Ok(())
        })
        .await
}

/// Makes what the first start must make: the programme that everybody begins with, and the owner. Tells where the
/// owner's log-in was written to, if it was.
async fn first_start(context: &Context, services: &Services) -> Result<Option<PathBuf>, Failure> {
    let setup = &context.config.setup;
    ensure_program(&services.loyalty, setup.currency, &setup.time_zone).await?;
    // Asked before anything is written, since this runs at every start.
    let staff = &services.staff;
    if staff.first_owner().await?.is_some() {
        return Ok(None);
    }
    let login = OwnerLogin::prepare(context, &setup.owner_email, staff.new_password())?;
    match staff
        .ensure_owner(&setup.owner_email, Some(login.password().to_owned()))
        .await
    {
        Ok(Some(_)) => Ok(login.hand_over(context)),
        // Another node made the owner meanwhile.
        Ok(None) => {
            login.withdraw();
            Ok(None)
        }
        Err(error) => {
            login.withdraw();
            Err(error.into())
        }
    }
}
