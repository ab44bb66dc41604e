//! Operators with what they may do, roles, invitations, sessions.

use std::collections::{BTreeMap, BTreeSet};

use huika_core::{StoreScope, Timestamp};
use huika_db::{DbError, Executor, Param, Row, Tx, dialect::Insert, params};

use super::{ACTIVE, operator_from};
use crate::domain::{
    invitation::{Invitation, InvitationId, InvitationState},
    operator::{Operator, OperatorId},
    role::{Access, Role, RoleId},
    session::{SessionInfo, TokenHash},
};

const SUSPENDED: i64 = 2;
const RETIRED: i64 = 2;
const OPEN: i64 = 1;
const ACCEPTED: i64 = 2;
const TAKEN_BACK: i64 = 3;
/// The one row of `staff_owner_guard`.
const SEAT: i64 = 1;
/// Sessions of one operator that a list shows at most.
const MAX_SESSIONS: i64 = 200;

const ROLE_COLUMNS: &str = "role_id, name, permissions, state, created_at";
const INVITATION_COLUMNS: &str = "invitation_id, email, display_name, is_owner, roles, stores, invited_by, \
                                  created_at, expires_at, state";

// ------------------------------------------------------------------------------------------------------- scopes

/// The form of a scope in a column.
pub(super) fn scope_text(scope: &StoreScope) -> Option<String> {
    let codes: Vec<&str> = scope.codes()?.collect();
    Some(serde_json::json!(codes).to_string())
}

/// A scope out of the column `stores`.
pub(super) fn scope_from(row: &Row) -> Result<StoreScope, DbError> {
    let Some(text) = row.get::<Option<String>>("stores")? else {
        return Ok(StoreScope::All);
    };
    let codes: Vec<String> = serde_json::from_str(&text).map_err(|_| DbError::corrupt("stores"))?;
    Ok(StoreScope::only(codes))
}

fn names_from(row: &Row) -> Result<Vec<String>, DbError> {
    serde_json::from_str(&row.get::<String>("permissions")?).map_err(|_| DbError::corrupt("permissions"))
}

// -------------------------------------------------------------------------------------------------------- roles

pub(crate) async fn role_insert(tx: &mut Tx<'_>, role: &Role) -> Result<(), DbError> {
    let mut insert = Insert::into_table(
        "staff_role",
        &["role_id", "name", "permissions", "state", "created_at"],
    );
    insert.push(params![
        role.id,
        &role.name,
        serde_json::json!(role.permissions).to_string(),
        ACTIVE,
        role.created_at,
    ]);
    tx.insert(insert).await.map(drop)
}

/// Changes an active role and tells whether there was one.
pub(crate) async fn role_change(
    tx: &mut Tx<'_>,
    role: RoleId,
    name: &str,
    permissions: &[String],
) -> Result<bool, DbError> {
    let sql = "UPDATE staff_role SET name = ?, permissions = ? WHERE role_id = ? AND state = ?";
    let permissions = serde_json::json!(permissions).to_string();
    Ok(tx.execute(sql, params![name, permissions, role, ACTIVE]).await? == 1)
}

/// Retires a role and tells whether it was active.
pub(crate) async fn role_retire(tx: &mut Tx<'_>, role: RoleId) -> Result<bool, DbError> {
    let sql = "UPDATE staff_role SET state = ? WHERE role_id = ? AND state = ?";
    Ok(tx.execute(sql, params![RETIRED, role, ACTIVE]).await? == 1)
}

pub(crate) async fn role_find_many(exec: &mut impl Executor, roles: &[RoleId]) -> Result<Vec<Role>, DbError> {
    if roles.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT {ROLE_COLUMNS} FROM staff_role WHERE role_id IN (??) ORDER BY role_id");
    let ids = roles.iter().map(|role| role.as_i64()).collect();
    let rows = exec.fetch_all(&sql, vec![Param::Ints(ids)]).await?;
    rows.iter().map(role_from).collect()
}

/// Roles by their ids, which are in the order of time.
pub(crate) async fn role_list(
    exec: &mut impl Executor,
    before: Option<RoleId>,
    limit: u32,
) -> Result<Vec<Role>, DbError> {
    let before = before.unwrap_or(RoleId::from_i64(i64::MAX));
    let sql =
        format!("SELECT {ROLE_COLUMNS} FROM staff_role WHERE role_id < ? ORDER BY role_id DESC LIMIT ?");
    let rows = exec.fetch_all(&sql, params![before, i64::from(limit)]).await?;
    rows.iter().map(role_from).collect()
}

