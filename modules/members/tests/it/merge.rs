//! Merging: who stays, what leads where, and that taking a merge back leaves no trace.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use futures::future::join_all;
use huika_core::{Actor, Bilingual, MemberId};
use huika_db::{DbError, Tx, audit::list_audit, params};
use huika_members::{
    BirthDay, ChangeProfile, Identity, MemberPart, MemberState, MembersError, Merge, MergeEffect, PartError,
    PersonalField, PersonalValue, Reason,
};
use huika_testing::TestDb;
use serde_json::{Value, json};

use crate::{
    personal_data::dump,
    shop::{PHONE, Shop, code, external, person, phone},
};

fn why() -> Reason {
    "the same person".parse().unwrap()
}

/// Every row of this module but the record of merges.
async fn rows(cx: &TestDb) -> Vec<(String, Vec<u8>)> {
    let mut rows = dump(cx).await;
    rows.retain(|(column, _)| column.starts_with("members_") && !column.starts_with("members_merge."));
    rows.sort_unstable();
    rows
}

async fn set(shop: &Shop, id: MemberId, values: &[(PersonalField, &str)]) {
    let now = shop.db.clock().now();
    let version = shop.members.profile(&shop.owner, id).await.unwrap().version;
    let values = values
        .iter()
        .map(|(field, text)| PersonalValue::try_new(*field, text, now).unwrap());
    let change = ChangeProfile {
        version,
        set: values.collect(),
        ..ChangeProfile::default()
    };
    shop.members
        .change_profile(&shop.owner, id, change)
        .await
        .unwrap();
}

/// Two members: the first by a customer number alone, the second by a phone, with a profile.
async fn two(shop: &Shop, cx: &TestDb) -> (MemberId, MemberId) {
    let first = shop
        .members
        .register(&shop.owner, person("", "17850"))
        .await
        .unwrap()
        .member_id;
    cx.clock.advance(std::time::Duration::from_secs(60));
    let mut command = person(PHONE, "13047");
    command.nickname = Some("小明".parse().unwrap());
    let second = shop
        .members
        .register(&shop.owner, command)
        .await
        .unwrap()
        .member_id;
    set(shop, first, &[(PersonalField::Gender, "female")]).await;
    let told = [
        (PersonalField::Birthday, "1990-05-17"),
        (PersonalField::Gender, "other"),
    ];
    set(shop, second, &told).await;
    cx.clock.advance(std::time::Duration::from_secs(60));
    (first, second)
}

/// A part that notes what it is asked in a table of the test, and refuses when it is told to.
struct Notes {
    refuses: AtomicBool,
}

impl Notes {
    async fn note(&self, tx: &mut Tx<'_>, what: &str, merge: &Merge) -> Result<(), PartError> {
        let sql = "INSERT INTO note (member_id, what) VALUES (?, ?)";
        tx.execute(sql, params![merge.loser, what])
            .await
            .map_err(PartError::new)?;
        if self.refuses.load(Ordering::SeqCst) {
            return Err(PartError::new(MembersError::IdentityRequired));
        }
        Ok(())
    }
}

#[async_trait]
impl MemberPart for Notes {
    fn name(&self) -> &'static str {
        "notes"
    }
    async fn preview_merge(&self, _: &mut Tx<'_>, _: &Merge) -> Result<Vec<MergeEffect>, PartError> {
        Ok(vec![MergeEffect {
            part: "notes",
            text: Bilingual::new("一", "one"),
            blocks: self.refuses.load(Ordering::SeqCst),
        }])
    }
    async fn merge_in_tx(&self, tx: &mut Tx<'_>, merge: &Merge) -> Result<(), PartError> {
        self.note(tx, "merge", merge).await
    }
    async fn unmerge_in_tx(&self, tx: &mut Tx<'_>, merge: &Merge) -> Result<(), PartError> {
        self.note(tx, "unmerge", merge).await
    }
    async fn export(&self, _: &mut Tx<'_>, member_id: MemberId) -> Result<Value, PartError> {
        Ok(json!({ "of": member_id }))
    }
    async fn may_close_in_tx(&self, _: &mut Tx<'_>, _: MemberId) -> Result<(), PartError> {
        Ok(())
    }
    async fn erase_in_tx(&self, _: &mut Tx<'_>, _: MemberId) -> Result<(), PartError> {
        Ok(())
    }
}

