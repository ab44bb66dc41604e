//! Random orders with random partial refunds, in any order: once everything is refunded, nothing is left.
//!
//! Raise the number of cases with `HUIKA_PROPTEST_CASES`. Seeds that failed once stay in
//! `random.proptest-regressions` and run first.

use std::time::Duration;

use huika_core::{MemberId, Rate, Rounding};
use huika_loyalty::{ExpiryRule, Rules};
use huika_orders::RefundedPart;
use huika_testing::{Engine, TestDb};
use proptest::{
    collection::vec,
    prelude::*,
    sample::Index,
    test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner},
};

use crate::shop::{Shop, amount, code, lines, migrations};

const REGRESSIONS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/random.proptest-regressions"
);

/// What a case is made of.
#[derive(Debug, Clone)]
struct Story {
    /// Points per hundred minor units.
    rate: u32,
    rounding: Rounding,
    pending_days: u16,
    /// The multiplier of the one tier that counts, in tenths.
    tenths: u32,
    /// The lines of each order.
    orders: Vec<Vec<i64>>,
    steps: Vec<Step>,
    /// In which order what is left goes back.
    ends: Vec<Index>,
}

#[derive(Debug, Clone)]
enum Step {
    /// A share in thousandths of what is left of an order.
    Amount(Index, i64),
    /// A share in thousandths of what is left of a line.
    Line(Index, Index, i64),
    /// Shares of several lines at once.
    Lines(Index, Vec<i64>),
    /// The clock moves on.
    Days(u64),
}

fn story() -> impl Strategy<Value = Story> {
    let minor = prop_oneof![3 => 0_i64..20_000, 1 => 0_i64..5, 1 => 1_000_000_i64..1_000_000_000_000];
    let step = prop_oneof![
        3 => (any::<Index>(), 0_i64..=1_000).prop_map(|(order, share)| Step::Amount(order, share)),
        3 => (any::<Index>(), any::<Index>(), 0_i64..=1_000).prop_map(|(order, line, share)| Step::Line(order, line, share)),
        2 => (any::<Index>(), vec(0_i64..=1_000, 1..6)).prop_map(|(order, shares)| Step::Lines(order, shares)),
        1 => (0_u64..4).prop_map(Step::Days),
    ];
    let rounding = prop_oneof![
        Just(Rounding::Floor),
        Just(Rounding::Ceiling),
        Just(Rounding::HalfUp),
        Just(Rounding::HalfEven),
    ];
    (
        0_u32..=300,
        rounding,
        prop_oneof![Just(0_u16), Just(2)],
        10_u32..=35,
        vec(vec(minor, 1..7), 1..4),
        vec(step, 0..14),
        vec(any::<Index>(), 4),
    )
        .prop_map(
            |(rate, rounding, pending_days, tenths, orders, steps, ends)| Story {
                rate,
                rounding,
                pending_days,
                tenths,
                orders,
                steps,
                ends,
            },
        )
}

impl Story {
    fn rules(&self, rules: &mut Rules) {
        rules.points_rate = Rate::try_new(self.rate, 100).unwrap();
        rules.bonus_rounding = self.rounding;
        rules.pending_days = self.pending_days;
        rules.expiry = ExpiryRule::Never;
        rules.tiers[0].multiplier = Rate::try_new(self.tenths, 10).unwrap();
        // Orders of any size stay in the one tier whose multiplier is drawn.
        rules.tiers.truncate(1);
    }
}

/// An order and what is left of each of its lines.
struct Order {
    number: String,
    points: i64,
    left: Vec<i64>,
}

struct Case {
    shop: Shop,
    member: MemberId,
    orders: Vec<Order>,
    refunds: usize,
}

impl Case {
    async fn start(shop: Shop, number: u32, story: &Story) -> Self {
        let mut rules = huika_loyalty::default_rules();
        story.rules(&mut rules);
        shop.cx.clock.advance(Duration::from_secs(1));
        shop.loyalty
            .publish_program(&shop.owner, rules, None)
            .await
            .unwrap();
        let member = shop.member(number).await;
        let mut orders = Vec::new();
        for (at, lines) in story.orders.iter().enumerate() {
            let of_order = format!("{number}-{at}");
            let lines: Vec<i64> = cut_to_the_limit(lines);
            let receipt = shop.buy(member, &of_order, &lines).await;
            orders.push(Order {
                number: of_order,
                points: receipt.points,
                left: lines,
            });
        }
        Self {
            shop,
            member,
            orders,
            refunds: 0,
        }
    }

