//! Proof: what somebody changed behind the back of the software is found and named.

use huika_core::MemberId;
use huika_db::params;
use huika_orders::{MemberRef, RefundedPart::Rest};

use crate::shop::{Shop, amount, migrations, sale};

/// Two members, three purchases, two refunds and an anonymous sale.
async fn history(shop: &Shop) -> (MemberId, MemberId) {
    let (first, second) = (shop.member(1).await, shop.member(2).await);
    shop.buy(first, "A-1", &[26_800, 5_000]).await;
    shop.buy(first, "A-2", &[10_000]).await;
    shop.buy(second, "B-1", &[10_000]).await;
    shop.refund("A-2", "A-2-R", amount(2_500)).await.unwrap();
    shop.take(sale(MemberRef::Anonymous, "C-1", &[9_900], shop.now()))
        .await
        .unwrap();
    shop.refund("C-1", "C-1-R", amount(900)).await.unwrap();
    shop.assert_proven().await;
    (first, second)
}

impl Shop {
    /// Changes the database by hand.
    async fn tamper(&self, sql: &str) {
        assert!(self.cx.execute(sql, params![]).await > 0, "{sql} met nothing");
    }

    /// Something was found, and a finding names this.
    async fn assert_found(&self, named: &str) {
        let report = self.verify().await;
        let found = report.first_findings.iter().any(|finding| {
            let text = format!("{} {}", finding.row, finding.problem);
            text.contains(named)
        });
        assert!(found, "{named} is not named: {report:#?}");
    }
}

