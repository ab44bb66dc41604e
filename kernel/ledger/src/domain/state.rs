//! What the ledger knows about one member while it decides: accounts, lots, holds and earlier answers.
//!
//! Always: available + deficit = Σ (remaining − held) over open lots, where the deficit is what `available`
//! lies below zero; pending = Σ remaining over pending lots; held = Σ open holds = Σ held over lots. While
//! there is a deficit no lot has anything free.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use huika_core::{MemberId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Asset, CounterAccount, HoldId, InputHash, LedgerError, LotId, PostingId, error::MAX_AMOUNT};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) available: i64,
    pub(crate) pending: i64,
    pub(crate) held: i64,
    pub(crate) lifetime_in: i64,
    pub(crate) lifetime_out: i64,
    pub(crate) sequence: i64,
    pub(crate) chain: [u8; 32],
    pub(crate) next_change_at: Timestamp,
    /// Sequence and next change of the stored row; `None` while there is none.
    pub(crate) stored: Option<(i64, Timestamp)>,
}

impl Account {
    pub(crate) fn new() -> Self {
        Self {
            available: 0,
            pending: 0,
            held: 0,
            lifetime_in: 0,
            lifetime_out: 0,
            sequence: 0,
            chain: [0; 32],
            next_change_at: Timestamp::MAX,
            stored: None,
        }
    }

    /// Also without a new entry, once it is known that nothing changes as early as the row says: the job that
    /// settles would otherwise meet the account for ever.
    pub(crate) fn is_changed(&self) -> bool {
        self.stored != Some((self.sequence, self.next_change_at)) && self.sequence > 0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LotState {
    Pending,
    Open,
    Closed,
}

impl LotState {
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Pending => 1,
            Self::Open => 2,
            Self::Closed => 3,
        }
    }

    pub(crate) fn from_code(code: i64) -> Option<Self> {
        [Self::Pending, Self::Open, Self::Closed]
            .into_iter()
            .find(|state| state.code() == code)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lot {
    pub(crate) lot_id: LotId,
    pub(crate) asset: Asset,
    pub(crate) posting_id: PostingId,
    pub(crate) amount: i64,
    pub(crate) remaining: i64,
    pub(crate) held: i64,
    pub(crate) expired: i64,
    pub(crate) state: LotState,
    pub(crate) available_at: Option<Timestamp>,
    pub(crate) release_event: Option<String>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) stored: bool,
    pub(crate) changed: bool,
}

impl Lot {
    pub(crate) fn free(&self) -> i64 {
        if self.state == LotState::Open {
            // `verify` also asks it of rows that were altered.
            self.remaining.saturating_sub(self.held)
        } else {
            0
        }
    }

    /// What can be taken back from it.
    pub(crate) fn free_or_pending(&self) -> i64 {
        if self.state == LotState::Pending {
            self.remaining
        } else {
            self.free()
        }
    }

    /// When time changes this lot, if it does.
    pub(crate) fn next_change_at(&self) -> Option<Timestamp> {
        let release = match self.state {
            LotState::Pending if self.release_event.is_none() => self.available_at,
            _ => None,
        };
        // What is held does not expire; it returns when the hold ends and expires then.
        let expires = match self.state {
            LotState::Pending => self.expires_at,
            LotState::Open if self.free() > 0 => self.expires_at,
            _ => None,
        };
        [release, expires].into_iter().flatten().min()
    }

    /// Spent earliest expiry first, never-expiring last, older before younger.
    fn spending_order(&self) -> (Timestamp, LotId) {
        (self.expires_at.unwrap_or(Timestamp::MAX), self.lot_id)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoldState {
    Open,
    Closed,
}

impl HoldState {
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Open => 1,
            Self::Closed => 2,
        }
    }

