//! Deciding one posting: what its operations do to accounts, lots and holds.

use huika_core::{IdGenerator, MemberId, Timestamp};

use super::{
    EntryKind, EntryOutcome, Hold, HoldState, Lot, LotState, MemberState, Posting, PostingDigest, Source,
    chain_next,
    state::{Link, check_amount},
};
use crate::{
    Asset, Availability, Command, CounterAccount, HoldId, InputHash, LapsedLots, LedgerError, LotId,
    NegativePolicy, Operation, PostingId, error::MAX_AMOUNT,
};

/// A posting in the making. Dropping it half way leaves the member's journal to be undone by the caller.
pub(crate) struct Deciding<'a> {
    pub(crate) state: &'a mut MemberState,
    pub(crate) ids: &'a IdGenerator,
    pub(crate) now: Timestamp,
    pub(crate) posting: Posting,
    digest: PostingDigest,
}

/// How an entry changes its account.
#[derive(Default)]
pub(crate) struct Change {
    pub(crate) available: i64,
    pub(crate) pending: i64,
    pub(crate) held: i64,
    pub(crate) shortfall: i64,
    pub(crate) reversed: i64,
    pub(crate) lot_id: Option<LotId>,
    pub(crate) hold_id: Option<HoldId>,
    pub(crate) source: Option<PostingId>,
    /// What was taken from or held in each lot, or put back.
    pub(crate) lots: Vec<(LotId, i64)>,
    pub(crate) available_at: Option<Timestamp>,
    pub(crate) event: Option<String>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) lapses_at: Option<Timestamp>,
    pub(crate) limit: i64,
}

impl<'a> Deciding<'a> {
    /// Starts the posting of a command.
    pub(crate) fn command(
        state: &'a mut MemberState,
        ids: &'a IdGenerator,
        now: Timestamp,
        command: &Command,
    ) -> Self {
        let posting = Posting {
            member_id: command.member_id,
            posting_id: ids.next_at(now),
            kind: command.kind.to_owned(),
            key: command.key.as_str().to_owned(),
            input: command.input,
            reference: command.reference.clone(),
            actor: command.actor.clone(),
            effective_at: command.effective_at,
            recorded_at: now,
            trace: command.trace.clone(),
            reverses: Vec::new(),
            outcomes: Vec::new(),
            links: Vec::new(),
            lot_entries: Default::default(),
        };
        let digest = PostingDigest::of(&posting);
        Self {
            state,
            ids,
            now,
            posting,
            digest,
        }
    }

    /// Starts a posting that time makes.
    pub(crate) fn by_time(
        state: &'a mut MemberState,
        ids: &'a IdGenerator,
        now: Timestamp,
        member_id: MemberId,
        asset: Asset,
        effective_at: Timestamp,
    ) -> Self {
        let sequence = state.accounts.get(&asset).map_or(0, |account| account.sequence) + 1;
        // No caller's key can hold a space, so nobody can take this one.
        let key = format!("settle {} {sequence}", asset.name());
        let posting = Posting {
            member_id,
            posting_id: ids.next_at(now),
            kind: "settle".to_owned(),
            input: InputHash::of(&key),
            key,
            reference: String::new(),
            actor: "system:settle".to_owned(),
            effective_at,
            recorded_at: now,
            trace: None,
            reverses: Vec::new(),
            outcomes: Vec::new(),
            links: Vec::new(),
            lot_entries: Default::default(),
        };
        let digest = PostingDigest::of(&posting);
        Self {
            state,
            ids,
            now,
            posting,
            digest,
        }
    }

    /// Carries out one operation.
    pub(crate) fn operate(&mut self, operation: &Operation) -> Result<(), LedgerError> {
        let floors = Asset::ALL.map(|asset| (asset, self.state.known_next_change_at(asset)));
        self.carry_out(operation)?;
        for (asset, floor) in floors {
            self.settle_over(asset, floor);
        }
        Ok(())
    }

