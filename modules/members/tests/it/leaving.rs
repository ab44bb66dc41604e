//! Leaving: freezes that end, members who are erased for good, and keys that change under everybody.

use std::{sync::Arc, time::Duration};

use data_encoding::{BASE64, HEXLOWER};
use huika_core::{Actor, Keyring, MemberId};
use huika_db::{audit::list_audit, jobs::JobHandler as _};
use huika_members::{
    BirthDay, ChangeProfile, Identity, MemberAction, MemberState, Members, PersonalField, PersonalValue,
    Reason,
};

use crate::{
    personal_data::dump,
    shop::{PHONE, Shop, code, external, person, phone},
};

fn why() -> Reason {
    "test".parse().unwrap()
}

const TOLD: [(PersonalField, &str); 4] = [
    (PersonalField::Birthday, "1990-05-17"),
    (PersonalField::RealName, "王小明"),
    (PersonalField::IdNumber, "11010519491231002X"),
    (PersonalField::Email, "ming@example.com"),
];
const MAY_17: BirthDay = BirthDay { month: 5, day: 17 };

async fn told(shop: &Shop, phone: &str, customer: &str) -> MemberId {
    let mut command = person(phone, customer);
    command.nickname = Some("小明".parse().unwrap());
    let id = shop
        .members
        .register(&shop.owner, command)
        .await
        .unwrap()
        .member_id;
    let now = shop.db.clock().now();
    let set = TOLD.map(|(field, text)| PersonalValue::try_new(field, text, now).unwrap());
    let change = ChangeProfile {
        version: 1,
        set: set.to_vec(),
        ..ChangeProfile::default()
    };
    shop.members
        .change_profile(&shop.owner, id, change)
        .await
        .unwrap();
    id
}

/// The columns that hold one of some byte strings.
fn columns_with(dump: &[(String, Vec<u8>)], traces: &[Vec<u8>]) -> Vec<String> {
    let holds = |bytes: &[u8]| {
        traces.iter().any(|trace| {
            bytes
                .windows(trace.len())
                .any(|window| window == trace.as_slice())
        })
    };
    dump.iter()
        .filter(|(_, bytes)| holds(bytes))
        .map(|(column, _)| column.clone())
        .collect()
}

