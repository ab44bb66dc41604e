//! API clients: programs with a secret and the permissions that they were given.

use data_encoding::BASE64URL_NOPAD;
use huika_core::{Actor, Id, IdKind, Rng, StoreScope, Timestamp};
use zeroize::Zeroizing;

use super::error::StaffError;

/// Stands before every secret, so that scanners for leaked secrets know it.
const SECRET_PREFIX: &str = "hsk_";
const SECRET_BYTES: usize = 32;

/// The kind of an API client's id.
#[derive(Debug)]
pub enum ApiClientKind {}
impl IdKind for ApiClientKind {
    const PREFIX: &'static str = "apc";
}
/// The id of an API client.
pub type ApiClientId = Id<ApiClientKind>;

/// A program that signs its requests: a till, a shop, an ERP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiClient {
    /// The id.
    pub id: ApiClientId,
    /// What people call it.
    pub name: String,
    /// The names of its permissions, in order.
    pub permissions: Vec<String>,
    /// In which stores they hold.
    pub stores: StoreScope,
    /// Whether it may sign.
    pub state: ApiClientState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Until when the secret before the present one is taken too. May be long ago.
    pub old_secret_until: Option<Timestamp>,
}

/// Whether a client may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiClientState {
    /// It may.
    Active,
    /// Never again.
    Revoked,
}

/// What is asked for a new client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiClient {
    /// What people will call it.
    pub name: String,
    /// The names of its permissions.
    pub permissions: Vec<String>,
    /// In which stores they hold.
    pub stores: StoreScope,
}

/// How long the old secret of a rotation is taken when nothing else is asked for: a day.
const USUAL_OVERLAP_MS: i64 = 24 * 60 * 60 * 1_000;
/// And at most: seven days.
const LONGEST_OVERLAP_MS: i64 = 7 * USUAL_OVERLAP_MS;

/// Until when the old secret of a rotation is taken.
///
/// # Errors
/// [`StaffError::OverlapInvalid`] when that lies in the past or more than seven days ahead.
pub(crate) fn overlap_until(asked: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, StaffError> {
    let until = asked.unwrap_or(now.plus_millis(USUAL_OVERLAP_MS));
    if (0..=LONGEST_OVERLAP_MS).contains(&until.millis_since(now)) {
        Ok(until)
    } else {
        Err(StaffError::OverlapInvalid)
    }
}

/// A client with what its signatures are checked against.
pub(crate) struct SigningClient {
    pub(crate) actor: Actor,
    pub(crate) secret: Zeroizing<Vec<u8>>,
    /// The secret before, and until when it is taken.
    pub(crate) previous: Option<(Zeroizing<Vec<u8>>, Timestamp)>,
}

impl SigningClient {
    /// The secrets that are taken now.
    pub(crate) fn secrets(&self, now: Timestamp) -> impl Iterator<Item = &[u8]> {
        let previous = self.previous.iter().filter(move |(_, until)| now < *until);
        std::iter::once(self.secret.as_slice()).chain(previous.map(|(secret, _)| secret.as_slice()))
    }
}

/// Makes a secret: 256 bits as text, which is itself the key of the signatures.
pub(crate) fn new_secret(rng: &Rng) -> Zeroizing<String> {
    let bytes = Zeroizing::new(rng.bytes::<SECRET_BYTES>());
    Zeroizing::new(format!("{SECRET_PREFIX}{}", BASE64URL_NOPAD.encode(&*bytes)))
}

/// What a sealed secret is bound to, so that it opens only for its own client.
pub(crate) fn secret_context(id: ApiClientId) -> String {
    format!("staff_api_client/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overlap_of_secrets_is_a_day_unless_asked_and_a_week_at_most() {
        let now = Timestamp::from_millis(1_000_000_000);
        let day = 24 * 3_600_000;
        assert_eq!(overlap_until(None, now).unwrap(), now.plus_millis(day));
        for (millis, taken) in [(-1, false), (0, true), (7 * day, true), (7 * day + 1, false)] {
            let until = now.plus_millis(millis);
            assert_eq!(
                overlap_until(Some(until), now).ok(),
                taken.then_some(until),
                "{millis}"
            );
        }
    }

    #[test]
    fn the_old_secret_is_taken_until_its_moment() {
        let until = Timestamp::from_millis(1_000);
        let client = SigningClient {
            actor: Actor::system("test"),
            secret: Zeroizing::new(b"new".to_vec()),
            previous: Some((Zeroizing::new(b"old".to_vec()), until)),
        };
        let taken = |now| client.secrets(now).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(taken(until.plus_millis(-1)), [b"new", b"old"]);
        assert_eq!(taken(until), [b"new"]);
    }
}
