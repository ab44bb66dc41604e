//! The figures of a real shop: all of "Online Retail", 541,909 rows.
//!
//! The file is not part of the repository. `HUIKA_TEST_ONLINE_RETAIL` names it; without, these tests say that they
//! are skipped. The figures were computed from the file by other means.

use std::path::PathBuf;

use huika_orders::ImportFormat::OnlineRetail;

use crate::shop::{Shop, migrations};

#[expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests have no composition root that could pass settings down, and a skipped one says so"
)]
fn file() -> Option<PathBuf> {
    let path = std::env::var("HUIKA_TEST_ONLINE_RETAIL").ok();
    if path.is_none() {
        eprintln!("*** SKIPPED: HUIKA_TEST_ONLINE_RETAIL does not name the file online-retail.csv.gz");
    }
    path.map(PathBuf::from)
}

huika_testing::db_test! { migrations = migrations,
    async fn the_figures_of_the_real_history(cx) {
        let Some(path) = file() else { return };
        let shop = Shop::in_pounds(cx).await;
        let summary = shop.import(OnlineRetail, &path).await.unwrap();
        assert_eq!((summary.rows_read, summary.documents_imported, summary.rows_refused), (541_909, 25_900, 0));

        let report = shop.report().await;
        assert_eq!(report.rows_read, 541_909);
        assert_eq!((report.invoices, report.cancellations, report.adjustments), (25_900, 3_836, 3));
        assert_eq!(report.members_with_purchases, 4_372);
        assert_eq!((report.net_minor, report.net_of_members_minor), (974_774_793, 830_006_581));
        let above: Vec<(i64, i64)> =
            report.members_at_or_above.iter().map(|share| (share.threshold, share.members)).collect();
        assert_eq!(above, [(500, 2_540), (1_000, 1_633), (2_000, 876), (5_000, 263), (10_000, 97)]);
        assert_eq!((report.repeat_buyers, report.buyers), (2_845, 4_339));
        shop.assert_proven().await;

        let again = shop.import(OnlineRetail, &path).await.unwrap();
        assert!(again.finished_before);
        assert_eq!(shop.report().await, report);
    }
}