huika_testing::db_test! { migrations = migrations,
    async fn a_deleted_purchase_is_found(cx) {
        let shop = Shop::open(cx).await;
        let (first, _) = history(&shop).await;
        shop.tamper("DELETE FROM orders_purchase WHERE external_no = 'A-1'").await;
        shop.assert_found(&format!("ledger_posting {first}")).await;
    }

    async fn the_only_purchase_of_a_member_is_missed_too(cx) {
        let shop = Shop::open(cx).await;
        let (_, second) = history(&shop).await;
        shop.tamper("DELETE FROM orders_purchase WHERE external_no = 'B-1'").await;
        shop.assert_found(&second.to_string()).await;
    }

    /// Without any trace of the member in the tables of orders, the sum of all growth still tells.
    async fn a_purchase_that_was_wiped_out_is_missed(cx) {
        let shop = Shop::open(cx).await;
        history(&shop).await;
        shop.tamper("DELETE FROM orders_purchase WHERE external_no = 'B-1'").await;
        shop.tamper("DELETE FROM orders_purchase_line WHERE purchase_id NOT IN (SELECT purchase_id FROM orders_purchase)").await;
        shop.tamper("DELETE FROM orders_external_ref WHERE external_no = 'B-1'").await;
        shop.assert_found("growth").await;
    }

    async fn a_deleted_refund_is_found(cx) {
        let shop = Shop::open(cx).await;
        let (first, _) = history(&shop).await;
        shop.tamper("DELETE FROM orders_refund WHERE external_no = 'A-2-R'").await;
        shop.assert_found(&format!("ledger_posting {first}")).await;
        shop.assert_found("refunds do not add up").await;
    }

    async fn a_deleted_anonymous_sale_is_found(cx) {
        let shop = Shop::open(cx).await;
        history(&shop).await;
        shop.tamper("DELETE FROM orders_purchase WHERE external_no = 'C-1'").await;
        shop.assert_found("C-1").await;
    }

    async fn a_deleted_name_is_found(cx) {
        let shop = Shop::open(cx).await;
        history(&shop).await;
        // The same order could be recorded a second time.
        shop.tamper("DELETE FROM orders_external_ref WHERE external_no = 'A-1'").await;
        shop.assert_found("A-1").await;
    }

    async fn an_extra_posting_is_found(cx) {
        let shop = Shop::open(cx).await;
        let (first, second) = history(&shop).await;
        let copy = |member: MemberId, reference: &str| {
            format!(
                "INSERT INTO ledger_posting (member_id, posting_id, kind, idem_key, input_hash, reference, actor, \
                 effective_at, recorded_at, outcome, trace) \
                 SELECT member_id, posting_id + 1, kind, 'extra', input_hash, {reference}, actor, effective_at, recorded_at, \
                 '[]', trace FROM ledger_posting WHERE kind = 'purchase' AND member_id = {} \
                 ORDER BY posting_id LIMIT 1",
                member.as_i64()
            )
        };
        // One for a purchase that was posted already, one for a purchase that never was.
        shop.tamper(&copy(first, "reference")).await;
        shop.assert_found("was posted twice").await;
        shop.tamper(&copy(second, "'pur_0000000000000'")).await;
        shop.assert_found("there is no document pur_0000000000000").await;
    }

    async fn a_posting_of_another_document_is_found(cx) {
        let shop = Shop::open(cx).await;
        history(&shop).await;
        shop.tamper("UPDATE orders_purchase SET posting_id = posting_id + 1 WHERE external_no = 'A-2'").await;
        shop.assert_found("its posting is missing or another one").await;
    }

    async fn edited_amounts_are_found(cx) {
        let shop = Shop::open(cx).await;
        history(&shop).await;
        for (table, column, row, named) in [
            ("orders_purchase", "paid_minor", "external_no = 'A-1'", "its lines do not add up to it"),
            ("orders_purchase", "paid_minor", "external_no = 'C-1'", "its lines do not add up to it"),
            ("orders_purchase", "points", "external_no = 'A-1'", "its lines do not add up to it"),
            ("orders_purchase", "refunded_minor", "external_no = 'A-2'", "refunds do not add up"),
            ("orders_purchase_line", "paid_minor", "paid_minor = 26800", "its lines do not add up to it"),
            ("orders_purchase_line", "points", "paid_minor = 26800", "its lines do not add up to it"),
            ("orders_purchase_line", "refunded_minor", "paid_minor = 26800", "its lines do not add up to it"),
            ("orders_refund", "amount_minor", "external_no = 'A-2-R'", "refunds do not add up"),
            ("orders_refund", "amount_minor", "external_no = 'C-1-R'", "refunds do not add up"),
        ] {
            shop.tamper(&format!("UPDATE {table} SET {column} = {column} + 1 WHERE {row}")).await;
            shop.assert_found(named).await;
            let back = row.replace("= 26800", if column == "paid_minor" { "= 26801" } else { "= 26800" });
            shop.tamper(&format!("UPDATE {table} SET {column} = {column} - 1 WHERE {back}")).await;
            shop.assert_proven().await;
        }
        // Purchase and line edited to agree with each other: what counts for the tier gives it away.
        shop.tamper("UPDATE orders_purchase SET paid_minor = paid_minor + 1 WHERE external_no = 'B-1'").await;
        shop.tamper("UPDATE orders_purchase_line SET paid_minor = paid_minor + 1 WHERE purchase_id IN \
             (SELECT purchase_id FROM orders_purchase WHERE external_no = 'B-1')").await;
        shop.assert_found("a net spend of 10000 counts for the tier, purchases less refunds give 10001").await;
    }

    async fn points_that_were_never_posted_are_found(cx) {
        let shop = Shop::open(cx).await;
        history(&shop).await;
        // Purchase and line edited to agree with each other.
        let of_purchase = "purchase_id IN (SELECT purchase_id FROM orders_purchase WHERE external_no = 'B-1')";
        shop.tamper("UPDATE orders_purchase SET points = points + 1 WHERE external_no = 'B-1'").await;
        shop.tamper(&format!("UPDATE orders_purchase_line SET points = points + 1 WHERE {of_purchase}")).await;
        shop.assert_found("it says 101 points, its posting moved 100").await;
        shop.tamper("UPDATE orders_purchase SET points = points - 1 WHERE external_no = 'B-1'").await;
        shop.tamper(&format!("UPDATE orders_purchase_line SET points = points - 1 WHERE {of_purchase}")).await;
        shop.assert_proven().await;
        shop.tamper("UPDATE orders_refund SET points = points - 1 WHERE external_no = 'A-2-R'").await;
        shop.assert_found("it says -24 points, its posting moved -25").await;
    }

    async fn lines_of_refunds_that_do_not_add_up_are_found(cx) {
        let shop = Shop::open(cx).await;
        history(&shop).await;
        shop.tamper("UPDATE orders_refund_line SET amount_minor = amount_minor + 1 WHERE amount_minor = 2500").await;
        shop.assert_found("the refunds of a line do not add up to what was refunded of it").await;
        shop.assert_found("its lines do not add up to it").await;
        shop.tamper("DELETE FROM orders_refund_line WHERE amount_minor = 2501").await;
        shop.assert_found("its lines do not add up to it").await;
    }

    async fn lines_that_are_gone_are_found(cx) {
        let shop = Shop::open(cx).await;
        history(&shop).await;
        shop.tamper("DELETE FROM orders_purchase_line WHERE paid_minor = 10000 AND refunded_minor = 0").await;
        shop.assert_found("its lines do not add up to it").await;
    }

    async fn many_members_are_checked_page_by_page(cx) {
        let shop = Shop::open(cx).await;
        let mut last = None;
        // More than a page of 200; the one whose purchase is edited lies beyond the first.
        for number in 0..205 {
            let member = shop.member(number).await;
            shop.buy(member, &format!("A-{number}"), &[100]).await;
            last = last.max(Some(member));
        }
        shop.refund("A-7", "R-7", Rest).await.unwrap();
        shop.assert_proven().await;
        let last = last.unwrap();
        shop.tamper(&format!("UPDATE orders_purchase SET posting_id = 1 WHERE member_id = {}", last.as_i64())).await;
        shop.assert_found(&last.to_string()).await;
    }
}
