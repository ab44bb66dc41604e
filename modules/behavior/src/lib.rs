//! Behaviour: what people do on the shop's pages and in its apps, as the pages report it.
//!
//! - An event is stored once, however often it is sent; a daily count goes up with it in the same transaction.
//! - Members who did not agree to profiling are not stored with their events.
//! - Names that come too often are sampled, by visitor, and the counts say what the stored events stand for.
//! - Events have a lane of their own, one transaction at a time, and a queue with an end: a flood is refused with
//!   the word when to come back, and never stands in the way of purchases.
//! - Only events whose name earns something are told to others.

use std::sync::Arc;

use huika_core::{IdGenerator, Permission};
use huika_db::{BatchOptions, Batcher, Db, Migration};
use huika_members::Members;
use tokio::sync::Semaphore;

mod app;
mod domain;
mod error;
mod events;
pub mod http;
mod jobs;
mod store;

pub use app::{
    BusinessCalendar, ConsentSource, CountView, EarningNames, EventView, NobodyConsents, NothingEarns, Taken,
    Visitor,
};
pub use domain::{Event, EventName, Properties, Settings, Subject, WithoutConsent, is_sampled};
pub use error::{BehaviorError, QueueFull};
pub use events::BehaviorRecorded;
pub use jobs::{RETAIN_QUEUE, Retain, schedules};

/// Report what people do.
pub const RECORD: Permission = Permission {
    name: "behavior.record",
    en: "Report behaviour events",
    zh: "上报行为事件",
};
/// See counts and a member's latest events.
pub const READ: Permission = Permission {
    name: "behavior.read",
    en: "See behaviour counts and a member's latest events",
    zh: "查看行为统计与会员最近行为",
};
/// Decide on sampling, retention and consent.
pub const CONFIGURE: Permission = Permission {
    name: "behavior.configure",
    en: "Decide how behaviour is sampled and how long it is kept",
    zh: "设置行为采样与保留期限",
};
/// All permissions of this module.
pub const PERMISSIONS: &[Permission] = &[RECORD, READ, CONFIGURE];

/// Most events of one request.
pub const MOST_EVENTS: usize = 500;
/// Events that may wait for the lane in one process: some ten requests of the largest size.
const QUEUE: usize = 6_000;
/// One transaction at a time: more lanes would only take the database from who earns and redeems.
const LANES: usize = 1;
/// Rows of one transaction (ADR 7, rule 11).
const BATCH: usize = 500;

/// The behaviour service. Clones share its lane and its queue.
#[derive(Clone)]
pub struct Behavior {
    pub(crate) db: Db,
    pub(crate) ids: IdGenerator,
    pub(crate) members: Members,
    pub(crate) calendar: Arc<dyn BusinessCalendar>,
    pub(crate) lane: Batcher<app::Recording>,
    pub(crate) room: Arc<Semaphore>,
}

impl Behavior {
    /// Starts the service and its lane. Counts are kept by the dates of this calendar.
    pub fn start(
        db: Db,
        ids: IdGenerator,
        members: Members,
        calendar: Arc<dyn BusinessCalendar>,
        consents: Arc<dyn ConsentSource>,
        earning: Arc<dyn EarningNames>,
    ) -> Self {
        let recording = app::Recording {
            ids: ids.clone(),
            members: members.clone(),
            consents,
            earning,
        };
        let options = BatchOptions {
            lanes: LANES,
            max_batch: BATCH,
        };
        let lane = Batcher::start(&db, recording, &options);
        Self {
            db,
            ids,
            members,
            calendar,
            lane,
            room: Arc::new(Semaphore::new(QUEUE)),
        }
    }
}

/// The tables of this module.
pub fn migrations() -> Vec<Migration> {
    vec![Migration {
        module: "behavior",
        number: 1,
        name: "behavior",
        sql: include_str!("../migrations/0001_behavior.sql"),
    }]
}
