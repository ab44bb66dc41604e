//! The only SQL of this module.

pub(crate) mod factors;
pub(crate) mod people;
pub(crate) mod shops;

use std::collections::BTreeSet;

use huika_core::{StoreScope, Timestamp};
use huika_db::{DbError, Executor, Param, Row, Tx, dialect::Insert, params};

use crate::domain::{
    api_client::{ApiClient, ApiClientId, ApiClientState},
    operator::{Operator, OperatorId, actor_of},
    session::{Session, TokenHash},
};

const ACTIVE: i64 = 1;
const REVOKED: i64 = 2;
/// The one row of `staff_first_owner`.
const FIRST_SEAT: i64 = 1;
/// Rows that one statement removes at most.
const DELETE_BATCH: i64 = 500;

const OPERATOR_COLUMNS: &str = "operator_id, email, display_name, is_owner, stores, state, created_at, \
    (SELECT COUNT(*) FROM staff_second_factor f WHERE f.operator_id = staff_operator.operator_id AND f.state = 2) \
    AS second_factors";
const CLIENT_COLUMNS: &str =
    "client_id, name, permissions, stores, state, created_at, revoked_at, previous_until";

pub(crate) async fn first_owner_exists(exec: &mut impl Executor) -> Result<bool, DbError> {
    let row = exec
        .fetch_optional(
            "SELECT seat FROM staff_first_owner WHERE seat = ?",
            params![FIRST_SEAT],
        )
        .await?;
    Ok(row.is_some())
}

/// The operator in the seat of the first owner.
pub(crate) async fn first_owner_find(exec: &mut impl Executor) -> Result<Option<Operator>, DbError> {
    let sql = format!(
        "SELECT {OPERATOR_COLUMNS} FROM staff_operator \
         WHERE operator_id = (SELECT operator_id FROM staff_first_owner WHERE seat = ?)"
    );
    let row = exec.fetch_optional(&sql, params![FIRST_SEAT]).await?;
    with_roles(exec, row.as_ref()).await
}

/// The operator of a row with the roles that stand beside it.
async fn with_roles(exec: &mut impl Executor, row: Option<&Row>) -> Result<Option<Operator>, DbError> {
    let Some(mut operator) = row.map(operator_from).transpose()? else {
        return Ok(None);
    };
    let mut roles = people::roles_of(exec, std::slice::from_ref(&operator)).await?;
    operator.roles = roles.remove(&operator.id.as_i64()).unwrap_or_default();
    Ok(Some(operator))
}

/// Takes the seat of the first owner; only one caller ever gets it.
pub(crate) async fn first_owner_claim(tx: &mut Tx<'_>, operator: OperatorId) -> Result<bool, DbError> {
    let mut seat = Insert::into_table("staff_first_owner", &["seat", "operator_id"]).skip_existing();
    seat.push(params![FIRST_SEAT, operator]);
    Ok(tx.insert(seat).await? == 1)
}

pub(crate) async fn operator_insert(
    tx: &mut Tx<'_>,
    operator: &Operator,
    password_hash: &str,
) -> Result<(), DbError> {
    let mut insert = Insert::into_table(
        "staff_operator",
        &[
            "operator_id",
            "email",
            "password_hash",
            "display_name",
            "is_owner",
            "state",
            "created_at",
        ],
    );
    insert.push(params![
        operator.id,
        &operator.email,
        password_hash,
        &operator.display_name,
        operator.is_owner,
        ACTIVE,
        operator.created_at,
    ]);
    tx.insert(insert).await.map(drop)
}

pub(crate) async fn operator_find(
    exec: &mut impl Executor,
    operator: OperatorId,
) -> Result<Option<Operator>, DbError> {
    let sql = format!("SELECT {OPERATOR_COLUMNS} FROM staff_operator WHERE operator_id = ?");
    let row = exec.fetch_optional(&sql, params![operator]).await?;
    with_roles(exec, row.as_ref()).await
}

