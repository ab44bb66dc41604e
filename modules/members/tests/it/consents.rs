//! Registration in one call, consents and what counts of them, and searches.

use std::sync::Arc;

use futures::future::join_all;
use huika_core::{Actor, Bilingual, MemberId};
use huika_db::{audit::list_audit, outbox::Event as _};
use huika_members::{
    AgreementVersion, Attribution, ChangeProfile, ConsentDecided, ConsentDecision, Enrolment, Members,
    MembersError, NewAgreement, PersonalField, PersonalValue, ProfileCompleted, Purpose, Reason, Search,
};
use huika_testing::TestDb;

use crate::{
    personal_data::dump,
    shop::{PHONE, Shop, code, person, phone},
};

fn why() -> Reason {
    "test".parse().unwrap()
}

fn privacy(version: i64) -> AgreementVersion {
    AgreementVersion {
        code: "privacy".parse().unwrap(),
        version,
    }
}

fn decision(purpose: Purpose, granted: bool) -> ConsentDecision {
    ConsentDecision {
        purpose,
        granted,
        agreement: None,
    }
}

async fn publish(shop: &Shop, hash: char) -> AgreementVersion {
    let new = NewAgreement {
        code: "privacy".parse().unwrap(),
        title: Bilingual::new("隐私政策", "Privacy policy"),
        text_hash: hash.to_string().repeat(64),
    };
    shop.members
        .publish_agreement(&shop.owner, new)
        .await
        .unwrap()
        .version
}

fn born(cx: &TestDb, date: &str) -> PersonalValue {
    PersonalValue::try_new(PersonalField::Birthday, date, cx.clock.now()).unwrap()
}

async fn consenting(shop: &Shop, ids: &[MemberId], purpose: Purpose) -> Vec<MemberId> {
    let consents = shop
        .members
        .consents_in_tx(&mut &shop.db, ids, purpose)
        .await
        .unwrap();
    ids.iter().copied().filter(|id| consents.contains(id)).collect()
}

