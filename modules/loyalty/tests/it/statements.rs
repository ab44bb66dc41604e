//! The statement: every entry with its why, in both languages.

use huika_core::MemberId;
use huika_ledger::NegativePolicy;
use huika_loyalty::{ExpiryRule, PointsOperation, StatementView, Trace};

use crate::shop::{Shop, earn, give_back, migrations, redeem};

/// The statement as a page would show it, the oldest line first.
async fn told(shop: &Shop, member_id: MemberId) -> String {
    let mut lines = shop
        .loyalty
        .points_statement(&shop.owner, member_id, None, 200)
        .await
        .unwrap();
    lines.reverse();
    let lines: Vec<String> = lines.iter().map(line).collect();
    lines.join("\n")
}

fn line(view: &StatementView) -> String {
    let line = &view.line;
    let shortfall = if line.shortfall > 0 {
        format!(" forgiven {}", line.shortfall)
    } else {
        String::new()
    };
    let mut text = format!(
        "{} {}/{} available {:+} pending {:+} held {:+}{shortfall}",
        line.sequence,
        line.posting_kind,
        line.entry_kind,
        line.available_change,
        line.pending_change,
        line.held_change
    );
    if let Some(why) = &view.why {
        text += &format!("\n  {}\n  {}", why.zh, why.en);
    }
    text
}

