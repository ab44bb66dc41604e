//! Proving the ledger: every account, lot, hold and hash chain is rebuilt from the history and compared.
//!
//! Works on one snapshot of the database while others go on writing, member after member in pages, so its
//! memory does not grow with the ledger. A row that cannot even be read is a finding like any other.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt::Write as _,
};

use huika_core::{MemberId, Timestamp};
use huika_db::{DbError, Executor, Param, Row, Tx, params};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    Asset, HoldId, InputHash, LedgerError, LotId, PostingId,
    domain::{
        Account, EntryKind, EntryOutcome, Hold, HoldState, Lot, PostingDigest, Replay, ReplayedHold,
        ReplayedLot, Source, chain_next,
    },
    store,
};

/// Members per page.
const PAGE: i64 = 200;
/// Findings that are listed; the rest is counted.
const LISTED: usize = 20;

/// What a verification found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct VerifyReport {
    /// Accounts that were checked.
    pub accounts: u64,
    /// Postings that were checked.
    pub postings: u64,
    /// Entries that were checked.
    pub entries: u64,
    /// Lots that were checked.
    pub lots: u64,
    /// Holds that were checked.
    pub holds: u64,
    /// How much is wrong.
    pub findings: u64,
    /// The first findings.
    pub first_findings: Vec<VerifyFinding>,
    /// The hash over the ends of all chains, in hexadecimal. Kept outside, it proves later that a backup of this
    /// moment holds this history and no other.
    pub digest: String,
}

impl VerifyReport {
    /// Whether everything adds up.
    pub fn is_clean(&self) -> bool {
        self.findings == 0
    }

    /// Adds a finding.
    pub fn find(&mut self, row: impl Into<String>, problem: impl Into<String>) {
        self.findings += 1;
        if self.first_findings.len() < LISTED {
            self.first_findings.push(VerifyFinding {
                row: row.into(),
                problem: problem.into(),
            });
        }
    }
}

/// One thing that does not add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyFinding {
    /// Which row.
    pub row: String,
    /// What is wrong with it.
    pub problem: String,
}

struct PostingFacts {
    digest: PostingDigest,
    recorded_at: Timestamp,
    outcomes: Vec<EntryOutcome>,
    /// How many entries were met of each asset: the next one is the answer's next.
    met: BTreeMap<Asset, usize>,
}

/// What is stored of a member. `None` is a row that could not be read and is named already.
#[derive(Default)]
struct MemberFacts {
    accounts: BTreeMap<Asset, Option<Account>>,
    postings: BTreeMap<PostingId, Option<PostingFacts>>,
    lots: BTreeMap<LotId, Option<Lot>>,
    lot_changes: HashMap<(PostingId, LotId), (i64, i64)>,
    holds: BTreeMap<HoldId, Option<Hold>>,
    reversals: HashSet<(PostingId, PostingId)>,
    replays: BTreeMap<Asset, Replay>,
}

type Members = BTreeMap<MemberId, MemberFacts>;

/// Checks the whole ledger within a snapshot (see [`huika_db::Db::run_snapshot`]). `progress` is told the
/// number of accounts after each page.
///
/// # Errors
/// When the database fails. What does not add up, or cannot be read, is no error but a finding.
pub async fn verify_in_tx(
    tx: &mut Tx<'_>,
    mut progress: impl FnMut(u64) + Send,
) -> Result<VerifyReport, LedgerError> {
    let mut report = VerifyReport::default();
    let mut ends = Sha256::new();
    find_orphans(tx, &mut report).await?;
    let mut after = i64::MIN;
    loop {
        let rows = tx
            .fetch_all(
                "SELECT DISTINCT member_id FROM ledger_account WHERE member_id > ? ORDER BY member_id LIMIT ?",
                params![after, PAGE],
            )
            .await?;
        let mut page = Vec::with_capacity(rows.len());
        for row in rows {
            match row.get("member_id") {
                Ok(member_id) => page.push(member_id),
                Err(error) => report.find("ledger_account ?", unreadable(&error)),
            }
        }
        let Some(last) = page.last() else {
            for byte in ends.finalize() {
                // Writing to a text cannot fail.
                let _ = write!(report.digest, "{byte:02x}");
            }
            return Ok(report);
        };
        after = *last;
        verify_page(tx, page, &mut ends, &mut report).await?;
        progress(report.accounts);
    }
}

