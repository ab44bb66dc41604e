//! The module on every engine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod http;
mod record;
mod shop;
