//! The ledger's only SQL.

use std::collections::{BTreeMap, BTreeSet};

use huika_core::{Id, IdKind, MemberId, Timestamp};
use huika_db::{
    DbError, Executor, Param, Row, Tx,
    dialect::{Insert, Update, pair_condition},
    params,
};

use crate::{
    Asset, HoldId, InputHash, LedgerError, LotId, LotPlace, PostingId,
    domain::{
        Account, EntryKind, EntryOutcome, Hold, HoldState, Lot, LotState, MemberState, Posting, Source,
        StoredAnswer,
    },
};

type Members = BTreeMap<MemberId, MemberState>;

fn keys_of<'a, K: IdKind>(ids: impl IntoIterator<Item = &'a Id<K>>) -> Param {
    Param::Ints(ids.into_iter().map(|id| id.as_i64()).collect())
}

pub(crate) fn asset_from(row: &Row) -> Result<Asset, DbError> {
    Asset::from_code(row.get("asset")?).ok_or_else(|| DbError::corrupt("asset"))
}

pub(crate) fn outcomes_from(row: &Row) -> Result<Vec<EntryOutcome>, DbError> {
    serde_json::from_str(&row.get::<String>("outcome")?).map_err(|_| DbError::corrupt("outcome"))
}

pub(crate) const ACCOUNT_COLUMNS: &str =
    "member_id, asset, available, pending, held, lifetime_in, lifetime_out, sequence, chain, next_change_at";

pub(crate) fn account_from(row: &Row) -> Result<Account, DbError> {
    let (sequence, next_change_at) = (row.get("sequence")?, row.get("next_change_at")?);
    Ok(Account {
        available: row.get("available")?,
        pending: row.get("pending")?,
        held: row.get("held")?,
        lifetime_in: row.get("lifetime_in")?,
        lifetime_out: row.get("lifetime_out")?,
        sequence,
        chain: row.get("chain")?,
        next_change_at,
        stored: Some((sequence, next_change_at)),
    })
}

