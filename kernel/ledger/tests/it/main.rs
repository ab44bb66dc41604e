//! The ledger on every engine.

mod counter;
mod crash;
mod lots;
mod model;
mod plans;
mod races;
mod verify;
