//! Stores.

use huika_core::Timestamp;
use huika_db::{DbError, Executor, Param, Row, Tx, dialect::Insert, params};

use crate::domain::shop::{Store, StoreCode};

const OPEN: i64 = 1;
const CLOSED: i64 = 2;
const COLUMNS: &str = "code, name_zh, name_en, state, created_at, closed_at";

/// Makes a store, unless its code is taken.
pub(crate) async fn store_insert(tx: &mut Tx<'_>, store: &Store) -> Result<bool, DbError> {
    let mut insert = Insert::into_table(
        "staff_store",
        &["code", "name_zh", "name_en", "state", "created_at"],
    )
    .skip_existing();
    insert.push(params![
        store.code.as_str(),
        &store.name_zh,
        store.name_en.as_ref(),
        OPEN,
        store.created_at,
    ]);
    Ok(tx.insert(insert).await? == 1)
}

/// Renames a store and tells whether there is one.
pub(crate) async fn store_rename(
    tx: &mut Tx<'_>,
    code: &StoreCode,
    name_zh: &str,
    name_en: Option<&str>,
) -> Result<bool, DbError> {
    let sql = "UPDATE staff_store SET name_zh = ?, name_en = ? WHERE code = ?";
    Ok(tx.execute(sql, params![name_zh, name_en, code.as_str()]).await? == 1)
}

/// Closes a store and tells whether it was open.
pub(crate) async fn store_close(tx: &mut Tx<'_>, code: &StoreCode, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE staff_store SET state = ?, closed_at = ? WHERE code = ? AND state = ?";
    Ok(tx.execute(sql, params![CLOSED, now, code.as_str(), OPEN]).await? == 1)
}

pub(crate) async fn store_find(exec: &mut impl Executor, code: &StoreCode) -> Result<Option<Store>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM staff_store WHERE code = ?");
    let row = exec.fetch_optional(&sql, params![code.as_str()]).await?;
    row.as_ref().map(store_from).transpose()
}

/// Stores by their codes, closed ones too.
pub(crate) async fn store_list(
    exec: &mut impl Executor,
    after: Option<&StoreCode>,
    limit: u32,
) -> Result<Vec<Store>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM staff_store WHERE code > ? ORDER BY code LIMIT ?");
    let after = after.map(StoreCode::as_str).unwrap_or_default();
    let rows = exec.fetch_all(&sql, params![after, i64::from(limit)]).await?;
    rows.iter().map(store_from).collect()
}

/// Which of these codes are those of open stores.
pub(crate) async fn store_open_among(
    exec: &mut impl Executor,
    codes: Vec<String>,
) -> Result<Vec<String>, DbError> {
    if codes.is_empty() {
        return Ok(codes);
    }
    let sql = "SELECT code FROM staff_store WHERE code IN (??) AND state = 1";
    let rows = exec.fetch_all(sql, vec![Param::Texts(codes)]).await?;
    rows.iter().map(|row| row.get("code")).collect()
}

fn store_from(row: &Row) -> Result<Store, DbError> {
    let code: String = row.get("code")?;
    Ok(Store {
        code: code.parse().map_err(|_| DbError::corrupt("code"))?,
        name_zh: row.get("name_zh")?,
        name_en: row.get("name_en")?,
        is_open: row.get::<i64>("state")? == OPEN,
        created_at: row.get("created_at")?,
        closed_at: row.get("closed_at")?,
    })
}
