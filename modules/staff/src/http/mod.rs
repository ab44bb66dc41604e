//! HTTP: who sent a request, and the routes of the console.

mod admin;
mod approvals;
mod authenticator;
mod bodies;
mod people;
mod shops;

pub use admin::{public_router, router};
pub use approvals::approvals_router;
