//! Anonymous purchases that become a member's: once, for what is left of them, and refunds find them afterwards.

use std::time::Duration;

use futures::future::join_all;
use huika_core::{Calendar, Currency, MemberId};
use huika_members::MemberState;
use huika_orders::{ClaimCode, ClaimEvidence, MemberRef, Orders, OrdersError, Receipt};

use crate::shop::{Shop, amount, code, lines, migrations, phone, refund, refund_by, sale};

/// Somebody without a card buys: ¥200 and ¥100.
async fn anonymous(shop: &Shop, number: &str) -> ClaimCode {
    let sale = sale(MemberRef::Anonymous, number, &[20_000, 10_000], shop.now());
    shop.take(sale).await.unwrap().claim_code.unwrap()
}

async fn claim(shop: &Shop, member_id: MemberId, evidence: &ClaimEvidence) -> Result<Receipt, OrdersError> {
    shop.orders
        .claim(&shop.owner, &MemberRef::Id(member_id), evidence)
        .await
}

/// What is printed on the receipt of today.
fn receipt(shop: &Shop, number: &str, paid_minor: i64) -> ClaimEvidence {
    ClaimEvidence::Receipt {
        source: "pos".parse().unwrap(),
        external_no: number.parse().unwrap(),
        paid_minor,
        currency: Currency::CNY,
        date: Calendar::try_new("Asia/Shanghai").unwrap().date_of(shop.now()),
    }
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

huika_testing::db_test! { migrations = migrations,
    async fn a_claimed_purchase_is_settled_for_the_member_at_its_own_time(cx) {
        let shop = Shop::open(cx).await;
        let member_id = shop.member(1).await;
        let (bought_at, code) = (shop.now(), anonymous(&shop, "A-1").await);
        let before = shop.report().await;
        shop.cx.clock.advance(days(3));
        let evidence = ClaimEvidence::Code(code);
        let first = claim(&shop, member_id, &evidence).await.unwrap();
        assert_eq!((first.points, first.member_id, first.replayed), (300, Some(member_id), false));
        assert_eq!(shop.amounts(member_id).await, (300, 0, 30_000));
        let history = shop.orders.purchases_of(&shop.owner, member_id, None, 9).await.unwrap();
        assert_eq!((history.len(), history[0].placed_at, history[0].paid_minor), (1, bought_at, 30_000));

        // The same again, by the other evidence too and by the phone, is the first answer.
        let by_phone = MemberRef::Named(huika_members::Identity::Phone(phone(1).parse().unwrap()));
        let again = shop.orders.claim(&shop.owner, &by_phone, &evidence).await.unwrap();
        assert_eq!((again.replayed, &again.document_id), (true, &first.document_id));
        assert_eq!(shop.amounts(member_id).await, (300, 0, 30_000));

        // The anonymous rows stay, and the shop has not sold more than before.
        let after = shop.report().await;
        assert_eq!((after.net_minor, after.sales), (before.net_minor, before.sales));
        assert_eq!((before.net_of_members_minor, after.net_of_members_minor), (0, 30_000));
        assert_eq!(shop.count("orders_purchase").await, 2);
        assert_eq!(shop.count("kernel_audit WHERE action = 'orders.claim'").await, 1);
        shop.assert_proven().await;
    }

    async fn of_many_claimants_at_once_one_gets_it(cx) {
        let shop = Shop::open(cx).await;
        let other = shop.another_node().await;
        let mut members = Vec::new();
        for number in 1..=6 {
            members.push(shop.member(number).await);
        }
        let evidence = ClaimEvidence::Code(anonymous(&shop, "A-1").await);
        // Each comes twice, by either node.
        let claims = members.iter().chain(&members).enumerate().map(|(at, member_id)| {
            let node: &Orders = [&shop.orders, &other][at % 2];
            let (owner, evidence) = (&shop.owner, &evidence);
            async move { (*member_id, node.claim(owner, &MemberRef::Id(*member_id), evidence).await) }
        });
        let mut winners = Vec::new();
        for (member_id, answer) in join_all(claims).await {
            match answer {
                Ok(receipt) => winners.push((member_id, receipt.document_id)),
                refused => assert_eq!(code(refused), "orders.already_claimed"),
            }
        }
        assert_eq!(winners.len(), 2, "the winner, who came twice");
        assert_eq!(winners[0], winners[1]);
        assert_eq!((shop.count("orders_claim").await, shop.count("orders_purchase").await), (1, 2));
        for member_id in members {
            let points = if member_id == winners[0].0 { 300 } else { 0 };
            assert_eq!(shop.amounts(member_id).await.0, points);
        }
        shop.assert_proven().await;
    }

    async fn what_was_refunded_before_is_not_claimed_and_what_is_refunded_later_is_taken_back(cx) {
        let shop = Shop::open(cx).await;
        let member_id = shop.member(1).await;
        anonymous(&shop, "A-1").await;
        shop.refund("A-1", "R-1", lines([(1, Some(5_000))])).await.unwrap();
        let evidence = receipt(&shop, "A-1", 30_000);
        let claimed = claim(&shop, member_id, &evidence).await.unwrap();
        assert_eq!(claimed.points, 250);
        assert_eq!(shop.amounts(member_id).await, (250, 0, 25_000));

        // By the number on the receipt, as the till knows it: line 1 is worth 150 yuan now.
        let refunded = shop.refund("A-1", "R-2", lines([(1, Some(10_000))])).await.unwrap();
        assert_eq!((refunded.receipt.member_id, refunded.left_minor), (Some(member_id), 15_000));
        assert_eq!(shop.amounts(member_id).await, (150, 0, 15_000));
        let too_much = shop.refund("A-1", "R-3", lines([(1, Some(5_001))])).await;
        assert_eq!(code(too_much), "orders.line_refund_exceeds");
        let again = shop.refund("A-1", "R-2", lines([(1, Some(10_000))])).await.unwrap();
        assert!(again.receipt.replayed);
        shop.refund("A-1", "R-4", amount(15_000)).await.unwrap();
        assert_eq!(shop.amounts(member_id).await, (0, 0, 0));
        assert_eq!(shop.report().await.net_minor, 0);
        shop.assert_proven().await;
    }

    async fn claims_and_refunds_at_once_leave_each_yuan_once(cx) {
        let shop = Shop::open(cx).await;
        let other = shop.another_node().await;
        for round in 0..6 {
            let member_id = shop.member(round + 1).await;
            let number = format!("A-{round}");
            let evidence = ClaimEvidence::Code(anonymous(&shop, &number).await);
            let refunds = (0..3).map(|at| {
                let (number, shop, other) = (&number, &shop, &other);
                async move {
                    let name = format!("R-{number}-{at}");
                    let document = refund(number, &name, lines([(2, Some(3_000))]), shop.now());
                    let node = [&shop.orders, other][at % 2];
                    refund_by(node, &shop.owner, &document, &name).await.unwrap();
                }
            });
            let (claimed, _) = futures::join!(claim(&shop, member_id, &evidence), join_all(refunds));
            claimed.unwrap();
            assert_eq!(shop.amounts(member_id).await, (210, 0, 21_000), "round {round}");
        }
        assert_eq!(shop.report().await.net_minor, 6 * 21_000);
        shop.assert_proven().await;
    }

    async fn wrong_late_and_empty_receipts_are_refused(cx) {
        let shop = Shop::open(cx).await;
        let (member_id, buyer) = (shop.member(1).await, shop.member(2).await);
        let evidence = ClaimEvidence::Code(anonymous(&shop, "A-1").await);
        shop.buy(buyer, "A-2", &[30_000]).await;
        let guessed = ClaimEvidence::Code("0000-0000-0000-0000".parse().unwrap());
        for wrong in [
            receipt(&shop, "A-1", 29_999),
            receipt(&shop, "A-9", 30_000),
            // Somebody's already: no answer tells that such an order exists.
            receipt(&shop, "A-2", 30_000),
            guessed,
        ] {
            assert_eq!(code(claim(&shop, member_id, &wrong).await), "orders.claim_not_found", "{wrong:?}");
        }
        shop.cx.clock.advance(days(1));
        let of_tomorrow = receipt(&shop, "A-1", 30_000);
        assert_eq!(code(claim(&shop, member_id, &of_tomorrow).await), "orders.claim_not_found");

        shop.set_state(member_id, MemberState::Blacklisted).await;
        assert_eq!(code(claim(&shop, member_id, &evidence).await), "members.state_blocks");
        shop.set_state(member_id, MemberState::Normal).await;

        anonymous(&shop, "A-3").await;
        shop.refund("A-3", "R-3", amount(30_000)).await.unwrap();
        let empty = receipt(&shop, "A-3", 30_000);
        assert_eq!(code(claim(&shop, member_id, &empty).await), "orders.nothing_to_claim");

        shop.cx.clock.advance(days(29));
        assert!(claim(&shop, member_id, &evidence).await.is_ok(), "on the last day");
        let late = ClaimEvidence::Code(anonymous(&shop, "A-4").await);
        shop.cx.clock.advance(days(30) + Duration::from_millis(1));
        assert_eq!(code(claim(&shop, member_id, &late).await), "orders.claim_too_late");
        let patient = shop.orders.clone().claimed_within(31);
        assert!(patient.claim(&shop.owner, &MemberRef::Id(member_id), &late).await.is_ok());
        shop.assert_proven().await;
    }

    async fn a_claim_that_was_edited_by_hand_is_named(cx) {
        let shop = Shop::open(cx).await;
        let member_id = shop.member(1).await;
        let evidence = ClaimEvidence::Code(anonymous(&shop, "A-1").await);
        claim(&shop, member_id, &evidence).await.unwrap();
        shop.cx.execute("UPDATE orders_claim SET amount_minor = amount_minor + 1", huika_db::params![]).await;
        assert!(!shop.verify().await.is_clean());
        shop.cx.execute("DELETE FROM orders_claim", huika_db::params![]).await;
        assert!(!shop.verify().await.is_clean());
    }

    async fn a_code_is_shown_once_and_stored_as_a_hash(cx) {
        let shop = Shop::open(cx).await;
        let intake = sale(MemberRef::Anonymous, "A-1", &[100], shop.now());
        let code = shop.take(intake.clone()).await.unwrap().claim_code.unwrap();
        assert!(shop.take(intake).await.unwrap().claim_code.is_none());
        let stored = shop.cx.fetch_all("SELECT code_hash FROM orders_claim_code").await;
        let hash: String = stored[0].get("code_hash").unwrap();
        assert!(stored.len() == 1 && !hash.contains(&code.printed()));
        let member_id = shop.member(1).await;
        assert!(shop.buy(member_id, "A-2", &[100]).await.claim_code.is_none());
    }
}
