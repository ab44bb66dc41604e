//! The whole program: the binary as an operator runs it, and the parts as they are put together.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cli;
mod config;
mod dependencies;
mod generated;
mod import;
mod permissions;
mod privacy;
mod process;
mod serve;