/// The members with accounts that time has changed, a member for each account, the longest due first.
pub(crate) async fn account_list_due(
    executor: &mut impl Executor,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<MemberId>, DbError> {
    let sql =
        "SELECT member_id FROM ledger_account WHERE next_change_at <= ? ORDER BY next_change_at LIMIT ?";
    let rows = executor.fetch_all(sql, params![now, limit]).await?;
    rows.iter().map(|row| row.get("member_id")).collect()
}

pub(crate) async fn account_load_and_lock_in_tx(
    tx: &mut Tx<'_>,
    members: &mut Members,
) -> Result<(), DbError> {
    let sql = format!(
        "SELECT {ACCOUNT_COLUMNS} FROM ledger_account WHERE member_id IN (??) ORDER BY member_id, asset FOR UPDATE"
    );
    for row in tx.fetch_all(&sql, params![keys_of(members.keys())]).await? {
        if let Some(state) = members.get_mut(&row.get("member_id")?) {
            state.accounts.insert(asset_from(&row)?, account_from(&row)?);
        }
    }
    Ok(())
}

pub(crate) async fn answer_load_in_tx(
    tx: &mut Tx<'_>,
    members: &mut Members,
    keys: Vec<(i64, String)>,
) -> Result<(), DbError> {
    if keys.is_empty() {
        return Ok(());
    }
    let (condition, params) = pair_condition(tx.engine(), ("member_id", "idem_key"), &keys);
    let sql = format!(
        "SELECT member_id, idem_key, input_hash, posting_id, outcome FROM ledger_posting WHERE {condition}"
    );
    for row in tx.fetch_all(&sql, params).await? {
        if let Some(state) = members.get_mut(&row.get("member_id")?) {
            let answer = StoredAnswer {
                input: InputHash(row.get("input_hash")?),
                posting_id: row.get("posting_id")?,
                entries: outcomes_from(&row)?,
            };
            state.answers.insert(row.get("idem_key")?, answer);
        }
    }
    Ok(())
}

pub(crate) const LOT_COLUMNS: &str = "member_id, lot_id, asset, posting_id, amount, remaining, held, expired, state, available_at, \
     release_event, expires_at";

pub(crate) fn lot_from(row: &Row) -> Result<Lot, DbError> {
    Ok(Lot {
        lot_id: row.get("lot_id")?,
        asset: asset_from(row)?,
        posting_id: row.get("posting_id")?,
        amount: row.get("amount")?,
        remaining: row.get("remaining")?,
        held: row.get("held")?,
        expired: row.get("expired")?,
        state: LotState::from_code(row.get("state")?).ok_or_else(|| DbError::corrupt("state"))?,
        available_at: row.get("available_at")?,
        release_event: row.get("release_event")?,
        expires_at: row.get("expires_at")?,
        stored: true,
        changed: false,
    })
}

/// Loads the lots that are not closed of some members' assets: a statement for each asset, so that nobody's other
/// lots are read along.
pub(crate) async fn lot_load_open(
    executor: &mut impl Executor,
    members: &mut Members,
    which: &BTreeSet<(MemberId, Asset)>,
) -> Result<(), DbError> {
    let sql = format!(
        "SELECT {LOT_COLUMNS} FROM ledger_lot WHERE member_id IN (??) AND asset = ? AND state IN (1, 2)"
    );
    for asset in Asset::ALL {
        let ids = which
            .iter()
            .filter(|(_, of)| *of == asset)
            .map(|(member_id, _)| member_id);
        let ids: Vec<&MemberId> = ids.collect();
        if ids.is_empty() {
            continue;
        }
        for row in executor
            .fetch_all(&sql, params![keys_of(ids), asset.code()])
            .await?
        {
            if let Some(state) = members.get_mut(&row.get("member_id")?) {
                let lot = lot_from(&row)?;
                state.lots.insert(lot.lot_id, lot);
            }
        }
    }
    Ok(())
}

/// The lots of one asset that are not closed, in the order of their places.
pub(crate) async fn lot_list(
    executor: &mut impl Executor,
    member_id: MemberId,
    asset: Asset,
    after: Option<LotPlace>,
    limit: usize,
) -> Result<Vec<Lot>, DbError> {
    let after = after.unwrap_or(LotPlace {
        expires_at: Timestamp::MIN,
        lot_id: LotId::from_i64(i64::MIN),
    });
    let place = "COALESCE(expires_at, ?)";
    let sql = format!(
        "SELECT {LOT_COLUMNS} FROM ledger_lot WHERE member_id = ? AND asset = ? AND state IN (1, 2) \
         AND ({place} > ? OR ({place} = ? AND lot_id > ?)) ORDER BY {place}, lot_id LIMIT ?"
    );
    let (never, at, limit) = (
        Timestamp::MAX,
        after.expires_at,
        i64::try_from(limit).unwrap_or(i64::MAX),
    );
    let params = params![
        member_id,
        asset.code(),
        never,
        at,
        never,
        at,
        after.lot_id,
        never,
        limit
    ];
    executor
        .fetch_all(&sql, params)
        .await?
        .iter()
        .map(lot_from)
        .collect()
}

/// What of an asset is lost first.
pub(crate) async fn lot_first_expiring(
    executor: &mut impl Executor,
    member_id: MemberId,
    asset: Asset,
) -> Result<Option<(i64, Timestamp)>, DbError> {
    let sql = "SELECT CAST(SUM(remaining) AS {int}) AS remaining, expires_at FROM ledger_lot \
         WHERE member_id = ? AND asset = ? AND state IN (1, 2) AND expires_at IS NOT NULL \
         GROUP BY expires_at ORDER BY expires_at LIMIT 1";
    let row = executor
        .fetch_optional(sql, params![member_id, asset.code()])
        .await?;
    row.map(|row| Ok((row.get("remaining")?, row.get("expires_at")?)))
        .transpose()
}

pub(crate) const HOLD_COLUMNS: &str = "member_id, hold_id, asset, amount, lots, lapses_at, state";

pub(crate) fn hold_from(row: &Row) -> Result<Hold, DbError> {
    let lots: Vec<(i64, i64)> =
        serde_json::from_str(&row.get::<String>("lots")?).map_err(|_| DbError::corrupt("lots"))?;
    Ok(Hold {
        hold_id: row.get("hold_id")?,
        asset: asset_from(row)?,
        amount: row.get("amount")?,
        lots: lots
            .into_iter()
            .map(|(lot, part)| (LotId::from_i64(lot), part))
            .collect(),
        lapses_at: row.get("lapses_at")?,
        state: HoldState::from_code(row.get("state")?).ok_or_else(|| DbError::corrupt("state"))?,
        stored: true,
        changed: false,
    })
}

/// Loads the open holds of these members, and with them the last of what makes their assets complete. Few accounts
/// have any, and those say so.
pub(crate) async fn hold_load_open(
    executor: &mut impl Executor,
    members: &mut Members,
    which: &BTreeSet<(MemberId, Asset)>,
) -> Result<(), DbError> {
    let holding: BTreeSet<MemberId> = which
        .iter()
        .filter(|(member_id, asset)| {
            let account = members.get(member_id).and_then(|state| state.accounts.get(asset));
            account.is_some_and(|account| account.held != 0)
        })
        .map(|(member_id, _)| *member_id)
        .collect();
    if !holding.is_empty() {
        let sql = format!("SELECT {HOLD_COLUMNS} FROM ledger_hold WHERE member_id IN (??) AND state = 1");
        for row in executor.fetch_all(&sql, params![keys_of(&holding)]).await? {
            if let Some(state) = members.get_mut(&row.get("member_id")?) {
                let hold = hold_from(&row)?;
                state.holds.insert(hold.hold_id, hold);
            }
        }
    }
    for (member_id, asset) in which {
        if let Some(state) = members.get_mut(member_id) {
            state.complete.insert(*asset);
        }
    }
    Ok(())
}

/// Loads a hold that a command names, so that one which is closed is told from one that never was. Says of what
/// it is.
pub(crate) async fn hold_load_in_tx(
    tx: &mut Tx<'_>,
    members: &mut Members,
    member_id: MemberId,
    hold_id: HoldId,
) -> Result<Option<Asset>, DbError> {
    let sql = format!("SELECT {HOLD_COLUMNS} FROM ledger_hold WHERE member_id = ? AND hold_id = ?");
    let row = tx.fetch_optional(&sql, params![member_id, hold_id]).await?;
    let (Some(row), Some(state)) = (row, members.get_mut(&member_id)) else {
        return Ok(None);
    };
    let hold = hold_from(&row)?;
    let asset = hold.asset;
    state.holds.insert(hold_id, hold);
    Ok(Some(asset))
}

/// Loads the postings to reverse, what was reversed of them before, and the lots they made or spent. Says of which
/// assets that is not enough to take back what they earned.
pub(crate) async fn source_load_in_tx(
    tx: &mut Tx<'_>,
    members: &mut Members,
    wanted: Vec<(MemberId, PostingId)>,
) -> Result<BTreeSet<(MemberId, Asset)>, DbError> {
    let sources: Vec<(i64, i64)> = wanted
        .iter()
        .map(|(member_id, posting_id)| (member_id.as_i64(), posting_id.as_i64()))
        .collect();
    let mut lots = BTreeSet::new();
    for (member_id, posting_id, entries) in outcomes_load_in_tx(tx, &sources).await? {
        let Some(state) = members.get_mut(&member_id) else {
            continue;
        };
        for entry in &entries {
            let (made, spent) = match entry.kind {
                EntryKind::Earn => (entry.lot_id, [].as_slice()),
                EntryKind::Spend | EntryKind::PostHold => (None, entry.lots.as_slice()),
                _ => continue,
            };
            let touched = made.into_iter().chain(spent.iter().map(|(lot_id, _)| *lot_id));
            lots.extend(touched.map(|lot_id| (member_id.as_i64(), lot_id.as_i64())));
        }
        state.sources.insert(
            posting_id,
            Source {
                entries,
                ..Source::default()
            },
        );
    }

    let (condition, params) = pair_condition(tx.engine(), ("member_id", "source_posting_id"), &sources);
    let sql = format!("SELECT DISTINCT member_id, posting_id FROM ledger_reversal WHERE {condition}");
    let rows = tx.fetch_all(&sql, params).await?;
    let reversals = rows
        .iter()
        .map(|row| Ok((row.get("member_id")?, row.get("posting_id")?)))
        .collect::<Result<Vec<(i64, i64)>, DbError>>()?;
    if !reversals.is_empty() {
        for (member_id, _, entries) in outcomes_load_in_tx(tx, &reversals).await? {
            let Some(state) = members.get_mut(&member_id) else {
                continue;
            };
            for entry in &entries {
                if let Some(source) = entry.source.and_then(|source| state.sources.get_mut(&source)) {
                    source.count(entry);
                }
            }
        }
    }

    if !lots.is_empty() {
        let lots: Vec<(i64, i64)> = lots.into_iter().collect();
        let (condition, params) = pair_condition(tx.engine(), ("member_id", "lot_id"), &lots);
        let sql = format!("SELECT {LOT_COLUMNS} FROM ledger_lot WHERE {condition}");
        for row in tx.fetch_all(&sql, params).await? {
            if let Some(state) = members.get_mut(&row.get("member_id")?) {
                let lot = lot_from(&row)?;
                state.lots.insert(lot.lot_id, lot);
            }
        }
    }
    let mut uncovered = BTreeSet::new();
    for (member_id, posting_id) in wanted {
        let Some(state) = members.get(&member_id) else {
            continue;
        };
        // One that is not there yet may come from an earlier command of the same book.
        let known = state.sources.contains_key(&posting_id);
        let assets = Asset::ALL.into_iter();
        let assets = assets.filter(|asset| !known || !state.covers(posting_id, *asset));
        uncovered.extend(assets.map(|asset| (member_id, asset)));
    }
    Ok(uncovered)
}

async fn outcomes_load_in_tx(
    tx: &mut Tx<'_>,
    postings: &[(i64, i64)],
) -> Result<Vec<(MemberId, PostingId, Vec<EntryOutcome>)>, DbError> {
    let (condition, params) = pair_condition(tx.engine(), ("member_id", "posting_id"), postings);
    let sql = format!("SELECT member_id, posting_id, outcome FROM ledger_posting WHERE {condition}");
    let rows = tx.fetch_all(&sql, params).await?;
    rows.iter()
        .map(|row| Ok((row.get("member_id")?, row.get("posting_id")?, outcomes_from(row)?)))
        .collect()
}

/// Writes a book. Accounts first and guarded by their sequence: if any is not what was read, nothing counts.
pub(crate) async fn book_save_in_tx(
    tx: &mut Tx<'_>,
    members: &Members,
    postings: Vec<Posting>,
) -> Result<(), LedgerError> {
    let mut new_accounts = Insert::into_table(
        "ledger_account",
        &[
            "member_id",
            "asset",
            "available",
            "pending",
            "held",
            "lifetime_in",
            "lifetime_out",
            "sequence",
            "chain",
            "next_change_at",
        ],
    );
    let mut accounts = Update::table(
        "ledger_account",
        &[
            "available",
            "pending",
            "held",
            "lifetime_in",
            "lifetime_out",
            "sequence",
            "chain",
            "next_change_at",
        ],
        &["member_id", "asset", "sequence"],
    );
    let mut new_lots = Insert::into_table(
        "ledger_lot",
        &[
            "member_id",
            "lot_id",
            "asset",
            "posting_id",
            "amount",
            "remaining",
            "held",
            "expired",
            "state",
            "available_at",
            "release_event",
            "expires_at",
        ],
    );
    let mut lots = Update::table(
        "ledger_lot",
        &[
            "remaining",
            "held",
            "expired",
            "state",
            "release_event",
            "expires_at",
        ],
        &["member_id", "lot_id"],
    );
    let mut new_holds = Insert::into_table(
        "ledger_hold",
        &[
            "member_id",
            "hold_id",
            "asset",
            "amount",
            "lots",
            "lapses_at",
            "state",
        ],
    );
    let mut holds = Update::table("ledger_hold", &["lots", "state"], &["member_id", "hold_id"]);
    for (member_id, state) in members {
        for (asset, account) in state.accounts.iter().filter(|(_, account)| account.is_changed()) {
            let values = params![
                account.available,
                account.pending,
                account.held,
                account.lifetime_in,
                account.lifetime_out,
                account.sequence,
                account.chain,
                account.next_change_at,
            ];
            match account.stored {
                None => new_accounts.push([params![*member_id, asset.code()], values].concat()),
                Some((sequence, _)) => {
                    accounts.push([values, params![*member_id, asset.code(), sequence]].concat())
                }
            }
        }
        for lot in state.lots.values().filter(|lot| lot.changed) {
            if lot.stored {
                lots.push(params![
                    lot.remaining,
                    lot.held,
                    lot.expired,
                    lot.state.code(),
                    lot.release_event.as_ref(),
                    lot.expires_at,
                    *member_id,
                    lot.lot_id,
                ]);
            } else {
                new_lots.push(params![
                    *member_id,
                    lot.lot_id,
                    lot.asset.code(),
                    lot.posting_id,
                    lot.amount,
                    lot.remaining,
                    lot.held,
                    lot.expired,
                    lot.state.code(),
                    lot.available_at,
                    lot.release_event.as_ref(),
                    lot.expires_at,
                ]);
            }
        }
        for hold in state.holds.values().filter(|hold| hold.changed) {
            let pairs: Vec<(i64, i64)> = hold
                .lots
                .iter()
                .map(|(lot, part)| (lot.as_i64(), *part))
                .collect();
            let pairs = serde_json::to_string(&pairs).map_err(|_| DbError::corrupt("lots"))?;
            if hold.stored {
                holds.push(params![pairs, hold.state.code(), *member_id, hold.hold_id]);
            } else {
                new_holds.push(params![
                    *member_id,
                    hold.hold_id,
                    hold.asset.code(),
                    hold.amount,
                    pairs,
                    hold.lapses_at,
                    hold.state.code(),
                ]);
            }
        }
    }

    let mut headers = Insert::into_table(
        "ledger_posting",
        &[
            "member_id",
            "posting_id",
            "kind",
            "idem_key",
            "input_hash",
            "reference",
            "actor",
            "effective_at",
            "recorded_at",
            "outcome",
            "trace",
        ],
    );
    let mut entries = Insert::into_table(
        "ledger_entry",
        &[
            "member_id",
            "asset",
            "sequence",
            "posting_id",
            "kind",
            "counter_account",
            "available_change",
            "pending_change",
            "held_change",
            "shortfall",
            "chain",
        ],
    );
    let mut lot_entries = Insert::into_table(
        "ledger_lot_entry",
        &[
            "member_id",
            "posting_id",
            "lot_id",
            "remaining_change",
            "held_change",
        ],
    );
    let mut reversals = Insert::into_table(
        "ledger_reversal",
        &["member_id", "source_posting_id", "posting_id"],
    );
    for posting in postings {
        let (member_id, posting_id) = (posting.member_id, posting.posting_id);
        for (outcome, link) in posting.outcomes.iter().zip(&posting.links) {
            entries.push(params![
                member_id,
                outcome.asset.code(),
                link.sequence,
                posting_id,
                outcome.kind.name(),
                outcome.counter_account.name(),
                outcome.available_change,
                outcome.pending_change,
                outcome.held_change,
                outcome.shortfall,
                link.chain,
            ]);
        }
        for (lot_id, (remaining, held)) in &posting.lot_entries {
            lot_entries.push(params![member_id, posting_id, *lot_id, *remaining, *held]);
        }
        for source in &posting.reverses {
            reversals.push(params![member_id, *source, posting_id]);
        }
        let outcome = serde_json::to_string(&posting.outcomes).map_err(|_| DbError::corrupt("outcome"))?;
        headers.push(params![
            member_id,
            posting_id,
            posting.kind,
            posting.key,
            posting.input.0,
            posting.reference,
            posting.actor,
            posting.effective_at,
            posting.recorded_at,
            outcome,
            posting.trace,
        ]);
    }

    tx.update(accounts).await?;
    insert_first_in_tx(tx, new_accounts).await?;
    insert_first_in_tx(tx, headers).await?;
    tx.insert(entries).await?;
    tx.insert(new_lots).await?;
    tx.update(lots).await?;
    tx.insert(lot_entries).await?;
    tx.insert(new_holds).await?;
    tx.update(holds).await?;
    tx.insert(reversals).await?;
    Ok(())
}

/// Inserts rows whose key another transaction may have taken meanwhile: then this one runs again and finds it.
async fn insert_first_in_tx(tx: &mut Tx<'_>, insert: Insert) -> Result<(), DbError> {
    match tx.insert(insert).await {
        Err(DbError::Duplicate(_)) => Err(DbError::Stale("ledger")),
        other => other.map(drop),
    }
}
