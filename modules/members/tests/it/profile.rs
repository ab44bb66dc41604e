//! Profiles: personal data that comes later, birthdays found by their index, index keys that change.

use std::sync::Arc;

use data_encoding::BASE64;
use futures::future::join_all;
use huika_core::{Actor, Keyring, MemberId};
use huika_db::{audit::list_audit, outbox::Event as _};
use huika_members::{
    BirthDay, BirthdayChanged, ChangeProfile, Identity, Members, MembersError, PersonalField, PersonalValue,
    ProfileCompleted,
};
use huika_testing::TestDb;

use crate::shop::{PHONE, Shop, code, person, phone};

fn value(cx: &TestDb, field: PersonalField, text: &str) -> PersonalValue {
    PersonalValue::try_new(field, text, cx.clock.now()).unwrap()
}

fn set(version: i64, values: Vec<PersonalValue>) -> ChangeProfile {
    ChangeProfile {
        version,
        set: values,
        ..ChangeProfile::default()
    }
}

async fn registered(shop: &Shop, phone: &str) -> MemberId {
    shop.members
        .register(&shop.owner, person(phone, ""))
        .await
        .unwrap()
        .member_id
}

const MAY_17: BirthDay = BirthDay { month: 5, day: 17 };

async fn born_on(members: &Members, shop: &Shop, day: BirthDay) -> Vec<MemberId> {
    members
        .birthdays_in_tx(&mut &shop.db, day, None, 100)
        .await
        .unwrap()
}

