//! What rivals lose or invent when many callers meet on one card, through the lanes that serve requests: 64
//! clients at once on two nodes that share only the database, half of them by the bulk route.

use std::sync::Arc;

use futures::future::join_all;
use huika_core::{IdGenerator, Keyring, MemberId, Refusal as _};
use huika_db::BatchOptions;
use huika_ledger::Ledger;
use huika_loyalty::{Loyalty, LoyaltyError, PointsCommand, PointsOperation, PointsOutcome};
use huika_members::Members;
use huika_testing::TestDb;
use tokio::sync::Barrier;

use crate::shop::{Shop, command, earn, give_back, migrations, redeem};

const CLIENTS: usize = 64;

struct Race {
    shop: Shop,
    /// The second one has connections, lanes and ids of its own.
    nodes: [Loyalty; 2],
    member_id: MemberId,
}

impl Race {
    /// A member with some points.
    async fn start(cx: TestDb, points: i64) -> Self {
        let shop = Shop::open(cx).await;
        let member_id = shop.member(1).await;
        if points > 0 {
            shop.command(member_id, "opening", earn(points)).await.unwrap();
        }
        let db = shop.cx.second_pool().await;
        let ids = IdGenerator::new(shop.cx.clock.clone(), 1);
        // Commands on points read no personal data, so any key does.
        let keyring = Arc::new(Keyring::parse(&Keyring::generate(&shop.cx.rng)).unwrap());
        let members = Members::new(db.clone(), ids.clone(), keyring);
        let ledger = Ledger::new(db.clone(), ids.clone(), &BatchOptions::default());
        let second = Loyalty::start(db, ids, ledger, members, &BatchOptions::default());
        Self {
            nodes: [shop.loyalty.clone(), second],
            shop,
            member_id,
        }
    }

    /// The same operation by every client, under one key for each.
    async fn each(&self, operation: PointsOperation) -> Vec<Result<PointsOutcome, LoyaltyError>> {
        self.run(|client| (format!("client-{client}"), operation.clone()))
            .await
    }

    /// One command of each client, all at once.
    async fn run(
        &self,
        of: impl Fn(usize) -> (String, PointsOperation),
    ) -> Vec<Result<PointsOutcome, LoyaltyError>> {
        let start = Arc::new(Barrier::new(CLIENTS));
        let clients = (0..CLIENTS).map(|client| {
            let (key, operation) = of(client);
            let command: PointsCommand = command(self.member_id, &key, operation);
            let (node, owner) = (self.nodes[client % 2].clone(), self.shop.owner.clone());
            let start = Arc::clone(&start);
            tokio::spawn(async move {
                start.wait().await;
                if client / 2 % 2 == 0 {
                    return node.command_points(&owner, command).await;
                }
                let mut answers = node.command_points_in_bulk(&owner, vec![command]).await?;
                answers.remove(0)
            })
        });
        join_all(clients).await.into_iter().map(Result::unwrap).collect()
    }

    /// The ledger proves itself and leaves this much.
    async fn leaves(&self, available: i64, held: i64) {
        assert_eq!(self.shop.amounts(self.member_id).await, (available, 0, held));
        self.shop.assert_proven().await;
    }
}

/// How many succeeded; everybody else must have been refused with this code.
fn successes(answers: &[Result<PointsOutcome, LoyaltyError>], otherwise: &str) -> usize {
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(error.problem().code, otherwise, "{error:?}");
    }
    answers.iter().flatten().count()
}

huika_testing::db_test! { migrations = migrations,

    async fn rival_1_burning_60_of_100_points_succeeds_once(cx) {
        let race = Race::start(cx, 100).await;
        assert_eq!(successes(&race.each(redeem(60)).await, "ledger.insufficient"), 1);
        race.leaves(40, 0).await;
    }

    async fn rival_2_a_sign_in_that_is_tapped_64_times_pays_once(cx) {
        let race = Race::start(cx, 0).await;
        let answers = race.run(|_| ("sign-in/2026-11-21".to_owned(), earn(5))).await;
        assert_eq!(successes(&answers, "none"), CLIENTS);
        let first = answers.iter().flatten().filter(|answer| !answer.outcome.replayed);
        assert_eq!(first.count(), 1);
        race.leaves(5, 0).await;
    }

    async fn rival_4_parallel_plus_10_points_lose_nothing(cx) {
        let race = Race::start(cx, 0).await;
        assert_eq!(successes(&race.each(earn(10)).await, "none"), CLIENTS);
        race.leaves(640, 0).await;
    }

    async fn rival_6_redemptions_never_exceed_the_balance(cx) {
        let race = Race::start(cx, 100).await;
        assert_eq!(successes(&race.each(redeem(3)).await, "ledger.insufficient"), 33);
        race.leaves(1, 0).await;
    }

    async fn rival_8_parallel_100_of_1000_points_leave_nothing_undebited(cx) {
        let race = Race::start(cx, 1_000).await;
        assert_eq!(successes(&race.each(redeem(100)).await, "ledger.insufficient"), 10);
        race.leaves(0, 0).await;
    }

    async fn holds_never_cover_more_than_there_is_and_each_ends_once(cx) {
        let race = Race::start(cx, 100).await;
        let hold = |points| PointsOperation::Hold { points, ttl_seconds: 900 };
        let answers = race.each(hold(30)).await;
        assert_eq!(successes(&answers, "ledger.insufficient"), 3);
        race.leaves(10, 90).await;

        let held = answers.iter().flatten().next().unwrap();
        let hold_id = held.outcome.entries[0].hold_id.unwrap();
        let answers = race
            .run(|client| {
                let operation = if client % 3 == 0 {
                    PointsOperation::VoidHold { hold_id }
                } else {
                    PointsOperation::PostHold { hold_id, points: 20, reason: "Order 1001".parse().unwrap() }
                };
                (format!("end-{client}"), operation)
            })
            .await;
        assert_eq!(successes(&answers, "ledger.hold_closed"), 1);
        let voided = answers.iter().position(|answer| answer.is_ok()).unwrap() % 3 == 0;
        race.leaves(if voided { 40 } else { 20 }, 60).await;
    }

    async fn a_redemption_is_returned_once_however_many_ask(cx) {
        let race = Race::start(cx, 100).await;
        let mug = race.shop.command(race.member_id, "mug", redeem(70)).await.unwrap();
        let answers = race.each(give_back(mug.outcome.posting_id, 70)).await;
        assert_eq!(successes(&answers, "ledger.reversal_exceeds"), 1);
        race.leaves(100, 0).await;
    }
}