huika_testing::db_test! { migrations = huika_members::migrations,
    async fn a_merge_that_is_taken_back_leaves_every_row_as_it_was(cx) {
        let shop = Shop::open(&cx);
        let (first, second) = two(&shop, &cx).await;
        let before = rows(&cx).await;
        for _ in 0..3 {
            let merge = shop.members.merge(&shop.owner, second, first, &why()).await.unwrap();
            assert_eq!((merge.winner, merge.loser), (first, second), "who registered first stays");
            assert_ne!(rows(&cx).await, before);
            cx.clock.advance(std::time::Duration::from_secs(60));
            shop.members.unmerge(&shop.owner, second, &why()).await.unwrap();
            assert_eq!(rows(&cx).await, before);
        }
        let audit = list_audit(&mut &cx.db, None, 50).await.unwrap();
        for action in ["members.merge", "members.unmerge"] {
            assert_eq!(audit.iter().filter(|entry| entry.action == action).count(), 3, "{action}");
        }
    }

    async fn everything_leads_to_the_member_who_stays(cx) {
        let shop = Shop::open(&cx);
        let (first, second) = two(&shop, &cx).await;
        let card = shop.members.find(&shop.owner, second).await.unwrap().card_number;
        let preview = shop.members.preview_merge(&shop.owner, first, second).await.unwrap();
        assert_eq!((preview.winner, preview.loser, preview.can_merge()), (first, second, true));
        assert!(preview.effects.iter().any(|effect| effect.text.en == "The member who stays gains: phone, nickname, birthday."));
        shop.members.merge(&shop.owner, first, second, &why()).await.unwrap();

        let names = [Identity::Phone(PHONE.parse().unwrap()), Identity::Card(card), Identity::External(external("13047"))];
        for name in &names {
            assert_eq!(shop.members.find_by_identity(&shop.owner, name).await.unwrap().id, first);
        }
        let many = shop.members.find_many_in_tx(&mut &shop.db, &names).await.unwrap();
        assert!(many.values().all(|id| *id == first));
        assert_eq!(shop.members.find(&shop.owner, second).await.unwrap().id, first);
        assert_eq!(shop.members.register(&shop.owner, person(PHONE, "")).await.unwrap().member_id, first);
        assert_eq!(shop.members.reveal_phone(&shop.owner, first).await.unwrap().reveal(), "+8613800138000");
        // What the winner told counts, what only the loser told is added, and the day is found once.
        let values = shop.members.profile(&shop.owner, first).await.unwrap().values;
        let texts: Vec<&str> = values.iter().map(PersonalValue::reveal).collect();
        assert_eq!(texts, ["1990-05-17", "female"]);
        let day = BirthDay { month: 5, day: 17 };
        assert_eq!(shop.members.birthdays_in_tx(&mut &shop.db, day, None, 9).await.unwrap(), [first]);
        let states = shop.members.states_in_tx(&mut &shop.db, &[first, second]).await.unwrap();
        assert_eq!((states[&first], states[&second]), (MemberState::Normal, MemberState::Merged));
        for refused in [
            shop.members.set_state(&shop.owner, second, MemberState::Frozen, &why()).await.map(drop),
            shop.members.change_profile(&shop.owner, second, ChangeProfile::default()).await.map(drop),
        ] {
            assert_eq!(code(refused), "members.merged");
        }
        let by_hand = shop.members.set_state(&shop.owner, first, MemberState::Merged, &why()).await;
        assert_eq!(code(by_hand), "members.state_not_settable");
    }

    async fn what_happened_to_the_winner_since_stays_when_a_merge_is_taken_back(cx) {
        let shop = Shop::open(&cx);
        let (first, second) = two(&shop, &cx).await;
        shop.members.merge(&shop.owner, first, second, &why()).await.unwrap();
        set(&shop, first, &[(PersonalField::Birthday, "1991-06-18"), (PersonalField::Email, "a@example.com")]).await;
        shop.members.unmerge(&shop.owner, second, &why()).await.unwrap();
        let texts = async |id| {
            let values = shop.members.profile(&shop.owner, id).await.unwrap().values;
            values.iter().map(|value| value.reveal().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(texts(first).await, ["1991-06-18", "female", "a@example.com"]);
        assert_eq!(texts(second).await, ["1990-05-17", "other"]);
        let members = &shop.members;
        assert_eq!(members.find_by_identity(&shop.owner, &Identity::Phone(PHONE.parse().unwrap())).await.unwrap().id, second);
        assert_eq!(members.find(&shop.owner, first).await.unwrap().phone_masked, None);
    }

    async fn redirects_are_followed_to_their_end_and_never_form_a_circle(cx) {
        let shop = Shop::open(&cx);
        let mut ids = Vec::new();
        for at in 0..4 {
            ids.push(shop.members.register(&shop.owner, person(&phone(at), "")).await.unwrap().member_id);
            cx.clock.advance(std::time::Duration::from_secs(1));
        }
        // 3 into 2, 2 into 1, 1 into 0: each later one is older.
        for at in (0..3).rev() {
            shop.members.merge(&shop.owner, ids[at], ids[at + 1], &why()).await.unwrap();
        }
        let ends = shop.members.resolve_in_tx(&mut &shop.db, &ids).await.unwrap();
        assert!(ends.values().all(|end| *end == ids[0]), "{ends:?}");
        assert_eq!(shop.members.find(&shop.owner, ids[3]).await.unwrap().id, ids[0]);

        for (one, other, expected) in [
            (ids[0], ids[3], "members.merged"),
            (ids[3], ids[0], "members.merged"),
            (ids[0], ids[0], "members.merge_self"),
            (ids[0], MemberId::from_i64(42), "members.not_found"),
        ] {
            assert_eq!(code(shop.members.merge(&shop.owner, one, other, &why()).await), expected);
        }
        // The same merge again is the same one, either way round.
        let again = shop.members.merge(&shop.owner, ids[1], ids[0], &why()).await.unwrap();
        assert_eq!((again.winner, again.loser), (ids[0], ids[1]));
        // The last merge goes first.
        assert_eq!(code(shop.members.unmerge(&shop.owner, ids[3], &why()).await), "members.merged");
        assert_eq!(code(shop.members.unmerge(&shop.owner, ids[0], &why()).await), "members.not_merged");
        for id in &ids[1..] {
            shop.members.unmerge(&shop.owner, *id, &why()).await.unwrap();
        }
        for (at, id) in ids.iter().enumerate() {
            let by_phone = Identity::Phone(phone(at).parse().unwrap());
            assert_eq!(shop.members.find_by_identity(&shop.owner, &by_phone).await.unwrap().id, *id);
        }
    }

    async fn only_members_in_the_normal_state_are_merged(cx) {
        let shop = Shop::open(&cx);
        let (first, second) = two(&shop, &cx).await;
        for state in [MemberState::Frozen, MemberState::Blacklisted, MemberState::Closed] {
            for id in [first, second] {
                shop.members.set_state(&shop.owner, id, state, &why()).await.unwrap();
                let before = rows(&cx).await;
                assert_eq!(code(shop.members.merge(&shop.owner, first, second, &why()).await), "members.merge_state");
                assert_eq!(code(shop.members.preview_merge(&shop.owner, first, second).await), "members.merge_state");
                assert_eq!(rows(&cx).await, before);
                shop.members.set_state(&shop.owner, id, MemberState::Normal, &why()).await.unwrap();
            }
        }
        let reader = Actor::with_rights("opr_reader", ["members.read".to_owned(), "members.edit".to_owned()]);
        assert_eq!(code(shop.members.merge(&reader, first, second, &why()).await), "access.denied");
        assert_eq!(code(shop.members.unmerge(&reader, second, &why()).await), "access.denied");
        assert_eq!(code(shop.members.preview_merge(&reader, first, second).await), "access.denied");
    }

    async fn a_part_takes_part_in_the_transaction_and_may_refuse(cx) {
        let shop = Shop::open(&cx);
        let (first, second) = two(&shop, &cx).await;
        cx.execute("CREATE TABLE note (member_id BIGINT NOT NULL, what VARCHAR(16) NOT NULL)", params![]).await;
        let notes = Arc::new(Notes { refuses: AtomicBool::new(true) });
        shop.members.join_parts(vec![Arc::clone(&notes) as Arc<dyn MemberPart>]);
        let before = rows(&cx).await;
        let refused = shop.members.merge(&shop.owner, first, second, &why()).await;
        assert_eq!(code(refused), "members.identity_required", "the problem of the part");
        assert_eq!(rows(&cx).await, before);
        assert!(!shop.members.preview_merge(&shop.owner, first, second).await.unwrap().can_merge());
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM note").await, 0);

        notes.refuses.store(false, Ordering::SeqCst);
        shop.members.merge(&shop.owner, first, second, &why()).await.unwrap();
        notes.refuses.store(true, Ordering::SeqCst);
        assert!(shop.members.unmerge(&shop.owner, second, &why()).await.is_err());
        assert_eq!(shop.members.find(&shop.owner, second).await.unwrap().id, first, "the merge stays");
        notes.refuses.store(false, Ordering::SeqCst);
        shop.members.unmerge(&shop.owner, second, &why()).await.unwrap();
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM note").await, 2);
        let export = shop.members.export_member(&shop.owner, first).await.unwrap();
        assert_eq!(export["parts"]["notes"], json!({ "of": first }));
    }

    async fn merges_at_the_same_time_leave_one_member(cx) {
        let shop = Arc::new(Shop::open(&cx));
        let mut ids = Vec::new();
        for at in 0..6 {
            ids.push(shop.members.register(&shop.owner, person(&phone(at), "")).await.unwrap().member_id);
        }
        let pairs: Vec<(MemberId, MemberId)> =
            (0..6).flat_map(|one| (0..6).map(move |other| (one, other))).filter(|(one, other)| one != other)
                .map(|(one, other)| (ids[one], ids[other])).collect();
        let tasks = pairs.into_iter().map(|(one, other)| {
            let shop = Arc::clone(&shop);
            tokio::spawn(async move { shop.members.merge(&shop.owner, one, other, &why()).await })
        });
        for outcome in join_all(tasks).await {
            match outcome.unwrap() {
                Ok(_) | Err(MembersError::Merged { .. } | MembersError::Db(DbError::Stale(_) | DbError::Contended(_))) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        // Whoever is a redirect has one open merge, and each redirect ends with somebody who stands alone.
        let redirects = cx.count("SELECT COUNT(*) AS n FROM members_member WHERE merged_into IS NOT NULL").await;
        let open = cx.count("SELECT COUNT(*) AS n FROM members_merge WHERE unmerged_at IS NULL").await;
        assert_eq!(redirects, open);
        assert!(redirects >= 1);
        let ends = shop.members.resolve_in_tx(&mut &shop.db, &ids).await.unwrap();
        let states = shop.members.states_in_tx(&mut &shop.db, &ids).await.unwrap();
        for (at, id) in ids.iter().enumerate() {
            assert_eq!(states[&ends[id]], MemberState::Normal);
            let by_phone = Identity::Phone(phone(at).parse().unwrap());
            assert_eq!(shop.members.find_by_identity(&shop.owner, &by_phone).await.unwrap().id, ends[id]);
        }
    }

    /// A till attaches names to a member who is being merged: no name may end with the redirect.
    async fn a_registration_during_a_merge_loses_no_name(cx) {
        let shop = Arc::new(Shop::open(&cx));
        for round in 0..6_usize {
            let first = shop.members.register(&shop.owner, person(&phone(10 * round), "")).await.unwrap().member_id;
            cx.clock.advance(std::time::Duration::from_secs(1));
            let other = phone(10 * round + 1);
            let second = shop.members.register(&shop.owner, person(&other, "")).await.unwrap().member_id;
            let merge = {
                let shop = Arc::clone(&shop);
                tokio::spawn(async move { shop.members.merge(&shop.owner, first, second, &why()).await })
            };
            let tasks = (0..4).map(|at| {
                let (shop, command) = (Arc::clone(&shop), person(&other, &format!("{round}-{at}")));
                tokio::spawn(async move { shop.members.register(&shop.owner, command).await })
            });
            for registered in join_all(tasks).await {
                registered.unwrap().unwrap();
            }
            merge.await.unwrap().unwrap();
            for at in 0..4 {
                let name = Identity::External(external(&format!("{round}-{at}")));
                let found = shop.members.find_many_in_tx(&mut &shop.db, std::slice::from_ref(&name)).await.unwrap();
                assert_eq!(found[&name], first, "round {round}");
            }
        }
    }
}
