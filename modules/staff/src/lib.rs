//! Who works with Huika, and how they prove it: operators who log in, and API clients that sign their requests.
//!
//! - An operator has a password (Argon2id) and sessions. A session's token is shown once; only its hash is stored.
//! - An API client has a secret, shown once and stored sealed, and the permissions it was given. Each of its
//!   requests carries a signature over everything that is sent, and a nonce that is taken once.
//! - The first owner is made at first run, exactly once; nobody has a password that Huika's source knows.
//! - Wrong address and wrong password cannot be told apart, and guessing is slowed down by the database.
//!
//! [`Staff`] is the service. It implements [`huika_http::Authenticator`]: on the hot path it answers from memory,
//! at most ten seconds behind the database.

mod app;
mod cache;
mod domain;
pub mod http;
pub mod jobs;
mod nonces;
mod store;

use std::{collections::BTreeMap, sync::Arc};

use huika_core::{Clock, IdGenerator, Keyring, Permission, Rng};
use huika_db::{Db, Migration};
use tokio::sync::Semaphore;

pub use crate::{
    app::{
        ensure_owner::FirstOwner,
        invitations::Invited,
        log_in::{LogIn, LoggedIn},
        second_factor::RecoveryCodes,
    },
    domain::{
        api_client::{ApiClient, ApiClientId, ApiClientKind, ApiClientState, NewApiClient},
        error::{LoginThrottled, StaffError},
        invitation::{Invitation, InvitationId, InvitationKind, InvitationState},
        operator::{Operator, OperatorId, OperatorKind},
        permissions::{
            API_CLIENTS_MANAGE, API_CLIENTS_READ, OPERATORS_MANAGE, OPERATORS_READ, PERMISSIONS,
            ROLES_MANAGE, STORES_MANAGE, STORES_READ,
        },
        role::{Access, Role, RoleId, RoleKind},
        session::{InvalidSessionId, SessionId, SessionInfo},
        shop::{InvalidStoreCode, Store, StoreCode},
        signature::SignedText,
        totp::Enrolment,
    },
    nonces::NonceStore,
};
use crate::{
    cache::Cache,
    domain::{
        api_client::SigningClient,
        session::{Session, TokenHash},
    },
};

/// How many passwords are hashed at once: each takes 19 MiB and a core for tens of milliseconds, and anybody may
/// ask for it.
const HASHINGS_AT_ONCE: usize = 2;

/// This module's migrations.
pub fn migrations() -> Vec<Migration> {
    let file = |number, name, sql| Migration {
        module: "staff",
        number,
        name,
        sql,
    };
    vec![
        file(1, "staff", include_str!("../migrations/0001_staff.sql")),
        file(2, "store", include_str!("../migrations/0002_store.sql")),
        file(3, "role", include_str!("../migrations/0003_role.sql")),
        file(4, "invitation", include_str!("../migrations/0004_invitation.sql")),
        file(
            5,
            "second_factor",
            include_str!("../migrations/0005_second_factor.sql"),
        ),
        file(
            6,
            "api_client_rotation",
            include_str!("../migrations/0006_api_client_rotation.sql"),
        ),
    ]
}

/// The service of this module. Clones share everything.
#[derive(Clone)]
pub struct Staff(Arc<Parts>);

struct Parts {
    db: Db,
    ids: IdGenerator,
    keyring: Arc<Keyring>,
    /// What may be granted, by name.
    known_permissions: BTreeMap<&'static str, Permission>,
    nonces: NonceStore,
    sessions: Cache<TokenHash, Session>,
    clients: Cache<ApiClientId, SigningClient>,
    hashings: Semaphore,
}

impl Staff {
    /// Joins the service to its database. `known_permissions` are those of all modules: only they can be granted.
    pub fn new(
        db: Db,
        ids: IdGenerator,
        keyring: Arc<Keyring>,
        known_permissions: impl IntoIterator<Item = Permission>,
        nonces: NonceStore,
    ) -> Self {
        let known = known_permissions
            .into_iter()
            .map(|permission| (permission.name, permission));
        Self(Arc::new(Parts {
            db,
            ids,
            keyring,
            known_permissions: known.collect(),
            nonces,
            sessions: Cache::default(),
            clients: Cache::default(),
            hashings: Semaphore::new(HASHINGS_AT_ONCE),
        }))
    }

    fn db(&self) -> &Db {
        &self.0.db
    }

    fn clock(&self) -> &Clock {
        self.0.db.clock()
    }

    fn rng(&self) -> &Rng {
        self.0.db.rng()
    }
}
