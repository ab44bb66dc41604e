//! Versions of the programme: who may publish what, and from when on it holds.

use std::time::Duration;

use futures::future::join_all;
use huika_core::{Actor, Currency, IdGenerator, Rate};
use huika_db::{BatchOptions, audit::list_audit};
use huika_ledger::Ledger;
use huika_loyalty::{ExpiryRule, Loyalty, Rules, default_rules};

use crate::shop::{Shop, code, earn, migrations};

const DAY: Duration = Duration::from_secs(86_400);

/// Two points per yuan instead of one.
fn double(rules: &mut Rules) {
    rules.points_rate = Rate::try_new(2, 100).unwrap();
}

/// Another process on the same database.
async fn another_node(shop: &Shop) -> Loyalty {
    let db = shop.cx.second_pool().await;
    let ids = IdGenerator::new(shop.cx.clock.clone(), 1);
    let ledger = Ledger::new(db.clone(), ids.clone(), &BatchOptions::default());
    Loyalty::start(db, ids, ledger, shop.members.clone(), &BatchOptions::default())
}

huika_testing::db_test! { migrations = migrations,
    async fn nothing_is_earned_before_a_programme_is_published(cx) {
        let shop = Shop::without_program(cx);
        let member = shop.member(1).await;
        assert_eq!(code(shop.loyalty.program_now().await), "loyalty.no_program");
        assert_eq!(code(shop.command(member, "a", earn(1)).await), "loyalty.no_program");
        assert_eq!(code(shop.loyalty.standing(&shop.owner, member).await), "loyalty.no_program");

        // What was found missing is not remembered.
        assert_eq!(shop.publish(|_| ()).await.unwrap(), 1);
        assert!(shop.command(member, "a", earn(1)).await.is_ok());
    }

    async fn the_first_version_holds_for_the_past_and_each_later_one_from_its_moment_on(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let next_month = "2026-11-30T16:00:00Z".parse().unwrap();
        let mut rules = default_rules();
        double(&mut rules);
        let second = shop.loyalty.publish_program(&shop.owner, rules, Some(next_month)).await.unwrap();
        assert_eq!((second.version, second.effective_from, second.published_at), (2, next_month, shop.now()));

        // A purchase of a year ago came before the first version.
        let past = "2025-11-21T02:00:00Z".parse().unwrap();
        assert_eq!(shop.buy_at(member, "past", 10_000, past).await.points, 100);
        assert_eq!(shop.loyalty.program_now().await.unwrap().version, 1);

        shop.cx.clock.set(next_month.plus_millis(-1));
        assert_eq!(shop.buy(member, "last-of-november", 10_000).await.points, 100);
        shop.cx.clock.set(next_month);
        assert_eq!(shop.loyalty.program_now().await.unwrap().version, 2);
        assert_eq!(shop.buy(member, "first-of-december", 10_000).await.points, 200);
        // It is the moment of the purchase that counts, not the one at which it is settled.
        let late = next_month.plus_millis(-1);
        assert_eq!(shop.buy_at(member, "reported-late", 10_000, late).await.points, 100);
        shop.assert_proven().await;
    }

    async fn a_version_begins_after_the_one_before_it_and_not_in_the_past(cx) {
        let shop = Shop::open(cx).await;
        let publish = async |rules: Rules, from| shop.loyalty.publish_program(&shop.owner, rules, from).await;
        let now = shop.now();
        // Nodes that trust what they read a moment ago must hear of it before it holds.
        for from in [now.plus_millis(-1), now, now.plus_millis(9_999)] {
            assert_eq!(code(publish(default_rules(), Some(from)).await), "loyalty.rules_invalid");
        }

        let in_ten_days = now.plus_millis(864_000_000);
        assert_eq!(publish(default_rules(), Some(in_ten_days)).await.unwrap().version, 2);
        shop.cx.clock.advance(DAY);
        assert_eq!(code(publish(default_rules(), None).await), "loyalty.rules_invalid");
        assert_eq!(code(publish(default_rules(), Some(in_ten_days)).await), "loyalty.rules_invalid");
        assert_eq!(publish(default_rules(), Some(in_ten_days.plus_millis(1))).await.unwrap().version, 3);
        let versions = shop.loyalty.program_versions(&shop.owner).await.unwrap();
        assert_eq!(versions.iter().map(|version| version.version).collect::<Vec<_>>(), [1, 2, 3]);
    }

    async fn rules_that_contradict_themselves_or_change_the_currency_are_not_published(cx) {
        let shop = Shop::open(cx).await;
        shop.cx.clock.advance(DAY);
        for change in [
            (|rules| rules.tiers.clear()) as fn(&mut Rules),
            |rules| rules.tiers[1].thresholds = huika_loyalty::Thresholds::spend(0),
            |rules| rules.time_zone = "Asia/Atlantis".to_owned(),
            |rules| rules.pending_days = 400,
            |rules| (rules.pending_days, rules.expiry) = (30, ExpiryRule::DaysAfter { days: 7 }),
            |rules| rules.currency = Currency::GBP,
        ] {
            assert_eq!(code(shop.publish(change).await), "loyalty.rules_invalid");
        }
        assert_eq!(shop.loyalty.program_versions(&shop.owner).await.unwrap().len(), 1);
    }

    async fn of_operators_who_publish_at_once_one_wins(cx) {
        let shop = Shop::without_program(cx);
        for round in 0..3_i64 {
            let publish = async || {
                let mut rules = default_rules();
                double(&mut rules);
                let from = Some(shop.now().plus_millis(10_000));
                let published = shop.loyalty.publish_program(&shop.owner, rules, from).await?;
                Ok::<_, huika_loyalty::LoyaltyError>(published.version)
            };
            let answers = join_all((0..16).map(|_| publish())).await;
            let won: Vec<i64> = answers.iter().flatten().copied().collect();
            assert_eq!(won, [round + 1]);
            for refused in answers.into_iter().filter(Result::is_err) {
                // Who came late sees either the version in the way or the one that took the number.
                let refused = code(refused);
                assert!(["loyalty.version_exists", "loyalty.rules_invalid"].contains(&refused), "{refused}");
            }
            shop.cx.clock.advance(DAY);
        }
        let versions = shop.loyalty.program_versions(&shop.owner).await.unwrap();
        assert_eq!(versions.iter().map(|version| version.version).collect::<Vec<_>>(), [1, 2, 3]);
        // Each publication is on record, and no attempt that failed.
        let audit = list_audit(&mut &shop.db, None, 100).await.unwrap();
        let mut subjects: Vec<&str> = audit.iter().map(|entry| entry.subject.as_str()).collect();
        subjects.sort_unstable();
        assert_eq!(subjects, ["program/1", "program/2", "program/3"]);
    }

    /// A node trusts what it read for five seconds: a version holds later than that, so that two nodes never decide
    /// the same moment by two versions.
    async fn every_node_knows_a_version_before_it_holds(cx) {
        let shop = Shop::open(cx).await;
        let other = another_node(&shop).await;
        let mut rules = default_rules();
        double(&mut rules);
        let published = shop.loyalty.publish_program(&shop.owner, rules, None).await.unwrap();
        assert_eq!(published.effective_from, shop.now().plus_millis(10_000));
        for _ in 0..12 {
            let (ours, theirs) = (shop.loyalty.program_now().await, other.program_now().await);
            let holds = if shop.now() < published.effective_from { 1 } else { 2 };
            assert_eq!((ours.unwrap().version, theirs.unwrap().version), (holds, holds));
            shop.cx.clock.advance(Duration::from_secs(1));
        }
    }

    async fn a_version_that_does_not_hold_yet_is_withdrawn_and_frees_the_way(cx) {
        let shop = Shop::open(cx).await;
        let withdraw = async |version| shop.loyalty.withdraw_program(&shop.owner, version).await;
        assert_eq!(code(withdraw(1).await), "loyalty.version_holds");
        assert_eq!(code(withdraw(2).await), "loyalty.version_not_found");
        let in_a_lifetime = "2099-01-01T00:00:00Z".parse().unwrap();
        let mut rules = default_rules();
        double(&mut rules);
        let publish = async |from| shop.loyalty.publish_program(&shop.owner, rules.clone(), from).await;
        publish(Some(in_a_lifetime)).await.unwrap();
        assert_eq!(code(publish(None).await), "loyalty.rules_invalid", "it stands in the way");

        let reader = Actor::with_rights("opr_reader", ["loyalty.read".to_owned()]);
        assert_eq!(code(shop.loyalty.withdraw_program(&reader, 2).await), "access.denied");
        for _ in 0..2 {
            assert!(withdraw(2).await.unwrap().withdrawn);
        }
        let third = publish(None).await.unwrap();
        assert_eq!((third.version, third.withdrawn), (3, false));
        // Too late: another node may not hear of it in time.
        shop.cx.clock.advance(Duration::from_millis(1));
        assert_eq!(code(withdraw(3).await), "loyalty.version_holds");
        shop.cx.clock.set(third.effective_from);
        assert_eq!(shop.loyalty.program_now().await.unwrap().version, 3);
        shop.cx.clock.set(in_a_lifetime);
        assert_eq!(shop.loyalty.program_now().await.unwrap().version, 3, "2 never holds");
        let audit = list_audit(&mut &shop.db, None, 100).await.unwrap();
        let withdrawn: Vec<&str> = audit
            .iter()
            .filter(|entry| entry.action == "loyalty.withdraw")
            .map(|entry| entry.subject.as_str())
            .collect();
        assert_eq!(withdrawn, ["program/2"]);
    }

    async fn a_clock_that_is_set_back_does_not_keep_old_rules_alive(cx) {
        let shop = Shop::open(cx).await;
        let other = another_node(&shop).await;
        shop.cx.clock.advance(DAY);
        assert_eq!(other.program_now().await.unwrap().version, 1);
        shop.cx.clock.set(shop.now().plus_millis(-3_600_000));
        shop.publish(double).await.unwrap();
        // What was read in the future is read again, not trusted for an hour.
        assert_eq!(other.program_now().await.unwrap().version, 2);
    }
}
