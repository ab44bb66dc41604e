//! Points given, spent, held and returned directly.

use std::time::Duration;

use futures::future::join_all;
use huika_core::{Actor, MemberId};
use huika_ledger::HoldId;
use huika_loyalty::{ExpiryRule, PointsOperation, PointsOutcome};
use huika_members::MemberState;

use crate::shop::{Shop, code, command, earn, give_back, migrations, redeem};

const NOBODY: MemberId = MemberId::from_i64(42);

fn hold(points: i64) -> PointsOperation {
    PointsOperation::Hold {
        points,
        ttl_seconds: 900,
    }
}

fn post(hold_id: HoldId, points: i64) -> PointsOperation {
    PointsOperation::PostHold {
        hold_id,
        points,
        reason: "Order 1001".parse().unwrap(),
    }
}

fn hold_id(outcome: &PointsOutcome) -> HoldId {
    outcome.outcome.entries[0].hold_id.unwrap()
}

huika_testing::db_test! { migrations = migrations,
    async fn points_are_granted_held_spent_and_returned(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.command(member, "gift", earn(500)).await.unwrap();
        let mug = shop.command(member, "mug", redeem(120)).await.unwrap();
        assert_eq!(shop.amounts(member).await, (380, 0, 0));

        // Two orders await payment: one is paid with less than was set aside, one is cancelled.
        let paid = hold_id(&shop.command(member, "order-1", hold(200)).await.unwrap());
        let cancelled = hold_id(&shop.command(member, "order-2", hold(100)).await.unwrap());
        assert_eq!(shop.amounts(member).await, (80, 0, 300));
        assert_eq!(code(shop.command(member, "too-much", redeem(81)).await), "ledger.insufficient");
        shop.command(member, "order-1-paid", post(paid, 150)).await.unwrap();
        shop.command(member, "order-2-off", PointsOperation::VoidHold { hold_id: cancelled }).await.unwrap();
        assert_eq!(shop.amounts(member).await, (230, 0, 0));
        for again in [post(paid, 1), PointsOperation::VoidHold { hold_id: cancelled }] {
            assert_eq!(code(shop.command(member, "closed", again).await), "ledger.hold_closed");
        }

        // The mug comes back in two parts and no more than that.
        let mug = mug.outcome.posting_id;
        shop.command(member, "mug-back-1", give_back(mug, 100)).await.unwrap();
        assert_eq!(code(shop.command(member, "mug-back-2", give_back(mug, 21)).await), "ledger.reversal_exceeds");
        shop.command(member, "mug-back-3", give_back(mug, 20)).await.unwrap();
        let points = shop.points(member).await;
        assert_eq!((points.available, points.lifetime_in, points.lifetime_out), (350, 500, 150));
        shop.assert_proven().await;
    }

    async fn a_hold_that_nobody_confirms_returns_by_itself(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.command(member, "gift", earn(100)).await.unwrap();
        let held = hold_id(&shop.command(member, "order", hold(60)).await.unwrap());
        shop.cx.clock.advance(Duration::from_secs(899));
        assert_eq!(shop.amounts(member).await, (40, 0, 60));
        shop.cx.clock.advance(Duration::from_secs(1));
        assert_eq!(shop.amounts(member).await, (100, 0, 0));
        assert_eq!(code(shop.command(member, "late", post(held, 60)).await), "ledger.hold_closed");
        shop.assert_proven().await;
    }

    async fn a_repeated_command_is_answered_again_and_a_changed_one_refused(cx) {
        let shop = Shop::open(cx).await;
        let (member, other) = (shop.member(1).await, shop.member(2).await);
        let first = shop.command(member, "gift", earn(100)).await.unwrap();
        shop.command(member, "mug", redeem(30)).await.unwrap();
        let again = shop.command(member, "gift", earn(100)).await.unwrap();
        assert!(again.outcome.replayed && !first.outcome.replayed);
        assert_eq!((again.outcome.posting_id, again.outcome.entries), (first.outcome.posting_id, first.outcome.entries));
        for changed in [earn(101), redeem(100), PointsOperation::Earn { points: 100, reason: "Else".parse().unwrap() }] {
            assert_eq!(code(shop.command(member, "gift", changed).await), "ledger.idempotency_conflict");
        }
        // A key belongs to a member.
        assert!(!shop.command(other, "gift", earn(7)).await.unwrap().outcome.replayed);
        assert_eq!((shop.amounts(member).await.0, shop.amounts(other).await.0), (70, 7));
    }

    async fn amounts_that_are_no_amounts_are_refused(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.command(member, "gift", earn(100)).await.unwrap();
        for points in [0, -1, i64::MIN, i64::MAX] {
            for operation in [earn(points), redeem(points), hold(points)] {
                let refused = code(shop.command(member, "amount", operation).await);
                assert!(["ledger.amount_invalid", "ledger.insufficient"].contains(&refused), "{points}: {refused}");
            }
        }
        assert_eq!(shop.amounts(member).await, (100, 0, 0));
        shop.assert_proven().await;
    }

    async fn a_frozen_member_earns_and_does_not_spend(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.command(member, "gift", earn(500)).await.unwrap();
        let mug = shop.command(member, "mug", redeem(100)).await.unwrap();
        let open = hold_id(&shop.command(member, "order-1", hold(100)).await.unwrap());
        let other = hold_id(&shop.command(member, "order-2", hold(100)).await.unwrap());
        shop.set_state(member, MemberState::Frozen).await;

        assert!(shop.command(member, "gift-2", earn(10)).await.is_ok());
        for blocked in [redeem(1), hold(1), post(open, 1)] {
            assert_eq!(code(shop.command(member, "blocked", blocked).await), "members.state_blocks");
        }
        // What was the member's own comes back all the same.
        shop.command(member, "order-2-off", PointsOperation::VoidHold { hold_id: other }).await.unwrap();
        shop.command(member, "mug-back", give_back(mug.outcome.posting_id, 100)).await.unwrap();
        // A till that repeats what was done before the freeze gets its answer.
        let again = shop.command(member, "mug", redeem(100)).await.unwrap();
        assert!(again.outcome.replayed);
        assert_eq!(shop.amounts(member).await, (410, 0, 100));

        shop.set_state(member, MemberState::Normal).await;
        shop.command(member, "order-1-paid", post(open, 100)).await.unwrap();
        // The key of a refused command is still free.
        assert!(shop.command(member, "blocked", redeem(410)).await.is_ok());
        assert_eq!(shop.amounts(member).await, (0, 0, 0));
        shop.assert_proven().await;
    }

    async fn a_blacklisted_or_closed_member_neither_earns_nor_spends(cx) {
        let shop = Shop::open(cx).await;
        for (number, state) in [(1, MemberState::Blacklisted), (2, MemberState::Closed)] {
            let member = shop.member(number).await;
            shop.command(member, "gift", earn(100)).await.unwrap();
            shop.set_state(member, state).await;
            for blocked in [earn(1), redeem(1), hold(1)] {
                assert_eq!(code(shop.command(member, "blocked", blocked).await), "members.state_blocks", "{state}");
            }
            assert!(shop.command(member, "gift", earn(100)).await.unwrap().outcome.replayed);
            assert_eq!(shop.amounts(member).await, (100, 0, 0));
        }
    }

    async fn nobody_earns_who_is_no_member(cx) {
        let shop = Shop::open(cx).await;
        for operation in [earn(1), redeem(1), hold(1)] {
            assert_eq!(code(shop.command(NOBODY, "a", operation).await), "members.not_found");
        }
        assert_eq!(shop.cx.count("SELECT COUNT(*) AS n FROM ledger_posting").await, 0);
    }

    async fn holds_and_postings_of_others_are_out_of_reach(cx) {
        let shop = Shop::open(cx).await;
        let (member, thief) = (shop.member(1).await, shop.member(2).await);
        shop.command(member, "gift", earn(100)).await.unwrap();
        let mug = shop.command(member, "mug", redeem(40)).await.unwrap().outcome.posting_id;
        let held = hold_id(&shop.command(member, "order", hold(60)).await.unwrap());
        assert_eq!(code(shop.command(thief, "a", post(held, 1)).await), "ledger.hold_not_found");
        assert_eq!(code(shop.command(thief, "b", PointsOperation::VoidHold { hold_id: held }).await), "ledger.hold_not_found");
        assert_eq!(code(shop.command(thief, "c", give_back(mug, 1)).await), "ledger.posting_not_found");
        assert_eq!(shop.amounts(member).await, (0, 0, 60));
        assert_eq!(shop.amounts(thief).await, (0, 0, 0));
    }

    async fn points_that_return_after_their_date_live_on_for_the_days_of_grace(cx) {
        let shop = Shop::with(cx, |rules| rules.expiry = ExpiryRule::DaysAfter { days: 0 }).await;
        let member = shop.member(1).await;
        shop.command(member, "gift", earn(100)).await.unwrap();
        let mug = shop.command(member, "mug", redeem(60)).await.unwrap().outcome.posting_id;
        // The lot ends with the day in Shanghai; the rest of it is lost.
        shop.at("2026-11-21T16:00:00Z");
        assert_eq!(shop.amounts(member).await, (0, 0, 0));
        shop.command(member, "mug-back", give_back(mug, 60)).await.unwrap();
        assert_eq!(shop.amounts(member).await, (60, 0, 0));
        // The return was on the 22nd: thirty days of grace end with the 22nd of December.
        shop.at("2026-12-22T15:59:59.999Z");
        assert_eq!(shop.amounts(member).await, (60, 0, 0));
        shop.at("2026-12-22T16:00:00Z");
        assert_eq!(shop.amounts(member).await, (0, 0, 0));
        shop.assert_proven().await;
    }

    async fn without_days_of_grace_points_lapse_as_they_return(cx) {
        let shop = Shop::with(cx, |rules| {
            rules.expiry = ExpiryRule::DaysAfter { days: 0 };
            rules.grace_days = 0;
        })
        .await;
        let member = shop.member(1).await;
        shop.command(member, "gift", earn(100)).await.unwrap();
        let mug = shop.command(member, "mug", redeem(60)).await.unwrap().outcome.posting_id;
        shop.at("2026-11-21T16:00:00Z");
        let back = shop.command(member, "mug-back", give_back(mug, 60)).await.unwrap();
        assert_eq!(back.outcome.entries.last().unwrap().available, 0, "the answer shows that they are gone");
        assert_eq!(shop.amounts(member).await, (0, 0, 0));
        shop.assert_proven().await;
    }

    async fn in_a_bulk_a_refused_command_refuses_itself_alone(cx) {
        let shop = Shop::open(cx).await;
        let (member, frozen) = (shop.member(1).await, shop.member(2).await);
        shop.command(frozen, "gift", earn(50)).await.unwrap();
        shop.set_state(frozen, MemberState::Frozen).await;
        let commands = [
            command(member, "gift", earn(100)),
            // Later commands see what earlier ones did.
            command(member, "mug", redeem(60)),
            command(member, "second-mug", redeem(60)),
            command(NOBODY, "gift", earn(1)),
            command(frozen, "mug", redeem(1)),
            command(frozen, "gift", earn(50)),
            command(frozen, "gift", earn(51)),
            command(member, "gift", earn(100)),
            command(member, "zero", earn(0)),
            command(member, "rest", redeem(40)),
        ];
        let answers = shop.loyalty.command_points_in_bulk(&shop.owner, commands.to_vec()).await.unwrap();
        let told: Vec<String> = answers
            .into_iter()
            .map(|answer| match answer {
                Ok(done) if done.outcome.replayed => "again".to_owned(),
                Ok(done) => done.outcome.entries[0].available.to_string(),
                Err(refused) => code(Err::<(), _>(refused)).to_owned(),
            })
            .collect();
        let expected = [
            "100",
            "40",
            "ledger.insufficient",
            "members.not_found",
            "members.state_blocks",
            "again",
            "ledger.idempotency_conflict",
            "again",
            "ledger.amount_invalid",
            "0",
        ];
        assert_eq!(told, expected);
        assert_eq!((shop.amounts(member).await.0, shop.amounts(frozen).await.0), (0, 50));
        shop.assert_proven().await;
    }

    async fn what_operators_do_by_hand_is_on_record_and_their_reasons_hide_phones(cx) {
        let shop = Shop::open(cx).await;
        let (member, other) = (shop.member(1).await, shop.member(2).await);
        let till = Actor::with_all_rights("api_till");
        let by_till = command(member, "till", earn(10));
        shop.loyalty.command_points(&till, by_till).await.unwrap();
        let called = PointsOperation::Earn { points: 5, reason: "called from 13800138000".parse().unwrap() };
        let granted = shop.command(member, "gift", called.clone()).await.unwrap();
        shop.command(member, "gift", called).await.unwrap();
        let bulk = vec![command(member, "a", earn(1)), command(other, "b", earn(1)), command(other, "c", redeem(9))];
        shop.loyalty.command_points_in_bulk(&shop.owner, bulk).await.unwrap();

        let mut audit = huika_db::audit::list_audit(&mut &shop.db, None, 10).await.unwrap();
        audit.retain(|entry| entry.action == "loyalty.points");
        audit.sort_by_key(|entry| entry.id);
        let commands = |at: usize| audit[at].detail["commands"].as_array().unwrap();
        assert_eq!((audit.len(), &audit[0].subject), (2, &member.to_string()), "one for a bulk");
        let expected = serde_json::json!({
            "member_id": member, "kind": "earn", "posting_id": granted.outcome.posting_id,
        });
        assert_eq!(commands(0), &[expected]);
        assert_eq!((audit[1].subject.as_str(), commands(1).len()), ("points", 2), "without what was refused");

        let lines = shop.loyalty.points_statement(&shop.owner, member, None, 10).await.unwrap();
        let why = lines[1].why.as_ref().unwrap();
        assert_eq!(why.en, "5 points granted: called from 138****8000");
        assert_eq!(shop.cx.count("SELECT COUNT(*) AS n FROM ledger_posting WHERE trace LIKE '%0138000%'").await, 0);
    }

    async fn a_bulk_has_a_limit_and_may_consist_of_refusals(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        let many = |count: usize| (0..count).map(|at| command(member, &format!("gift-{at}"), earn(1))).collect();
        let bulk = async |actor: &Actor, commands| shop.loyalty.command_points_in_bulk(actor, commands).await;
        assert_eq!(code(bulk(&shop.owner, many(501)).await), "loyalty.bulk_too_large");
        assert_eq!(bulk(&shop.owner, many(500)).await.unwrap().iter().flatten().count(), 500);
        assert!(bulk(&shop.owner, Vec::new()).await.unwrap().is_empty());

        let spender = Actor::with_rights("cli_spender", ["loyalty.redeem".to_owned()]);
        assert_eq!(code(bulk(&spender, many(2)).await), "access.denied");
        let mixed = vec![command(member, "a", earn(1)), command(member, "b", redeem(1))];
        let answers = bulk(&spender, mixed).await.unwrap();
        assert!(answers[0].is_err() && answers[1].is_ok());
        assert_eq!(shop.amounts(member).await.0, 499);
    }

    async fn sixty_four_tills_spend_what_there_is_and_no_more(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.command(member, "gift", earn(100)).await.unwrap();
        let keys: Vec<String> = (0..64).map(|till| format!("till-{till}")).collect();
        let answers = join_all(keys.iter().map(|key| shop.command(member, key, redeem(3)))).await;
        assert_eq!(answers.iter().flatten().count(), 33);
        for refused in answers.into_iter().filter(Result::is_err) {
            assert_eq!(code(refused), "ledger.insufficient");
        }
        // One key from all of them at once is one gift.
        let answers = join_all((0..64).map(|_| shop.command(member, "tap", earn(5)))).await;
        assert_eq!(answers.iter().flatten().filter(|answer| !answer.outcome.replayed).count(), 1);
        assert_eq!(shop.amounts(member).await, (6, 0, 0));
        shop.assert_proven().await;
    }

    async fn each_command_needs_its_right(cx) {
        let shop = Shop::open(cx).await;
        let member = shop.member(1).await;
        shop.command(member, "gift", earn(100)).await.unwrap();
        let mug = shop.command(member, "mug", redeem(10)).await.unwrap().outcome.posting_id;
        let held = hold_id(&shop.command(member, "order", hold(10)).await.unwrap());
        let only = |name: &str| Actor::with_rights("cli_till", [name.to_owned()]);
        for (operation, right, other) in [
            (earn(1), "loyalty.earn", "loyalty.redeem"),
            (redeem(1), "loyalty.redeem", "loyalty.earn"),
            (hold(1), "loyalty.redeem", "loyalty.earn"),
            (post(held, 1), "loyalty.redeem", "loyalty.earn"),
            (give_back(mug, 1), "loyalty.redeem", "loyalty.earn"),
        ] {
            let send = async |actor: Actor| {
                let key = format!("{operation:?}").chars().filter(char::is_ascii_alphanumeric).take(60).collect::<String>();
                shop.loyalty.command_points(&actor, command(member, &key, operation.clone())).await
            };
            assert_eq!(code(send(only(other)).await), "access.denied", "{operation:?}");
            assert!(send(only(right)).await.is_ok(), "{operation:?}");
        }
    }
}