fn role_from(row: &Row) -> Result<Role, DbError> {
    Ok(Role {
        id: row.get("role_id")?,
        name: row.get("name")?,
        permissions: names_from(row)?,
        is_active: row.get::<i64>("state")? == ACTIVE,
        created_at: row.get("created_at")?,
    })
}

// ---------------------------------------------------------------------------------------------------- operators

/// Operators by their ids, latest first, with their roles.
pub(crate) async fn operator_list(
    exec: &mut impl Executor,
    before: Option<OperatorId>,
    limit: u32,
) -> Result<Vec<Operator>, DbError> {
    let before = before.unwrap_or(OperatorId::from_i64(i64::MAX));
    let sql = format!(
        "SELECT {} FROM staff_operator WHERE operator_id < ? ORDER BY operator_id DESC LIMIT ?",
        super::OPERATOR_COLUMNS
    );
    let rows = exec.fetch_all(&sql, params![before, i64::from(limit)]).await?;
    let mut operators: Vec<Operator> = rows.iter().map(operator_from).collect::<Result<_, _>>()?;
    let mut roles = roles_of(exec, &operators).await?;
    for operator in &mut operators {
        operator.roles = roles.remove(&operator.id.as_i64()).unwrap_or_default();
    }
    Ok(operators)
}

/// The roles of operators, by the number of the operator.
pub(super) async fn roles_of(
    exec: &mut impl Executor,
    operators: &[Operator],
) -> Result<BTreeMap<i64, Vec<RoleId>>, DbError> {
    let mut found: BTreeMap<i64, Vec<RoleId>> = BTreeMap::new();
    if operators.is_empty() {
        return Ok(found);
    }
    let sql = "SELECT operator_id, role_id FROM staff_operator_role WHERE operator_id IN (??) \
               ORDER BY operator_id, role_id";
    let ids = operators.iter().map(|operator| operator.id.as_i64()).collect();
    for row in exec.fetch_all(sql, vec![Param::Ints(ids)]).await? {
        found
            .entry(row.get("operator_id")?)
            .or_default()
            .push(row.get("role_id")?);
    }
    Ok(found)
}

/// What an operator's active roles permit.
pub(crate) async fn permissions_of(
    exec: &mut impl Executor,
    operator: OperatorId,
) -> Result<BTreeSet<String>, DbError> {
    let sql = "SELECT r.permissions FROM staff_operator_role m JOIN staff_role r ON r.role_id = m.role_id \
               WHERE m.operator_id = ? AND r.state = ?";
    let rows = exec.fetch_all(sql, params![operator, ACTIVE]).await?;
    let mut names = BTreeSet::new();
    for row in &rows {
        names.extend(names_from(row)?);
    }
    Ok(names)
}

/// Sets what an operator may do, and tells whether there is such an operator.
pub(crate) async fn access_set(
    tx: &mut Tx<'_>,
    operator: OperatorId,
    access: &Access,
) -> Result<bool, DbError> {
    // The operator first: of two changes at once the second waits here and replaces the whole of the first.
    let sql = "UPDATE staff_operator SET is_owner = ?, stores = ? WHERE operator_id = ?";
    let row = params![access.is_owner, scope_text(&access.stores), operator];
    if tx.execute(sql, row).await? == 0 {
        return Ok(false);
    }
    tx.execute(
        "DELETE FROM staff_operator_role WHERE operator_id = ?",
        params![operator],
    )
    .await?;
    roles_insert(tx, operator, &access.roles).await?;
    Ok(true)
}

async fn roles_insert(tx: &mut Tx<'_>, operator: OperatorId, roles: &[RoleId]) -> Result<(), DbError> {
    if roles.is_empty() {
        return Ok(());
    }
    let mut insert = Insert::into_table("staff_operator_role", &["operator_id", "role_id"]);
    for role in roles {
        insert.push(params![operator, *role]);
    }
    tx.insert(insert).await.map(drop)
}

/// Suspends or restores an operator and tells whether that changed anything.
pub(crate) async fn operator_set_active(
    tx: &mut Tx<'_>,
    operator: OperatorId,
    active: bool,
) -> Result<bool, DbError> {
    let (from, to) = if active {
        (SUSPENDED, ACTIVE)
    } else {
        (ACTIVE, SUSPENDED)
    };
    let sql = "UPDATE staff_operator SET state = ? WHERE operator_id = ? AND state = ?";
    Ok(tx.execute(sql, params![to, operator, from]).await? == 1)
}

