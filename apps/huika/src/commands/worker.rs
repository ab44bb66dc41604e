//! `huika worker`: background jobs without HTTP.

use std::process::ExitCode;

use tokio::sync::watch;

use super::{Context, serve};
use crate::{compose::Migrate, error::Failure, signals::StopSignals};

pub(crate) async fn run(context: Context) -> Result<ExitCode, Failure> {
    serve::refuse_unsafe(&context)?;
    let signals = StopSignals::install()?;
    let (place, services) = context.open(Migrate::Refuse).await?;
    let parallel = context.config.worker.parallel;
    tracing::info!(node = place.lease.node(), parallel, "the worker runs");
    place
        .during(async {
            let (stop, stopped) = watch::channel(false);
            let worker = tokio::spawn(services.worker(parallel).run(stopped));
            signals.received().await;
            // Nobody listens any more only if the worker has ended already.
            let _ = stop.send(true);
            let _ = worker.await;
            Ok(())
        })
        .await?;
    tracing::info!("the worker has stopped");
    Ok(ExitCode::SUCCESS)
}
