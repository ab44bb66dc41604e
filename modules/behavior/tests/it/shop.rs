//! A shop to test with: the service on a fresh database, and short ways to say who did what.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use huika_behavior::{
    Behavior, BehaviorError, BehaviorRecorded, ConsentSource, EarningNames, Event, Properties, Settings,
    Subject, Taken, Visitor,
};
use huika_core::{Actor, Calendar, IdGenerator, Keyring, MemberId, Refusal as _, Timestamp};
use huika_db::{Db, Migration, Tx, outbox::Event as _};
use huika_members::{Members, MembersError, RegisterMember};
use huika_testing::TestDb;

pub(crate) fn migrations() -> Vec<Migration> {
    [huika_members::migrations(), huika_behavior::migrations()].concat()
}

/// Who agreed, as the test says.
#[derive(Clone, Default)]
pub(crate) struct Consents(Arc<Mutex<HashSet<MemberId>>>);

#[async_trait]
impl ConsentSource for Consents {
    async fn profiling_in_tx(
        &self,
        _: &mut Tx<'_>,
        members: &[MemberId],
    ) -> Result<HashSet<MemberId>, MembersError> {
        let agreed = self.0.lock().unwrap();
        Ok(members
            .iter()
            .copied()
            .filter(|member| agreed.contains(member))
            .collect())
    }
}

/// Reviews earn.
struct Reviews;
impl EarningNames for Reviews {
    fn earns(&self, name: &str) -> bool {
        name == "review"
    }
}

pub(crate) struct Shop {
    pub(crate) behavior: Behavior,
    pub(crate) members: Members,
    pub(crate) consents: Consents,
    pub(crate) owner: Actor,
    pub(crate) cx: TestDb,
}

impl Shop {
    pub(crate) fn open(cx: TestDb) -> Self {
        let keyring = Arc::new(Keyring::parse(&Keyring::generate(&cx.rng)).unwrap());
        let db = cx.db.clone().with_topics([BehaviorRecorded::TOPIC]);
        let members = Members::new(db.clone(), cx.ids.clone(), keyring);
        let consents = Consents::default();
        let behavior = service(db, cx.ids.clone(), &members, &consents);
        Self {
            behavior,
            members,
            consents,
            owner: Actor::with_all_rights("opr_test"),
            cx,
        }
    }

    /// Another process on the same database.
    pub(crate) async fn another_node(&self) -> Behavior {
        let db = self.cx.second_pool().await.with_topics([BehaviorRecorded::TOPIC]);
        let ids = IdGenerator::new(self.cx.clock.clone(), 1);
        service(db, ids, &self.members, &self.consents)
    }

    /// A new member, who agrees to profiling or does not.
    pub(crate) async fn member(&self, number: u32, agrees: bool) -> MemberId {
        let person = RegisterMember {
            phone: Some(format!("1390000{number:04}").parse().unwrap()),
            external: None,
            nickname: None,
            channel: "web".parse().unwrap(),
            store_code: None,
        };
        let member_id = self
            .members
            .register(&self.owner, person)
            .await
            .unwrap()
            .member_id;
        if agrees {
            self.consents.0.lock().unwrap().insert(member_id);
        }
        member_id
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.cx.clock.now()
    }

    /// An event of now.
    pub(crate) fn event(&self, id: &str, name: &str) -> Event {
        Event {
            event_id: id.to_owned(),
            name: name.parse().unwrap(),
            subject: Subject::Visitor(String::new()),
            occurred_at: self.now(),
            channel: "web".parse().unwrap(),
            page: Some("/menu".to_owned()),
            element: None,
            duration_ms: None,
            properties: Properties::default(),
        }
    }

    pub(crate) async fn record(&self, events: Vec<(Visitor, Event)>) -> Vec<Result<Taken, &'static str>> {
        record(&self.behavior, &self.owner, events).await
    }

    pub(crate) async fn configure(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.behavior.settings(&self.owner).await.unwrap();
        change(&mut settings);
        self.behavior.configure(&self.owner, settings).await.unwrap();
    }

    /// The rows that are stored: whose kind, and how many.
    pub(crate) async fn stored(&self) -> Vec<(i64, i64)> {
        let sql = "SELECT subject_kind, COUNT(*) AS n FROM behavior_event GROUP BY subject_kind ORDER BY subject_kind";
        let rows = self.cx.fetch_all(sql).await;
        rows.iter()
            .map(|row| (row.get("subject_kind").unwrap(), row.get("n").unwrap()))
            .collect()
    }

    /// The counts of today: name, stored, estimated.
    pub(crate) async fn counts(&self) -> Vec<(String, i64, i64)> {
        let today = Calendar::try_new("Asia/Shanghai").unwrap().date_of(self.now());
        let counts = self
            .behavior
            .counts(&self.owner, (today, today), None)
            .await
            .unwrap();
        counts
            .into_iter()
            .map(|count| (count.name, count.stored, count.estimated))
            .collect()
    }
}

fn service(db: Db, ids: IdGenerator, members: &Members, consents: &Consents) -> Behavior {
    Behavior::start(
        db,
        ids,
        members.clone(),
        Arc::new(Calendar::try_new("Asia/Shanghai").unwrap()),
        Arc::new(consents.clone()),
        Arc::new(Reviews),
    )
}

/// What became of events, refusals by their codes.
pub(crate) async fn record(
    behavior: &Behavior,
    actor: &Actor,
    events: Vec<(Visitor, Event)>,
) -> Vec<Result<Taken, &'static str>> {
    let answers = behavior.record(actor, events).await.unwrap();
    answers
        .into_iter()
        .map(|answer| answer.map_err(|error: BehaviorError| error.problem().code))
        .collect()
}

pub(crate) fn visitor(name: &str) -> Visitor {
    Visitor::Anonymous(name.to_owned())
}
