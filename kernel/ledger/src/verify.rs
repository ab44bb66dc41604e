//! Proving the ledger: every balance, lot, hold and hash chain is recomputed from the history and compared.
//!
//! Works on one snapshot of the database while others go on writing, member after member in pages, so its
//! memory does not grow with the ledger.

use std::collections::{BTreeMap, HashMap, HashSet};

use huika_core::MemberId;
use huika_db::{DbError, Executor, Param, Tx, params};
use serde::Serialize;

use crate::{
    Asset, CounterAccount, InputHash, LedgerError, LotId, PostingId,
    domain::{
        Account, Entry, EntryKind, EntryOutcome, Hold, HoldState, Lot, LotState, PostingDigest, Source,
        chain_next,
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
    outcomes: Vec<EntryOutcome>,
    met: usize,
}

#[derive(Default)]
struct MemberFacts {
    accounts: BTreeMap<Asset, Account>,
    postings: HashMap<PostingId, PostingFacts>,
    lots: BTreeMap<LotId, Lot>,
    lot_changes: HashMap<LotId, (i64, i64)>,
    holds: Vec<Hold>,
    reversals: HashSet<(PostingId, PostingId)>,
}

/// Checks the whole ledger within a snapshot (see [`huika_db::Db::run_snapshot`]). `progress` is told the
/// number of accounts after each page.
///
/// # Errors
/// When the database fails. What does not add up is no error but a finding.
pub async fn verify(
    tx: &mut Tx<'_>,
    mut progress: impl FnMut(u64) + Send,
) -> Result<VerifyReport, LedgerError> {
    let mut report = VerifyReport::default();
    find_orphans(tx, &mut report).await?;
    let mut after = i64::MIN;
    loop {
        let rows = tx
            .fetch_all(
                "SELECT DISTINCT member_id FROM ledger_account WHERE member_id > ? ORDER BY member_id LIMIT ?",
                params![after, PAGE],
            )
            .await?;
        let page = rows
            .iter()
            .map(|row| row.get("member_id"))
            .collect::<Result<Vec<i64>, _>>()?;
        let Some(last) = page.last() else {
            return Ok(report);
        };
        after = *last;
        verify_page(tx, page, &mut report).await?;
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
            let member_id: MemberId = row.get("member_id")?;
            report.find(format!("{table} of {member_id}"), "the member has no account");
        }
    }
    Ok(())
}

