//! The proof's own arithmetic: rebuilds one account with its lots and holds from what its entries answered.
//!
//! Written apart from the deciding, so that a mistake of one shows against the other. Sums are wider than any
//! stored number: an altered row is named and never overflows.

use std::collections::{BTreeMap, HashMap};

use huika_core::Timestamp;

use super::{EntryKind, EntryOutcome, LotState};
use crate::{HoldId, LotId, PostingId};

#[derive(Debug)]
pub(crate) struct ReplayedLot {
    pub(crate) posting_id: PostingId,
    pub(crate) amount: i128,
    pub(crate) remaining: i128,
    pub(crate) held: i128,
    pub(crate) expired: i128,
    pub(crate) pending: bool,
    pub(crate) available_at: Option<Timestamp>,
    pub(crate) event: Option<String>,
    pub(crate) expires_at: Option<Timestamp>,
}

impl ReplayedLot {
    pub(crate) fn state(&self) -> LotState {
        match (self.remaining, self.pending) {
            (0, _) => LotState::Closed,
            (_, true) => LotState::Pending,
            (_, false) => LotState::Open,
        }
    }

    /// What it adds to available, pending and held.
    fn parts(&self) -> [i128; 3] {
        if self.pending {
            [0, self.remaining, self.held]
        } else {
            [self.remaining - self.held, 0, self.held]
        }
    }
}

#[derive(Debug)]
pub(crate) struct ReplayedHold {
    pub(crate) amount: i128,
    /// Empty once it is closed.
    pub(crate) parts: Vec<(LotId, i128)>,
    pub(crate) lapses_at: Timestamp,
}

/// One account as its history makes it.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    pub(crate) available: i128,
    pub(crate) pending: i128,
    pub(crate) held: i128,
    pub(crate) lifetime_in: i128,
    pub(crate) lifetime_out: i128,
    pub(crate) sequence: i64,
    pub(crate) chain: [u8; 32],
    pub(crate) lots: BTreeMap<LotId, ReplayedLot>,
    pub(crate) holds: BTreeMap<HoldId, ReplayedHold>,
    /// What each posting did to remaining and held of each lot.
    pub(crate) lot_changes: HashMap<(PostingId, LotId), (i128, i128)>,
    /// An entry was missing or impossible: lots and holds are not known any more.
    pub(crate) broken: bool,
    lost: bool,
    earned: HashMap<PostingId, Vec<LotId>>,
    /// Free, pending and held over all lots.
    in_lots: [i128; 3],
    in_holds: i128,
}

impl Replay {
    /// Gives up what depends on an entry whose answer is missing: also the sums of the account.
    pub(crate) fn lose(&mut self) {
        (self.broken, self.lost) = (true, true);
    }

    /// Whether the balances are those of the whole history.
    pub(crate) fn sums_known(&self) -> bool {
        !self.lost
    }

    /// Carries out what an entry answered, and says what is impossible about it. From then on only the sums of
    /// the account go on: one offender is not named by everything after it.
    pub(crate) fn apply(
        &mut self,
        posting_id: PostingId,
        recorded_at: Timestamp,
        outcome: &EntryOutcome,
    ) -> Result<(), String> {
        let before = self.available;
        let [available, pending, held] = [
            outcome.available_change,
            outcome.pending_change,
            outcome.held_change,
        ]
        .map(i128::from);
        let total = available + pending + held;
        self.available += available;
        self.pending += pending;
        self.held += held;
        match outcome.kind {
            EntryKind::Earn | EntryKind::ClawBack | EntryKind::ReverseEarn => self.lifetime_in += total,
            EntryKind::Spend | EntryKind::PostHold | EntryKind::ReverseSpend => self.lifetime_out -= total,
            _ => {}
        }
        if self.broken {
            return Ok(());
        }
        let step = Step {
            replay: self,
            posting_id,
            deficit: (-before).max(0),
        };
        let carried_out = step
            .carry_out(outcome, recorded_at)
            .and_then(|()| self.check(before, outcome));
        self.broken = carried_out.is_err();
        carried_out
    }

    /// What must hold after every entry.
    fn check(&self, before: i128, outcome: &EntryOutcome) -> Result<(), String> {
        let [free, pending, held] = self.in_lots;
        if free != self.available.max(0)
            || [pending, held, self.in_holds] != [self.pending, self.held, self.held]
        {
            return Err(format!(
                "available {}, pending {} and held {} after it, while the lots have {free}, {pending} and {held}",
                self.available, self.pending, self.held
            ));
        }
        let takes_back = matches!(outcome.kind, EntryKind::ClawBack | EntryKind::ReverseEarn);
        if self.available < before.min(0) && !(takes_back && -self.available <= i128::from(outcome.limit)) {
            return Err(format!(
                "{} available after it is below what its policy allows",
                self.available
            ));
        }
        if outcome.shortfall != 0 && !(takes_back && outcome.shortfall > 0 && self.available <= 0) {
            return Err(format!(
                "a shortfall of {} while there was more to take",
                outcome.shortfall
            ));
        }
        Ok(())
    }
}

