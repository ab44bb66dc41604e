//! Staff on every engine, mostly through its HTTP routes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod api_clients;
mod openapi;
mod owner;
mod rig;
mod secrets;
mod sessions;
mod signatures;
