//! Huika in one binary: the command line, the configuration, the composition of the modules, the server.
//!
//! Nothing depends on this crate. It holds no business rule and no SQL of a module; it reads the environment, in
//! [`config`] and nowhere else, and makes the one clock and the one source of chance that everything below gets.

mod checks;
pub mod cli;
mod commands;
pub mod compose;
pub mod config;
mod error;
mod files;
pub mod generated;
mod key_file;
pub mod operations;
mod output;
mod owner_login;
mod pages;
mod probes;
mod server;
mod signals;
mod telemetry;

pub use error::{CommandError, Failure};
pub use probes::Probes;
pub use telemetry::Metrics;