/// History without an account would never be met by the pages.
async fn find_orphans(tx: &mut Tx<'_>, report: &mut VerifyReport) -> Result<(), DbError> {
    // A posting without entries needs no account: an event came that nothing waited for.
    let tables = [
        ("ledger_posting", "AND t.outcome <> '[]'"),
        ("ledger_entry", ""),
        ("ledger_lot", ""),
        ("ledger_lot_entry", ""),
        ("ledger_hold", ""),
        ("ledger_reversal", ""),
    ];
    for (table, condition) in tables {
        let sql = format!(
            "SELECT DISTINCT t.member_id FROM {table} t LEFT JOIN ledger_account a ON a.member_id = t.member_id \
             WHERE a.member_id IS NULL {condition} LIMIT 20"
        );
        for row in tx.fetch_all(&sql, params![]).await? {
            match row.get::<MemberId>("member_id") {
                Ok(member_id) => report.find(format!("{table} of {member_id}"), "the member has no account"),
                Err(error) => report.find(format!("{table} ?"), unreadable(&error)),
            }
        }
    }
    Ok(())
}

fn unreadable(error: &DbError) -> String {
    format!("the row cannot be read: {error}")
}

/// The name of a row by its key, as far as that can be read.
fn name_of(table: &str, row: &Row, key: impl Fn(&Row) -> Result<String, DbError>) -> String {
    let member_id = row
        .get::<MemberId>("member_id")
        .map_or("?".to_owned(), |id| id.to_string());
    format!(
        "{table} {member_id} {}",
        key(row).unwrap_or_else(|_| "?".to_owned())
    )
}

/// Reads a row into the facts of its member, or names it.
fn read_into<'a, T>(
    members: &'a mut Members,
    report: &mut VerifyReport,
    row: &Row,
    name: impl FnOnce() -> String,
    parsed: Result<T, DbError>,
) -> Option<(&'a mut MemberFacts, Option<T>)> {
    let value = match parsed {
        Ok(value) => Some(value),
        Err(error) => {
            report.find(name(), unreadable(&error));
            None
        }
    };
    let facts = members.get_mut(&row.get("member_id").ok()?)?;
    Some((facts, value))
}

