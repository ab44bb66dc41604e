//! Reading accounts. What time has changed since the last write is worked out in memory: a read never
//! shows value that has expired, and never writes.

use std::collections::BTreeMap;

use huika_core::{IdGenerator, MemberId, Timestamp};
use huika_db::{DbError, Executor, Param, params};
use serde::Serialize;

use crate::{
    Asset, EntryKind, EntryOutcome, LedgerError, LotId, PostingId,
    domain::{Account, Lot, LotState, MemberState, settle},
    store,
};

/// How often a read of an account that is due starts again because somebody wrote meanwhile. A write settles
/// the account, so twice is rare.
const SETTLED_TRIES: usize = 5;

/// An account at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Balance {
    /// Free to spend; negative while there is a deficit.
    pub available: i64,
    /// Waiting for a date or an event.
    pub pending: i64,
    /// Set aside for orders that await payment.
    pub held: i64,
    /// All that ever came in, less what was taken back.
    pub lifetime_in: i64,
    /// All that was ever spent, less what was put back.
    pub lifetime_out: i64,
}

/// The place of a lot among those of its account: earliest expiry first, never-expiring last, older before younger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LotPlace {
    /// When it is lost; the end of time when never.
    pub expires_at: Timestamp,
    /// Which.
    pub lot_id: LotId,
}

impl From<(Option<Timestamp>, LotId)> for LotPlace {
    fn from((expires_at, lot_id): (Option<Timestamp>, LotId)) -> Self {
        Self {
            expires_at: expires_at.unwrap_or(Timestamp::MAX),
            lot_id,
        }
    }
}

/// A lot that is not closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LotView {
    /// Which.
    pub lot_id: LotId,
    /// Of what.
    pub asset: Asset,
    /// The posting that made it.
    pub posting_id: PostingId,
    /// How much it began with.
    pub amount: i64,
    /// How much is left, held included.
    pub remaining: i64,
    /// How much of that is held.
    pub held: i64,
    /// Whether it waits for its date or event.
    pub pending: bool,
    /// From when on it can be spent. `None`: at once, or by event alone.
    pub available_at: Option<Timestamp>,
    /// When it is lost. `None`: never.
    pub expires_at: Option<Timestamp>,
}

/// One entry of an account with its posting, newest first.
#[derive(Debug, Clone)]
pub struct StatementLine {
    /// The number of the entry in its account.
    pub sequence: i64,
    /// The posting.
    pub posting_id: PostingId,
    /// The kind of the posting, whose module explains the trace.
    pub posting_kind: String,
    /// The kind of the entry.
    pub entry_kind: String,
    /// What the posting is about.
    pub reference: String,
    /// Change of what is free to spend.
    pub available_change: i64,
    /// Change of what is pending.
    pub pending_change: i64,
    /// Change of what is held.
    pub held_change: i64,
    /// What should have been taken and was forgiven.
    pub shortfall: i64,
    /// When it counts.
    pub effective_at: Timestamp,
    /// When it was written.
    pub recorded_at: Timestamp,
    /// Why, as JSON of the module.
    pub trace: Option<String>,
}

/// One account at `now`.
///
/// # Errors
/// When the database fails.
pub async fn balance(
    executor: &mut impl Executor,
    ids: &IdGenerator,
    member_id: MemberId,
    asset: Asset,
    now: Timestamp,
) -> Result<Balance, LedgerError> {
    Ok(balances(executor, ids, member_id, now)
        .await?
        .remove(&asset)
        .unwrap_or_default())
}

/// All accounts of a member at `now`.
///
/// # Errors
/// When the database fails.
pub async fn balances(
    executor: &mut impl Executor,
    ids: &IdGenerator,
    member_id: MemberId,
    now: Timestamp,
) -> Result<BTreeMap<Asset, Balance>, LedgerError> {
    let state = settled(executor, ids, member_id, now).await?;
    Ok(state
        .accounts
        .into_iter()
        .map(|(asset, account)| {
            let balance = Balance {
                available: account.available,
                pending: account.pending,
                held: account.held,
                lifetime_in: account.lifetime_in,
                lifetime_out: account.lifetime_out,
            };
            (asset, balance)
        })
        .collect())
}

