//! Imports that are stopped, cut off or run twice: the numbers in the end are those of one quiet import.

use std::{fmt::Write as _, path::Path};

use futures::future::{join, join_all};
use huika_core::Refusal as _;
use huika_ledger::Asset;
use huika_orders::{
    ImportFormat::{self, Csv, Jsonl, OnlineRetail},
    ImportSummary, MemberRef, OrdersError,
    RefundedPart::Rest,
};
use huika_testing::TestDb;
use tokio::sync::Notify;

use crate::{
    file::{Folder, figures, gzipped, options},
    shop::{Shop, code, key, migrations, sale},
};

/// 700 documents of 20 customers and of nobody, with refunds and bad rows among them.
fn till() -> String {
    let mut rows = "kind,order_no,refund_of,customer_no,at,amount\n".to_owned();
    for at in 0..700 {
        let customer = if at % 7 == 0 {
            String::new()
        } else {
            format!("C-{}", at % 20)
        };
        match at % 10 {
            // Linked to the purchase five rows before, and beyond what it cost.
            3 => writeln!(
                rows,
                "refund,R-{at},{},,2026-03-01T10:00:00Z,{}",
                at - 1,
                at % 3 + 1
            ),
            5 => writeln!(rows, "refund,R-{at},{},,2026-03-01T10:00:00Z,100000", at - 4),
            6 => writeln!(rows, "purchase,{at},,{customer},yesterday,20"),
            9 => writeln!(rows, "refund,R-{at},,{customer},2026-03-01T10:00:00Z,1.50"),
            _ => writeln!(
                rows,
                "purchase,{at},,{customer},2026-03-01T10:00:00Z,{}.99",
                20 + at % 50
            ),
        }
        .unwrap();
    }
    rows
}

/// Two days of 330 invoices each, more than a batch, with refunds and bad rows among them, and a day of three.
fn retail() -> String {
    let mut rows =
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n".to_owned();
    for day in 1..=2 {
        for at in 0..330 {
            let customer = if at % 4 == 0 {
                String::new()
            } else {
                format!("{}.0", 100 + at % 30)
            };
            let number = day * 1_000 + at;
            let (number, quantity, price) = match at % 11 {
                5 => (format!("C{number}"), "-1", "1.10"),
                7 => (number.to_string(), "1", "unknown"),
                _ => (number.to_string(), "2", "3.35"),
            };
            writeln!(
                rows,
                "{number},A,TEA,{quantity},2011-03-0{day} 10:00:00,{price},{customer},UK"
            )
            .unwrap();
        }
        // The first invoice of the day goes on at its end.
        writeln!(rows, "{},B,TEA,1,2011-03-0{day} 18:00:00,1.00,,UK", day * 1_000).unwrap();
    }
    for at in 0..3 {
        writeln!(rows, "{},A,TEA,1,2011-03-03 10:00:00,5.00,100.0,UK", 3_000 + at).unwrap();
    }
    rows
}

/// Everything that an import leaves behind, apart from ids and the order of members.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    documents: [i64; 6],
    import: Vec<(i64, i64, i64, i64)>,
    accounts: Vec<(i64, i64, i64, i64)>,
    report: huika_orders::Report,
}

