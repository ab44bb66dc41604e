//! The tables of behaviour: the only SQL of this module.

use std::collections::{BTreeMap, HashSet};

use huika_core::{BusinessDate, IdGenerator, IdKind, MemberId, Timestamp};
use huika_db::{
    DbError, Executor, Row, Tx,
    dialect::{Insert, Update, pair_condition},
    params,
};

use crate::{CountView, Event, EventView, Settings, domain::Filed};

/// Rows that one transaction of the job deletes, about: those of one moment go together.
const DELETED_ROWS: i64 = 500;
const ONLY: i64 = 1;
/// What a whole event weighs in a count.
const WEIGHT_OF_ONE: i64 = 10_000;

enum RowKind {}
impl IdKind for RowKind {
    const PREFIX: &'static str = "beh";
}

/// The settings in force with their version; zero while nobody has decided.
pub(crate) async fn settings_load(executor: &mut impl Executor) -> Result<(Settings, i64), DbError> {
    let sql = "SELECT document, version FROM behavior_setting WHERE setting_id = ?";
    let Some(row) = executor.fetch_optional(sql, params![ONLY]).await? else {
        return Ok((Settings::default(), 0));
    };
    let document: String = row.get("document")?;
    let settings = serde_json::from_str(&document).map_err(|_| DbError::corrupt("document"))?;
    Ok((settings, row.get("version")?))
}

/// Replaces the settings that were read.
///
/// # Errors
/// [`DbError::Stale`] when somebody else has replaced them: the transaction runs again.
pub(crate) async fn settings_save(
    tx: &mut Tx<'_>,
    settings: &Settings,
    version: i64,
    now: Timestamp,
) -> Result<(), DbError> {
    let document = serde_json::to_string(settings).map_err(|_| DbError::corrupt("document"))?;
    if version == 0 {
        let mut insert = Insert::into_table(
            "behavior_setting",
            &["setting_id", "document", "version", "updated_at"],
        )
        .skip_existing();
        insert.push(params![ONLY, document, 1_i64, now]);
        return match tx.insert(insert).await? {
            1 => Ok(()),
            _ => Err(DbError::Stale("behavior_setting")),
        };
    }
    let mut update = Update::table(
        "behavior_setting",
        &["document", "version", "updated_at"],
        &["setting_id", "version"],
    );
    update.push(params![document, version + 1, now, ONLY, version]);
    tx.update(update).await
}

/// Stores events and says which of these rows were known already.
pub(crate) async fn event_insert(
    tx: &mut Tx<'_>,
    ids: &IdGenerator,
    now: Timestamp,
    events: &[&Event],
    rows: &[(usize, Filed)],
) -> Result<HashSet<usize>, DbError> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let mut insert = Insert::into_table(
        "behavior_event",
        &[
            "subject_id",
            "occurred_at",
            "event_key",
            "row_id",
            "subject_kind",
            "name",
            "channel",
            "page",
            "element",
            "duration_ms",
            "properties",
            "sample_bp",
            "received_at",
        ],
    )
    .skip_existing();
    let mut made: Vec<(i64, i64)> = Vec::with_capacity(rows.len());
    // In the order of the key, so that two processes that store the same events wait and never stand crosswise.
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_unstable_by_key(|row| {
        let (at, filed) = &rows[*row];
        (filed.subject_id, events[*at].occurred_at, events[*at].key())
    });
    let row_ids: Vec<i64> = rows
        .iter()
        .map(|_| ids.next_at::<RowKind>(now).as_i64())
        .collect();
    for row in order {
        let (at, filed) = &rows[row];
        let event = events[*at];
        made.push((filed.subject_id, row_ids[row]));
        insert.push(params![
            filed.subject_id,
            event.occurred_at,
            event.key(),
            row_ids[row],
            filed.subject_kind,
            event.name.as_str(),
            event.channel.as_str(),
            event.page.as_deref(),
            event.element.as_deref(),
            event.duration_ms,
            event.properties.as_json(),
            i64::from(filed.sample_bp),
            now,
        ]);
    }
    if tx.insert(insert).await? == rows.len() as u64 {
        return Ok(HashSet::new());
    }
    // Some were there: ours are those that bear the number which we gave them.
    let (condition, params) = pair_condition(tx.engine(), ("subject_id", "row_id"), &made);
    let sql = format!("SELECT row_id FROM behavior_event WHERE {condition}");
    let ours = tx
        .fetch_all(&sql, params)
        .await?
        .iter()
        .map(|row| row.get("row_id"))
        .collect::<Result<HashSet<i64>, DbError>>()?;
    Ok((0..rows.len())
        .filter(|row| !ours.contains(&row_ids[*row]))
        .collect())
}

