//! Many purchases in one request: one transaction, and a refused one refuses itself alone.

use huika_core::{Actor, MemberId};
use huika_members::MemberState;
use huika_orders::{Intake, MemberRef, OrdersError};

use crate::shop::{Shop, changed, code, migrations, sale, unlinked};

huika_testing::db_test! { migrations = migrations,
    async fn a_refused_purchase_refuses_itself_alone(cx) {
        let shop = Shop::open(cx).await;
        let (member, banned) = (shop.member(1).await, shop.member(2).await);
        shop.set_state(banned, MemberState::Blacklisted).await;
        shop.buy(member, "known", &[100]).await;
        let now = shop.now();
        let of = |number: &str, lines: &[i64]| sale(MemberRef::Id(member), number, lines, now);
        let batch = vec![
            of("A-1", &[100_000]),
            of("A-2", &[10_000]),
            changed(of("A-3", &[10_000]), |purchase| purchase.paid_minor = 1),
            sale(MemberRef::Id(MemberId::from_i64(42)), "A-4", &[100], now),
            sale(MemberRef::Id(banned), "A-5", &[100], now),
            sale(MemberRef::Anonymous, "A-6", &[100], now),
            of("known", &[100]),
            of("known", &[101]),
            sale(MemberRef::Id(member), "A-7", &[100], now.plus_millis(86_400_000)),
            unlinked(MemberRef::Id(member), "R-1", 10_000, now),
            of("A-8", &[10_000]),
        ];
        let answers = shop.orders.take_in_bulk(&shop.owner, batch).await.unwrap();
        let told: Vec<String> = answers
            .into_iter()
            .map(|answer| match answer {
                Ok(receipt) if receipt.replayed => "again".to_owned(),
                Ok(receipt) => receipt.points.to_string(),
                Err(refused) => code(Err::<(), _>(refused)).to_owned(),
            })
            .collect();
        let expected = [
            "1000",
            // Silver since the one before.
            "120",
            "orders.lines_do_not_add_up",
            "members.not_found",
            // Recorded in every state, and worth nothing here.
            "0",
            "0",
            "again",
            "orders.order_conflict",
            "orders.time_in_future",
            "-100",
            "120",
        ];
        assert_eq!(told, expected);
        assert_eq!(shop.amounts(member).await, (1_141, 0, 110_100));
        assert_eq!((shop.count("orders_purchase").await, shop.count("orders_refund").await), (6, 1));
        shop.assert_proven().await;
    }

    async fn a_bulk_has_a_limit_and_may_consist_of_refusals(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let many = |count: usize| -> Vec<Intake> {
            (0..count)
                .map(|at| {
                    let owner = if at % 3 == 0 { MemberRef::Anonymous } else { MemberRef::Id(member) };
                    let intake = sale(owner, &format!("A-{at}"), &[100, 50], shop.now());
                    // As over HTTP: the order number alone is the key.
                    Intake { key: None, ..intake }
                })
                .collect()
        };
        assert_eq!(code(shop.orders.take_in_bulk(&shop.owner, many(501)).await), "orders.bulk_too_large");
        assert!(shop.orders.take_in_bulk(&shop.owner, Vec::new()).await.unwrap().is_empty());
        let reader = Actor::with_rights("opr_reader", ["orders.read".to_owned()]);
        assert_eq!(code(shop.orders.take_in_bulk(&reader, many(3)).await), "access.denied");
        // Whoever may do a part of it is refused the rest.
        let recorder = Actor::with_rights("api_till", ["orders.record".to_owned()]);
        let nobody = || MemberRef::Anonymous;
        let mixed = vec![sale(nobody(), "B-1", &[100], shop.now()), unlinked(nobody(), "R-1", 100, shop.now())];
        let answers = shop.orders.take_in_bulk(&recorder, mixed).await.unwrap();
        assert!(answers[0].is_ok() && matches!(answers[1], Err(OrdersError::Denied(_))));
        assert_eq!(shop.count("orders_external_ref").await, 1);

        let answers = shop.orders.take_in_bulk(&shop.owner, many(500)).await.unwrap();
        assert_eq!(answers.iter().flatten().filter(|receipt| !receipt.replayed).count(), 500);
        let answers = shop.orders.take_in_bulk(&shop.owner, many(500)).await.unwrap();
        assert_eq!(answers.iter().flatten().filter(|receipt| receipt.replayed).count(), 500);
        let of_members = (0..500).filter(|at| at % 3 != 0).count() as i64;
        assert_eq!(shop.amounts(member).await, (of_members, 0, of_members * 150));
        shop.assert_proven().await;
    }

    async fn bulks_at_once_record_each_order_once(cx) {
        let shop = Shop::open(cx).await;
        let mut members = Vec::new();
        for number in 1..=8 {
            members.push(shop.member(number).await);
        }
        let batch: Vec<Intake> = (0..80)
            .map(|at| {
                let intake = sale(MemberRef::Id(members[at % 8]), &format!("A-{at}"), &[1_000], shop.now());
                Intake { key: None, ..intake }
            })
            .collect();
        let mut backwards = batch.clone();
        backwards.reverse();
        let orders = [batch.clone(), backwards.clone(), batch.clone(), backwards];
        let answers = futures::future::join_all(
            orders.into_iter().map(|batch| shop.orders.take_in_bulk(&shop.owner, batch)),
        )
        .await;
        let receipts: Vec<_> = answers.into_iter().flat_map(|answers| answers.unwrap()).map(|one| one.unwrap()).collect();
        assert_eq!(receipts.iter().filter(|receipt| !receipt.replayed).count(), 80);
        for member in members {
            assert_eq!(shop.amounts(member).await, (100, 0, 10_000));
        }
        shop.assert_proven().await;
    }
}
