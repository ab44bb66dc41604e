//! The module on every engine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod card_codes;
mod consents;
mod http;
mod leaving;
mod lookups;
mod merge;
mod personal_data;
mod profile;
mod registration;
mod shop;
mod states;
