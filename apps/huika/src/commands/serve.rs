//! `huika serve`: start, serve until told to stop, stop in order.

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode, time::Duration};

use huika_core::{Bilingual, Clock};
use huika_http::{BodyLimit, HttpOptions};
use huika_staff::FirstOwner;
use serde_json::json;
use tokio::sync::watch;

use super::{Context, ensure_program};
use crate::{
    checks::{self, Level},
    cli::ServeArgs,
    compose::{Migrate, Services, Workplace},
    config::{Config, Environment},
    error::{CommandError, Failure},
    key_file,
    output::{Output, print_aside},
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
    serve(place, services, server, metrics, signals, &context.config).await?;
    tracing::info!("the server has stopped");
    Ok(ExitCode::SUCCESS)
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
    let (clock, rng) = (place.db.clock().clone(), place.db.rng().clone());
    let probes = Probes::new(place.db.clone(), metrics.clone());
    let limit = BodyLimit::bytes(config.server.max_body_bytes);
    let timeout = Duration::from_secs(config.server.request_timeout_seconds);
    let router = services.router(
        probes.clone(),
        limit,
        HttpOptions {
            clock: clock.clone(),
            rng,
            timeout,
        },
    );
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
    let owner = services.staff.ensure_owner(&setup.owner_email, None).await?;
    Ok(owner.and_then(|owner| show_owner(context, &owner)))
}

/// Shows the password of the first owner once. Where standard error is no terminal it may end in a log, so the
/// password goes to a file of its own. If that cannot be written it is shown after all: nobody could log in without.
fn show_owner(context: &Context, owner: &FirstOwner) -> Option<PathBuf> {
    let FirstOwner { email, password } = owner;
    let Output { json, language } = context.output;
    let shown = Bilingual::new(
        format!("\n  所有者账号（仅显示一次，请立即记录）：\n  邮箱：{email}\n  密码：{password}\n"),
        format!(
            "\n  The owner's log-in, shown this once. Write it down:\n  e-mail:   {email}\n  password: {password}\n"
        ),
    );
    if !json && std::io::stderr().is_terminal() {
        context.output.say(&shown);
        return None;
    }
    let path = context
        .config
        .security
        .key_file
        .with_file_name("owner-login.json");
    let text = json!({ "email": email, "password": password }).to_string();
    // Only a first start comes here: what lies there is of an earlier installation.
    let _ = std::fs::remove_file(&path);
    let place = path.display();
    if let Err(error) = key_file::write_private(&path, text.as_bytes()) {
        print_aside(&format!("huika: {place}: {error}"));
        print_aside(shown.in_language(language));
        return None;
    }
    context.output.say(&Bilingual::new(
        format!("所有者账号已写入 {place}，请记录后删除该文件。"),
        format!("The owner's log-in was written to {place}: note it, then remove the file."),
    ));
    Some(path)
}
