//! Loyalty's only SQL.

use std::collections::HashMap;

use huika_core::{MemberId, Timestamp};
use huika_db::{
    DbError, Executor, Param, Row, Tx,
    dialect::{Insert, Update},
    params,
};

use crate::{
    Rules,
    app::{Membership, ProgramVersion, TierChange},
};

const PUBLISHED: i64 = 1;
const WITHDRAWN: i64 = 2;

pub(crate) async fn version_list(executor: &mut impl Executor) -> Result<Vec<ProgramVersion>, DbError> {
    let sql = "SELECT version, rules, effective_from, published_at, published_by, state FROM loyalty_program_version \
         ORDER BY version";
    let rows = executor.fetch_all(sql, params![]).await?;
    rows.iter()
        .map(|row| {
            let rules: Rules =
                serde_json::from_str(&row.get::<String>("rules")?).map_err(|_| DbError::corrupt("rules"))?;
            Ok(ProgramVersion {
                version: row.get("version")?,
                rules,
                effective_from: row.get("effective_from")?,
                published_at: row.get("published_at")?,
                published_by: row.get("published_by")?,
                withdrawn: row.get::<i64>("state")? == WITHDRAWN,
            })
        })
        .collect()
}

pub(crate) async fn version_insert(tx: &mut Tx<'_>, version: &ProgramVersion) -> Result<(), DbError> {
    let rules = serde_json::to_string(&version.rules).map_err(|_| DbError::corrupt("rules"))?;
    tx.execute(
        "INSERT INTO loyalty_program_version (version, rules, effective_from, published_at, published_by, state) \
         VALUES (?, ?, ?, ?, ?, ?)",
        params![
            version.version,
            rules,
            version.effective_from,
            version.published_at,
            &version.published_by,
            PUBLISHED
        ],
    )
    .await?;
    Ok(())
}

/// Withdraws a version that begins no earlier than a moment, and tells whether it was there to be withdrawn.
pub(crate) async fn version_withdraw(
    tx: &mut Tx<'_>,
    version: i64,
    earliest: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE loyalty_program_version SET state = ? WHERE version = ? AND state = ? AND effective_from >= ?";
    let met = tx
        .execute(sql, params![WITHDRAWN, version, PUBLISHED, earliest])
        .await?;
    Ok(met == 1)
}

pub(crate) async fn membership_load(
    executor: &mut impl Executor,
    members: &[MemberId],
) -> Result<HashMap<MemberId, Membership>, DbError> {
    if members.is_empty() {
        return Ok(HashMap::new());
    }
    let ids = Param::Ints(members.iter().map(|id| id.as_i64()).collect());
    let sql = "SELECT member_id, tier, tier_since, revision FROM loyalty_membership WHERE member_id IN (??)";
    let rows = executor.fetch_all(sql, params![ids]).await?;
    rows.iter()
        .map(|row| {
            let membership = Membership {
                tier: row.get("tier")?,
                tier_since: row.get("tier_since")?,
                revision: Some(row.get("revision")?),
                changed: false,
                past: Vec::new(),
            };
            Ok((row.get("member_id")?, membership))
        })
        .collect()
}

/// Writes changed memberships; somebody else's change in between makes the transaction run again.
pub(crate) async fn membership_save(
    tx: &mut Tx<'_>,
    memberships: impl Iterator<Item = (MemberId, &Membership)>,
) -> Result<(), DbError> {
    let mut new = Insert::into_table(
        "loyalty_membership",
        &["member_id", "tier", "tier_since", "revision"],
    );
    let mut known = Update::table(
        "loyalty_membership",
        &["tier", "tier_since", "revision"],
        &["member_id", "revision"],
    );
    for (member_id, membership) in memberships.filter(|(_, membership)| membership.changed) {
        match membership.revision {
            None => new.push(params![member_id, &membership.tier, membership.tier_since, 1_i64]),
            Some(revision) => known.push(params![
                &membership.tier,
                membership.tier_since,
                revision + 1,
                member_id,
                revision
            ]),
        }
    }
    match tx.insert(new).await {
        Err(DbError::Duplicate(_)) => return Err(DbError::Stale("loyalty_membership")),
        other => other?,
    };
    tx.update(known).await
}