    pub(crate) fn from_code(code: i64) -> Option<Self> {
        [Self::Open, Self::Closed]
            .into_iter()
            .find(|state| state.code() == code)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) hold_id: HoldId,
    pub(crate) asset: Asset,
    pub(crate) amount: i64,
    /// In spending order.
    pub(crate) lots: Vec<(LotId, i64)>,
    pub(crate) lapses_at: Timestamp,
    pub(crate) state: HoldState,
    pub(crate) stored: bool,
    pub(crate) changed: bool,
}

/// What an entry does to its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Value came in.
    Earn,
    /// Value was spent.
    Spend,
    /// Value was taken back without a known source.
    ClawBack,
    /// Value was set aside.
    Hold,
    /// Value was spent from a hold.
    PostHold,
    /// A hold was returned.
    VoidHold,
    /// A hold returned by itself.
    Lapse,
    /// Pending value became available.
    Release,
    /// Value was lost by time.
    Expire,
    /// Earned value was taken back.
    ReverseEarn,
    /// Spent value was put back.
    ReverseSpend,
}

impl EntryKind {
    /// The stored name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Earn => "earn",
            Self::Spend => "spend",
            Self::ClawBack => "claw_back",
            Self::Hold => "hold",
            Self::PostHold => "post_hold",
            Self::VoidHold => "void_hold",
            Self::Lapse => "lapse",
            Self::Release => "release",
            Self::Expire => "expire",
            Self::ReverseEarn => "reverse_earn",
            Self::ReverseSpend => "reverse_spend",
        }
    }

    /// Whether this kind of reversal reverses entries of that kind.
    pub(crate) fn reverses(self, kind: Self) -> bool {
        match self {
            Self::ReverseEarn => kind == Self::Earn,
            Self::ReverseSpend => matches!(kind, Self::Spend | Self::PostHold),
            _ => false,
        }
    }
}

/// The place of an entry in the chain of its account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    pub(crate) sequence: i64,
    pub(crate) chain: [u8; 32],
}

/// One entry as the caller of a command sees it. Stored with the posting, so that a repeated command gets
/// the same answer, and hashed into the chain (see `chain.rs` before changing a field): with these alone
/// `verify` rebuilds every account, lot and hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryOutcome {
    /// Of what.
    pub asset: Asset,
    /// What happened.
    pub kind: EntryKind,
    /// Where the value came from or went to.
    pub counter_account: CounterAccount,
    /// Change of what is free to spend.
    pub available_change: i64,
    /// Change of what waits for its date or event.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pending_change: i64,
    /// Change of what is set aside.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_change: i64,
    /// What should have been taken and was forgiven.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub shortfall: i64,
    /// The posting that this reverses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<PostingId>,
    /// How much of the source posting this reverses, whether or not it was still there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reversed: i64,
    /// Free to spend afterwards.
    pub available: i64,
    /// Pending afterwards.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pending: i64,
    /// Held afterwards.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held: i64,
    /// The lot that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lot_id: Option<LotId>,
    /// The hold that was made or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_id: Option<HoldId>,
    /// What was taken from or held in each lot, in that order, or what a reversal put back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lots: Vec<(LotId, i64)>,
    /// The date that the lot that was made waits for.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis")]
    pub available_at: Option<Timestamp>,
    /// The event that the lot that was made waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// When the lot that was made is lost; of a reversal, to when lots that were over live on.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis")]
    pub expires_at: Option<Timestamp>,
    /// When the hold that was made lapses.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "millis")]
    pub lapses_at: Option<Timestamp>,
    /// How far below zero the policy allowed to go, where this entry went there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub limit: i64,
}

/// Moments as numbers: postings are the largest table, and this is half as long as the text.
mod millis {
    use huika_core::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
    pub(super) fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        at.map(Timestamp::as_millis).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(Timestamp::from_millis))
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl EntryOutcome {
    /// Change of the whole account.
    pub fn total_change(&self) -> i64 {
        self.available_change + self.pending_change + self.held_change
    }
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The posting.
    pub posting_id: PostingId,
    /// Whether the command had been carried out before, and this is the first answer again.
    pub replayed: bool,
    /// What happened, in order.
    pub entries: Vec<EntryOutcome>,
}

impl Outcome {
    /// The last entry of an asset, whose balances are those after the posting.
    pub fn last_of(&self, asset: Asset) -> Option<&EntryOutcome> {
        self.entries.iter().rev().find(|entry| entry.asset == asset)
    }
}

