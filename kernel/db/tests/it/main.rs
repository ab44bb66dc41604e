//! What the kernel promises about its database, on every engine.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod approval;
mod audit;
mod audit_seal;
mod backup;
mod batch;
mod bulk;
mod dropped;
mod jobs;
mod migrate;
mod node;
mod outage;
mod outbox;
mod schedule;
mod support;
mod transactions;
