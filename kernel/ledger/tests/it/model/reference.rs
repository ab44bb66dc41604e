//! A second ledger, written for plainness: flat lists, no stored balances, a copy of the member for every
//! attempt. Where it and the real one differ, one of them is wrong.

use std::collections::BTreeMap;

use huika_core::Timestamp;
use huika_ledger::{Asset, CounterAccount, EntryKind, NegativePolicy};

use crate::counter::MAX_AMOUNT;

/// The operations, with holds and postings named by their place in the member's lists.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Earn {
        asset: Asset,
        amount: i64,
        counter: CounterAccount,
        opens: Option<Timestamp>,
        event: Option<String>,
        ends: Option<Timestamp>,
    },
    Spend {
        asset: Asset,
        amount: i64,
        counter: CounterAccount,
    },
    ClawBack {
        asset: Asset,
        amount: i64,
        counter: CounterAccount,
        policy: NegativePolicy,
    },
    Hold {
        asset: Asset,
        amount: i64,
        ends: Timestamp,
    },
    PostHold {
        hold: Option<usize>,
        amount: i64,
        counter: CounterAccount,
    },
    VoidHold {
        hold: Option<usize>,
    },
    Release {
        event: String,
    },
    ReverseEarn {
        posting: Option<usize>,
        asset: Asset,
        amount: i64,
        policy: NegativePolicy,
    },
    ReverseSpend {
        posting: Option<usize>,
        asset: Asset,
        amount: i64,
        extend_to: Option<Timestamp>,
    },
}

/// What a balance consists of: available, pending, held.
pub(super) type Parts = [i64; 3];

/// One entry of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) asset: Asset,
    pub(super) kind: EntryKind,
    pub(super) counter: CounterAccount,
    pub(super) change: Parts,
    pub(super) shortfall: i64,
    pub(super) reversed: i64,
    pub(super) after: Parts,
}

#[derive(Debug, Clone)]
pub(super) struct Lot {
    pub(super) asset: Asset,
    pub(super) size: i64,
    pub(super) left: i64,
    lost: i64,
    pub(super) pending: bool,
    pub(super) opens: Option<Timestamp>,
    event: Option<String>,
    pub(super) ends: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct Hold {
    asset: Asset,
    parts: Vec<(usize, i64)>,
    ends: Timestamp,
    open: bool,
}

#[derive(Debug, Clone, Default)]
struct Posting {
    lines: Vec<Line>,
    made: Vec<(usize, i64, CounterAccount)>,
    took: Vec<(usize, i64, CounterAccount)>,
    unearned: BTreeMap<Asset, i64>,
    unspent: BTreeMap<Asset, i64>,
    given_back: BTreeMap<usize, i64>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Member {
    pub(super) lots: Vec<Lot>,
    holds: Vec<Hold>,
    debts: BTreeMap<Asset, i64>,
    came_in: BTreeMap<Asset, i64>,
    went_out: BTreeMap<Asset, i64>,
    /// What each counter-account gave.
    pub(super) flows: BTreeMap<(Asset, CounterAccount), i64>,
    postings: Vec<Posting>,
    /// Key → input and posting.
    answers: BTreeMap<String, (u64, usize)>,
}

type Refusal = &'static str;

impl Member {
    /// Carries out a command. The answer says whether it is an old one.
    pub(super) fn carry_out(
        &mut self,
        now: Timestamp,
        key: &str,
        input: u64,
        acts: &[Act],
    ) -> Result<(bool, Vec<Line>), Refusal> {
        if let Some((known, posting)) = self.answers.get(key) {
            if *known != input {
                return Err("ledger.idempotency_conflict");
            }
            return Ok((true, self.postings[*posting].lines.clone()));
        }
        self.pass_time(now);
        let mut attempt = self.clone();
        attempt.postings.push(Posting::default());
        for act in acts {
            attempt.act(now, act)?;
            for line in attempt.time_lines(now) {
                attempt.posting().lines.push(line);
            }
        }
        attempt
            .answers
            .insert(key.to_owned(), (input, attempt.postings.len() - 1));
        *self = attempt;
        Ok((false, self.posting().lines.clone()))
    }

    /// Available, pending, held, all that came in and all that went out.
    pub(super) fn balance(&self, asset: Asset) -> (Parts, i64, i64) {
        let of = |sums: &BTreeMap<Asset, i64>| sums.get(&asset).copied().unwrap_or(0);
        (self.parts(asset), of(&self.came_in), of(&self.went_out))
    }