/// The lots of an asset that are not closed at `now`, earliest expiry first: at most `limit` of those after
/// `after`, by their place.
///
/// # Errors
/// When the database fails.
pub async fn lots(
    executor: &mut impl Executor,
    ids: &IdGenerator,
    member_id: MemberId,
    asset: Asset,
    now: Timestamp,
    after: Option<LotPlace>,
    limit: usize,
) -> Result<Vec<LotView>, LedgerError> {
    let state = settled(executor, ids, member_id, now).await?;
    let mut lots: Vec<Lot> = if state.complete.contains(&asset) {
        state.lots.into_values().collect()
    } else {
        store::lot_list(executor, member_id, asset, after, limit).await?
    };
    lots.retain(|lot| lot.asset == asset && lot.state != LotState::Closed && Some(place_of(lot)) > after);
    lots.sort_by_key(place_of);
    lots.truncate(limit);
    Ok(lots
        .into_iter()
        .map(|lot| LotView {
            lot_id: lot.lot_id,
            asset: lot.asset,
            posting_id: lot.posting_id,
            amount: lot.amount,
            remaining: lot.remaining,
            held: lot.held,
            pending: lot.state == LotState::Pending,
            available_at: lot.available_at,
            expires_at: lot.expires_at,
        })
        .collect())
}

/// What is lost first of an asset, and when: all lots of the earliest expiry together. `None`: nothing ever.
///
/// # Errors
/// When the database fails.
pub async fn first_expiring(
    executor: &mut impl Executor,
    ids: &IdGenerator,
    member_id: MemberId,
    asset: Asset,
    now: Timestamp,
) -> Result<Option<(i64, Timestamp)>, LedgerError> {
    let state = settled(executor, ids, member_id, now).await?;
    if !state.complete.contains(&asset) {
        return Ok(store::lot_first_expiring(executor, member_id, asset).await?);
    }
    let lots = || {
        let lots = state.lots.values();
        lots.filter(|lot| lot.asset == asset && lot.state != LotState::Closed)
    };
    let first = lots().filter_map(|lot| lot.expires_at).min();
    Ok(first.map(|first| {
        let lost = lots().filter(|lot| lot.expires_at == Some(first));
        (lost.map(|lot| lot.remaining).sum(), first)
    }))
}

fn place_of(lot: &Lot) -> LotPlace {
    (lot.expires_at, lot.lot_id).into()
}

/// The accounts as they stand at `now`. Trusts the rows while nothing is due, and loads lots only then.
async fn settled(
    executor: &mut impl Executor,
    ids: &IdGenerator,
    member_id: MemberId,
    now: Timestamp,
) -> Result<MemberState, LedgerError> {
    let mut accounts = accounts_of(executor, member_id).await?;
    for _ in 0..SETTLED_TRIES {
        let mut state = MemberState::default();
        state.accounts = accounts;
        let due: Vec<Asset> = state.due(now).collect();
        if due.is_empty() {
            return Ok(state);
        }
        let which = due.iter().map(|asset| (member_id, *asset)).collect();
        let mut members = BTreeMap::from([(member_id, state)]);
        store::lot_load_open(executor, &mut members, &which).await?;
        store::hold_load_open(executor, &mut members, &which).await?;
        let mut state = members.remove(&member_id).unwrap_or_default();
        // Accounts, lots and holds belong together only if nobody wrote between the statements.
        let after = accounts_of(executor, member_id).await?;
        if after != state.accounts {
            accounts = after;
            continue;
        }
        for asset in due {
            settle(&mut state, ids, now, member_id, asset);
        }
        return Ok(state);
    }
    Err(DbError::Stale("ledger_account").into())
}

async fn accounts_of(
    executor: &mut impl Executor,
    member_id: MemberId,
) -> Result<BTreeMap<Asset, Account>, DbError> {
    let sql = format!(
        "SELECT {} FROM ledger_account WHERE member_id = ?",
        store::ACCOUNT_COLUMNS
    );
    let rows = executor.fetch_all(&sql, params![member_id]).await?;
    rows.iter()
        .map(|row| Ok((store::asset_from(row)?, store::account_from(row)?)))
        .collect()
}

