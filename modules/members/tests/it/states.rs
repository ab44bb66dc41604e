//! States: who may change them, and what other modules are told.

use std::sync::Arc;

use futures::future::join_all;
use huika_core::{Actor, MemberId};
use huika_db::audit::{AuditRecord, list_audit};
use huika_members::{MemberAction, MemberState, MembersError, Reason};
use huika_testing::TestDb;

use crate::shop::{PHONE, Shop, code, person, phone};

/// What is on record of states.
async fn audit(cx: &TestDb) -> Vec<AuditRecord> {
    let mut entries = list_audit(&mut &cx.db, None, 200).await.unwrap();
    entries.retain(|entry| entry.action != "members.register");
    entries
}

fn because(text: &str) -> Reason {
    text.parse().unwrap()
}

huika_testing::db_test! { migrations = huika_members::migrations,
    async fn a_change_of_state_is_audited_once_and_without_phones(cx) {
        let shop = Shop::open(&cx);
        let member = shop.members.register(&shop.owner, person(PHONE, "")).await.unwrap().member.unwrap();
        let reason = because("  冒用 13800138000 的投诉，待核实 ");
        for _ in 0..2 {
            let frozen = shop.members.set_state(&shop.owner, member.id, MemberState::Frozen, &reason).await.unwrap();
            assert_eq!(frozen.state, MemberState::Frozen);
        }
        let entries = audit(&cx).await;
        assert_eq!(entries.len(), 1, "a state that holds already is left as it is");
        assert_eq!((entries[0].actor.as_str(), entries[0].action.as_str()), ("opr_test", "members.set_state"));
        assert_eq!(entries[0].subject, member.id.to_string());
        let detail = serde_json::json!({"from": "normal", "to": "frozen", "reason": "冒用 138****8000 的投诉，待核实"});
        assert_eq!(entries[0].detail, detail);
        assert_eq!(shop.members.find(&shop.owner, member.id).await.unwrap().state, MemberState::Frozen);
    }

    async fn changes_at_the_same_time_follow_one_another(cx) {
        let shop = Arc::new(Shop::open(&cx));
        let id = shop.members.register(&shop.owner, person(PHONE, "")).await.unwrap().member_id;
        let tasks = (0..24).map(|at| {
            let shop = Arc::clone(&shop);
            let state = MemberState::ALL[at % 4];
            tokio::spawn(async move {
                shop.members.set_state(&shop.owner, id, state, &because("race")).await.unwrap()
            })
        });
        for task in join_all(tasks).await {
            task.unwrap();
        }
        // Each entry begins where another one ended: as many arrivals in a state as departures, but for the
        // first state and the last.
        let last = shop.members.find(&shop.owner, id).await.unwrap().state;
        let entries = audit(&cx).await;
        for state in MemberState::ALL {
            let count = |field: &str| {
                entries.iter().filter(|entry| entry.detail[field] == state.name()).count() + usize::from(
                    state == if field == "to" { MemberState::Normal } else { last },
                )
            };
            assert_eq!(count("to"), count("from"), "{state}");
        }
    }

    async fn other_modules_learn_the_states_of_many_members_at_once(cx) {
        let shop = Shop::open(&cx);
        let commands: Vec<_> = (0..600).map(|at| person(&phone(at), "")).collect();
        let outcomes = shop.register_many(&commands).await.unwrap();
        let mut ids: Vec<MemberId> = outcomes.into_iter().map(|outcome| outcome.unwrap().member_id).collect();
        shop.members.set_state(&shop.owner, ids[599], MemberState::Blacklisted, &because("fraud")).await.unwrap();
        ids.push(MemberId::from_i64(42));

        let states = shop.members.states_in_tx(&mut &shop.db, &ids).await.unwrap();
        assert_eq!(states.len(), 600, "nobody has the last id");
        assert_eq!((states[&ids[0]], states[&ids[599]]), (MemberState::Normal, MemberState::Blacklisted));
        assert!(states[&ids[0]].require(MemberAction::Burn).is_ok());
        assert_eq!(code(states[&ids[599]].require(MemberAction::Earn)), "members.state_blocks");
    }

    async fn only_members_have_states_and_only_some_people_may_change_them(cx) {
        let shop = Shop::open(&cx);
        let id = shop.members.register(&shop.owner, person(PHONE, "")).await.unwrap().member_id;
        let reader = Actor::with_rights("opr_reader", ["members.read".to_owned()]);
        let set = async |actor, id| shop.members.set_state(actor, id, MemberState::Closed, &because("test")).await;
        assert_eq!(code(set(&reader, id).await), "access.denied");
        let nobody = set(&shop.owner, MemberId::from_i64(42)).await;
        assert!(matches!(nobody, Err(MembersError::NotFound)));
        assert!(audit(&cx).await.is_empty());
    }
}

#[test]
fn a_reason_is_a_short_text() {
    for text in ["", "   ", &"长".repeat(201)] {
        assert!(matches!(text.parse::<Reason>(), Err(MembersError::ReasonInvalid)));
    }
    assert!("长".repeat(200).parse::<Reason>().is_ok());
}