    pub(super) fn posting_count(&self) -> usize {
        self.postings.len()
    }

    pub(super) fn hold_count(&self) -> usize {
        self.holds.len()
    }

    /// What a hold still covers.
    pub(super) fn held_by(&self, hold: usize) -> i64 {
        let hold = &self.holds[hold];
        if hold.open {
            hold.parts.iter().map(|(_, part)| part).sum()
        } else {
            0
        }
    }

    pub(super) fn left_to_unearn(&self, posting: usize, asset: Asset) -> i64 {
        let posting = &self.postings[posting];
        self.total(&posting.made, asset) - posting.unearned.get(&asset).copied().unwrap_or(0)
    }

    pub(super) fn left_to_unspend(&self, posting: usize, asset: Asset) -> i64 {
        let posting = &self.postings[posting];
        self.total(&posting.took, asset) - posting.unspent.get(&asset).copied().unwrap_or(0)
    }

    fn total(&self, parts: &[(usize, i64, CounterAccount)], asset: Asset) -> i64 {
        parts
            .iter()
            .filter(|(lot, ..)| self.lots[*lot].asset == asset)
            .map(|(_, part, _)| part)
            .sum()
    }

    pub(super) fn held_in(&self, lot: usize) -> i64 {
        let parts = self
            .holds
            .iter()
            .filter(|hold| hold.open)
            .flat_map(|hold| &hold.parts);
        parts.filter(|(of, _)| *of == lot).map(|(_, part)| part).sum()
    }

    /// Lets time do its part.
    pub(super) fn pass_time(&mut self, now: Timestamp) {
        self.time_lines(now);
    }

    /// The next moment at which time changes something.
    pub(super) fn next_moment(&self) -> Option<Timestamp> {
        self.due().map(|(at, ..)| at)
    }

    fn posting(&mut self) -> &mut Posting {
        self.postings.last_mut().unwrap()
    }

    fn free_in(&self, lot: usize) -> i64 {
        if self.lots[lot].pending {
            0
        } else {
            self.lots[lot].left - self.held_in(lot)
        }
    }

    fn parts(&self, asset: Asset) -> Parts {
        let mine = || (0..self.lots.len()).filter(|lot| self.lots[*lot].asset == asset);
        let free: i64 = mine().map(|lot| self.free_in(lot)).sum();
        let pending: i64 = mine()
            .filter(|lot| self.lots[*lot].pending)
            .map(|lot| self.lots[lot].left)
            .sum();
        let held: i64 = mine().map(|lot| self.held_in(lot)).sum();
        [free - self.debts.get(&asset).copied().unwrap_or(0), pending, held]
    }

    /// An entry is the difference that something made.
    fn line(
        &mut self,
        kind: EntryKind,
        asset: Asset,
        counter: CounterAccount,
        what: impl FnOnce(&mut Self) -> (i64, i64),
    ) -> Line {
        let before = self.parts(asset);
        let (shortfall, reversed) = what(self);
        let after = self.parts(asset);
        let change = [after[0] - before[0], after[1] - before[1], after[2] - before[2]];
        let total: i64 = change.iter().sum();
        *self.flows.entry((asset, counter)).or_default() += total;
        match kind {
            EntryKind::Earn | EntryKind::ClawBack | EntryKind::ReverseEarn => {
                *self.came_in.entry(asset).or_default() += total;
            }
            EntryKind::Spend | EntryKind::PostHold | EntryKind::ReverseSpend => {
                *self.went_out.entry(asset).or_default() -= total;
            }
            _ => {}
        }
        Line {
            asset,
            kind,
            counter,
            change,
            shortfall,
            reversed,
            after,
        }
    }

    fn write(
        &mut self,
        kind: EntryKind,
        asset: Asset,
        counter: CounterAccount,
        what: impl FnOnce(&mut Self) -> (i64, i64),
    ) {
        let line = self.line(kind, asset, counter, what);
        self.posting().lines.push(line);
    }

    /// Lots with something free, in the order of spending.
    fn spendable(&self, asset: Asset) -> Vec<usize> {
        let mut lots: Vec<usize> = (0..self.lots.len())
            .filter(|lot| self.lots[*lot].asset == asset && self.free_in(*lot) > 0)
            .collect();
        lots.sort_by_key(|lot| (self.lots[*lot].ends.is_none(), self.lots[*lot].ends, *lot));
        lots
    }