/// The entries of an account below `before`, newest first.
///
/// # Errors
/// When the database fails.
pub async fn statement(
    executor: &mut impl Executor,
    member_id: MemberId,
    asset: Asset,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<StatementLine>, DbError> {
    let sql = "SELECT e.sequence, e.posting_id, e.kind AS entry_kind, e.available_change, e.pending_change, \
         e.held_change, e.shortfall, p.kind AS posting_kind, p.reference, p.effective_at, p.recorded_at, p.trace \
         FROM ledger_entry e JOIN ledger_posting p ON p.member_id = e.member_id AND p.posting_id = e.posting_id \
         WHERE e.member_id = ? AND e.asset = ? AND e.sequence < ? ORDER BY e.sequence DESC LIMIT ?";
    let rows = executor
        .fetch_all(
            sql,
            params![member_id, asset.code(), before.unwrap_or(i64::MAX), limit],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(StatementLine {
                sequence: row.get("sequence")?,
                posting_id: row.get("posting_id")?,
                posting_kind: row.get("posting_kind")?,
                entry_kind: row.get("entry_kind")?,
                reference: row.get("reference")?,
                available_change: row.get("available_change")?,
                pending_change: row.get("pending_change")?,
                held_change: row.get("held_change")?,
                shortfall: row.get("shortfall")?,
                effective_at: row.get("effective_at")?,
                recorded_at: row.get("recorded_at")?,
                trace: row.get("trace")?,
            })
        })
        .collect()
}

/// A posting as it was answered.
#[derive(Debug, Clone)]
pub struct PostingView {
    /// The kind, whose module explains the trace.
    pub kind: String,
    /// What it is about.
    pub reference: String,
    /// When it counts.
    pub effective_at: Timestamp,
    /// What happened, in order.
    pub entries: Vec<EntryOutcome>,
    /// Why, as JSON of the module.
    pub trace: Option<String>,
}

/// One posting of a member, if it exists.
///
/// # Errors
/// When the database fails.
pub async fn posting(
    executor: &mut impl Executor,
    member_id: MemberId,
    posting_id: PostingId,
) -> Result<Option<PostingView>, DbError> {
    let sql = "SELECT kind, reference, effective_at, outcome, trace FROM ledger_posting \
         WHERE member_id = ? AND posting_id = ?";
    let Some(row) = executor
        .fetch_optional(sql, params![member_id, posting_id])
        .await?
    else {
        return Ok(None);
    };
    Ok(Some(PostingView {
        kind: row.get("kind")?,
        reference: row.get("reference")?,
        effective_at: row.get("effective_at")?,
        entries: store::outcomes_from(&row)?,
        trace: row.get("trace")?,
    }))
}

/// A posting and what it is about, for proofs that join documents and postings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostingReference {
    /// Whose.
    pub member_id: MemberId,
    /// Which.
    pub posting_id: PostingId,
    /// What it is about.
    pub reference: String,
}

/// The postings of some kinds of some members.
///
/// # Errors
/// When the database fails.
pub async fn posting_references(
    executor: &mut impl Executor,
    members: &[MemberId],
    kinds: &[&str],
) -> Result<Vec<PostingReference>, DbError> {
    let members = Param::Ints(members.iter().map(|id| id.as_i64()).collect());
    let kinds = Param::Texts(kinds.iter().map(|kind| (*kind).to_owned()).collect());
    let sql = "SELECT member_id, posting_id, reference FROM ledger_posting WHERE member_id IN (??) AND kind IN (??)";
    let rows = executor.fetch_all(sql, params![members, kinds]).await?;
    rows.iter()
        .map(|row| {
            Ok(PostingReference {
                member_id: row.get("member_id")?,
                posting_id: row.get("posting_id")?,
                reference: row.get("reference")?,
            })
        })
        .collect()
}

/// The present balance of one asset of some members, as their rows say: for assets that time does not change.
///
/// # Errors
/// When the database fails.
pub async fn stored_balances(
    executor: &mut impl Executor,
    members: &[MemberId],
    asset: Asset,
) -> Result<Vec<(MemberId, i64)>, DbError> {
    let members = Param::Ints(members.iter().map(|id| id.as_i64()).collect());
    let sql = "SELECT member_id, available + pending + held AS total FROM ledger_account \
         WHERE member_id IN (??) AND asset = ?";
    let rows = executor.fetch_all(sql, params![members, asset.code()]).await?;
    rows.iter()
        .map(|row| Ok((row.get("member_id")?, row.get("total")?)))
        .collect()
}

