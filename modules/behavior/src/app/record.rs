//! Taking events in. Those of many requests share a transaction.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use async_trait::async_trait;
use futures::future::join_all;
use huika_core::{Actor, BusinessDate, Calendar, IdGenerator, MemberId};
use huika_db::{RunBatch, Tx};
use huika_members::{Identity, MemberAction, Members, MembersError};

use crate::{
    Behavior, BehaviorError, BehaviorRecorded, Event, QueueFull, RECORD, Subject,
    domain::{Filed, file},
    store,
};

/// Ten-thousandths of an event, in basis points: what one kept event stands for is this divided by its rate.
const WEIGHT: i64 = 10_000 * 10_000;
/// Rows of one count at most, each for some processes.
const BUCKETS: u16 = 16;

/// Who agreed to have their behaviour kept under their name.
#[async_trait]
pub trait ConsentSource: Send + Sync {
    /// Those of these members who agreed to profiling and did not withdraw.
    ///
    /// # Errors
    /// When the database fails.
    async fn profiling_in_tx(
        &self,
        tx: &mut Tx<'_>,
        members: &[MemberId],
    ) -> Result<HashSet<MemberId>, MembersError>;
}

/// Nobody agreed: for a shop that does not ask.
pub struct NobodyConsents;

#[async_trait]
impl ConsentSource for NobodyConsents {
    async fn profiling_in_tx(
        &self,
        _: &mut Tx<'_>,
        _: &[MemberId],
    ) -> Result<HashSet<MemberId>, MembersError> {
        Ok(HashSet::new())
    }
}

/// For which names the programme gives something.
pub trait EarningNames: Send + Sync {
    /// Whether events of this name earn.
    fn earns(&self, name: &str) -> bool;
}

/// No event earns.
pub struct NothingEarns;
impl EarningNames for NothingEarns {
    fn earns(&self, _: &str) -> bool {
        false
    }
}

/// By which dates the shop counts.
#[async_trait]
pub trait BusinessCalendar: Send + Sync {
    /// The calendar in force.
    async fn calendar(&self) -> Calendar;
}

#[async_trait]
impl BusinessCalendar for Calendar {
    async fn calendar(&self) -> Calendar {
        self.clone()
    }
}

/// Who did it, as a sender names them.
#[derive(Debug, Clone)]
pub enum Visitor {
    /// A member by id.
    Member(MemberId),
    /// A member by card, phone or number in another system.
    Named(Identity),
    /// Somebody whom only the device knows.
    Anonymous(String),
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Stored and counted.
    Stored,
    /// Known already: nothing was changed.
    Known,
    /// Left out, by sampling or for want of consent.
    LeftOut,
}

/// What events are taken in with.
pub(crate) struct Recording {
    pub(crate) ids: IdGenerator,
    pub(crate) members: Members,
    pub(crate) consents: Arc<dyn ConsentSource>,
    pub(crate) earning: Arc<dyn EarningNames>,
}

/// An event on its way to a batch.
pub(crate) struct Waiting {
    event: Event,
    /// The business date on which it occurred.
    day: BusinessDate,
}

impl Behavior {
    /// Takes events in, each by itself: a refused one refuses itself alone. Sending them again changes nothing.
    ///
    /// # Errors
    /// When the actor may not, or [`QueueFull`]: then none was taken.
    pub async fn record(
        &self,
        actor: &Actor,
        events: Vec<(Visitor, Event)>,
    ) -> Result<Vec<Result<Taken, BehaviorError>>, BehaviorError> {
        actor.authorize(&RECORD)?;
        let weight = u32::try_from(events.len()).unwrap_or(u32::MAX);
        let Ok(_room) = self.room.try_acquire_many(weight) else {
            return Err(QueueFull.into());
        };
        let named: Vec<Identity> = events
            .iter()
            .filter_map(|(visitor, _)| match visitor {
                Visitor::Named(identity) => Some(identity.clone()),
                _ => None,
            })
            .collect();
        let owners = if named.is_empty() {
            HashMap::new()
        } else {
            self.members.find_many_in_tx(&mut &self.db, &named).await?
        };
        let calendar = self.calendar.calendar().await;
        let now = self.db.clock().now();
        let answers = events.into_iter().map(|(visitor, mut event)| {
            let subject = match visitor {
                Visitor::Member(member_id) => Ok(Subject::Member(member_id)),
                Visitor::Named(identity) => owners
                    .get(&identity)
                    .map(|member_id| Subject::Member(*member_id))
                    .ok_or(MembersError::NotFound),
                Visitor::Anonymous(visitor) => Ok(Subject::Visitor(visitor)),
            };
            let checked = subject.map_err(BehaviorError::from).and_then(|subject| {
                event.subject = subject;
                event.check_time(now)?;
                let day = calendar.date_of(event.occurred_at);
                Ok(Waiting { event, day })
            });
            async { self.lane.submit(checked?).await? }
        });
        Ok(join_all(answers).await)
    }
}

