//! Members: who they are, how they are found, and how they stand with the shop.
//!
//! A member is one natural person with one card. Every name of a person (phone, card number, customer
//! number of another system) belongs to one member at most: the name table decides, also between parallel
//! registrations. Personal data is encrypted with a key of the member's own and shown masked; whoever
//! destroys the key erases the member, while the member's entries in other modules stay.
//!
//! This module knows nothing of points, tiers or purchases; those modules ask it who a name belongs to and
//! what a member's state allows.

use std::sync::Arc;

use huika_core::{IdGenerator, Keyring};
use huika_db::{Db, Migration};

mod app;
mod domain;
mod error;
mod events;
pub mod http;
pub mod permission;
mod store;

pub use app::Registration;
pub use domain::{
    card::CardNumber,
    identity::{Code, ExternalIdentity, Identity},
    member::{MemberView, Nickname},
    phone::PhoneNumber,
    reason::Reason,
    registration::{RegisterMember, Registered},
    state::{MemberAction, MemberState, UnknownState},
};
pub use error::MembersError;
pub use events::{IdentityJoined, MemberRegistered};
pub use permission::PERMISSIONS;

/// The service of this module. Clones share the database.
#[derive(Clone)]
pub struct Members {
    db: Db,
    ids: IdGenerator,
    keyring: Arc<Keyring>,
}

impl Members {
    /// Joins what the use cases need.
    pub fn new(db: Db, ids: IdGenerator, keyring: Arc<Keyring>) -> Self {
        Self { db, ids, keyring }
    }
}

/// This module's migrations.
pub fn migrations() -> Vec<Migration> {
    vec![Migration {
        module: "members",
        number: 1,
        name: "members",
        sql: include_str!("../migrations/0001_members.sql"),
    }]
}
