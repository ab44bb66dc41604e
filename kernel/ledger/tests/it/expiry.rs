//! Many members' lots expire at one moment: the job that writes it down is killed and begins again, and nobody reads
//! a wrong balance before, meanwhile or afterwards.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use futures::future::{Either, join_all, select};
use huika_ledger::{Asset, Availability, Book, LedgerError, Need};

use crate::counter::{Counter, DAY, command, earn, earn_later, earn_until, hold, spend};

const MEMBERS: usize = 40;
const LOTS: usize = 100;
/// What never expires, of every member.
const KEPT: i64 = 7;
const KILLS: usize = 3;
const EXPIRED: &str = "SELECT COUNT(*) AS n FROM ledger_lot WHERE expired > 0";

/// Members whose hundred lots expire in a day, beside some that stay. Every third has a hold that lapses at that
/// moment, and every fourth a lot that opens then.
async fn fill(counter: &Counter) -> Vec<Counter> {
    let (ids, now, until) = (&counter.cx.ids, counter.now(), counter.in_days(1));
    let members: Vec<Counter> = (0..MEMBERS).map(|_| counter.another_member()).collect();
    for (at, member) in members.iter().enumerate() {
        let mut operations = vec![earn_until(1, until); LOTS];
        operations.push(earn(KEPT));
        if at.is_multiple_of(4) {
            operations.push(earn_later(3, Availability::At(until)));
        }
        let earned = command(member.member_id, "earn", now, operations);
        let held = command(member.member_id, "hold", now, vec![hold(5, until)]);
        let (earned, held) = (&earned, &held);
        counter
            .cx
            .db
            .run_tx("test.fill", |tx| {
                Box::pin(async move {
                    let mut book =
                        Book::load_in_tx(tx, ids, now, &[Need::of(earned), Need::of(held)]).await?;
                    book.apply(earned)?;
                    if at.is_multiple_of(3) {
                        book.apply(held)?;
                    }
                    book.save_in_tx(tx).await?;
                    Ok::<_, LedgerError>(())
                })
            })
            .await
            .unwrap();
    }
    members
}

/// What a member with this number has once the moment has come.
fn left(at: usize) -> i64 {
    if at.is_multiple_of(4) { KEPT + 3 } else { KEPT }
}

huika_testing::db_test! { migrations = huika_ledger::migrations,
    async fn the_job_is_killed_and_begins_again_and_every_read_is_exact(cx) {
        let counter = Counter::open(cx);
        let members = Arc::new(fill(&counter).await);
        for (at, member) in members.iter().enumerate() {
            let points = member.points().await;
            let held = if at.is_multiple_of(3) { 5 } else { 0 };
            assert_eq!((points.available, points.held), (100 + KEPT - held, held), "before");
        }
        counter.pass(DAY);

        let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let readers: Vec<_> = (0..2)
            .map(|reader| {
                let (members, stop, reads) = (Arc::clone(&members), Arc::clone(&stop), Arc::clone(&reads));
                tokio::spawn(async move {
                    for at in (reader..).step_by(7).map(|number| number % MEMBERS) {
                        if stop.load(Ordering::SeqCst) {
                            return;
                        }
                        let points = members[at].points().await;
                        assert_eq!((points.available, points.held, points.pending), (left(at), 0, 0));
                        let lots: i64 = members[at].left_in_lots().await.iter().sum();
                        assert_eq!(lots, left(at));
                        reads.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();

        let mut kills = 0;
        loop {
            let before = counter.cx.count(EXPIRED).await;
            let job = Box::pin(counter.ledger.settle_due());
            let spared = kills == KILLS;
            let progress = Box::pin(async {
                if spared {
                    std::future::pending::<()>().await;
                }
                while counter.cx.count(EXPIRED).await == before {}
            });
            let finished = match select(job, progress).await {
                Either::Left((done, _)) => Some(done.unwrap()),
                // The job is dropped in the middle of a transaction.
                Either::Right(_) => None,
            };
            match finished {
                Some(0) => break,
                Some(_) => {}
                None => kills += 1,
            }
            let expired = counter.cx.count(EXPIRED).await;
            if kills == 1 {
                assert!(0 < expired && expired < (MEMBERS * LOTS) as i64, "{expired}: in more than one transaction");
            }
            assert_eq!(expired % LOTS as i64, 0, "nobody is settled in part");
            counter.assert_proven().await;
        }
        assert!(kills > 0);
        stop.store(true, Ordering::SeqCst);
        for reader in join_all(readers).await {
            reader.unwrap();
        }
        assert!(reads.load(Ordering::SeqCst) > 0);

        assert_eq!(counter.cx.count(EXPIRED).await, (MEMBERS * LOTS) as i64);
        for (at, member) in members.iter().enumerate() {
            assert_eq!(member.available().await, left(at), "after");
        }
        let totals = huika_ledger::counter_totals(&mut &counter.cx.db).await.unwrap();
        let expiry = totals.iter().find(|(asset, name, _)| *asset == Asset::Points && name == "expiry");
        assert_eq!(expiry.unwrap().2, -((MEMBERS * LOTS) as i64));
        counter.assert_proven().await;
    }

    /// Who spends and whoever settles at the same time take each lot once.
    async fn members_who_come_while_the_job_runs_meet_what_is_left(cx) {
        let counter = Counter::open(cx);
        let members = fill(&counter).await;
        counter.pass(DAY);
        let job = async {
            while counter.ledger.settle_due().await.unwrap() > 0 {}
        };
        let tills = join_all(members.iter().map(|member| async move {
            assert!(member.post(vec![spend(50)]).await.is_err(), "what has expired is not spent");
            member.done(vec![spend(KEPT)]).await;
        }));
        futures::join!(job, tills);
        for (at, member) in members.iter().enumerate() {
            assert_eq!(member.available().await, left(at) - KEPT);
        }
        assert_eq!(counter.cx.count(EXPIRED).await, (MEMBERS * LOTS) as i64);
        counter.assert_proven().await;
    }
}
