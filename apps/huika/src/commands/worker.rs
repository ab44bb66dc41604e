//! `huika worker`: background jobs without the API.

use std::process::ExitCode;

use huika_core::Bilingual;
use serde_json::json;
use tokio::sync::watch;

use super::{Context, serve};
use crate::{
    compose::Migrate,
    error::Failure,
    probes::{self, Probes},
    server::Server,
    signals::StopSignals,
};

pub(crate) async fn run(context: Context) -> Result<ExitCode, Failure> {
    serve::refuse_unsafe(&context)?;
    let server = context.config.worker.listen.map(Server::bind).transpose()?;
    let signals = StopSignals::install()?;
    let metrics = serve::start_metrics(&context.clock)?;
    let (place, services) = context.open(Migrate::Refuse).await?;
    let node = place.lease.node();
    let parallel = context.config.worker.parallel;
    let address = server.as_ref().map(Server::address);
    tracing::info!(node, parallel, address = ?address, "the worker runs");
    if context.output.json {
        let base_url = address.map(|address| format!("http://{address}"));
        let fields = json!({ "node": node, "parallel": parallel, "base_url": base_url });
        context.output.result(&fields, &Bilingual::default());
    }
    let probes = Probes::new(place.db.clone(), metrics.clone());
    let options = serve::http_options(&context.config, &place);
    let ended = place
        .during(async {
            let (stop, stopped) = watch::channel(false);
            let upkeep = tokio::spawn(metrics.keep_up(context.clock.clone()));
            let worker = tokio::spawn(services.worker(parallel).run(stopped));
            let until_told = async {
                signals.received().await;
                probes.stop();
                // Nobody listens any more only if the worker has ended already.
                let _ = stop.send(true);
            };
            match server {
                Some(server) => {
                    let router = huika_http::finish(probes::router(probes.clone()), options);
                    server.run(router, &context.clock, until_told).await;
                }
                None => until_told.await,
            }
            let _ = worker.await;
            upkeep.abort();
            Ok(())
        })
        .await;
    tracing::info!("the worker has stopped");
    Ok(context.output.ended(ended))
}
