//! Purchases: what they earn, what they say, and which are refused.

use huika_core::{Actor, Currency, MemberId};
use huika_db::outbox::{Envelope, Event as _};
use huika_loyalty::TierChanged;
use huika_members::{ExternalIdentity, Identity, MemberState};
use huika_orders::{Document, MemberRef};

use crate::shop::{Shop, amount, changed, code, line, migrations, phone, sale, status};

const NOBODY: MemberId = MemberId::from_i64(42);

huika_testing::db_test! { migrations = migrations,
    async fn a_purchase_of_268_yuan_gives_268_points_and_says_why(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let receipt = shop.buy(member, "A-1001", &[26_800]).await;
        assert_eq!((receipt.points, receipt.growth(), receipt.replayed), (268, Some(26_800), false));
        assert_eq!((receipt.tier_before.as_deref(), receipt.tier_after.as_deref()), (Some("bronze"), Some("bronze")));
        let why = receipt.why.clone().unwrap();
        assert_eq!(why.zh, "实付 ¥268 → 268 积分（每 ¥1 得 1 积分），有效期至 2027-12-31。");
        assert_eq!(why.en, "Paid ¥268 → 268 points (1 point per ¥1), valid until 2027-12-31.");
        let progress = shop.orders.progress_after(&receipt).await.unwrap().unwrap();
        assert_eq!((progress.tier.code.as_str(), progress.growth), ("bronze", 26_800));
        assert_eq!(progress.next.unwrap().requirements[0].missing, 73_200);
        assert_eq!(shop.amounts(member).await, (268, 0, 26_800));

        let number = "A-1001".parse().unwrap();
        let view = shop.orders.purchase_by_number(&shop.owner, &"pos".parse().unwrap(), &number).await.unwrap();
        assert_eq!((view.purchase_id.to_string(), view.member_id), (receipt.document_id, Some(member)));
        assert_eq!((view.paid_minor, view.refunded_minor, view.points, view.why), (26_800, 0, 268, Some(why)));
        assert_eq!(view.tier_before.as_deref(), Some("bronze"));
        shop.assert_proven().await;
    }

    async fn points_are_spread_over_the_lines_without_a_rest(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "lift", &[100_000]).await;
        // ¥99.99 at silver: 99 + round(19.8) = 119 points over three equal lines and a free one.
        let receipt = shop.buy(member, "A-1", &[3_333, 3_333, 0, 3_333]).await;
        assert_eq!((receipt.points, receipt.tier_before.as_deref()), (119, Some("silver")));
        let number = "A-1".parse().unwrap();
        let view = shop.orders.purchase_by_number(&shop.owner, &"pos".parse().unwrap(), &number).await.unwrap();
        assert_eq!(view.lines.iter().map(|line| line.points).collect::<Vec<_>>(), [40, 40, 0, 39]);
        assert_eq!(view.lines.iter().map(|line| line.line_no).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(view.lines[1].name, "第 2 件");
        shop.assert_proven().await;
    }

    async fn the_order_that_lifts_earns_at_the_tier_before_it(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let lifting = shop.buy(member, "A-1", &[100_000]).await;
        assert_eq!((lifting.points, lifting.tier_after.as_deref()), (1_000, Some("silver")));
        let next = shop.buy(member, "A-2", &[24_800]).await;
        assert_eq!((next.points, next.tier_before.as_deref()), (298, Some("silver")));
        assert_eq!(shop.tier(member).await, "silver");
    }

    async fn a_change_of_tier_is_told_to_who_listens(cx) {
        let shop = Shop::open(cx).await.listened_to([TierChanged::TOPIC]);
        let member = shop.member(1).await;
        let receipt = shop.buy(member, "A-1", &[100_000]).await;
        shop.buy(member, "A-2", &[100]).await;
        shop.refund("A-1", "R-1", huika_orders::RefundedPart::Rest).await.unwrap();
        let rows = shop.cx.fetch_all("SELECT payload FROM kernel_outbox").await;
        assert_eq!(rows.len(), 1);
        let event: Envelope = serde_json::from_str(&rows[0].get::<String>("payload").unwrap()).unwrap();
        let event: TierChanged = event.data().unwrap();
        assert_eq!((event.member_id, event.to_tier.as_str(), event.growth), (member, "silver", 100_000));
        let changes = shop.loyalty.tier_changes(&shop.owner, member).await.unwrap();
        assert_eq!(changes[0].reference, receipt.document_id);
    }

    /// The receipt tells balances and progress also where the purchase itself changed nothing.
    async fn a_purchase_without_points_shows_the_account_as_it_is(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[26_800]).await;
        for (number, paid, growth) in [("A-2", 99, 26_899), ("A-3", 0, 26_899)] {
            let receipt = shop.buy(member, number, &[paid]).await;
            assert_eq!(receipt.points, 0);
            let progress = shop.orders.progress_after(&receipt).await.unwrap().unwrap();
            assert_eq!((progress.growth, progress.next.unwrap().requirements[0].missing), (growth, 100_000 - growth), "{number}");
        }
        assert_eq!(shop.amounts(member).await, (268, 0, 26_899));
        shop.assert_proven().await;
    }

    async fn an_anonymous_purchase_is_recorded_and_earns_nothing(cx) {
        let shop = Shop::open(cx).await;
        let anonymous = sale(MemberRef::Anonymous, "A-1", &[26_800], shop.now());
        let receipt = shop.take(anonymous.clone()).await.unwrap();
        assert_eq!((receipt.member_id, receipt.points, receipt.tier_after.as_deref()), (None, 0, None));
        assert!(receipt.outcome.is_none() && receipt.why.is_none());
        assert!(shop.orders.progress_after(&receipt).await.unwrap().is_none());
        let again = shop.take(anonymous.clone()).await.unwrap();
        assert_eq!((again.replayed, again.document_id), (true, receipt.document_id));
        let other = changed(anonymous, |purchase| purchase.paid_minor = 26_800 - 1);
        assert_eq!(code(shop.take(changed(other, |it| it.lines[0].amount_minor -= 1)).await), "orders.order_conflict");
        let report = shop.report().await;
        assert_eq!((report.sales, report.net_minor, report.net_of_members_minor), (1, 26_800, 0));
        shop.assert_proven().await;
    }

    async fn a_member_is_known_by_phone_card_or_customer_number(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let card = shop.members.find(&shop.owner, member).await.unwrap().card_number;
        for (number, identity) in [
            ("A-1", Identity::Phone(phone(1).parse().unwrap())),
            ("A-2", Identity::Card(card)),
            ("A-3", Identity::External(ExternalIdentity::try_new("pos", "customer-1").unwrap())),
        ] {
            let receipt = shop.take(sale(MemberRef::Named(identity), number, &[100], shop.now())).await.unwrap();
            assert_eq!(receipt.member_id, Some(member), "{number}");
        }
        assert_eq!(shop.amounts(member).await, (3, 0, 300));
    }

    async fn who_is_no_member_is_not_found_and_nothing_is_kept(cx) {
        let shop = Shop::open(cx).await;
        let phone = Identity::Phone(phone(1).parse().unwrap());
        let unknown = [MemberRef::Id(NOBODY), MemberRef::Named(phone.clone())];
        for member in unknown {
            let refused = shop.take(sale(member, "A-1", &[100], shop.now())).await;
            assert_eq!((code(refused)), "members.not_found");
        }
        for table in ["orders_purchase", "orders_purchase_line", "orders_external_ref", "ledger_posting"] {
            assert_eq!(shop.count(table).await, 0, "{table}");
        }
        // The number is still free once the person has joined.
        let member = shop.member(1).await;
        let receipt = shop.take(sale(MemberRef::Named(phone), "A-1", &[100], shop.now())).await.unwrap();
        assert_eq!(receipt.member_id, Some(member));
    }

    /// A purchase is recorded in every state; what a state blocks is earning.
    async fn a_frozen_member_earns_and_a_blacklisted_or_closed_one_does_not(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let first = sale(MemberRef::Id(member), "A-1", &[10_000], shop.now());
        shop.take(first.clone()).await.unwrap();
        shop.set_state(member, MemberState::Frozen).await;
        assert_eq!(shop.buy(member, "A-2", &[10_000]).await.points, 100);
        for state in [MemberState::Blacklisted, MemberState::Closed] {
            shop.set_state(member, state).await;
            let number = format!("A-{state}");
            let bought = shop.buy(member, &number, &[10_000]).await;
            assert_eq!((bought.points, bought.growth()), (0, None));
            assert!(bought.why.unwrap().en.contains(&format!("the member is {state}")));
            // There is nothing to take back from it.
            let refunded = shop.refund(&number, &format!("R-{state}"), amount(4_000)).await.unwrap();
            assert_eq!((refunded.receipt.points, refunded.left_minor), (0, 6_000));
            // What was recorded before is answered all the same.
            assert!(shop.take(first.clone()).await.unwrap().replayed);
        }
        assert_eq!(shop.amounts(member).await, (200, 0, 20_000));
        assert_eq!(shop.count("orders_purchase").await, 4);
        shop.assert_proven().await;
    }

    async fn a_till_may_run_five_minutes_ahead_and_no_more(cx) {
        let shop = Shop::open(cx).await;
        let member = MemberRef::Id(shop.member(1).await);
        let ahead = |millis: i64| shop.now().plus_millis(5 * 60 * 1_000 + millis);
        assert_eq!(code(shop.take(sale(member.clone(), "A-1", &[100], ahead(1))).await), "orders.time_in_future");
        assert!(shop.take(sale(member, "A-1", &[100], ahead(0))).await.is_ok());
    }

    async fn an_order_of_long_ago_earns_what_has_expired(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let receipt =
            shop.take(sale(MemberRef::Id(member), "A-1", &[26_800], "1970-01-01T00:00:00Z".parse().unwrap())).await.unwrap();
        assert_eq!(receipt.points, 268);
        // It counts towards the tier for ever, and its points are gone since 1971.
        assert_eq!(shop.amounts(member).await, (0, 0, 26_800));
        shop.assert_proven().await;
    }

    async fn documents_that_contradict_themselves_are_refused(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let good = sale(MemberRef::Id(member), "A-1", &[10_000, 5_000], shop.now());
        let most = 1_000_000_000_000;
        let refused = async |change: fn(&mut huika_orders::PurchaseDocument)| shop.take(changed(good.clone(), change)).await;
        assert_eq!(code(refused(|it| it.paid_minor = 14_999).await), "orders.lines_do_not_add_up");
        assert_eq!(code(refused(|it| it.lines[0].amount_minor = 10_001).await), "orders.lines_do_not_add_up");
        assert_eq!(code(refused(|it| it.paid_minor = -1).await), "orders.amount_invalid");
        assert_eq!(code(refused(|it| it.paid_minor = i64::MIN).await), "orders.amount_invalid");
        assert_eq!(code(refused(|it| it.lines[0].amount_minor = i64::MAX).await), "orders.amount_invalid");
        assert_eq!(code(refused(|it| it.currency = Currency::GBP).await), "orders.currency_mismatch");
        // A discount belongs into the lines, not beside them.
        let discounted = refused(|it| {
            it.paid_minor = 14_000;
            it.lines.push(line(2, -1_000));
        });
        assert_eq!(code(discounted.await), "orders.amount_invalid");
        // Nothing could be refunded of a purchase without lines.
        let empty = refused(|it| {
            it.paid_minor = 0;
            it.lines.clear();
        });
        assert_eq!(code(empty.await), "orders.lines_do_not_add_up");
        assert_eq!(shop.count("orders_external_ref").await, 0);

        // The largest purchase that is possible.
        let receipt = shop.buy(member, "A-2", &[most]).await;
        assert_eq!((receipt.points, receipt.tier_after.as_deref()), (10_000_000_000, Some("gold")));
        shop.assert_proven().await;
    }

    async fn without_a_programme_nothing_is_taken_in(cx) {
        let shop = Shop::without_program(cx);
        let member = shop.member(1).await;
        let refused = shop.take(sale(MemberRef::Id(member), "A-1", &[100], shop.now())).await;
        assert_eq!(status(refused), 409);
        assert_eq!(shop.count("orders_purchase").await, 0);
    }

    async fn reading_and_recording_need_their_rights(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let till = Actor::with_rights("cli_till", ["orders.record".to_owned()]);
        let reader = Actor::with_rights("opr_reader", ["orders.read".to_owned()]);
        let purchase = sale(MemberRef::Id(member), "A-1", &[100], shop.now());
        assert!(matches!(purchase.document, Document::Purchase(_)));
        assert_eq!(code(shop.orders.take_in(&reader, purchase.clone()).await), "access.denied");
        assert!(shop.orders.take_in(&till, purchase).await.is_ok());
        let (source, number) = ("pos".parse().unwrap(), "A-1".parse().unwrap());
        assert_eq!(code(shop.orders.purchase_by_number(&till, &source, &number).await), "access.denied");
        assert_eq!(code(shop.orders.purchases_of(&till, member, None, 50).await), "access.denied");
        assert_eq!(code(shop.orders.refunds_of(&till, member).await), "access.denied");
        assert_eq!(code(shop.orders.report(&till).await), "access.denied");
        assert!(shop.orders.purchase_by_number(&reader, &source, &number).await.is_ok());
    }

    async fn lists_name_who_is_no_member(cx) {
        let shop = Shop::open(cx).await;
        assert_eq!(code(shop.orders.purchases_of(&shop.owner, NOBODY, None, 50).await), "members.not_found");
        assert_eq!(code(shop.orders.refunds_of(&shop.owner, NOBODY).await), "members.not_found");
        let (source, number) = ("pos".parse().unwrap(), "A-1".parse().unwrap());
        let missing = shop.orders.purchase_by_number(&shop.owner, &source, &number).await;
        assert_eq!(code(missing), "orders.purchase_not_found");
    }

    async fn a_history_is_read_in_pages_newest_first(cx) {
        let shop = Shop::open(cx).await;
        let (member, other) = (shop.member(1).await, shop.member(2).await);
        for number in 1..=5 {
            // Two of the same moment among them.
            let placed_at = shop.now().plus_millis(-(number / 2) * 1_000);
            let number = format!("A-{number}");
            shop.take(sale(MemberRef::Id(member), &number, &[100], placed_at)).await.unwrap();
        }
        shop.buy(other, "B-1", &[100]).await;
        let mut before = None;
        let mut seen = Vec::new();
        loop {
            let page = shop.orders.purchases_of(&shop.owner, member, before, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some((last.placed_at.as_millis(), last.purchase_id.as_i64()));
            seen.extend(page.into_iter().map(|view| view.external_no));
        }
        assert_eq!(seen, ["A-1", "A-3", "A-2", "A-5", "A-4"]);
    }
}
