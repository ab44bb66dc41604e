//! The transactional outbox: what happened is a row of the transaction in which it happened.
//!
//! - An event is written only when somebody subscribes to its topic ([`Db::with_topics`]).
//! - [`dispatch_once`] turns each row into one job per subscriber and deletes the row, in one transaction: no
//!   event is lost and none is queued twice.
//! - A subscriber may get an event late, again, and before an earlier one: it de-duplicates by the event's id.

use std::sync::Arc;

use async_trait::async_trait;
use huika_core::{Id, IdGenerator, IdKind, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Db, DbError, Executor, Param, Tx,
    dialect::Insert,
    jobs::{JobError, NewJob, enqueue_all_in_tx},
    params,
};

/// Events that one transaction turns into jobs, at most.
const EVENTS_PER_ROUND: usize = 200;
/// Rows that one transaction writes, at most (ADR 7, rule 11).
const ROWS_PER_ROUND: usize = 500;
/// Stands before a subscriber's name in the name of its queue.
const QUEUE_PREFIX: &str = "outbox.";

/// The kind of an event's id.
pub enum EventKind {}
impl IdKind for EventKind {
    const PREFIX: &'static str = "evt";
}
/// The id of an event.
pub type EventId = Id<EventKind>;

/// Something that happened, in the past tense, with everything that a subscriber needs at that moment.
pub trait Event: Serialize + Sync {
    /// The stable name, `area.happened`, at most 64 characters.
    const TOPIC: &'static str;
    /// Raised when the meaning of a field changes. New fields do not raise it.
    const VERSION: u32;
}

/// An event as it is stored and handed over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope<D = serde_json::Value> {
    /// The same at every delivery.
    pub event_id: EventId,
    /// [`Event::TOPIC`].
    pub topic: String,
    /// [`Event::VERSION`].
    pub version: u32,
    /// When it happened.
    pub recorded_at: Timestamp,
    /// The event.
    pub data: D,
}

impl Envelope {
    /// The event as its type.
    ///
    /// # Errors
    /// [`JobError::Fail`] when the data has another form, which trying again does not change.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, JobError> {
        T::deserialize(&self.data).map_err(JobError::fail)
    }
}

/// Reacts to events after their transaction. Each subscriber has a queue of its own, so that one that fails
/// holds up no other.
#[async_trait]
pub trait Subscriber: Send + Sync {
    /// The stable name, at most 57 characters.
    fn name(&self) -> &'static str;

    /// The topics to be told about.
    fn topics(&self) -> &'static [&'static str];

    /// Reacts to one event. Safe to repeat and to run late.
    ///
    /// # Errors
    /// [`JobError::Retry`] to be called again later, [`JobError::Fail`] when that would not help.
    async fn handle(&self, event: &Envelope) -> Result<(), JobError>;
}

/// Every topic that one of the subscribers listens to, for [`Db::with_topics`].
pub fn topics(subscribers: &[Arc<dyn Subscriber>]) -> impl Iterator<Item = &'static str> {
    subscribers
        .iter()
        .flat_map(|subscriber| subscriber.topics().iter().copied())
}

/// The name of a subscriber's queue.
pub(crate) fn queue_of(subscriber: &dyn Subscriber) -> String {
    format!("{QUEUE_PREFIX}{}", subscriber.name())
}

impl Tx<'_> {
    /// Records that something happened, if somebody listens.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_event<E: Event>(&mut self, ids: &IdGenerator, event: &E) -> Result<(), DbError> {
        self.record_events(ids, std::slice::from_ref(event)).await
    }

    /// Records several events of one kind in one statement.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_events<E: Event>(&mut self, ids: &IdGenerator, events: &[E]) -> Result<(), DbError> {
        if !self.db().topics.contains(E::TOPIC) {
            return Ok(());
        }
        let now = self.db().clock().now();
        let mut insert =
            Insert::into_table("kernel_outbox", &["event_id", "topic", "payload", "recorded_at"]);
        for event in events {
            let event_id = ids.next();
            let envelope = Envelope {
                event_id,
                topic: E::TOPIC.to_owned(),
                version: E::VERSION,
                recorded_at: now,
                data: event,
            };
            let payload = serde_json::to_string(&envelope).map_err(|error| {
                DbError::Setup(format!("an event {} has no JSON form: {error}", E::TOPIC))
            })?;
            insert.push(params![event_id, E::TOPIC, payload, now]);
        }
        self.insert(insert).await.map(drop)
    }
}

/// Turns the oldest events into jobs and tells how many events that were. Several dispatchers may run at once.
///
/// # Errors
/// When the database fails.
pub async fn dispatch_once(
    db: &Db,
    ids: &IdGenerator,
    subscribers: &[Arc<dyn Subscriber>],
) -> Result<usize, DbError> {
    // Beside the transaction, so that an idle dispatcher does not hold up SQLite's one writer.
    let oldest = "SELECT event_id FROM kernel_outbox ORDER BY event_id LIMIT 1";
    if (&mut &*db).fetch_optional(oldest, params![]).await?.is_none() {
        return Ok(0);
    }
    let limit = EVENTS_PER_ROUND
        .min(ROWS_PER_ROUND / (subscribers.len() + 1))
        .max(1);
    let dispatched = db.run_tx("outbox.dispatch", |tx| {
        Box::pin(dispatch_in_tx(tx, ids, subscribers, limit))
    });
    match dispatched.await {
        // Beaten in every try: the others dispatch.
        Err(DbError::Stale(_)) => Ok(0),
        other => other,
    }
}

async fn dispatch_in_tx(
    tx: &mut Tx<'_>,
    ids: &IdGenerator,
    subscribers: &[Arc<dyn Subscriber>],
    limit: usize,
) -> Result<usize, DbError> {
    let oldest = "SELECT event_id, topic, payload, recorded_at FROM kernel_outbox ORDER BY event_id LIMIT ?";
    let rows = tx.fetch_all(oldest, params![limit as i64]).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let now = tx.db().clock().now();
    let mut jobs = Vec::new();
    let mut event_ids = Vec::with_capacity(rows.len());
    for row in &rows {
        let (event_id, topic): (EventId, String) = (row.get("event_id")?, row.get("topic")?);
        let payload: String = row.get("payload")?;
        event_ids.push(event_id.as_i64());
        // An event whose last subscriber is gone ends here.
        for subscriber in subscribers
            .iter()
            .filter(|subscriber| subscriber.topics().contains(&topic.as_str()))
        {
            jobs.push(NewJob {
                queue: queue_of(subscriber.as_ref()).into(),
                payload: payload.clone(),
                run_at: now,
                unique_key: Some(event_id.to_string()),
            });
        }
    }
    enqueue_all_in_tx(tx, ids, jobs).await?;
    let read = event_ids.len();
    let deleted = tx
        .execute(
            "DELETE FROM kernel_outbox WHERE event_id IN (??)",
            params![Param::Ints(event_ids)],
        )
        .await?;
    // Another dispatcher that was faster has queued them: this transaction must not count.
    if deleted == read as u64 {
        Ok(read)
    } else {
        Err(DbError::Stale("kernel_outbox"))
    }
}
