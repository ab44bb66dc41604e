//! Dates of the programme: points open and expire at midnight in Shanghai, whatever the server's clock shows.

use huika_core::Timestamp;
use huika_db::{
    DbError,
    jobs::{Job, JobHandler as _, NewJob, enqueue_in_tx},
};
use huika_loyalty::{ExpiryRule, SettleDue};

use crate::shop::{Shop, earn, migrations};

/// The last millisecond of 21 November in Shanghai, and the first of the 22nd.
const LATE: &str = "2026-11-21T15:59:59.999Z";
const MIDNIGHT: &str = "2026-11-21T16:00:00Z";

fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

huika_testing::db_test! { migrations = migrations,
    async fn points_open_at_midnight_after_their_waiting_days(cx) {
        let shop = Shop::with(cx, |rules| rules.pending_days = 7).await;
        let (early, late) = (shop.member(1).await, shop.member(2).await);
        shop.at(LATE);
        shop.buy(early, "1", 26_800).await;
        shop.at(MIDNIGHT);
        shop.buy(late, "1", 26_800).await;
        // A millisecond apart, a day apart.
        for (at, of_early, of_late) in [
            (MIDNIGHT, (0, 268, 0), (0, 268, 0)),
            ("2026-11-27T15:59:59.999Z", (0, 268, 0), (0, 268, 0)),
            ("2026-11-27T16:00:00Z", (268, 0, 0), (0, 268, 0)),
            ("2026-11-28T15:59:59.999Z", (268, 0, 0), (0, 268, 0)),
            ("2026-11-28T16:00:00Z", (268, 0, 0), (268, 0, 0)),
        ] {
            shop.at(at);
            assert_eq!((shop.amounts(early).await, shop.amounts(late).await), (of_early, of_late), "{at}");
        }
        shop.assert_proven().await;
    }

    async fn pending_points_cannot_be_spent_and_growth_does_not_wait(cx) {
        let shop = Shop::with(cx, |rules| rules.pending_days = 1).await;
        let member = shop.member(1).await;
        let lifting = shop.buy(member, "1", 100_000).await;
        assert_eq!((lifting.tier_after.as_str(), shop.growth(member).await), ("silver", 100_000));
        let spend = async |key: &str| shop.command(member, key, crate::shop::redeem(1)).await.is_ok();
        assert!(!spend("a").await);
        shop.at(LATE);
        assert!(!spend("b").await);
        shop.at(MIDNIGHT);
        assert!(spend("c").await);
        // A gift waits as long as a purchase.
        shop.command(member, "gift", earn(5)).await.unwrap();
        assert_eq!(shop.amounts(member).await, (999, 5, 0));
    }

    async fn a_late_report_has_waited_already(cx) {
        let shop = Shop::with(cx, |rules| rules.pending_days = 7).await;
        let member = shop.member(1).await;
        shop.buy_at(member, "1", 26_800, moment("2026-11-13T15:59:59Z")).await;
        assert_eq!(shop.amounts(member).await, (268, 0, 0));
        shop.buy_at(member, "2", 10_000, moment("2026-11-20T02:00:00Z")).await;
        assert_eq!(shop.amounts(member).await, (268, 100, 0));
    }

    async fn points_are_lost_at_the_end_of_their_last_day(cx) {
        // The rule, and the first moment without the points of a purchase late on 21 November and of one just after.
        let table = [
            (ExpiryRule::DaysAfter { days: 0 }, "2026-11-21T16:00:00Z", "2026-11-22T16:00:00Z"),
            (ExpiryRule::DaysAfter { days: 10 }, "2026-12-01T16:00:00Z", "2026-12-02T16:00:00Z"),
            (ExpiryRule::EndOfMonthAfter { months: 0 }, "2026-11-30T16:00:00Z", "2026-11-30T16:00:00Z"),
            (ExpiryRule::EndOfMonthAfter { months: 3 }, "2027-02-28T16:00:00Z", "2027-02-28T16:00:00Z"),
            (ExpiryRule::EndOfYearAfter { years: 0 }, "2026-12-31T16:00:00Z", "2026-12-31T16:00:00Z"),
            (ExpiryRule::EndOfYearAfter { years: 1 }, "2027-12-31T16:00:00Z", "2027-12-31T16:00:00Z"),
        ];
        let shop = Shop::open(cx).await;
        let mut number = 0;
        for (expiry, end_of_first, end_of_second) in table {
            shop.at("2026-11-21T02:00:00Z");
            shop.cx.clock.set(shop.now().plus_millis(i64::from(number) + 1));
            shop.publish(|rules| rules.expiry = expiry).await.unwrap();
            number += 2;
            let (first, second) = (shop.member(number).await, shop.member(number + 1).await);
            shop.at(LATE);
            shop.buy(first, "1", 100).await;
            if end_of_first != MIDNIGHT {
                assert_eq!(shop.amounts(first).await.0, 1, "{expiry:?}");
            }
            shop.at(MIDNIGHT);
            shop.buy(second, "1", 100).await;
            for (member, end) in [(first, moment(end_of_first)), (second, moment(end_of_second))] {
                shop.cx.clock.set(end.plus_millis(-1));
                assert_eq!(shop.amounts(member).await.0, 1, "{expiry:?} before {end}");
                shop.cx.clock.set(end);
                assert_eq!(shop.amounts(member).await.0, 0, "{expiry:?} from {end} on");
            }
        }
        shop.assert_proven().await;
    }

    async fn points_that_never_expire_stay(cx) {
        let shop = Shop::with(cx, |rules| rules.expiry = ExpiryRule::Never).await;
        let member = shop.member(1).await;
        shop.buy(member, "1", 26_800).await;
        shop.at("2999-01-01T00:00:00Z");
        assert_eq!(shop.amounts(member).await, (268, 0, 0));
        assert!(shop.loyalty.standing(&shop.owner, member).await.unwrap().expiring_next.is_none());
    }

    async fn another_zone_has_another_midnight(cx) {
        let shop = Shop::with(cx, |rules| {
            rules.time_zone = "Europe/London".to_owned();
            rules.pending_days = 1;
        })
        .await;
        let member = shop.member(1).await;
        shop.buy(member, "1", 26_800).await;
        shop.at("2026-11-21T23:59:59.999Z");
        assert_eq!(shop.amounts(member).await, (0, 268, 0));
        shop.at("2026-11-22T00:00:00Z");
        assert_eq!(shop.amounts(member).await, (268, 0, 0));
    }

    async fn the_nightly_job_writes_down_what_reads_knew_before(cx) {
        let shop = Shop::with(cx, |rules| rules.expiry = ExpiryRule::DaysAfter { days: 0 }).await;
        let member = shop.member(1).await;
        shop.buy(member, "1", 26_800).await;
        shop.at(MIDNIGHT);
        assert_eq!(shop.amounts(member).await, (0, 0, 0));
        let expired = "SELECT COUNT(*) AS n FROM ledger_entry WHERE kind = 'expire'";
        assert_eq!(shop.cx.count(expired).await, 0, "reading writes nothing");

        let job = queued(&shop).await;
        SettleDue(shop.loyalty.clone()).run(&job).await.unwrap();
        assert_eq!(shop.cx.count(expired).await, 1);
        SettleDue(shop.loyalty.clone()).run(&job).await.unwrap();
        assert_eq!(shop.cx.count(expired).await, 1, "late and again is harmless");
        assert_eq!(shop.amounts(member).await, (0, 0, 0));
        shop.assert_proven().await;
    }
}

/// The job as its schedule enqueues it.
async fn queued(shop: &Shop) -> Job {
    let schedule = huika_loyalty::schedules().pop().unwrap();
    let ids = &shop.cx.ids;
    let job = NewJob {
        queue: schedule.queue.into(),
        payload: schedule.payload,
        run_at: shop.now(),
        unique_key: None,
    };
    let done: Result<(), DbError> = shop
        .db
        .run_tx("test.enqueue", |tx| {
            let job = job.clone();
            Box::pin(async move { enqueue_in_tx(tx, ids, job).await.map(drop) })
        })
        .await;
    done.unwrap();
    let queues = [schedule.queue.to_owned()];
    huika_db::jobs::claim(&shop.db, &queues, 1)
        .await
        .unwrap()
        .pop()
        .unwrap()
}