/// Time does nothing early.
fn due(at: Option<Timestamp>, recorded_at: Timestamp) -> Result<(), String> {
    match at {
        Some(at) if at <= recorded_at => Ok(()),
        _ => Err("its time had not come".to_owned()),
    }
}

/// One entry being replayed.
struct Step<'a> {
    replay: &'a mut Replay,
    posting_id: PostingId,
    /// What the next credits still repay.
    deficit: i128,
}

impl Step<'_> {
    fn carry_out(mut self, outcome: &EntryOutcome, recorded_at: Timestamp) -> Result<(), String> {
        let step = &mut self;
        let [available, pending, held] = [
            outcome.available_change,
            outcome.pending_change,
            outcome.held_change,
        ]
        .map(i128::from);
        let total = available + pending + held;
        match outcome.kind {
            EntryKind::Earn => step.earn(outcome, total)?,
            EntryKind::Spend | EntryKind::ClawBack => step.take(&outcome.lots)?,
            EntryKind::ReverseEarn => {
                step.take(&outcome.lots)?;
                let lost = i128::from(outcome.reversed) - i128::from(outcome.shortfall) + total;
                step.restore_expired(outcome, lost)?;
            }
            EntryKind::ReverseSpend => step.put_back(outcome, recorded_at)?,
            EntryKind::Hold => step.hold(outcome)?,
            EntryKind::PostHold => step.post_hold(outcome)?,
            EntryKind::VoidHold => step.end_hold(outcome)?,
            EntryKind::Lapse => {
                let lapses_at = step.hold_of(outcome)?.lapses_at;
                due(Some(lapses_at), recorded_at)?;
                step.end_hold(outcome)?;
            }
            EntryKind::Release => step.release(outcome, available, recorded_at)?,
            EntryKind::Expire => {
                let lot_id = outcome.lot_id.ok_or("it names no lot")?;
                due(step.lot(lot_id)?.expires_at, recorded_at)?;
                step.change(lot_id, |lot| {
                    lot.remaining += total;
                    lot.expired -= total;
                })?;
                step.note(lot_id, total, 0);
            }
        }
        Ok(())
    }

    fn earn(&mut self, outcome: &EntryOutcome, amount: i128) -> Result<(), String> {
        let lot_id = outcome.lot_id.ok_or("it names no lot")?;
        let lot = ReplayedLot {
            posting_id: self.posting_id,
            amount,
            remaining: amount,
            held: 0,
            expired: 0,
            pending: outcome.available_at.is_some() || outcome.event.is_some(),
            available_at: outcome.available_at,
            event: outcome.event.clone(),
            expires_at: outcome.expires_at,
        };
        let open = !lot.pending;
        self.count(lot.parts(), 1);
        if self.replay.lots.insert(lot_id, lot).is_some() {
            return Err(format!("its lot {lot_id} was there before"));
        }
        self.replay
            .earned
            .entry(self.posting_id)
            .or_default()
            .push(lot_id);
        if open {
            self.repay(lot_id, amount)?;
        }
        Ok(())
    }

    fn take(&mut self, lots: &[(LotId, i64)]) -> Result<(), String> {
        for (lot_id, part) in lots {
            self.move_lot(*lot_id, -i128::from(*part), 0)?;
        }
        Ok(())
    }

    /// What was lost by time needs not be taken back again.
    fn restore_expired(&mut self, outcome: &EntryOutcome, mut lost: i128) -> Result<(), String> {
        let source = outcome.source.ok_or("it names no source")?;
        if lost < 0 {
            return Err("it takes more than it reverses".to_owned());
        }
        for lot_id in self.replay.earned.get(&source).cloned().unwrap_or_default() {
            self.change(lot_id, |lot| {
                let part = lost.min(lot.expired);
                lot.expired -= part;
                lost -= part;
            })?;
        }
        if lost == 0 {
            Ok(())
        } else {
            Err("it does not take what it reverses".to_owned())
        }
    }

    fn put_back(&mut self, outcome: &EntryOutcome, recorded_at: Timestamp) -> Result<(), String> {
        if outcome.reversed != outcome.available_change {
            return Err("it does not put back what it reverses".to_owned());
        }
        for (lot_id, part) in &outcome.lots {
            self.change(*lot_id, |lot| {
                if outcome.expires_at.is_some() && lot.expires_at.is_some_and(|at| at <= recorded_at) {
                    lot.expires_at = outcome.expires_at;
                }
            })?;
            self.move_lot(*lot_id, i128::from(*part), 0)?;
            self.repay(*lot_id, i128::from(*part))?;
        }
        Ok(())
    }

    fn hold(&mut self, outcome: &EntryOutcome) -> Result<(), String> {
        let hold_id = outcome.hold_id.ok_or("it names no hold")?;
        let parts: Vec<(LotId, i128)> = outcome
            .lots
            .iter()
            .map(|(lot_id, part)| (*lot_id, i128::from(*part)))
            .collect();
        for (lot_id, part) in &parts {
            self.move_lot(*lot_id, 0, *part)?;
            self.replay.in_holds += part;
        }
        let hold = ReplayedHold {
            amount: i128::from(outcome.held_change),
            parts,
            lapses_at: outcome.lapses_at.ok_or("its hold never lapses")?,
        };
        match self.replay.holds.insert(hold_id, hold) {
            None => Ok(()),
            Some(_) => Err(format!("its hold {hold_id} was there before")),
        }
    }

    fn hold_of(&mut self, outcome: &EntryOutcome) -> Result<&mut ReplayedHold, String> {
        let hold_id = outcome.hold_id.ok_or("it names no hold")?;
        let hold = self.replay.holds.get_mut(&hold_id);
        hold.filter(|hold| !hold.parts.is_empty())
            .ok_or_else(|| format!("its hold {hold_id} is not open"))
    }

    fn post_hold(&mut self, outcome: &EntryOutcome) -> Result<(), String> {
        for (lot_id, part) in &outcome.lots {
            let part = i128::from(*part);
            let hold = self.hold_of(outcome)?;
            let of_lot = hold
                .parts
                .iter_mut()
                .find(|(of, held)| of == lot_id && *held >= part);
            of_lot
                .ok_or_else(|| format!("its hold has no {part} in {lot_id}"))?
                .1 -= part;
            self.replay.in_holds -= part;
            self.move_lot(*lot_id, -part, -part)?;
        }
        self.hold_of(outcome)?.parts.retain(|(_, part)| *part != 0);
        Ok(())
    }

    fn end_hold(&mut self, outcome: &EntryOutcome) -> Result<(), String> {
        for (lot_id, part) in std::mem::take(&mut self.hold_of(outcome)?.parts) {
            self.replay.in_holds -= part;
            self.move_lot(lot_id, 0, -part)?;
            self.repay(lot_id, part)?;
        }
        Ok(())
    }

    fn release(
        &mut self,
        outcome: &EntryOutcome,
        amount: i128,
        recorded_at: Timestamp,
    ) -> Result<(), String> {
        let lot_id = outcome.lot_id.ok_or("it names no lot")?;
        if amount == 0 {
            return self.change(lot_id, |lot| lot.event = None);
        }
        let lot = self.lot(lot_id)?;
        if lot.available_at.is_some() {
            due(lot.available_at, recorded_at)?;
        }
        self.change(lot_id, |lot| {
            lot.event = None;
            lot.pending = false;
        })?;
        self.repay(lot_id, amount)
    }

    fn lot(&self, lot_id: LotId) -> Result<&ReplayedLot, String> {
        self.replay.lots.get(&lot_id).ok_or_else(|| unknown(lot_id))
    }

    /// New value repays a deficit first.
    fn repay(&mut self, lot_id: LotId, credited: i128) -> Result<(), String> {
        let repaid = credited.min(self.deficit);
        self.deficit -= repaid;
        if repaid == 0 {
            Ok(())
        } else {
            self.move_lot(lot_id, -repaid, 0)
        }
    }

    fn move_lot(&mut self, lot_id: LotId, remaining: i128, held: i128) -> Result<(), String> {
        self.change(lot_id, |lot| {
            lot.remaining += remaining;
            lot.held += held;
        })?;
        self.note(lot_id, remaining, held);
        Ok(())
    }

    fn note(&mut self, lot_id: LotId, remaining: i128, held: i128) {
        let noted = self
            .replay
            .lot_changes
            .entry((self.posting_id, lot_id))
            .or_default();
        noted.0 += remaining;
        noted.1 += held;
    }

    /// Changes a lot, which must stay possible, and the sums over all lots with it.
    fn change(&mut self, lot_id: LotId, what: impl FnOnce(&mut ReplayedLot)) -> Result<(), String> {
        let lot = self.replay.lots.get_mut(&lot_id).ok_or_else(|| unknown(lot_id))?;
        let before = lot.parts();
        what(lot);
        let (after, amount, remaining, held) = (lot.parts(), lot.amount, lot.remaining, lot.held);
        let impossible = held < 0 || remaining < held || remaining + lot.expired > amount || lot.expired < 0;
        self.count(before, -1);
        self.count(after, 1);
        if impossible {
            return Err(format!(
                "it leaves {remaining} of {amount} in lot {lot_id}, {held} held"
            ));
        }
        Ok(())
    }

    fn count(&mut self, parts: [i128; 3], sign: i128) {
        for (sum, part) in self.replay.in_lots.iter_mut().zip(parts) {
            *sum += sign * part;
        }
    }
}

fn unknown(lot_id: LotId) -> String {
    format!("lot {lot_id} is not known to its account")
}
