//! Schedules: one job per due time, however many workers there are and however long nobody worked.

use std::time::Duration;

use huika_core::Calendar;
use huika_db::jobs::{Cadence, Schedule, fire_schedules};
use huika_testing::TestDb;

fn every(period: Duration) -> [Schedule; 1] {
    [Schedule {
        name: "rinse",
        cadence: Cadence::Every(period),
        queue: "wash",
        payload: "{}".into(),
    }]
}

async fn jobs(cx: &TestDb) -> i64 {
    cx.count("SELECT COUNT(*) AS n FROM kernel_job").await
}

const HOUR: Duration = Duration::from_secs(3_600);

huika_testing::db_test! {
    async fn two_workers_make_one_job(cx) {
        let (other, schedules) = (cx.second_pool().await, every(HOUR));
        for expected in 0..3 {
            let (one, two) = tokio::join!(
                fire_schedules(&cx.db, &cx.ids, &schedules),
                fire_schedules(&other, &cx.ids, &schedules)
            );
            assert_eq!(one.unwrap() + two.unwrap(), usize::from(expected > 0), "a new schedule waits for its time");
            assert_eq!(jobs(&cx).await, expected);
            cx.clock.advance(HOUR);
        }
    }

    async fn a_long_downtime_is_made_up_for_by_one_job_in_step(cx) {
        let schedules = every(HOUR);
        fire_schedules(&cx.db, &cx.ids, &schedules).await.unwrap();
        let start = cx.clock.now();
        cx.clock.advance(HOUR * 100 + HOUR / 2);
        assert_eq!(fire_schedules(&cx.db, &cx.ids, &schedules).await.unwrap(), 1);
        assert_eq!(fire_schedules(&cx.db, &cx.ids, &schedules).await.unwrap(), 0);
        let next = cx.count("SELECT next_at AS n FROM kernel_schedule").await;
        assert_eq!(next, start.as_millis() + 101 * 3_600_000);
    }

    async fn a_daily_schedule_fires_once_a_day_in_its_zone(cx) {
        let calendar = Calendar::try_new("Asia/Shanghai").unwrap();
        // The clock starts at ten in Shanghai.
        let cadence = Cadence::DailyAt { calendar, hour: 10, minute: 30 };
        let schedules = [Schedule { name: "close", cadence, queue: "wash", payload: "{}".into() }];
        let mut fired = 0;
        for _ in 0..=48 {
            fired += fire_schedules(&cx.db, &cx.ids, &schedules).await.unwrap();
            cx.clock.advance(HOUR);
        }
        assert_eq!(fired, 2);
    }

    async fn a_cadence_that_became_shorter_counts_at_once(cx) {
        fire_schedules(&cx.db, &cx.ids, &every(HOUR * 1_000)).await.unwrap();
        fire_schedules(&cx.db, &cx.ids, &every(HOUR)).await.unwrap();
        cx.clock.advance(HOUR);
        assert_eq!(fire_schedules(&cx.db, &cx.ids, &every(HOUR)).await.unwrap(), 1);
    }
}
