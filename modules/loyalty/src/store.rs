//! Loyalty's only SQL.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use huika_core::{BusinessDate, MemberId, Timestamp};
use huika_db::{
    DbError, Executor, Param, Row, Tx,
    dialect::{Insert, Merge, Update},
    params,
};

use crate::{
    Activity, CapPeriod, DaySums, Metrics, ProgramVersion, Rules, Span, TierReason,
    app::{Membership, TierChange},
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

/// Which state of the rows a query shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// That of the transaction or statement: for those who look.
    Seen,
    /// What is committed now, past older snapshots: for those who decide after they have locked the accounts.
    Current,
}

impl Reading {
    fn tail(self) -> &'static str {
        match self {
            Self::Seen => "",
            Self::Current => " FOR CURRENT",
        }
    }
}

/// Where members stand.
pub(crate) async fn membership_load(
    executor: &mut impl Executor,
    members: &[MemberId],
    reading: Reading,
) -> Result<HashMap<MemberId, Membership>, DbError> {
    if members.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT member_id, tier, tier_since, until_at, reason, version, revision FROM loyalty_membership \
         WHERE member_id IN (??){}",
        reading.tail()
    );
    let rows = executor.fetch_all(&sql, params![id_list(members)]).await?;
    rows.iter()
        .map(|row| {
            let span = Span {
                tier: row.get("tier")?,
                from: row.get("tier_since")?,
                until: row.get("until_at")?,
                reason: reason_of(row)?,
                version: row.get("version")?,
                metrics: Metrics::default(),
            };
            Ok((
                row.get("member_id")?,
                Membership {
                    span,
                    revision: row.get("revision")?,
                },
            ))
        })
        .collect()
}

/// Members whose tier is to be evaluated by now, the longest due first.
pub(crate) async fn membership_list_due(
    executor: &mut impl Executor,
    now: Timestamp,
    skip: i64,
    limit: i64,
) -> Result<Vec<MemberId>, DbError> {
    let sql = "SELECT member_id FROM loyalty_membership WHERE until_at <= ? ORDER BY until_at, member_id LIMIT ? OFFSET ?";
    let rows = executor.fetch_all(sql, params![now, limit, skip]).await?;
    rows.iter().map(|row| row.get("member_id")).collect()
}

