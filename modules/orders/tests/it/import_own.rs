//! Our own formats, as docs/guides/import.md describes them.

use huika_members::{ExternalIdentity, Identity};
use huika_orders::{
    ImportFormat::{self, Csv, Jsonl},
    ImportSummary,
};

use crate::{
    file::{Folder, figures, gzipped, refused},
    shop::{Shop, code, migrations, phone},
};

const GUIDE: &str = include_str!("../../../../docs/guides/import.md");
const HEADER: &str = "kind,order_no,refund_of,customer_no,phone,at,sku,name,quantity,amount\n";

impl Shop {
    async fn import_rows(&self, rows: &[&str]) -> ImportSummary {
        let folder = Folder::new();
        self.import(
            Csv,
            &folder.file("rows.csv", HEADER.to_owned() + &rows.join("\n")),
        )
        .await
        .unwrap()
    }

    async fn import_lines(&self, lines: &[&str]) -> ImportSummary {
        let folder = Folder::new();
        self.import(Jsonl, &folder.file("lines.jsonl", lines.join("\n")))
            .await
            .unwrap()
    }

    /// What the holder of a name has: available points and growth.
    async fn account(&self, identity: Identity) -> (i64, i64) {
        let member = self
            .members
            .find_by_identity(&self.owner, &identity)
            .await
            .unwrap()
            .id;
        let (available, _, growth) = self.amounts(member).await;
        (available, growth)
    }
}

fn customer(number: &str) -> Identity {
    Identity::External(ExternalIdentity::try_new("till", number).unwrap())
}

/// A worked example of the guide: the file, its refusals, and the text that promises the rest.
struct Example {
    format: ImportFormat,
    content: String,
    refusals: String,
    promise: String,
}

fn example(format: ImportFormat) -> Example {
    let (_, from) = GUIDE.split_once(&format!("```{}\n", format.name())).unwrap();
    let (content, after) = from.split_once("```\n").unwrap();
    let (before, after) = after.split_once("```text\n").unwrap();
    let (refusals, after) = after.split_once("```\n").unwrap();
    let (promise, _) = after.split_once("\n#").unwrap();
    Example {
        format,
        content: content.to_owned(),
        refusals: refusals.to_owned(),
        promise: format!("{before}{promise}"),
    }
}

