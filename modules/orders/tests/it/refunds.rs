//! Refunds of known purchases: their share of points and growth goes back, exactly once and never more.

use std::time::Duration;

use futures::future::join_all;
use huika_core::{Actor, Currency};
use huika_ledger::NegativePolicy;
use huika_loyalty::{ExpiryRule, PointsOperation};
use huika_members::MemberState;
use huika_orders::{MemberRef, RefundedPart, RefundedPart::Rest};

use crate::shop::{Shop, amount, code, lines, migrations, refund, refund_by, sale, status};

huika_testing::db_test! { migrations = migrations,
    async fn a_refund_before_its_purchase_is_refused(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[10_000]).await;
        let dated = |number: &str, millis: i64| {
            refund("A-1", number, amount(100), shop.now().plus_millis(millis))
        };
        let early = refund_by(&shop.orders, &shop.owner, &dated("R-1", -5 * 60_000 - 1), "R-1").await;
        assert_eq!(code(early), "orders.refund_before_purchase");
        // The clocks of two tills may differ.
        assert!(refund_by(&shop.orders, &shop.owner, &dated("R-2", -5 * 60_000), "R-2").await.is_ok());
        assert_eq!(shop.amounts(member).await, (99, 0, 9_900));
        shop.assert_proven().await;
    }

    async fn partial_refunds_take_back_their_share_and_the_last_one_the_rest(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        // 183 points: 100, 50 and 33 of the lines.
        shop.buy(member, "A-1", &[10_000, 5_000, 3_333]).await;
        assert_eq!(shop.amounts(member).await, (183, 0, 18_333));

        let first = shop.refund("A-1", "R-1", lines([(2, None)])).await.unwrap();
        assert_eq!((first.amount_minor, first.left_minor, first.receipt.points), (5_000, 13_333, -50));
        assert_eq!(shop.amounts(member).await, (133, 0, 13_333));
        // 1,000 of 3,333 take back 9.9 of the 33 points of line 3, rounded down.
        let second = shop.refund("A-1", "R-2", lines([(3, Some(1_000))])).await.unwrap();
        assert_eq!((second.left_minor, second.receipt.points), (12_333, -9));
        // An amount is spread over what is left of the lines.
        let third = shop.refund("A-1", "R-3", amount(2_333)).await.unwrap();
        assert_eq!((third.amount_minor, third.left_minor), (2_333, 10_000));
        let last = shop.refund("A-1", "R-4", Rest).await.unwrap();
        assert_eq!((last.amount_minor, last.left_minor), (10_000, 0));
        assert_eq!(shop.amounts(member).await, (0, 0, 0));

        let refunds = shop.orders.refunds_of(&shop.owner, member).await.unwrap();
        assert_eq!(refunds.iter().map(|refund| refund.points).sum::<i64>(), 183);
        let number = "A-1".parse().unwrap();
        let view = shop.orders.purchase_by_number(&shop.owner, &"pos".parse().unwrap(), &number).await.unwrap();
        assert_eq!(view.refunded_minor, 18_333);
        assert_eq!(view.lines.iter().map(|line| line.refunded_minor).collect::<Vec<_>>(), [10_000, 5_000, 3_333]);
        shop.assert_proven().await;
    }

    async fn a_refund_says_why(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[26_800]).await;
        let refund = shop.refund("A-1", "R-1", amount(6_850)).await.unwrap();
        let why = refund.receipt.why.unwrap();
        assert_eq!(why.zh, "退款 ¥68.50（原实付 ¥268，原得 268 积分）→ 收回 68 积分。");
        assert_eq!(why.en, "Refunded ¥68.50 of ¥268, which had earned 268 points → 68 points taken back.");
    }

    async fn more_than_was_paid_never_goes_back(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[10_000, 5_000]).await;
        assert_eq!(code(shop.refund("A-1", "R-1", amount(15_001)).await), "orders.refund_exceeds");
        assert_eq!(code(shop.refund("A-1", "R-1", lines([(1, Some(10_001))])).await), "orders.line_refund_exceeds");
        assert_eq!(code(shop.refund("A-1", "R-1", amount(-1)).await), "orders.amount_invalid");
        assert_eq!(code(shop.refund("A-1", "R-1", amount(0)).await), "orders.nothing_to_refund");
        assert_eq!(code(shop.refund("A-1", "R-1", lines([])).await), "orders.nothing_to_refund");
        assert_eq!(code(shop.refund("A-1", "R-1", lines([(3, None)])).await), "orders.refund_line_invalid");
        assert_eq!(code(shop.refund("A-1", "R-1", lines([(1, Some(1)), (1, Some(1))])).await), "orders.refund_line_invalid");
        let pounds = RefundedPart::Amount { minor: 100, currency: Currency::GBP };
        assert_eq!(code(shop.refund("A-1", "R-1", pounds).await), "orders.currency_mismatch");
        assert_eq!((shop.amounts(member).await, shop.count("orders_refund").await), ((150, 0, 15_000), 0));

        // The number of what was refused is still free.
        shop.refund("A-1", "R-1", amount(15_000)).await.unwrap();
        for part in [amount(1), Rest, lines([(1, None)])] {
            let refused = shop.refund("A-1", "R-2", part).await;
            assert_eq!(status(refused), 409);
        }
        assert_eq!(shop.amounts(member).await, (0, 0, 0));
        shop.assert_proven().await;
    }

    async fn a_line_is_refunded_once(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[10_000, 5_000]).await;
        shop.refund("A-1", "R-1", lines([(1, None)])).await.unwrap();
        assert_eq!(code(shop.refund("A-1", "R-2", lines([(1, Some(1))])).await), "orders.line_refund_exceeds");
        assert_eq!(code(shop.refund("A-1", "R-2", lines([(1, None)])).await), "orders.nothing_to_refund");
        // Beside a line that has something left, an empty one is no obstacle.
        let rest = shop.refund("A-1", "R-2", lines([(1, None), (2, None)])).await.unwrap();
        assert_eq!((rest.amount_minor, rest.left_minor), (5_000, 0));
        shop.assert_proven().await;
    }

    async fn a_refund_before_its_purchase_is_not_found(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let early = shop.refund("A-1", "R-1", Rest).await;
        assert_eq!(code(early), "orders.purchase_not_found");
        assert_eq!(status(shop.refund("A-1", "R-1", Rest).await), 404);
        shop.buy(member, "A-1", &[100]).await;
        assert!(shop.refund("A-1", "R-1", Rest).await.is_ok());
        assert_eq!(shop.amounts(member).await, (0, 0, 0));
    }

    async fn a_refund_of_the_future_is_refused(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[100]).await;
        let late = refund("A-1", "R-1", Rest, shop.now().plus_millis(5 * 60 * 1_000 + 1));
        assert_eq!(code(refund_by(&shop.orders, &shop.owner, &late, "R-1").await), "orders.time_in_future");
    }

    async fn the_same_refund_is_answered_again(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[10_000]).await;
        let document = refund("A-1", "R-1", amount(4_000), shop.now());
        let send = async |text: &str| refund_by(&shop.orders, &shop.owner, &document, text).await;
        let first = send("R-1").await.unwrap();
        for text in ["R-1", "another-key"] {
            let again = send(text).await.unwrap();
            assert!(again.receipt.replayed && !first.receipt.replayed);
            assert_eq!(again.receipt.document_id, first.receipt.document_id);
            assert_eq!((again.amount_minor, again.receipt.points), (4_000, -40));
            assert_eq!(again.receipt.why, first.receipt.why);
        }
        // The same number with another content, and the same key for another refund.
        assert_eq!(code(shop.refund("A-1", "R-1", amount(4_001)).await), "orders.order_conflict");
        let other = refund("A-1", "R-2", amount(4_000), shop.now());
        assert_eq!(code(refund_by(&shop.orders, &shop.owner, &other, "R-1").await), "ledger.idempotency_conflict");
        assert_eq!(shop.amounts(member).await, (60, 0, 6_000));
        shop.assert_proven().await;
    }

    async fn sixty_four_copies_of_a_refund_are_one(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let other = shop.another_node().await;
        for (round, part) in [amount(4_000), Rest, lines([(1, Some(10_000))])].into_iter().enumerate() {
            let (number, refund_no) = (format!("A-{round}"), format!("R-{round}"));
            shop.buy(member, &number, &[10_000]).await;
            let document = refund(&number, &refund_no, part, shop.now());
            let answers = join_all((0..64).map(|at| {
                let node = if at % 2 == 0 { &shop.orders } else { &other };
                refund_by(node, &shop.owner, &document, &refund_no)
            }))
            .await;
            let answers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().receipt).collect();
            assert_eq!(answers.iter().filter(|receipt| !receipt.replayed).count(), 1, "{round}");
            assert!(answers.iter().all(|receipt| receipt.document_id == answers[0].document_id));
        }
        assert_eq!(shop.count("orders_refund").await, 3);
        assert_eq!(shop.amounts(member).await, (60, 0, 6_000));
        shop.assert_proven().await;
    }

    async fn sixty_four_refunds_at_once_never_exceed_their_purchase(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        for (number, owner) in [("A-1", MemberRef::Id(member)), ("A-2", MemberRef::Anonymous)] {
            shop.take(sale(owner, number, &[7_000, 3_000], shop.now())).await.unwrap();
            // The rules are read again, while every connection is taken by a refund.
            shop.cx.clock.advance(Duration::from_secs(60));
            let numbers: Vec<String> = (0..64).map(|at| format!("{number}-R-{at}")).collect();
            let answers = join_all(numbers.iter().map(|refund_no| shop.refund(number, refund_no, amount(300)))).await;
            assert_eq!(answers.iter().flatten().count(), 33, "{number}");
            for refused in answers.into_iter().filter(Result::is_err) {
                assert_eq!(code(refused), "orders.refund_exceeds");
            }
            let rest = shop.refund(number, &format!("{number}-rest"), Rest).await.unwrap();
            assert_eq!((rest.amount_minor, rest.left_minor), (100, 0));
        }
        assert_eq!(shop.amounts(member).await, (0, 0, 0));
        shop.assert_proven().await;
    }

    async fn refunds_and_purchases_of_one_member_cross(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        for number in 0..16 {
            shop.buy(member, &format!("A-{number}"), &[1_000]).await;
        }
        let numbers: Vec<(String, String, String)> =
            (0..16).map(|at| (format!("A-{at}"), format!("R-{at}"), format!("B-{at}"))).collect();
        let refunds = join_all(numbers.iter().map(|(number, refund_no, _)| shop.refund(number, refund_no, Rest)));
        let purchases = join_all(
            numbers.iter().map(|(_, _, number)| shop.take(sale(MemberRef::Id(member), number, &[1_000], shop.now()))),
        );
        let (refunds, purchases) = futures::join!(refunds, purchases);
        assert!(refunds.iter().all(Result::is_ok) && purchases.iter().all(Result::is_ok), "{refunds:?} {purchases:?}");
        assert_eq!(shop.amounts(member).await, (160, 0, 16_000));
        shop.assert_proven().await;
    }

    async fn points_that_were_spent_become_a_debt_that_the_next_purchase_repays(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[26_800]).await;
        shop.redeem(member, "mug", 200).await;
        let refund = shop.refund("A-1", "R-1", Rest).await.unwrap();
        assert_eq!(refund.receipt.points, -268);
        assert_eq!(shop.amounts(member).await, (-200, 0, 0));
        let spend = PointsOperation::Redeem { points: 1, reason: "Mug".parse().unwrap() };
        let spend = huika_loyalty::PointsCommand { member_id: member, key: crate::shop::key("no"), operation: spend };
        assert_eq!(code(shop.loyalty.command_points(&shop.owner, spend).await), "ledger.insufficient");

        shop.buy(member, "A-2", &[15_000]).await;
        assert_eq!(shop.amounts(member).await, (-50, 0, 15_000));
        shop.buy(member, "A-3", &[15_000]).await;
        assert_eq!(shop.amounts(member).await, (100, 0, 30_000));
        // The mug comes back too: nothing was lost or won.
        shop.refund("A-2", "R-2", Rest).await.unwrap();
        shop.refund("A-3", "R-3", Rest).await.unwrap();
        assert_eq!(shop.amounts(member).await, (-200, 0, 0));
        shop.assert_proven().await;
    }

    async fn a_debt_has_the_limit_of_the_rules_and_the_rest_is_forgiven(cx) {
        let shop = Shop::with(cx, |rules| rules.claw_back = NegativePolicy::GoNegative { limit: 50 }).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[26_800]).await;
        shop.redeem(member, "mug", 200).await;
        let refund = shop.refund("A-1", "R-1", Rest).await.unwrap();
        let why = refund.receipt.why.unwrap().en;
        assert!(why.ends_with("268 points taken back, of which 150 were no longer there and are forgiven."), "{why}");
        assert_eq!(shop.amounts(member).await, (-50, 0, 0));
        shop.assert_proven().await;
    }

    async fn without_debts_a_refund_takes_what_exists(cx) {
        let shop = Shop::with(cx, |rules| rules.claw_back = NegativePolicy::TakeExisting).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[26_800]).await;
        shop.redeem(member, "mug", 200).await;
        let refund = shop.refund("A-1", "R-1", Rest).await.unwrap();
        let entry = refund.receipt.outcome.unwrap().entries[0].clone();
        assert_eq!((entry.available_change, entry.shortfall), (-68, 200));
        assert_eq!(shop.amounts(member).await, (0, 0, 0));
        shop.buy(member, "A-2", &[10_000]).await;
        assert_eq!(shop.amounts(member).await, (100, 0, 10_000), "what was forgiven is not asked for again");
        shop.assert_proven().await;
    }

    async fn a_refund_while_points_wait_touches_no_spendable_point(cx) {
        let shop = Shop::with(cx, |rules| rules.pending_days = 7).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[10_000]).await;
        shop.cx.clock.advance(Duration::from_secs(8 * 86_400));
        shop.buy(member, "A-2", &[26_800]).await;
        assert_eq!(shop.amounts(member).await, (100, 268, 36_800));
        shop.refund("A-2", "R-1", amount(13_400)).await.unwrap();
        assert_eq!(shop.amounts(member).await, (100, 134, 23_400));
        shop.refund("A-2", "R-2", Rest).await.unwrap();
        assert_eq!(shop.amounts(member).await, (100, 0, 10_000));
        shop.assert_proven().await;
    }

    async fn points_that_expired_are_not_asked_for_again(cx) {
        let shop = Shop::with(cx, |rules| rules.expiry = ExpiryRule::DaysAfter { days: 0 }).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[26_800]).await;
        shop.at("2026-11-22T02:00:00Z");
        let refund = shop.refund("A-1", "R-1", Rest).await.unwrap();
        let why = refund.receipt.why.unwrap().en;
        assert!(why.ends_with("268 points taken back, of which 268 had expired before."), "{why}");
        assert_eq!(shop.amounts(member).await, (0, 0, 0));
        shop.assert_proven().await;
    }

    async fn what_earned_no_points_takes_none_back(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[26_800]).await;
        shop.buy(member, "A-2", &[99]).await;
        let refund = shop.refund("A-2", "R-1", Rest).await.unwrap();
        assert_eq!((refund.receipt.points, refund.amount_minor), (0, 99));
        assert_eq!(shop.amounts(member).await, (268, 0, 26_800));
        // A purchase of nothing has nothing to give back.
        shop.buy(member, "A-3", &[0]).await;
        assert_eq!(code(shop.refund("A-3", "R-2", Rest).await), "orders.nothing_to_refund");
        shop.assert_proven().await;
    }

    async fn the_multiplier_of_the_purchase_comes_back_with_it(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[100_000]).await;
        shop.buy(member, "A-2", &[400_000]).await;
        // 4,800 at silver; the member is gold meanwhile and stays gold.
        let refund = shop.refund("A-2", "R-1", Rest).await.unwrap();
        assert_eq!(refund.receipt.points, -4_800);
        assert_eq!(shop.amounts(member).await, (1_000, 0, 100_000));
        assert_eq!(shop.tier(member).await, "gold");
        shop.assert_proven().await;
    }

    async fn the_rules_of_the_purchase_decide_what_comes_back(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[10_000]).await;
        shop.cx.clock.advance(Duration::from_secs(1));
        let mut rules = huika_loyalty::default_rules();
        rules.points_rate = huika_core::Rate::try_new(5, 100).unwrap();
        shop.loyalty.publish_program(&shop.owner, rules, None).await.unwrap();
        assert_eq!(shop.refund("A-1", "R-1", Rest).await.unwrap().receipt.points, -100);
        assert_eq!(shop.amounts(member).await, (0, 0, 0));
    }

    async fn an_anonymous_purchase_is_refunded_without_points(cx) {
        let shop = Shop::open(cx).await;
        shop.take(sale(MemberRef::Anonymous, "A-1", &[10_000, 5_000], shop.now())).await.unwrap();
        let refund = shop.refund("A-1", "R-1", lines([(2, None)])).await.unwrap();
        assert_eq!((refund.receipt.member_id, refund.receipt.points, refund.left_minor), (None, 0, 10_000));
        assert!(refund.receipt.why.is_none());
        assert!(shop.refund("A-1", "R-1", lines([(2, None)])).await.unwrap().receipt.replayed);
        assert_eq!(code(shop.refund("A-1", "R-2", amount(10_001)).await), "orders.refund_exceeds");
        assert_eq!(shop.report().await.net_minor, 10_000);
        shop.assert_proven().await;
    }

    async fn refunds_are_never_blocked(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        for (number, state) in
            [("A-1", MemberState::Frozen), ("A-2", MemberState::Blacklisted), ("A-3", MemberState::Closed)]
        {
            shop.set_state(member, MemberState::Normal).await;
            shop.buy(member, number, &[10_000]).await;
            shop.set_state(member, state).await;
            let refund = shop.refund(number, &format!("{number}-R"), Rest).await.unwrap();
            assert_eq!(refund.receipt.points, -100, "{state}");
        }
        assert_eq!(shop.amounts(member).await, (0, 0, 0));
        shop.assert_proven().await;
    }

    async fn a_refund_needs_its_right(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[100]).await;
        let document = refund("A-1", "R-1", Rest, shop.now());
        let till = Actor::with_rights("cli_till", ["orders.record".to_owned(), "orders.read".to_owned()]);
        assert_eq!(code(refund_by(&shop.orders, &till, &document, "R-1").await), "access.denied");
        let desk = Actor::with_rights("opr_desk", ["orders.refund".to_owned()]);
        assert!(refund_by(&shop.orders, &desk, &document, "R-1").await.is_ok());
    }
}
