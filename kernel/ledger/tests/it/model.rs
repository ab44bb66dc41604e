//! Random command sequences: every answer and every balance must be those of a second, plainer ledger.
//!
//! Raise the number of cases with `HUIKA_PROPTEST_CASES`. Seeds that failed once stay in
//! `model.proptest-regressions` and run first.

mod reference;

use std::{collections::BTreeMap, fmt::Write as _};

use huika_core::{MemberId, Refusal as _, Timestamp};
use huika_ledger::{
    Asset, Availability, Command, CounterAccount, EntryOutcome, HoldId, InputHash, LapsedLots, Ledger,
    LedgerError, LotId, Need, NegativePolicy, Operation, Outcome, PostingId,
};
use huika_testing::{Engine, TestDb};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner},
};

use crate::counter::{HOUR, MAX_AMOUNT, command, verify};
use reference::{Act, Line, Member};

const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/model.proptest-regressions");
const ASSETS: [Asset; 2] = [Asset::Points, Asset::Growth];
const MEMBERS: usize = 3;
/// Every case verifies the whole database.
const CASES_PER_DATABASE: usize = 20;
/// How much of what happened a failure shows.
const SHOWN: usize = 40;
const LONGEST_SHRINKING_MS: u32 = 60_000;

#[test]
fn sqlite_agrees_with_the_reference() {
    agrees_with_the_reference(Engine::Sqlite, 48);
}

#[test]
fn postgres_agrees_with_the_reference() {
    agrees_with_the_reference(Engine::Postgres, 12);
}

#[test]
fn mysql_agrees_with_the_reference() {
    agrees_with_the_reference(Engine::Mysql, 12);
}