/// Writes where members stand from now on, with the revision that was read (`None`: there was no row); somebody
/// else's change in between makes the transaction run again.
pub(crate) async fn membership_save(
    tx: &mut Tx<'_>,
    memberships: impl Iterator<Item = (MemberId, &Span, Option<i64>)>,
) -> Result<(), DbError> {
    let mut new = Insert::into_table(
        "loyalty_membership",
        &[
            "member_id",
            "tier",
            "tier_since",
            "until_at",
            "reason",
            "version",
            "revision",
        ],
    );
    let mut known = Update::table(
        "loyalty_membership",
        &["tier", "tier_since", "until_at", "reason", "version", "revision"],
        &["member_id", "revision"],
    );
    for (member_id, span, revision) in memberships {
        let reason = span.reason.name();
        match revision {
            None => new.push(params![
                member_id,
                &span.tier,
                span.from,
                span.until,
                reason,
                span.version,
                1_i64
            ]),
            Some(revision) => known.push(params![
                &span.tier,
                span.from,
                span.until,
                reason,
                span.version,
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

/// What members did, by business date, and the moment of the last purchase of each.
pub(crate) async fn activity_load(
    executor: &mut impl Executor,
    members: &[MemberId],
    reading: Reading,
) -> Result<HashMap<MemberId, (Activity, Timestamp)>, DbError> {
    if members.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT member_id, day, spend_minor, orders, growth, refunded_minor, refunded_orders, refunded_growth, \
         last_at FROM loyalty_activity WHERE member_id IN (??){}",
        reading.tail()
    );
    let rows = executor.fetch_all(&sql, params![id_list(members)]).await?;
    let mut activities: HashMap<MemberId, (Activity, Timestamp)> = HashMap::with_capacity(members.len());
    for row in &rows {
        let known = activities
            .entry(row.get("member_id")?)
            .or_insert_with(|| (Activity::default(), Timestamp::MIN));
        let sums = DaySums {
            gained: Metrics {
                spend_minor: row.get("spend_minor")?,
                orders: row.get("orders")?,
                growth: row.get("growth")?,
            },
            refunded: Metrics {
                spend_minor: row.get("refunded_minor")?,
                orders: row.get("refunded_orders")?,
                growth: row.get("refunded_growth")?,
            },
        };
        known.0.add(BusinessDate::from_days(row.get("day")?), sums);
        known.1 = known.1.max(row.get("last_at")?);
    }
    Ok(activities)
}

/// Adds to what members did.
pub(crate) async fn activity_add(
    tx: &mut Tx<'_>,
    days: &BTreeMap<(MemberId, BusinessDate), (DaySums, Timestamp)>,
) -> Result<(), DbError> {
    let mut insert = Insert::into_table(
        "loyalty_activity",
        &[
            "member_id",
            "day",
            "spend_minor",
            "orders",
            "growth",
            "refunded_minor",
            "refunded_orders",
            "refunded_growth",
            "last_at",
        ],
    )
    .merging(Merge {
        keys: &["member_id", "day"],
        sums: &[
            "spend_minor",
            "orders",
            "growth",
            "refunded_minor",
            "refunded_orders",
            "refunded_growth",
        ],
        greatest: &["last_at"],
    });
    for ((member_id, day), (sums, last_at)) in days {
        insert.push(params![
            *member_id,
            day.as_days(),
            sums.gained.spend_minor,
            sums.gained.orders,
            sums.gained.growth,
            sums.refunded.spend_minor,
            sums.refunded.orders,
            sums.refunded.growth,
            *last_at,
        ]);
    }
    tx.insert(insert).await.map(drop)
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
            "until_at",
            "reason",
            "version",
            "spend_minor",
            "orders",
        ],
    );
    for change in changes {
        let span = &change.span;
        insert.push(params![
            change.member_id,
            change.change_id,
            &change.from_tier,
            &span.tier,
            span.metrics.growth,
            &change.reference,
            span.from,
            change.changed_at,
            span.until,
            span.reason.name(),
            span.version,
            span.metrics.spend_minor,
            span.metrics.orders,
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

/// The changes of some members' tiers that stand, in the order in which they took effect.
pub(crate) async fn tier_changes_of(
    executor: &mut impl Executor,
    members: &[MemberId],
) -> Result<Vec<TierChange>, DbError> {
    if members.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT {CHANGE_COLUMNS} FROM loyalty_tier_change WHERE member_id IN (??) AND superseded_at IS NULL \
         ORDER BY member_id, effective_at, change_id"
    );
    let rows = executor.fetch_all(&sql, params![id_list(members)]).await?;
    rows.iter().map(change_from).collect()
}

const CHANGE_COLUMNS: &str = "member_id, change_id, from_tier, to_tier, growth, reference, effective_at, changed_at, \
     until_at, reason, version, spend_minor, orders";

fn change_from(row: &Row) -> Result<TierChange, DbError> {
    Ok(TierChange {
        member_id: row.get("member_id")?,
        change_id: row.get("change_id")?,
        from_tier: row.get("from_tier")?,
        reference: row.get("reference")?,
        changed_at: row.get("changed_at")?,
        span: Span {
            tier: row.get("to_tier")?,
            from: row.get("effective_at")?,
            until: row.get("until_at")?,
            reason: reason_of(row)?,
            version: row.get("version")?,
            metrics: Metrics {
                spend_minor: row.get("spend_minor")?,
                orders: row.get("orders")?,
                growth: row.get("growth")?,
            },
        },
    })
}

/// One counter of a member: a cap of a rule in one of its periods.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CounterKey {
    pub(crate) member_id: MemberId,
    pub(crate) code: String,
    pub(crate) cap: CapPeriod,
    pub(crate) period: BusinessDate,
}

fn code_of(cap: CapPeriod) -> i64 {
    match cap {
        CapPeriod::Day => 1,
        CapPeriod::Week => 2,
        CapPeriod::Month => 3,
        CapPeriod::Budget => 4,
    }
}

fn cap_of(code: i64) -> Result<CapPeriod, DbError> {
    [CapPeriod::Day, CapPeriod::Week, CapPeriod::Month]
        .into_iter()
        .find(|cap| code_of(*cap) == code)
        .ok_or_else(|| DbError::corrupt("cap"))
}

/// What members used of caps in the periods that begin on a date or later.
pub(crate) async fn counter_load(
    tx: &mut Tx<'_>,
    members: &[MemberId],
    since: BusinessDate,
) -> Result<HashMap<CounterKey, i64>, DbError> {
    if members.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = "SELECT member_id, code, cap, period, used FROM loyalty_counter \
         WHERE member_id IN (??) AND period >= ? FOR CURRENT";
    let rows = tx
        .fetch_all(sql, params![id_list(members), since.as_days()])
        .await?;
    rows.iter()
        .map(|row| {
            let key = CounterKey {
                member_id: row.get("member_id")?,
                code: row.get("code")?,
                cap: cap_of(row.get("cap")?)?,
                period: BusinessDate::from_days(row.get("period")?),
            };
            Ok((key, row.get("used")?))
        })
        .collect()
}

pub(crate) async fn counter_add(tx: &mut Tx<'_>, added: &BTreeMap<CounterKey, i64>) -> Result<(), DbError> {
    let mut insert = Insert::into_table("loyalty_counter", &["member_id", "code", "cap", "period", "used"])
        .merging(Merge {
            keys: &["member_id", "code", "cap", "period"],
            sums: &["used"],
            greatest: &[],
        });
    for (key, used) in added {
        insert.push(params![
            key.member_id,
            &key.code,
            code_of(key.cap),
            key.period.as_days(),
            *used
        ]);
    }
    tx.insert(insert).await.map(drop)
}

/// What was spent of budgets, locked in the order of their codes.
pub(crate) async fn budget_lock(
    tx: &mut Tx<'_>,
    codes: BTreeSet<String>,
) -> Result<HashMap<String, i64>, DbError> {
    if codes.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = "SELECT code, used FROM loyalty_budget WHERE code IN (??) ORDER BY code FOR UPDATE";
    let rows = tx
        .fetch_all(sql, params![Param::Texts(codes.into_iter().collect())])
        .await?;
    rows.iter()
        .map(|row| Ok((row.get("code")?, row.get("used")?)))
        .collect()
}

/// Spends from a budget of which `read` was spent before.
pub(crate) async fn budget_spend(tx: &mut Tx<'_>, code: &str, read: i64, spent: i64) -> Result<(), DbError> {
    let sql = "UPDATE loyalty_budget SET used = used + ? WHERE code = ? AND used = ?";
    if tx.execute(sql, params![spent, code, read]).await? == 1 {
        return Ok(());
    }
    // Nobody has spent from it yet, or somebody else did after it was read.
    let mut insert = Insert::into_table("loyalty_budget", &["code", "used"]);
    insert.push(params![code, spent]);
    match tx.insert(insert).await {
        Err(DbError::Duplicate(_)) => Err(DbError::Stale("loyalty_budget")),
        other => other.map(drop),
    }
}

fn reason_of(row: &Row) -> Result<TierReason, DbError> {
    TierReason::from_name(&row.get::<String>("reason")?).ok_or_else(|| DbError::corrupt("reason"))
}

fn id_list(members: &[MemberId]) -> Param {
    Param::Ints(members.iter().map(|id| id.as_i64()).collect())
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