pub(crate) async fn tier_change_insert(tx: &mut Tx<'_>, changes: &[TierChange]) -> Result<(), DbError> {
    let mut insert = Insert::into_table(
        "loyalty_tier_change",
        &[
            "member_id",
            "change_id",
            "from_tier",
            "to_tier",
            "growth",
            "reference",
            "effective_at",
            "changed_at",
        ],
    );
    for change in changes {
        insert.push(params![
            change.member_id,
            change.change_id,
            &change.from_tier,
            &change.to_tier,
            change.growth,
            &change.reference,
            change.effective_at,
            change.changed_at,
        ]);
    }
    tx.insert(insert).await.map(drop)
}

pub(crate) async fn tier_change_list(
    executor: &mut impl Executor,
    member_id: MemberId,
    limit: i64,
) -> Result<Vec<TierChange>, DbError> {
    let sql = format!(
        "SELECT {CHANGE_COLUMNS} FROM loyalty_tier_change WHERE member_id = ? \
         ORDER BY changed_at DESC, change_id DESC LIMIT ?"
    );
    let rows = executor.fetch_all(&sql, params![member_id, limit]).await?;
    rows.iter().map(change_from).collect()
}

/// Every change of some members' tiers, in the order in which they took effect.
pub(crate) async fn tier_changes_of(
    executor: &mut impl Executor,
    members: &[MemberId],
) -> Result<Vec<TierChange>, DbError> {
    if members.is_empty() {
        return Ok(Vec::new());
    }
    let ids = Param::Ints(members.iter().map(|id| id.as_i64()).collect());
    let sql = format!(
        "SELECT {CHANGE_COLUMNS} FROM loyalty_tier_change WHERE member_id IN (??) \
         ORDER BY member_id, effective_at, change_id"
    );
    let rows = executor.fetch_all(&sql, params![ids]).await?;
    rows.iter().map(change_from).collect()
}

const CHANGE_COLUMNS: &str =
    "member_id, change_id, from_tier, to_tier, growth, reference, effective_at, changed_at";

fn change_from(row: &Row) -> Result<TierChange, DbError> {
    Ok(TierChange {
        member_id: row.get("member_id")?,
        change_id: row.get("change_id")?,
        from_tier: row.get("from_tier")?,
        to_tier: row.get("to_tier")?,
        growth: row.get("growth")?,
        reference: row.get("reference")?,
        effective_at: row.get("effective_at")?,
        changed_at: row.get("changed_at")?,
    })
}

/// Members who have a tier or a change of it, in pages by id.
pub(crate) async fn tiered_page(tx: &mut Tx<'_>, after: i64, limit: i64) -> Result<Vec<MemberId>, DbError> {
    // Each part has the limit of the whole, so that a page reads no more than a page.
    let sql = "SELECT member_id FROM (SELECT member_id FROM loyalty_membership \
         WHERE member_id > ? ORDER BY member_id LIMIT ?) m \
         UNION SELECT member_id FROM (SELECT DISTINCT member_id FROM loyalty_tier_change \
         WHERE member_id > ? ORDER BY member_id LIMIT ?) c ORDER BY member_id LIMIT ?";
    let rows = tx
        .fetch_all(sql, params![after, limit, after, limit, limit])
        .await?;
    rows.iter().map(|row| row.get("member_id")).collect()
}

/// Members per tier, without those who never left the first.
pub(crate) async fn membership_count(executor: &mut impl Executor) -> Result<Vec<(String, i64)>, DbError> {
    let sql = "SELECT tier, COUNT(*) AS members FROM loyalty_membership GROUP BY tier ORDER BY tier";
    let rows = executor.fetch_all(sql, params![]).await?;
    rows.iter()
        .map(|row| Ok((row.get("tier")?, row.get("members")?)))
        .collect()
}
