//! How a process is told to stop.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::CommandError;

/// SIGTERM and SIGINT. Installed before the process says that it is there, so that a signal which follows at once
/// stops it in order too.
pub(crate) struct StopSignals {
    #[cfg(unix)]
    terminate: Signal,
    #[cfg(unix)]
    interrupt: Signal,
}

#[cfg(unix)]
impl StopSignals {
    /// From now on signals are kept until somebody waits for them.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn install() -> Result<Self, CommandError> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(refused)?,
            interrupt: signal(SignalKind::interrupt()).map_err(refused)?,
        })
    }

    /// Waits for one. A second one ends the process at once, for whoever does not want to wait.
    pub(crate) async fn received(mut self) {
        self.next().await;
        tracing::info!("told to stop; a second signal stops at once");
        tokio::spawn(async move {
            self.next().await;
            std::process::exit(1);
        });
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl StopSignals {
    /// Nothing needs to be installed.
    pub(crate) fn install() -> Result<Self, CommandError> {
        Ok(Self {})
    }

    /// Waits for Ctrl-C. Where it cannot be waited for, the process runs until it is ended from outside.
    pub(crate) async fn received(self) {
        if tokio::signal::ctrl_c().await.map_err(refused).is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn refused(error: io::Error) -> CommandError {
    CommandError::SystemRefused {
        reason: error.to_string(),
    }
}
