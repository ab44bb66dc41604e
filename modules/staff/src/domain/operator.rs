//! Operators and their addresses.

use std::fmt;

use huika_core::{Actor, Id, IdKind, OPERATOR_PREFIX, StoreScope, Timestamp};

use super::{error::StaffError, role::RoleId};

/// The kind of an operator's id.
#[derive(Debug)]
pub enum OperatorKind {}
impl IdKind for OperatorKind {
    const PREFIX: &'static str = OPERATOR_PREFIX;
}
/// The id of an operator.
pub type OperatorId = Id<OperatorKind>;

/// A person who works with the console.
#[derive(Clone, PartialEq, Eq)]
pub struct Operator {
    /// The id.
    pub id: OperatorId,
    /// The address that the operator logs in with, in lower case.
    pub email: String,
    /// The name that others see.
    pub display_name: String,
    /// Whether everything is permitted.
    pub is_owner: bool,
    /// The roles, in order. None for owners.
    pub roles: Vec<RoleId>,
    /// In which stores the roles hold.
    pub stores: StoreScope,
    /// Whether the operator may log in.
    pub is_active: bool,
    /// Whether a code is asked for at log-in.
    pub has_second_factor: bool,
    /// When the operator was made.
    pub created_at: Timestamp,
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator")
            .field("id", &self.id)
            .field("is_owner", &self.is_owner)
            .field("is_active", &self.is_active)
            .finish_non_exhaustive()
    }
}

/// The actor that an operator is. An owner may do everything everywhere, whatever else stands in the row.
pub(crate) fn actor_of(
    id: OperatorId,
    is_owner: bool,
    permissions: impl IntoIterator<Item = String>,
    stores: StoreScope,
) -> Actor {
    if is_owner {
        Actor::with_all_rights(id)
    } else {
        Actor::with_rights(id, permissions).within(stores)
    }
}

/// The operator that an actor is.
pub(crate) fn operator_of(actor: &Actor) -> Result<OperatorId, StaffError> {
    actor.id().parse().map_err(|_| StaffError::OperatorNeeded)
}

/// An address in the form in which it is stored and looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Email(String);

impl Email {
    pub(crate) const MAX_CHARS: usize = 254;

    /// Takes an address of a new operator.
    pub(crate) fn try_new(text: &str) -> Result<Self, StaffError> {
        let email = Self::normalized(text);
        let well_formed = email
            .0
            .split_once('@')
            .is_some_and(|(mailbox, host)| !mailbox.is_empty() && !host.is_empty() && !host.contains('@'));
        let plain = !email
            .0
            .chars()
            .any(|letter| letter.is_whitespace() || letter.is_control());
        if well_formed && plain && email.0.chars().count() <= Self::MAX_CHARS {
            Ok(email)
        } else {
            Err(StaffError::EmailInvalid)
        }
    }

    /// The form of anything that was typed as an address, also of nonsense, which nobody has.
    pub(crate) fn normalized(text: &str) -> Self {
        Self(text.trim().to_lowercase())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_however_it_is_typed() {
        assert_eq!(
            Email::try_new(" Owner@Example.COM ").unwrap().as_str(),
            "owner@example.com"
        );
        for wrong in [
            "",
            "owner",
            "@example.com",
            "owner@",
            "a@b@c",
            "a b@c",
            "a@b\0",
            &format!("a@{}", "b".repeat(253)),
        ] {
            assert!(Email::try_new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_owner_has_rights_and_only_operators_are_operators() {
        let (id, permission) = (
            OperatorId::from_i64(1),
            &super::super::permissions::API_CLIENTS_READ,
        );
        assert!(
            actor_of(id, true, [], StoreScope::All)
                .authorize(permission)
                .is_ok()
        );
        assert!(
            actor_of(id, false, [], StoreScope::All)
                .authorize(permission)
                .is_err()
        );
        assert_eq!(
            operator_of(&actor_of(id, false, [], StoreScope::All)).ok(),
            Some(id)
        );
        assert!(operator_of(&Actor::system("import")).is_err());
    }
}
