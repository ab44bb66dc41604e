//! HTTP: who sent a request, and the routes of the console.

mod admin;
mod authenticator;

pub use admin::{public_router, router};
