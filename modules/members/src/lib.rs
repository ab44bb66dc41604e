//! Members: who they are, how they are found, and how they stand with the shop.
//!
//! A member is one natural person with one card. Every name of a person (phone, card number, customer
//! number of another system) belongs to one member at most: the name table decides, also between parallel
//! registrations. Personal data is encrypted with a key of the member's own and shown masked; whoever
//! destroys the key erases the member, while the member's entries in other modules stay.
//!
//! This module knows nothing of points, tiers or purchases; those modules ask it who a name belongs to and
//! what a member's state allows.

use std::sync::{Arc, OnceLock};

use huika_core::{IdGenerator, Keyring, Timestamp};
use huika_db::{Db, Migration};

mod app;
mod domain;
mod error;
mod events;
pub mod http;
pub mod jobs;
mod parts;
pub mod permission;
mod store;

pub use app::{
    Agreement, CardCode, CardKey, ChangeProfile, MergePreview, NewAgreement, ProfileView, Registration,
    Search,
};
pub use domain::{
    card::CardNumber,
    consent::{
        AgreementVersion, Attribution, ConsentDecision, ConsentId, ConsentKind, ConsentRecord, Enrolment,
        Purpose, UnknownPurpose,
    },
    identity::{Code, ExternalIdentity, Identity},
    member::{MemberView, Nickname, Standing},
    phone::PhoneNumber,
    profile::{BirthDay, PersonalField, PersonalValue, UnknownField},
    reason::Reason,
    registration::{RegisterMember, Registered},
    state::{MemberAction, MemberState, UnknownState},
};
pub use error::MembersError;
pub use events::{
    BirthdayChanged, ConsentDecided, IdentityJoined, MemberErased, MemberRegistered, MembersMerged,
    MembersUnmerged, ProfileCompleted,
};
pub use parts::{MemberPart, Merge, MergeEffect, MergeId, MergeKind, PartError};
pub use permission::PERMISSIONS;

/// How far the work under one set of keys has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The generations of keys.
    pub keys: String,
    /// Members who are done.
    pub members_done: i64,
    /// When it began.
    pub started_at: Timestamp,
    /// When everybody was done. None while there are members left.
    pub finished_at: Option<Timestamp>,
}

/// The service of this module. Clones share the database.
#[derive(Clone)]
pub struct Members {
    db: Db,
    ids: IdGenerator,
    keyring: Arc<Keyring>,
    parts: Arc<OnceLock<Vec<Arc<dyn MemberPart>>>>,
}

impl Members {
    /// Joins what the use cases need.
    pub fn new(db: Db, ids: IdGenerator, keyring: Arc<Keyring>) -> Self {
        Self {
            db,
            ids,
            keyring,
            parts: Arc::default(),
        }
    }

    /// The moment by which input is judged.
    pub(crate) fn now(&self) -> Timestamp {
        self.db.clock().now()
    }
}

/// This module's migrations.
pub fn migrations() -> Vec<Migration> {
    let migration = |number, name, sql| Migration {
        module: "members",
        number,
        name,
        sql,
    };
    vec![
        migration(1, "members", include_str!("../migrations/0001_members.sql")),
        migration(2, "personal", include_str!("../migrations/0002_personal.sql")),
        migration(3, "merge", include_str!("../migrations/0003_merge.sql")),
        migration(4, "leaving", include_str!("../migrations/0004_leaving.sql")),
        migration(5, "consents", include_str!("../migrations/0005_consents.sql")),
        migration(6, "codes", include_str!("../migrations/0006_codes.sql")),
    ]
}
