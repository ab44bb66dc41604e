//! What lots, holds and reversals promise to a member.

use huika_core::{MemberId, Refusal as _};
use huika_ledger::{
    Asset, Availability, CounterAccount, EntryKind, HoldId, LapsedLots, LedgerError, Need, NegativePolicy,
    Operation, Outcome, PostingId, statement,
};

use crate::counter::{
    Counter, DAY, HOUR, MAX_AMOUNT, claw_back, command, earn, earn_later, earn_until, hold, reverse_earn,
    reverse_spend, spend,
};

const TAKE: NegativePolicy = NegativePolicy::TakeExisting;

fn hold_id(outcome: &Outcome) -> HoldId {
    outcome.entries[0].hold_id.unwrap()
}

fn parts(counter: &huika_ledger::Balance) -> (i64, i64, i64) {
    (counter.available, counter.pending, counter.held)
}

/// Declares stories, each with a member of its own, that share a database per engine: making one takes longer
/// than any story.
macro_rules! stories {
    ($section:ident, $($(#[$meta:meta])* async fn $story:ident($counter:ident) $body:block)+) => {
        $($(#[$meta])* async fn $story($counter: Counter) $body)+

        huika_testing::db_test! { migrations = huika_ledger::migrations,
            async fn $section(cx) {
                let first = Counter::open(cx);
                $(
                    println!("{}", stringify!($story));
                    $story(first.another_member()).await;
                )+
            }
        }
    };
}

stories! { spending,
    async fn the_earliest_expiry_is_spent_first_and_never_expiring_value_last(counter) {
        counter.done(vec![earn(10)]).await;
        counter.done(vec![earn_until(20, counter.in_days(30))]).await;
        counter.done(vec![earn_until(30, counter.in_days(10))]).await;

        let outcome = counter.done(vec![spend(35)]).await;
        let taken: Vec<i64> = outcome.entries[0].lots.iter().map(|(_, part)| *part).collect();
        assert_eq!(taken, [30, 5]);
        assert_eq!(counter.left_in_lots().await, [15, 10]);

        counter.done(vec![spend(20)]).await;
        assert_eq!(counter.left_in_lots().await, [5]);
        assert_eq!(counter.lots().await[0].expires_at, None);
        counter.assert_proven().await;
    }

    async fn lots_are_listed_in_pages_also_when_time_has_changed_them(counter) {
        let (ids, db) = (&counter.cx.ids, &counter.cx.db);
        let member_id = counter.member_id;
        let until = counter.in_days(10);
        let earned = [earn(1), earn_until(2, until), earn_until(3, until), earn(4), earn_until(5, counter.in_days(1))];
        for earned in earned {
            counter.done(vec![earned]).await;
        }
        for (days, expected) in [(0, vec![5, 2, 3, 1, 4]), (2, vec![2, 3, 1, 4])] {
            let now = counter.in_days(days);
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page =
                    huika_ledger::lots(&mut &*db, ids, member_id, Asset::Points, now, after, 2).await.unwrap();
                assert!(page.len() <= 2);
                let Some(last) = page.last() else { break };
                after = Some((last.expires_at, last.lot_id).into());
                seen.extend(page.iter().map(|lot| lot.remaining));
            }
            assert_eq!(seen, expected);
        }
        for (days, first) in [(0, Some((5, counter.in_days(1)))), (2, Some((5, until))), (11, None)] {
            let now = counter.in_days(days);
            let expiring = huika_ledger::first_expiring(&mut &*db, ids, member_id, Asset::Points, now).await;
            assert_eq!(expiring.unwrap(), first, "after {days} days");
        }
    }

    async fn one_command_has_one_counter_account_for_what_it_earns_and_one_for_what_it_spends(counter) {
        let from = |counter_account| Operation::Earn {
            asset: Asset::Points,
            amount: 10,
            counter_account,
            availability: Availability::Now,
            expires_at: None,
        };
        let to = |counter_account| Operation::Spend { asset: Asset::Points, amount: 3, counter_account };
        let (issuance, top_up) = (CounterAccount::Issuance, CounterAccount::TopUp);
        let (redemption, payment) = (CounterAccount::Redemption, CounterAccount::Payment);
        counter.done(vec![from(issuance), from(issuance), to(redemption), to(redemption)]).await;
        let held = counter.done(vec![hold(5, counter.in_days(1))]).await;
        let post = Operation::PostHold { hold_id: hold_id(&held), amount: 5, counter_account: payment };
        for mixed in [
            vec![from(issuance), from(top_up)],
            vec![to(redemption), to(payment)],
            vec![to(redemption), post.clone()],
            vec![post, to(redemption)],
        ] {
            assert_eq!(counter.refused(mixed).await, "ledger.counter_accounts_mixed");
        }
        counter.assert_proven().await;
    }

    async fn of_two_lots_with_one_expiry_the_older_is_spent_first(counter) {
        let until = counter.in_days(10);
        let first = counter.done(vec![earn_until(10, until)]).await;
        counter.done(vec![earn_until(10, until)]).await;
        let outcome = counter.done(vec![spend(4)]).await;
        assert_eq!(outcome.entries[0].lots, [(first.entries[0].lot_id.unwrap(), 4)]);
    }

    async fn more_than_is_free_is_refused_also_when_the_rest_is_pending_or_held(counter) {
        counter.done(vec![earn(50), earn_later(50, Availability::At(counter.in_days(1)))]).await;
        counter.done(vec![hold(20, counter.in_days(1))]).await;
        assert_eq!(parts(&counter.points().await), (30, 50, 20));
        assert_eq!(counter.refused(vec![spend(31)]).await, "ledger.insufficient");
        assert_eq!(counter.refused(vec![hold(31, counter.in_days(1))]).await, "ledger.insufficient");
        counter.done(vec![spend(30)]).await;
        counter.assert_proven().await;
    }

    async fn several_operations_happen_all_or_none(counter) {
        counter.done(vec![earn(100)]).await;
        let growth = Operation::Earn {
            asset: Asset::Growth,
            amount: 500,
            counter_account: CounterAccount::Issuance,
            availability: Availability::Now,
            expires_at: None,
        };
        let refused = vec![spend(60), growth.clone(), hold(10, counter.in_days(1)), spend(60)];
        assert_eq!(counter.refused(refused).await, "ledger.insufficient");
        assert_eq!(counter.left_in_lots().await, [100]);

        let outcome = counter.done(vec![spend(60), growth]).await;
        assert_eq!(outcome.entries.len(), 2);
        assert_eq!(counter.balances().await[&Asset::Growth].available, 500);
        counter.assert_proven().await;
    }

    async fn amounts_that_are_no_amounts_are_refused(counter) {
        let source = counter.done(vec![earn(100)]).await.posting_id;
        let spent = counter.done(vec![spend(50)]).await.posting_id;
        let held = counter.done(vec![hold(10, counter.in_days(1))]).await;
        for amount in [0, -1, i64::MIN, MAX_AMOUNT + 1, i64::MAX] {
            for operation in [
                earn(amount),
                spend(amount),
                hold(amount, counter.in_days(1)),
                claw_back(amount, TAKE),
                claw_back(amount, NegativePolicy::GoNegative { limit: i64::MAX }),
                reverse_earn(source, amount, TAKE),
                reverse_spend(spent, amount),
                Operation::PostHold {
                    hold_id: hold_id(&held),
                    amount,
                    counter_account: CounterAccount::Payment,
                },
            ] {
                assert_eq!(counter.refused(vec![operation]).await, "ledger.amount_invalid");
            }
        }
        counter.assert_proven().await;
    }

    async fn an_account_never_holds_more_than_the_largest_amount(counter) {
        counter.done(vec![earn(MAX_AMOUNT - 1)]).await;
        counter.done(vec![earn_later(1, Availability::At(counter.in_days(1)))]).await;
        assert_eq!(counter.refused(vec![earn(1)]).await, "ledger.amount_invalid");
        let later = earn_later(MAX_AMOUNT, Availability::At(counter.in_days(2)));
        assert_eq!(counter.refused(vec![later]).await, "ledger.amount_invalid");

        // What is pending can always be released.
        counter.pass(3 * DAY);
        assert_eq!(parts(&counter.points().await), (MAX_AMOUNT, 0, 0));
        counter.done(vec![spend(MAX_AMOUNT)]).await;
        counter.assert_proven().await;
    }

}

stories! { pending,
    async fn pending_value_is_free_from_its_moment_on(counter) {
        counter.done(vec![earn_later(100, Availability::At(counter.in_days(7)))]).await;
        counter.pass(7 * DAY - 1);
        assert_eq!(parts(&counter.points().await), (0, 100, 0));
        assert_eq!(counter.refused(vec![spend(1)]).await, "ledger.insufficient");
        counter.pass(1);
        assert_eq!(parts(&counter.points().await), (100, 0, 0));
        counter.done(vec![spend(100)]).await;
        counter.assert_proven().await;
    }

    async fn pending_value_is_free_after_its_event_and_no_other(counter) {
        let on_event = |event: &str| Availability::OnEvent { event: event.to_owned(), not_before: None };
        counter.done(vec![earn_later(100, on_event("received/1")), earn_later(10, on_event("received/2"))]).await;
        counter.pass(1_000 * DAY);
        assert_eq!(parts(&counter.points().await), (0, 110, 0));

        counter.done(vec![Operation::Release { event: "received/1".to_owned() }]).await;
        assert_eq!(parts(&counter.points().await), (100, 10, 0));
        let again = counter.done(vec![Operation::Release { event: "received/1".to_owned() }]).await;
        assert_eq!(again.entries, []);
        counter.assert_proven().await;
    }

    async fn an_event_before_the_earliest_moment_waits_for_it(counter) {
        let availability =
            Availability::OnEvent { event: "received".to_owned(), not_before: Some(counter.in_days(7)) };
        counter.done(vec![earn_later(100, availability.clone())]).await;
        counter.done(vec![Operation::Release { event: "received".to_owned() }]).await;
        counter.pass(7 * DAY - 1);
        assert_eq!(parts(&counter.points().await), (0, 100, 0));
        counter.pass(1);
        assert_eq!(parts(&counter.points().await), (100, 0, 0));

        // The other way round: the moment passes, the event comes later.
        let availability =
            Availability::OnEvent { event: "received".to_owned(), not_before: Some(counter.in_days(7)) };
        counter.done(vec![earn_later(10, availability)]).await;
        counter.pass(8 * DAY);
        assert_eq!(parts(&counter.points().await), (100, 10, 0));
        counter.done(vec![Operation::Release { event: "received".to_owned() }]).await;
        assert_eq!(parts(&counter.points().await), (110, 0, 0));
        counter.assert_proven().await;
    }

    async fn an_event_that_nothing_waits_for_is_carried_out_once_and_leaves_the_ledger_proven(counter) {
        let stranger = counter.command(vec![Operation::Release { event: "received".to_owned() }]);
        let first = counter.ledger.post(stranger.clone()).await.unwrap();
        let again = counter.ledger.post(stranger).await.unwrap();
        assert_eq!((again.posting_id, again.replayed), (first.posting_id, true));
        counter.assert_proven().await;
    }

    async fn a_refund_inside_the_window_cancels_the_pending_lot_and_never_touches_what_is_available(counter) {
        counter.done(vec![earn_until(40, counter.in_days(1))]).await;
        let source = counter.done(vec![earn_later(100, Availability::At(counter.in_days(7)))]).await.posting_id;

        counter.done(vec![reverse_earn(source, 30, TAKE)]).await;
        assert_eq!(parts(&counter.points().await), (40, 70, 0));
        counter.done(vec![reverse_earn(source, 70, TAKE)]).await;
        assert_eq!(parts(&counter.points().await), (40, 0, 0));
        assert_eq!(counter.left_in_lots().await, [40]);
        counter.assert_proven().await;
    }

    async fn a_pending_lot_can_expire_before_it_opens(counter) {
        let operation = Operation::Earn {
            asset: Asset::Points,
            amount: 100,
            counter_account: CounterAccount::Issuance,
            availability: Availability::OnEvent { event: "received".to_owned(), not_before: None },
            expires_at: Some(counter.in_days(5)),
        };
        counter.done(vec![operation]).await;
        counter.pass(5 * DAY);
        assert_eq!(parts(&counter.points().await), (0, 0, 0));
        counter.done(vec![Operation::Release { event: "received".to_owned() }]).await;
        assert_eq!(parts(&counter.points().await), (0, 0, 0));
        counter.assert_proven().await;
    }

}

stories! { expiry,
    async fn expiry_is_true_at_read_time_without_any_job(counter) {
        counter.done(vec![earn_until(100, counter.in_days(30)), earn(5)]).await;
        counter.pass(30 * DAY - 1);
        assert_eq!(counter.available().await, 105);
        assert_eq!(counter.left_in_lots().await, [100, 5]);
        counter.pass(1);
        assert_eq!(counter.available().await, 5);
        assert_eq!(counter.left_in_lots().await, [5]);
        counter.pass(1);
        assert_eq!(counter.available().await, 5);
        // Reading wrote nothing.
        assert_eq!(counter.entries().await, 2);

        assert_eq!(counter.refused(vec![spend(6)]).await, "ledger.insufficient");
        counter.done(vec![spend(5)]).await;
        counter.assert_proven().await;
    }

    async fn what_expired_is_written_once_with_the_moment_at_which_it_was_lost(counter) {
        let until = counter.in_days(30);
        counter.done(vec![earn_until(100, until)]).await;
        counter.pass(40 * DAY);
        counter.settle().await;
        counter.settle().await;
        let lines =
            statement(&mut &counter.cx.db, counter.member_id, Asset::Points, None, 10).await.unwrap();
        let newest = &lines[0];
        assert_eq!(lines.len(), 2);
        assert_eq!((newest.entry_kind.as_str(), newest.available_change), ("expire", -100));
        assert_eq!((newest.effective_at, newest.recorded_at), (until, counter.now()));
        counter.assert_proven().await;
    }

    /// The job calls again while something was settled: an account that is named too early must not stay due.
    async fn an_account_whose_lot_was_spent_before_its_expiry_is_settled_once(counter) {
        counter.done(vec![earn_until(100, counter.in_days(1))]).await;
        counter.done(vec![spend(100)]).await;
        counter.pass(2 * DAY);
        counter.settle().await;
        assert_eq!(counter.ledger.settle_due().await.unwrap(), 0);
        assert_eq!(counter.entries().await, 2);
        counter.assert_proven().await;
    }

    /// The answer must not show value that is gone, and the next operation must not spend it.
    async fn a_back_dated_earn_that_is_over_already_is_lost_in_the_same_posting(counter) {
        let outcome = counter.done(vec![earn_until(100, counter.in_days(-1))]).await;
        let told: Vec<(EntryKind, i64, i64)> =
            outcome.entries.iter().map(|entry| (entry.kind, entry.available_change, entry.available)).collect();
        assert_eq!(told, [(EntryKind::Earn, 100, 100), (EntryKind::Expire, -100, 0)]);
        assert_eq!(counter.available().await, 0);

        let at_once = vec![earn_until(100, counter.now()), spend(1)];
        assert_eq!(counter.refused(at_once).await, "ledger.insufficient");
        counter.assert_proven().await;
    }

    async fn a_back_dated_earn_does_not_make_the_account_forget_its_other_lots(counter) {
        counter.done(vec![earn_until(40, counter.in_days(1))]).await;
        counter.done(vec![earn_until(100, counter.in_days(-1))]).await;
        counter.done(vec![earn_until(7, counter.in_days(3)), earn_until(100, counter.in_days(-2))]).await;
        assert_eq!(counter.available().await, 47);
        counter.pass(DAY);
        assert_eq!(counter.available().await, 7);
        counter.pass(2 * DAY);
        assert_eq!(counter.available().await, 0);
        counter.assert_proven().await;
    }

    /// A module that decides by what is free must not decide by what has expired.
    async fn a_book_shows_what_is_free_now(counter) {
        counter.done(vec![earn_until(100, counter.in_days(1)), earn(3)]).await;
        counter.pass(DAY);
        let command = counter.command(vec![spend(3)]);
        let (ledger, command) = (&counter.ledger, &command);
        let free = counter
            .cx
            .db
            .run_tx("test.book", |tx| {
                Box::pin(async move {
                    let mut book = ledger.book_in_tx(tx, &[Need::of(command)]).await?;
                    let free = book.available(command.member_id, Asset::Points);
                    book.apply(command)?;
                    book.save_in_tx(tx).await?;
                    Ok::<_, LedgerError>(free)
                })
            })
            .await
            .unwrap();
        assert_eq!(free, 3);
        assert_eq!(counter.available().await, 0);
        counter.assert_proven().await;
    }

}

stories! { holds,
    async fn held_value_does_not_expire_until_its_hold_lapses(counter) {
        counter.done(vec![earn_until(100, counter.in_days(1))]).await;
        counter.done(vec![hold(60, counter.in_days(2))]).await;
        counter.pass(DAY);
        assert_eq!(parts(&counter.points().await), (0, 0, 60));
        counter.pass(DAY - 1);
        assert_eq!(parts(&counter.points().await), (0, 0, 60));
        counter.pass(1);
        assert_eq!(parts(&counter.points().await), (0, 0, 0));

        // It was lost when the hold ended, not while it was held.
        let lapsed_at = counter.now();
        counter.pass(HOUR);
        counter.settle().await;
        let lines =
            statement(&mut &counter.cx.db, counter.member_id, Asset::Points, None, 1).await.unwrap();
        assert_eq!((lines[0].available_change, lines[0].effective_at), (-60, lapsed_at));
        counter.assert_proven().await;
    }

    async fn held_value_can_be_spent_after_its_expiry(counter) {
        counter.done(vec![earn_until(100, counter.in_days(1))]).await;
        let hold_id = hold_id(&counter.done(vec![hold(60, counter.in_days(2))]).await);
        counter.pass(DAY + HOUR);
        let post = Operation::PostHold { hold_id, amount: 60, counter_account: CounterAccount::Redemption };
        counter.done(vec![post]).await;
        assert_eq!(parts(&counter.points().await), (0, 0, 0));
        assert_eq!(counter.points().await.lifetime_out, 60);
        counter.assert_proven().await;
    }

    async fn what_a_hold_does_not_spend_returns(counter) {
        counter.done(vec![earn_until(30, counter.in_days(1)), earn(70)]).await;
        let hold_id = hold_id(&counter.done(vec![hold(50, counter.in_days(1))]).await);
        assert_eq!(parts(&counter.points().await), (50, 0, 50));

        let post = Operation::PostHold { hold_id, amount: 35, counter_account: CounterAccount::Payment };
        let too_much = Operation::PostHold { hold_id, amount: 51, counter_account: CounterAccount::Payment };
        assert_eq!(counter.refused(vec![too_much]).await, "ledger.hold_exceeds");
        counter.done(vec![post.clone()]).await;
        // The part that expires first was spent first.
        assert_eq!(parts(&counter.points().await), (65, 0, 0));
        assert_eq!(counter.left_in_lots().await, [65]);
        assert_eq!(counter.refused(vec![post]).await, "ledger.hold_closed");
        counter.assert_proven().await;
    }

    async fn a_voided_hold_returns_to_its_lots(counter) {
        counter.done(vec![earn_until(30, counter.in_days(1)), earn(70)]).await;
        let hold_id = hold_id(&counter.done(vec![hold(50, counter.in_days(1))]).await);
        counter.done(vec![Operation::VoidHold { hold_id }]).await;
        assert_eq!(parts(&counter.points().await), (100, 0, 0));
        assert_eq!(counter.left_in_lots().await, [30, 70]);
        assert_eq!(counter.refused(vec![Operation::VoidHold { hold_id }]).await, "ledger.hold_closed");
        counter.pass(DAY);
        assert_eq!(counter.available().await, 70);
        counter.assert_proven().await;
    }

    async fn a_hold_returns_by_itself_at_its_moment(counter) {
        counter.done(vec![earn(100)]).await;
        let hold_id = hold_id(&counter.done(vec![hold(60, counter.now().plus_millis(HOUR))]).await);
        counter.pass(HOUR - 1);
        assert_eq!(parts(&counter.points().await), (40, 0, 60));
        counter.pass(1);
        assert_eq!(parts(&counter.points().await), (100, 0, 0));
        let post = Operation::PostHold { hold_id, amount: 60, counter_account: CounterAccount::Redemption };
        assert_eq!(counter.refused(vec![post]).await, "ledger.hold_closed");
        counter.done(vec![spend(100)]).await;
        counter.assert_proven().await;
    }

    /// Otherwise ending a hold and spending in one command would keep value alive for ever.
    async fn value_that_a_hold_returns_too_late_cannot_be_spent_by_the_same_command(counter) {
        counter.done(vec![earn_until(60, counter.in_days(1))]).await;
        let hold_id = hold_id(&counter.done(vec![hold(60, counter.in_days(9))]).await);
        counter.pass(2 * DAY);
        let again = vec![Operation::VoidHold { hold_id }, hold(60, counter.in_days(9))];
        assert_eq!(counter.refused(again).await, "ledger.insufficient");
        let outcome = counter.done(vec![Operation::VoidHold { hold_id }]).await;
        assert_eq!(outcome.last_of(Asset::Points).unwrap().available, 0);
        counter.assert_proven().await;
    }

    async fn a_hold_of_another_member_is_not_found(counter) {
        counter.done(vec![earn(100)]).await;
        let hold_id = hold_id(&counter.done(vec![hold(60, counter.in_days(1))]).await);
        let stranger: MemberId = counter.cx.ids.next();
        for operation in [
            Operation::VoidHold { hold_id },
            Operation::PostHold { hold_id, amount: 1, counter_account: CounterAccount::Redemption },
        ] {
            let asked = command(stranger, "key", counter.now(), vec![operation]);
            let refusal = counter.ledger.post(asked).await.unwrap_err();
            assert_eq!(refusal.problem().code, "ledger.hold_not_found");
        }
    }

}

stories! { refunds,
    async fn a_refund_returns_to_its_own_lots_the_last_taken_first(counter) {
        counter.done(vec![earn(30), earn_until(20, counter.in_days(20)), earn_until(10, counter.in_days(10))]).await;
        let source = counter.done(vec![spend(45)]).await.posting_id;
        assert_eq!(counter.left_in_lots().await, [15]);

        counter.done(vec![reverse_spend(source, 17)]).await;
        // 15 to the lot that never expires, 2 to the one of twenty days.
        assert_eq!(counter.left_in_lots().await, [2, 30]);
        counter.done(vec![reverse_spend(source, 20)]).await;
        assert_eq!(counter.left_in_lots().await, [2, 20, 30]);
        counter.done(vec![reverse_spend(source, 8)]).await;
        assert_eq!(counter.left_in_lots().await, [10, 20, 30]);
        assert_eq!(counter.points().await.lifetime_out, 0);
        assert_eq!(counter.refused(vec![reverse_spend(source, 1)]).await, "ledger.reversal_exceeds");
        counter.assert_proven().await;
    }

    /// The rows of the lots come in another order than they were spent in.
    async fn a_refund_within_one_book_returns_as_one_from_the_rows(counter) {
        counter.done(vec![earn(30), earn_until(20, counter.in_days(20)), earn_until(10, counter.in_days(10))]).await;
        let spending = counter.command(vec![spend(45)]);
        let refunding = counter.command(vec![]);
        let (ledger, spending, refunding) = (&counter.ledger, &spending, &refunding);
        counter
            .cx
            .db
            .run_tx("test.book", |tx| {
                Box::pin(async move {
                    let mut book = ledger.book_in_tx(tx, &[Need::of(spending), Need::of(refunding)]).await?;
                    let source = book.apply(spending)?.posting_id;
                    let mut refunding = refunding.clone();
                    refunding.operations = vec![reverse_spend(source, 17)];
                    book.apply(&refunding)?;
                    book.save_in_tx(tx).await
                })
            })
            .await
            .unwrap();
        assert_eq!(counter.left_in_lots().await, [2, 30]);
        counter.assert_proven().await;
    }

    async fn a_refund_of_a_posted_hold_returns_to_its_lots(counter) {
        counter.done(vec![earn_until(30, counter.in_days(9)), earn(70)]).await;
        let hold_id = hold_id(&counter.done(vec![hold(50, counter.in_days(1))]).await);
        let post = Operation::PostHold { hold_id, amount: 40, counter_account: CounterAccount::Payment };
        let source = counter.done(vec![post]).await.posting_id;
        counter.done(vec![reverse_spend(source, 25)]).await;
        assert_eq!(counter.left_in_lots().await, [15, 70]);
        assert_eq!(counter.refused(vec![reverse_spend(source, 16)]).await, "ledger.reversal_exceeds");
        counter.assert_proven().await;
    }

    async fn value_that_returns_to_a_lapsed_lot_returns_and_expires_visibly(counter) {
        counter.done(vec![earn_until(60, counter.in_days(1)), earn(40)]).await;
        let source = counter.done(vec![spend(100)]).await.posting_id;
        counter.pass(2 * DAY);
        let outcome = counter.done(vec![reverse_spend(source, 70)]).await;
        let told: Vec<(EntryKind, i64)> =
            outcome.entries.iter().map(|entry| (entry.kind, entry.available_change)).collect();
        assert_eq!(told, [(EntryKind::ReverseSpend, 70), (EntryKind::Expire, -30)]);
        assert_eq!(counter.left_in_lots().await, [40]);
        counter.assert_proven().await;
    }

    async fn a_lapsed_lot_can_live_on_for_what_returns(counter) {
        counter.done(vec![earn_until(60, counter.in_days(1)), earn_until(40, counter.in_days(90))]).await;
        let source = counter.done(vec![spend(100)]).await.posting_id;
        counter.pass(2 * DAY);
        let grace = counter.in_days(14);
        let refund = Operation::ReverseSpend {
            source,
            asset: Asset::Points,
            amount: 100,
            lapsed: LapsedLots::ExtendTo(grace),
        };
        counter.done(vec![refund]).await;
        let lots = counter.lots().await;
        assert_eq!(lots.iter().map(|lot| lot.remaining).collect::<Vec<_>>(), [60, 40]);
        assert_eq!(lots[0].expires_at, Some(grace));
        counter.pass(14 * DAY);
        assert_eq!(counter.left_in_lots().await, [40]);
        counter.assert_proven().await;
    }

}

stories! { taking_back,
    async fn taking_back_what_was_spent_notes_the_shortfall(counter) {
        let source = counter.done(vec![earn(100)]).await.posting_id;
        counter.done(vec![spend(70)]).await;
        let outcome = counter.done(vec![reverse_earn(source, 80, TAKE)]).await;
        let entry = &outcome.entries[0];
        assert_eq!((entry.available_change, entry.shortfall, entry.reversed), (-30, 50, 80));
        assert_eq!(counter.available().await, 0);
        assert_eq!(counter.refused(vec![reverse_earn(source, 21, TAKE)]).await, "ledger.reversal_exceeds");
        counter.assert_proven().await;
    }

    async fn taking_back_takes_its_own_lot_before_others(counter) {
        counter.done(vec![earn_until(50, counter.in_days(1))]).await;
        let source = counter.done(vec![earn_until(100, counter.in_days(9))]).await.posting_id;
        counter.done(vec![spend(70)]).await;
        // 80 are left of the own lot, the other one is empty; then 20 more come from a later lot.
        counter.done(vec![earn(33)]).await;
        counter.done(vec![reverse_earn(source, 100, TAKE)]).await;
        assert_eq!(counter.left_in_lots().await, [13]);
        counter.assert_proven().await;
    }

    async fn taking_back_can_go_negative_to_the_limit_and_the_next_credits_repay(counter) {
        let source = counter.done(vec![earn(100)]).await.posting_id;
        counter.done(vec![spend(100)]).await;
        let policy = NegativePolicy::GoNegative { limit: 60 };
        let outcome = counter.done(vec![reverse_earn(source, 100, policy)]).await;
        assert_eq!((outcome.entries[0].available_change, outcome.entries[0].shortfall), (-60, 40));
        assert_eq!(counter.available().await, -60);
        assert_eq!(counter.refused(vec![spend(1)]).await, "ledger.insufficient");
        // The limit is reached: more is forgiven, not owed.
        let outcome = counter.done(vec![claw_back(10, policy)]).await;
        assert_eq!((outcome.entries[0].available_change, outcome.entries[0].shortfall), (0, 10));

        counter.done(vec![earn_until(50, counter.in_days(1))]).await;
        assert_eq!(counter.available().await, -10);
        assert!(counter.left_in_lots().await.is_empty());
        counter.done(vec![earn_later(30, Availability::At(counter.in_days(1)))]).await;
        assert_eq!(parts(&counter.points().await), (-10, 30, 0));
        counter.pass(DAY);
        // What repaid a deficit cannot expire any more, and what is released repays too.
        assert_eq!(parts(&counter.points().await), (20, 0, 0));
        counter.done(vec![spend(20)]).await;
        counter.assert_proven().await;
    }

    async fn value_that_returns_repays_a_deficit(counter) {
        counter.done(vec![earn(100)]).await;
        let spent = counter.done(vec![spend(40)]).await.posting_id;
        let held = hold_id(&counter.done(vec![hold(60, counter.in_days(1))]).await);
        counter.done(vec![claw_back(70, NegativePolicy::GoNegative { limit: 1_000 })]).await;
        assert_eq!(parts(&counter.points().await), (-70, 0, 60));
        counter.done(vec![reverse_spend(spent, 40)]).await;
        assert_eq!(parts(&counter.points().await), (-30, 0, 60));
        counter.done(vec![Operation::VoidHold { hold_id: held }]).await;
        assert_eq!(parts(&counter.points().await), (30, 0, 0));
        assert_eq!(counter.left_in_lots().await, [30]);
        counter.assert_proven().await;
    }

    async fn taking_back_what_expired_takes_nothing_from_other_lots(counter) {
        let source = counter.done(vec![earn_until(100, counter.in_days(1))]).await.posting_id;
        counter.done(vec![earn(50), spend(30)]).await;
        counter.pass(DAY);
        assert_eq!(counter.available().await, 50);

        // 70 expired and 30 were spent: only those 30 are still owed.
        let outcome = counter.done(vec![reverse_earn(source, 70, TAKE)]).await;
        assert_eq!((outcome.entries[0].available_change, outcome.entries[0].shortfall), (0, 0));
        let outcome = counter.done(vec![reverse_earn(source, 30, TAKE)]).await;
        assert_eq!((outcome.entries[0].available_change, outcome.entries[0].shortfall), (-30, 0));
        assert_eq!(counter.available().await, 20);
        counter.assert_proven().await;
    }

}

stories! { reversals,
    /// A purchase that is paid with points in part and earns points is one posting.
    async fn what_one_posting_earned_and_spent_is_reversed_each_in_full(counter) {
        counter.done(vec![earn(100)]).await;
        let source = counter.done(vec![spend(60), earn(90)]).await.posting_id;
        counter.done(vec![reverse_earn(source, 40, TAKE), reverse_spend(source, 25)]).await;
        counter.done(vec![reverse_earn(source, 50, TAKE), reverse_spend(source, 35)]).await;
        assert_eq!(counter.available().await, 100);
        assert_eq!(counter.refused(vec![reverse_earn(source, 1, TAKE)]).await, "ledger.reversal_exceeds");
        assert_eq!(counter.refused(vec![reverse_spend(source, 1)]).await, "ledger.reversal_exceeds");
        counter.assert_proven().await;
    }

    async fn one_posting_that_reverses_two_counts_for_each_what_is_its_own(counter) {
        let first = counter.done(vec![earn(100)]).await.posting_id;
        let second = counter.done(vec![earn(50)]).await.posting_id;
        counter.done(vec![reverse_earn(first, 10, TAKE), reverse_earn(second, 50, TAKE)]).await;
        assert_eq!(counter.refused(vec![reverse_earn(second, 1, TAKE)]).await, "ledger.reversal_exceeds");
        assert_eq!(counter.refused(vec![reverse_earn(first, 91, TAKE)]).await, "ledger.reversal_exceeds");
        counter.done(vec![reverse_earn(first, 90, TAKE)]).await;
        assert_eq!(counter.available().await, 0);
        counter.assert_proven().await;
    }

    /// An exchange gives back one purchase and pays another in one command, out of the same lot.
    async fn an_exchange_can_be_refunded_too(counter) {
        counter.done(vec![earn_until(50, counter.in_days(10)), earn(50)]).await;
        let first = counter.done(vec![spend(100)]).await.posting_id;
        let second = counter.done(vec![reverse_spend(first, 50), spend(50)]).await.posting_id;
        counter.done(vec![reverse_spend(second, 50)]).await;
        counter.done(vec![reverse_spend(first, 50)]).await;
        assert_eq!(counter.left_in_lots().await, [50, 50]);
        for source in [first, second] {
            assert_eq!(counter.refused(vec![reverse_spend(source, 1)]).await, "ledger.reversal_exceeds");
        }
        counter.assert_proven().await;
    }

    /// Whoever may return points names the posting: it must not turn an expiry, a claw-back or a repaid
    /// deficit into new value.
    async fn only_what_was_spent_can_be_given_back(counter) {
        let earned = counter.done(vec![earn_until(100, counter.in_days(1))]).await.posting_id;
        let clawed = counter.done(vec![claw_back(20, TAKE)]).await.posting_id;
        let reversed = counter.done(vec![reverse_earn(earned, 30, TAKE)]).await.posting_id;
        counter.pass(DAY);
        counter.settle().await;
        let lines =
            statement(&mut &counter.cx.db, counter.member_id, Asset::Points, None, 1).await.unwrap();
        let expired = lines[0].posting_id;
        counter.done(vec![claw_back(40, NegativePolicy::GoNegative { limit: 40 })]).await;
        let repaid = counter.done(vec![earn(100)]).await.posting_id;
        for source in [earned, clawed, reversed, expired, repaid, PostingId::from_i64(4_711)] {
            assert_eq!(counter.refused(vec![reverse_spend(source, 10)]).await, "ledger.posting_not_found");
        }
        let spent = counter.done(vec![spend(10)]).await.posting_id;
        assert_eq!(counter.refused(vec![reverse_earn(spent, 10, TAKE)]).await, "ledger.posting_not_found");
        counter.assert_proven().await;
    }

    /// Also within one book, where nothing is read again.
    async fn a_refused_command_counts_nothing_as_reversed(counter) {
        let source = counter.done(vec![earn(100)]).await.posting_id;
        let spent = counter.done(vec![spend(60)]).await.posting_id;
        let refused = counter.command(vec![reverse_earn(source, 70, TAKE), reverse_spend(spent, 50), spend(1_000)]);
        let granted = counter.command(vec![reverse_spend(spent, 60), reverse_earn(source, 100, TAKE)]);
        let (ledger, refused, granted) = (&counter.ledger, &refused, &granted);
        counter
            .cx
            .db
            .run_tx("test.book", |tx| {
                Box::pin(async move {
                    let mut book = ledger.book_in_tx(tx, &[Need::of(refused), Need::of(granted)]).await?;
                    assert!(book.apply(refused).is_err());
                    book.apply(granted)?;
                    book.save_in_tx(tx).await
                })
            })
            .await
            .unwrap();
        assert_eq!(counter.available().await, 0);
        assert!(counter.lots().await.is_empty());
        counter.assert_proven().await;
    }

    async fn a_posting_of_another_member_or_asset_is_not_found(counter) {
        let source = counter.done(vec![earn(100)]).await.posting_id;
        let other_asset =
            Operation::ReverseEarn { source, asset: Asset::Growth, amount: 1, policy: TAKE };
        assert_eq!(counter.refused(vec![other_asset]).await, "ledger.posting_not_found");
        let stranger: MemberId = counter.cx.ids.next();
        let refusal = counter
            .ledger
            .post(command(stranger, "key", counter.now(), vec![reverse_earn(source, 1, TAKE)]))
            .await
            .unwrap_err();
        assert_eq!(refusal.problem().code, "ledger.posting_not_found");
    }
}

stories! { keys,
    async fn the_same_key_gives_the_first_answer_and_another_input_is_refused(counter) {
        counter.done(vec![earn_until(100, counter.in_days(1))]).await;
        let first = command(counter.member_id, "tap", counter.now(), vec![spend(30)]);
        let outcome = counter.ledger.post(first.clone()).await.unwrap();
        assert!(!outcome.replayed);

        counter.pass(2 * DAY);
        let again = counter.ledger.post(first).await.unwrap();
        assert!(again.replayed);
        assert_eq!((again.posting_id, &again.entries), (outcome.posting_id, &outcome.entries));
        let changed = command(counter.member_id, "tap", counter.now(), vec![spend(31)]);
        let refusal = counter.ledger.post(changed).await.unwrap_err();
        assert_eq!(refusal.problem().code, "ledger.idempotency_conflict");

        // Keys belong to members: another one may use the same.
        let neighbour = command(counter.cx.ids.next(), "tap", counter.now(), vec![earn(1)]);
        assert!(!counter.ledger.post(neighbour).await.unwrap().replayed);
        assert_eq!(counter.available().await, 0);
        counter.assert_proven().await;
    }

    async fn a_refused_command_leaves_its_key_free(counter) {
        let first = command(counter.member_id, "tap", counter.now(), vec![spend(30)]);
        assert!(counter.ledger.post(first.clone()).await.is_err());
        counter.done(vec![earn(30)]).await;
        assert!(!counter.ledger.post(first).await.unwrap().replayed);
    }

    /// A caller who could take the key of a settlement would lock the account for ever.
    async fn no_key_of_a_caller_stands_in_the_way_of_time(counter) {
        counter.done(vec![earn_until(100, counter.in_days(1))]).await;
        let posts = (0..60).map(|number| {
            let key = format!("settle{}points{}{}", ["/", "-"][number % 2], ["/", "-"][number % 2], 40 + number / 2);
            counter.ledger.post(command(counter.member_id, &key, counter.now(), vec![earn(1)]))
        });
        for answer in futures::future::join_all(posts).await {
            answer.unwrap();
        }
        counter.done(vec![earn_until(1, counter.in_days(1))]).await;
        counter.pass(DAY);
        counter.done(vec![spend(60)]).await;
        assert_eq!(counter.available().await, 0);
        counter.assert_proven().await;
    }
}

huika_testing::db_test! { migrations = huika_ledger::migrations,
    async fn the_job_says_how_many_accounts_it_settled(cx) {
        let first = Counter::open(cx);
        for _ in 0..6 {
            let member = first.another_member();
            member.done(vec![earn_until(1, member.in_days(1)); 100]).await;
        }
        first.pass(DAY);
        let written = "SELECT COUNT(*) AS n FROM ledger_entry WHERE kind = 'expire'";
        assert_eq!(first.ledger.settle_due().await.unwrap(), 6);
        assert_eq!(first.cx.count(written).await, 600);
        assert_eq!(first.ledger.settle_due().await.unwrap(), 0);
        first.assert_proven().await;
    }

    /// Liability and breakage are sums over counter-accounts: a refunded top-up is no issuance.
    async fn a_reversal_goes_back_to_where_its_source_came_from(cx) {
        let counter = Counter::open(cx);
        let top_up = Operation::Earn {
            asset: Asset::Principal,
            amount: 10_000,
            counter_account: CounterAccount::TopUp,
            availability: Availability::Now,
            expires_at: None,
        };
        let payment =
            Operation::Spend { asset: Asset::Principal, amount: 2_500, counter_account: CounterAccount::Payment };
        let paid_in = counter.done(vec![top_up]).await.posting_id;
        let paid = counter.done(vec![payment]).await.posting_id;
        let refund = Operation::ReverseSpend {
            source: paid,
            asset: Asset::Principal,
            amount: 2_500,
            lapsed: LapsedLots::Lapse,
        };
        counter.done(vec![refund]).await;
        counter
            .done(vec![Operation::ReverseEarn {
                source: paid_in,
                asset: Asset::Principal,
                amount: 10_000,
                policy: TAKE,
            }])
            .await;
        let totals = huika_ledger::counter_totals(&mut &counter.cx.db).await.unwrap();
        assert!(totals.iter().all(|(_, _, total)| *total == 0), "{totals:?}");
        counter.assert_proven().await;
    }

    async fn sums_over_all_accounts_are_what_the_counter_accounts_gave(cx) {
        let counter = Counter::open(cx);
        counter.done(vec![earn_until(100, counter.in_days(1)), earn(50)]).await;
        counter.done(vec![spend(30), hold(20, counter.in_days(2))]).await;
        counter.done(vec![earn_later(9, Availability::At(counter.in_days(5)))]).await;
        counter.pass(DAY);
        counter.settle().await;
        let accounts = huika_ledger::asset_totals(&mut &counter.cx.db).await.unwrap();
        let (asset, sums, count) = &accounts[0];
        assert_eq!((*asset, *count, parts(sums)), (Asset::Points, 1, (50, 9, 20)));
        let given = huika_ledger::counter_totals(&mut &counter.cx.db).await.unwrap();
        let given: Vec<(&str, i64)> = given.iter().map(|(_, name, total)| (name.as_str(), *total)).collect();
        assert_eq!(given, [("expiry", -50), ("internal", 0), ("issuance", 159), ("redemption", -30)]);
    }
}