async fn verify_page(
    tx: &mut Tx<'_>,
    page: Vec<i64>,
    ends: &mut Sha256,
    report: &mut VerifyReport,
) -> Result<(), LedgerError> {
    let mut members: Members = page
        .iter()
        .map(|id| (MemberId::from_i64(*id), MemberFacts::default()))
        .collect();
    let page = || params![Param::Ints(page.clone())];

    let sql = format!(
        "SELECT {} FROM ledger_account WHERE member_id IN (??)",
        store::ACCOUNT_COLUMNS
    );
    for row in tx.fetch_all(&sql, page()).await? {
        report.accounts += 1;
        let name = || {
            name_of("ledger_account", &row, |row| {
                Ok(store::asset_from(row)?.name().to_owned())
            })
        };
        let account = store::asset_from(&row).and_then(|_| store::account_from(&row));
        if let Some((facts, account)) = read_into(&mut members, report, &row, name, account)
            && let Ok(asset) = store::asset_from(&row)
        {
            facts.accounts.insert(asset, account);
        }
    }
    let sql = "SELECT member_id, posting_id, kind, idem_key, input_hash, reference, actor, effective_at, recorded_at, \
         outcome, trace FROM ledger_posting WHERE member_id IN (??)";
    tx.for_each::<DbError>(sql, page(), |row| {
        report.postings += 1;
        let id = |row: &Row| row.get::<PostingId>("posting_id");
        let name = || name_of("ledger_posting", &row, |row| Ok(id(row)?.to_string()));
        if let Some((facts, posting)) = read_into(&mut members, report, &row, name, posting_from(&row)) {
            facts.postings.insert(id(&row)?, posting);
        }
        Ok(())
    })
    .await?;
    let sql = format!(
        "SELECT {} FROM ledger_lot WHERE member_id IN (??)",
        store::LOT_COLUMNS
    );
    tx.for_each::<DbError>(&sql, page(), |row| {
        report.lots += 1;
        let id = |row: &Row| row.get::<LotId>("lot_id");
        let name = || name_of("ledger_lot", &row, |row| Ok(id(row)?.to_string()));
        if let Some((facts, lot)) = read_into(&mut members, report, &row, name, store::lot_from(&row)) {
            facts.lots.insert(id(&row)?, lot);
        }
        Ok(())
    })
    .await?;
    let sql = "SELECT member_id, posting_id, lot_id, remaining_change, held_change FROM ledger_lot_entry \
         WHERE member_id IN (??)";
    tx.for_each::<DbError>(sql, page(), |row| {
        let key = |row: &Row| Ok::<_, DbError>((row.get("posting_id")?, row.get("lot_id")?));
        let name = || name_of("ledger_lot_entry", &row, |row| key(row).map(lot_entry_key));
        let change = key(&row).and_then(|_| Ok((row.get("remaining_change")?, row.get("held_change")?)));
        if let Some((facts, Some(change))) = read_into(&mut members, report, &row, name, change) {
            facts.lot_changes.insert(key(&row)?, change);
        }
        Ok(())
    })
    .await?;
    let sql = format!(
        "SELECT {} FROM ledger_hold WHERE member_id IN (??)",
        store::HOLD_COLUMNS
    );
    tx.for_each::<DbError>(&sql, page(), |row| {
        report.holds += 1;
        let id = |row: &Row| row.get::<HoldId>("hold_id");
        let name = || name_of("ledger_hold", &row, |row| Ok(id(row)?.to_string()));
        if let Some((facts, hold)) = read_into(&mut members, report, &row, name, store::hold_from(&row)) {
            facts.holds.insert(id(&row)?, hold);
        }
        Ok(())
    })
    .await?;
    let sql = "SELECT member_id, source_posting_id, posting_id FROM ledger_reversal WHERE member_id IN (??)";
    for row in tx.fetch_all(sql, page()).await? {
        let link = row
            .get("source_posting_id")
            .and_then(|source| Ok((source, row.get("posting_id")?)));
        let name = || name_of("ledger_reversal", &row, |_| Ok("?".to_owned()));
        if let Some((facts, Some(link))) = read_into(&mut members, report, &row, name, link) {
            facts.reversals.insert(link);
        }
    }
    let sql = "SELECT member_id, asset, sequence, posting_id, kind, counter_account, available_change, pending_change, \
         held_change, shortfall, chain FROM ledger_entry WHERE member_id IN (??) ORDER BY member_id, asset, sequence";
    tx.for_each::<DbError>(sql, page(), |row| {
        report.entries += 1;
        let key = |row: &Row| Ok::<_, DbError>((store::asset_from(row)?, row.get::<i64>("sequence")?));
        let name = name_of("ledger_entry", &row, |row| {
            key(row).map(|(asset, sequence)| format!("{} {sequence}", asset.name()))
        });
        let key = key(&row);
        if let Some((facts, Some((asset, sequence)))) =
            read_into(&mut members, report, &row, || name.clone(), key)
        {
            let member_id = row.get("member_id")?;
            replay_entry(member_id, asset, sequence, facts, &row, &name, report);
        }
        Ok(())
    })
    .await?;
    for (member_id, facts) in &members {
        for (asset, account) in &facts.accounts {
            if let Some(account) = account {
                for number in [member_id.as_i64(), asset.code(), account.sequence] {
                    ends.update(number.to_be_bytes());
                }
                ends.update(account.chain);
            }
        }
        check_member(*member_id, facts, report);
    }
    Ok(())
}

fn lot_entry_key((posting_id, lot_id): (PostingId, LotId)) -> String {
    format!("{posting_id} {lot_id}")
}