huika_testing::db_test! { migrations = migrations,
    /// Every number of the guide is what comes out.
    async fn the_examples_of_the_guide_hold(cx) {
        let shop = Shop::open(cx).await;
        let folder = Folder::new();
        for (name, example) in [("day-1.csv", example(Csv)), ("day-2.jsonl", example(Jsonl))] {
            let path = folder.file(name, &example.content);
            let summary = shop.import(example.format, &path).await.unwrap();
            let (read, imported, known, rows_refused) = figures(&summary);
            let told: String = refused(&summary).iter().map(|(line, code)| format!("{line} {code}\n")).collect();
            assert_eq!((told.as_str(), known), (example.refusals.as_str(), 0), "{name}: {:#?}", summary.refused);
            let rows = if rows_refused == 1 { "1 row is refused" } else { &format!("{rows_refused} rows are refused") };
            let promised = format!("It is read as {read} rows. {imported} documents are imported, and {rows}:");
            assert!(example.promise.contains(&promised), "{promised}");
            for number in ["C-17", "C-18"] {
                let (points, growth) = shop.account(customer(number)).await;
                let promised = format!("{number} has {points} points and {growth} growth");
                assert!(example.promise.contains(&promised), "{promised}");
            }
        }
        // The phone of the first purchase became the member's.
        let by_phone = shop.account(Identity::Phone("13800138000".parse().unwrap())).await;
        assert_eq!(by_phone, shop.account(customer("C-17")).await);
        shop.assert_proven().await;
    }

    async fn what_a_file_says_is_what_is_stored(cx) {
        let shop = Shop::open(cx).await;
        let folder = Folder::new();
        shop.import(Csv, &folder.file("day.csv.gz", gzipped(example(Csv).content))).await.unwrap();
        let (source, number) = ("till".parse().unwrap(), "1001".parse().unwrap());
        let view = shop.orders.purchase_by_number(&shop.owner, &source, &number).await.unwrap();
        assert_eq!((view.channel.as_str(), view.store_code.as_deref()), ("pos", Some("SH-001")));
        assert_eq!(view.placed_at.to_string(), "2026-03-01T02:00:00.000Z");
        assert_eq!((view.paid_minor, view.refunded_minor, view.points), (26_800, 10_000, 268));
        let lines: Vec<_> = view
            .lines
            .iter()
            .map(|line| (line.sku.as_str(), line.name.as_str(), line.category.as_deref(), line.quantity, line.paid_minor))
            .collect();
        let expected = [
            ("LATTE-L", "大杯拿铁", Some("coffee"), 2, 6_800),
            ("CAKE", "Cake, \"Opera\"", Some("food"), 1, 20_000),
        ];
        assert_eq!(lines, expected);
    }

    async fn a_second_import_changes_nothing(cx) {
        let shop = Shop::open(cx).await;
        let folder = Folder::new();
        let (first, second) = (example(Csv).content, example(Jsonl).content);
        shop.import(Csv, &folder.file("day.csv", &first)).await.unwrap();
        shop.import(Jsonl, &folder.file("day.jsonl", &second)).await.unwrap();
        let before = shop.report().await;

        let again = shop.import(Csv, &folder.path("day.csv")).await.unwrap();
        // Rows were refused: they have another chance, and are reported again where nothing has changed.
        assert_eq!((again.finished_before, figures(&again)), (false, (7, 0, 4, 2)));
        assert_eq!(refused(&again).len(), 2);
        // Packed it is another file of the same documents.
        for (name, format, content, known) in
            [("day.csv.gz", Csv, &first, 4), ("day.jsonl.gz", Jsonl, &second, 3)]
        {
            let again = shop.import(format, &folder.file(name, gzipped(content))).await.unwrap();
            assert_eq!((again.documents_imported, again.documents_known), (0, known), "{name}");
        }
        let after = shop.report().await;
        assert_eq!(huika_orders::Report { rows_read: before.rows_read, ..after }, before);
        shop.assert_proven().await;
    }

    async fn rows_that_were_refused_are_taken_in_once_nothing_stands_in_their_way(cx) {
        let shop = Shop::open(cx).await;
        let folder = Folder::new();
        let refund = "kind,order_no,refund_of,at,amount\nrefund,R-1,1,2026-03-02T10:00:00Z,4\n";
        let path = folder.file("refunds.csv", refund);
        let before = shop.import(Csv, &path).await.unwrap();
        assert_eq!((figures(&before), refused(&before)), ((1, 0, 0, 1), vec![(2, "orders.purchase_not_found")]));
        shop.import_rows(&["purchase,1,,C-1,,2026-03-01T10:00:00Z,A,Tea,1,10"]).await;
        let after = shop.import(Csv, &path).await.unwrap();
        assert_eq!((figures(&after), after.finished_before), ((1, 1, 0, 0), false));
        let done = shop.import(Csv, &path).await.unwrap();
        assert_eq!((figures(&done), done.finished_before), ((1, 0, 0, 0), true));
        assert_eq!(shop.account(customer("C-1")).await, (6, 600));
        shop.assert_proven().await;
    }

    async fn each_run_of_an_import_is_on_record(cx) {
        let shop = Shop::open(cx).await;
        shop.import_rows(&["purchase,1,,C-1,,2026-03-01T10:00:00Z,A,Tea,1,10"]).await;
        shop.import_rows(&["purchase,1,,C-1,,2026-03-01T10:00:00Z,A,Tea,1,10"]).await;
        let audit = huika_db::audit::list_audit(&mut &shop.db, None, 10).await.unwrap();
        let imports: Vec<_> = audit.iter().filter(|entry| entry.action == "orders.import").collect();
        assert_eq!(imports.len(), 1, "the second run had nothing to do");
        assert_eq!((imports[0].subject.as_str(), &imports[0].detail["format"]), ("till", &"csv".into()));
    }

    async fn a_changed_document_is_refused_and_leaves_the_first_one(cx) {
        let shop = Shop::open(cx).await;
        shop.import_rows(&["purchase,1,,C-1,,2026-03-01T10:00:00+08:00,A,Tea,1,10"]).await;
        let with_store = "kind,order_no,customer_no,at,sku,name,quantity,amount,channel,store,payment_method\n\
            purchase,1,C-1,2026-03-01T10:00:00+08:00,A,Tea,1,10,";
        let folder = Folder::new();
        for told in ["pos,,", ",SH-1,", ",,cash"] {
            let path = folder.file("told.csv", format!("{with_store}{told}\n"));
            let summary = shop.import(Csv, &path).await.unwrap();
            assert_eq!(refused(&summary), [(2, "orders.order_conflict")], "{told}");
        }
        for changed in [
            "purchase,1,,C-1,,2026-03-01T10:00:00+08:00,A,Tea,1,10.01",
            "purchase,1,,C-2,,2026-03-01T10:00:00+08:00,A,Tea,1,10",
            "purchase,1,,C-1,,2026-03-01T10:00:01+08:00,A,Tea,1,10",
            "purchase,1,,C-1,,2026-03-01T10:00:00+08:00,A,Tea,2,10",
            "purchase,1,,,,2026-03-01T10:00:00+08:00,A,Tea,1,10",
        ] {
            let summary = shop.import_rows(&[changed]).await;
            assert_eq!(refused(&summary), [(2, "orders.order_conflict")], "{changed}");
        }
        assert_eq!(shop.account(customer("C-1")).await, (10, 1_000));
        shop.assert_proven().await;
    }

    async fn a_bad_row_refuses_its_document_and_no_other(cx) {
        let shop = Shop::open(cx).await;
        let long_number = format!("purchase,{},,C-1,,2026-03-01T10:00:00Z,A,Tea,1,10", "9".repeat(65));
        let rows = [
            "purchase,1,,C-1,,2026-03-01T10:00:00Z,A,Tea,1,10",
            // Lines 3 to 5: the row in the middle takes the whole document with it.
            "purchase,2,,C-1,,2026-03-01T10:00:00Z,A,Tea,1,10",
            "purchase,2,,C-1,,2026-03-01T10:00:00Z,A,Tea,half,10",
            "purchase,2,,C-1,,2026-03-01T10:00:00Z,A,Tea,1,10",
            "purchase,3,,C-1,,2026-03-01T10:00:00Z,A,Tea,1,10",
            // Lines 7 and 8: rows of one document that do not belong to one customer.
            "purchase,4,,C-1,,2026-03-01T10:00:00Z,A,Tea,1,10",
            "purchase,4,,C-2,,2026-03-01T10:00:00Z,A,Tea,1,10",
            // Lines 9 to 18: one fault each.
            "gift,5,,C-1,,2026-03-01T10:00:00Z,A,Tea,1,10",
            "purchase,,,C-1,,2026-03-01T10:00:00Z,A,Tea,1,10",
            "purchase,6,,C-1,,2026-03-01 10:00,A,Tea,1,10",
            "purchase,7,,C-1,,2026-02-30T10:00:00Z,A,Tea,1,10",
            "purchase,8,,C-1,,2026-03-01T10:00:00Z,A,Tea,1,10.001",
            "purchase,9,,C-1,,2026-03-01T10:00:00Z,A,Tea,1,ten",
            "purchase,10,,C-1,,2026-03-01T10:00:00Z,A,Tea,1,",
            "purchase,11,,C-1,,2026-03-01T10:00:00Z,A,Tea,0,10",
            "purchase,12,,C 1,,2026-03-01T10:00:00Z,A,Tea,1,10",
            "purchase,13,,,12345,2026-03-01T10:00:00Z,A,Tea,1,10",
            // Lines 19 to 23.
            long_number.as_str(),
            "purchase,14,,C-1,,2026-03-01T10:00:00Z,A,Tea, green,1,10",
            "purchase,15,,C-1,,2026-03-01T10:00:00Z,A,Tea,1",
            "purchase,16,,C-9,,2026-03-01T10:00:00Z,A,Tea,1,-10",
            "purchase,17,,C-9,,2031-03-01T10:00:00Z,A,Tea,1,10",
            // Lines 24 to 27: refunds of nothing, of too much, of the future; the last is good.
            "refund,R-1,99,C-1,,2026-03-01T11:00:00Z,,,,1",
            "refund,R-2,1,C-1,,2026-03-01T11:00:00Z,,,,10.01",
            "refund,R-3,1,C-1,,2031-03-01T11:00:00Z,,,,1",
            "refund,R-4,1,C-1,,2026-03-01T11:00:00Z,,,,4",
            // Lines 28 to 30.
            "purchase,18,19,C-1,,2026-03-01T10:00:00Z,A,Tea,1,10",
            "purchase,19,,C-1,,2026-03-01T10:00:00Z,A,Tea,1,99999999999999999999",
            "purchase,20,,C-1,,2026-03-01T10:00:00Z,A,Tea,1,10",
        ];
        let summary = shop.import_rows(&rows).await;
        let row = "orders.row_invalid";
        let expected = [
            (4, row),
            (8, row),
            (9, row),
            (10, row),
            (11, row),
            (12, row),
            (13, row),
            (14, row),
            (15, row),
            (16, row),
            (17, "members.external_invalid"),
            (18, "members.phone_invalid"),
            (19, row),
            (20, row),
            (21, row),
            (22, "orders.amount_invalid"),
            (23, "orders.time_in_future"),
            (24, "orders.purchase_not_found"),
            (25, "orders.refund_exceeds"),
            (26, "orders.time_in_future"),
            (28, row),
            (29, row),
        ];
        assert_eq!(refused(&summary), expected, "{:#?}", summary.refused);
        // Orders 1, 3 and 20, and refund R-4.
        assert_eq!(figures(&summary), (29, 4, 0, 25));
        assert_eq!(shop.account(customer("C-1")).await, (26, 2_600));
        assert_eq!(shop.members.count().await.unwrap(), 1, "nobody joins by a bad row");
        shop.assert_proven().await;
    }

    async fn a_quote_that_is_not_closed_spoils_its_own_line_alone(cx) {
        let shop = Shop::open(cx).await;
        let mut rows = vec![r#"purchase,1,,C-1,,2026-03-01T10:00:00Z,A,"Tea,1,10"#.to_owned()];
        rows.extend((2..9).map(|at| format!("purchase,{at},,C-1,,2026-03-01T10:00:00Z,A,Tea,1,10")));
        rows.push(r#"purchase,9,,C-1,,2026-03-01T10:00:00Z,A,"Cake",1,99"#.to_owned());
        // The last column is the amount: nothing is missing behind its quote.
        rows.push(r#"purchase,10,,C-1,,2026-03-01T10:00:00Z,A,Tea,1,"10"#.to_owned());
        // Lines 12 and 13: a text over two lines. Line 14 is empty, line 15 longer than any record.
        rows.push("purchase,11,,C-1,,2026-03-01T10:00:00Z,A,\"Tea\ngreen\",1,10\n".to_owned());
        rows.push("9".repeat(1_100_000));
        rows.push(r#"purchase,12,,C-1,,2026-03-01T10:00:00Z,A,"Tea, ""green""",1,10"#.to_owned());
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let summary = shop.import_rows(&rows).await;
        let row = "orders.row_invalid";
        assert_eq!(refused(&summary), [(2, row), (11, row), (12, row), (13, row)], "{:#?}", summary.refused);
        assert_eq!(figures(&summary), (14, 9, 0, 5));
        assert_eq!(shop.account(customer("C-1")).await, (179, 17_900));
        shop.assert_proven().await;
    }

    /// A broken line without a number may belong to the document before it, which would else miss an amount.
    async fn a_line_without_a_number_takes_the_document_before_it_along(cx) {
        let shop = Shop::open(cx).await;
        let folder = Folder::new();
        let content = "name,kind,order_no,customer_no,at,amount\n\
            Tea,purchase,1,C-1,2026-03-01T10:00:00Z,10\n\
            \"Cake,purchase,1,C-1,2026-03-01T10:00:00Z,20\n\
            Mug,purchase,1,C-1,2026-03-01T10:00:00Z,30\n\
            Tea,purchase,2,C-1,2026-03-01T10:00:00Z,40\n";
        let summary = shop.import(Csv, &folder.file("rows.csv", content)).await.unwrap();
        assert_eq!((refused(&summary), figures(&summary)), (vec![(3, "orders.row_invalid")], (4, 1, 0, 3)));
        assert_eq!(shop.account(customer("C-1")).await, (40, 4_000));
    }

    async fn a_document_has_at_most_five_hundred_lines(cx) {
        let shop = Shop::open(cx).await;
        let rows: Vec<String> = [("1", 500), ("2", 501), ("3", 1)]
            .into_iter()
            .flat_map(|(number, lines)| {
                vec![format!("purchase,{number},,C-1,,2026-03-01T10:00:00Z,A,Tea,1,1"); lines]
            })
            .collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let summary = shop.import_rows(&rows).await;
        assert_eq!(refused(&summary), [(1_002, "orders.row_invalid")]);
        assert_eq!(figures(&summary), (1_002, 2, 0, 501));
        let lines = vec![r#"{"quantity":1,"amount":"1"}"#; 501].join(",");
        let document = format!(r#"{{"kind":"purchase","order_no":"4","at":"2026-03-01T10:00:00Z","lines":[{lines}]}}"#);
        assert_eq!(refused(&shop.import_lines(&[&document]).await), [(1, "orders.row_invalid")]);
        assert_eq!(shop.account(customer("C-1")).await, (501, 50_100));
    }

    async fn documents_are_settled_in_the_order_of_the_file(cx) {
        let shop = Shop::open(cx).await;
        let summary = shop
            .import_rows(&[
                "purchase,1,,C-1,,2026-03-01T10:00:00Z,A,Tea,1,900",
                "refund,R-1,1,,,2026-03-01T11:00:00Z,,,,900",
                "purchase,2,,C-1,,2026-03-01T12:00:00Z,A,Tea,1,200",
                // A refund before its purchase, which follows in the same batch.
                "refund,R-2,3,,,2026-03-01T13:00:00Z,,,,1",
                "purchase,3,,C-1,,2026-03-01T12:00:00Z,A,Tea,1,10",
            ])
            .await;
        assert_eq!(refused(&summary), [(5, "orders.purchase_not_found")]);
        assert_eq!(shop.account(customer("C-1")).await, (210, 21_000));
        assert_eq!(shop.count("loyalty_tier_change").await, 0, "¥1,100 were never spent");
        shop.assert_proven().await;
    }

    async fn bad_lines_of_json_are_refused_one_by_one(cx) {
        let shop = Shop::open(cx).await;
        let long = format!(r#"{{"kind":"purchase","order_no":"2","at":"2026-03-01T10:00:00Z","amount":"{}"}}"#, "1".repeat(1 << 20));
        let lines = [
            r#"{"kind":"purchase","order_no":"1","customer_no":"C-1","at":"2026-03-01T10:00:00Z","amount":"10"}"#,
            // Line 2 is longer than any document, line 3 empty, line 4 no JSON, line 5 no object.
            long.as_str(),
            "",
            r#"{"kind":"purchase","order_no":"3""#,
            r#"["purchase"]"#,
            // Line 6: a number where a text belongs. Line 7: an unknown name. Line 8: one is missing.
            r#"{"kind":"purchase","order_no":"4","at":"2026-03-01T10:00:00Z","amount":10}"#,
            r#"{"kind":"purchase","order_no":"5","at":"2026-03-01T10:00:00Z","amount":"10","tip":"1"}"#,
            r#"{"kind":"purchase","order_no":"6","amount":"10"}"#,
            // Line 9: lines that do not add up. Line 10: a quantity beyond 64 bits.
            r#"{"kind":"purchase","order_no":"7","at":"2026-03-01T10:00:00Z","amount":"10","lines":[{"quantity":1,"amount":"9.99"}]}"#,
            r#"{"kind":"purchase","order_no":"8","at":"2026-03-01T10:00:00Z","amount":"1","lines":[{"quantity":99999999999999999999,"amount":"1"}]}"#,
            // Line 11: an amount that is empty. Line 12: texts that are empty are texts that are absent.
            r#"{"kind":"purchase","order_no":"9","at":"2026-03-01T10:00:00Z","amount":""}"#,
            r#"{"kind":"purchase","order_no":"10","customer_no":"C-1","phone":"","store":"","refund_of":null,"at":"2026-03-01T10:00:00Z","amount":"5"}"#,
        ];
        let summary = shop.import_lines(&lines).await;
        let row = "orders.row_invalid";
        let expected = [
            (2, row),
            (4, row),
            (5, row),
            (6, row),
            (7, row),
            (8, row),
            (9, "orders.lines_do_not_add_up"),
            (10, row),
            (11, row),
        ];
        assert_eq!(refused(&summary), expected);
        assert_eq!(figures(&summary), (12, 2, 0, 9));
        assert_eq!(shop.account(customer("C-1")).await, (15, 1_500));
        for row in &summary.refused {
            assert!(row.en.len() < 500 && row.zh.len() < 500, "a refusal does not repeat the file");
        }
    }

    async fn a_customer_with_number_and_phone_is_one_member(cx) {
        let shop = Shop::open(cx).await;
        let (first, second) = (phone(1), phone(2));
        let summary = shop
            .import_rows(&[
                &format!("purchase,1,,C-1,{first},2026-03-01T10:00:00Z,A,Tea,1,10"),
                &format!("purchase,2,,,{first},2026-03-01T10:00:00Z,A,Tea,1,10"),
                "purchase,3,,C-1,,2026-03-01T10:00:00Z,A,Tea,1,10",
                // A member has one phone.
                &format!("purchase,4,,C-1,{second},2026-03-01T10:00:00Z,A,Tea,1,10"),
            ])
            .await;
        assert_eq!(refused(&summary), [(5, "members.phone_differs")]);
        assert_eq!(shop.members.count().await.unwrap(), 1);
        assert_eq!(shop.account(Identity::Phone(first.parse().unwrap())).await, (30, 3_000));
    }

    async fn columns_stand_in_any_order_and_only_known_ones(cx) {
        let shop = Shop::open(cx).await;
        let folder = Folder::new();
        // As a spreadsheet saves it: with a byte order mark, spaces and line ends of Windows.
        let saved = "\u{feff}amount, at ,order_no,kind,phone\r\n 10 ,2026-03-01T10:00:00Z,1,purchase, 138 0013 8000\r\n";
        let summary = shop.import(Csv, &folder.file("saved.csv", saved)).await.unwrap();
        assert_eq!(figures(&summary), (1, 1, 0, 0));
        assert_eq!(shop.account(Identity::Phone("13800138000".parse().unwrap())).await, (10, 1_000));

        for (name, header) in [
            ("unknown.csv", "kind,order_no,at,amount,discuont\n"),
            ("missing.csv", "kind,order_no,at\n"),
            ("twice.csv", "kind,order_no,at,amount,amount\n"),
            ("empty.csv", ""),
        ] {
            assert_eq!(code(shop.import(Csv, &folder.file(name, header)).await), "orders.file_invalid", "{name}");
        }
        let not_packed = folder.file("plain.csv.gz", HEADER);
        assert_eq!(code(shop.import(Csv, &not_packed).await), "orders.file_invalid");
        assert_eq!(figures(&shop.import(Jsonl, &folder.file("empty.jsonl", "")).await.unwrap()), (0, 0, 0, 0));
        // Another currency is refused row by row.
        let pounds = "kind,order_no,at,amount,currency\npurchase,2,2026-03-01T10:00:00Z,1,GBP\npurchase,3,2026-03-01T10:00:00Z,1,CNY\n";
        let summary = shop.import(Csv, &folder.file("pounds.csv", pounds)).await.unwrap();
        assert_eq!((refused(&summary), figures(&summary)), (vec![(2, "orders.row_invalid")], (2, 1, 0, 1)));
    }

    async fn purchases_of_blacklisted_customers_earn_nothing_and_their_refunds_are_taken(cx) {
        let shop = Shop::open(cx).await;
        shop.import_rows(&["purchase,1,,C-1,,2026-03-01T10:00:00Z,A,Tea,1,100"]).await;
        let member = shop.members.find_by_identity(&shop.owner, &customer("C-1")).await.unwrap().id;
        shop.set_state(member, huika_members::MemberState::Blacklisted).await;
        let summary = shop
            .import_rows(&[
                "purchase,2,,C-1,,2026-03-01T11:00:00Z,A,Tea,1,100",
                "refund,R-1,1,,,2026-03-01T12:00:00Z,,,,40",
                "refund,R-2,,C-1,,2026-03-01T13:00:00Z,,,,10",
            ])
            .await;
        assert_eq!((refused(&summary), summary.documents_imported), (vec![], 3));
        assert_eq!(shop.account(customer("C-1")).await, (50, 5_000), "the second purchase earns nothing");
        shop.assert_proven().await;
    }

    async fn only_the_first_thousand_refusals_are_listed_and_all_are_counted(cx) {
        let shop = Shop::open(cx).await;
        let bad: Vec<String> = (0..1_200).map(|at| format!("purchase,{at},,,,yesterday,A,Tea,1,1")).collect();
        let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
        let summary = shop.import_rows(&bad).await;
        assert_eq!((summary.refused.len(), figures(&summary)), (1_000, (1_200, 0, 0, 1_200)));
    }
}
