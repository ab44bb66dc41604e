//! What members and operators see: balances, the tier and the way to the next.

use huika_core::{Actor, MemberId};
use huika_loyalty::{ExpiryRule, Rules, default_rules};

use crate::shop::{Shop, code, earn, migrations};

huika_testing::db_test! { migrations = migrations,
    async fn a_new_member_stands_at_the_beginning(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let standing = shop.loyalty.standing(&shop.owner, member).await.unwrap();
        assert_eq!((standing.points.available, standing.points.pending, standing.points.held), (0, 0, 0));
        let tier = standing.tier;
        assert_eq!((tier.tier.code.as_str(), tier.tier.name.zh.as_str(), tier.growth, tier.span), ("bronze", "青铜会员", 0, None));
        let next = tier.next.unwrap();
        assert_eq!((next.tier.code.as_str(), next.requirements[0].threshold, next.requirements[0].missing), ("silver", 100_000, 100_000));
        assert!(standing.expiring_next.is_none());
    }

    async fn spending_shortens_the_way_to_the_next_tier(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.buy(member, "1", 26_800).await;
        let tier = shop.loyalty.standing(&shop.owner, member).await.unwrap().tier;
        assert_eq!((tier.growth, tier.next.unwrap().requirements[0].missing), (26_800, 73_200));

        shop.buy(member, "2", 73_200).await;
        let tier = shop.loyalty.standing(&shop.owner, member).await.unwrap().tier;
        let next = tier.next.unwrap();
        assert_eq!((tier.tier.code.as_str(), tier.span.map(|span| span.from)), ("silver", Some(shop.now())));
        assert_eq!((next.tier.code.as_str(), next.requirements[0].missing), ("gold", 400_000));

        // Above the highest tier there is nothing to reach.
        shop.buy(member, "3", 1_000_000).await;
        let tier = shop.loyalty.standing(&shop.owner, member).await.unwrap().tier;
        assert_eq!((tier.tier.code.as_str(), tier.growth, tier.next), ("gold", 1_100_000, None));
    }

    async fn points_granted_directly_are_no_growth(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.command(member, "gift", earn(1_000_000)).await.unwrap();
        let standing = shop.loyalty.standing(&shop.owner, member).await.unwrap();
        assert_eq!((standing.points.available, standing.tier.tier.code.as_str()), (1_000_000, "bronze"));
    }

    async fn the_points_that_expire_first_are_named(cx) {
        let shop = Shop::with(cx, |rules| rules.expiry = ExpiryRule::DaysAfter { days: 10 }).await;
        let member = shop.member(1).await;
        shop.command(member, "a", earn(30)).await.unwrap();
        shop.command(member, "b", earn(12)).await.unwrap();
        let first = "2026-12-01T16:00:00Z".parse().unwrap();
        shop.at("2026-11-22T02:00:00Z");
        shop.command(member, "c", earn(5)).await.unwrap();
        let expiring = async || shop.loyalty.standing(&shop.owner, member).await.unwrap().expiring_next;
        assert_eq!(expiring().await, Some((42, first)));
        shop.cx.clock.set(first);
        assert_eq!(expiring().await, Some((5, "2026-12-02T16:00:00Z".parse().unwrap())));
        let lots = shop.loyalty.points_lots(&shop.owner, member, None, 50).await.unwrap();
        assert_eq!(lots.iter().map(|lot| lot.remaining).collect::<Vec<_>>(), [5], "what expired is no lot any more");
    }

    async fn who_is_no_member_has_no_account(cx) {
        let shop = Shop::open(cx).await;
        let nobody = MemberId::from_i64(42);
        let (loyalty, owner) = (&shop.loyalty, &shop.owner);
        assert_eq!(code(loyalty.standing(owner, nobody).await), "members.not_found");
        assert_eq!(code(loyalty.points_balance(owner, nobody).await), "members.not_found");
        assert_eq!(code(loyalty.points_lots(owner, nobody, None, 50).await), "members.not_found");
        assert_eq!(code(loyalty.points_statement(owner, nobody, None, 50).await), "members.not_found");
        assert_eq!(code(loyalty.tier_changes(owner, nobody).await), "members.not_found");
    }

    async fn members_are_counted_by_tier(cx) {
        let shop = Shop::open(cx).await;
        for (number, paid) in [(1, 0), (2, 50_000), (3, 100_000), (4, 600_000), (5, 700_000)] {
            let member = shop.member(number).await;
            if paid > 0 {
                shop.buy(member, "1", paid).await;
            }
        }
        let counted = shop.loyalty.tier_distribution(5).await.unwrap();
        let expected = [("bronze", 2), ("silver", 1), ("gold", 2)].map(|(code, members)| (code.to_owned(), members));
        assert_eq!(counted, expected);
    }

    async fn reading_and_publishing_need_their_rights(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let till = Actor::with_rights("cli_till", ["loyalty.earn".to_owned(), "loyalty.redeem".to_owned()]);
        let loyalty = &shop.loyalty;
        assert_eq!(code(loyalty.standing(&till, member).await), "access.denied");
        assert_eq!(code(loyalty.points_balance(&till, member).await), "access.denied");
        assert_eq!(code(loyalty.points_lots(&till, member, None, 50).await), "access.denied");
        assert_eq!(code(loyalty.points_statement(&till, member, None, 50).await), "access.denied");
        assert_eq!(code(loyalty.tier_changes(&till, member).await), "access.denied");
        assert_eq!(code(loyalty.program_versions(&till).await), "access.denied");
        let reader = Actor::with_rights("opr_reader", ["loyalty.read".to_owned()]);
        assert!(loyalty.standing(&reader, member).await.is_ok());
        shop.cx.clock.advance(std::time::Duration::from_secs(1));
        let rules: Rules = default_rules();
        assert_eq!(code(loyalty.publish_program(&reader, rules, None).await), "access.denied");
        assert_eq!(loyalty.program_versions(&reader).await.unwrap().len(), 1);
    }
}