    /// Takes from lots in the order of spending and says from which.
    fn take(&mut self, asset: Asset, amount: i64) -> Vec<(usize, i64)> {
        let mut taken = Vec::new();
        let mut missing = amount;
        for lot in self.spendable(asset) {
            let part = missing.min(self.free_in(lot));
            if part > 0 {
                self.lots[lot].left -= part;
                taken.push((lot, part));
                missing -= part;
            }
        }
        assert_eq!(missing, 0, "the reference takes only what is there");
        taken
    }

    /// What became free in a lot first pays the debt.
    fn pay_debt(&mut self, lot: usize, part: i64) {
        let debt = self.debts.entry(self.lots[lot].asset).or_default();
        let paid = part.min(*debt);
        *debt -= paid;
        self.lots[lot].left -= paid;
    }

    fn act(&mut self, now: Timestamp, act: &Act) -> Result<(), Refusal> {
        match act.clone() {
            Act::Earn {
                asset,
                amount,
                counter,
                opens,
                event,
                ends,
            } => {
                amount_fits(amount)?;
                self.one_counter(|posting| &posting.made, asset, counter)?;
                if self.balance(asset).1 + amount > MAX_AMOUNT {
                    return Err("ledger.amount_invalid");
                }
                let opens = if event.is_none() {
                    opens.filter(|at| *at > now)
                } else {
                    opens
                };
                let pending = opens.is_some() || event.is_some();
                let lot = self.lots.len();
                self.write(EntryKind::Earn, asset, counter, |member| {
                    member.lots.push(Lot {
                        asset,
                        size: amount,
                        left: amount,
                        lost: 0,
                        pending,
                        opens,
                        event,
                        ends,
                    });
                    if !pending {
                        member.pay_debt(lot, amount);
                    }
                    (0, 0)
                });
                self.posting().made.push((lot, amount, counter));
            }
            Act::Spend {
                asset,
                amount,
                counter,
            } => {
                amount_fits(amount)?;
                self.one_counter(|posting| &posting.took, asset, counter)?;
                self.covered(asset, amount)?;
                let mut took = Vec::new();
                self.write(EntryKind::Spend, asset, counter, |member| {
                    took = member.take(asset, amount);
                    (0, 0)
                });
                self.posting()
                    .took
                    .extend(took.into_iter().map(|(lot, part)| (lot, part, counter)));
            }
            Act::ClawBack {
                asset,
                amount,
                counter,
                policy,
            } => {
                amount_fits(amount)?;
                self.write(EntryKind::ClawBack, asset, counter, |member| {
                    (member.claw(asset, amount, policy), 0)
                });
            }
            Act::Hold { asset, amount, ends } => {
                self.covered(asset, amount)?;
                self.write(EntryKind::Hold, asset, CounterAccount::Internal, |member| {
                    let parts = member.take(asset, amount);
                    for (lot, part) in &parts {
                        member.lots[*lot].left += part;
                    }
                    member.holds.push(Hold {
                        asset,
                        parts,
                        ends,
                        open: true,
                    });
                    (0, 0)
                });
            }
            Act::PostHold {
                hold,
                amount,
                counter,
            } => {
                amount_fits(amount)?;
                let hold = self.open_hold(hold)?;
                let asset = self.holds[hold].asset;
                self.one_counter(|posting| &posting.took, asset, counter)?;
                let parts = self.holds[hold].parts.clone();
                let held: i64 = parts.iter().map(|(_, part)| part).sum();
                if amount > held {
                    return Err("ledger.hold_exceeds");
                }
                let mut took = Vec::new();
                self.write(EntryKind::PostHold, asset, counter, |member| {
                    let mut missing = amount;
                    for (place, (lot, part)) in parts.iter().enumerate() {
                        let from_lot = missing.min(*part);
                        member.holds[hold].parts[place].1 -= from_lot;
                        member.lots[*lot].left -= from_lot;
                        missing -= from_lot;
                        if from_lot > 0 {
                            took.push((*lot, from_lot, counter));
                        }
                    }
                    (0, 0)
                });
                self.posting().took.extend(took);
                if amount < held {
                    self.write(EntryKind::VoidHold, asset, CounterAccount::Internal, |member| {
                        member.give_back(hold)
                    });
                } else {
                    self.holds[hold].open = false;
                }
            }
            Act::VoidHold { hold } => {
                let hold = self.open_hold(hold)?;
                let asset = self.holds[hold].asset;
                self.write(EntryKind::VoidHold, asset, CounterAccount::Internal, |member| {
                    member.give_back(hold)
                });
            }
            Act::Release { event } => {
                for lot in 0..self.lots.len() {
                    let waits = self.lots[lot].pending && self.lots[lot].left > 0;
                    if !waits || self.lots[lot].event.as_ref() != Some(&event) {
                        continue;
                    }
                    self.lots[lot].event = None;
                    let asset = self.lots[lot].asset;
                    let opens = self.lots[lot].opens.is_none_or(|at| at <= now);
                    self.write(EntryKind::Release, asset, CounterAccount::Internal, |member| {
                        if opens { member.open(lot) } else { (0, 0) }
                    });
                }
            }
            Act::ReverseEarn {
                posting,
                asset,
                amount,
                policy,
            } => {
                amount_fits(amount)?;
                let posting = posting.ok_or("ledger.posting_not_found")?;
                let source = self.postings[posting].clone();
                let made: Vec<(usize, i64, CounterAccount)> = source
                    .made
                    .into_iter()
                    .filter(|(lot, ..)| self.lots[*lot].asset == asset)
                    .collect();
                let total: i64 = made.iter().map(|(_, part, _)| part).sum();
                let before = source.unearned.get(&asset).copied().unwrap_or(0);
                reversible(amount, total, before)?;
                self.write(EntryKind::ReverseEarn, asset, made[0].2, |member| {
                    let mut missing = amount;
                    for (lot, ..) in &made {
                        let there = if member.lots[*lot].pending {
                            member.lots[*lot].left
                        } else {
                            member.free_in(*lot)
                        };
                        let part = missing.min(there);
                        member.lots[*lot].left -= part;
                        missing -= part;
                    }
                    for (lot, ..) in &made {
                        let part = missing.min(member.lots[*lot].lost);
                        member.lots[*lot].lost -= part;
                        missing -= part;
                    }
                    (member.claw(asset, missing, policy), amount)
                });
                *self.postings[posting].unearned.entry(asset).or_default() += amount;
            }
            Act::ReverseSpend {
                posting,
                asset,
                amount,
                extend_to,
            } => {
                amount_fits(amount)?;
                let posting = posting.ok_or("ledger.posting_not_found")?;
                let source = self.postings[posting].clone();
                let took: Vec<(usize, i64, CounterAccount)> = source
                    .took
                    .into_iter()
                    .filter(|(lot, ..)| self.lots[*lot].asset == asset)
                    .collect();
                let total: i64 = took.iter().map(|(_, part, _)| part).sum();
                let before = source.unspent.get(&asset).copied().unwrap_or(0);
                reversible(amount, total, before)?;
                let mut given = source.given_back.clone();
                let mut backs = Vec::new();
                let mut missing = amount;
                for (lot, part, _) in took.iter().rev() {
                    let given = given.entry(*lot).or_default();
                    let done = part.min(given).to_owned();
                    *given -= done;
                    let part = missing.min(part - done);
                    missing -= part;
                    if part > 0 {
                        backs.push((*lot, part));
                    }
                }
                assert_eq!(missing, 0, "what is not reversed yet lies in lots");
                self.write(EntryKind::ReverseSpend, asset, took[0].2, |member| {
                    for (lot, part) in &backs {
                        let lot_of = &mut member.lots[*lot];
                        lot_of.left += part;
                        if let (Some(at), true) = (extend_to, lot_of.ends.is_some_and(|at| at <= now)) {
                            lot_of.ends = Some(at);
                        }
                        member.pay_debt(*lot, *part);
                    }
                    (0, amount)
                });
                *self.postings[posting].unspent.entry(asset).or_default() += amount;
                for (lot, part) in backs {
                    *self.postings[posting].given_back.entry(lot).or_default() += part;
                }
            }
        }
        Ok(())
    }