/// The version beside which owners are counted.
pub(crate) async fn owner_guard_read(tx: &mut Tx<'_>) -> Result<i64, DbError> {
    let sql = "SELECT version FROM staff_owner_guard WHERE seat = ?";
    if let Some(row) = tx.fetch_optional(sql, params![SEAT]).await? {
        return row.get("version");
    }
    // If somebody else has made it meanwhile and gone past, this version no longer fits.
    let mut first = Insert::into_table("staff_owner_guard", &["seat", "version"]).skip_existing();
    first.push(params![SEAT, 0_i64]);
    tx.insert(first).await?;
    Ok(0)
}

/// Active owners other than one operator.
pub(crate) async fn owner_count_others(tx: &mut Tx<'_>, operator: OperatorId) -> Result<i64, DbError> {
    let sql =
        "SELECT COUNT(*) AS owners FROM staff_operator WHERE is_owner = 1 AND state = ? AND operator_id <> ?";
    tx.fetch_one(sql, params![ACTIVE, operator]).await?.get("owners")
}

/// Says that owners become fewer, if nobody else has since the version was read; otherwise the transaction runs again.
pub(crate) async fn owner_guard_pass(tx: &mut Tx<'_>, version: i64) -> Result<(), DbError> {
    let sql = "UPDATE staff_owner_guard SET version = version + 1 WHERE seat = ? AND version = ?";
    if tx.execute(sql, params![SEAT, version]).await? == 1 {
        Ok(())
    } else {
        Err(DbError::Stale("staff_owner_guard"))
    }
}

// -------------------------------------------------------------------------------------------------- invitations

pub(crate) async fn invitation_insert(
    tx: &mut Tx<'_>,
    invitation: &Invitation,
    token_hash: TokenHash,
) -> Result<(), DbError> {
    let mut insert = Insert::into_table(
        "staff_invitation",
        &[
            "invitation_id",
            "token_hash",
            "email",
            "display_name",
            "is_owner",
            "roles",
            "stores",
            "invited_by",
            "created_at",
            "expires_at",
            "state",
        ],
    );
    let roles: Vec<i64> = invitation.access.roles.iter().map(|role| role.as_i64()).collect();
    insert.push(params![
        invitation.id,
        token_hash.to_hex(),
        &invitation.email,
        &invitation.display_name,
        invitation.access.is_owner,
        serde_json::json!(roles).to_string(),
        scope_text(&invitation.access.stores),
        &invitation.invited_by,
        invitation.created_at,
        invitation.expires_at,
        OPEN,
    ]);
    tx.insert(insert).await.map(drop)
}

