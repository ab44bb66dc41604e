//! Staff on every engine, mostly through its HTTP routes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod api_clients;
mod approvals;
mod invitations;
mod openapi;
mod operators;
mod owner;
mod rig;
mod roles;
mod rotation;
mod second_factor;
mod secrets;
mod sessions;
mod signatures;
mod stores;