/// The operator of an address and the hash of the password.
pub(crate) async fn operator_find_by_email(
    exec: &mut impl Executor,
    email: &str,
) -> Result<Option<(Operator, String)>, DbError> {
    let sql = format!("SELECT {OPERATOR_COLUMNS}, password_hash FROM staff_operator WHERE email = ?");
    let Some(row) = exec.fetch_optional(&sql, params![email]).await? else {
        return Ok(None);
    };
    let operator = with_roles(exec, Some(&row)).await?;
    Ok(operator.zip(Some(row.get("password_hash")?)))
}

/// The hash of an operator's password, with the address.
pub(crate) async fn operator_password(
    exec: &mut impl Executor,
    operator: OperatorId,
) -> Result<Option<(String, String)>, DbError> {
    let sql = "SELECT email, password_hash FROM staff_operator WHERE operator_id = ?";
    let row = exec.fetch_optional(sql, params![operator]).await?;
    row.map(|row| Ok((row.get("email")?, row.get("password_hash")?)))
        .transpose()
}

/// Whether an address is that of an operator.
pub(crate) async fn operator_has_email(exec: &mut impl Executor, email: &str) -> Result<bool, DbError> {
    let sql = "SELECT operator_id FROM staff_operator WHERE email = ?";
    Ok(exec.fetch_optional(sql, params![email]).await?.is_some())
}

pub(crate) async fn operator_set_password(
    tx: &mut Tx<'_>,
    operator: OperatorId,
    password_hash: &str,
) -> Result<(), DbError> {
    let sql = "UPDATE staff_operator SET password_hash = ? WHERE operator_id = ?";
    tx.execute(sql, params![password_hash, operator]).await.map(drop)
}

/// Whether an operator may still log in with the password that this is the hash of. Said by an update that changes
/// nothing, so that of a log-in and a new password at the same moment one comes first.
pub(crate) async fn operator_holds_password(
    tx: &mut Tx<'_>,
    operator: OperatorId,
    password_hash: &str,
) -> Result<bool, DbError> {
    let sql = "UPDATE staff_operator SET password_hash = password_hash \
               WHERE operator_id = ? AND password_hash = ? AND state = ?";
    Ok(tx.execute(sql, params![operator, password_hash, ACTIVE]).await? == 1)
}

/// An operator without the roles, which stand in rows of their own.
fn operator_from(row: &Row) -> Result<Operator, DbError> {
    Ok(Operator {
        id: row.get("operator_id")?,
        email: row.get("email")?,
        display_name: row.get("display_name")?,
        is_owner: row.get("is_owner")?,
        roles: Vec::new(),
        stores: people::scope_from(row)?,
        is_active: row.get::<i64>("state")? == ACTIVE,
        has_second_factor: row.get::<i64>("second_factors")? > 0,
        created_at: row.get("created_at")?,
    })
}

pub(crate) async fn session_insert(
    tx: &mut Tx<'_>,
    token_hash: TokenHash,
    operator: OperatorId,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), DbError> {
    let mut insert = Insert::into_table(
        "staff_session",
        &[
            "token_hash",
            "operator_id",
            "created_at",
            "expires_at",
            "revoked_at",
        ],
    );
    insert.push(params![
        token_hash.to_hex(),
        operator,
        now,
        expires_at,
        None::<Timestamp>
    ]);
    tx.insert(insert).await.map(drop)
}

/// A session that is not revoked, of an operator who is not suspended.
pub(crate) async fn session_find(
    exec: &mut impl Executor,
    token_hash: TokenHash,
) -> Result<Option<Session>, DbError> {
    let sql = "SELECT s.expires_at, o.operator_id, o.is_owner, o.stores FROM staff_session s \
               JOIN staff_operator o ON o.operator_id = s.operator_id \
               WHERE s.token_hash = ? AND s.revoked_at IS NULL AND o.state = ?";
    let row = exec
        .fetch_optional(sql, params![token_hash.to_hex(), ACTIVE])
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (operator, is_owner): (OperatorId, bool) = (row.get("operator_id")?, row.get("is_owner")?);
    let permissions = if is_owner {
        BTreeSet::new()
    } else {
        people::permissions_of(exec, operator).await?
    };
    Ok(Some(Session {
        actor: actor_of(operator, is_owner, permissions, people::scope_from(&row)?),
        expires_at: row.get("expires_at")?,
    }))
}