huika_testing::db_test! { migrations = migrations,
    async fn every_entry_explains_itself_in_both_languages(cx) {
        let shop = Shop::with(cx, |rules| {
            rules.pending_days = 1;
            rules.expiry = ExpiryRule::DaysAfter { days: 30 };
            rules.claw_back = NegativePolicy::GoNegative { limit: 50 };
        })
        .await;
        let member = shop.member(1).await;
        let first = shop.buy(member, "1", 100_000).await;
        shop.buy(member, "2", 24_850).await;
        shop.at("2026-11-21T16:00:00Z");
        let mug = shop.command(member, "mug", redeem(1_000)).await.unwrap().outcome.posting_id;
        shop.command(member, "mug-back", give_back(mug, 100)).await.unwrap();
        let hold = shop.command(member, "order", PointsOperation::Hold { points: 300, ttl_seconds: 900 }).await.unwrap();
        let hold_id = hold.outcome.entries[0].hold_id.unwrap();
        let paid = PointsOperation::PostHold { hold_id, points: 280, reason: "订单 1001".parse().unwrap() };
        shop.command(member, "order-paid", paid).await.unwrap();
        // ¥150 of ¥1,000 take back 150 of 1,000 points: 118 are there, 32 become a debt.
        shop.refund(member, "r1", &first, 100_000, 15_000).await;
        shop.command(member, "gift", earn(7)).await.unwrap();
        insta::assert_snapshot!(told(&shop, member).await, @r#"
        1 purchase/earn available +0 pending +1000 held +0
          实付 ¥1000 → 1000 积分（每 ¥1 得 1 积分），2026-11-22 起可用，有效期至 2026-12-21。
          Paid ¥1000 → 1000 points (1 point per ¥1), available from 2026-11-22, valid until 2026-12-21.
        2 purchase/earn available +0 pending +298 held +0
          实付 ¥248.50 → 248 积分（每 ¥1 得 1 积分）；白银会员 ×1.2 加赠 50 → 共 298 积分，2026-11-22 起可用，有效期至 2026-12-21。
          Paid ¥248.50 → 248 points (1 point per ¥1); Silver ×1.2 adds 50 → 298 points, available from 2026-11-22, valid until 2026-12-21.
        3 settle/release available +1000 pending -1000 held +0
        4 settle/release available +298 pending -298 held +0
        5 redeem/spend available -1000 pending +0 held +0
          使用 1000 积分：Mug
          1000 points spent: Mug
        6 return/reverse_spend available +100 pending +0 held +0
          退回 100 积分：Order cancelled
          100 points returned: Order cancelled
        7 hold/hold available -300 pending +0 held +300
        8 post_hold/post_hold available +0 pending +0 held -280
          使用 280 积分：订单 1001
          280 points spent: 订单 1001
        9 post_hold/void_hold available +20 pending +0 held -20
        10 refund/reverse_earn available -150 pending +0 held +0
          退款 ¥150（原实付 ¥1000，原得 1000 积分）→ 收回 150 积分。
          Refunded ¥150 of ¥1000, which had earned 1000 points → 150 points taken back.
        11 earn/earn available +0 pending +7 held +0
          发放 7 积分：Birthday gift
          7 points granted: Birthday gift
        "#);
        shop.assert_proven().await;
    }

    async fn what_is_forgiven_and_what_had_expired_is_told(cx) {
        let shop = Shop::with(cx, |rules| {
            rules.expiry = ExpiryRule::DaysAfter { days: 0 };
            rules.claw_back = NegativePolicy::TakeExisting;
        })
        .await;
        let member = shop.member(1).await;
        let bought = shop.buy(member, "1", 10_000).await;
        shop.command(member, "mug", redeem(70)).await.unwrap();
        shop.at("2026-11-21T16:00:00Z");
        shop.refund(member, "r1", &bought, 10_000, 10_000).await;
        insta::assert_snapshot!(told(&shop, member).await, @r#"
        1 purchase/earn available +100 pending +0 held +0
          实付 ¥100 → 100 积分（每 ¥1 得 1 积分），有效期至 2026-11-21。
          Paid ¥100 → 100 points (1 point per ¥1), valid until 2026-11-21.
        2 redeem/spend available -70 pending +0 held +0
          使用 70 积分：Mug
          70 points spent: Mug
        3 settle/expire available -30 pending +0 held +0
        4 refund/reverse_earn available +0 pending +0 held +0 forgiven 70
          退款 ¥100（原实付 ¥100，原得 100 积分）→ 收回 100 积分，其中 30 积分此前已过期，其中 70 积分余额不足，已免除。
          Refunded ¥100 of ¥100, which had earned 100 points → 100 points taken back, of which 30 had expired before, of which 70 were no longer there and are forgiven.
        "#);
        shop.assert_proven().await;
    }

    async fn a_statement_is_read_in_pages(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        for number in 0..7 {
            shop.command(member, &format!("gift-{number}"), earn(1)).await.unwrap();
        }
        let page = async |before| {
            let lines = shop.loyalty.points_statement(&shop.owner, member, before, 3).await.unwrap();
            lines.iter().map(|view| view.line.sequence).collect::<Vec<i64>>()
        };
        assert_eq!(page(None).await, [7, 6, 5]);
        assert_eq!(page(Some(5)).await, [4, 3, 2]);
        assert_eq!(page(Some(2)).await, [1]);
        assert!(page(Some(1)).await.is_empty());
    }

    /// A trace holds what it was decided from: every stored one gives the points of its posting again.
    async fn traces_give_their_result_again(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let mut refundable = Vec::new();
        for (number, paid) in [99, 26_899, 100_000, 33_333, 777_777, 12_345].into_iter().enumerate() {
            refundable.push((paid, shop.buy(member, &number.to_string(), paid).await));
        }
        for (number, (paid, bought)) in refundable.iter().enumerate() {
            shop.refund(member, &format!("r{number}"), bought, *paid, paid / 3).await;
        }
        let mug = shop.command(member, "mug", redeem(5)).await.unwrap().outcome.posting_id;
        shop.command(member, "mug-back", give_back(mug, 2)).await.unwrap();
        shop.command(member, "gift", earn(5)).await.unwrap();
        let lines = shop.loyalty.points_statement(&shop.owner, member, None, 200).await.unwrap();
        assert_eq!(lines.len(), 5 + 5 + 3, "99 fen are no point, and none to take back");
        for line in lines.iter().map(|view| &view.line) {
            let trace: Trace = serde_json::from_str(line.trace.as_deref().unwrap()).unwrap();
            assert_eq!(trace.recompute(), line.available_change, "{trace:?}");
        }
    }
}