fn posting_from(row: &Row) -> Result<PostingFacts, DbError> {
    let recorded_at = row.get("recorded_at")?;
    Ok(PostingFacts {
        digest: PostingDigest::from_parts(
            row.get("posting_id")?,
            &row.get::<String>("kind")?,
            &row.get::<String>("idem_key")?,
            &InputHash(row.get("input_hash")?),
            &row.get::<String>("reference")?,
            &row.get::<String>("actor")?,
            (row.get("effective_at")?, recorded_at),
            row.get::<Option<String>>("trace")?.as_deref(),
        ),
        recorded_at,
        outcomes: store::outcomes_from(row)?,
        met: BTreeMap::new(),
    })
}

/// Whether the row of an entry says what its posting answered.
fn is_answered(row: &Row, outcome: &EntryOutcome) -> Result<bool, DbError> {
    Ok(row.get::<String>("kind")? == outcome.kind.name()
        && row.get::<String>("counter_account")? == outcome.counter_account.name()
        && row.get::<i64>("available_change")? == outcome.available_change
        && row.get::<i64>("pending_change")? == outcome.pending_change
        && row.get::<i64>("held_change")? == outcome.held_change
        && row.get::<i64>("shortfall")? == outcome.shortfall)
}

fn replay_entry(
    member_id: MemberId,
    asset: Asset,
    sequence: i64,
    facts: &mut MemberFacts,
    row: &Row,
    name: &str,
    report: &mut VerifyReport,
) {
    let replay = facts.replays.entry(asset).or_default();
    let expected = replay.sequence.saturating_add(1);
    if sequence != expected {
        report.find(name, format!("entry {expected} is missing before it"));
        replay.broken = true;
    }
    replay.sequence = sequence;
    let (posting_id, chain) = match (row.get::<PostingId>("posting_id"), row.get::<[u8; 32]>("chain")) {
        (Ok(posting_id), Ok(chain)) => (posting_id, chain),
        (Err(error), _) | (_, Err(error)) => {
            report.find(name, unreadable(&error));
            replay.lose();
            return;
        }
    };
    let posting = facts.postings.get_mut(&posting_id).and_then(Option::as_mut);
    let outcome = posting.and_then(|posting| {
        let met = posting.met.entry(asset).or_default();
        *met += 1;
        let outcome = posting
            .outcomes
            .iter()
            .filter(|outcome| outcome.asset == asset)
            .nth(*met - 1)?;
        Some((&posting.digest, posting.recorded_at, outcome))
    });
    let before = std::mem::replace(&mut replay.chain, chain);
    let Some((digest, recorded_at, outcome)) = outcome else {
        report.find(
            name,
            format!("its posting {posting_id} is missing or answered less"),
        );
        replay.lose();
        return;
    };
    match is_answered(row, outcome) {
        Ok(true) => {}
        Ok(false) => report.find(name, format!("posting {posting_id} answered something else")),
        Err(error) => report.find(name, unreadable(&error)),
    }
    if chain_next(&before, member_id, digest, sequence, outcome) != chain {
        let problem = format!(
            "the hash chain breaks here: this entry, the one before or posting {posting_id} was altered"
        );
        report.find(name, problem);
    }
    if let Err(problem) = replay.apply(posting_id, recorded_at, outcome) {
        report.find(name, problem);
    }
    let after = [replay.available, replay.pending, replay.held];
    if replay.sums_known() && [outcome.available, outcome.pending, outcome.held].map(i128::from) != after {
        report.find(name, format!("posting {posting_id} answered other balances"));
    }
}

