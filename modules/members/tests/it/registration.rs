//! Registration: one person, one member, whatever happens at the same time.

use std::{collections::HashSet, sync::Arc};

use futures::future::join_all;
use huika_core::{Actor, IdGenerator, Rng};
use huika_db::{
    Db, DbOptions, Executor as _,
    audit::list_audit,
    outbox::{Envelope, Event as _},
    params,
};
use huika_members::{IdentityJoined, MemberState, Members, MembersError, Registered};
use huika_testing::TestDb;

use crate::shop::{PHONE, Shop, code, person, phone};

/// Members, keys, names and events, counted.
async fn counts(cx: &TestDb) -> [i64; 4] {
    [
        cx.count("SELECT COUNT(*) AS n FROM members_member").await,
        cx.count("SELECT COUNT(*) AS n FROM members_key").await,
        cx.count("SELECT COUNT(*) AS n FROM members_identity").await,
        cx.count("SELECT COUNT(*) AS n FROM kernel_outbox").await,
    ]
}

huika_testing::db_test! { migrations = huika_members::migrations,
    async fn sixty_four_registrations_of_one_phone_give_one_member(cx) {
        let shop = Arc::new(Shop::open(&cx));
        let tasks = (0..64).map(|at| {
            let shop = Arc::clone(&shop);
            // Half of them also know the customer number, and claim two names.
            let command = person(PHONE, if at % 2 == 0 { "17850" } else { "" });
            tokio::spawn(async move { shop.members.register(&shop.owner, command).await.unwrap() })
        });
        let answers: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();

        assert_eq!(answers.iter().filter(|answer| answer.created).count(), 1);
        let ids: HashSet<_> = answers.iter().map(|answer| answer.member_id).collect();
        assert_eq!(ids.len(), 1);
        assert_eq!(counts(&cx).await, [1, 1, 3, 1], "phone, customer number and card");
    }

    async fn the_same_person_comes_back_as_the_same_member(cx) {
        let shop = Shop::open(&cx);
        let first = shop.members.register(&shop.owner, person(PHONE, "")).await.unwrap();
        let again = shop.members.register(&shop.owner, person("+86 138-0013-8000", "")).await.unwrap();
        assert!(first.created && !again.created);
        assert_eq!(first.member, again.member);
        let member = first.member.unwrap();
        assert_eq!((member.state, member.registered_at), (MemberState::Normal, cx.clock.now()));
        assert_eq!(counts(&cx).await, [1, 1, 2, 1]);
    }

    async fn a_known_person_gains_the_other_identity(cx) {
        let shop = Shop::open(&cx);
        let by_phone = shop.members.register(&shop.owner, person(PHONE, "")).await.unwrap().member.unwrap();
        let by_number = shop.members.register(&shop.owner, person("", "17850")).await.unwrap().member.unwrap();
        assert_eq!(by_number.phone_masked, None);

        // The phone gains a customer number, and the customer number a phone.
        let joined = shop.members.register(&shop.owner, person(PHONE, "13047")).await.unwrap();
        assert_eq!((joined.member_id, joined.created), (by_phone.id, false));
        let joined = shop.members.register(&shop.owner, person("13900139000", "17850")).await.unwrap();
        assert_eq!((joined.member_id, joined.created), (by_number.id, false));
        assert_eq!(joined.member.unwrap().phone_masked.as_deref(), Some("139****9000"));
        for (phone, customer, id) in
            [("", "13047", by_phone.id), ("13900139000", "", by_number.id), ("13900139000", "17850", by_number.id)]
        {
            let found = shop.members.register(&shop.owner, person(phone, customer)).await.unwrap();
            assert_eq!((found.member_id, found.created), (id, false), "{phone} {customer}");
        }
        assert_eq!(counts(&cx).await, [2, 2, 6, 2]);
    }

    async fn a_name_that_a_known_member_gains_is_audited_and_told(cx) {
        let mut shop = Shop::open(&cx);
        let db = cx.db.clone().with_topics([IdentityJoined::TOPIC]);
        shop.members = Members::new(db, cx.ids.clone(), Arc::clone(&shop.keyring));
        let till = Actor::with_rights("api_till", ["members.register".to_owned()]);
        let member = shop.members.register(&till, person("", "17850")).await.unwrap().member_id;
        assert_eq!(list_audit(&mut &cx.db, None, 10).await.unwrap(), [], "a connected system registers without");
        shop.members.register(&till, person(PHONE, "17850")).await.unwrap();
        shop.members.register(&till, person(PHONE, "13047")).await.unwrap();
        shop.members.register(&till, person(PHONE, "13047")).await.unwrap();

        let audit = list_audit(&mut &cx.db, None, 10).await.unwrap();
        let told: Vec<_> = audit.iter().map(|entry| (entry.action.as_str(), entry.subject.clone())).collect();
        assert_eq!(told, vec![("members.join_identity", member.to_string()); 2]);
        let joined = serde_json::json!({
            "member_id": member, "kind": "phone", "issuer": null, "joined_at": cx.clock.now(),
        });
        let details: Vec<_> = audit.iter().map(|entry| &entry.detail["joined"][0]).collect();
        assert!(details.contains(&&joined), "{details:?}");
        let events = cx.fetch_all("SELECT payload FROM kernel_outbox ORDER BY event_id").await;
        let event: Envelope = serde_json::from_str(&events[0].get::<String>("payload").unwrap()).unwrap();
        let event = event.data::<IdentityJoined>().unwrap();
        assert_eq!((events.len(), event.member_id, event.kind.as_str()), (2, member, "phone"));
    }

    async fn an_operator_who_registers_somebody_is_on_record(cx) {
        let shop = Shop::open(&cx);
        let member = shop.members.register(&shop.owner, person(PHONE, "")).await.unwrap().member_id;
        shop.members.register(&shop.owner, person(PHONE, "")).await.unwrap();
        let audit = list_audit(&mut &cx.db, None, 10).await.unwrap();
        assert_eq!(audit.len(), 1);
        assert_eq!((audit[0].action.as_str(), &audit[0].subject), ("members.register", &member.to_string()));
    }

    async fn registering_is_no_way_to_look_people_up(cx) {
        let shop = Shop::open(&cx);
        let till = Actor::with_rights("api_till", ["members.register".to_owned()]);
        let new = shop.members.register(&till, person(PHONE, "")).await.unwrap();
        assert!(new.member.is_some(), "what the till has just told");
        let known = shop.members.register(&till, person(PHONE, "")).await.unwrap();
        assert_eq!((known.member_id, known.created, known.member), (new.member_id, false, None));
        let rights = ["members.register", "members.read"].map(str::to_owned);
        let adviser = Actor::with_rights("api_adviser", rights);
        assert!(shop.members.register(&adviser, person(PHONE, "")).await.unwrap().member.is_some());
    }

    async fn identities_of_two_members_are_refused_and_nothing_changes(cx) {
        let shop = Shop::open(&cx);
        shop.members.register(&shop.owner, person(PHONE, "17850")).await.unwrap();
        shop.members.register(&shop.owner, person("", "13047")).await.unwrap();
        let before = counts(&cx).await;
        let register = |phone, customer| shop.members.register(&shop.owner, person(phone, customer));

        assert_eq!(code(register(PHONE, "13047").await), "members.identity_conflict");
        assert_eq!(code(register("13900139000", "17850").await), "members.phone_differs");
        assert_eq!(code(register("", "").await), "members.identity_required");
        assert_eq!(counts(&cx).await, before);
    }

    async fn many_people_register_at_once_and_each_command_has_its_own_outcome(cx) {
        let shop = Shop::open(&cx);
        let known = shop.members.register(&shop.owner, person("", "0")).await.unwrap().member_id;
        let mut commands: Vec<_> = (0..1_200).map(|at| person("", &at.to_string())).collect();
        commands.push(person(PHONE, "0")); // somebody known gains a phone
        commands.push(person(PHONE, "1")); // and another one does not get the same
        commands.push(person("", "7")); // a repetition
        commands.push(person("", ""));
        for at in 2..300 {
            commands.push(person(&phone(at), &at.to_string())); // people of this batch gain phones
        }
        let outcomes = shop.register_many(&commands).await.unwrap();

        assert_eq!(outcomes.len(), commands.len());
        let created = outcomes.iter().flatten().filter(|registered| registered.created).count();
        assert_eq!(created, 1_199);
        assert!(matches!(outcomes[0], Ok(Registered { member_id, created: false }) if member_id == known));
        assert!(matches!(outcomes[1_200], Ok(Registered { member_id, created: false }) if member_id == known));
        assert!(matches!(outcomes[1_201], Err(MembersError::IdentityConflict)));
        assert_eq!(outcomes[1_202].as_ref().unwrap().member_id, outcomes[7].as_ref().unwrap().member_id);
        assert!(matches!(outcomes[1_203], Err(MembersError::IdentityRequired)));
        assert_eq!(counts(&cx).await, [1_200, 1_200, 2 * 1_200 + 299, 1_200]);

        // A second time changes nothing, and phones that came later are joined in bulk.
        let again = shop.register_many(&commands).await.unwrap();
        assert!(again.iter().flatten().all(|registered| !registered.created));
        let later: Vec<_> = (300..1_000).map(|at| person(&phone(at), &at.to_string())).collect();
        assert!(shop.register_many(&later).await.unwrap().iter().all(Result::is_ok));
        let member = outcomes[999].as_ref().unwrap().member_id;
        let revealed = shop.members.reveal_phone(&shop.owner, member).await.unwrap();
        assert_eq!(revealed.reveal(), "+8613900000999");
        assert_eq!(counts(&cx).await, [1_200, 1_200, 2 * 1_200 + 999, 1_200]);
    }

    /// Names are claimed in one order, so that batches over the same people wait for each other and never
    /// in a circle.
    async fn batches_over_the_same_people_give_each_of_them_one_member(cx) {
        let shop = Arc::new(Shop::open(&cx));
        let tasks = (0..8).map(|task| {
            let shop = Arc::clone(&shop);
            let mut commands: Vec<_> = (0..100).map(|at| person(&phone(at), &at.to_string())).collect();
            if task % 2 == 1 {
                commands.reverse();
            }
            tokio::spawn(async move { shop.register_many(&commands).await.unwrap() })
        });
        let outcomes: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
        let created = outcomes.iter().flatten().flatten().filter(|registered| registered.created).count();
        assert_eq!(created, 100);
        assert_eq!(counts(&cx).await, [100, 100, 300, 100]);
    }

    async fn a_card_number_that_is_taken_is_drawn_again(cx) {
        let shop = Shop::open(&cx);
        let mut cards = HashSet::new();
        for node in 1..=2 {
            // Two nodes whose chance is the same draw the same number first.
            let options = DbOptions::default();
            let db = Db::connect(cx.url(), &options, cx.clock.clone(), Rng::seeded(7)).await.unwrap();
            let ids = IdGenerator::new(cx.clock.clone(), node);
            let members = Members::new(db.clone(), ids, Arc::clone(&shop.keyring));
            let command = person(&phone(usize::from(node)), "");
            cards.insert(members.register(&shop.owner, command).await.unwrap().member.unwrap().card_number);
            db.close().await;
        }
        assert_eq!(cards.len(), 2);
    }

    /// A crash inside a commit over two shards can leave a name without its member for a while (ADR 7,
    /// rule 3): that is no reason to make a second member.
    async fn a_name_whose_member_cannot_be_seen_yet_is_waited_for(cx) {
        let shop = Shop::open(&cx);
        let member = shop.members.register(&shop.owner, person(PHONE, "")).await.unwrap().member.unwrap();
        cx.execute("DELETE FROM members_member WHERE member_id = ?", params![member.id]).await;
        assert_eq!(code(shop.members.register(&shop.owner, person(PHONE, "")).await), "system.busy");
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM members_member").await, 0);
    }

    async fn registering_needs_its_permission(cx) {
        let shop = Shop::open(&cx);
        let reader = Actor::with_rights("opr_reader", ["members.read".to_owned()]);
        assert_eq!(code(shop.members.register(&reader, person(PHONE, "")).await), "access.denied");
        let registrar = Actor::with_rights("api_shop", ["members.register".to_owned()]);
        assert!(shop.members.register(&registrar, person(PHONE, "")).await.unwrap().created);
    }

    async fn the_event_of_a_registration_tells_no_personal_data(cx) {
        let shop = Shop::open(&cx);
        let mut command = person(PHONE, "17850");
        command.nickname = Some("小明".parse().unwrap());
        let member = shop.members.register(&shop.owner, command).await.unwrap().member.unwrap();
        let row = (&mut &cx.db).fetch_one("SELECT topic, payload FROM kernel_outbox", params![]).await.unwrap();
        assert_eq!(row.get::<String>("topic").unwrap(), "members.member_registered");
        let payload: serde_json::Value = serde_json::from_str(&row.get::<String>("payload").unwrap()).unwrap();
        let expected = serde_json::json!({
            "member_id": member.id.to_string(),
            "card_number": member.card_number.to_string(),
            "channel": "store",
            "store_code": "SH-001",
            "has_phone": true,
            "external_issuer": "online-retail",
            "scene": null,
            "staff_code": null,
            "inviter": null,
            "registered_at": "2026-11-21T02:00:00.000Z",
        });
        assert_eq!((&payload["version"], &payload["data"]), (&serde_json::json!(1), &expected));
    }
}
