//! How far an actor reaches: nobody gives what they lack, and nobody touches somebody who may do more.

use huika_core::{Actor, StoreScope};
use huika_db::Executor;

use crate::{
    Access, Operator, StaffError,
    domain::role::within_reach,
    store::{people, shops},
};

/// Refuses access that names what does not exist, or that goes beyond the actor.
pub(super) async fn check_access(
    exec: &mut impl Executor,
    actor: &Actor,
    access: &Access,
) -> Result<(), StaffError> {
    let roles = people::role_find_many(exec, &access.roles).await?;
    for asked in &access.roles {
        if !roles.iter().any(|role| role.id == *asked && role.is_active) {
            return Err(StaffError::RoleUnknown {
                role: asked.to_string(),
            });
        }
    }
    check_stores(exec, &access.stores).await?;
    let permissions = roles.iter().flat_map(|role| &role.permissions);
    within_reach(actor, access.is_owner, permissions, &access.stores)
}

/// Refuses a scope that names a store that is not open.
pub(super) async fn check_stores(exec: &mut impl Executor, stores: &StoreScope) -> Result<(), StaffError> {
    let Some(codes) = stores.codes() else {
        return Ok(());
    };
    let codes: Vec<String> = codes.map(str::to_owned).collect();
    let open = shops::store_open_among(exec, codes.clone()).await?;
    match codes.into_iter().find(|code| !open.contains(code)) {
        None => Ok(()),
        Some(store) => Err(StaffError::StoreUnknown { store }),
    }
}

/// Refuses an actor who may do less than an operator.
pub(super) async fn check_target(
    exec: &mut impl Executor,
    actor: &Actor,
    operator: &Operator,
) -> Result<(), StaffError> {
    let permissions = people::permissions_of(exec, operator.id).await?;
    within_reach(actor, operator.is_owner, &permissions, &operator.stores)
}