    async fn run(&mut self, story: &Story) -> Result<(), String> {
        for step in &story.steps {
            match step {
                Step::Days(days) => self.shop.cx.clock.advance(Duration::from_secs(days * 86_400)),
                Step::Amount(order, share) => {
                    let order = order.index(self.orders.len());
                    let minor = self.orders[order].left() * share / 1_000;
                    self.refund(order, amount(minor), minor).await?;
                }
                Step::Line(order, line, share) => {
                    let order = order.index(self.orders.len());
                    let line = line.index(self.orders[order].left.len());
                    let minor = self.orders[order].left[line] * share / 1_000;
                    self.refund(order, lines([(line as i64 + 1, Some(minor))]), minor)
                        .await?;
                }
                Step::Lines(order, shares) => {
                    let order = order.index(self.orders.len());
                    let parts = self.orders[order].left.iter().zip(shares).enumerate();
                    let parts: Vec<(i64, i64)> = parts
                        .map(|(line, (left, share))| (line as i64 + 1, left * share / 1_000))
                        .collect();
                    let minor = parts.iter().map(|(_, minor)| minor).sum();
                    let part = parts
                        .into_iter()
                        .map(|(line_no, minor)| huika_orders::LineRefund {
                            line_no,
                            amount_minor: Some(minor),
                        });
                    self.refund(order, RefundedPart::Lines(part.collect()), minor)
                        .await?;
                }
            }
        }
        let mut open: Vec<usize> = (0..self.orders.len()).collect();
        for pick in &story.ends {
            if open.is_empty() {
                break;
            }
            let order = open.remove(pick.index(open.len()));
            let left = self.orders[order].left();
            self.refund(order, RefundedPart::Rest, left).await?;
            self.nothing_is_left(order).await?;
        }
        let amounts = self.shop.amounts(self.member).await;
        if amounts != (0, 0, 0) {
            return Err(format!(
                "points, pending points and growth are {amounts:?} in the end"
            ));
        }
        let report = self.shop.verify().await;
        if report.is_clean() {
            Ok(())
        } else {
            Err(format!("{report:#?}"))
        }
    }

    /// Refunds a part that comes to `minor`, and compares with what is known of the order.
    async fn refund(&mut self, order: usize, part: RefundedPart, minor: i64) -> Result<(), String> {
        self.refunds += 1;
        let (before, number) = (self.orders[order].left(), self.orders[order].number.clone());
        let refund_no = format!("{number}-R-{}", self.refunds);
        let answer = self.shop.refund(&number, &refund_no, part).await;
        if minor == 0 {
            let refused = code(answer);
            return if refused == "orders.nothing_to_refund" {
                Ok(())
            } else {
                Err(refused.to_owned())
            };
        }
        let done = answer.map_err(|refused| format!("{refused_by}: {refused}", refused_by = refund_no))?;
        if (done.amount_minor, done.left_minor) != (minor, before - minor) {
            return Err(format!(
                "{refund_no} gave back {} of {before}, not {minor}",
                done.amount_minor
            ));
        }
        self.look_again(order).await
    }

    /// Reads the order as it is now: lines within their limits, and points back never above points earned.
    async fn look_again(&mut self, order: usize) -> Result<(), String> {
        let (shop, order) = (&self.shop, &mut self.orders[order]);
        let (source, number) = ("pos".parse().unwrap(), order.number.parse().unwrap());
        let view = shop
            .orders
            .purchase_by_number(&shop.owner, &source, &number)
            .await
            .unwrap();
        let refunds = shop.orders.refunds_of(&shop.owner, self.member).await.unwrap();
        let back: i64 = refunds
            .iter()
            .filter(|refund| refund.purchase_id == Some(view.purchase_id))
            .map(|refund| refund.points)
            .sum();
        order.left = view
            .lines
            .iter()
            .map(|line| line.paid_minor - line.refunded_minor)
            .collect();
        let all = order.left() == 0;
        if order.left.iter().any(|left| *left < 0) || back > order.points || (all && back != order.points) {
            return Err(format!(
                "{}: {back} of {} points are back, left {:?}",
                order.number, order.points, order.left
            ));
        }
        Ok(())
    }

    async fn nothing_is_left(&self, order: usize) -> Result<(), String> {
        let number = &self.orders[order].number;
        let again = self
            .shop
            .refund(number, &format!("{number}-again"), RefundedPart::Rest)
            .await;
        let refused = code(again);
        if refused == "orders.nothing_to_refund" {
            Ok(())
        } else {
            Err(format!("{number} again: {refused}"))
        }
    }
}

impl Order {
    fn left(&self) -> i64 {
        self.left.iter().sum()
    }
}

/// The lines of one order stay within the largest amount of a document.
fn cut_to_the_limit(lines: &[i64]) -> Vec<i64> {
    let mut room = 1_000_000_000_000;
    lines
        .iter()
        .map(|line| {
            let fits = (*line).min(room);
            room -= fits;
            fits
        })
        .collect()
}

fn random_orders_end_at_zero(engine: Engine, cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let open = || {
        runtime.block_on(async {
            let cx = TestDb::open(engine).await?;
            cx.migrate(&migrations()).await;
            Some(Shop::without_program(cx))
        })
    };
    let Some(shop) = open() else { return };
    // Cases share a database with members of their own, until one fails and leaves it in doubt.
    let shared = std::cell::RefCell::new(Some(shop));
    let number = std::cell::Cell::new(0);
    let config = Config {
        cases: demanded_cases().unwrap_or(cases),
        max_shrink_time: 60_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&story(), |story| {
        let shop = shared.borrow_mut().take().or_else(open).unwrap();
        number.set(number.get() + 1);
        let case = runtime.block_on(async {
            let mut case = Case::start(shop, number.get(), &story).await;
            case.run(&story).await.map(|()| case)
        });
        let case = case.map_err(TestCaseError::fail)?;
        *shared.borrow_mut() = Some(case.shop);
        Ok(())
    });
    let _inside = runtime.enter();
    drop(shared);
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

mod random_orders_with_random_partial_refunds_end_at_zero {
    use super::{Engine, random_orders_end_at_zero};

    #[test]
    fn sqlite() {
        random_orders_end_at_zero(Engine::Sqlite, 48);
    }

    #[test]
    fn postgres() {
        random_orders_end_at_zero(Engine::Postgres, 16);
    }

    #[test]
    fn mysql() {
        random_orders_end_at_zero(Engine::Mysql, 16);
    }
}