    /// Takes back what is there, then goes into debt as far as allowed; says what is forgiven.
    fn claw(&mut self, asset: Asset, amount: i64, policy: NegativePolicy) -> i64 {
        let free: i64 = self
            .spendable(asset)
            .into_iter()
            .map(|lot| self.free_in(lot))
            .sum();
        let there = amount.min(free);
        self.take(asset, there);
        let rest = amount - there;
        let NegativePolicy::GoNegative { limit } = policy else {
            return rest;
        };
        let debt = self.debts.entry(asset).or_default();
        let more = rest.min((limit.clamp(0, MAX_AMOUNT) - *debt).max(0));
        *debt += more;
        rest - more
    }

    fn open(&mut self, lot: usize) -> (i64, i64) {
        self.lots[lot].pending = false;
        self.pay_debt(lot, self.lots[lot].left);
        (0, 0)
    }

    fn give_back(&mut self, hold: usize) -> (i64, i64) {
        self.holds[hold].open = false;
        for (lot, part) in self.holds[hold].parts.clone() {
            self.pay_debt(lot, part);
        }
        (0, 0)
    }

    fn open_hold(&self, hold: Option<usize>) -> Result<usize, Refusal> {
        let hold = hold.ok_or("ledger.hold_not_found")?;
        if self.holds[hold].open {
            Ok(hold)
        } else {
            Err("ledger.hold_closed")
        }
    }

