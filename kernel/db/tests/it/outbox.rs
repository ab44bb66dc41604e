//! Events: recorded with their reason, handed once to each subscriber's queue.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use huika_core::IdGenerator;
use huika_db::{
    Db, DbError,
    jobs::{JobError, Worker},
    outbox::{Envelope, Event, EventId, Subscriber, dispatch_once, topics},
};
use huika_testing::TestDb;
use serde::{Deserialize, Serialize};

use crate::support::TestError;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct CupSold {
    cup: i64,
}
impl Event for CupSold {
    const TOPIC: &'static str = "cup.sold";
    const VERSION: u32 = 2;
}

#[derive(Debug, Serialize)]
struct CupBroken;
impl Event for CupBroken {
    const TOPIC: &'static str = "cup.broken";
    const VERSION: u32 = 1;
}

/// Remembers what it was told.
struct Listener {
    name: &'static str,
    topics: &'static [&'static str],
    told: Mutex<Vec<Envelope>>,
}

impl Listener {
    fn start(name: &'static str, topics: &'static [&'static str]) -> Arc<Self> {
        Arc::new(Self {
            name,
            topics,
            told: Mutex::default(),
        })
    }
}

#[async_trait]
impl Subscriber for Listener {
    fn name(&self) -> &'static str {
        self.name
    }
    fn topics(&self) -> &'static [&'static str] {
        self.topics
    }
    async fn handle(&self, event: &Envelope) -> Result<(), JobError> {
        self.told.lock().unwrap().push(event.clone());
        Ok(())
    }
}

async fn sell(db: &Db, ids: &IdGenerator, cups: std::ops::Range<i64>) {
    let sold: &Vec<CupSold> = &cups.map(|cup| CupSold { cup }).collect();
    let done: Result<(), DbError> = db
        .run_tx("test.sell", |tx| {
            Box::pin(async move { tx.record_events(ids, sold).await })
        })
        .await;
    done.unwrap();
}

async fn waiting(cx: &TestDb) -> i64 {
    cx.count("SELECT COUNT(*) AS n FROM kernel_outbox").await
}

huika_testing::db_test! {
    async fn events_that_nobody_listens_to_are_not_written(cx) {
        let db = cx.db.clone().with_topics(["cup.broken"]);
        sell(&db, &cx.ids, 0..3).await;
        assert_eq!(waiting(&cx).await, 0);
        db.run_tx("test.break", |tx| Box::pin(async { tx.record_event(&cx.ids, &CupBroken).await })).await.unwrap();
        assert_eq!(waiting(&cx).await, 1);
    }

    async fn what_is_rolled_back_did_not_happen(cx) {
        let db = cx.db.clone().with_topics(["cup.broken"]);
        let done: Result<(), TestError> = db.run_tx("test.break", |tx| Box::pin(async {
            tx.record_event(&cx.ids, &CupBroken).await?;
            Err(TestError::Refused)
        })).await;
        assert!(done.is_err());
        assert_eq!(waiting(&cx).await, 0);
    }

    async fn two_dispatchers_queue_one_job_per_subscriber(cx) {
        let subscribers: Vec<Arc<dyn Subscriber>> = vec![
            Listener::start("one", &["cup.sold"]),
            Listener::start("two", &["cup.broken", "cup.sold"]),
            Listener::start("three", &["cup.broken"]),
        ];
        let db = cx.db.clone().with_topics(topics(&subscribers));
        sell(&db, &cx.ids, 0..300).await;
        let others = [cx.second_pool().await, cx.second_pool().await];
        let dispatch = async |db: &Db| {
            let mut dispatched = 0;
            while waiting(&cx).await > 0 {
                dispatched += dispatch_once(db, &cx.ids, &subscribers).await.unwrap();
            }
            dispatched
        };
        let (one, two) = tokio::join!(dispatch(&others[0]), dispatch(&others[1]));
        assert_eq!(one + two, 300);
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM kernel_job").await, 600);
        let events = "SELECT COUNT(DISTINCT unique_key) AS n FROM kernel_job WHERE queue = 'outbox.two'";
        assert_eq!(cx.count(events).await, 300);
    }

    async fn subscribers_get_the_whole_envelope(cx) {
        let listener = Listener::start("one", &["cup.sold"]);
        let db = cx.db.clone().with_topics(["cup.sold"]);
        sell(&db, &cx.ids, 7..8).await;
        let mut worker = Worker::new(db, cx.ids.clone());
        worker.subscribers.push(listener.clone());
        assert_eq!(worker.run_due().await.unwrap(), 1);
        assert_eq!(worker.run_due().await.unwrap(), 0);
        let told = listener.told.lock().unwrap();
        let [event] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((event.topic.as_str(), event.version, event.recorded_at), ("cup.sold", 2, cx.clock.now()));
        assert_eq!(event.data::<CupSold>().unwrap(), CupSold { cup: 7 });
        assert!(event.data::<Vec<String>>().is_err());
        assert_ne!(event.event_id, EventId::from_i64(0));
    }

    async fn an_event_whose_last_subscriber_is_gone_ends(cx) {
        let db = cx.db.clone().with_topics(["cup.sold"]);
        sell(&db, &cx.ids, 0..2).await;
        assert_eq!(dispatch_once(&db, &cx.ids, &[]).await.unwrap(), 2);
        assert_eq!(waiting(&cx).await, 0);
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM kernel_job").await, 0);
    }
}