fn agrees_with_the_reference(engine: Engine, cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let open = || {
        runtime.block_on(async {
            let cx = TestDb::open(engine).await?;
            cx.migrate(&huika_ledger::migrations()).await;
            Some(cx)
        })
    };
    let Some(cx) = open() else { return };
    // Cases share a database with members of their own, until it is large or a failure leaves it in doubt.
    let shared = std::cell::RefCell::new(Some((cx, 0)));
    let config = Config {
        cases: demanded_cases().unwrap_or(cases),
        max_shrink_time: LONGEST_SHRINKING_MS,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&vec(step(), 1..60), |steps| {
        let (cx, cases) = shared.borrow_mut().take().or_else(|| Some((open()?, 0))).unwrap();
        let _inside = runtime.enter();
        let mut case = Case::start(cx);
        runtime
            .block_on(case.run(steps))
            .map_err(|difference| TestCaseError::fail(case.tell(&difference)))?;
        if cases < CASES_PER_DATABASE {
            *shared.borrow_mut() = Some((case.cx, cases + 1));
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests have no composition root that could pass settings down"
)]
fn demanded_cases() -> Option<u32> {
    std::env::var("HUIKA_PROPTEST_CASES")
        .ok()
        .map(|cases| cases.parse().unwrap())
}

// ---- What can happen -------------------------------------------------------------------------------------------

#[derive(Debug, Clone)]
enum Step {
    /// One command through the committer.
    Post(Ask),
    /// One command inside a caller's transaction.
    PostInTx(Ask),
    /// Commands of concurrent callers.
    Together(Vec<Ask>),
    /// Commands of one caller that decides them on one book.
    OneBook(Vec<Ask>),
    /// The clock moves on.
    Hours(i64),
    /// The clock moves to this many milliseconds after the next moment at which time changes something.
    ToNextMoment(i64),
    SettleDue,
}

#[derive(Debug, Clone)]
struct Ask {
    member: usize,
    key: Key,
    moves: Vec<Move>,
}

#[derive(Debug, Clone)]
enum Key {
    New,
    /// An earlier command of the member again.
    Again(prop::sample::Index),
    /// The key of an earlier command with what is asked now.
    Reused(prop::sample::Index),
}

/// An operation before it is known which holds and postings there are.
#[derive(Debug, Clone)]
enum Move {
    Earn {
        asset: Asset,
        amount: i64,
        counter: CounterAccount,
        opens: Opens,
        ends_in: Option<i64>,
    },
    Spend {
        asset: Asset,
        amount: Amount,
    },
    ClawBack {
        asset: Asset,
        amount: Amount,
        policy: NegativePolicy,
    },
    Hold {
        asset: Asset,
        amount: Amount,
        ends_in: i64,
    },
    PostHold {
        hold: Pick,
        amount: Amount,
    },
    VoidHold {
        hold: Pick,
    },
    Release {
        event: usize,
    },
    ReverseEarn {
        posting: Pick,
        asset: Asset,
        amount: Amount,
        policy: NegativePolicy,
    },
    ReverseSpend {
        posting: Pick,
        asset: Asset,
        amount: Amount,
        extend_by: Option<i64>,
    },
}

#[derive(Debug, Clone, Copy)]
enum Amount {
    Exact(i64),
    /// Percent of what there is to spend, to post or to reverse: mostly possible, sometimes a little too much.
    Share(i64),
}

/// Which hold or posting: one that suits, or any, or one that never was.
#[derive(Debug, Clone, Copy)]
struct Pick {
    suiting: bool,
    which: prop::sample::Index,
}

#[derive(Debug, Clone)]
enum Opens {
    Now,
    In(i64),
    OnEvent(usize, Option<i64>),
}

const EVENTS: [&str; 2] = ["received", "reviewed"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => ask().prop_map(Step::Post),
        6 => ask().prop_map(Step::PostInTx),
        3 => vec(ask(), 2..6).prop_map(Step::Together),
        3 => vec(ask(), 2..8).prop_map(Step::OneBook),
        2 => (1_i64..72).prop_map(Step::Hours),
        3 => prop_oneof![Just(-1), Just(0), Just(1)].prop_map(Step::ToNextMoment),
        1 => Just(Step::SettleDue),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let member = prop_oneof![6 => Just(0_usize), 2 => Just(1), 1 => Just(2)];
    let key = prop_oneof![
        14 => Just(Key::New),
        1 => any::<prop::sample::Index>().prop_map(Key::Again),
        1 => any::<prop::sample::Index>().prop_map(Key::Reused),
    ];
    let moves = prop_oneof![3 => vec(a_move(), 1), 1 => vec(a_move(), 2..4)];
    (member, key, moves).prop_map(|(member, key, moves)| Ask { member, key, moves })
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        8 => (asset(), earned(), counter(), opens(), prop::option::of(hours())).prop_map(
            |(asset, amount, counter, opens, ends_in)| Move::Earn { asset, amount, counter, opens, ends_in }
        ),
        5 => (asset(), amount()).prop_map(|(asset, amount)| Move::Spend { asset, amount }),
        3 => (asset(), amount(), policy())
            .prop_map(|(asset, amount, policy)| Move::ClawBack { asset, amount, policy }),
        4 => (asset(), amount(), hours()).prop_map(|(asset, amount, ends_in)| Move::Hold { asset, amount, ends_in }),
        3 => (pick(), amount()).prop_map(|(hold, amount)| Move::PostHold { hold, amount }),
        2 => pick().prop_map(|hold| Move::VoidHold { hold }),
        3 => (0..EVENTS.len()).prop_map(|event| Move::Release { event }),
        4 => (pick(), asset(), amount(), policy()).prop_map(
            |(posting, asset, amount, policy)| Move::ReverseEarn { posting, asset, amount, policy }
        ),
        4 => (pick(), asset(), amount(), prop::option::of(hours())).prop_map(
            |(posting, asset, amount, extend_by)| Move::ReverseSpend { posting, asset, amount, extend_by }
        ),
    ]
}

fn asset() -> impl Strategy<Value = Asset> {
    prop_oneof![5 => Just(ASSETS[0]), 1 => Just(ASSETS[1])]
}

fn earned() -> impl Strategy<Value = i64> {
    prop_oneof![60 => 1_i64..120, 20 => prop_oneof![Just(10_i64), Just(50), Just(100)], 1 => impossible()]
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![
        12 => (1_i64..=100).prop_map(Amount::Share),
        8 => Just(Amount::Share(100)),
        2 => (101_i64..150).prop_map(Amount::Share),
        12 => (1_i64..60).prop_map(Amount::Exact),
        1 => impossible().prop_map(Amount::Exact),
    ]
}

fn impossible() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(0_i64),
        Just(-7),
        Just(i64::MIN),
        Just(MAX_AMOUNT),
        Just(MAX_AMOUNT + 1),
        Just(i64::MAX)
    ]
}

fn pick() -> impl Strategy<Value = Pick> {
    (prop::bool::weighted(0.85), any::<prop::sample::Index>())
        .prop_map(|(suiting, which)| Pick { suiting, which })
}

