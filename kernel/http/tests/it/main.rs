//! The HTTP kernel as a caller sees it, on a small router in process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod app;
mod authentication;
mod input;
mod openapi;
mod shell;