async fn verify_page(tx: &mut Tx<'_>, page: Vec<i64>, report: &mut VerifyReport) -> Result<(), LedgerError> {
    let mut members: HashMap<MemberId, MemberFacts> = page
        .iter()
        .map(|id| (MemberId::from_i64(*id), MemberFacts::default()))
        .collect();
    let page = || params![Param::Ints(page.clone())];

    let sql = format!(
        "SELECT {} FROM ledger_account WHERE member_id IN (??)",
        store::ACCOUNT_COLUMNS
    );
    for row in tx.fetch_all(&sql, page()).await? {
        if let Some(facts) = members.get_mut(&row.get("member_id")?) {
            facts
                .accounts
                .insert(store::asset_from(&row)?, store::account_from(&row)?);
            report.accounts += 1;
        }
    }
    let sql = "SELECT member_id, posting_id, kind, idem_key, input_hash, reference, actor, effective_at, recorded_at, \
         outcome, trace FROM ledger_posting WHERE member_id IN (??)";
    tx.for_each::<DbError>(sql, page(), |row| {
        let posting_id: PostingId = row.get("posting_id")?;
        let digest = PostingDigest::from_parts(
            posting_id,
            &row.get::<String>("kind")?,
            &row.get::<String>("idem_key")?,
            &InputHash(row.get("input_hash")?),
            &row.get::<String>("reference")?,
            &row.get::<String>("actor")?,
            (row.get("effective_at")?, row.get("recorded_at")?),
            row.get::<Option<String>>("trace")?.as_deref(),
        );
        report.postings += 1;
        if let Some(facts) = members.get_mut(&row.get("member_id")?) {
            let outcomes = store::outcomes_from(&row)?;
            facts.postings.insert(
                posting_id,
                PostingFacts {
                    digest,
                    outcomes,
                    met: 0,
                },
            );
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
        if let Some(facts) = members.get_mut(&row.get("member_id")?) {
            let lot = store::lot_from(&row)?;
            facts.lots.insert(lot.lot_id, lot);
        }
        Ok(())
    })
    .await?;
    let sql = "SELECT member_id, lot_id, CAST(SUM(remaining_change) AS {int}) AS remaining_change, \
         CAST(SUM(held_change) AS {int}) AS held_change FROM ledger_lot_entry WHERE member_id IN (??) \
         GROUP BY member_id, lot_id";
    tx.for_each::<DbError>(sql, page(), |row| {
        if let Some(facts) = members.get_mut(&row.get("member_id")?) {
            let change = (row.get("remaining_change")?, row.get("held_change")?);
            facts.lot_changes.insert(row.get("lot_id")?, change);
        }
        Ok(())
    })
    .await?;
    let sql = "SELECT member_id, hold_id, asset, amount, lots, lapses_at, state FROM ledger_hold WHERE member_id IN (??)";
    for row in tx.fetch_all(sql, page()).await? {
        report.holds += 1;
        let hold = store::hold_from(&row)?;
        let facts = members.get_mut(&row.get("member_id")?);
        if let (Some(facts), HoldState::Open) = (facts, hold.state) {
            facts.holds.push(hold);
        }
    }

    let sql = "SELECT member_id, source_posting_id, posting_id FROM ledger_reversal WHERE member_id IN (??)";
    for row in tx.fetch_all(sql, page()).await? {
        if let Some(facts) = members.get_mut(&row.get("member_id")?) {
            facts
                .reversals
                .insert((row.get("source_posting_id")?, row.get("posting_id")?));
        }
    }

    let mut replayed: HashMap<(MemberId, Asset), Account> = HashMap::new();
    let sql = "SELECT member_id, asset, sequence, posting_id, kind, counter_account, available_change, pending_change, \
         held_change, shortfall, chain FROM ledger_entry WHERE member_id IN (??) ORDER BY member_id, asset, sequence";
    tx.for_each::<DbError>(sql, page(), |row| {
        report.entries += 1;
        let (member_id, asset): (MemberId, Asset) = (row.get("member_id")?, store::asset_from(&row)?);
        let account = replayed.entry((member_id, asset)).or_insert_with(Account::new);
        if let Some(facts) = members.get_mut(&member_id) {
            replay_entry(member_id, account, facts, &row, report)?;
        }
        Ok(())
    })
    .await?;
    for (member_id, facts) in &members {
        check_member(*member_id, facts, &replayed, report);
    }
    Ok(())
}

fn replay_entry(
    member_id: MemberId,
    account: &mut Account,
    facts: &mut MemberFacts,
    row: &huika_db::Row,
    report: &mut VerifyReport,
) -> Result<(), DbError> {
    let asset = store::asset_from(row)?;
    let sequence: i64 = row.get("sequence")?;
    let name = format!("ledger_entry {member_id} {} {sequence}", asset.name());
    let (kind, counter_account): (String, String) = (row.get("kind")?, row.get("counter_account")?);
    let parsed = (
        serde_json::from_value::<EntryKind>(kind.into()),
        serde_json::from_value::<CounterAccount>(counter_account.into()),
    );
    let (Ok(kind), Ok(counter_account)) = parsed else {
        report.find(name, "the kind or the counter-account is unknown");
        return Ok(());
    };
    let entry = Entry {
        asset,
        sequence,
        kind,
        counter_account,
        available_change: row.get("available_change")?,
        pending_change: row.get("pending_change")?,
        held_change: row.get("held_change")?,
        shortfall: row.get("shortfall")?,
        chain: row.get("chain")?,
    };
    if sequence != account.sequence + 1 {
        report.find(
            &name,
            format!("entry {} is missing before it", account.sequence + 1),
        );
    }
    account.sequence = sequence;
    account.available += entry.available_change;
    account.pending += entry.pending_change;
    account.held += entry.held_change;
    match kind {
        EntryKind::Earn | EntryKind::ClawBack | EntryKind::ReverseEarn => {
            account.lifetime_in += entry.available_change + entry.pending_change;
        }
        EntryKind::Spend | EntryKind::PostHold | EntryKind::ReverseSpend => {
            account.lifetime_out -= entry.available_change + entry.held_change;
        }
        EntryKind::Hold | EntryKind::VoidHold | EntryKind::Lapse | EntryKind::Release | EntryKind::Expire => {
        }
    }

    let posting_id: PostingId = row.get("posting_id")?;
    let Some(posting) = facts.postings.get_mut(&posting_id) else {
        report.find(&name, format!("its posting {posting_id} is missing"));
        account.chain = entry.chain;
        return Ok(());
    };
    if chain_next(&account.chain, member_id, &posting.digest, &entry) != entry.chain {
        let problem = format!(
            "the hash chain breaks here: this entry, the one before or posting {posting_id} was altered"
        );
        report.find(&name, problem);
    }
    account.chain = entry.chain;
    posting.met += 1;
    let answered = posting.outcomes.iter().any(|outcome| {
        outcome.asset == asset
            && (outcome.kind, outcome.counter_account) == (kind, counter_account)
            && (
                outcome.available_change,
                outcome.pending_change,
                outcome.held_change,
                outcome.shortfall,
            ) == (
                entry.available_change,
                entry.pending_change,
                entry.held_change,
                entry.shortfall,
            )
            && (outcome.available, outcome.pending, outcome.held)
                == (account.available, account.pending, account.held)
    });
    if !answered {
        report.find(&name, format!("posting {posting_id} answered something else"));
    }
    Ok(())
}

fn check_member(
    member_id: MemberId,
    facts: &MemberFacts,
    replayed: &HashMap<(MemberId, Asset), Account>,
    report: &mut VerifyReport,
) {
    for (asset, account) in &facts.accounts {
        let name = format!("ledger_account {member_id} {}", asset.name());
        let empty = Account::new();
        let history = replayed.get(&(member_id, *asset)).unwrap_or(&empty);
        let parts = [
            ("available", account.available, history.available),
            ("pending", account.pending, history.pending),
            ("held", account.held, history.held),
            ("lifetime_in", account.lifetime_in, history.lifetime_in),
            ("lifetime_out", account.lifetime_out, history.lifetime_out),
            ("sequence", account.sequence, history.sequence),
        ];
        for (part, stored, summed) in parts {
            if stored != summed {
                report.find(&name, format!("{part} is {stored}, its entries give {summed}"));
            }
        }
        if account.chain != history.chain {
            report.find(&name, "the hash of the account is not that of its last entry");
        }
        check_lots(&name, *asset, account, facts, report);
    }
    for (_, asset) in replayed
        .keys()
        .filter(|(of, asset)| *of == member_id && !facts.accounts.contains_key(asset))
    {
        report.find(
            format!("ledger_account {member_id} {}", asset.name()),
            "it has entries and is missing",
        );
    }
    for lot_id in facts
        .lot_changes
        .keys()
        .filter(|lot_id| !facts.lots.contains_key(lot_id))
    {
        report.find(
            format!("ledger_lot {member_id} {lot_id}"),
            "it has entries and is missing",
        );
    }
    for lot in facts.lots.values() {
        let name = format!("ledger_lot {member_id} {}", lot.lot_id);
        let (remaining, held) = facts.lot_changes.get(&lot.lot_id).copied().unwrap_or_default();
        if lot.remaining != lot.amount + remaining || lot.held != held {
            report.find(
                &name,
                format!(
                    "remaining {} and held {}, its entries give {} and {held}",
                    lot.remaining,
                    lot.held,
                    lot.amount + remaining
                ),
            );
        }
        let closed = lot.state == LotState::Closed;
        if lot.held < 0
            || lot.remaining < lot.held
            || closed != (lot.remaining == 0)
            || lot.remaining > lot.amount
        {
            report.find(
                &name,
                format!("impossible: remaining {}, held {}", lot.remaining, lot.held),
            );
        }
    }
    for (posting_id, posting) in &facts.postings {
        if posting.met != posting.outcomes.len() {
            let name = format!("ledger_posting {member_id} {posting_id}");
            report.find(
                name,
                format!(
                    "{} entries answered, {} written",
                    posting.outcomes.len(),
                    posting.met
                ),
            );
        }
        for outcome in &posting.outcomes {
            check_outcome(member_id, *posting_id, outcome, facts, report);
        }
    }
    check_reversals(member_id, facts, report);
}

/// What a later reversal relies on: the lots that a posting made and took, and the link to its source.
fn check_outcome(
    member_id: MemberId,
    posting_id: PostingId,
    outcome: &EntryOutcome,
    facts: &MemberFacts,
    report: &mut VerifyReport,
) {
    let name = || format!("ledger_posting {member_id} {posting_id}");
    if outcome.kind == EntryKind::Earn {
        let lot = outcome.lot_id.and_then(|lot_id| facts.lots.get(&lot_id));
        if lot.is_none_or(|lot| (lot.posting_id, lot.amount) != (posting_id, outcome.total_change())) {
            report.find(name(), "the lot that it made is missing or another");
        }
    }
    let change = outcome.total_change();
    let moves_lots = matches!(
        outcome.kind,
        EntryKind::Spend | EntryKind::PostHold | EntryKind::ReverseSpend
    );
    if moves_lots && outcome.lots.iter().map(|(_, part)| part).sum::<i64>() != change.abs() {
        report.find(name(), "the lots that it names do not add up to its entry");
    }
    let counted = match outcome.kind {
        EntryKind::ReverseSpend => outcome.reversed == change,
        // The rest was lost by time before.
        EntryKind::ReverseEarn => outcome.reversed >= outcome.shortfall - change,
        _ => outcome.reversed == 0,
    };
    if !counted {
        report.find(
            name(),
            format!("{} reversed does not fit its entry", outcome.reversed),
        );
    }
    if let Some(source) = outcome.source
        && !facts.reversals.contains(&(source, posting_id))
    {
        report.find(
            format!("ledger_reversal {member_id} {source} {posting_id}"),
            "it is missing",
        );
    }
}

/// No posting is reversed beyond what it earned or spent.
fn check_reversals(member_id: MemberId, facts: &MemberFacts, report: &mut VerifyReport) {
    let mut sources: HashMap<PostingId, Source> = HashMap::new();
    for entry in facts.postings.values().flat_map(|posting| &posting.outcomes) {
        if let Some(source) = entry.source {
            sources.entry(source).or_default().count(entry);
        }
    }
    for (posting_id, mut source) in sources {
        source.entries = facts
            .postings
            .get(&posting_id)
            .map_or_else(Vec::new, |posting| posting.outcomes.clone());
        for ((by, asset), reversed) in &source.reversed {
            let posted: i64 = source
                .reversible(*by, *asset)
                .map(|entry| entry.total_change().abs())
                .sum();
            if *reversed > posted {
                let name = format!("ledger_posting {member_id} {posting_id}");
                report.find(
                    name,
                    format!("{reversed} of its {posted} {} are reversed", asset.name()),
                );
            }
        }
    }
}

fn check_lots(name: &str, asset: Asset, account: &Account, facts: &MemberFacts, report: &mut VerifyReport) {
    let lots = || facts.lots.values().filter(|lot| lot.asset == asset);
    let free: i64 = lots().map(Lot::free).sum();
    let pending: i64 = lots()
        .filter(|lot| lot.state == LotState::Pending)
        .map(|lot| lot.remaining)
        .sum();
    let held: i64 = lots().map(|lot| lot.held).sum();
    let open_holds = || facts.holds.iter().filter(|hold| hold.asset == asset);
    let holds: i64 = open_holds()
        .flat_map(|hold| hold.lots.iter().map(|(_, part)| part))
        .sum();
    if free != account.available.max(0) {
        report.find(
            name,
            format!("available is {}, its lots have {free} free", account.available),
        );
    }
    if pending != account.pending {
        report.find(
            name,
            format!("pending is {}, its lots have {pending}", account.pending),
        );
    }
    if held != account.held || holds != account.held {
        report.find(
            name,
            format!(
                "held is {}, its lots have {held}, its holds {holds}",
                account.held
            ),
        );
    }
    let next = lots()
        .filter_map(Lot::next_change_at)
        .chain(open_holds().map(|hold| hold.lapses_at))
        .min();
    if next.is_some_and(|next| next < account.next_change_at) {
        report.find(name, "a lot or hold changes before the account knows");
    }
}