huika_testing::db_test! { migrations = huika_members::migrations,
    /// The table of the README, on every engine, with the freeze that ends by itself.
    async fn each_state_blocks_what_the_table_says_until_it_ends(cx) {
        let shop = Shop::open(&cx);
        let id = shop.members.register(&shop.owner, person(PHONE, "")).await.unwrap().member_id;
        let table = "
            state        log_in  earn  burn  receive  evaluate  expire
            normal       yes     yes   yes   yes      yes       yes
            frozen       yes     yes   no    no       yes       yes
            blacklisted  no      no    no    no       no        yes
            closed       no      no    no    no       no        yes
        ";
        use MemberAction::{Burn, Earn, Evaluate, Expire, LogIn, Receive};
        let mut cells_seen = 0;
        for row in table.trim().lines().skip(1) {
            let mut cells = row.split_whitespace();
            let state: MemberState = cells.next().unwrap().parse().unwrap();
            shop.members.set_state(&shop.owner, id, state, &why()).await.unwrap();
            cx.clock.advance(Duration::from_secs(400 * 24 * 3_600));
            let states = shop.members.states_in_tx(&mut &shop.db, &[id]).await.unwrap();
            for (action, cell) in [LogIn, Earn, Burn, Receive, Evaluate, Expire].into_iter().zip(cells) {
                assert_eq!(states[&id].allows(action), cell == "yes", "{state} {action}");
                cells_seen += 1;
            }
        }
        assert_eq!(cells_seen, 24);

        let end = cx.clock.now().plus_millis(3_600_000);
        let members = &shop.members;
        members.set_state_until(&shop.owner, id, MemberState::Frozen, &why(), Some(end)).await.unwrap();
        for (millis, expected) in [(3_599_999, MemberState::Frozen), (1, MemberState::Normal)] {
            cx.clock.advance(Duration::from_millis(millis));
            let states = members.states_in_tx(&mut &shop.db, &[id]).await.unwrap();
            assert_eq!((states[&id], members.find(&shop.owner, id).await.unwrap().state), (expected, expected));
        }
        // A freeze that is over can begin again, and only a freeze ends by itself.
        let past = Some(cx.clock.now());
        for (state, until) in [(MemberState::Frozen, past), (MemberState::Closed, Some(end.plus_millis(9)))] {
            let refused = members.set_state_until(&shop.owner, id, state, &why(), until).await;
            assert_eq!(code(refused), "members.until_invalid");
        }
        let frozen = members.set_state(&shop.owner, id, MemberState::Frozen, &why()).await.unwrap();
        assert_eq!((frozen.standing.until, frozen.standing.since), (None, Some(cx.clock.now())));
        assert_eq!(frozen.standing.actor.as_deref(), Some("opr_test"));
    }

    async fn an_erased_member_cannot_be_brought_back_and_the_phone_is_free(cx) {
        let shop = Shop::open(&cx);
        let id = told(&shop, PHONE, "17850").await;
        cx.clock.advance(Duration::from_secs(1));
        let second = told(&shop, &phone(1), "13047").await;
        let key_of = async |id: MemberId| {
            let rows = cx.fetch_all(&format!("SELECT wrapped FROM members_key WHERE member_id = {}", id.as_i64())).await;
            rows[0].get::<Vec<u8>>("wrapped").unwrap()
        };
        let keys = [key_of(id).await, key_of(second).await];
        shop.members.merge(&shop.owner, id, second, &why()).await.unwrap();
        let card = shop.members.find(&shop.owner, id).await.unwrap().card_number;
        assert_eq!(code(shop.members.erase(&shop.owner, id, &why()).await), "members.not_closed");
        shop.members.set_state(&shop.owner, id, MemberState::Closed, &why()).await.unwrap();
        assert_eq!(code(shop.members.erase(&shop.owner, second, &why()).await), "members.merged");
        for _ in 0..2 {
            shop.members.erase(&shop.owner, id, &why()).await.unwrap();
        }

        // Neither the keys nor any blind index of a name is left, of the redirect no more than of the winner.
        let names = ["+8613800138000", "+8613900000001"]
            .map(|phone| shop.keyring.blind_index("members_identity/", phone).into_bytes());
        let customers = ["17850", "13047"]
            .map(|number| shop.keyring.blind_index("members_identity/online-retail", number).into_bytes());
        let traces: Vec<Vec<u8>> = keys.into_iter().chain(names).chain(customers).collect();
        let hex = traces.iter().map(|trace| HEXLOWER.encode(trace).into_bytes()).collect::<Vec<_>>();
        let dump = dump(&cx).await;
        assert_eq!(columns_with(&dump, &traces), Vec::<String>::new());
        assert_eq!(columns_with(&dump, &hex), Vec::<String>::new());
        for table in ["members_key", "members_personal", "members_lookup", "members_identity"] {
            assert_eq!(cx.count(&format!("SELECT COUNT(*) AS n FROM {table}")).await, 0, "{table}");
        }
        let erased = shop.members.profile(&shop.owner, id).await.unwrap();
        assert_eq!((erased.values.len(), erased.member.phone_masked, erased.member.nickname), (0, None, None));
        assert_ne!(erased.member.card_number, card);
        assert_eq!(code(shop.members.reveal_field(&shop.owner, id, PersonalField::RealName).await), "members.erased");
        assert_eq!(code(shop.members.unmerge(&shop.owner, second, &why()).await), "members.erased");
        let back = shop.members.set_state(&shop.owner, id, MemberState::Normal, &why()).await;
        assert_eq!(code(back), "members.erased");
        assert_eq!(shop.members.birthdays_in_tx(&mut &shop.db, MAY_17, None, 9).await.unwrap(), []);

        let again = shop.members.register(&shop.owner, person(PHONE, "17850")).await.unwrap();
        assert!(again.created && again.member_id != id);
        let audit = list_audit(&mut &cx.db, None, 50).await.unwrap();
        assert_eq!(audit.iter().filter(|entry| entry.action == "members.erase").count(), 1);
        let reader = Actor::with_rights("opr_reader", ["members.set_state".to_owned()]);
        assert_eq!(code(shop.members.erase(&reader, id, &why()).await), "access.denied");
    }

    async fn who_left_long_ago_is_erased_by_the_job_and_nobody_else(cx) {
        let shop = Shop::open(&cx);
        let mut ids = Vec::new();
        for at in 0..4 {
            ids.push(told(&shop, &phone(at), "").await);
        }
        let day = Duration::from_secs(24 * 3_600);
        let job = huika_members::jobs::EraseClosed { members: shop.members.clone(), keep: 30 * day };
        let close = async |at: usize, state| {
            shop.members.set_state(&shop.owner, ids[at], state, &why()).await.unwrap();
        };
        close(0, MemberState::Closed).await;
        close(1, MemberState::Blacklisted).await;
        cx.clock.advance(20 * day);
        close(2, MemberState::Closed).await;
        let left = async || cx.count("SELECT COUNT(*) AS n FROM members_key").await;
        cx.clock.advance(10 * day - Duration::from_millis(1));
        let run = async || {
            let mut last = None;
            let before = cx.clock.now().plus_millis(-(job.keep.as_millis() as i64));
            loop {
                last = job.members.erase_closed(before, last).await.unwrap();
                if last.is_none() {
                    break;
                }
            }
        };
        run().await;
        assert_eq!(left().await, 4, "a millisecond too early");
        cx.clock.advance(Duration::from_millis(1));
        run().await;
        assert_eq!(left().await, 3);
        cx.clock.advance(20 * day);
        run().await;
        assert_eq!(left().await, 2);
        assert_eq!(job.queue(), huika_members::jobs::ERASE_QUEUE);
        assert!(shop.members.reveal_phone(&shop.owner, ids[1]).await.is_ok());
        assert!(shop.members.reveal_phone(&shop.owner, ids[3]).await.is_ok());
    }

    /// Both keys change; afterwards the old lines of the file are needed for nothing but numbers of other systems.
    async fn everybody_comes_under_new_keys_step_by_step(cx) {
        let text = Keyring::generate(&huika_core::Rng::seeded(9));
        let mut shop = Shop::open(&cx);
        shop.keyring = Arc::new(Keyring::parse(&text).unwrap());
        shop.members = Members::new(shop.db.clone(), cx.ids.clone(), Arc::clone(&shop.keyring));
        let mut ids = Vec::new();
        for at in 0..120 {
            ids.push(shop.members.register(&shop.owner, person(&phone(at), "")).await.unwrap().member_id);
        }
        let full = told(&shop, PHONE, "17850").await;
        cx.clock.advance(Duration::from_secs(1));
        let other = told(&shop, "13700137000", "13047").await;
        shop.members.merge(&shop.owner, full, other, &why()).await.unwrap();

        let (master, index) = (BASE64.encode(&[8; 32]), BASE64.encode(&[9; 32]));
        let both = format!("{}2:{master}\nindex2:{index}\n", *text);
        let during = Members::new(shop.db.clone(), cx.ids.clone(), Keyring::parse(&both).unwrap().into());
        // Two workers, one of which stops half way.
        assert_eq!(during.rotate_keys_step().await.unwrap(), 50);
        let again = during.clone();
        let (one, two) = tokio::join!(during.rotate_keys_step(), again.rotate_keys_step());
        assert_eq!(one.unwrap() + two.unwrap(), 72);
        assert_eq!(during.rotate_keys_step().await.unwrap(), 0);
        let progress = during.rotations(&shop.owner).await.unwrap();
        assert_eq!(progress.len(), 1);
        assert_eq!((progress[0].keys.as_str(), progress[0].members_done), ("master 2, index 2, lookups 1", 122));
        assert_eq!(progress[0].finished_at, Some(cx.clock.now()));
        assert_eq!(during.rotate_keys_step().await.unwrap(), 0);

        let after = Keyring::parse(&format!("2:{master}\nindex2:{index}\n")).unwrap();
        let after = Members::new(shop.db.clone(), cx.ids.clone(), after.into());
        for (at, id) in ids.iter().enumerate() {
            let found = after.find_by_identity(&shop.owner, &Identity::Phone(phone(at).parse().unwrap())).await.unwrap();
            assert_eq!((found.id, found.phone_masked.is_some()), (*id, true));
        }
        for phone in [PHONE, "13700137000"] {
            let found = after.find_by_identity(&shop.owner, &Identity::Phone(phone.parse().unwrap())).await.unwrap();
            assert_eq!(found.id, full, "{phone}");
        }
        assert_eq!(after.birthdays_in_tx(&mut &shop.db, MAY_17, None, 9).await.unwrap(), [full]);
        assert_eq!(after.reveal_field(&shop.owner, full, PersonalField::RealName).await.unwrap().reveal(), "王小明");
        let by_number = Identity::External(external("17850"));
        assert_eq!(code(after.find_by_identity(&shop.owner, &by_number).await), "members.not_found");
        assert_eq!(during.find_by_identity(&shop.owner, &by_number).await.unwrap().id, full);
        // What was merged under the old keys is taken back under the new ones.
        after.unmerge(&shop.owner, other, &why()).await.unwrap();
        let found = after.find_by_identity(&shop.owner, &Identity::Phone("13700137000".parse().unwrap())).await;
        assert_eq!(found.unwrap().id, other);
    }
}
