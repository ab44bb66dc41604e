//! The second factor and its recovery codes.

use huika_core::Timestamp;
use huika_db::{DbError, Executor, Tx, dialect::Insert, params};

use crate::domain::operator::OperatorId;

const ENROLLING: i64 = 1;
const ACTIVE: i64 = 2;

/// A device as it is stored.
pub(crate) struct SecondFactor {
    pub(crate) sealed: Vec<u8>,
    pub(crate) is_active: bool,
    pub(crate) created_at: Timestamp,
}

pub(crate) async fn factor_find(
    exec: &mut impl Executor,
    operator: OperatorId,
) -> Result<Option<SecondFactor>, DbError> {
    let sql = "SELECT secret_sealed, state, created_at FROM staff_second_factor WHERE operator_id = ?";
    let row = exec.fetch_optional(sql, params![operator]).await?;
    row.map(|row| {
        Ok(SecondFactor {
            sealed: row.get("secret_sealed")?,
            is_active: row.get::<i64>("state")? == ACTIVE,
            created_at: row.get("created_at")?,
        })
    })
    .transpose()
}

/// Begins with a device in place of one that was never confirmed. False when there is an active one.
pub(crate) async fn factor_enrol(
    tx: &mut Tx<'_>,
    operator: OperatorId,
    sealed: &[u8],
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "DELETE FROM staff_second_factor WHERE operator_id = ? AND state = ?";
    tx.execute(sql, params![operator, ENROLLING]).await?;
    let mut insert = Insert::into_table(
        "staff_second_factor",
        &["operator_id", "secret_sealed", "state", "last_step", "created_at"],
    )
    .skip_existing();
    insert.push(params![operator, sealed.to_vec(), ENROLLING, 0_i64, now]);
    Ok(tx.insert(insert).await? == 1)
}

/// Activates the device that was enrolled at a moment, and tells whether it still was the one.
pub(crate) async fn factor_confirm(
    tx: &mut Tx<'_>,
    operator: OperatorId,
    enrolled_at: Timestamp,
    step: i64,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE staff_second_factor SET state = ?, last_step = ?, confirmed_at = ? \
               WHERE operator_id = ? AND state = ? AND created_at = ?";
    let row = params![ACTIVE, step, now, operator, ENROLLING, enrolled_at];
    Ok(tx.execute(sql, row).await? == 1)
}

/// Takes the code of a step, and tells whether neither it nor a later one was taken before.
pub(crate) async fn factor_take_step(
    tx: &mut Tx<'_>,
    operator: OperatorId,
    step: i64,
) -> Result<bool, DbError> {
    let sql =
        "UPDATE staff_second_factor SET last_step = ? WHERE operator_id = ? AND state = ? AND last_step < ?";
    Ok(tx.execute(sql, params![step, operator, ACTIVE, step]).await? == 1)
}

/// Removes device and recovery codes, and tells whether there was an active device.
pub(crate) async fn factor_remove(tx: &mut Tx<'_>, operator: OperatorId) -> Result<bool, DbError> {
    let sql = "DELETE FROM staff_second_factor WHERE operator_id = ? AND state = ?";
    let removed = tx.execute(sql, params![operator, ACTIVE]).await? == 1;
    let sql = "DELETE FROM staff_second_factor WHERE operator_id = ?";
    tx.execute(sql, params![operator]).await?;
    recovery_remove(tx, operator).await?;
    Ok(removed)
}

async fn recovery_remove(tx: &mut Tx<'_>, operator: OperatorId) -> Result<(), DbError> {
    let sql = "DELETE FROM staff_recovery_code WHERE operator_id = ?";
    tx.execute(sql, params![operator]).await.map(drop)
}

/// Replaces the recovery codes.
pub(crate) async fn recovery_set(
    tx: &mut Tx<'_>,
    operator: OperatorId,
    indexes: &[String],
) -> Result<(), DbError> {
    recovery_remove(tx, operator).await?;
    let mut insert = Insert::into_table("staff_recovery_code", &["operator_id", "code_index"]);
    for index in indexes {
        insert.push(params![operator, index]);
    }
    tx.insert(insert).await.map(drop)
}

/// Uses a recovery code up, and tells whether it was there unused.
pub(crate) async fn recovery_take(
    tx: &mut Tx<'_>,
    operator: OperatorId,
    index: &str,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE staff_recovery_code SET used_at = ? WHERE operator_id = ? AND code_index = ? AND used_at IS NULL";
    Ok(tx.execute(sql, params![now, operator, index]).await? == 1)
}
