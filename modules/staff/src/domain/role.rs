//! Roles, and what somebody may do and where.

use std::collections::{BTreeMap, BTreeSet};

use huika_core::{Actor, Id, IdKind, Permission, StoreScope, Timestamp};

use super::error::StaffError;

/// The kind of a role's id.
#[derive(Debug)]
pub enum RoleKind {}
impl IdKind for RoleKind {
    const PREFIX: &'static str = "rol";
}
/// The id of a role.
pub type RoleId = Id<RoleKind>;

/// Roles that one operator has at most.
pub(crate) const MAX_ROLES: usize = 20;
/// Stores that one scope lists at most.
pub(crate) const MAX_SCOPE: usize = 500;

/// A named set of permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The id.
    pub id: RoleId,
    /// What people call it.
    pub name: String,
    /// The names of its permissions, in order.
    pub permissions: Vec<String>,
    /// Whether it permits anything; a retired role comes back no more.
    pub is_active: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What somebody is given: ownership or roles, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Whether everything is permitted everywhere.
    pub is_owner: bool,
    /// The roles, in order and once each. None for owners.
    pub roles: Vec<RoleId>,
    /// The stores.
    pub stores: StoreScope,
}

impl Access {
    /// Puts it into its one form.
    ///
    /// # Errors
    /// [`StaffError::OwnerUnlimited`] when an owner is given roles or a scope; [`StaffError::AccessTooLong`].
    pub fn try_new(is_owner: bool, roles: Vec<RoleId>, stores: StoreScope) -> Result<Self, StaffError> {
        let numbers: BTreeSet<i64> = roles.into_iter().map(RoleId::as_i64).collect();
        if is_owner && (!numbers.is_empty() || stores != StoreScope::All) {
            return Err(StaffError::OwnerUnlimited);
        }
        if numbers.len() > MAX_ROLES || stores.codes().is_some_and(|codes| codes.count() > MAX_SCOPE) {
            return Err(StaffError::AccessTooLong {
                most_roles: MAX_ROLES,
                most_stores: MAX_SCOPE,
            });
        }
        Ok(Self {
            is_owner,
            roles: numbers.into_iter().map(RoleId::from_i64).collect(),
            stores,
        })
    }
}

/// Refuses what goes beyond an actor: nobody gives what they lack, and nobody touches somebody who may do more.
pub(crate) fn within_reach<'a>(
    actor: &Actor,
    is_owner: bool,
    permissions: impl IntoIterator<Item = &'a String>,
    stores: &StoreScope,
) -> Result<(), StaffError> {
    if is_owner && !actor.has_all_rights() {
        return Err(StaffError::OwnerNeeded);
    }
    for permission in permissions {
        actor.authorize_named(permission)?;
    }
    if actor.scope().covers(stores) {
        Ok(())
    } else {
        Err(StaffError::ScopeExceeded)
    }
}

/// The names to grant, in order and once each. Nobody grants what is unknown or what they lack themselves.
pub(crate) fn granted_by(
    actor: &Actor,
    asked: &[String],
    known: &BTreeMap<&'static str, Permission>,
) -> Result<Vec<String>, StaffError> {
    let names: BTreeSet<&String> = asked.iter().collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn only(codes: &str) -> StoreScope {
        StoreScope::only(codes.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn nobody_reaches_beyond_themselves() {
        let table = "
            owner   all      | owner -       all    | ok
            owner   all      | role  a,b     s1     | ok
            a       all      | owner -       all    | OwnerNeeded
            a       all      | role  a       s1     | ok
            a       all      | role  a,b     s1     | Denied
            a       s1       | role  a       s1     | ok
            a       s1       | role  a       s2     | ScopeExceeded
            a       s1       | role  a       all    | ScopeExceeded
            a       s1       | role  -       -      | ok
        ";
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().filter(|word| *word != "|").collect();
            let list = |text: &str| -> Vec<String> {
                text.split(',')
                    .filter(|name| *name != "-")
                    .map(str::to_owned)
                    .collect()
            };
            let scope = |text: &str| match text {
                "all" => StoreScope::All,
                text => only(&list(text).join(" ")),
            };
            let actor = match words[0] {
                "owner" => Actor::with_all_rights("opr_1"),
                names => Actor::with_rights("opr_1", list(names)),
            };
            let reached = within_reach(
                &actor.within(scope(words[1])),
                words[2] == "owner",
                &list(words[3]),
                &scope(words[4]),
            );
            let answer = match reached {
                Ok(()) => "ok",
                Err(StaffError::OwnerNeeded) => "OwnerNeeded",
                Err(StaffError::ScopeExceeded) => "ScopeExceeded",
                Err(StaffError::Denied(_)) => "Denied",
                Err(_) => "other",
            };
            assert_eq!(answer, words[5], "{line}");
        }
    }

    #[test]
    fn nobody_grants_what_is_unknown_or_what_they_lack() {
        use crate::domain::permissions::{API_CLIENTS_READ, PERMISSIONS};
        let known = PERMISSIONS.iter().map(|one| (one.name, *one)).collect();
        let (read, manage) = ("staff.read_api_clients", "staff.manage_api_clients");
        let asked = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let owner = Actor::with_all_rights("opr_1");
        let granted = granted_by(&owner, &asked(&[read, manage, read]), &known).unwrap();
        assert_eq!(granted, [manage, read]);
        let unknown = granted_by(&owner, &asked(&[read, "coupons.fly"]), &known);
        assert!(matches!(unknown, Err(StaffError::PermissionUnknown { name }) if name == "coupons.fly"));
        let reader = Actor::with_rights("opr_2", [API_CLIENTS_READ.name.to_owned()]);
        assert!(granted_by(&reader, &asked(&[read]), &known).is_ok());
        assert!(matches!(
            granted_by(&reader, &asked(&[manage]), &known),
            Err(StaffError::Denied(_))
        ));
    }

    #[test]
    fn an_owner_has_neither_roles_nor_a_scope() {
        let role = RoleId::from_i64(1);
        assert!(Access::try_new(true, vec![], StoreScope::All).is_ok());
        for wrong in [
            Access::try_new(true, vec![role], StoreScope::All),
            Access::try_new(true, vec![], only("s1")),
        ] {
            assert!(matches!(wrong, Err(StaffError::OwnerUnlimited)));
        }
        let twice = Access::try_new(false, vec![role, role], only("s1")).unwrap();
        assert_eq!(twice.roles, [role]);
        let many = (0..=MAX_ROLES as i64).map(RoleId::from_i64).collect();
        assert!(matches!(
            Access::try_new(false, many, StoreScope::All),
            Err(StaffError::AccessTooLong { .. })
        ));
    }
}