fn counter() -> impl Strategy<Value = CounterAccount> {
    prop_oneof![3 => Just(CounterAccount::Issuance), 1 => Just(CounterAccount::TopUp)]
}

fn opens() -> impl Strategy<Value = Opens> {
    prop_oneof![
        4 => Just(Opens::Now),
        2 => hours().prop_map(Opens::In),
        3 => (0..EVENTS.len(), prop::option::of(hours())).prop_map(|(event, at)| Opens::OnEvent(event, at)),
    ]
}

fn policy() -> impl Strategy<Value = NegativePolicy> {
    prop_oneof![
        Just(NegativePolicy::TakeExisting),
        prop_oneof![Just(0_i64), Just(30), Just(100), Just(1_000), Just(-5)]
            .prop_map(|limit| NegativePolicy::GoNegative { limit }),
    ]
}

/// From now on; few different ones, so that moments coincide, and some in the past.
fn hours() -> impl Strategy<Value = i64> {
    prop_oneof![1 => Just(-30_i64), 1 => Just(0), 8 => prop_oneof![Just(1_i64), Just(24), Just(48), Just(100)]]
}

// ---- What happens ----------------------------------------------------------------------------------------------

struct Case {
    cx: TestDb,
    ledger: Ledger,
    people: Vec<Person>,
    next_key: usize,
    told: Vec<String>,
}

/// A member in both ledgers.
struct Person {
    member_id: MemberId,
    reference: Member,
    /// In the order of the reference's lists.
    postings: Vec<PostingId>,
    holds: Vec<HoldId>,
    lots: Vec<LotId>,
    sent: Vec<Sent>,
}

/// A command in both languages.
#[derive(Clone)]
struct Sent {
    person: usize,
    command: Command,
    acts: Vec<Act>,
}

type Difference = String;

impl Case {
    fn start(cx: TestDb) -> Self {
        let ledger = Ledger::new(cx.db.clone(), cx.ids.clone(), &huika_db::BatchOptions::default());
        let people = (0..MEMBERS)
            .map(|_| Person {
                member_id: cx.ids.next(),
                reference: Member::default(),
                postings: Vec::new(),
                holds: Vec::new(),
                lots: Vec::new(),
                sent: Vec::new(),
            })
            .collect();
        Self {
            cx,
            ledger,
            people,
            next_key: 0,
            told: Vec::new(),
        }
    }

    fn tell(&self, difference: &str) -> String {
        let mut text = format!("{difference}\nthe last {SHOWN} of what happened:\n");
        for line in &self.told[self.told.len().saturating_sub(SHOWN)..] {
            let _ = writeln!(text, "  {line}");
        }
        text
    }

    fn now(&self) -> Timestamp {
        self.cx.clock.now()
    }

    async fn run(&mut self, steps: Vec<Step>) -> Result<(), Difference> {
        for step in steps {
            match step {
                Step::Post(ask) => {
                    let sent = self.prepare(&ask);
                    let answer = self.ledger.post(sent.command.clone()).await;
                    self.compare_answer("post", &sent, answer)?;
                }
                Step::PostInTx(ask) => {
                    let sent = self.prepare(&ask);
                    let answer = post_in_tx(&self.cx, &self.ledger, &sent.command).await;
                    self.compare_answer("post in tx", &sent, answer)?;
                }
                Step::Together(asks) => {
                    let sent: Vec<Sent> = asks.iter().map(|ask| self.prepare(ask)).collect();
                    let posts = sent.iter().map(|sent| self.ledger.post(sent.command.clone()));
                    let answers = futures::future::join_all(posts).await;
                    for (sent, answer) in sent.iter().zip(answers) {
                        self.compare_answer("together", sent, answer)?;
                    }
                }
                Step::OneBook(asks) => {
                    let sent: Vec<Sent> = asks.iter().map(|ask| self.prepare(ask)).collect();
                    let commands: Vec<Command> = sent.iter().map(|sent| sent.command.clone()).collect();
                    let answers = post_in_one_book(&self.cx, &self.ledger, &commands).await;
                    for (sent, answer) in sent.iter().zip(answers) {
                        self.compare_answer("one book", sent, answer)?;
                    }
                }
                Step::Hours(hours) => self.pass_to(self.now().plus_millis(hours * HOUR)),
                Step::ToNextMoment(millis) => {
                    let next = self
                        .people
                        .iter()
                        .filter_map(|person| person.reference.next_moment())
                        .min();
                    if let Some(next) = next {
                        self.pass_to(next.plus_millis(millis));
                    }
                }
                Step::SettleDue => {
                    self.told.push("settle due".to_owned());
                    self.settle_due().await?;
                }
            }
            self.compare_balances().await?;
        }
        self.compare_lots().await?;
        // Nothing that is due may hide a difference.
        self.settle_due().await?;
        self.compare_balances().await?;
        self.compare_lots().await?;
        self.compare_sums().await?;
        let report = verify(&self.cx).await;
        if report.is_clean() {
            Ok(())
        } else {
            Err(format!("verify finds {report:#?}"))
        }
    }