    fn carry_out(&mut self, operation: &Operation) -> Result<(), LedgerError> {
        match operation {
            Operation::Earn {
                asset,
                amount,
                counter_account,
                availability,
                expires_at,
            } => self.earn(*asset, *amount, *counter_account, availability, *expires_at),
            Operation::Spend {
                asset,
                amount,
                counter_account,
            } => self.spend(*asset, *amount, *counter_account),
            Operation::ClawBack {
                asset,
                amount,
                counter_account,
                policy,
            } => {
                check_amount(*amount)?;
                self.claw_back(
                    EntryKind::ClawBack,
                    *asset,
                    *amount,
                    *counter_account,
                    *policy,
                    Change::default(),
                );
                Ok(())
            }
            Operation::Hold {
                asset,
                amount,
                lapses_at,
            } => self.hold(*asset, *amount, *lapses_at),
            Operation::PostHold {
                hold_id,
                amount,
                counter_account,
            } => self.post_hold(*hold_id, *amount, *counter_account),
            Operation::VoidHold { hold_id } => self.void_hold(*hold_id),
            Operation::Release { event } => {
                self.release_event(event);
                Ok(())
            }
            Operation::ReverseEarn {
                source,
                asset,
                amount,
                policy,
            } => self.reverse_earn(*source, *asset, *amount, *policy),
            Operation::ReverseSpend {
                source,
                asset,
                amount,
                lapsed,
            } => self.reverse_spend(*source, *asset, *amount, *lapsed),
        }
    }

    fn earn(
        &mut self,
        asset: Asset,
        amount: i64,
        counter_account: CounterAccount,
        availability: &Availability,
        expires_at: Option<Timestamp>,
    ) -> Result<(), LedgerError> {
        check_amount(amount)?;
        self.require_one_counter_account(EntryKind::ReverseEarn, asset, counter_account)?;
        // What is available, pending or held came in once, so this bounds each of them: entries need no check.
        let lifetime_in = self
            .state
            .accounts
            .get(&asset)
            .map_or(0, |account| account.lifetime_in)
            + amount;
        if lifetime_in > MAX_AMOUNT {
            return Err(LedgerError::AmountInvalid { amount: lifetime_in });
        }
        let (available_at, release_event) = match availability {
            Availability::Now => (None, None),
            Availability::At(at) if *at <= self.now => (None, None),
            Availability::At(at) => (Some(*at), None),
            Availability::OnEvent { event, not_before } => (*not_before, Some(event.clone())),
        };
        let pending = available_at.is_some() || release_event.is_some();
        let lot_id = self.ids.next_at(self.now);
        self.state.add_lot(Lot {
            lot_id,
            asset,
            posting_id: self.posting.posting_id,
            amount,
            remaining: amount,
            held: 0,
            expired: 0,
            state: if pending {
                LotState::Pending
            } else {
                LotState::Open
            },
            available_at,
            release_event: release_event.clone(),
            expires_at,
            stored: false,
            changed: true,
        });
        let account = self.state.account_mut(asset);
        account.lifetime_in += amount;
        let change = Change {
            lot_id: Some(lot_id),
            available_at,
            event: release_event,
            expires_at,
            ..Change::default()
        };
        if pending {
            self.enter(
                EntryKind::Earn,
                asset,
                counter_account,
                Change {
                    pending: amount,
                    ..change
                },
            );
        } else {
            self.repay_deficit(asset, lot_id, amount);
            self.enter(
                EntryKind::Earn,
                asset,
                counter_account,
                Change {
                    available: amount,
                    ..change
                },
            );
        }
        Ok(())
    }

    fn spend(
        &mut self,
        asset: Asset,
        amount: i64,
        counter_account: CounterAccount,
    ) -> Result<(), LedgerError> {
        check_amount(amount)?;
        self.require_one_counter_account(EntryKind::ReverseSpend, asset, counter_account)?;
        self.require(asset, amount)?;
        let lots = self.state.pick(asset, amount);
        for (lot_id, part) in &lots {
            self.change_lot(*lot_id, -part, 0);
        }
        self.state.account_mut(asset).lifetime_out += amount;
        self.enter(
            EntryKind::Spend,
            asset,
            counter_account,
            Change {
                available: -amount,
                lots,
                ..Change::default()
            },
        );
        Ok(())
    }