#[async_trait]
impl RunBatch for Recording {
    type Command = Waiting;
    type Answer = Taken;
    type Error = BehaviorError;
    const NAME: &'static str = "behavior.record";

    fn key(waiting: &Waiting) -> i64 {
        waiting.event.place()
    }

    async fn run_in_tx(
        &self,
        tx: &mut Tx<'_>,
        waiting: &[Waiting],
    ) -> Result<Vec<Result<Taken, BehaviorError>>, BehaviorError> {
        let now = tx.db().clock().now();
        let events: Vec<&Event> = waiting.iter().map(|one| &one.event).collect();
        let settings = store::settings_load(tx).await?.0;
        let members: BTreeSet<MemberId> = events
            .iter()
            .filter_map(|event| match event.subject {
                Subject::Member(member_id) => Some(member_id),
                Subject::Visitor(_) => None,
            })
            .collect();
        let members: Vec<MemberId> = members.into_iter().collect();
        let (states, consented) = if members.is_empty() {
            (HashMap::new(), HashSet::new())
        } else {
            (
                self.members.states_in_tx(tx, &members).await?,
                self.consents.profiling_in_tx(tx, &members).await?,
            )
        };

        let mut results: Vec<Result<Taken, BehaviorError>> = Vec::with_capacity(events.len());
        let mut rows: Vec<(usize, Filed)> = Vec::with_capacity(events.len());
        let mut seen = HashSet::with_capacity(events.len());
        for (at, event) in events.iter().enumerate() {
            let mut consents = false;
            if let Subject::Member(member_id) = event.subject {
                let Some(state) = states.get(&member_id) else {
                    results.push(Err(MembersError::NotFound.into()));
                    continue;
                };
                // Nobody keeps a profile of a member who has left or was sent away.
                consents = consented.contains(&member_id) && state.allows(MemberAction::LogIn);
            }
            let earns = self.earning.earns(event.name.as_str());
            let taken = match file(event, &settings, consents, earns) {
                None => Taken::LeftOut,
                Some(filed) if !seen.insert((filed.subject_id, event.occurred_at, event.key())) => {
                    Taken::Known
                }
                Some(filed) => {
                    rows.push((at, filed));
                    Taken::Stored
                }
            };
            results.push(Ok(taken));
        }

        let known = store::event_insert(tx, &self.ids, now, &events, &rows).await?;
        let mut counts: BTreeMap<(BusinessDate, &str, &str), (i64, i64)> = BTreeMap::new();
        let mut told = Vec::new();
        for (row, (at, filed)) in rows.iter().enumerate() {
            let event = events[*at];
            if known.contains(&row) {
                results[*at] = Ok(Taken::Known);
                continue;
            }
            let count = counts
                .entry((waiting[*at].day, event.name.as_str(), event.channel.as_str()))
                .or_default();
            count.0 += 1;
            count.1 += WEIGHT / i64::from(filed.sample_bp.max(1));
            if let Subject::Member(member_id) = event.subject
                && self.earning.earns(event.name.as_str())
            {
                told.push(BehaviorRecorded {
                    member_id,
                    event_key: event.key(),
                    name: event.name.to_string(),
                    channel: event.channel.to_string(),
                    occurred_at: event.occurred_at,
                });
            }
        }
        store::count_add(tx, i64::from(self.ids.node() % BUCKETS), &counts).await?;
        if !told.is_empty() {
            tx.record_events(&self.ids, &told).await?;
        }
        Ok(results)
    }
}
