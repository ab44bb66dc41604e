//! The races in which other systems were seen to lose or invent points, each with 64 clients at once, through the
//! committer and through transactions of the callers, on one node and on two. What rivals lost or invented
//! must come out exact, and the ledger must prove it.

use futures::future::join_all;
use huika_core::{IdGenerator, MemberId, Refusal as _};
use huika_db::{BatchOptions, Db};
use huika_ledger::{Asset, Command, CounterAccount, Ledger, LedgerError, NegativePolicy, Operation, Outcome};
use huika_testing::TestDb;

use crate::counter::{
    DAY, assert_proven, command, earn, earn_until, hold, reverse_earn, reverse_spend, spend,
};

const CLIENTS: usize = 64;

/// One process: a ledger on its own connections.
#[derive(Clone)]
struct Node {
    db: Db,
    ledger: Ledger,
}

impl Node {
    fn start(db: Db, ids: IdGenerator) -> Self {
        let ledger = Ledger::new(db.clone(), ids, &BatchOptions::default());
        Self { db, ledger }
    }

    async fn post_in_tx(&self, command: &Command) -> Result<Outcome, LedgerError> {
        self.db
            .run_tx("test.race", |tx| Box::pin(self.ledger.post_in_tx(tx, command)))
            .await
    }
}

/// How the clients of a race reach the ledger.
#[derive(Debug, Clone, Copy)]
enum Way {
    Post,
    PostInTx,
    /// Half of the clients each, at once.
    Mixed,
}

const WAYS: [Way; 3] = [Way::Post, Way::PostInTx, Way::Mixed];

struct Race {
    /// The second one shares only the database with the first.
    nodes: Vec<Node>,
    cx: TestDb,
}

impl Race {
    async fn start(cx: TestDb, nodes: usize) -> Self {
        let mut started = vec![Node::start(cx.db.clone(), cx.ids.clone())];
        if nodes > 1 {
            let ids = IdGenerator::new(cx.clock.clone(), 1);
            started.push(Node::start(cx.second_pool().await, ids));
        }
        Self { nodes: started, cx }
    }

    /// A new member with some points.
    async fn member_with(&self, points: i64) -> MemberId {
        let member_id = self.cx.ids.next();
        self.nodes[0]
            .ledger
            .post(command(
                member_id,
                "opening",
                self.cx.clock.now(),
                vec![earn(points)],
            ))
            .await
            .unwrap();
        member_id
    }

    fn command(&self, member_id: MemberId, key: &str, operations: Vec<Operation>) -> Command {
        command(member_id, key, self.cx.clock.now(), operations)
    }

    /// All commands at once, each by a task of its own.
    async fn run(&self, way: Way, commands: Vec<Command>) -> Vec<Result<Outcome, LedgerError>> {
        let start = std::sync::Arc::new(tokio::sync::Barrier::new(commands.len()));
        let tasks = commands.into_iter().enumerate().map(|(client, command)| {
            let node = self.nodes[client % self.nodes.len()].clone();
            let start = start.clone();
            let by_post = match way {
                Way::Post => true,
                Way::PostInTx => false,
                Way::Mixed => client / 2 % 2 == 0,
            };
            tokio::spawn(async move {
                start.wait().await;
                if by_post {
                    node.ledger.post(command).await
                } else {
                    node.post_in_tx(&command).await
                }
            })
        });
        join_all(tasks)
            .await
            .into_iter()
            .map(|answer| answer.unwrap())
            .collect()
    }

    async fn points(&self, member_id: MemberId) -> i64 {
        let now = self.cx.clock.now();
        huika_ledger::balance(&mut &self.cx.db, &self.cx.ids, member_id, Asset::Points, now)
            .await
            .unwrap()
            .available
    }
}