/// A posting as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Posting {
    pub(crate) member_id: MemberId,
    pub(crate) posting_id: PostingId,
    pub(crate) kind: String,
    pub(crate) key: String,
    pub(crate) input: InputHash,
    pub(crate) reference: String,
    pub(crate) actor: String,
    pub(crate) effective_at: Timestamp,
    pub(crate) recorded_at: Timestamp,
    pub(crate) trace: Option<String>,
    pub(crate) reverses: Vec<PostingId>,
    pub(crate) outcomes: Vec<EntryOutcome>,
    /// One for each outcome.
    pub(crate) links: Vec<Link>,
    /// Change of (remaining, held) by lot.
    pub(crate) lot_entries: BTreeMap<LotId, (i64, i64)>,
}

impl Posting {
    /// How many rows it writes: itself, its entries with their accounts, and its lots with their entries.
    pub(crate) fn rows(&self) -> usize {
        1 + 2 * (self.outcomes.len() + self.lot_entries.len())
    }
}

/// What is known of an idempotency key that was used.
#[derive(Debug, Clone)]
pub(crate) struct StoredAnswer {
    pub(crate) input: InputHash,
    pub(crate) posting_id: PostingId,
    pub(crate) entries: Vec<EntryOutcome>,
}

/// What is known of a posting that may be reversed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source {
    pub(crate) entries: Vec<EntryOutcome>,
    /// What was reversed by the kind of the reversal: a posting may earn and spend the same asset.
    pub(crate) reversed: HashMap<(EntryKind, Asset), i64>,
    pub(crate) returned: HashMap<LotId, i64>,
}

impl Source {
    /// The entries that a kind of reversal can reverse.
    pub(crate) fn reversible(&self, by: EntryKind, asset: Asset) -> impl Iterator<Item = &EntryOutcome> {
        self.entries
            .iter()
            .filter(move |entry| entry.asset == asset && by.reverses(entry.kind))
    }

    /// Counts an entry that reverses this posting.
    pub(crate) fn count(&mut self, reversal: &EntryOutcome) {
        *self.reversed.entry((reversal.kind, reversal.asset)).or_default() += reversal.reversed;
        if reversal.kind == EntryKind::ReverseSpend {
            for (lot_id, part) in &reversal.lots {
                *self.returned.entry(*lot_id).or_default() += part;
            }
        }
    }
}

/// One member's part of a book.
#[derive(Debug, Default)]
pub(crate) struct MemberState {
    pub(crate) accounts: BTreeMap<Asset, Account>,
    pub(crate) lots: BTreeMap<LotId, Lot>,
    pub(crate) holds: BTreeMap<HoldId, Hold>,
    pub(crate) sources: HashMap<PostingId, Source>,
    pub(crate) answers: HashMap<String, StoredAnswer>,
    /// The assets whose pending and open lots and open holds are all here.
    pub(crate) complete: BTreeSet<Asset>,
    /// How to undo what the command in progress did.
    journal: Vec<Undo>,
}

#[derive(Debug)]
enum Undo {
    Account(Asset, Option<Account>),
    Lot(LotId, Option<Box<Lot>>),
    Hold(HoldId, Option<Box<Hold>>),
    Source(PostingId, Box<Source>),
}

impl MemberState {
    /// The account for changing; made when there is none.
    pub(crate) fn account_mut(&mut self, asset: Asset) -> &mut Account {
        let before = self.accounts.get(&asset).cloned();
        self.journal.push(Undo::Account(asset, before));
        self.accounts.entry(asset).or_insert_with(Account::new)
    }

    /// A lot for changing.
    pub(crate) fn lot_mut(&mut self, lot_id: LotId) -> Option<&mut Lot> {
        let lot = self.lots.get_mut(&lot_id)?;
        self.journal.push(Undo::Lot(lot_id, Some(Box::new(lot.clone()))));
        lot.changed = true;
        Some(lot)
    }

    pub(crate) fn add_lot(&mut self, lot: Lot) {
        self.journal.push(Undo::Lot(lot.lot_id, None));
        self.lots.insert(lot.lot_id, lot);
    }

    /// A hold for changing.
    pub(crate) fn hold_mut(&mut self, hold_id: HoldId) -> Option<&mut Hold> {
        let hold = self.holds.get_mut(&hold_id)?;
        self.journal
            .push(Undo::Hold(hold_id, Some(Box::new(hold.clone()))));
        hold.changed = true;
        Some(hold)
    }

    pub(crate) fn add_hold(&mut self, hold: Hold) {
        self.journal.push(Undo::Hold(hold.hold_id, None));
        self.holds.insert(hold.hold_id, hold);
    }

