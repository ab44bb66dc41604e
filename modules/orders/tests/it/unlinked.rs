//! Refunds whose purchase is not known: they take back what such an amount earns at the base rate.

use futures::future::join_all;
use huika_core::Actor;
use huika_ledger::NegativePolicy;
use huika_loyalty::ExpiryRule;
use huika_members::MemberState;
use huika_orders::MemberRef;

use crate::shop::{Shop, code, migrations, sale, unlinked};

huika_testing::db_test! { migrations = migrations,
    async fn an_unlinked_refund_takes_back_the_base_rate(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[100_000]).await;
        let receipt = shop.take(unlinked(MemberRef::Id(member), "R-1", 26_850, shop.now())).await.unwrap();
        assert_eq!((receipt.points, receipt.growth(), receipt.tier_after.as_deref()), (-268, Some(73_150), None));
        assert!(receipt.document_id.starts_with("ref_"));
        let why = receipt.why.unwrap();
        assert_eq!(why.zh, "退款 ¥268.50（原单未知，按基础比例 每 ¥1 得 1 积分）→ 收回 268 积分。");
        assert_eq!(
            why.en,
            "Refunded ¥268.50 without a known purchase, at the base rate (1 point per ¥1) → 268 points taken back."
        );
        assert_eq!(shop.amounts(member).await, (732, 0, 73_150));
        let refunds = shop.orders.refunds_of(&shop.owner, member).await.unwrap();
        assert_eq!((refunds[0].purchase_id, refunds[0].amount_minor, refunds[0].points), (None, 26_850, 268));
        shop.assert_proven().await;
    }

    async fn an_operator_who_takes_back_without_a_purchase_is_on_record(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let by_hand = unlinked(MemberRef::Id(member), "R-1", 10_000, shop.now());
        for _ in 0..2 {
            shop.take(by_hand.clone()).await.unwrap();
        }
        let till = Actor::with_all_rights("api_till");
        let by_till = unlinked(MemberRef::Id(member), "R-2", 10_000, shop.now());
        shop.take(huika_orders::Intake { actor: till, ..by_till }).await.unwrap();
        let audit = huika_db::audit::list_audit(&mut &shop.db, None, 10).await.unwrap();
        let details: Vec<_> = audit
            .iter()
            .filter(|entry| entry.action == "orders.refund_unlinked")
            .map(|entry| &entry.detail)
            .collect();
        let expected = serde_json::json!({"member_id": member, "amount_minor": 10_000, "points": -100});
        assert_eq!(details, [&expected]);
    }

    async fn growth_may_fall_below_zero_and_points_as_far_as_the_rules_let_them(cx) {
        let shop = Shop::with(cx, |rules| rules.claw_back = NegativePolicy::GoNegative { limit: 100 }).await;
        let member = shop.member(1).await;
        let receipt = shop.take(unlinked(MemberRef::Id(member), "R-1", 26_800, shop.now())).await.unwrap();
        assert_eq!(receipt.points, -268);
        assert_eq!(shop.amounts(member).await, (-100, 0, -26_800));
        let why = receipt.why.unwrap().en;
        assert!(why.ends_with("of which 168 were no longer there and are forgiven."), "{why}");
        shop.buy(member, "A-1", &[30_000]).await;
        assert_eq!(shop.amounts(member).await, (200, 0, 3_200));
        shop.assert_proven().await;
    }

    async fn an_unlinked_refund_is_recorded_once(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        for owner in [MemberRef::Id(member), MemberRef::Anonymous] {
            let number = format!("R-{}", owner == MemberRef::Anonymous);
            let refund = unlinked(owner.clone(), &number, 10_000, shop.now());
            let answers = join_all((0..64).map(|_| shop.take(refund.clone()))).await;
            let answers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap()).collect();
            assert_eq!(answers.iter().filter(|receipt| !receipt.replayed).count(), 1);
            assert!(answers.iter().all(|receipt| receipt.points == answers[0].points));
            let other = unlinked(owner, &number, 10_001, shop.now());
            assert_eq!(code(shop.take(other).await), "orders.order_conflict");
        }
        assert_eq!(shop.amounts(member).await, (-100, 0, -10_000));
        assert_eq!(shop.count("orders_refund").await, 2);
        shop.assert_proven().await;
    }

    /// One number of one source is one refund, linked or not.
    async fn linked_and_unlinked_refunds_share_their_numbers(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[10_000]).await;
        shop.take(unlinked(MemberRef::Id(member), "R-1", 100, shop.now())).await.unwrap();
        let linked = shop.refund("A-1", "R-1", crate::shop::amount(100)).await;
        assert_eq!(code(linked), "orders.order_conflict");
        shop.refund("A-1", "R-2", crate::shop::amount(100)).await.unwrap();
        assert_eq!(code(shop.take(unlinked(MemberRef::Id(member), "R-2", 100, shop.now())).await), "orders.order_conflict");
        shop.assert_proven().await;
    }

    async fn an_unlinked_refund_is_never_blocked(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[100_000]).await;
        for state in [MemberState::Frozen, MemberState::Blacklisted, MemberState::Closed] {
            shop.set_state(member, state).await;
            let receipt = shop.take(unlinked(MemberRef::Id(member), state.name(), 10_000, shop.now())).await.unwrap();
            assert_eq!(receipt.points, -100, "{state}");
        }
        assert_eq!(shop.amounts(member).await, (700, 0, 70_000));
        shop.assert_proven().await;
    }

    /// What a refund of long ago would take back has expired like the points that it is about: replaying a
    /// history must not leave its members in debt.
    async fn a_refund_of_long_ago_leaves_no_debt(cx) {
        let shop = Shop::with(cx, |rules| rules.expiry = ExpiryRule::EndOfYearAfter { years: 1 }).await;
        let member = shop.member(1).await;
        let owner = MemberRef::Id(member);
        shop.take(sale(owner.clone(), "A-1", &[50_000], "2010-12-01T08:26:00Z".parse().unwrap())).await.unwrap();
        let receipt = shop.take(unlinked(owner.clone(), "R-1", 20_000, "2011-01-05T10:00:00Z".parse().unwrap())).await.unwrap();
        let why = receipt.why.unwrap().en;
        assert!(why.ends_with("200 points taken back, of which 200 had expired before."), "{why}");
        assert_eq!(shop.amounts(member).await, (0, 0, 30_000));
        // One of last year whose points still count does take them.
        shop.take(unlinked(owner, "R-2", 10_000, "2025-12-31T10:00:00Z".parse().unwrap())).await.unwrap();
        assert_eq!(shop.amounts(member).await, (-100, 0, 20_000));
        shop.assert_proven().await;
    }

    async fn bad_unlinked_refunds_are_refused(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let owner = || MemberRef::Id(member);
        assert_eq!(code(shop.take(unlinked(owner(), "R-1", -1, shop.now())).await), "orders.amount_invalid");
        assert_eq!(code(shop.take(unlinked(owner(), "R-1", i64::MAX, shop.now())).await), "orders.amount_invalid");
        let future = shop.now().plus_millis(86_400_000);
        assert_eq!(code(shop.take(unlinked(owner(), "R-1", 1, future)).await), "orders.time_in_future");
        let nobody = MemberRef::Id(huika_core::MemberId::from_i64(42));
        assert_eq!(code(shop.take(unlinked(nobody, "R-1", 1, shop.now())).await), "members.not_found");
        let till = Actor::with_rights("cli_till", ["orders.record".to_owned()]);
        let refused = shop.orders.take_in(&till, unlinked(owner(), "R-1", 1, shop.now())).await;
        assert_eq!(code(refused), "access.denied");
        // A refund of nothing is recorded and moves nothing.
        assert_eq!(shop.take(unlinked(owner(), "R-1", 0, shop.now())).await.unwrap().points, 0);
        assert_eq!(shop.amounts(member).await, (0, 0, 0));
        shop.assert_proven().await;
    }
}
