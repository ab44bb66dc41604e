//! Rotating codes: each counts once, at its time, for its member.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use huika_core::Actor;
use huika_members::MemberState;

use crate::shop::{PHONE, Shop, code, person, phone};

huika_testing::db_test! { migrations = huika_members::migrations,
    async fn a_code_is_taken_once_also_when_sixteen_tills_scan_it_at_once(cx) {
        let shop = Arc::new(Shop::open(&cx));
        let id = shop.members.register(&shop.owner, person(PHONE, "")).await.unwrap().member_id;
        for _ in 0..3 {
            let shown = shop.members.card_code(&shop.owner, id).await.unwrap();
            assert_eq!(shown.code.len(), 25);
            let tasks = (0..16).map(|_| {
                let (shop, text) = (Arc::clone(&shop), shown.code.clone());
                tokio::spawn(async move { shop.members.verify_card_code(&shop.owner, &text).await })
            });
            let outcomes: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
            let taken: Vec<_> = outcomes.iter().flatten().map(|member| member.id).collect();
            assert_eq!(taken, [id]);
            for outcome in outcomes.into_iter().filter(Result::is_err) {
                assert_eq!(code(outcome), "members.card_code_used");
            }
            cx.clock.advance(Duration::from_secs(300));
            assert_eq!(code(shop.members.verify_card_code(&shop.owner, &shown.code).await), "members.card_code_expired");
        }
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM members_code_use").await, 1, "old ones are forgotten");
    }

    async fn a_code_leads_to_the_member_who_stands_for_the_card_and_needs_a_member_who_may_log_in(cx) {
        let shop = Shop::open(&cx);
        let why = "test".parse().unwrap();
        let first = shop.members.register(&shop.owner, person(&phone(1), "")).await.unwrap().member_id;
        cx.clock.advance(Duration::from_secs(1));
        let second = shop.members.register(&shop.owner, person(&phone(2), "")).await.unwrap().member_id;
        let shown = shop.members.card_code(&shop.owner, second).await.unwrap();
        shop.members.merge(&shop.owner, first, second, &why).await.unwrap();
        assert_eq!(shop.members.verify_card_code(&shop.owner, &shown.code).await.unwrap().id, first);
        shop.members.set_state(&shop.owner, first, MemberState::Blacklisted, &why).await.unwrap();
        assert_eq!(code(shop.members.card_code(&shop.owner, first).await), "members.state_blocks");
        assert_eq!(code(shop.members.verify_card_code(&shop.owner, "8800000000000013").await), "members.card_code_unreadable");
        let reader = Actor::with_rights("apc_till", ["members.read".to_owned()]);
        assert_eq!(code(shop.members.card_code(&reader, first).await), "access.denied");
        assert_eq!(code(shop.members.verify_card_code(&reader, &shown.code).await), "access.denied");
        assert_eq!(code(shop.members.card_key(&reader)), "access.denied");
        let key = shop.members.card_key(&shop.owner).unwrap();
        assert_eq!(key.valid_from.to_string(), "2026-11-21T00:00:00.000Z");
        assert_eq!(key.valid_until.to_string(), "2026-11-22T00:00:00.000Z");
    }
}