fn check_member(member_id: MemberId, facts: &MemberFacts, report: &mut VerifyReport) {
    let empty = Replay::default();
    let assets: BTreeSet<Asset> = facts
        .accounts
        .keys()
        .chain(facts.replays.keys())
        .copied()
        .collect();
    for asset in assets {
        let name = format!("ledger_account {member_id} {}", asset.name());
        let replay = facts.replays.get(&asset).unwrap_or(&empty);
        match facts.accounts.get(&asset) {
            None => report.find(&name, "it has entries and is missing"),
            Some(None) => {}
            Some(Some(account)) => check_account(&name, asset, account, replay, facts, report),
        }
    }
    // Where the history of an asset broke off, what it says of its lots and holds is not known.
    let whole = || facts.replays.values().filter(|replay| !replay.broken);
    let broken: BTreeSet<Asset> = facts
        .replays
        .iter()
        .filter(|(_, replay)| replay.broken)
        .map(|(asset, _)| *asset)
        .collect();

    let mut lots: HashSet<LotId> = HashSet::new();
    for (asset, replay) in facts.replays.iter().filter(|(_, replay)| !replay.broken) {
        for (lot_id, history) in &replay.lots {
            lots.insert(*lot_id);
            let name = || format!("ledger_lot {member_id} {lot_id}");
            match facts.lots.get(lot_id) {
                None => report.find(name(), "it has a history and is missing"),
                Some(None) => {}
                Some(Some(lot)) => {
                    for problem in differences_of_lot(*asset, lot, history) {
                        report.find(name(), problem);
                    }
                }
            }
        }
        for (hold_id, history) in &replay.holds {
            let name = || format!("ledger_hold {member_id} {hold_id}");
            match facts.holds.get(hold_id) {
                None => report.find(name(), "it has a history and is missing"),
                Some(None) => {}
                Some(Some(hold)) => {
                    for problem in differences_of_hold(*asset, hold, history) {
                        report.find(name(), problem);
                    }
                }
            }
        }
    }
    for lot in facts.lots.values().flatten() {
        if !lots.contains(&lot.lot_id) && !broken.contains(&lot.asset) {
            report.find(
                format!("ledger_lot {member_id} {}", lot.lot_id),
                "no entry made it",
            );
        }
    }
    for hold in facts.holds.values().flatten() {
        if !whole().any(|replay| replay.holds.contains_key(&hold.hold_id)) && !broken.contains(&hold.asset) {
            report.find(
                format!("ledger_hold {member_id} {}", hold.hold_id),
                "no entry made it",
            );
        }
    }
    if broken.is_empty() {
        check_lot_entries(member_id, facts, report);
    }
    for (posting_id, posting) in &facts.postings {
        let Some(posting) = posting else { continue };
        let met: usize = posting.met.values().sum();
        if met != posting.outcomes.len() {
            let problem = format!("{} entries answered, {met} written", posting.outcomes.len());
            report.find(format!("ledger_posting {member_id} {posting_id}"), problem);
        }
    }
    check_reversals(member_id, facts, report);
}

fn check_account(
    name: &str,
    asset: Asset,
    account: &Account,
    replay: &Replay,
    facts: &MemberFacts,
    report: &mut VerifyReport,
) {
    if replay.sums_known() {
        for (part, stored, summed) in [
            ("available", account.available, replay.available),
            ("pending", account.pending, replay.pending),
            ("held", account.held, replay.held),
            ("lifetime_in", account.lifetime_in, replay.lifetime_in),
            ("lifetime_out", account.lifetime_out, replay.lifetime_out),
            ("sequence", account.sequence, replay.sequence.into()),
        ] {
            if i128::from(stored) != summed {
                report.find(name, format!("{part} is {stored}, its entries give {summed}"));
            }
        }
    }
    if account.chain != replay.chain {
        report.find(name, "the hash of the account is not that of its last entry");
    }
    let lots = facts.lots.values().flatten().filter(|lot| lot.asset == asset);
    let holds = facts.holds.values().flatten();
    let holds = holds.filter(|hold| hold.asset == asset && hold.state == HoldState::Open);
    let next = lots
        .filter_map(Lot::next_change_at)
        .chain(holds.map(|hold| hold.lapses_at))
        .min();
    if next.is_some_and(|next| next < account.next_change_at) {
        report.find(name, "a lot or hold changes before the account knows");
    }
}

fn differences_of_lot(asset: Asset, lot: &Lot, history: &ReplayedLot) -> Vec<String> {
    let mut problems = Vec::new();
    for (column, stored, replayed) in [
        ("amount", lot.amount, history.amount),
        ("remaining", lot.remaining, history.remaining),
        ("held", lot.held, history.held),
        ("expired", lot.expired, history.expired),
        ("state", lot.state.code(), history.state().code().into()),
    ] {
        if i128::from(stored) != replayed {
            problems.push(format!("{column} is {stored}, its history gives {replayed}"));
        }
    }
    for (column, differs) in [
        ("asset", lot.asset != asset),
        ("posting_id", lot.posting_id != history.posting_id),
        ("available_at", lot.available_at != history.available_at),
        ("release_event", lot.release_event != history.event),
        ("expires_at", lot.expires_at != history.expires_at),
    ] {
        if differs {
            problems.push(format!("{column} is not what its history gives"));
        }
    }
    problems
}