    /// What one posting earns, or spends, of one asset has one counter-account.
    fn one_counter(
        &self,
        moved: impl Fn(&Posting) -> &Vec<(usize, i64, CounterAccount)>,
        asset: Asset,
        counter: CounterAccount,
    ) -> Result<(), Refusal> {
        let posting = self.postings.last().unwrap();
        let mut others = moved(posting)
            .iter()
            .filter(|(lot, _, of)| self.lots[*lot].asset == asset && *of != counter);
        match others.next() {
            Some(_) => Err("ledger.counter_accounts_mixed"),
            None => Ok(()),
        }
    }

    fn covered(&self, asset: Asset, amount: i64) -> Result<(), Refusal> {
        amount_fits(amount)?;
        if self.parts(asset)[0] < amount {
            Err("ledger.insufficient")
        } else {
            Ok(())
        }
    }

    /// The next thing that time does: lapses before openings before expiries of the same moment.
    fn due(&self) -> Option<(Timestamp, u8, usize)> {
        let lapses = self
            .holds
            .iter()
            .enumerate()
            .filter(|(_, hold)| hold.open)
            .map(|(at, hold)| (hold.ends, 0, at));
        let opens = self.lots.iter().enumerate().filter_map(|(at, lot)| {
            let waits = lot.pending && lot.event.is_none() && lot.left > 0;
            lot.opens.filter(|_| waits).map(|moment| (moment, 1, at))
        });
        let ends = self.lots.iter().enumerate().filter_map(|(at, lot)| {
            let losable = if lot.pending { lot.left } else { self.free_in(at) };
            lot.ends.filter(|_| losable > 0).map(|moment| (moment, 2, at))
        });
        lapses.chain(opens).chain(ends).min()
    }

    fn time_lines(&mut self, now: Timestamp) -> Vec<Line> {
        let mut lines = Vec::new();
        while let Some((_, what, which)) = self.due().filter(|(at, ..)| *at <= now) {
            lines.push(match what {
                0 => {
                    let asset = self.holds[which].asset;
                    self.line(EntryKind::Lapse, asset, CounterAccount::Internal, |member| {
                        member.give_back(which)
                    })
                }
                1 => {
                    let asset = self.lots[which].asset;
                    self.line(EntryKind::Release, asset, CounterAccount::Internal, |member| {
                        member.open(which)
                    })
                }
                _ => {
                    let asset = self.lots[which].asset;
                    self.line(EntryKind::Expire, asset, CounterAccount::Expiry, |member| {
                        let held = member.held_in(which);
                        let lot = &mut member.lots[which];
                        lot.lost += lot.left - held;
                        lot.left = held;
                        (0, 0)
                    })
                }
            });
        }
        lines
    }
}

fn amount_fits(amount: i64) -> Result<(), Refusal> {
    if (1..=MAX_AMOUNT).contains(&amount) {
        Ok(())
    } else {
        Err("ledger.amount_invalid")
    }
}

fn reversible(amount: i64, total: i64, before: i64) -> Result<(), Refusal> {
    if total == 0 {
        return Err("ledger.posting_not_found");
    }
    if amount > total - before {
        Err("ledger.reversal_exceeds")
    } else {
        Ok(())
    }
}