    /// Takes what is free, then goes below zero as far as the policy lets it, then notes the shortfall.
    /// `before` carries what the caller took already in the same entry.
    fn claw_back(
        &mut self,
        kind: EntryKind,
        asset: Asset,
        amount: i64,
        counter_account: CounterAccount,
        policy: NegativePolicy,
        mut before: Change,
    ) {
        // `before.available` has left its lot but not yet the account.
        let available = self.state.available(asset) + before.available;
        let taken = available.max(0).min(amount);
        for (lot_id, part) in self.state.pick(asset, taken) {
            self.change_lot(lot_id, -part, 0);
            before.lots.push((lot_id, part));
        }
        let rest = amount - taken;
        let limit = match policy {
            NegativePolicy::TakeExisting => 0,
            NegativePolicy::GoNegative { limit } => limit.clamp(0, MAX_AMOUNT),
        };
        let below_zero = rest.min((limit + available - taken).max(0));
        let change = Change {
            available: before.available - taken - below_zero,
            shortfall: rest - below_zero,
            limit: if below_zero > 0 { limit } else { 0 },
            ..before
        };
        self.state.account_mut(asset).lifetime_in += change.available + change.pending;
        self.enter(kind, asset, counter_account, change);
    }

    fn hold(&mut self, asset: Asset, amount: i64, lapses_at: Timestamp) -> Result<(), LedgerError> {
        check_amount(amount)?;
        self.require(asset, amount)?;
        let lots = self.state.pick(asset, amount);
        for (lot_id, part) in &lots {
            self.change_lot(*lot_id, 0, *part);
        }
        let hold_id = self.ids.next_at(self.now);
        self.state.add_hold(Hold {
            hold_id,
            asset,
            amount,
            lots: lots.clone(),
            lapses_at,
            state: HoldState::Open,
            stored: false,
            changed: true,
        });
        let change = Change {
            available: -amount,
            held: amount,
            hold_id: Some(hold_id),
            lots,
            lapses_at: Some(lapses_at),
            ..Change::default()
        };
        self.enter(EntryKind::Hold, asset, CounterAccount::Internal, change);
        Ok(())
    }

    fn post_hold(
        &mut self,
        hold_id: HoldId,
        amount: i64,
        counter_account: CounterAccount,
    ) -> Result<(), LedgerError> {
        check_amount(amount)?;
        let (asset, mut lots) = self.open_hold(hold_id)?;
        self.require_one_counter_account(EntryKind::ReverseSpend, asset, counter_account)?;
        let held: i64 = lots.iter().map(|(_, part)| part).sum();
        if amount > held {
            return Err(LedgerError::HoldExceeds {
                held,
                requested: amount,
            });
        }
        let mut left = amount;
        let mut spent = Vec::new();
        for (lot_id, part) in &mut lots {
            let from_lot = left.min(*part);
            if from_lot > 0 {
                self.change_lot(*lot_id, -from_lot, -from_lot);
                spent.push((*lot_id, from_lot));
            }
            *part -= from_lot;
            left -= from_lot;
        }
        self.state.account_mut(asset).lifetime_out += amount;
        let change = Change {
            held: -amount,
            hold_id: Some(hold_id),
            lots: spent,
            ..Change::default()
        };
        self.enter(EntryKind::PostHold, asset, counter_account, change);
        self.close_hold(hold_id);
        if amount < held {
            self.return_held(hold_id, EntryKind::VoidHold, asset, lots);
        }
        Ok(())
    }

    fn void_hold(&mut self, hold_id: HoldId) -> Result<(), LedgerError> {
        let (asset, lots) = self.open_hold(hold_id)?;
        self.close_hold(hold_id);
        self.return_held(hold_id, EntryKind::VoidHold, asset, lots);
        Ok(())
    }

    /// Ends a hold whose time is over.
    pub(super) fn lapse_hold(&mut self, hold_id: HoldId) {
        let Ok((asset, lots)) = self.open_hold(hold_id) else {
            return;
        };
        self.close_hold(hold_id);
        self.return_held(hold_id, EntryKind::Lapse, asset, lots);
    }

    /// Returns to their lots what a hold covered.
    fn return_held(&mut self, hold_id: HoldId, kind: EntryKind, asset: Asset, lots: Vec<(LotId, i64)>) {
        let mut returned = 0;
        for (lot_id, part) in lots.into_iter().filter(|(_, part)| *part > 0) {
            self.change_lot(lot_id, 0, -part);
            self.repay_deficit_after(asset, (lot_id, part), returned);
            self.lower_next_change(asset, lot_id);
            returned += part;
        }
        let change = Change {
            available: returned,
            held: -returned,
            hold_id: Some(hold_id),
            ..Change::default()
        };
        self.enter(kind, asset, CounterAccount::Internal, change);
    }