    /// The clock of the ids must not stand still behind lots that are compared by their order, so it never
    /// goes back.
    fn pass_to(&mut self, moment: Timestamp) {
        self.cx.clock.set(self.now().max(moment));
        self.told.push(format!("it is {}", self.now()));
    }

    async fn settle_due(&self) -> Result<(), Difference> {
        for _ in 0..100 {
            if self
                .ledger
                .settle_due()
                .await
                .map_err(|error| error.to_string())?
                == 0
            {
                return Ok(());
            }
        }
        Err("settling never ends".to_owned())
    }

    fn prepare(&mut self, ask: &Ask) -> Sent {
        let now = self.now();
        let person = &self.people[ask.member];
        if let (Key::Again(which), false) = (&ask.key, person.sent.is_empty()) {
            return which.get(&person.sent).clone();
        }
        let (operations, acts) = ask
            .moves
            .iter()
            .map(|a_move| person.translate(a_move, now))
            .unzip();
        let key = match &ask.key {
            Key::Reused(which) if !person.sent.is_empty() => which.get(&person.sent).command.key.to_string(),
            _ => {
                self.next_key += 1;
                format!("key-{}", self.next_key)
            }
        };
        let sent = Sent {
            person: ask.member,
            command: command(person.member_id, &key, now, operations),
            acts,
        };
        self.people[ask.member].sent.push(sent.clone());
        sent
    }

    fn compare_answer(
        &mut self,
        way: &str,
        sent: &Sent,
        answer: Result<Outcome, LedgerError>,
    ) -> Result<(), Difference> {
        let now = self.now();
        let person = &mut self.people[sent.person];
        let key = sent.command.key.as_str();
        let expected = person
            .reference
            .carry_out(now, key, number(&sent.command.input), &sent.acts);
        let got = match &answer {
            Ok(outcome) => Ok((
                outcome.replayed,
                outcome.entries.iter().map(line_of).collect::<Vec<Line>>(),
            )),
            Err(error) => Err(error.problem().code),
        };
        self.told.push(format!(
            "{way}: member {} {key} {:?} -> {}",
            sent.person,
            sent.command.operations,
            match &got {
                Ok((replayed, lines)) => format!("ok{} {lines:?}", if *replayed { " again" } else { "" }),
                Err(code) => (*code).to_owned(),
            }
        ));
        if got != expected {
            return Err(format!(
                "the answer to {key} is\n{got:#?}\nand should be\n{expected:#?}"
            ));
        }
        match answer {
            Ok(outcome) if !outcome.replayed => person.learn(&outcome),
            _ => Ok(()),
        }
    }