fn differences_of_hold(asset: Asset, hold: &Hold, history: &ReplayedHold) -> Vec<String> {
    let parts = hold
        .lots
        .iter()
        .map(|(lot_id, part)| (*lot_id, i128::from(*part)));
    let closed = history.parts.is_empty();
    [
        ("asset", hold.asset != asset),
        ("amount", i128::from(hold.amount) != history.amount),
        ("lots", !parts.eq(history.parts.iter().copied())),
        ("lapses_at", hold.lapses_at != history.lapses_at),
        ("state", (hold.state == HoldState::Closed) != closed),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(column, _)| format!("{column} is not what its history gives"))
    .collect()
}

/// What each posting did to each lot is written exactly so.
fn check_lot_entries(member_id: MemberId, facts: &MemberFacts, report: &mut VerifyReport) {
    let replayed: HashMap<_, _> = facts
        .replays
        .values()
        .flat_map(|replay| &replay.lot_changes)
        .collect();
    let keys: BTreeSet<_> = facts
        .lot_changes
        .keys()
        .chain(replayed.keys().copied())
        .copied()
        .collect();
    for key in keys {
        let (remaining, held) = facts.lot_changes.get(&key).copied().unwrap_or_default();
        let history = replayed.get(&key).copied().copied().unwrap_or_default();
        if (i128::from(remaining), i128::from(held)) != history {
            report.find(
                format!("ledger_lot_entry {member_id} {}", lot_entry_key(key)),
                format!(
                    "its changes are {remaining} and {held}, its posting gives {} and {}",
                    history.0, history.1
                ),
            );
        }
    }
}

/// No posting is reversed beyond what it earned or spent, and every reversal is linked to its source.
fn check_reversals(member_id: MemberId, facts: &MemberFacts, report: &mut VerifyReport) {
    let mut links: HashSet<(PostingId, PostingId)> = HashSet::new();
    let mut reversed: BTreeMap<(PostingId, &'static str, Asset), (EntryKind, i128)> = BTreeMap::new();
    for (posting_id, posting) in &facts.postings {
        for entry in posting.iter().flat_map(|posting| &posting.outcomes) {
            if let Some(source) = entry.source {
                links.insert((source, *posting_id));
                let key = (source, entry.kind.name(), entry.asset);
                reversed.entry(key).or_insert((entry.kind, 0)).1 += i128::from(entry.reversed);
            }
        }
    }
    let all: BTreeSet<_> = links.union(&facts.reversals).copied().collect();
    for link in all {
        let (source, posting_id) = link;
        let name = || format!("ledger_reversal {member_id} {source} {posting_id}");
        let unknown = matches!(facts.postings.get(&posting_id), Some(None));
        if !facts.reversals.contains(&link) {
            report.find(name(), "it is missing");
        } else if !links.contains(&link) && !unknown {
            report.find(name(), "its posting reverses nothing of the other");
        }
    }
    for ((posting_id, _, asset), (by, reversed)) in reversed {
        let posting = match facts.postings.get(&posting_id) {
            Some(None) => continue,
            Some(Some(posting)) => posting.outcomes.clone(),
            None => Vec::new(),
        };
        let source = Source {
            entries: posting,
            ..Source::default()
        };
        let posted: i128 = source
            .reversible(by, asset)
            .map(|entry| {
                i128::from(entry.available_change)
                    + i128::from(entry.pending_change)
                    + i128::from(entry.held_change)
            })
            .map(i128::abs)
            .sum();
        if reversed > posted {
            let problem = format!("{reversed} of its {posted} {} are reversed", asset.name());
            report.find(format!("ledger_posting {member_id} {posting_id}"), problem);
        }
    }
}