/// Moves the end of a session on, unless somebody else did or it was revoked meanwhile.
pub(crate) async fn session_prolong(
    tx: &mut Tx<'_>,
    token_hash: TokenHash,
    from: Timestamp,
    to: Timestamp,
) -> Result<u64, DbError> {
    let sql = "UPDATE staff_session SET expires_at = ? WHERE token_hash = ? AND expires_at = ? AND revoked_at IS NULL";
    tx.execute(sql, params![to, token_hash.to_hex(), from]).await
}

/// Revokes a session of an operator and tells whether it was not revoked before.
pub(crate) async fn session_revoke(
    tx: &mut Tx<'_>,
    token_hash: TokenHash,
    operator: OperatorId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE staff_session SET revoked_at = ? WHERE token_hash = ? AND operator_id = ? AND revoked_at IS NULL";
    Ok(tx
        .execute(sql, params![now, token_hash.to_hex(), operator])
        .await?
        == 1)
}

/// Revokes all sessions of an operator and tells how many.
pub(crate) async fn session_revoke_all(
    tx: &mut Tx<'_>,
    operator: OperatorId,
    now: Timestamp,
) -> Result<u64, DbError> {
    let sql = "UPDATE staff_session SET revoked_at = ? WHERE operator_id = ? AND revoked_at IS NULL";
    tx.execute(sql, params![now, operator]).await
}

pub(crate) async fn session_delete_ended(tx: &mut Tx<'_>, before: Timestamp) -> Result<u64, DbError> {
    let sql = "SELECT token_hash FROM staff_session WHERE expires_at < ? ORDER BY expires_at LIMIT ?";
    let ended = texts(
        tx.fetch_all(sql, params![before, DELETE_BATCH]).await?,
        "token_hash",
    )?;
    if ended.is_empty() {
        return Ok(0);
    }
    tx.execute(
        "DELETE FROM staff_session WHERE token_hash IN (??)",
        vec![Param::Texts(ended)],
    )
    .await
}

/// Counts an attempt if the window has room; otherwise tells when the window ends. Each step is a statement
/// with a guard, so that of many attempts at once exactly as many pass as there is room for.
pub(crate) async fn login_attempt_count(
    tx: &mut Tx<'_>,
    email_index: &str,
    most: i64,
    now: Timestamp,
    window_ends_at: Timestamp,
) -> Result<Option<Timestamp>, DbError> {
    let within = "UPDATE staff_login_attempt SET failures = failures + 1 \
                  WHERE email_index = ? AND window_ends_at > ? AND failures < ?";
    if tx.execute(within, params![email_index, now, most]).await? == 1 {
        return Ok(None);
    }
    let anew = "UPDATE staff_login_attempt SET failures = 1, window_ends_at = ? \
                WHERE email_index = ? AND window_ends_at <= ?";
    if tx
        .execute(anew, params![window_ends_at, email_index, now])
        .await?
        == 1
    {
        return Ok(None);
    }
    let mut first = Insert::into_table(
        "staff_login_attempt",
        &["email_index", "failures", "window_ends_at"],
    )
    .skip_existing();
    first.push(params![email_index, 1_i64, window_ends_at]);
    if tx.insert(first).await? == 1 {
        return Ok(None);
    }
    let full = "SELECT window_ends_at FROM staff_login_attempt \
                WHERE email_index = ? AND window_ends_at > ? AND failures >= ?";
    let row = tx.fetch_optional(full, params![email_index, now, most]).await?;
    // Somebody else made, cleared or filled the row between these statements: once more from the start.
    let row = row.ok_or(DbError::Stale("staff_login_attempt"))?;
    row.get("window_ends_at").map(Some)
}