    fn release_event(&mut self, event: &str) {
        let waiting: Vec<LotId> = self
            .state
            .lots
            .values()
            .filter(|lot| lot.state == LotState::Pending && lot.release_event.as_deref() == Some(event))
            .map(|lot| lot.lot_id)
            .collect();
        for lot_id in waiting {
            let now = self.now;
            let Some(lot) = self.state.lot_mut(lot_id) else {
                continue;
            };
            lot.release_event = None;
            if lot.available_at.is_none_or(|at| at <= now) {
                self.release_lot(lot_id);
            } else {
                // The date is still to come. That the event came must not be lost: it is an entry by itself.
                let asset = lot.asset;
                let change = Change {
                    lot_id: Some(lot_id),
                    ..Change::default()
                };
                self.enter(EntryKind::Release, asset, CounterAccount::Internal, change);
            }
        }
    }

    /// Makes a pending lot available.
    pub(super) fn release_lot(&mut self, lot_id: LotId) {
        let Some(lot) = self.state.lot_mut(lot_id) else {
            return;
        };
        lot.state = LotState::Open;
        let (asset, amount) = (lot.asset, lot.remaining);
        self.repay_deficit(asset, lot_id, amount);
        let change = Change {
            available: amount,
            pending: -amount,
            lot_id: Some(lot_id),
            ..Change::default()
        };
        self.enter(EntryKind::Release, asset, CounterAccount::Internal, change);
    }

    /// Takes away what a lot lost by time; what is held stays until the hold ends.
    pub(super) fn expire_lot(&mut self, lot_id: LotId) {
        let Some(lot) = self.state.lots.get(&lot_id) else {
            return;
        };
        let (asset, pending) = (lot.asset, lot.state == LotState::Pending);
        let lost = if pending { lot.remaining } else { lot.free() };
        self.change_lot(lot_id, -lost, 0);
        if let Some(lot) = self.state.lot_mut(lot_id) {
            lot.expired += lost;
        }
        let change = if pending {
            Change {
                pending: -lost,
                lot_id: Some(lot_id),
                ..Change::default()
            }
        } else {
            Change {
                available: -lost,
                lot_id: Some(lot_id),
                ..Change::default()
            }
        };
        self.enter(EntryKind::Expire, asset, CounterAccount::Expiry, change);
    }

    fn reverse_earn(
        &mut self,
        source_id: PostingId,
        asset: Asset,
        amount: i64,
        policy: NegativePolicy,
    ) -> Result<(), LedgerError> {
        let source = self.reversible(source_id, EntryKind::ReverseEarn, asset, amount)?;
        let earned: Vec<LotId> = source
            .reversible(EntryKind::ReverseEarn, asset)
            .filter_map(|entry| entry.lot_id)
            .collect();
        let counter_account = counter_account_of(source, EntryKind::ReverseEarn, asset);

        // First what still lies in its own lots, then what they lost by time (nothing is left to take for it),
        // and only then other lots: that part was spent.
        let mut left = amount;
        let mut change = Change {
            reversed: amount,
            source: Some(source_id),
            ..Change::default()
        };
        for lot_id in &earned {
            let Some(lot) = self.state.lots.get(lot_id) else {
                continue;
            };
            let pending = lot.state == LotState::Pending;
            let part = left.min(lot.free_or_pending());
            if part > 0 {
                self.change_lot(*lot_id, -part, 0);
                change.lots.push((*lot_id, part));
                left -= part;
                *(if pending {
                    &mut change.pending
                } else {
                    &mut change.available
                }) -= part;
            }
        }
        for lot_id in &earned {
            let Some(lot) = self.state.lots.get(lot_id) else {
                continue;
            };
            let lost = left.min(lot.expired);
            if lost > 0 {
                left -= lost;
                if let Some(lot) = self.state.lot_mut(*lot_id) {
                    lot.expired -= lost;
                }
            }
        }
        self.claw_back(
            EntryKind::ReverseEarn,
            asset,
            left,
            counter_account,
            policy,
            change,
        );
        self.count_reversal(source_id);
        Ok(())
    }

