//! An import that is killed half way and run again.

use std::fmt::Write as _;

use huika_core::Clock;
use huika_testing::{TestDb, db_test};
use serde_json::Value;

use crate::process::{PATIENCE, Place};

const PURCHASES: i64 = 4_000;
const KILLS: usize = 2;

/// Purchases of forty customers, and every tenth of them refunded in part.
fn history() -> String {
    let mut text = "kind,order_no,refund_of,customer_no,at,amount\n".to_owned();
    for number in 1..=PURCHASES {
        let (day, hour, customer) = (1 + number % 28, number % 24, number % 40);
        let _ = writeln!(
            text,
            "purchase,A-{number},,c{customer},2026-03-{day:02}T{hour:02}:00:00+08:00,{number}.50"
        );
        if number % 10 == 0 {
            let _ = writeln!(
                text,
                "refund,R-{number},A-{number},,2026-04-01T10:00:00+08:00,10.25"
            );
        }
    }
    text
}

fn import(url: &str) -> [&str; 10] {
    [
        "import",
        "purchases",
        "history.csv",
        "--format",
        "csv",
        "--source",
        "shop",
        "--json",
        "--database-url",
        url,
    ]
}

async fn purchases(cx: &TestDb) -> i64 {
    cx.count("SELECT COUNT(*) AS n FROM orders_purchase").await
}

/// What the shop's figures are, and that everything adds up.
fn figures(place: &Place, url: &str) -> [Value; 2] {
    let mut verified = place
        .huika(&["verify", "--json", "--database-url", url])
        .done()
        .json();
    assert_eq!(verified["clean"], true, "{verified}");
    // The digest covers ids, which every database draws for itself.
    verified["ledger"]["digest"] = Value::Null;
    // Each start of an import is on record.
    verified["audit"] = Value::Null;
    let report = place
        .huika(&["report", "--json", "--database-url", url])
        .done()
        .json();
    [verified, report]
}

db_test! { unmigrated,
    async fn an_import_that_was_killed_half_way_ends_in_the_same_numbers(cx) {
        let place = Place::new();
        place.write("history.csv", &history());
        place.huika(&["migrate", "--database-url", cx.url()]).done();
        let mut imported = 0;
        for _ in 0..KILLS {
            let mut process = place.start(&import(cx.url()), &[]);
            let stopwatch = Clock::system().stopwatch();
            while purchases(&cx).await == imported {
                assert!(stopwatch.elapsed() < PATIENCE, "nothing is imported");
            }
            process.kill();
            imported = purchases(&cx).await;
            assert!(imported < PURCHASES, "it was killed too late: make the file longer");
        }
        let summary = place.huika(&import(cx.url())).done().json();
        assert_eq!(summary["rows_refused"], 0, "{summary}");
        assert_eq!(purchases(&cx).await, PURCHASES);

        place.huika(&import("sqlite:whole.db")).done();
        assert_eq!(figures(&place, cx.url()), figures(&place, "sqlite:whole.db"));
    }
}
