//! The ledger on every engine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod counter;
mod crash;
mod expiry;
mod lots;
mod model;
mod plans;
mod races;
mod verify;