huika_testing::db_test! { migrations = huika_members::migrations,
    async fn a_profile_is_changed_by_the_version_that_was_read(cx) {
        let shop = Shop::open(&cx);
        let id = registered(&shop, PHONE).await;
        let values = vec![
            value(&cx, PersonalField::Birthday, "1990-05-17"),
            value(&cx, PersonalField::RealName, "王小明"),
        ];
        let changed = shop.members.change_profile(&shop.owner, id, set(1, values.clone())).await.unwrap();
        assert_eq!((changed.version, &changed.values), (2, &values));
        assert_eq!(shop.members.profile(&shop.owner, id).await.unwrap(), changed);
        let stale = shop.members.change_profile(&shop.owner, id, set(1, Vec::new())).await;
        assert_eq!(code(stale), "members.changed_meanwhile");

        let forget = ChangeProfile {
            version: 2,
            nickname: Some("小明".parse().unwrap()),
            remove: vec![PersonalField::RealName],
            ..ChangeProfile::default()
        };
        let changed = shop.members.change_profile(&shop.owner, id, forget).await.unwrap();
        assert_eq!(changed.values, values[..1]);
        assert_eq!(changed.member.nickname, Some("小明".parse().unwrap()));
        let audit = list_audit(&mut &cx.db, None, 10).await.unwrap();
        let details: Vec<_> = audit.iter().filter(|entry| entry.action == "members.edit").collect();
        assert_eq!(details.len(), 2);
        assert!(details.iter().any(|entry| entry.detail == serde_json::json!({"profile": ["real_name", "nickname"]})));
        let nobody = shop.members.profile(&shop.owner, MemberId::from_i64(42)).await;
        assert!(matches!(nobody, Err(MembersError::NotFound)));
    }

    async fn of_changes_at_the_same_time_one_is_made(cx) {
        let shop = Arc::new(Shop::open(&cx));
        let id = registered(&shop, PHONE).await;
        let tasks = (0..16).map(|at| {
            let shop = Arc::clone(&shop);
            let change = set(1, vec![value(&cx, PersonalField::Birthday, &format!("1990-05-{:02}", at + 1))]);
            tokio::spawn(async move { shop.members.change_profile(&shop.owner, id, change).await })
        });
        let outcomes: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        for outcome in outcomes {
            assert!(matches!(outcome, Ok(_) | Err(MembersError::ChangedMeanwhile)), "{outcome:?}");
        }
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM members_lookup WHERE kind = 'birthday'").await, 1);
    }

    async fn birthdays_are_found_by_their_index_page_by_page(cx) {
        let shop = Shop::open(&cx);
        let mut expected = Vec::new();
        for at in 0..7 {
            let id = registered(&shop, &phone(at)).await;
            let born = if at < 5 { format!("19{}0-05-17", at + 5) } else { "2000-02-29".to_owned() };
            let change = set(1, vec![value(&cx, PersonalField::Birthday, &born)]);
            shop.members.change_profile(&shop.owner, id, change).await.unwrap();
            if at < 5 {
                expected.push(id);
            }
        }
        expected.sort_unstable();
        let mut found = Vec::new();
        loop {
            let page = shop.members.birthdays_in_tx(&mut &shop.db, MAY_17, found.last().copied(), 2).await.unwrap();
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, expected);
        assert_eq!(born_on(&shop.members, &shop, BirthDay { month: 2, day: 29 }).await.len(), 2);
        assert_eq!(born_on(&shop.members, &shop, BirthDay { month: 2, day: 28 }).await, []);
        let first = expected[0];
        assert_eq!(shop.members.birthday_of_in_tx(&mut &shop.db, first).await.unwrap(), Some(MAY_17));

        // A birthday that moves is found on its new day alone.
        let profile = shop.members.profile(&shop.owner, first).await.unwrap();
        let moved = set(profile.version, vec![value(&cx, PersonalField::Birthday, "1990-05-18")]);
        shop.members.change_profile(&shop.owner, first, moved).await.unwrap();
        assert_eq!(born_on(&shop.members, &shop, MAY_17).await, expected[1..]);
    }

    async fn what_is_told_of_a_birthday_and_of_a_complete_profile(cx) {
        let mut shop = Shop::open(&cx);
        shop.db = cx.db.clone().with_topics([BirthdayChanged::TOPIC, ProfileCompleted::TOPIC]);
        shop.members = Members::new(shop.db.clone(), cx.ids.clone(), Arc::clone(&shop.keyring));
        let id = registered(&shop, PHONE).await;
        let events = async || -> Vec<String> {
            let rows = cx.fetch_all("SELECT topic, payload FROM kernel_outbox ORDER BY event_id").await;
            assert!(rows.iter().all(|row| !row.get::<String>("payload").unwrap().contains("05-17")));
            rows.iter().map(|row| row.get("topic").unwrap()).collect()
        };
        let complete = ChangeProfile {
            version: 1,
            nickname: Some("小明".parse().unwrap()),
            set: vec![
                value(&cx, PersonalField::Birthday, "1990-05-17"),
                value(&cx, PersonalField::Gender, "male"),
            ],
            remove: Vec::new(),
        };
        shop.members.change_profile(&shop.owner, id, complete).await.unwrap();
        assert_eq!(events().await, [BirthdayChanged::TOPIC, ProfileCompleted::TOPIC]);
        // The same birthday again is no change, and a profile is completed once.
        let same = set(2, vec![value(&cx, PersonalField::Birthday, "1990-05-17")]);
        shop.members.change_profile(&shop.owner, id, same).await.unwrap();
        assert_eq!(events().await.len(), 2);
    }

    async fn every_field_is_revealed_with_a_trace(cx) {
        let shop = Shop::open(&cx);
        let id = registered(&shop, PHONE).await;
        for (at, (field, text)) in [
            (PersonalField::Birthday, "1990-05-17"),
            (PersonalField::Gender, "other"),
            (PersonalField::RealName, "王小明"),
            (PersonalField::IdNumber, "11010519491231002X"),
            (PersonalField::Address, "南京西路1号"),
            (PersonalField::Email, "ming@example.com"),
            (PersonalField::Avatar, "https://a.example/1.png"),
        ].into_iter().enumerate() {
            let missing = shop.members.reveal_field(&shop.owner, id, field).await;
            assert_eq!(code(missing), "members.field_unknown");
            let change = set(1 + at as i64, vec![value(&cx, field, text)]);
            shop.members.change_profile(&shop.owner, id, change).await.unwrap();
            let reader = Actor::with_rights("opr_reader", ["members.read".to_owned(), "members.edit".to_owned()]);
            assert_eq!(code(shop.members.reveal_field(&reader, id, field).await), "access.denied");
            assert_eq!(shop.members.reveal_field(&shop.owner, id, field).await.unwrap().reveal(), text);
        }
        let audit = list_audit(&mut &cx.db, None, 50).await.unwrap();
        let reveals = audit.iter().filter(|entry| entry.action == "members.reveal");
        let mut fields: Vec<&str> = reveals.map(|entry| entry.detail["field"].as_str().unwrap()).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["address", "avatar", "birthday", "email", "gender", "id_number", "real_name"]);
    }

    async fn an_export_holds_everything_in_clear_and_is_audited(cx) {
        let shop = Shop::open(&cx);
        let id = registered(&shop, PHONE).await;
        let change = set(1, vec![value(&cx, PersonalField::RealName, "王小明")]);
        shop.members.change_profile(&shop.owner, id, change).await.unwrap();
        let all = shop.members.export_member(&shop.owner, id).await.unwrap();
        assert_eq!((&all["phone"], &all["personal"]["real_name"]), (&"+8613800138000".into(), &"王小明".into()));
        let kinds: Vec<&str> = all["identities"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["card", "phone"]);
        let audit = list_audit(&mut &cx.db, None, 10).await.unwrap();
        assert!(audit.iter().any(|entry| entry.action == "members.export"));
        let reader = Actor::with_rights("opr_reader", ["members.read".to_owned()]);
        assert_eq!(code(shop.members.export_member(&reader, id).await), "access.denied");
    }

    /// One process has the new index key already, another one has not: a phone is one member's all the same.
    async fn index_keys_change_while_several_processes_work(cx) {
        let old = Shop::open(&cx);
        let text = Keyring::generate(&huika_core::Rng::seeded(9));
        let both = format!("{}index2:{}\n", *text, BASE64.encode(&[9; 32]));
        let first = Arc::new(Keyring::parse(&text).unwrap());
        let second = Arc::new(Keyring::parse(&both).unwrap());
        let before = Members::new(old.db.clone(), cx.ids.clone(), first);
        let after = Members::new(old.db.clone(), cx.ids.clone(), second);

        let by_old = before.register(&old.owner, person(&phone(1), "")).await.unwrap();
        assert!(!after.register(&old.owner, person(&phone(1), "")).await.unwrap().created);
        let by_new = after.register(&old.owner, person(&phone(2), "17850")).await.unwrap();
        assert!(!before.register(&old.owner, person(&phone(2), "")).await.unwrap().created);
        assert!(!before.register(&old.owner, person("", "17850")).await.unwrap().created);
        let both_ways = [(&before, by_new.member_id, phone(2)), (&after, by_old.member_id, phone(1))];
        for (members, id, phone) in both_ways {
            let found = members.find_by_identity(&old.owner, &Identity::Phone(phone.parse().unwrap())).await.unwrap();
            assert_eq!(found.id, id);
        }
        let change = set(1, vec![value(&cx, PersonalField::Birthday, "1991-05-17")]);
        after.change_profile(&old.owner, by_new.member_id, change).await.unwrap();
        for members in [&before, &after] {
            assert_eq!(born_on(members, &old, MAY_17).await, [by_new.member_id], "each once");
        }
    }
}
