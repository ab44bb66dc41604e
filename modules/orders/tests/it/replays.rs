//! The same order again: after a lost answer, from two tills, with another content.

use futures::future::join_all;
use huika_members::Identity;
use huika_orders::{MemberRef, Receipt};

use crate::shop::{Shop, changed, code, key, migrations, phone, sale, unlinked};

huika_testing::db_test! { migrations = migrations,
    async fn the_same_order_is_answered_again(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let order = sale(MemberRef::Id(member), "A-1", &[100_000], shop.now());
        let first = shop.take(order.clone()).await.unwrap();
        shop.buy(member, "A-2", &[50_000]).await;
        shop.cx.clock.advance(std::time::Duration::from_secs(86_400));

        // By its number, whatever key the till makes up, and with its own key.
        for text in ["A-1", "another-key", "A-1"] {
            let again = shop.take(huika_orders::Intake { key: Some(key(text)), ..order.clone() }).await.unwrap();
            assert!(again.replayed);
            assert_eq!((&again.document_id, again.points, &again.why), (&first.document_id, first.points, &first.why));
            assert_eq!((&again.tier_before, &again.tier_after), (&first.tier_before, &first.tier_after));
            let (before, after) = (first.outcome.clone().unwrap(), again.outcome.clone().unwrap());
            assert_eq!((after.posting_id, &after.entries), (before.posting_id, &before.entries));
            // Balances and progress are those of then, although the account has moved on.
            assert_eq!(again.growth(), Some(100_000));
        }
        // A key that served only to repeat is not used up.
        let spare = changed(sale(MemberRef::Id(member), "A-3", &[100], shop.now()), |_| ());
        assert!(!shop.take(huika_orders::Intake { key: Some(key("another-key")), ..spare }).await.unwrap().replayed);
        assert_eq!(shop.count("orders_purchase").await, 3);
        shop.assert_proven().await;
    }

    async fn the_same_number_with_another_content_is_refused(cx) {
        let shop = Shop::open(cx).await;
        let (member, other) = (shop.member(1).await, shop.member(2).await);
        let order = sale(MemberRef::Id(member), "A-1", &[10_000], shop.now());
        shop.take(order.clone()).await.unwrap();
        let dearer = sale(MemberRef::Id(member), "A-1", &[10_001], shop.now());
        let of_another = sale(MemberRef::Id(other), "A-1", &[10_000], shop.now());
        let of_nobody = sale(MemberRef::Anonymous, "A-1", &[10_000], shop.now());
        let later = sale(MemberRef::Id(member), "A-1", &[10_000], shop.now().plus_millis(1));
        for conflict in [dearer, of_another, of_nobody, later] {
            let refused = shop.take(conflict).await.unwrap_err();
            assert_eq!(code(Err::<(), _>(refused)), "orders.order_conflict");
        }
        // Another source counts its own numbers, and so do refunds.
        let web = changed(order, |purchase| purchase.source = "web".parse().unwrap());
        assert!(!shop.take(huika_orders::Intake { key: Some(key("web")), ..web }).await.unwrap().replayed);
        let refund = unlinked(MemberRef::Id(member), "A-1", 100, shop.now());
        assert!(!shop.take(huika_orders::Intake { key: Some(key("refund")), ..refund }).await.unwrap().replayed);
        assert_eq!(shop.amounts(member).await, (199, 0, 19_900));
        assert_eq!(shop.amounts(other).await, (0, 0, 0));
        shop.assert_proven().await;
    }

    /// The member is no part of the hash, whoever wrote the order down: names are compared by whom they lead to.
    async fn the_same_order_by_another_name_of_the_member_is_answered_again(cx) {
        let shop = Shop::open(cx).await;
        let (member, _) = (shop.member(1).await, shop.member(2).await);
        let by_phone = |number| MemberRef::Named(Identity::Phone(phone(number).parse().unwrap()));
        let order = |owner| sale(owner, "A-1", &[10_000], shop.now());
        shop.take(order(by_phone(1))).await.unwrap();
        assert!(shop.take(order(MemberRef::Id(member))).await.unwrap().replayed);
        assert_eq!(code(shop.take(order(by_phone(2))).await), "orders.order_conflict");
        assert_eq!(code(shop.take(order(by_phone(3))).await), "orders.order_conflict", "nobody's phone");
        assert_eq!(shop.amounts(member).await, (100, 0, 10_000));
        shop.assert_proven().await;
    }

    async fn order_numbers_differ_by_case(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        assert!(!shop.buy(member, "a-1", &[100]).await.replayed);
        assert!(!shop.buy(member, "A-1", &[100]).await.replayed);
        assert_eq!(shop.amounts(member).await, (2, 0, 200));
    }

    async fn a_key_that_was_used_for_another_order_is_refused(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "A-1", &[10_000]).await;
        let stolen = huika_orders::Intake {
            key: Some(key("A-1")),
            ..sale(MemberRef::Id(member), "A-2", &[10_000], shop.now())
        };
        assert_eq!(code(shop.take(stolen.clone()).await), "ledger.idempotency_conflict");
        // Within one batch as well.
        let fresh = |number: &str| huika_orders::Intake {
            key: Some(key("one-key")),
            ..sale(MemberRef::Id(member), number, &[10_000], shop.now())
        };
        let answers = shop.orders.take_in_bulk(&shop.owner, vec![fresh("A-3"), fresh("A-4"), stolen]).await.unwrap();
        let mut answers = answers.into_iter();
        assert!(answers.next().unwrap().is_ok());
        for refused in answers {
            assert_eq!(code(refused), "ledger.idempotency_conflict");
        }
        assert_eq!(shop.amounts(member).await, (200, 0, 20_000));
        assert_eq!((shop.count("orders_purchase").await, shop.count("orders_external_ref").await), (2, 2));
        // The order itself can come with a key of its own.
        assert!(!shop.buy(member, "A-2", &[10_000]).await.replayed);
        shop.assert_proven().await;
    }

    async fn two_copies_in_one_batch_are_one_purchase(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        for owner in [MemberRef::Id(member), MemberRef::Anonymous] {
            let number = format!("A-{}", owner == MemberRef::Anonymous);
            let order = sale(owner.clone(), &number, &[10_000], shop.now());
            let other = sale(owner, &number, &[10_001], shop.now());
            let batch = vec![order.clone(), order.clone(), other, order];
            let answers = shop.orders.take_in_bulk(&shop.owner, batch).await.unwrap();
            let replayed: Vec<Option<bool>> =
                answers.iter().map(|answer| answer.as_ref().ok().map(|receipt| receipt.replayed)).collect();
            assert_eq!(replayed, [Some(false), Some(true), None, Some(true)]);
            let ids: Vec<&String> = answers.iter().flatten().map(|receipt| &receipt.document_id).collect();
            assert!(ids.iter().all(|id| *id == ids[0]));
        }
        assert_eq!(shop.amounts(member).await, (100, 0, 10_000));
        assert_eq!(shop.count("orders_purchase").await, 2);
        shop.assert_proven().await;
    }

    async fn sixty_four_copies_at_once_are_one_purchase(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let phone = huika_members::Identity::Phone(crate::shop::phone(1).parse().unwrap());
        for (number, owner) in [
            ("A-1", MemberRef::Id(member)),
            ("A-2", MemberRef::Named(phone)),
            ("A-3", MemberRef::Anonymous),
        ] {
            let order = sale(owner, number, &[10_000], shop.now());
            let answers = join_all((0..64).map(|_| shop.take(order.clone()))).await;
            assert_one(answers.into_iter().map(|answer| answer.unwrap()).collect());
        }
        assert_eq!(shop.amounts(member).await, (200, 0, 20_000));
        assert_eq!(shop.count("orders_purchase").await, 3);
        assert_eq!(shop.count("ledger_posting").await, 2);
        shop.assert_proven().await;
    }

    async fn copies_at_two_nodes_are_one_purchase(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let other = shop.another_node().await;
        for round in 0..8 {
            let owner = if round % 2 == 0 { MemberRef::Id(member) } else { MemberRef::Anonymous };
            let order = sale(owner, &format!("A-{round}"), &[10_000], shop.now());
            let answers = join_all((0..16).map(|at| {
                let node = if at % 2 == 0 { &shop.orders } else { &other };
                node.take_in(&shop.owner, order.clone())
            }))
            .await;
            assert_one(answers.into_iter().map(|answer| answer.unwrap()).collect());
        }
        assert_eq!(shop.count("ledger_posting").await, 4);
        shop.assert_proven().await;
    }

    /// The answer of an empty posting is an answer too.
    async fn a_purchase_of_nothing_is_replayed(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let order = sale(MemberRef::Id(member), "A-1", &[0], shop.now());
        let first = shop.take(order.clone()).await.unwrap();
        let again = shop.take(order).await.unwrap();
        assert_eq!((again.replayed, again.document_id), (true, first.document_id));
        shop.assert_proven().await;
    }
}

/// One of the receipts is the first, and all tell of the same purchase.
fn assert_one(receipts: Vec<Receipt>) {
    assert_eq!(receipts.iter().filter(|receipt| !receipt.replayed).count(), 1);
    assert!(
        receipts
            .iter()
            .all(|receipt| receipt.document_id == receipts[0].document_id)
    );
}