pub(crate) async fn login_attempt_clear(tx: &mut Tx<'_>, email_index: &str) -> Result<(), DbError> {
    tx.execute(
        "DELETE FROM staff_login_attempt WHERE email_index = ?",
        params![email_index],
    )
    .await
    .map(drop)
}

/// Takes one attempt out of a window again: it succeeded.
pub(crate) async fn login_attempt_take_back(
    tx: &mut Tx<'_>,
    index: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "UPDATE staff_login_attempt SET failures = failures - 1 \
               WHERE email_index = ? AND window_ends_at > ? AND failures > 0";
    tx.execute(sql, params![index, now]).await.map(drop)
}

pub(crate) async fn login_attempt_delete_ended(tx: &mut Tx<'_>, now: Timestamp) -> Result<u64, DbError> {
    let sql = "SELECT email_index FROM staff_login_attempt WHERE window_ends_at <= ? ORDER BY window_ends_at LIMIT ?";
    let ended = texts(
        tx.fetch_all(sql, params![now, DELETE_BATCH]).await?,
        "email_index",
    )?;
    if ended.is_empty() {
        return Ok(0);
    }
    // The window may have begun anew since it was read.
    let sql = "DELETE FROM staff_login_attempt WHERE window_ends_at <= ? AND email_index IN (??)";
    tx.execute(sql, vec![Param::Int(Some(now.as_millis())), Param::Texts(ended)])
        .await
}

pub(crate) async fn api_client_insert(
    tx: &mut Tx<'_>,
    client: &ApiClient,
    sealed: &[u8],
) -> Result<(), DbError> {
    let mut insert = Insert::into_table(
        "staff_api_client",
        &[
            "client_id",
            "name",
            "secret_sealed",
            "permissions",
            "state",
            "created_at",
            "revoked_at",
            "stores",
        ],
    );
    insert.push(params![
        client.id,
        &client.name,
        sealed.to_vec(),
        serde_json::Value::from(client.permissions.clone()).to_string(),
        ACTIVE,
        client.created_at,
        client.revoked_at,
        people::scope_text(&client.stores),
    ]);
    tx.insert(insert).await.map(drop)
}

/// What the signatures of a client that may sign are checked against.
pub(crate) struct SealedClient {
    pub(crate) permissions: Vec<String>,
    pub(crate) stores: StoreScope,
    pub(crate) sealed: Vec<u8>,
    /// The secret before, and until when it is taken.
    pub(crate) previous: Option<(Vec<u8>, Timestamp)>,
}

pub(crate) async fn api_client_find_active(
    exec: &mut impl Executor,
    client: ApiClientId,
) -> Result<Option<SealedClient>, DbError> {
    let sql = "SELECT permissions, stores, secret_sealed, previous_sealed, previous_until \
               FROM staff_api_client WHERE client_id = ? AND state = ?";
    let row = exec.fetch_optional(sql, params![client, ACTIVE]).await?;
    row.map(|row| {
        let (previous, until): (Option<Vec<u8>>, Option<Timestamp>) =
            (row.get("previous_sealed")?, row.get("previous_until")?);
        Ok(SealedClient {
            permissions: permissions_from(&row)?,
            stores: people::scope_from(&row)?,
            sealed: row.get("secret_sealed")?,
            previous: previous.zip(until),
        })
    })
    .transpose()
}