    async fn compare_balances(&mut self) -> Result<(), Difference> {
        let now = self.now();
        for (number, person) in self.people.iter_mut().enumerate() {
            person.reference.pass_time(now);
            let balances = huika_ledger::balances(&mut &self.cx.db, &self.cx.ids, person.member_id, now)
                .await
                .map_err(|error| error.to_string())?;
            for asset in ASSETS {
                let balance = balances.get(&asset).copied().unwrap_or_default();
                let got = (
                    [balance.available, balance.pending, balance.held],
                    balance.lifetime_in,
                    balance.lifetime_out,
                );
                let expected = person.reference.balance(asset);
                if got != expected {
                    return Err(format!(
                        "member {number} has {got:?} of {asset:?} and should have {expected:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    async fn compare_lots(&self) -> Result<(), Difference> {
        for (number, person) in self.people.iter().enumerate() {
            for asset in ASSETS {
                let now = self.now();
                let got: Vec<_> = huika_ledger::lots(
                    &mut &self.cx.db,
                    &self.cx.ids,
                    person.member_id,
                    asset,
                    now,
                    None,
                    usize::MAX,
                )
                .await
                .map_err(|error| error.to_string())?
                .into_iter()
                .map(|lot| {
                    let place = person.lots.iter().position(|known| *known == lot.lot_id);
                    (
                        place,
                        lot.amount,
                        lot.remaining,
                        lot.held,
                        lot.pending,
                        lot.available_at,
                        lot.expires_at,
                    )
                })
                .collect();
                let known = person.reference.lots.iter().enumerate();
                let mut expected: Vec<_> = known
                    .filter(|(_, lot)| lot.asset == asset && lot.left > 0)
                    .map(|(place, lot)| {
                        let held = person.reference.held_in(place);
                        (
                            Some(place),
                            lot.size,
                            lot.left,
                            held,
                            lot.pending,
                            lot.opens,
                            lot.ends,
                        )
                    })
                    .collect();
                expected.sort_by_key(|(place, .., ends)| (ends.is_none(), *ends, *place));
                if got != expected {
                    return Err(format!(
                        "the {asset:?} lots of member {number} are\n{got:#?}\nand should be\n{expected:#?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Value is conserved: what the counter-accounts gave lies in the accounts. And what was refused or
    /// repeated left no posting.
    async fn compare_sums(&self) -> Result<(), Difference> {
        let mut given: BTreeMap<(Asset, String), i64> = BTreeMap::new();
        for person in &self.people {
            for ((asset, counter), total) in &person.reference.flows {
                *given.entry((*asset, counter.name().to_owned())).or_default() += total;
            }
        }
        given.retain(|_, total| *total != 0);
        let members: Vec<String> = self
            .people
            .iter()
            .map(|person| person.member_id.as_i64().to_string())
            .collect();
        let members = members.join(", ");
        let rows = self
            .cx
            .fetch_all(&format!(
                "SELECT asset, counter_account, \
                 CAST(SUM(available_change + pending_change + held_change) AS {{int}}) AS total \
                 FROM ledger_entry WHERE member_id IN ({members}) GROUP BY asset, counter_account"
            ))
            .await;
        let mut got: BTreeMap<(Asset, String), i64> = rows
            .iter()
            .map(|row| {
                let asset = Asset::from_code(row.get("asset").unwrap()).unwrap();
                (
                    (asset, row.get("counter_account").unwrap()),
                    row.get("total").unwrap(),
                )
            })
            .collect();
        got.retain(|_, total| *total != 0);
        if got != given {
            return Err(format!(
                "the counter-accounts gave {got:#?} and should have given {given:#?}"
            ));
        }
        let in_accounts = self
            .cx
            .count(&format!(
                "SELECT CAST(COALESCE(SUM(available + pending + held), 0) AS {{int}}) AS n \
                 FROM ledger_account WHERE member_id IN ({members})"
            ))
            .await;
        if in_accounts != got.values().sum::<i64>() {
            return Err(format!("{in_accounts} in the accounts, {got:?} given"));
        }
        let postings = self
            .cx
            .count(&format!(
                "SELECT COUNT(*) AS n FROM ledger_posting WHERE member_id IN ({members}) AND kind <> 'settle'"
            ))
            .await;
        let expected: usize = self
            .people
            .iter()
            .map(|person| person.reference.posting_count())
            .sum();
        if postings != expected as i64 {
            return Err(format!("{postings} postings instead of {expected}"));
        }
        Ok(())
    }
}

impl Person {
    /// Remembers the ids of what a command made.
    fn learn(&mut self, outcome: &Outcome) -> Result<(), Difference> {
        self.postings.push(outcome.posting_id);
        for entry in &outcome.entries {
            match entry.kind {
                huika_ledger::EntryKind::Earn => self.lots.extend(entry.lot_id),
                huika_ledger::EntryKind::Hold => self.holds.extend(entry.hold_id),
                _ => {}
            }
        }
        let known = (self.postings.len(), self.holds.len(), self.lots.len());
        let reference = &self.reference;
        let expected = (
            reference.posting_count(),
            reference.hold_count(),
            reference.lots.len(),
        );
        if known == expected {
            Ok(())
        } else {
            Err(format!("an answer misses ids: {outcome:?}"))
        }
    }

    fn translate(&self, a_move: &Move, now: Timestamp) -> (Operation, Act) {
        let in_hours = |hours: i64| now.plus_millis(hours * HOUR);
        match self.possible(a_move.clone()) {
            Move::Earn {
                asset,
                amount,
                counter,
                opens,
                ends_in,
            } => {
                let expires_at = ends_in.map(in_hours);
                let (availability, opens, event) = match opens {
                    Opens::Now => (Availability::Now, None, None),
                    Opens::In(hours) => (Availability::At(in_hours(hours)), Some(in_hours(hours)), None),
                    Opens::OnEvent(event, hours) => {
                        let (event, not_before) = (EVENTS[event].to_owned(), hours.map(in_hours));
                        (
                            Availability::OnEvent {
                                event: event.clone(),
                                not_before,
                            },
                            not_before,
                            Some(event),
                        )
                    }
                };
                (
                    Operation::Earn {
                        asset,
                        amount,
                        counter_account: counter,
                        availability,
                        expires_at,
                    },
                    Act::Earn {
                        asset,
                        amount,
                        counter,
                        opens,
                        event,
                        ends: expires_at,
                    },
                )
            }
            Move::Spend { asset, amount } => {
                let amount = amount.of(self.available(asset));
                let counter = if amount % 2 == 0 {
                    CounterAccount::Payment
                } else {
                    CounterAccount::Redemption
                };
                (
                    Operation::Spend {
                        asset,
                        amount,
                        counter_account: counter,
                    },
                    Act::Spend {
                        asset,
                        amount,
                        counter,
                    },
                )
            }
            Move::ClawBack {
                asset,
                amount,
                policy,
            } => {
                let amount = amount.of(self.available(asset));
                let counter = CounterAccount::Adjustment;
                (
                    Operation::ClawBack {
                        asset,
                        amount,
                        counter_account: counter,
                        policy,
                    },
                    Act::ClawBack {
                        asset,
                        amount,
                        counter,
                        policy,
                    },
                )
            }
            Move::Hold {
                asset,
                amount,
                ends_in,
            } => {
                let (amount, ends) = (amount.of(self.available(asset)), in_hours(ends_in));
                (
                    Operation::Hold {
                        asset,
                        amount,
                        lapses_at: ends,
                    },
                    Act::Hold { asset, amount, ends },
                )
            }
            Move::PostHold { hold, amount } => {
                let (hold_id, hold) = self.hold(hold);
                let amount = amount.of(hold.map_or(0, |hold| self.reference.held_by(hold)));
                let counter = CounterAccount::Payment;
                (
                    Operation::PostHold {
                        hold_id,
                        amount,
                        counter_account: counter,
                    },
                    Act::PostHold {
                        hold,
                        amount,
                        counter,
                    },
                )
            }
            Move::VoidHold { hold } => {
                let (hold_id, hold) = self.hold(hold);
                (Operation::VoidHold { hold_id }, Act::VoidHold { hold })
            }
            Move::Release { event } => {
                let event = EVENTS[event].to_owned();
                (
                    Operation::Release { event: event.clone() },
                    Act::Release { event },
                )
            }
            Move::ReverseEarn {
                posting,
                asset,
                amount,
                policy,
            } => {
                let left = |posting| self.reference.left_to_unearn(posting, asset);
                let (source, posting) = self.posting(posting, left);
                let amount = amount.of(posting.map_or(0, left));
                (
                    Operation::ReverseEarn {
                        source,
                        asset,
                        amount,
                        policy,
                    },
                    Act::ReverseEarn {
                        posting,
                        asset,
                        amount,
                        policy,
                    },
                )
            }
            Move::ReverseSpend {
                posting,
                asset,
                amount,
                extend_by,
            } => {
                let left = |posting| self.reference.left_to_unspend(posting, asset);
                let (source, posting) = self.posting(posting, left);
                let amount = amount.of(posting.map_or(0, left));
                let extend_to = extend_by.map(in_hours);
                let lapsed = extend_to.map_or(LapsedLots::Lapse, LapsedLots::ExtendTo);
                (
                    Operation::ReverseSpend {
                        source,
                        asset,
                        amount,
                        lapsed,
                    },
                    Act::ReverseSpend {
                        posting,
                        asset,
                        amount,
                        extend_to,
                    },
                )
            }
        }
    }

    /// Where what is asked cannot be done yet, what must come before it, so that few sequences are idle.
    fn possible(&self, a_move: Move) -> Move {
        let no_hold = || !(0..self.holds.len()).any(|hold| self.reference.held_by(hold) > 0);
        let no_posting =
            |left: &dyn Fn(usize) -> i64| !(0..self.postings.len()).any(|posting| left(posting) > 0);
        match a_move {
            Move::PostHold { hold, amount } if hold.suiting && no_hold() => self.possible(Move::Hold {
                asset: Asset::Points,
                amount,
                ends_in: 24,
            }),
            Move::VoidHold { hold } if hold.suiting && no_hold() => self.possible(Move::Hold {
                asset: Asset::Points,
                amount: Amount::Share(50),
                ends_in: 48,
            }),
            Move::ReverseSpend {
                posting,
                asset,
                amount,
                ..
            } if posting.suiting && no_posting(&|posting| self.reference.left_to_unspend(posting, asset)) => {
                self.possible(Move::Spend { asset, amount })
            }
            Move::ReverseEarn { posting, asset, .. }
                if posting.suiting
                    && no_posting(&|posting| self.reference.left_to_unearn(posting, asset)) =>
            {
                earn_first(asset)
            }
            Move::Spend {
                asset,
                amount: Amount::Share(_),
            }
            | Move::Hold {
                asset,
                amount: Amount::Share(_),
                ..
            } if self.available(asset) <= 0 => earn_first(asset),
            possible => possible,
        }
    }

    fn available(&self, asset: Asset) -> i64 {
        self.reference.balance(asset).0[0]
    }

    fn hold(&self, pick: Pick) -> (HoldId, Option<usize>) {
        let place = pick.among(self.holds.len(), |hold| self.reference.held_by(hold) > 0);
        match place.and_then(|place| self.holds.get(place)) {
            Some(hold_id) => (*hold_id, place),
            None => (HoldId::from_i64(4_711), None),
        }
    }

    fn posting(&self, pick: Pick, left: impl Fn(usize) -> i64) -> (PostingId, Option<usize>) {
        let place = pick.among(self.postings.len(), |posting| left(posting) > 0);
        match place.and_then(|place| self.postings.get(place)) {
            Some(posting_id) => (*posting_id, place),
            None => (PostingId::from_i64(4_711), None),
        }
    }
}

fn earn_first(asset: Asset) -> Move {
    Move::Earn {
        asset,
        amount: 100,
        counter: CounterAccount::Issuance,
        opens: Opens::Now,
        ends_in: Some(48),
    }
}

impl Amount {
    fn of(self, whole: i64) -> i64 {
        match self {
            Self::Exact(amount) => amount,
            Self::Share(percent) => (whole.clamp(0, MAX_AMOUNT) * percent / 100).max(1),
        }
    }
}

impl Pick {
    fn among(self, count: usize, suits: impl Fn(usize) -> bool) -> Option<usize> {
        let suiting: Vec<usize> = (0..count).filter(|place| suits(*place)).collect();
        if self.suiting && !suiting.is_empty() {
            return Some(*self.which.get(&suiting));
        }
        Some(self.which.index(count + 1)).filter(|place| *place < count)
    }
}

fn line_of(entry: &EntryOutcome) -> Line {
    Line {
        asset: entry.asset,
        kind: entry.kind,
        counter: entry.counter_account,
        change: [entry.available_change, entry.pending_change, entry.held_change],
        shortfall: entry.shortfall,
        reversed: entry.reversed,
        after: [entry.available, entry.pending, entry.held],
    }
}

fn number(input: &InputHash) -> u64 {
    u64::from_be_bytes(input.0[..8].try_into().unwrap())
}

async fn post_in_tx(cx: &TestDb, ledger: &Ledger, command: &Command) -> Result<Outcome, LedgerError> {
    cx.db
        .run_tx("test.post_in_tx", |tx| Box::pin(ledger.post_in_tx(tx, command)))
        .await
}

/// A refused command refuses itself alone here too.
async fn post_in_one_book(
    cx: &TestDb,
    ledger: &Ledger,
    commands: &[Command],
) -> Vec<Result<Outcome, LedgerError>> {
    let needs: Vec<Need> = commands.iter().map(Need::of).collect();
    let needs = &needs;
    let answers: Result<Vec<_>, LedgerError> = cx
        .db
        .run_tx("test.one_book", |tx| {
            Box::pin(async move {
                let mut book = ledger.book_in_tx(tx, needs).await?;
                let answers = commands.iter().map(|command| book.apply(command)).collect();
                book.save_in_tx(tx).await?;
                Ok(answers)
            })
        })
        .await;
    answers.unwrap_or_else(|error| panic!("the book cannot be saved: {error:?}"))
}