/// Sums of all accounts per asset: available, pending, held and how many accounts lie at or above zero.
///
/// # Errors
/// When the database fails.
pub async fn asset_totals(executor: &mut impl Executor) -> Result<Vec<(Asset, Balance, i64)>, DbError> {
    let sql = "SELECT asset, COUNT(*) AS accounts, CAST(SUM(available) AS {int}) AS available, \
         CAST(SUM(pending) AS {int}) AS pending, CAST(SUM(held) AS {int}) AS held, \
         CAST(SUM(lifetime_in) AS {int}) AS lifetime_in, CAST(SUM(lifetime_out) AS {int}) AS lifetime_out \
         FROM ledger_account GROUP BY asset ORDER BY asset";
    let rows = executor.fetch_all(sql, params![]).await?;
    rows.iter()
        .map(|row| {
            let balance = Balance {
                available: row.get("available")?,
                pending: row.get("pending")?,
                held: row.get("held")?,
                lifetime_in: row.get("lifetime_in")?,
                lifetime_out: row.get("lifetime_out")?,
            };
            Ok((store::asset_from(row)?, balance, row.get("accounts")?))
        })
        .collect()
}

/// What each counter-account gave (positive) or took (negative) per asset.
///
/// # Errors
/// When the database fails.
pub async fn counter_totals(executor: &mut impl Executor) -> Result<Vec<(Asset, String, i64)>, DbError> {
    let sql = "SELECT asset, counter_account, \
         CAST(SUM(available_change + pending_change + held_change) AS {int}) AS total \
         FROM ledger_entry GROUP BY asset, counter_account ORDER BY asset, counter_account";
    let rows = executor.fetch_all(sql, params![]).await?;
    rows.iter()
        .map(|row| {
            Ok((
                store::asset_from(row)?,
                row.get("counter_account")?,
                row.get("total")?,
            ))
        })
        .collect()
}

/// What each posting gave (positive) or took back (negative) of an asset on the accounts of some members, for proofs:
/// without what time did to it, or later spending.
///
/// # Errors
/// When the database fails.
pub async fn posted_changes(
    executor: &mut impl Executor,
    members: &[MemberId],
    asset: Asset,
) -> Result<Vec<(MemberId, PostingId, i64)>, DbError> {
    let members = Param::Ints(members.iter().map(|id| id.as_i64()).collect());
    let kinds = [EntryKind::Earn, EntryKind::ReverseEarn, EntryKind::ClawBack];
    let kinds = Param::Texts(kinds.iter().map(|kind| kind.name().to_owned()).collect());
    let sql = "SELECT member_id, posting_id, \
         CAST(SUM(available_change + pending_change + held_change) AS {int}) AS moved FROM ledger_entry \
         WHERE member_id IN (??) AND kind IN (??) AND asset = ? GROUP BY member_id, posting_id";
    let rows = executor
        .fetch_all(sql, params![members, kinds, asset.code()])
        .await?;
    rows.iter()
        .map(|row| Ok((row.get("member_id")?, row.get("posting_id")?, row.get("moved")?)))
        .collect()
}

/// What all postings of some kinds gave less what they took back of an asset, for proofs.
///
/// # Errors
/// When the database fails.
pub async fn posted_total(
    executor: &mut impl Executor,
    asset: Asset,
    posting_kinds: &[&str],
) -> Result<i64, DbError> {
    let kinds = [EntryKind::Earn, EntryKind::ReverseEarn, EntryKind::ClawBack];
    let kinds = Param::Texts(kinds.iter().map(|kind| kind.name().to_owned()).collect());
    let posting_kinds = Param::Texts(posting_kinds.iter().map(|kind| (*kind).to_owned()).collect());
    let sql = "SELECT CAST(COALESCE(SUM(e.available_change + e.pending_change + e.held_change), 0) AS {int}) AS moved \
         FROM ledger_entry e JOIN ledger_posting p ON p.member_id = e.member_id AND p.posting_id = e.posting_id \
         WHERE e.asset = ? AND e.kind IN (??) AND p.kind IN (??)";
    let row = executor
        .fetch_one(sql, params![asset.code(), kinds, posting_kinds])
        .await?;
    row.get("moved")
}