/// Adds to counts of this bucket.
pub(crate) async fn count_add(
    tx: &mut Tx<'_>,
    bucket: i64,
    counts: &BTreeMap<(BusinessDate, &str, &str), (i64, i64)>,
) -> Result<(), DbError> {
    for ((day, name, channel), (stored, weight)) in counts {
        let sql = "UPDATE behavior_count SET stored = stored + ?, weight = weight + ? \
                   WHERE day = ? AND name = ? AND channel = ? AND bucket = ?";
        let added = params![*stored, *weight, *day, *name, *channel, bucket];
        if tx.execute(sql, added).await? > 0 {
            continue;
        }
        let mut insert = Insert::into_table(
            "behavior_count",
            &["day", "name", "channel", "bucket", "stored", "weight"],
        )
        .skip_existing();
        insert.push(params![*day, *name, *channel, bucket, *stored, *weight]);
        if tx.insert(insert).await? == 0 {
            return Err(DbError::Stale("behavior_count"));
        }
    }
    Ok(())
}

/// Counts of these days, summed over buckets, in order.
pub(crate) async fn count_list(
    executor: &mut impl Executor,
    (from, until): (BusinessDate, BusinessDate),
    name: Option<&str>,
    limit: i64,
) -> Result<Vec<CountView>, DbError> {
    let named = if name.is_some() { "AND name = ? " } else { "" };
    let sql = format!(
        "SELECT day, name, channel, CAST(SUM(stored) AS {{int}}) AS stored, CAST(SUM(weight) AS {{int}}) AS weight \
         FROM behavior_count WHERE day >= ? AND day <= ? {named}GROUP BY day, name, channel \
         ORDER BY day, name, channel LIMIT ?"
    );
    let mut params = params![from, until];
    if let Some(name) = name {
        params.extend(params![name]);
    }
    params.extend(params![limit]);
    executor
        .fetch_all(&sql, params)
        .await?
        .iter()
        .map(|row| {
            let weight: i64 = row.get("weight")?;
            Ok(CountView {
                day: row.get("day")?,
                name: row.get("name")?,
                channel: row.get("channel")?,
                stored: row.get("stored")?,
                estimated: weight.saturating_add(WEIGHT_OF_ONE / 2) / WEIGHT_OF_ONE,
            })
        })
        .collect()
}

/// A member's events before a place in the list, the latest first.
pub(crate) async fn event_list(
    executor: &mut impl Executor,
    member_id: MemberId,
    before: Option<(i64, i64)>,
    limit: i64,
) -> Result<Vec<EventView>, DbError> {
    let sql = "SELECT occurred_at, event_key, name, channel, page, element, duration_ms, properties \
               FROM behavior_event WHERE subject_id = ? AND subject_kind = 1 AND occurred_at <= ? \
               AND (occurred_at < ? OR event_key < ?) ORDER BY occurred_at DESC, event_key DESC LIMIT ?";
    let (occurred_at, event_key) = before.unwrap_or((i64::MAX, i64::MAX));
    let params = params![member_id, occurred_at, occurred_at, event_key, limit];
    executor
        .fetch_all(sql, params)
        .await?
        .iter()
        .map(event_from)
        .collect()
}

fn event_from(row: &Row) -> Result<EventView, DbError> {
    Ok(EventView {
        occurred_at: row.get("occurred_at")?,
        event_key: row.get("event_key")?,
        name: row.get("name")?,
        channel: row.get("channel")?,
        page: row.get("page")?,
        element: row.get("element")?,
        duration_ms: row.get("duration_ms")?,
        properties: row.get("properties")?,
    })
}

/// Deletes the oldest events received before a moment, some at a time.
pub(crate) async fn event_delete_before(tx: &mut Tx<'_>, limit: Timestamp) -> Result<u64, DbError> {
    let sql =
        "SELECT received_at FROM behavior_event WHERE received_at < ? ORDER BY received_at LIMIT 1 OFFSET ?";
    let row = tx.fetch_optional(sql, params![limit, DELETED_ROWS - 1]).await?;
    // Fewer than that are left: all of them go.
    let until: Timestamp = match row {
        Some(row) => row.get("received_at")?,
        None => limit.plus_millis(-1),
    };
    tx.execute(
        "DELETE FROM behavior_event WHERE received_at <= ?",
        params![until],
    )
    .await
}
