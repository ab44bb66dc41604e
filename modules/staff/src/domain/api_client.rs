//! API clients: programs with a secret and the permissions that they were given.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE64URL_NOPAD;
use huika_core::{Actor, Id, IdKind, Permission, Rng, Timestamp};
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
    /// Whether it may sign.
    pub state: ApiClientState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
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
}

impl NewApiClient {
    /// The names to grant, in order and once each. Nobody grants what is unknown or what they lack themselves.
    pub(crate) fn granted_by(
        &self,
        actor: &Actor,
        known: &BTreeMap<&'static str, Permission>,
    ) -> Result<Vec<String>, StaffError> {
        let names: BTreeSet<&String> = self.permissions.iter().collect();
        for name in &names {
            let Some(permission) = known.get(name.as_str()) else {
                return Err(StaffError::PermissionUnknown {
                    name: (*name).clone(),
                });
            };
            actor.authorize(permission)?;
        }
        Ok(names.into_iter().cloned().collect())
    }
}

/// A client with what its signatures are checked against.
pub(crate) struct SigningClient {
    pub(crate) actor: Actor,
    pub(crate) secret: Zeroizing<Vec<u8>>,
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
    use crate::domain::permissions::{API_CLIENTS_READ, PERMISSIONS};

    #[test]
    fn nobody_grants_what_is_unknown_or_what_they_lack() {
        let known = PERMISSIONS
            .iter()
            .map(|permission| (permission.name, *permission))
            .collect();
        let asked = |names: &[&str]| NewApiClient {
            name: "till".into(),
            permissions: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let (read, manage) = ("staff.read_api_clients", "staff.manage_api_clients");
        let owner = Actor::with_all_rights("opr_1");
        assert_eq!(
            asked(&[read, manage, read]).granted_by(&owner, &known).unwrap(),
            [manage, read]
        );
        let unknown = asked(&[read, "coupons.fly"]).granted_by(&owner, &known);
        assert!(matches!(unknown, Err(StaffError::PermissionUnknown { name }) if name == "coupons.fly"));
        let reader = Actor::with_rights("opr_2", [API_CLIENTS_READ.name.to_owned()]);
        assert!(asked(&[read]).granted_by(&reader, &known).is_ok());
        assert!(matches!(
            asked(&[manage]).granted_by(&reader, &known),
            Err(StaffError::Denied(_))
        ));
    }
}