/// How many succeeded; everybody else must have been refused with this code.
fn successes(answers: &[Result<Outcome, LedgerError>], otherwise: &str) -> usize {
    for answer in answers {
        if let Err(error) = answer {
            assert_eq!(error.problem().code, otherwise, "{error:?}");
        }
    }
    answers.iter().filter(|answer| answer.is_ok()).count()
}

/// 64 commands with keys of their own.
fn each(race: &Race, member_id: MemberId, operation: &Operation) -> Vec<Command> {
    (0..CLIENTS)
        .map(|client| race.command(member_id, &format!("client-{client}"), vec![operation.clone()]))
        .collect()
}

huika_testing::db_test! { migrations = huika_ledger::migrations,

    async fn rival_1_burning_60_of_100_points_succeeds_once(cx) {
        let race = Race::start(cx, 1).await;
        for way in WAYS {
            let member_id = race.member_with(100).await;
            let answers = race.run(way, each(&race, member_id, &spend(60))).await;
            assert_eq!(successes(&answers, "ledger.insufficient"), 1, "{way:?}");
            assert_eq!(race.points(member_id).await, 40);
        }
        assert_proven(&race.cx).await;
    }

    async fn rival_2_one_key_pays_once(cx) {
        let race = Race::start(cx, 1).await;
        for way in WAYS {
            let member_id = race.cx.ids.next();
            let taps = (0..CLIENTS).map(|_| race.command(member_id, "sign-in/2026-11-21", vec![earn(5)])).collect();
            let answers = race.run(way, taps).await;
            let answers: Vec<Outcome> = answers.into_iter().map(|answer| answer.unwrap()).collect();
            assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1, "{way:?}");
            for answer in &answers {
                assert_eq!((answer.posting_id, &answer.entries), (answers[0].posting_id, &answers[0].entries));
            }
            assert_eq!(race.points(member_id).await, 5);
        }
        assert_proven(&race.cx).await;
    }

    async fn rival_4_parallel_plus_10_points_lose_nothing(cx) {
        let race = Race::start(cx, 1).await;
        for way in WAYS {
            // The account itself is new to all of them.
            let member_id = race.cx.ids.next();
            let answers = race.run(way, each(&race, member_id, &earn(10))).await;
            assert_eq!(successes(&answers, "none"), CLIENTS, "{way:?}");
            assert_eq!(race.points(member_id).await, 640);
        }
        assert_proven(&race.cx).await;
    }

    async fn rival_6_payments_never_exceed_the_balance(cx) {
        let race = Race::start(cx, 1).await;
        for way in WAYS {
            let member_id = race.member_with(100).await;
            let answers = race.run(way, each(&race, member_id, &spend(3))).await;
            assert_eq!(successes(&answers, "ledger.insufficient"), 33, "{way:?}");
            assert_eq!(race.points(member_id).await, 1);
        }
        assert_proven(&race.cx).await;
    }

    async fn rival_8_parallel_100_of_1000_points(cx) {
        let race = Race::start(cx, 1).await;
        for way in WAYS {
            let member_id = race.member_with(1_000).await;
            let answers = race.run(way, each(&race, member_id, &spend(100))).await;
            assert_eq!(successes(&answers, "ledger.insufficient"), 10, "{way:?}");
            assert_eq!(race.points(member_id).await, 0);
        }
        assert_proven(&race.cx).await;
    }

    /// A gift is two postings: the friend's follows only when the giver's is done (ADR 7, rule 12).
    async fn fuint_71_parallel_gifts_of_a_100_point_balance(cx) {
        let race = Race::start(cx, 1).await;
        for way in WAYS {
            let giver = race.member_with(100).await;
            let friend: MemberId = race.cx.ids.next();
            let answers = race.run(way, each(&race, giver, &spend(100))).await;
            assert_eq!(successes(&answers, "ledger.insufficient"), 1, "{way:?}");
            let gifts: Vec<Command> = answers
                .iter()
                .flatten()
                .map(|given| race.command(friend, &format!("gift/{}", given.posting_id), vec![earn(100)]))
                .collect();
            race.run(way, gifts).await;
            assert_eq!((race.points(giver).await, race.points(friend).await), (0, 100));
        }
        assert_proven(&race.cx).await;
    }

    async fn of_two_inputs_under_one_key_exactly_one_wins(cx) {
        let race = Race::start(cx, 1).await;
        for way in WAYS {
            let member_id = race.member_with(1_000).await;
            let commands = (0..CLIENTS)
                .map(|client| race.command(member_id, "pay/1", vec![spend(1 + client as i64 % 2)]))
                .collect();
            let answers = race.run(way, commands).await;
            assert_eq!(successes(&answers, "ledger.idempotency_conflict"), CLIENTS / 2, "{way:?}");
            let won: Vec<usize> =
                answers.iter().enumerate().filter(|(_, answer)| answer.is_ok()).map(|(client, _)| client % 2).collect();
            assert!(won.iter().all(|input| *input == won[0]), "{won:?}");
            assert_eq!(race.points(member_id).await, 999 - won[0] as i64);
        }
        assert_proven(&race.cx).await;
    }

    async fn two_nodes_share_one_hot_member(cx) {
        let race = Race::start(cx, 2).await;
        for way in WAYS {
            let member_id = race.member_with(100).await;
            let answers = race.run(way, each(&race, member_id, &spend(60))).await;
            assert_eq!(successes(&answers, "ledger.insufficient"), 1, "{way:?}");
            assert_eq!(race.points(member_id).await, 40);

            let taps = (0..CLIENTS).map(|_| race.command(member_id, "tap", vec![earn(5)])).collect();
            let answers = race.run(way, taps).await;
            assert_eq!(answers.iter().flatten().filter(|answer| !answer.replayed).count(), 1, "{way:?}");
            assert_eq!(successes(&answers, "none"), CLIENTS);
            assert_eq!(race.points(member_id).await, 45);
        }
        assert_proven(&race.cx).await;
    }

    async fn two_nodes_open_the_same_accounts_at_once(cx) {
        let race = Race::start(cx, 2).await;
        let members: Vec<MemberId> = (0..8).map(|_| race.cx.ids.next()).collect();
        for way in WAYS {
            let commands = (0..CLIENTS)
                .map(|client| {
                    let key = format!("{way:?}-{client}");
                    race.command(members[client % members.len()], &key, vec![earn_until(10, race.cx.clock.now().plus_millis(DAY))])
                })
                .collect();
            let answers = race.run(way, commands).await;
            assert_eq!(successes(&answers, "none"), CLIENTS, "{way:?}");
        }
        for member_id in members {
            assert_eq!(race.points(member_id).await, 240);
        }
        assert_proven(&race.cx).await;
    }

    async fn a_purchase_is_refunded_once_however_often_it_is_asked(cx) {
        let race = Race::start(cx, 2).await;
        for way in WAYS {
            let member_id = race.member_with(100).await;
            let purchase = race.command(member_id, "purchase", vec![spend(60), earn(90)]);
            let source = race.nodes[0].ledger.post(purchase).await.unwrap().posting_id;
            let refunds = (0..CLIENTS)
                .map(|client| {
                    let operations =
                        vec![reverse_earn(source, 90, NegativePolicy::TakeExisting), reverse_spend(source, 60)];
                    race.command(member_id, &format!("refund-{client}"), operations)
                })
                .collect();
            let answers = race.run(way, refunds).await;
            assert_eq!(successes(&answers, "ledger.reversal_exceeds"), 1, "{way:?}");
            assert_eq!(race.points(member_id).await, 100);
        }
        assert_proven(&race.cx).await;
    }

    async fn a_hold_is_posted_or_voided_once(cx) {
        let race = Race::start(cx, 2).await;
        for way in WAYS {
            let member_id = race.member_with(100).await;
            let lapses_at = race.cx.clock.now().plus_millis(DAY);
            let held = race.command(member_id, "hold", vec![hold(80, lapses_at)]);
            let hold_id = race.nodes[0].ledger.post(held).await.unwrap().entries[0].hold_id.unwrap();
            let commands = (0..CLIENTS)
                .map(|client| {
                    let operation = if client % 2 == 0 {
                        Operation::VoidHold { hold_id }
                    } else {
                        Operation::PostHold { hold_id, amount: 30, counter_account: CounterAccount::Payment }
                    };
                    race.command(member_id, &format!("end-{client}"), vec![operation])
                })
                .collect();
            let answers = race.run(way, commands).await;
            assert_eq!(successes(&answers, "ledger.hold_closed"), 1, "{way:?}");
            let won = answers.iter().position(|answer| answer.is_ok()).unwrap();
            assert_eq!(race.points(member_id).await, if won % 2 == 0 { 100 } else { 70 });
        }
        assert_proven(&race.cx).await;
    }

    /// Spenders, earners, the job and readers meet at the moment of an expiry.
    async fn what_expires_is_lost_once_and_never_read_while_others_write(cx) {
        let race = Race::start(cx, 2).await;
        let member_id: MemberId = race.cx.ids.next();
        let now = race.cx.clock.now();
        for (key, until) in [("a", now.plus_millis(DAY)), ("b", now.plus_millis(2 * DAY))] {
            race.nodes[0].ledger.post(race.command(member_id, key, vec![earn_until(1_000, until)])).await.unwrap();
        }
        for (day, left) in [(1, 1_000), (2, 0)] {
            race.cx.clock.set(now.plus_millis(day * DAY));
            let commands = (0..CLIENTS / 2)
                .map(|client| race.command(member_id, &format!("{day}-{client}"), vec![earn_until(1, now.plus_millis(90 * DAY))]))
                .collect();
            let reads = join_all((0..CLIENTS / 2).map(|_| race.points(member_id)));
            let settling = join_all(race.nodes.iter().map(|node| node.ledger.settle_due()));
            let (answers, seen, settled) = tokio::join!(race.run(Way::Mixed, commands), reads, settling);
            assert_eq!(successes(&answers, "none"), CLIENTS / 2);
            assert!(settled.iter().all(|result| result.is_ok()), "{settled:?}");
            let earned = (day - 1) * CLIENTS as i64 / 2;
            let possible = left + earned..=left + earned + CLIENTS as i64 / 2;
            assert!(seen.iter().all(|balance| possible.contains(balance)), "{seen:?} outside of {possible:?}");
        }
        assert_eq!(race.points(member_id).await, CLIENTS as i64);
        assert_proven(&race.cx).await;
    }

    /// Cross-member transactions of the callers lock in their own order: collisions end in another try. Few of
    /// them, since PostgreSQL looks for a deadlock only after a second.
    async fn transactions_over_two_members_in_opposite_order_both_succeed(cx) {
        let race = Race::start(cx, 1).await;
        let (one, two) = (race.member_with(1_000).await, race.member_with(1_000).await);
        let node = &race.nodes[0];
        let gifts = (0..4).map(|client| {
            let (from, to) = if client % 2 == 0 { (one, two) } else { (two, one) };
            let giving = race.command(from, &format!("give-{client}"), vec![spend(10)]);
            let taking = race.command(to, &format!("take-{client}"), vec![earn(10)]);
            async move {
                let (giving, taking) = (&giving, &taking);
                node.db
                    .run_tx("test.gift", |tx| {
                        Box::pin(async move {
                            node.ledger.post_in_tx(tx, giving).await?;
                            node.ledger.post_in_tx(tx, taking).await
                        })
                    })
                    .await
            }
        });
        for gift in join_all(gifts).await {
            gift.unwrap();
        }
        assert_eq!((race.points(one).await, race.points(two).await), (1_000, 1_000));
        assert_proven(&race.cx).await;
    }
}
