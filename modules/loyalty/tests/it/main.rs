//! The module on every engine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod evaluations;
mod http;
mod points;
mod programs;
mod races;
mod shop;
mod standing;
mod statements;
mod tiers;
mod time;