impl Shop {
    async fn traces(&self) -> Traces {
        let mut documents = [0; 6];
        let tables = [
            "orders_purchase",
            "orders_purchase_line",
            "orders_refund",
            "orders_external_ref",
            "ledger_posting",
            "members_member",
        ];
        for (count, table) in documents.iter_mut().zip(tables) {
            *count = self.count(table).await;
        }
        let import = self
            .cx
            .fetch_all("SELECT rows_done, documents_done, rows_refused, state FROM orders_import")
            .await;
        let import = import.iter().map(|row| {
            let get = |column: &str| row.get::<i64>(column).unwrap();
            (
                get("rows_done"),
                get("documents_done"),
                get("rows_refused"),
                get("state"),
            )
        });
        let sql = format!(
            "SELECT available, pending, lifetime_in, asset FROM ledger_account WHERE asset IN ({}, {}) \
             ORDER BY asset, available, lifetime_in",
            Asset::Points.code(),
            Asset::Growth.code()
        );
        let accounts = self.cx.fetch_all(&sql).await;
        let accounts = accounts.iter().map(|row| {
            let get = |column: &str| row.get::<i64>(column).unwrap();
            (get("available"), get("pending"), get("lifetime_in"), get("asset"))
        });
        self.assert_proven().await;
        Traces {
            documents,
            import: import.collect(),
            accounts: accounts.collect(),
            report: self.report().await,
        }
    }

    /// Starts an import with connections of its own and drops it after so many batches, in the middle of the next
    /// one. True when it was finished before that.
    async fn import_dropped_after(&self, format: ImportFormat, path: &Path, batches: usize) -> bool {
        let dropped = Notify::new();
        let mut done = 0;
        let options = options(format, path);
        let node = self.another_node().await;
        let import = node.import(&self.owner, &options, |_| {
            done += 1;
            if done == batches {
                dropped.notify_one();
            }
        });
        tokio::select! {
            biased;
            () = dropped.notified() => false,
            finished = import => {
                finished.unwrap();
                true
            }
        }
    }
}

/// What a quiet import of the file on another fresh database leaves behind.
async fn quiet(like: &Shop, format: ImportFormat, path: &Path) -> (ImportSummary, Traces) {
    let cx = TestDb::open(like.db.engine()).await.unwrap();
    cx.migrate(&migrations()).await;
    let shop = open(cx, format).await;
    let summary = shop.import(format, path).await.unwrap();
    (summary, shop.traces().await)
}

async fn open(cx: TestDb, format: ImportFormat) -> Shop {
    if format == OnlineRetail {
        Shop::in_pounds(cx).await
    } else {
        Shop::open(cx).await
    }
}

async fn dropped_and_run_again(cx: TestDb, format: ImportFormat, name: &str, content: String) {
    let folder = Folder::new();
    let path = folder.file(name, content);
    let shop = open(cx, format).await;
    let (whole, expected) = quiet(&shop, format, &path).await;
    assert!(
        whole.documents_imported > 400 && whole.rows_refused > 50,
        "{:?}",
        figures(&whole)
    );

    // Dropped again and again, each time one batch later: a day that is larger than a batch begins anew.
    let mut drops = 0;
    while !shop.import_dropped_after(format, &path, 1 + drops).await {
        drops += 1;
        shop.assert_proven().await;
        assert!(drops < 20, "the import does not go on");
    }
    assert!(drops >= 2, "{drops}");
    assert_eq!(shop.traces().await, expected);
    let again = shop.import(format, &path).await.unwrap();
    assert_eq!(
        (again.documents_imported, again.rows_refused),
        (0, whole.rows_refused)
    );
    assert_eq!(shop.traces().await, expected);
}

