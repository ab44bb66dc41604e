//! The "Online Retail" history in miniature, with every trap of the real one.

use huika_core::Actor;
use huika_members::{ExternalIdentity, Identity};
use huika_orders::{ImportFormat::OnlineRetail, PurchaseView};

use crate::{
    file::{Folder, figures, gzipped, options, refused},
    shop::{Shop, code, migrations},
};

const HEADER: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";

/// Sixteen rows, eleven invoices. The line of a row in the file is its place here plus one, but for the last two,
/// which come after a description of two lines.
const HISTORY: &[u8] = b"\
536365,85123A,\"WHITE \"\"HEART\"\" HOLDER, SMALL\",6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom
536365,71053,WHITE METAL LANTERN,6,2010-12-01 08:26:00,3.39,17850.0,United Kingdom
536365,71053,WHITE METAL LANTERN,6,2010-12-01 08:26:00,3.39,17850.0,United Kingdom
C536379,D,Discount,-1,2010-12-01 09:41:00,27.50,14527.0,United Kingdom
536414,22139,,56,2010-12-01 11:52:00,0.0,,United Kingdom
536365,21730,GLASS STAR FROSTED T-LIGHT HOLDER,2,2010-12-01 12:00:00,4.25,17850.0,United Kingdom
536544,21773,\xa3 DECORATIVE ROSE\xff BATHROOM BOTTLE,1,2010-12-01 14:32:00,2.51,,United Kingdom
536589,21777,damaged,-10,2010-12-01 16:50:00,0.0,,United Kingdom
550193,PADS,PADS TO MATCH ALL CUSHIONS,1,2011-04-15 09:27:00,0.001,13952.0,United Kingdom
550193,21777,HALF A PENNY UP,3,2011-04-15 09:27:00,0.335,13952.0,United Kingdom
C550194,21777,HALF A PENNY UP,-1,2011-04-15 10:00:00,0.335,13952.0,United Kingdom
A563185,B,Adjust bad debt,1,2011-08-12 14:50:00,11062.06,,United Kingdom
A563186,B,Adjust bad debt,1,2011-08-12 14:51:00,-11062.05,,United Kingdom
563200,POST,\"TWO
LINES\",1,2011-08-12 15:00:00,18.00,17850.0,France
563201,M,Manual,1,2011-12-09 23:59:59,1000.00,12346.0,United Kingdom
C563202,M,Manual,-1,2011-12-09 23:59:59,1000.00,12346.0,United Kingdom
";

fn history(rows: impl AsRef<[u8]>) -> Vec<u8> {
    [HEADER.as_bytes(), rows.as_ref()].concat()
}

impl Shop {
    /// What a customer of the history has: available points and growth.
    async fn customer(&self, number: &str) -> (i64, i64) {
        let identity = Identity::External(ExternalIdentity::try_new("online-retail", number).unwrap());
        let member = self
            .members
            .find_by_identity(&self.owner, &identity)
            .await
            .unwrap()
            .id;
        let (available, pending, growth) = self.amounts(member).await;
        assert_eq!(pending, 0);
        (available, growth)
    }

    async fn invoice(&self, number: &str) -> PurchaseView {
        let (source, number) = ("online-retail".parse().unwrap(), number.parse().unwrap());
        self.orders
            .purchase_by_number(&self.owner, &source, &number)
            .await
            .unwrap()
    }
}

