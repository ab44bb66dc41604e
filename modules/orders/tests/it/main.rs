//! The module on every engine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod bulk;
mod claims;
mod file;
mod http;
mod import_online_retail;
mod import_own;
mod import_resumed;
mod purchases;
mod random;
mod real_history;
mod refunds;
mod replays;
mod shop;
mod unlinked;
mod verify;
