//! Tiers: up at once, the old multiplier for the order that lifts, and what others are told of it.

use std::time::Duration;

use futures::future::join_all;
use huika_core::Rate;
use huika_db::outbox::{Envelope, Event as _};
use huika_loyalty::{PurchaseToSettle, Thresholds, TierChanged, TierReason};
use huika_members::MemberState;

use crate::shop::{Shop, migrations, purchase};

huika_testing::db_test! { migrations = migrations,
    async fn a_purchase_lifts_at_once_and_earns_at_the_tier_before_it(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let lifting = shop.buy(member, "1", 100_000).await;
        // ¥1,000 at bronze ×1, although silver begins with this very purchase.
        assert_eq!(lifting.points, 1_000);
        assert_eq!((lifting.tier_before.as_str(), lifting.tier_after.as_str()), ("bronze", "silver"));
        assert_eq!(shop.tier(member).await, "silver");
        let next = shop.buy(member, "2", 24_800).await;
        assert_eq!(next.points, 298, "¥248 at silver ×1.2");
        assert_eq!((next.tier_before.as_str(), next.tier_after.as_str()), ("silver", "silver"));

        let changes = shop.loyalty.tier_changes(&shop.owner, member).await.unwrap();
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].from_tier.as_str(), changes[0].span.tier.as_str()), ("bronze", "silver"));
        assert_eq!((changes[0].span.metrics.growth, changes[0].reference.as_str()), (100_000, "pur_1"));
        shop.assert_proven().await;
    }

    async fn a_fen_below_the_threshold_stays_below(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "1", 99_999).await;
        assert_eq!(shop.tier(member).await, "bronze");
        shop.buy(member, "2", 1).await;
        assert_eq!(shop.tier(member).await, "silver");
    }

    async fn a_large_purchase_skips_a_tier_in_one_change(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        assert_eq!(shop.buy(member, "1", 500_000).await.tier_after, "gold");
        let changes = shop.loyalty.tier_changes(&shop.owner, member).await.unwrap();
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].span.tier, "gold");
    }

    async fn purchases_of_one_transaction_see_the_tier_that_the_one_before_reached(cx) {
        let shop = Shop::open(cx).await;
        let (member, other) = (shop.member(1).await, shop.member(2).await);
        let now = shop.now();
        let purchases = [
            purchase(member, "1", 100_000, now),
            purchase(other, "1", 10_000, now),
            purchase(member, "2", 10_000, now),
            purchase(member, "3", 390_000, now),
            purchase(member, "4", 10_000, now),
        ];
        let settled = shop.settle(&purchases).await.unwrap();
        let points: Vec<i64> = settled.iter().map(|settled| settled.points).collect();
        assert_eq!(points, [1_000, 100, 120, 4_680, 150]);
        assert_eq!(shop.tier(member).await, "gold");
        assert_eq!(shop.tier(other).await, "bronze");
        let changes = shop.loyalty.tier_changes(&shop.owner, member).await.unwrap();
        let steps: Vec<_> = changes.iter().map(|change| (change.from_tier.as_str(), change.span.tier.as_str())).collect();
        assert_eq!(steps, [("silver", "gold"), ("bronze", "silver")], "newest first");
        // The next change guards the row that these two left behind.
        shop.assert_proven().await;
    }

    async fn a_refund_takes_growth_and_leaves_the_tier(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let bought = shop.buy(member, "1", 100_000).await;
        let refunded = shop.refund(member, "r1", &bought, 100_000, 100_000).await;
        assert_eq!((refunded.points, shop.growth(member).await, shop.amounts(member).await.0), (-1_000, 0, 0));
        let tier = shop.loyalty.standing(&shop.owner, member).await.unwrap().tier;
        assert_eq!((tier.tier.code.as_str(), tier.growth), ("silver", 0));
        assert_eq!(tier.next.unwrap().requirements[0].missing, 500_000);
        // Growing back to what it was is no second change.
        shop.buy(member, "2", 100_000).await;
        assert_eq!(shop.loyalty.tier_changes(&shop.owner, member).await.unwrap().len(), 1);
        shop.assert_proven().await;
    }

    async fn lower_thresholds_lift_with_the_next_purchase(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "1", 60_000).await;
        shop.cx.clock.advance(Duration::from_secs(1));
        shop.publish(|rules| rules.tiers[1].thresholds = Thresholds::spend(50_000)).await.unwrap();
        assert_eq!(shop.tier(member).await, "bronze");
        let next = shop.buy(member, "2", 10_000).await;
        assert_eq!((next.points, next.tier_after.as_str()), (100, "silver"));
        assert_eq!(shop.buy(member, "3", 10_000).await.points, 120);
    }

    async fn raised_thresholds_take_no_tier_away(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "1", 100_000).await;
        shop.cx.clock.advance(Duration::from_secs(1));
        shop.publish(|rules| rules.tiers[1].thresholds = Thresholds::spend(200_000)).await.unwrap();
        assert_eq!(shop.buy(member, "2", 10_000).await.points, 120);
        assert_eq!(shop.tier(member).await, "silver");
    }

    async fn whoever_held_a_tier_that_is_gone_stands_where_its_threshold_does(cx) {
        let shop = Shop::open(cx).await;
        let (silver, gold) = (shop.member(1).await, shop.member(2).await);
        shop.buy(silver, "1", 100_000).await;
        shop.buy(gold, "1", 500_000).await;
        // Silver is dropped; gold becomes two tiers, the lower of which begins below it.
        shop.publish(|rules| {
            drop(rules.tiers.remove(1));
            rules.tiers[1].code = "ruby".to_owned();
            rules.tiers[1].thresholds = Thresholds::spend(400_000);
            let top = huika_loyalty::Tier { code: "top".to_owned(), thresholds: Thresholds::spend(600_000), ..rules.tiers[1].clone() };
            rules.tiers.push(top);
        })
        .await
        .unwrap();
        assert_eq!((shop.tier(silver).await.as_str(), shop.tier(gold).await.as_str()), ("bronze", "ruby"));
        let shares = shop.loyalty.tier_distribution(3).await.unwrap();
        let shares: Vec<_> = shares.iter().map(|(code, members)| (code.as_str(), *members)).collect();
        assert_eq!(shares, [("bronze", 2), ("ruby", 1), ("top", 0)], "nobody is lost");
        let next = shop.buy(silver, "2", 10_000).await;
        assert_eq!((next.points, next.tier_before.as_str(), next.tier_after.as_str()), (100, "bronze", "bronze"));
        let lifted = shop.buy(silver, "3", 290_000).await;
        assert_eq!((lifted.points, lifted.tier_after.as_str()), (2_900, "ruby"));
        assert_eq!(shop.buy(gold, "2", 10_000).await.points, 150);
        shop.assert_proven().await;
    }

    /// A till that was offline reports a purchase from before the one that lifted: it was made in the tier before.
    async fn a_late_purchase_earns_at_the_tier_of_its_own_time(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let at = |minutes: i64| shop.now().plus_millis(minutes * 60_000);
        let (nine, half_past_ten, eleven) = (at(-60), at(30), at(60));
        shop.cx.clock.set(half_past_ten);
        assert_eq!(shop.buy(member, "lifts", 100_000).await.tier_after, "silver");
        shop.cx.clock.set(eleven);
        let late = shop.buy_at(member, "late", 10_000, nine).await;
        assert_eq!((late.points, late.tier_before.as_str(), late.tier_after.as_str()), (100, "bronze", "silver"));
        // The same within one transaction, also across two changes.
        let settled = shop
            .settle(&[
                purchase(member, "gold", 390_000, eleven),
                purchase(member, "of-silver", 10_000, half_past_ten),
                purchase(member, "of-bronze", 10_000, half_past_ten.plus_millis(-1)),
                purchase(member, "of-gold", 10_000, eleven),
            ])
            .await
            .unwrap();
        let points: Vec<i64> = settled.iter().map(|settled| settled.points).collect();
        assert_eq!(points, [4_680, 120, 100, 150]);
        let changes = shop.loyalty.tier_changes(&shop.owner, member).await.unwrap();
        let moments: Vec<_> = changes.iter().map(|change| (change.span.tier.as_str(), change.span.from)).collect();
        assert_eq!(moments, [("gold", eleven), ("silver", half_past_ten)]);
        shop.assert_proven().await;
    }

    async fn a_late_purchase_that_lifts_does_not_reach_behind_an_earlier_change(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let now = shop.now();
        shop.buy(member, "1", 100_000).await;
        shop.buy_at(member, "2", 400_000, now.plus_millis(-1_000)).await;
        assert_eq!(shop.tier(member).await, "gold");
        assert_eq!(shop.buy_at(member, "3", 10_000, now.plus_millis(-1)).await.points, 100);
        assert_eq!(shop.buy_at(member, "4", 10_000, now).await.points, 150);
        shop.assert_proven().await;
    }

    async fn a_tier_that_no_change_brought_about_is_found(cx) {
        let shop = Shop::open(cx).await;
        let (member, other) = (shop.member(1).await, shop.member(2).await);
        shop.buy(member, "1", 100_000).await;
        shop.buy(member, "2", 400_000).await;
        shop.buy(other, "1", 100_000).await;
        shop.assert_proven().await;
        for (break_it, mend) in [
            ("UPDATE loyalty_membership SET tier = 'silver' WHERE tier = 'gold'",
             "UPDATE loyalty_membership SET tier = 'gold' WHERE revision = 2"),
            ("UPDATE loyalty_tier_change SET from_tier = 'bronze' WHERE to_tier = 'gold'",
             "UPDATE loyalty_tier_change SET from_tier = 'silver' WHERE to_tier = 'gold'"),
            ("UPDATE loyalty_membership SET tier_since = tier_since + 1 WHERE tier = 'silver'",
             "UPDATE loyalty_membership SET tier_since = tier_since - 1 WHERE tier = 'silver'"),
        ] {
            shop.cx.execute(break_it, vec![]).await;
            assert_eq!(shop.verify().await.findings, 1, "{break_it}");
            shop.cx.execute(mend, vec![]).await;
            shop.assert_proven().await;
        }
        shop.cx.execute("DELETE FROM loyalty_membership WHERE tier = 'silver'", vec![]).await;
        shop.cx.execute("DELETE FROM loyalty_tier_change WHERE to_tier = 'gold'", vec![]).await;
        assert_eq!(shop.verify().await.findings, 2);
    }

    async fn a_purchase_of_a_member_who_may_not_earn_is_worth_nothing_and_says_why(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let bought = PurchaseToSettle {
            withheld: Some(MemberState::Blacklisted),
            ..purchase(member, "1", 100_000, shop.now())
        };
        let settled = shop.settle(&[bought]).await.unwrap().pop().unwrap();
        assert_eq!((settled.points, settled.tier_after.as_str(), shop.growth(member).await), (0, "bronze", 0));
        assert_eq!(settled.trace.recompute(), 0);
        let why = settled.trace.explain(None);
        assert_eq!(why.en, "Paid ¥1000 → 0 points: the member is blacklisted, so that neither points nor growth are earned.");
        assert_eq!(why.zh, "实付 ¥1000 → 0 积分：会员已列入黑名单，不累积积分与成长值。");
        shop.assert_proven().await;
    }

    async fn tills_at_once_lift_once(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let now = shop.now();
        let purchases: Vec<_> = (0..64).map(|till| [purchase(member, &till.to_string(), 10_000, now)]).collect();
        let settled = join_all(purchases.iter().map(|one| shop.settle(one))).await;
        // ¥100 each: the first ten reach ¥1,000 at ×1, the next forty ¥5,000 at ×1.2, the last fourteen get ×1.5.
        let points: i64 = settled.into_iter().flat_map(|settled| settled.unwrap()).map(|settled| settled.points).sum();
        assert_eq!(points, 10 * 100 + 40 * 120 + 14 * 150);
        assert_eq!(shop.amounts(member).await.0, points);
        assert_eq!(shop.loyalty.tier_changes(&shop.owner, member).await.unwrap().len(), 2);
        shop.assert_proven().await;
    }

    async fn a_change_of_tier_is_told_only_where_somebody_listens(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "1", 100_000).await;
        assert_eq!(shop.cx.count("SELECT COUNT(*) AS n FROM kernel_outbox").await, 0);

        let shop = shop.listened_to([TierChanged::TOPIC]);
        shop.buy(member, "2", 10_000).await;
        assert_eq!(shop.cx.count("SELECT COUNT(*) AS n FROM kernel_outbox").await, 0, "the tier is the same");
        shop.buy(member, "3", 400_000).await;
        let rows = shop.cx.fetch_all("SELECT payload FROM kernel_outbox").await;
        assert_eq!(rows.len(), 1);
        let event: Envelope = serde_json::from_str(&rows[0].get::<String>("payload").unwrap()).unwrap();
        assert_eq!((event.topic.as_str(), event.version), ("loyalty.tier_changed", 1));
        let expected = TierChanged {
            member_id: member,
            from_tier: "silver".to_owned(),
            to_tier: "gold".to_owned(),
            reason: TierReason::Reached,
            growth: 510_000,
            changed_at: shop.now(),
        };
        assert_eq!(event.data::<TierChanged>().unwrap(), expected);
    }

    /// The golden form of version 1: whoever reads old events must go on understanding them.
    async fn the_event_keeps_its_form(cx) {
        let event = TierChanged {
            member_id: huika_core::MemberId::from_i64(42),
            from_tier: "bronze".to_owned(),
            to_tier: "silver".to_owned(),
            reason: TierReason::Reached,
            growth: 100_000,
            changed_at: cx.clock.now(),
        };
        let golden = r#"{"member_id":"mbr_000000000001a","from_tier":"bronze","to_tier":"silver","reason":"reached","growth":100000,"changed_at":"2026-11-21T02:00:00.000Z"}"#;
        assert_eq!(serde_json::to_string(&event).unwrap(), golden);
        assert_eq!(serde_json::from_str::<TierChanged>(golden).unwrap(), event);
    }

    async fn a_multiplier_rounds_as_the_rules_say(cx) {
        let shop = Shop::with(cx, |rules| {
            rules.tiers[0].multiplier = Rate::try_new(115, 100).unwrap();
            rules.bonus_rounding = huika_core::Rounding::Ceiling;
        })
        .await;
        let member = shop.member(1).await;
        // 10 + ⌈1.5⌉; growth is what was paid, not what it is worth in points.
        assert_eq!(shop.buy(member, "1", 1_099).await.points, 12);
        assert_eq!(shop.growth(member).await, 1_099);
    }
}
