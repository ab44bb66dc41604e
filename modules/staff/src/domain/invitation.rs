//! Invitations: a token of 256 bits, used once within 72 hours, of which only the hash is kept.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use huika_core::{Id, IdKind, Rng, Timestamp};

use super::role::Access;

/// How long an invitation can be accepted.
const LIFETIME_MS: i64 = 72 * 60 * 60 * 1_000;
/// Stands before every token, so that scanners for leaked secrets know it.
const PREFIX: &str = "hiv_";
const TOKEN_BYTES: usize = 32;

/// The kind of an invitation's id.
#[derive(Debug)]
pub enum InvitationKind {}
impl IdKind for InvitationKind {
    const PREFIX: &'static str = "inv";
}
/// The id of an invitation.
pub type InvitationId = Id<InvitationKind>;

/// Where an invitation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvitationState {
    /// It can be accepted.
    Open,
    /// Somebody became an operator by it.
    Accepted,
    /// It was taken back, or replaced by another one for the same address.
    Revoked,
    /// Nobody accepted it in time.
    Expired,
}

/// An invitation without its token.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The id.
    pub id: InvitationId,
    /// The address of whoever is invited, in lower case.
    pub email: String,
    /// The name that others will see.
    pub display_name: String,
    /// What the new operator may do.
    pub access: Access,
    /// Who invited.
    pub invited_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Until when it can be accepted.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub state: InvitationState,
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation")
            .field("id", &self.id)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Makes a token.
pub(crate) fn new_token(rng: &Rng) -> String {
    format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&rng.bytes::<TOKEN_BYTES>()))
}

/// When an invitation ends that is made now.
pub(crate) fn expiry(now: Timestamp) -> Timestamp {
    now.plus_millis(LIFETIME_MS)
}