pub(crate) async fn invitation_list(
    exec: &mut impl Executor,
    after: Option<(Timestamp, InvitationId)>,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<Invitation>, DbError> {
    let (at, id) = after.unwrap_or((Timestamp::MAX, InvitationId::from_i64(i64::MAX)));
    let sql = format!(
        "SELECT {INVITATION_COLUMNS} FROM staff_invitation \
         WHERE created_at <= ? AND (created_at < ? OR invitation_id < ?) \
         ORDER BY created_at DESC, invitation_id DESC LIMIT ?"
    );
    let rows = exec
        .fetch_all(&sql, params![at, at, id, i64::from(limit)])
        .await?;
    rows.iter().map(|row| invitation_from(row, now)).collect()
}

pub(crate) async fn invitation_find(
    exec: &mut impl Executor,
    invitation: InvitationId,
    now: Timestamp,
) -> Result<Option<Invitation>, DbError> {
    let sql = format!("SELECT {INVITATION_COLUMNS} FROM staff_invitation WHERE invitation_id = ?");
    let row = exec.fetch_optional(&sql, params![invitation]).await?;
    row.as_ref().map(|row| invitation_from(row, now)).transpose()
}

/// The invitation of a token, if it can be accepted.
pub(crate) async fn invitation_find_open(
    exec: &mut impl Executor,
    token_hash: TokenHash,
    now: Timestamp,
) -> Result<Option<Invitation>, DbError> {
    let sql = format!(
        "SELECT {INVITATION_COLUMNS} FROM staff_invitation WHERE token_hash = ? AND state = ? AND expires_at > ?"
    );
    let row = exec
        .fetch_optional(&sql, params![token_hash.to_hex(), OPEN, now])
        .await?;
    row.as_ref().map(|row| invitation_from(row, now)).transpose()
}

/// Uses an invitation up and tells whether it was still open.
pub(crate) async fn invitation_accept(
    tx: &mut Tx<'_>,
    invitation: InvitationId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE staff_invitation SET state = ?, ended_at = ? WHERE invitation_id = ? AND state = ? AND expires_at > ?";
    Ok(tx
        .execute(sql, params![ACCEPTED, now, invitation, OPEN, now])
        .await?
        == 1)
}

/// Takes an invitation back and tells whether it was open.
pub(crate) async fn invitation_revoke(
    tx: &mut Tx<'_>,
    invitation: InvitationId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE staff_invitation SET state = ?, ended_at = ? WHERE invitation_id = ? AND state = ?";
    Ok(tx
        .execute(sql, params![TAKEN_BACK, now, invitation, OPEN])
        .await?
        == 1)
}

/// Takes back all open invitations of an address. Invitations are few: no index serves this.
pub(crate) async fn invitation_revoke_for(
    tx: &mut Tx<'_>,
    email: &str,
    now: Timestamp,
) -> Result<u64, DbError> {
    let sql = "UPDATE staff_invitation SET state = ?, ended_at = ? WHERE email = ? AND state = ?";
    tx.execute(sql, params![TAKEN_BACK, now, email, OPEN]).await
}

/// Takes back all open invitations that somebody sent. Invitations are few: no index serves this.
pub(crate) async fn invitation_revoke_by(
    tx: &mut Tx<'_>,
    invited_by: &str,
    now: Timestamp,
) -> Result<u64, DbError> {
    let sql = "UPDATE staff_invitation SET state = ?, ended_at = ? WHERE invited_by = ? AND state = ?";
    tx.execute(sql, params![TAKEN_BACK, now, invited_by, OPEN]).await
}

fn invitation_from(row: &Row, now: Timestamp) -> Result<Invitation, DbError> {
    let roles: Vec<i64> =
        serde_json::from_str(&row.get::<String>("roles")?).map_err(|_| DbError::corrupt("roles"))?;
    let expires_at: Timestamp = row.get("expires_at")?;
    Ok(Invitation {
        id: row.get("invitation_id")?,
        email: row.get("email")?,
        display_name: row.get("display_name")?,
        access: Access {
            is_owner: row.get("is_owner")?,
            roles: roles.into_iter().map(RoleId::from_i64).collect(),
            stores: scope_from(row)?,
        },
        invited_by: row.get("invited_by")?,
        created_at: row.get("created_at")?,
        expires_at,
        state: match row.get::<i64>("state")? {
            OPEN if expires_at <= now => InvitationState::Expired,
            OPEN => InvitationState::Open,
            ACCEPTED => InvitationState::Accepted,
            TAKEN_BACK => InvitationState::Revoked,
            _ => return Err(DbError::corrupt("state")),
        },
    })
}

// ----------------------------------------------------------------------------------------------------- sessions

/// The sessions of an operator that have not ended, latest first.
pub(crate) async fn session_list(
    exec: &mut impl Executor,
    operator: OperatorId,
    now: Timestamp,
) -> Result<Vec<SessionInfo>, DbError> {
    let sql = "SELECT token_hash, created_at, expires_at FROM staff_session \
               WHERE operator_id = ? AND revoked_at IS NULL AND expires_at > ? ORDER BY created_at DESC LIMIT ?";
    let rows = exec.fetch_all(sql, params![operator, now, MAX_SESSIONS]).await?;
    rows.iter()
        .map(|row| {
            let hash: String = row.get("token_hash")?;
            Ok(SessionInfo {
                token_hash: TokenHash::from_hex(&hash).ok_or_else(|| DbError::corrupt("token_hash"))?,
                created_at: row.get("created_at")?,
                expires_at: row.get("expires_at")?,
            })
        })
        .collect()
}

/// Revokes all sessions of an operator but one, and tells how many.
pub(crate) async fn session_revoke_others(
    tx: &mut Tx<'_>,
    operator: OperatorId,
    kept: TokenHash,
    now: Timestamp,
) -> Result<u64, DbError> {
    let sql = "UPDATE staff_session SET revoked_at = ? WHERE operator_id = ? AND token_hash <> ? AND revoked_at IS NULL";
    tx.execute(sql, params![now, operator, kept.to_hex()]).await
}
