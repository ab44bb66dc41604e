//! Sessions of operators: an opaque token of 256 bits, of which only the hash is kept.

use std::{fmt, str::FromStr};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use huika_core::{Actor, Rng, Timestamp};
use sha2::{Digest, Sha256};

/// How long a session lasts without use.
const LIFETIME_MS: i64 = 12 * 60 * 60 * 1_000;
/// A session that is used is prolonged at most this often, so that reading does not mean writing.
const PROLONG_EVERY_MS: i64 = 60 * 1_000;
/// Stands before every token, so that scanners for leaked secrets know it.
const PREFIX: &str = "hst_";
const TOKEN_BYTES: usize = 32;

/// The SHA-256 of a token: what is stored and looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of what was sent as a token.
    pub(crate) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// The form in the database.
    pub(crate) fn to_hex(self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// Out of the form in the database.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

/// By what people name a session: the first half of the hash, which opens nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionId(String);

const SESSION_PREFIX: &str = "ses_";
const SESSION_DIGITS: usize = 32;

impl SessionId {
    pub(crate) fn of(hash: TokenHash) -> Self {
        Self(format!("{SESSION_PREFIX}{}", &hash.to_hex()[..SESSION_DIGITS]))
    }

    /// The name of the session that a token belongs to.
    pub fn of_token(token: &str) -> Self {
        Self::of(TokenHash::of(token))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is no name of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an id that begins with ses_")]
pub struct InvalidSessionId;

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, InvalidSessionId> {
        let digits = text.strip_prefix(SESSION_PREFIX).ok_or(InvalidSessionId)?;
        let proper = digits.len() == SESSION_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        proper.then(|| Self(text.to_owned())).ok_or(InvalidSessionId)
    }
}

/// A session as its operator sees it in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    pub(crate) token_hash: TokenHash,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends if it is not used.
    pub expires_at: Timestamp,
}

impl SessionInfo {
    /// Its name.
    pub fn id(&self) -> SessionId {
        SessionId::of(self.token_hash)
    }
}

/// Makes a token.
pub(crate) fn new_token(rng: &Rng) -> String {
    format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&rng.bytes::<TOKEN_BYTES>()))
}

/// When a session ends that is made or used now.
pub(crate) fn expiry(now: Timestamp) -> Timestamp {
    now.plus_millis(LIFETIME_MS)
}

/// A session that was found and not revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) actor: Actor,
    pub(crate) expires_at: Timestamp,
}

impl Session {
    /// Whether it may be used now.
    pub(crate) fn is_valid(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// The end to set because it is used now; absent while the last prolongation is recent.
    pub(crate) fn prolonged(&self, now: Timestamp) -> Option<Timestamp> {
        let end = expiry(now);
        (end.millis_since(self.expires_at) >= PROLONG_EVERY_MS).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lives_twelve_hours_and_is_prolonged_at_most_once_a_minute() {
        let now = Timestamp::from_millis(1_000_000);
        let session = Session {
            actor: Actor::system("test"),
            expires_at: expiry(now),
        };
        assert!(session.is_valid(now.plus_millis(LIFETIME_MS - 1)));
        assert!(!session.is_valid(now.plus_millis(LIFETIME_MS)));
        assert_eq!(session.prolonged(now.plus_millis(PROLONG_EVERY_MS - 1)), None);
        let later = now.plus_millis(PROLONG_EVERY_MS);
        assert_eq!(session.prolonged(later), Some(expiry(later)));
    }

    #[test]
    fn tokens_hold_256_bits_and_hash_to_64_digits() {
        let rng = Rng::seeded(1);
        let (a, b) = (new_token(&rng), new_token(&rng));
        assert_ne!(a, b);
        assert_eq!(a.len(), PREFIX.len() + 43);
        assert_eq!(TokenHash::of(&a).to_hex().len(), 64);
    }
}