    fn reverse_spend(
        &mut self,
        source_id: PostingId,
        asset: Asset,
        amount: i64,
        lapsed: LapsedLots,
    ) -> Result<(), LedgerError> {
        let source = self.reversible(source_id, EntryKind::ReverseSpend, asset, amount)?;
        let spent = source.reversible(EntryKind::ReverseSpend, asset);
        let taken: Vec<(LotId, i64)> = spent.flat_map(|entry| entry.lots.iter().copied()).collect();
        let counter_account = counter_account_of(source, EntryKind::ReverseSpend, asset);
        let mut returned = source.returned.clone();

        // The last taken returns first: it expires last, which is what the member would choose.
        let mut left = amount;
        let mut back = Vec::new();
        let mut extended_to = None;
        for (lot_id, part) in taken.into_iter().rev() {
            let before = returned.entry(lot_id).or_default();
            let returned_before = part.min(*before);
            *before -= returned_before;
            let part = left.min(part - returned_before);
            if part == 0 {
                continue;
            }
            let now = self.now;
            if let Some(lot) = self.state.lot_mut(lot_id) {
                lot.state = LotState::Open;
                // Otherwise it expires before the next operation.
                if let LapsedLots::ExtendTo(at) = lapsed
                    && lot.expires_at.is_some_and(|expires_at| expires_at <= now)
                {
                    lot.expires_at = Some(at);
                    extended_to = Some(at);
                }
            }
            self.change_lot(lot_id, part, 0);
            self.repay_deficit_after(asset, (lot_id, part), amount - left);
            self.lower_next_change(asset, lot_id);
            back.push((lot_id, part));
            left -= part;
        }
        self.state.account_mut(asset).lifetime_out -= amount;
        let change = Change {
            available: amount,
            reversed: amount,
            source: Some(source_id),
            lots: back,
            expires_at: extended_to,
            ..Change::default()
        };
        self.enter(EntryKind::ReverseSpend, asset, counter_account, change);
        self.count_reversal(source_id);
        Ok(())
    }

    /// The source of a reversal, if it has entries to reverse and `amount` of them is left.
    fn reversible(
        &self,
        source_id: PostingId,
        by: EntryKind,
        asset: Asset,
        amount: i64,
    ) -> Result<&Source, LedgerError> {
        check_amount(amount)?;
        let source = self.state.sources.get(&source_id);
        let total = source.map_or(0, |source| {
            source
                .reversible(by, asset)
                .map(|entry| entry.total_change().abs())
                .sum()
        });
        let Some(source) = source.filter(|_| total > 0) else {
            return Err(LedgerError::PostingNotFound {
                posting: source_id.to_string(),
            });
        };
        let left = total - source.reversed.get(&(by, asset)).copied().unwrap_or(0);
        if amount > left {
            return Err(LedgerError::ReversalExceeds {
                left,
                requested: amount,
            });
        }
        Ok(source)
    }

    /// Counts the entry just made with its source.
    fn count_reversal(&mut self, source_id: PostingId) {
        if let (Some(source), Some(entry)) = (self.state.source_mut(source_id), self.posting.outcomes.last())
        {
            source.count(entry);
        }
        if !self.posting.reverses.contains(&source_id) {
            self.posting.reverses.push(source_id);
        }
    }

    /// A reversal goes back to one counter-account, so what one posting earns, or spends, of one asset has one.
    fn require_one_counter_account(
        &self,
        reversed_by: EntryKind,
        asset: Asset,
        counter_account: CounterAccount,
    ) -> Result<(), LedgerError> {
        let another = self.posting.outcomes.iter().any(|entry| {
            entry.asset == asset
                && reversed_by.reverses(entry.kind)
                && entry.counter_account != counter_account
        });
        if another {
            return Err(LedgerError::CounterAccountsMixed { asset: asset.name() });
        }
        Ok(())
    }

    fn require(&self, asset: Asset, amount: i64) -> Result<(), LedgerError> {
        let available = self.state.available(asset);
        if available < amount {
            return Err(LedgerError::Insufficient {
                asset: asset.name(),
                available: available.max(0),
                requested: amount,
            });
        }
        Ok(())
    }

