//! Making, changing, retiring and listing roles.

use huika_core::Actor;
use serde_json::json;

use super::audit_in_tx;
use crate::{
    OPERATORS_READ, ROLES_MANAGE, Role, RoleId, Staff, StaffError,
    domain::role::{granted_by, within_reach},
    store::people,
};

impl Staff {
    /// Makes a role.
    ///
    /// # Errors
    /// When the actor lacks the permission, or one of those that the role is to have;
    /// [`StaffError::PermissionUnknown`].
    pub async fn create_role(
        &self,
        actor: &Actor,
        name: String,
        permissions: &[String],
    ) -> Result<Role, StaffError> {
        actor.authorize_in(&ROLES_MANAGE, None)?;
        let role = Role {
            id: self.0.ids.next(),
            name,
            permissions: granted_by(actor, permissions, &self.0.known_permissions)?,
            is_active: true,
            created_at: self.clock().now(),
        };
        let (row, ids) = (&role, &self.0.ids);
        self.db()
            .run_tx("staff.create_role", |tx| {
                Box::pin(async move {
                    people::role_insert(tx, row).await?;
                    let detail = json!({ "name": row.name, "permissions": row.permissions });
                    audit_in_tx(tx, ids, actor, "staff.create_role", row.id.to_string(), detail).await?;
                    Ok::<_, StaffError>(())
                })
            })
            .await?;
        Ok(role)
    }

    /// Gives a role another name and other permissions. Holds at once on this node, and within ten seconds on all
    /// others.
    ///
    /// # Errors
    /// When the actor lacks the permission, one of those that the role had or one of those that it is to have;
    /// [`StaffError::RoleMissing`]; [`StaffError::PermissionUnknown`].
    pub async fn change_role(
        &self,
        actor: &Actor,
        role: RoleId,
        name: &str,
        permissions: &[String],
    ) -> Result<Role, StaffError> {
        actor.authorize_in(&ROLES_MANAGE, None)?;
        let permissions = granted_by(actor, permissions, &self.0.known_permissions)?;
        let (permissions, ids) = (&permissions, &self.0.ids);
        let changed = self
            .db()
            .run_tx("staff.change_role", |tx| {
                Box::pin(async move {
                    let before = find_active(people::role_find_many(tx, &[role]).await?)?;
                    within_reach(actor, false, &before.permissions, actor.scope())?;
                    if !people::role_change(tx, role, name, permissions).await? {
                        return Err(StaffError::RoleMissing);
                    }
                    let detail =
                        json!({ "name": name, "permissions": permissions, "before": before.permissions });
                    audit_in_tx(tx, ids, actor, "staff.change_role", role.to_string(), detail).await?;
                    Ok(Role {
                        name: name.to_owned(),
                        permissions: permissions.clone(),
                        ..before
                    })
                })
            })
            .await?;
        self.0.sessions.clear();
        Ok(changed)
    }

    /// Retires a role for ever: whoever has it may no longer do what only it permitted. Retiring it again changes
    /// nothing.
    ///
    /// # Errors
    /// When the actor lacks the permission or one of the role's; [`StaffError::RoleMissing`].
    pub async fn retire_role(&self, actor: &Actor, role: RoleId) -> Result<(), StaffError> {
        actor.authorize_in(&ROLES_MANAGE, None)?;
        let ids = &self.0.ids;
        self.db()
            .run_tx("staff.retire_role", |tx| {
                Box::pin(async move {
                    let before = people::role_find_many(tx, &[role]).await?;
                    let before = before.first().ok_or(StaffError::RoleMissing)?;
                    within_reach(actor, false, &before.permissions, actor.scope())?;
                    if people::role_retire(tx, role).await? {
                        audit_in_tx(tx, ids, actor, "staff.retire_role", role.to_string(), json!({})).await?;
                    }
                    Ok::<_, StaffError>(())
                })
            })
            .await?;
        self.0.sessions.clear();
        Ok(())
    }

    /// Roles, latest first, retired ones too.
    ///
    /// # Errors
    /// When the actor lacks the permission or the database fails.
    pub async fn list_roles(
        &self,
        actor: &Actor,
        before: Option<RoleId>,
        limit: u32,
    ) -> Result<Vec<Role>, StaffError> {
        actor.authorize(&OPERATORS_READ)?;
        Ok(people::role_list(&mut self.db(), before, limit).await?)
    }
}

fn find_active(found: Vec<Role>) -> Result<Role, StaffError> {
    let role = found.into_iter().next().filter(|role| role.is_active);
    role.ok_or(StaffError::RoleMissing)
}
