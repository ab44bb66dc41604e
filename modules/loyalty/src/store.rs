//! Loyalty's only SQL.

use std::collections::HashMap;

use huika_core::{MemberId, Timestamp};
use huika_db::{
    DbError, Executor, Param, Tx,
    dialect::{Insert, Update},
    params,
};

use crate::{
    Rules,
    app::{Membership, ProgramVersion, TierChange},
};

pub(crate) async fn version_list(executor: &mut impl Executor) -> Result<Vec<ProgramVersion>, DbError> {
    let sql = "SELECT version, rules, effective_from, published_at, published_by FROM loyalty_program_version \
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
            })
        })
        .collect()
}

pub(crate) async fn version_insert(tx: &mut Tx<'_>, version: &ProgramVersion) -> Result<(), DbError> {
    let rules = serde_json::to_string(&version.rules).map_err(|_| DbError::corrupt("rules"))?;
    tx.execute(
        "INSERT INTO loyalty_program_version (version, rules, effective_from, published_at, published_by) \
         VALUES (?, ?, ?, ?, ?)",
        params![
            version.version,
            rules,
            version.effective_from,
            version.published_at,
            &version.published_by
        ],
    )
    .await?;
    Ok(())
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
    let sql = "SELECT member_id, change_id, from_tier, to_tier, growth, reference, changed_at FROM loyalty_tier_change \
         WHERE member_id = ? ORDER BY changed_at DESC, change_id DESC LIMIT ?";
    let rows = executor.fetch_all(sql, params![member_id, limit]).await?;
    rows.iter()
        .map(|row| {
            Ok(TierChange {
                member_id: row.get("member_id")?,
                change_id: row.get("change_id")?,
                from_tier: row.get("from_tier")?,
                to_tier: row.get("to_tier")?,
                growth: row.get("growth")?,
                reference: row.get("reference")?,
                changed_at: row.get::<Timestamp>("changed_at")?,
            })
        })
        .collect()
}

/// Members per tier, without those who never left the first.
pub(crate) async fn membership_count(executor: &mut impl Executor) -> Result<Vec<(String, i64)>, DbError> {
    let sql = "SELECT tier, COUNT(*) AS members FROM loyalty_membership GROUP BY tier ORDER BY tier";
    let rows = executor.fetch_all(sql, params![]).await?;
    rows.iter()
        .map(|row| Ok((row.get("tier")?, row.get("members")?)))
        .collect()
}
