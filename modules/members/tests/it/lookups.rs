//! Finding members: one by any name, many at once.

use huika_core::{Actor, MemberId};
use huika_members::{Identity, MembersError};

use crate::shop::{PHONE, Shop, code, external, person, phone};

huika_testing::db_test! { migrations = huika_members::migrations,
    async fn a_member_is_found_by_every_name(cx) {
        let shop = Shop::open(&cx);
        let mut command = person(PHONE, "17850");
        command.nickname = Some("小明 🐼".parse().unwrap());
        let member = shop.members.register(&shop.owner, command).await.unwrap().member.unwrap();
        shop.members.register(&shop.owner, person("13900139000", "13047")).await.unwrap();

        assert_eq!(shop.members.find(&shop.owner, member.id).await.unwrap(), member);
        for identity in [
            Identity::Phone("138 0013 8000".parse().unwrap()),
            Identity::Card(member.card_number.clone()),
            Identity::External(external("17850")),
        ] {
            let found = shop.members.find_by_identity(&shop.owner, &identity).await.unwrap();
            assert_eq!(found, member, "{identity:?}");
        }
        assert_eq!(member.phone_masked.as_deref(), Some("138****8000"));
        assert_eq!(member.nickname.as_ref().unwrap().as_str(), "小明 🐼");
        assert_eq!((member.channel.as_str(), member.store_code.unwrap().as_str()), ("store", "SH-001"));
    }

    async fn who_is_not_a_member_is_not_found(cx) {
        let shop = Shop::open(&cx);
        shop.members.register(&shop.owner, person(PHONE, "17850")).await.unwrap();
        let unknown = MemberId::from_i64(42);
        assert!(matches!(shop.members.find(&shop.owner, unknown).await, Err(MembersError::NotFound)));
        for identity in [
            Identity::Phone("13900139000".parse().unwrap()),
            Identity::Card("8800000000000013".parse().unwrap()),
            Identity::External(external("17851")),
            // A name of one kind is no name of another.
            Identity::External(external(PHONE)),
        ] {
            let found = shop.members.find_by_identity(&shop.owner, &identity).await;
            assert!(matches!(found, Err(MembersError::NotFound)), "{identity:?}");
        }
    }

    async fn many_names_are_found_at_once(cx) {
        let shop = Shop::open(&cx);
        let commands: Vec<_> = (0..700).map(|at| person(&phone(at), &at.to_string())).collect();
        let outcomes = shop.register_many(&commands).await.unwrap();
        let mut identities: Vec<Identity> = Vec::new();
        for at in 0..1_000 {
            identities.push(Identity::External(external(&at.to_string())));
            identities.push(Identity::Phone(phone(at).parse().unwrap()));
        }
        let found = shop.members.find_many_in_tx(&mut &shop.db, &identities).await.unwrap();
        assert_eq!(found.len(), 1_400);
        for at in [0, 499, 500, 699] {
            let member = outcomes[at].as_ref().unwrap().member_id;
            assert_eq!((found[&identities[2 * at]], found[&identities[2 * at + 1]]), (member, member));
        }
        assert!(shop.members.find_many_in_tx(&mut &shop.db, &[]).await.unwrap().is_empty());
    }

    async fn looking_needs_its_permission(cx) {
        let shop = Shop::open(&cx);
        let member = shop.members.register(&shop.owner, person(PHONE, "")).await.unwrap().member.unwrap();
        let stranger = Actor::with_rights("opr_none", []);
        assert_eq!(code(shop.members.find(&stranger, member.id).await), "access.denied");
        let identity = Identity::Card(member.card_number);
        assert_eq!(code(shop.members.find_by_identity(&stranger, &identity).await), "access.denied");
    }
}
