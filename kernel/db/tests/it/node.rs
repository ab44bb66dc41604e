//! Leases of node numbers.

use std::{pin::pin, time::Duration};

use huika_core::Timestamp;
use huika_db::{DbError, NodeLease, params};
use tokio::sync::Semaphore;

use crate::support::advance_held;

huika_testing::db_test! {
    async fn nodes_that_start_at_once_get_different_numbers(cx) {
        let other = cx.second_pool().await;
        let (one, two) = tokio::join!(NodeLease::acquire(&cx.db), NodeLease::acquire(&other));
        let mut numbers = [one.unwrap().node(), two.unwrap().node()];
        numbers.sort();
        assert_eq!(numbers, [0, 1]);
    }

    async fn the_number_of_a_killed_process_is_free_after_a_minute(cx) {
        let killed = NodeLease::acquire(&cx.db).await.unwrap();
        cx.clock.advance(Duration::from_secs(59));
        assert_eq!(NodeLease::acquire(&cx.db).await.unwrap().node(), 1);
        cx.clock.advance(Duration::from_secs(1));
        let next = NodeLease::acquire(&cx.db).await.unwrap();
        assert_eq!(next.node(), 0);
        assert_ne!(next, killed, "the fence differs");
        killed.release(&cx.db).await.unwrap();
        assert_eq!(NodeLease::acquire(&cx.db).await.unwrap().node(), 2, "the new lease stands");
    }

    async fn a_released_number_is_free_at_once(cx) {
        NodeLease::acquire(&cx.db).await.unwrap().release(&cx.db).await.unwrap();
        assert_eq!(NodeLease::acquire(&cx.db).await.unwrap().node(), 0);
    }

    async fn a_kept_lease_is_renewed(cx) {
        let lease = NodeLease::acquire(&cx.db).await.unwrap();
        let kept = tokio::spawn(lease.keep(cx.db.clone()));
        let until = async || Timestamp::from_millis(cx.count("SELECT leased_until AS n FROM kernel_node").await);
        advance_held(&cx.clock, cx.clock.now().plus_millis(180_000), until, async || {}).await;
        assert!(!kept.is_finished());
        kept.abort();
    }

    async fn the_keeper_of_a_lost_lease_returns(cx) {
        let lease = NodeLease::acquire(&cx.db).await.unwrap();
        let mut kept = pin!(lease.keep(cx.db.clone()));
        assert!(futures::poll!(&mut kept).is_pending());
        cx.execute("UPDATE kernel_node SET fence = fence + 1", params![]).await;
        cx.clock.advance(Duration::from_secs(15));
        tokio::time::timeout(Duration::from_secs(10), kept).await.expect("the process must stop");
    }

    /// The database hangs instead of failing: the end of the lease does not wait for it.
    async fn the_keeper_returns_when_the_lease_ends_however_long_the_renewal_hangs(cx) {
        let lease = NodeLease::acquire(&cx.db).await.unwrap();
        let (locked, free) = (&Semaphore::new(0), &Semaphore::new(0));
        let keep_lock = cx.db.run_tx("test.lock", |tx| Box::pin(async move {
            tx.execute("UPDATE kernel_node SET fence = fence", params![]).await?;
            locked.add_permits(1);
            drop(free.acquire().await);
            Err(DbError::Setup("rolled back".into()))
        }));
        let renew_and_lose = async {
            drop(locked.acquire().await);
            let mut kept = pin!(lease.keep(cx.db.clone()));
            assert!(futures::poll!(&mut kept).is_pending());
            cx.clock.advance(Duration::from_secs(15));
            assert!(futures::poll!(&mut kept).is_pending(), "it renews and waits");
            cx.clock.advance(Duration::from_secs(45));
            tokio::time::timeout(Duration::from_secs(2), kept).await.expect("the process must stop");
            free.add_permits(1);
        };
        let (kept_lock, ()): (Result<(), DbError>, ()) = tokio::join!(keep_lock, renew_and_lose);
        assert!(kept_lock.is_err());
    }
}