huika_testing::db_test! { migrations = migrations,
    async fn an_import_of_our_csv_that_was_stopped_goes_on(cx) {
        dropped_and_run_again(cx, Csv, "till.csv", till()).await;
    }

    async fn an_import_of_a_history_that_was_stopped_within_a_day_goes_on(cx) {
        dropped_and_run_again(cx, OnlineRetail, "retail.csv", retail()).await;
    }

    async fn the_summary_of_a_resumed_import_counts_what_was_refused_before_as_well(cx) {
        let folder = Folder::new();
        let path = folder.file("till.csv", till());
        let shop = Shop::open(cx).await;
        let (whole, _) = quiet(&shop, Csv, &path).await;
        assert!(!shop.import_dropped_after(Csv, &path, 1).await);
        let before = shop.count("orders_external_ref").await;
        let rest = shop.import(Csv, &path).await.unwrap();
        assert_eq!((rest.rows_read, rest.documents_known), (whole.rows_read, 0));
        assert_eq!(rest.documents_imported, whole.documents_imported - before);
        assert_eq!(rest.rows_refused, whole.rows_refused);
        assert!(rest.refused.len() < whole.refused.len(), "it lists those of its own part");
    }

    async fn two_imports_of_one_file_at_once_import_it_once(cx) {
        let folder = Folder::new();
        let path = folder.file("till.csv", till());
        let shop = Shop::open(cx).await;
        let (_, expected) = quiet(&shop, Csv, &path).await;
        let other = shop.another_node().await;
        let their_options = options(Csv, &path);
        let (ours, theirs) =
            join(shop.import(Csv, &path), other.import(&shop.owner, &their_options, |_| ())).await;
        for answer in [&ours, &theirs] {
            if let Err(refused) = answer {
                assert_eq!(refused.problem().code, "orders.file_invalid", "{refused:?}");
            }
        }
        // Whoever was first, running it once more completes it.
        shop.import(Csv, &path).await.unwrap();
        assert_eq!(shop.traces().await, expected);
    }

    async fn a_file_that_breaks_off_is_imported_up_to_there(cx) {
        let folder = Folder::new();
        let shop = Shop::open(cx).await;
        let lines: String = (0..600)
            .map(|at| format!("{{\"kind\":\"purchase\",\"order_no\":\"{at}\",\"customer_no\":\"C-1\",\"at\":\"2026-03-01T10:00:00Z\",\"amount\":\"{}\"}}\n", at % 97))
            .collect();
        for (round, format, name, content) in
            [(1_i64, Csv, "till.csv.gz", till()), (2, Jsonl, "till.jsonl.gz", lines)]
        {
            let packed = gzipped(&content);
            let whole = folder.file(name, &packed);
            let torn = folder.file(&format!("torn-{name}"), &packed[..packed.len() * 2 / 3]);
            for _ in 0..2 {
                let refused = shop.import(format, &torn).await.unwrap_err();
                assert!(refused.to_string().contains("breaks off after row"), "{refused}");
                shop.assert_proven().await;
            }
            let kept = shop.count("orders_external_ref").await;
            assert!(kept > 0, "what came before the break is kept");

            let summary = shop.import(format, &whole).await.unwrap();
            assert!(summary.documents_known > 0 && summary.documents_imported > 0, "{:?}", figures(&summary));
            assert_eq!(shop.count("orders_external_ref").await - kept, summary.documents_imported);
            assert_eq!(shop.cx.count("SELECT COUNT(*) AS n FROM orders_import WHERE state = 2").await, round);
        }
        shop.assert_proven().await;
    }

    async fn a_day_at_which_a_file_breaks_off_is_left_out(cx) {
        let folder = Folder::new();
        let shop = Shop::in_pounds(cx).await;
        // Three days of two invoices each, less than a batch.
        let mut content = retail().lines().take(1).map(|header| format!("{header}\n")).collect::<String>();
        for at in 0..6 {
            let day = at / 2 + 1;
            writeln!(content, "{},A,TEA,1,2011-03-0{day} 10:00:00,5.00,100.0,UK", 1_000 * day + at).unwrap();
        }
        let packed = gzipped(&content);
        let torn = folder.file("torn.csv.gz", &packed[..packed.len() - 8]);
        assert_eq!(code(shop.import(OnlineRetail, &torn).await), "orders.file_invalid");
        // The last day may be incomplete, the days before it are not.
        let numbers = shop.cx.fetch_all("SELECT external_no FROM orders_purchase ORDER BY external_no").await;
        let numbers: Vec<String> = numbers.iter().map(|row| row.get("external_no").unwrap()).collect();
        assert_eq!(numbers, ["1000", "1001", "2002", "2003"]);
        let summary = shop.import(OnlineRetail, &folder.file("whole.csv", content)).await.unwrap();
        assert_eq!(figures(&summary), (6, 2, 4, 0));
        shop.assert_proven().await;
    }

    /// While the shop imports, tills go on recording and refunding, also what the file holds.
    async fn an_import_beside_the_tills_loses_nothing(cx) {
        let folder = Folder::new();
        let shop = Shop::open(cx).await;
        let mut rows = "kind,order_no,refund_of,customer_no,at,amount\n".to_owned();
        for at in 0..150 {
            writeln!(rows, "purchase,F-{at},,customer-{},2026-03-01T10:00:00Z,10", at % 5).unwrap();
        }
        for at in (0..150).rev() {
            writeln!(rows, "refund,FR-{at},F-{at},,2026-03-02T10:00:00Z,10").unwrap();
        }
        for at in 0..150 {
            writeln!(rows, "refund,TR-{at},T-{at},,2026-11-21T02:00:00Z,10").unwrap();
        }
        let path = folder.file("till.csv", rows);
        let mut members = Vec::new();
        for number in 0..5 {
            members.push(shop.member(number).await);
        }
        for at in 0..150 {
            shop.buy(members[at % 5], &format!("T-{at}"), &[600, 400]).await;
        }
        // The file belongs to the tills' own system.
        let import_options = huika_orders::ImportOptions { source: "pos".parse().unwrap(), ..options(Csv, &path) };
        let import = shop.orders.import(&shop.owner, &import_options, |_| ());
        let numbers: Vec<(String, String)> = (0..150).map(|at| (format!("T-{at}"), format!("TR2-{at}"))).collect();
        let tills = join_all((0..5).map(|till| {
            let (shop, members, numbers) = (&shop, &members, &numbers);
            async move {
                for at in (till..150).step_by(5) {
                    let bought = sale(MemberRef::Id(members[(at + 2) % 5]), &format!("N-{at}"), &[1_000], shop.now());
                    shop.take(bought).await.unwrap();
                    // Whoever comes first refunds the purchase: the file or the till, never both.
                    let (purchase_no, refund_no) = &numbers[149 - at];
                    match shop.refund(purchase_no, refund_no, Rest).await {
                        Ok(_) => {}
                        Err(OrdersError::NothingToRefund) => {}
                        Err(refused) => panic!("{refused:?}"),
                    }
                }
            }
        }));
        let (summary, _) = join(import, tills).await;
        let summary = summary.unwrap();
        // What the file could not refund was refunded by a till; nothing was lost to a collision.
        for row in &summary.refused {
            assert_eq!(row.code, "orders.refund_exceeds", "{row:?}");
        }
        assert_eq!(summary.documents_imported + summary.rows_refused, 450);
        for member in members {
            // 30 new purchases of ¥10 each; everything else went back.
            assert_eq!(shop.amounts(member).await, (300, 0, 30_000));
        }
        shop.assert_proven().await;
    }

    async fn an_import_uses_no_key_of_a_till(cx) {
        let folder = Folder::new();
        let shop = Shop::open(cx).await;
        let path = folder.file("till.csv", "kind,order_no,customer_no,at,amount\npurchase,1,customer-1,2026-03-01T10:00:00Z,10\n");
        let import_options = huika_orders::ImportOptions { source: "pos".parse().unwrap(), ..options(Csv, &path) };
        shop.orders.import(&shop.owner, &import_options, |_| ()).await.unwrap();
        let member = shop.member(1).await;
        let bought = huika_orders::Intake { key: Some(key("1")), ..sale(MemberRef::Id(member), "2", &[1_000], shop.now()) };
        assert!(!shop.take(bought).await.unwrap().replayed);
        // The number is taken, whatever key comes with it.
        let copy = sale(MemberRef::Id(member), "1", &[1_000], shop.now());
        assert_eq!(code(shop.take(copy).await), "orders.order_conflict");
    }
}