    fn open_hold(&self, hold_id: HoldId) -> Result<(Asset, Vec<(LotId, i64)>), LedgerError> {
        let Some(hold) = self.state.holds.get(&hold_id) else {
            return Err(LedgerError::HoldNotFound {
                hold: hold_id.to_string(),
            });
        };
        if hold.state == HoldState::Closed {
            return Err(LedgerError::HoldClosed {
                hold: hold_id.to_string(),
            });
        }
        Ok((hold.asset, hold.lots.clone()))
    }

    fn close_hold(&mut self, hold_id: HoldId) {
        if let Some(hold) = self.state.hold_mut(hold_id) {
            hold.state = HoldState::Closed;
            hold.lots.clear();
        }
    }

    /// New value repays a deficit before it can be spent. Call before the entry changes the account.
    fn repay_deficit(&mut self, asset: Asset, lot_id: LotId, credited: i64) {
        self.repay_deficit_after(asset, (lot_id, credited), 0);
    }

    /// The same where `before` was credited to other lots by the same entry.
    fn repay_deficit_after(&mut self, asset: Asset, (lot_id, credited): (LotId, i64), before: i64) {
        let deficit = -(self.state.available(asset) + before);
        let repaid = credited.min(deficit);
        if repaid > 0 {
            self.change_lot(lot_id, -repaid, 0);
        }
    }

    /// Changes a lot and notes it with the posting.
    fn change_lot(&mut self, lot_id: LotId, remaining: i64, held: i64) {
        let Some(lot) = self.state.lot_mut(lot_id) else {
            return;
        };
        lot.remaining += remaining;
        lot.held += held;
        if lot.remaining == 0 {
            lot.state = LotState::Closed;
        }
        let noted = self.posting.lot_entries.entry(lot_id).or_default();
        noted.0 += remaining;
        noted.1 += held;
    }

    /// Makes sure that the account is settled in time for what was done to a lot.
    fn lower_next_change(&mut self, asset: Asset, lot_id: LotId) {
        let Some(at) = self.state.lots.get(&lot_id).and_then(Lot::next_change_at) else {
            return;
        };
        let account = self.state.account_mut(asset);
        // What is due already is settled by the book before the command ends.
        account.next_change_at = account.next_change_at.min(at);
    }

    /// Writes an entry: the account changes, the chain grows.
    fn enter(&mut self, kind: EntryKind, asset: Asset, counter_account: CounterAccount, change: Change) {
        let touched = change
            .lot_id
            .and_then(|lot_id| self.state.lots.get(&lot_id))
            .and_then(Lot::next_change_at);
        let lapses = change
            .hold_id
            .and_then(|hold_id| self.state.holds.get(&hold_id))
            .filter(|hold| hold.state == HoldState::Open)
            .map(|hold| hold.lapses_at);
        let account = self.state.account_mut(asset);
        account.available += change.available;
        account.pending += change.pending;
        account.held += change.held;
        account.sequence += 1;
        for at in [touched, lapses].into_iter().flatten() {
            account.next_change_at = account.next_change_at.min(at);
        }
        let outcome = EntryOutcome {
            asset,
            kind,
            counter_account,
            available_change: change.available,
            pending_change: change.pending,
            held_change: change.held,
            shortfall: change.shortfall,
            source: change.source,
            reversed: change.reversed,
            available: account.available,
            pending: account.pending,
            held: account.held,
            lot_id: change.lot_id,
            hold_id: change.hold_id,
            lots: change.lots,
            available_at: change.available_at,
            event: change.event,
            expires_at: change.expires_at,
            lapses_at: change.lapses_at,
            limit: change.limit,
        };
        let sequence = account.sequence;
        let member_id = self.posting.member_id;
        account.chain = chain_next(&account.chain, member_id, &self.digest, sequence, &outcome);
        self.posting.links.push(Link {
            sequence,
            chain: account.chain,
        });
        self.posting.outcomes.push(outcome);
    }
}

/// A reversal goes back to where its source came from.
fn counter_account_of(source: &Source, by: EntryKind, asset: Asset) -> CounterAccount {
    source
        .reversible(by, asset)
        .next()
        .map_or(CounterAccount::Adjustment, |entry| entry.counter_account)
}