pub(crate) async fn api_client_list(
    exec: &mut impl Executor,
    after: Option<(Timestamp, ApiClientId)>,
    limit: u32,
) -> Result<Vec<ApiClient>, DbError> {
    let (created_at, id) = after.unwrap_or((Timestamp::MAX, ApiClientId::from_i64(i64::MAX)));
    let sql = format!(
        "SELECT {CLIENT_COLUMNS} FROM staff_api_client \
         WHERE created_at <= ? AND (created_at < ? OR client_id < ?) \
         ORDER BY created_at DESC, client_id DESC LIMIT ?"
    );
    let rows = exec
        .fetch_all(&sql, params![created_at, created_at, id, i64::from(limit)])
        .await?;
    rows.iter().map(api_client_from).collect()
}

pub(crate) async fn api_client_find(
    exec: &mut impl Executor,
    client: ApiClientId,
) -> Result<Option<ApiClient>, DbError> {
    let sql = format!("SELECT {CLIENT_COLUMNS} FROM staff_api_client WHERE client_id = ?");
    let row = exec.fetch_optional(&sql, params![client]).await?;
    row.as_ref().map(api_client_from).transpose()
}

/// Sets what an active client may do, and tells whether there is one.
pub(crate) async fn api_client_set_access(
    tx: &mut Tx<'_>,
    client: ApiClientId,
    permissions: &[String],
    stores: &StoreScope,
) -> Result<bool, DbError> {
    let sql = "UPDATE staff_api_client SET permissions = ?, stores = ? WHERE client_id = ? AND state = ?";
    let permissions = serde_json::json!(permissions).to_string();
    let row = params![permissions, people::scope_text(stores), client, ACTIVE];
    Ok(tx.execute(sql, row).await? == 1)
}

/// Puts a secret in the place of the present one, which becomes the previous one. Only where the previous one is no
/// longer taken, so that there are never more than two. Tells whether that was so.
pub(crate) async fn api_client_rotate(
    tx: &mut Tx<'_>,
    client: ApiClientId,
    sealed: &[u8],
    until: Timestamp,
    now: Timestamp,
) -> Result<bool, DbError> {
    // In this order: MySQL assigns from left to right, and the old value must be taken before it is replaced.
    let sql = "UPDATE staff_api_client SET previous_sealed = secret_sealed, secret_sealed = ?, previous_until = ? \
               WHERE client_id = ? AND state = ? AND (previous_until IS NULL OR previous_until <= ?)";
    let row = params![sealed.to_vec(), until, client, ACTIVE, now];
    Ok(tx.execute(sql, row).await? == 1)
}

/// Ends the previous secret of a client, and tells whether it was still taken.
pub(crate) async fn api_client_end_previous(
    tx: &mut Tx<'_>,
    client: ApiClientId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE staff_api_client SET previous_sealed = NULL, previous_until = NULL \
               WHERE client_id = ? AND previous_until > ?";
    Ok(tx.execute(sql, params![client, now]).await? == 1)
}

/// Revokes a client and tells whether it was active.
pub(crate) async fn api_client_revoke(
    tx: &mut Tx<'_>,
    client: ApiClientId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE staff_api_client SET state = ?, revoked_at = ? WHERE client_id = ? AND state = ?";
    Ok(tx.execute(sql, params![REVOKED, now, client, ACTIVE]).await? == 1)
}

fn api_client_from(row: &Row) -> Result<ApiClient, DbError> {
    Ok(ApiClient {
        id: row.get("client_id")?,
        name: row.get("name")?,
        permissions: permissions_from(row)?,
        stores: people::scope_from(row)?,
        state: if row.get::<i64>("state")? == ACTIVE {
            ApiClientState::Active
        } else {
            ApiClientState::Revoked
        },
        created_at: row.get("created_at")?,
        revoked_at: row.get("revoked_at")?,
        old_secret_until: row.get("previous_until")?,
    })
}

fn permissions_from(row: &Row) -> Result<Vec<String>, DbError> {
    serde_json::from_str(&row.get::<String>("permissions")?).map_err(|_| DbError::corrupt("permissions"))
}

fn texts(rows: Vec<Row>, column: &str) -> Result<Vec<String>, DbError> {
    rows.iter().map(|row| row.get(column)).collect()
}