    /// A source for counting what is reversed.
    pub(crate) fn source_mut(&mut self, posting_id: PostingId) -> Option<&mut Source> {
        let source = self.sources.get_mut(&posting_id)?;
        self.journal
            .push(Undo::Source(posting_id, Box::new(source.clone())));
        Some(source)
    }

    /// Keeps what was done since the last time.
    pub(crate) fn keep(&mut self) {
        self.journal.clear();
    }

    /// Undoes what was done since the last [`MemberState::keep`].
    pub(crate) fn undo(&mut self) {
        while let Some(step) = self.journal.pop() {
            match step {
                Undo::Account(asset, Some(account)) => drop(self.accounts.insert(asset, account)),
                Undo::Account(asset, None) => drop(self.accounts.remove(&asset)),
                Undo::Lot(lot_id, Some(lot)) => drop(self.lots.insert(lot_id, *lot)),
                Undo::Lot(lot_id, None) => drop(self.lots.remove(&lot_id)),
                Undo::Hold(hold_id, Some(hold)) => drop(self.holds.insert(hold_id, *hold)),
                Undo::Hold(hold_id, None) => drop(self.holds.remove(&hold_id)),
                Undo::Source(posting_id, source) => drop(self.sources.insert(posting_id, *source)),
            }
        }
    }

    pub(crate) fn available(&self, asset: Asset) -> i64 {
        self.accounts.get(&asset).map_or(0, |account| account.available)
    }

    /// Whether all that is left to take back of a source lies in its own lots or was lost from them, so that its
    /// reversal touches no other lot.
    pub(crate) fn covers(&self, source_id: PostingId, asset: Asset) -> bool {
        let Some(source) = self.sources.get(&source_id) else {
            return true;
        };
        let by = EntryKind::ReverseEarn;
        let mut missing = -source.reversed.get(&(by, asset)).copied().unwrap_or(0);
        for entry in source.reversible(by, asset) {
            let lot = entry.lot_id.and_then(|lot_id| self.lots.get(&lot_id));
            missing += entry.total_change() - lot.map_or(0, |lot| lot.expired + lot.free_or_pending());
        }
        missing <= 0
    }

    /// Which lots `amount` comes from, in spending order. Takes less where less is free.
    pub(crate) fn pick(&self, asset: Asset, amount: i64) -> Vec<(LotId, i64)> {
        let mut free: Vec<&Lot> = self
            .lots
            .values()
            .filter(|lot| lot.asset == asset && lot.free() > 0)
            .collect();
        free.sort_by_key(|lot| lot.spending_order());
        let mut left = amount;
        let mut picked = Vec::new();
        for lot in free {
            if left == 0 {
                break;
            }
            let part = lot.free().min(left);
            picked.push((lot.lot_id, part));
            left -= part;
        }
        picked
    }

    /// The assets whose accounts time has changed, as far as the accounts know.
    pub(crate) fn due(&self, now: Timestamp) -> impl Iterator<Item = Asset> {
        self.accounts
            .iter()
            .filter(move |(_, account)| account.next_change_at <= now)
            .map(|(asset, _)| *asset)
    }

    /// When time next changes an account, as far as the account knows. May be too early, never too late.
    pub(crate) fn known_next_change_at(&self, asset: Asset) -> Timestamp {
        self.accounts
            .get(&asset)
            .map_or(Timestamp::MAX, |account| account.next_change_at)
    }

    /// When time next changes an account, by its lots and holds.
    pub(crate) fn next_change_at(&self, asset: Asset) -> Timestamp {
        let lots = self
            .lots
            .values()
            .filter(|lot| lot.asset == asset)
            .filter_map(Lot::next_change_at);
        let holds = self
            .holds
            .values()
            .filter(|hold| hold.asset == asset && hold.state == HoldState::Open)
            .map(|hold| hold.lapses_at);
        lots.chain(holds).min().unwrap_or(Timestamp::MAX)
    }
}

/// Checks an amount of a command.
pub(crate) fn check_amount(amount: i64) -> Result<(), LedgerError> {
    if (1..=MAX_AMOUNT).contains(&amount) {
        Ok(())
    } else {
        Err(LedgerError::AmountInvalid { amount })
    }
}
