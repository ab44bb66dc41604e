//! Listing, suspending and restoring operators, and what they may do.

use huika_core::Actor;
use huika_db::Tx;
use serde_json::json;

use super::{
    audit_in_tx,
    reach::{check_access, check_target},
};
use crate::{
    Access, OPERATORS_MANAGE, OPERATORS_READ, Operator, OperatorId, Staff, StaffError,
    store::{self, people},
};

impl Staff {
    /// Operators, latest first, suspended ones too.
    ///
    /// # Errors
    /// When the actor lacks the permission or the database fails.
    pub async fn list_operators(
        &self,
        actor: &Actor,
        before: Option<OperatorId>,
        limit: u32,
    ) -> Result<Vec<Operator>, StaffError> {
        actor.authorize(&OPERATORS_READ)?;
        Ok(people::operator_list(&mut self.db(), before, limit).await?)
    }

    /// Suspends an operator: their sessions end at once, on other nodes within ten seconds, and the invitations that
    /// they sent are taken back. Suspending them again changes nothing.
    ///
    /// # Errors
    /// When the actor lacks the permission or may do less; [`StaffError::LastOwner`];
    /// [`StaffError::OperatorUnknown`].
    pub async fn suspend_operator(
        &self,
        actor: &Actor,
        operator: OperatorId,
    ) -> Result<Operator, StaffError> {
        actor.authorize(&OPERATORS_MANAGE)?;
        let (now, ids) = (self.clock().now(), &self.0.ids);
        let suspended = self
            .db()
            .run_tx("staff.suspend_operator", |tx| {
                Box::pin(async move {
                    let (before, guard) = load_guarded(tx, operator).await?;
                    check_target(tx, actor, &before).await?;
                    if before.is_owner {
                        keep_an_owner(tx, operator, guard).await?;
                    }
                    // The state first: a log-in that has checked the password is refused from here on, or has begun
                    // its session already, which then ends with the others.
                    if people::operator_set_active(tx, operator, false).await? {
                        let sessions = store::session_revoke_all(tx, operator, now).await?;
                        let by = operator.to_string();
                        let invitations = people::invitation_revoke_by(tx, &by, now).await?;
                        let detail = json!({ "sessions": sessions, "invitations": invitations });
                        audit_in_tx(tx, ids, actor, "staff.suspend_operator", by, detail).await?;
                    }
                    Ok::<_, StaffError>(Operator {
                        is_active: false,
                        ..before
                    })
                })
            })
            .await?;
        self.0.sessions.clear();
        Ok(suspended)
    }

    /// Restores an operator who was suspended; restoring them again changes nothing.
    ///
    /// # Errors
    /// When the actor lacks the permission or may do less; [`StaffError::OperatorUnknown`].
    pub async fn restore_operator(
        &self,
        actor: &Actor,
        operator: OperatorId,
    ) -> Result<Operator, StaffError> {
        actor.authorize(&OPERATORS_MANAGE)?;
        let ids = &self.0.ids;
        self.db()
            .run_tx("staff.restore_operator", |tx| {
                Box::pin(async move {
                    let before = load(tx, operator).await?;
                    check_target(tx, actor, &before).await?;
                    if people::operator_set_active(tx, operator, true).await? {
                        let (subject, detail) = (operator.to_string(), json!({}));
                        audit_in_tx(tx, ids, actor, "staff.restore_operator", subject, detail).await?;
                    }
                    Ok(Operator {
                        is_active: true,
                        ..before
                    })
                })
            })
            .await
    }

    /// Sets what an operator may do and where. Holds at once on this node, and within ten seconds on all others. The
    /// invitations that they sent are taken back.
    ///
    /// # Errors
    /// When the actor lacks the permission, may do less than the operator could or than they are to;
    /// [`StaffError::LastOwner`]; [`StaffError::OperatorUnknown`]; [`StaffError::RoleUnknown`];
    /// [`StaffError::StoreUnknown`].
    pub async fn set_operator_access(
        &self,
        actor: &Actor,
        operator: OperatorId,
        access: &Access,
    ) -> Result<Operator, StaffError> {
        actor.authorize(&OPERATORS_MANAGE)?;
        let (now, ids) = (self.clock().now(), &self.0.ids);
        let changed = self
            .db()
            .run_tx("staff.set_operator_access", |tx| {
                Box::pin(async move {
                    let (before, guard) = load_guarded(tx, operator).await?;
                    check_target(tx, actor, &before).await?;
                    check_access(tx, actor, access).await?;
                    if before.is_owner && !access.is_owner {
                        keep_an_owner(tx, operator, guard).await?;
                    }
                    if !people::access_set(tx, operator, access).await? {
                        return Err(StaffError::OperatorUnknown);
                    }
                    // They may promise what their sender can no longer give.
                    let by = operator.to_string();
                    let invitations = people::invitation_revoke_by(tx, &by, now).await?;
                    let detail = json!({ "access": access_detail(access), "invitations": invitations });
                    audit_in_tx(tx, ids, actor, "staff.set_operator_access", by, detail).await?;
                    Ok(Operator {
                        is_owner: access.is_owner,
                        roles: access.roles.clone(),
                        stores: access.stores.clone(),
                        ..before
                    })
                })
            })
            .await?;
        self.0.sessions.clear();
        Ok(changed)
    }
}

/// What is given, for the audit log.
pub(super) fn access_detail(access: &Access) -> serde_json::Value {
    let stores = access.stores.codes().map(Iterator::collect::<Vec<_>>);
    json!({ "is_owner": access.is_owner, "roles": access.roles, "stores": stores })
}

pub(super) async fn load(tx: &mut Tx<'_>, operator: OperatorId) -> Result<Operator, StaffError> {
    let found = store::operator_find(tx, operator).await?;
    found.ok_or(StaffError::OperatorUnknown)
}

/// The operator, and the version of the guard of owners. The version is read before the operator, so that whoever was
/// made an owner, or lost that, in between is noticed.
async fn load_guarded(tx: &mut Tx<'_>, operator: OperatorId) -> Result<(Operator, i64), StaffError> {
    let guard = people::owner_guard_read(tx).await?;
    Ok((load(tx, operator).await?, guard))
}

/// Refuses to take the last active owner away. The count is believed only if nobody else made owners fewer since the
/// version of the guard was read; otherwise all this runs again.
async fn keep_an_owner(tx: &mut Tx<'_>, operator: OperatorId, guard: i64) -> Result<(), StaffError> {
    if people::owner_count_others(tx, operator).await? == 0 {
        return Err(StaffError::LastOwner);
    }
    Ok(people::owner_guard_pass(tx, guard).await?)
}