huika_testing::db_test! { migrations = migrations,
    async fn every_trap_of_the_history_is_counted_as_documented(cx) {
        let shop = Shop::in_pounds(cx).await;
        let folder = Folder::new();
        let summary = shop.import(OnlineRetail, &folder.file("history.csv", history(HISTORY))).await.unwrap();
        assert_eq!((figures(&summary), summary.finished_before), ((16, 12, 0, 0), false));

        let report = shop.report().await;
        assert_eq!(report.rows_read, 16);
        assert_eq!((report.invoices, report.sales, report.cancellations, report.adjustments), (12, 7, 3, 2));
        // 15.30 + 20.34 + 20.34 + 8.50; -27.50; 0; 2.51; 0; 0.00 + 1.01; -0.34; 11062.06 - 11062.05; 18; 1000 - 1000.
        let of_members = 6_448 - 2_750 + 101 - 34 + 1_800;
        assert_eq!((report.net_minor, report.net_of_members_minor), (of_members + 251 + 1, of_members));
        assert_eq!(report.net, "£58.17");
        assert_eq!((report.members_with_purchases, report.buyers, report.repeat_buyers), (4, 3, 1));
        shop.assert_proven().await;
    }

    async fn an_invoice_that_reappears_later_the_same_day_is_one_purchase(cx) {
        let shop = Shop::in_pounds(cx).await;
        let folder = Folder::new();
        shop.import(OnlineRetail, &folder.file("history.csv", history(HISTORY))).await.unwrap();
        let invoice = shop.invoice("536365").await;
        let lines: Vec<(&str, i64)> = invoice.lines.iter().map(|line| (line.sku.as_str(), line.paid_minor)).collect();
        // Two exact copies are two lines.
        assert_eq!(lines, [("85123A", 1_530), ("71053", 2_034), ("71053", 2_034), ("21730", 850)]);
        assert_eq!((invoice.paid_minor, invoice.placed_at.to_string().as_str()), (6_448, "2010-12-01T08:26:00.000Z"));
        assert_eq!(invoice.lines[0].name, "WHITE \"HEART\" HOLDER, SMALL");
        // Odd bytes are replaced and keep nothing from being imported; so is the line break.
        assert_eq!(shop.invoice("536544").await.lines[0].name, "\u{fffd} DECORATIVE ROSE\u{fffd} BATHROOM BOTTLE");
        assert_eq!(shop.invoice("563200").await.lines[0].name, "TWO LINES");
        // In summer London's clock is an hour ahead of UTC.
        assert_eq!(shop.invoice("563200").await.placed_at.to_string(), "2011-08-12T14:00:00.000Z");
    }

    async fn customers_become_members_and_the_shops_own_entries_do_not(cx) {
        let shop = Shop::in_pounds(cx).await;
        let folder = Folder::new();
        shop.import(OnlineRetail, &folder.file("history.csv", history(HISTORY))).await.unwrap();
        assert_eq!(shop.members.count().await.unwrap(), 4);
        // Points of 2010 and 2011 expired long ago and leave no debt; net spend counts for ever.
        assert_eq!(shop.customer("17850").await, (0, 8_248));
        assert_eq!(shop.customer("14527").await, (0, -2_750));
        assert_eq!(shop.customer("13952").await, (0, 67));
        assert_eq!(shop.customer("12346").await, (0, 0));
        // An adjustment is nobody's, earns nothing and may be negative.
        let adjustment = shop.invoice("A563186").await;
        assert_eq!((adjustment.member_id, adjustment.paid_minor, adjustment.points), (None, -1_106_205, 0));
    }

    async fn a_gzipped_history_is_the_same_history(cx) {
        let shop = Shop::in_pounds(cx).await;
        let folder = Folder::new();
        let plain = folder.file("history.csv", history(HISTORY));
        let packed = folder.file("history.csv.gz", gzipped(history(HISTORY)));
        assert_eq!(figures(&shop.import(OnlineRetail, &packed).await.unwrap()), (16, 12, 0, 0));
        let report = shop.report().await;

        // The same file again, and the same documents in another file.
        let again = shop.import(OnlineRetail, &packed).await.unwrap();
        assert_eq!((figures(&again), again.finished_before), ((16, 0, 0, 0), true));
        let other = shop.import(OnlineRetail, &plain).await.unwrap();
        assert_eq!((figures(&other), other.finished_before), ((16, 0, 12, 0), false));
        assert_eq!(shop.report().await.net_minor, report.net_minor);
        assert_eq!(shop.report().await.invoices, report.invoices);
        shop.assert_proven().await;
    }

    async fn a_bad_row_refuses_its_invoice_with_its_line_and_no_other(cx) {
        let shop = Shop::in_pounds(cx).await;
        let folder = Folder::new();
        let rows = [
            // Lines 2 to 4: a bad quantity in the middle of an invoice.
            "1001,A,TEA,1,2011-03-01 10:00:00,1.00,100.0,UK",
            "1001,B,TEA,one,2011-03-01 10:00:00,1.00,100.0,UK",
            "1001,C,TEA,1,2011-03-01 10:00:00,1.00,100.0,UK",
            "1002,A,TEA,1,2011-03-01 10:01:00,1.00,100.0,UK",
            // Line 6: too few columns. Line 7: too many.
            "1003,A,TEA,1",
            "1004,A,TEA, GREEN,1,2011-03-01 10:02:00,1.00,100.0,UK",
            // Lines 8 to 10: a bad date in the middle of an invoice, which must not tear it apart.
            "1005,A,TEA,1,2011-03-01 10:03:00,1.00,100.0,UK",
            "1005,B,TEA,1,01/03/2011 10:03,1.00,100.0,UK",
            "1005,C,TEA,1,2011-03-01 10:03:00,1.00,100.0,UK",
            "1006,A,TEA,1,2011-03-01 10:04:00,1.00,100.0,UK",
            // Line 12: a bad price. Line 13: a customer that is no number. Line 14: a date that does not exist.
            "1007,A,TEA,1,2011-03-01 10:05:00,cheap,100.0,UK",
            "1008,A,TEA,1,2011-03-01 10:06:00,1.00,Mr Smith,UK",
            "1009,A,TEA,1,2011-02-30 10:07:00,1.00,100.0,UK",
            // Lines 15 and 16: two customers on one invoice.
            "1010,A,TEA,1,2011-03-01 10:08:00,1.00,100.0,UK",
            "1010,B,TEA,1,2011-03-01 10:08:00,1.00,101.0,UK",
            // Line 17: a number with a space. Line 18: a sale below zero. Line 19: an amount beyond all bounds.
            "10 11,A,TEA,1,2011-03-01 10:09:00,1.00,100.0,UK",
            "1012,A,TEA,-1,2011-03-01 10:10:00,1.00,100.0,UK",
            "1013,A,TEA,9000000000000000000,2011-03-01 10:11:00,99999999.99,100.0,UK",
            // Lines 20 and 21: the first row of a day is the bad one.
            "1014,A,TEA,1,tomorrow,1.00,100.0,UK",
            "1014,B,TEA,1,2011-03-02 10:00:00,1.00,100.0,UK",
            // Line 22: a date in the future. Line 23: nothing at all.
            "1015,A,TEA,1,2031-03-02 10:00:00,1.00,100.0,UK",
            ",,,,,,,",
            "1016,A,TEA,1,2031-03-02 10:00:00,1.00,100.0,UK",
            "1017,A,TEA,1,2011-03-03 10:00:00,1.00,100.0,UK",
        ];
        let summary =
            shop.import(OnlineRetail, &folder.file("bad.csv", history(rows.join("\n")))).await.unwrap();
        let row = "orders.row_invalid";
        let expected = [
            (3, row),
            (6, row),
            (7, row),
            (9, row),
            (12, row),
            (13, row),
            (14, row),
            (15, row),
            (17, row),
            (18, "orders.amount_invalid"),
            (19, row),
            (20, row),
            (22, "orders.time_in_future"),
            (23, row),
            (24, "orders.time_in_future"),
        ];
        assert_eq!(refused(&summary), expected);
        // 1002, 1006 and 1017 are good.
        assert_eq!(figures(&summary), (24, 3, 0, 21));
        assert_eq!(shop.customer("100").await, (0, 300));
        assert_eq!(shop.count("orders_purchase_line").await, 3);
        let texts: Vec<&str> = summary.refused.iter().map(|row| row.en.as_str()).collect();
        assert!(texts.contains(&"line 3: Quantity \"one\" is not valid"), "{texts:#?}");
        shop.assert_proven().await;
    }

    async fn a_file_of_another_kind_is_refused_as_a_whole(cx) {
        let shop = Shop::in_pounds(cx).await;
        let folder = Folder::new();
        for (name, content) in [
            ("empty.csv", Vec::new()),
            ("other.csv", b"kind,order_no,at,amount\npurchase,1,2011-03-01T10:00:00Z,1\n".to_vec()),
            ("order.csv", b"InvoiceNo,Description,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n".to_vec()),
            ("plain.csv.gz", history(HISTORY)),
        ] {
            let refused = shop.import(OnlineRetail, &folder.file(name, content)).await;
            assert_eq!(code(refused), "orders.file_invalid", "{name}");
        }
        assert_eq!(code(shop.import(OnlineRetail, &folder.path("missing.csv")).await), "orders.file_invalid");
        assert_eq!(shop.count("orders_purchase").await, 0);
        // A header alone is a history of nothing.
        let summary = shop.import(OnlineRetail, &folder.file("header.csv", HEADER)).await.unwrap();
        assert_eq!(figures(&summary), (0, 0, 0, 0));
    }

    async fn an_import_needs_the_currency_of_the_programme_and_both_rights(cx) {
        let shop = Shop::open(cx).await;
        let folder = Folder::new();
        let path = folder.file("history.csv", history(HISTORY));
        assert_eq!(code(shop.import(OnlineRetail, &path).await), "orders.currency_mismatch");
        for right in ["orders.record", "orders.refund"] {
            let half = Actor::with_rights("opr_half", [right.to_owned()]);
            let refused = shop.orders.import(&half, &options(OnlineRetail, &path), |_| ()).await;
            assert_eq!(code(refused), "access.denied");
        }
        assert_eq!(shop.count("orders_import").await, 0);
    }
}