huika_testing::db_test! { migrations = huika_members::migrations,
    async fn everything_comes_with_the_registration_and_how_the_person_came_stays_for_life(cx) {
        let mut shop = Shop::open(&cx);
        shop.db = cx.db.clone().with_topics([ProfileCompleted::TOPIC]);
        shop.members = Members::new(shop.db.clone(), cx.ids.clone(), Arc::clone(&shop.keyring));
        assert_eq!(publish(&shop, 'a').await, privacy(1));
        let inviter = shop.members.register(&shop.owner, person(&phone(1), "")).await.unwrap().member_id;
        let mut whole = Enrolment::from(person(PHONE, ""));
        whole.person.nickname = Some("小明".parse().unwrap());
        let gender = PersonalValue::try_new(PersonalField::Gender, "male", cx.clock.now()).unwrap();
        whole.values = vec![born(&cx, "1990-05-17"), gender];
        whole.attribution = Attribution {
            scene: Some("spring-poster".parse().unwrap()),
            staff_code: Some("S-017".parse().unwrap()),
            inviter: Some(inviter),
        };
        whole.consents = vec![ConsentDecision {
            purpose: Purpose::Service,
            granted: true,
            agreement: Some(privacy(1)),
        }];
        let id = shop.members.enrol(&shop.owner, whole.clone()).await.unwrap().member_id;
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM kernel_outbox").await, 1, "the profile is complete");

        // A second time nothing is added, and whoever is known keeps what is known.
        whole.attribution.scene = Some("other".parse().unwrap());
        whole.values = vec![born(&cx, "1991-06-18")];
        let again = shop.members.enrol(&shop.owner, whole.clone()).await.unwrap();
        assert_eq!((again.member_id, again.created), (id, false));
        let export = shop.members.export_member(&shop.owner, id).await.unwrap();
        assert_eq!(export["attribution"]["scene"], "spring-poster");
        assert_eq!(export["attribution"]["staff_code"], "S-017");
        assert_eq!(export["attribution"]["inviter"], inviter.to_string());
        assert_eq!(export["personal"]["birthday"], "1990-05-17");
        assert_eq!(export["consents"].as_array().unwrap().len(), 1);
        assert_eq!(consenting(&shop, &[id, inviter], Purpose::Service).await, [id]);

        whole.person = person(&phone(2), "");
        whole.attribution.inviter = Some(MemberId::from_i64(42));
        assert_eq!(code(shop.members.enrol(&shop.owner, whole.clone()).await), "members.inviter_unknown");
        whole.attribution.inviter = None;
        whole.consents[0].agreement = Some(privacy(2));
        assert_eq!(code(shop.members.enrol(&shop.owner, whole).await), "members.agreement_unknown");
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM members_member").await, 2);
    }

    async fn an_inviter_who_was_merged_is_the_one_who_stands_for_both(cx) {
        let shop = Shop::open(&cx);
        let first = shop.members.register(&shop.owner, person(&phone(1), "")).await.unwrap().member_id;
        cx.clock.advance(std::time::Duration::from_secs(1));
        let second = shop.members.register(&shop.owner, person(&phone(2), "")).await.unwrap().member_id;
        shop.members.merge(&shop.owner, first, second, &why()).await.unwrap();
        let mut invited = Enrolment::from(person(PHONE, ""));
        invited.attribution.inviter = Some(second);
        let id = shop.members.enrol(&shop.owner, invited).await.unwrap().member_id;
        let export = shop.members.export_member(&shop.owner, id).await.unwrap();
        assert_eq!(export["attribution"]["inviter"], first.to_string());
    }

    async fn below_fourteen_a_guardian_decides(cx) {
        let shop = Shop::open(&cx);
        let mut child = Enrolment::from(person(PHONE, ""));
        child.values = vec![born(&cx, "2015-01-01")];
        for guardian in [None, Some(PHONE)] {
            child.guardian_phone = guardian.map(|phone| phone.parse().unwrap());
            assert_eq!(code(shop.members.enrol(&shop.owner, child.clone()).await), "members.guardian_required");
        }
        // In a batch only the child is refused.
        let batch = vec![child.clone(), person(&phone(1), "").into()];
        let outcomes = shop.db.run_tx("test.enrol", |tx| {
            let (shop, batch) = (&shop, batch.clone());
            Box::pin(async move { shop.members.enrol_many_in_tx(tx, &shop.owner, batch).await })
        }).await.unwrap();
        assert!(matches!(outcomes[..], [Err(MembersError::GuardianRequired), Ok(_)]), "{outcomes:?}");
        child.guardian_phone = Some("13700137000".parse().unwrap());
        let id = shop.members.enrol(&shop.owner, child).await.unwrap().member_id;

        let adult = outcomes[1].as_ref().unwrap().member_id;
        let rejuvenated = |version| ChangeProfile {
            version,
            set: vec![born(&cx, "2016-02-29")],
            ..ChangeProfile::default()
        };
        let changed = shop.members.change_profile(&shop.owner, id, rejuvenated(1)).await;
        assert!(changed.is_ok(), "the guardian has consented");
        let refused = shop.members.change_profile(&shop.owner, adult, rejuvenated(1)).await;
        assert_eq!(code(refused), "members.guardian_required");
        let own = shop.members.set_guardian(&shop.owner, adult, &phone(1).parse().unwrap()).await;
        assert_eq!(code(own), "members.guardian_required");
        shop.members.set_guardian(&shop.owner, adult, &"13700137000".parse().unwrap()).await.unwrap();
        assert!(shop.members.change_profile(&shop.owner, adult, rejuvenated(2)).await.is_ok());
        let columns: Vec<String> = dump(&cx).await.into_iter()
            .filter(|(_, bytes)| bytes.windows(11).any(|window| window == b"13700137000"))
            .map(|(column, _)| column).collect();
        assert_eq!(columns, Vec::<String>::new(), "the guardian's phone is sealed as well");
    }

    async fn the_latest_decision_counts_and_every_one_is_kept(cx) {
        let mut shop = Shop::open(&cx);
        shop.db = cx.db.clone().with_topics([ConsentDecided::TOPIC]);
        shop.members = Members::new(shop.db.clone(), cx.ids.clone(), Arc::clone(&shop.keyring));
        let id = shop.members.register(&shop.owner, person(PHONE, "")).await.unwrap().member_id;
        for (granted, rows, holds) in [(true, 1, true), (true, 1, true), (false, 2, false), (true, 3, true), (false, 4, false)] {
            cx.clock.advance(std::time::Duration::from_secs(1));
            let records = shop.members.decide_consent(&shop.owner, id, decision(Purpose::Profiling, granted)).await.unwrap();
            assert_eq!(records.len(), rows);
            assert_eq!(!consenting(&shop, &[id], Purpose::Profiling).await.is_empty(), holds);
            assert_eq!(consenting(&shop, &[id], Purpose::Marketing).await, []);
        }
        assert_eq!(shop.members.consents(&shop.owner, id).await.unwrap().len(), 4);
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM kernel_outbox").await, 4);
        let audit = list_audit(&mut &cx.db, None, 50).await.unwrap();
        assert_eq!(audit.iter().filter(|entry| entry.action == "members.consent").count(), 4);
        let unknown = ConsentDecision { agreement: Some(privacy(1)), ..decision(Purpose::Service, true) };
        assert_eq!(code(shop.members.decide_consent(&shop.owner, id, unknown).await), "members.agreement_unknown");
        let reader = Actor::with_rights("opr_reader", ["members.read".to_owned()]);
        let denied = shop.members.decide_consent(&reader, id, decision(Purpose::Service, true)).await;
        assert_eq!(code(denied), "access.denied");
    }

    async fn versions_of_an_agreement_are_counted_also_when_two_publish_at_once(cx) {
        let shop = Arc::new(Shop::open(&cx));
        let tasks = ['a', 'b', 'c', 'd'].map(|hash| {
            let shop = Arc::clone(&shop);
            tokio::spawn(async move { publish(&shop, hash).await })
        });
        let mut versions: Vec<i64> = join_all(tasks).await.into_iter().map(|one| one.unwrap().version).collect();
        versions.sort_unstable();
        assert_eq!(versions, [1, 2, 3, 4]);
        let latest = shop.members.agreements(&shop.owner).await.unwrap().pop().unwrap();
        let again = NewAgreement { code: latest.version.code.clone(), title: latest.title, text_hash: latest.text_hash };
        assert_eq!(shop.members.publish_agreement(&shop.owner, again).await.unwrap().version, latest.version);
        let wrong = NewAgreement {
            code: "privacy".parse().unwrap(),
            title: Bilingual::new("隐私政策", "Privacy policy"),
            text_hash: "x".repeat(64),
        };
        assert_eq!(code(shop.members.publish_agreement(&shop.owner, wrong).await), "members.agreement_invalid");
    }

    async fn the_stricter_consent_survives_a_merge_and_comes_apart_again(cx) {
        let shop = Shop::open(&cx);
        let first = shop.members.register(&shop.owner, person(&phone(1), "")).await.unwrap().member_id;
        cx.clock.advance(std::time::Duration::from_secs(1));
        let second = shop.members.register(&shop.owner, person(&phone(2), "")).await.unwrap().member_id;
        for (id, purpose, granted) in [
            (first, Purpose::Marketing, true),
            (second, Purpose::Marketing, false),
            (first, Purpose::Profiling, false),
            (second, Purpose::Profiling, true),
            (second, Purpose::Service, true),
        ] {
            shop.members.decide_consent(&shop.owner, id, decision(purpose, granted)).await.unwrap();
        }
        let rows = async || {
            let mut rows = dump(&cx).await;
            rows.retain(|(column, _)| column.starts_with("members_") && !column.starts_with("members_merge."));
            rows.sort_unstable();
            rows
        };
        let before = rows().await;
        cx.clock.advance(std::time::Duration::from_secs(1));
        shop.members.merge(&shop.owner, first, second, &why()).await.unwrap();
        for (purpose, holds) in [(Purpose::Marketing, false), (Purpose::Profiling, false), (Purpose::Service, true)] {
            let both = consenting(&shop, &[first, second], purpose).await;
            assert_eq!(both, if holds { vec![first] } else { Vec::new() }, "{purpose:?}");
        }
        shop.members.unmerge(&shop.owner, second, &why()).await.unwrap();
        assert_eq!(rows().await, before);
        assert_eq!(consenting(&shop, &[first, second], Purpose::Marketing).await, [first]);
    }

    async fn members_are_found_by_what_people_say_at_the_counter(cx) {
        let shop = Shop::open(&cx);
        let mut ids = Vec::new();
        for (at, nickname) in ["Anna Bell", "小明", "小红"].into_iter().enumerate() {
            let mut command = person(&phone(at), "");
            command.nickname = Some(nickname.parse().unwrap());
            ids.push(shop.members.register(&shop.owner, command).await.unwrap().member_id);
        }
        let now = cx.clock.now();
        let told = [(PersonalField::RealName, "安娜"), (PersonalField::IdNumber, "11010519491231002x")];
        let set = told.map(|(field, text)| PersonalValue::try_new(field, text, now).unwrap()).to_vec();
        let change = ChangeProfile { version: 1, set, ..ChangeProfile::default() };
        shop.members.change_profile(&shop.owner, ids[0], change).await.unwrap();
        let mut both = vec![ids[1], ids[2]];
        both.sort_unstable();
        for (search, expected) in [
            (Search::PhoneTail("0001".into()), vec![ids[1]]),
            (Search::PhoneTail("9999".into()), vec![]),
            (Search::Name("anna bell".into()), vec![ids[0]]),
            (Search::Name("ANNABELL".into()), vec![ids[0]]),
            (Search::Name("安娜".into()), vec![ids[0]]),
            (Search::Name("Anna".into()), vec![]),
            (Search::NameBegins("小".into()), both.clone()),
            (Search::NameBegins("a".into()), vec![ids[0]]),
            (Search::IdNumber("11010519491231002X".into()), vec![ids[0]]),
        ] {
            let found = shop.members.search(&shop.owner, &search, None, 10).await.unwrap();
            assert_eq!(found.iter().map(|member| member.id).collect::<Vec<_>>(), expected);
            assert!(found.iter().all(|member| member.phone_masked.as_ref().unwrap().contains("****")));
        }
        let first = shop.members.search(&shop.owner, &Search::NameBegins("小".into()), None, 1).await.unwrap();
        assert_eq!(first[0].id, both[0]);
        let next = shop.members.search(&shop.owner, &Search::NameBegins("小".into()), Some(both[0]), 1).await.unwrap();
        assert_eq!(next[0].id, both[1]);
        for search in [Search::PhoneTail("12".into()), Search::PhoneTail("abcd".into()), Search::Name(" ".into())] {
            assert_eq!(code(shop.members.search(&shop.owner, &search, None, 10).await), "members.search_invalid");
        }
    }
}
