//! Leases of node numbers.

use std::{pin::pin, time::Duration};

use huika_core::Timestamp;
use huika_db::{NodeLease, params};

use crate::support::eventually;

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
        let start = cx.clock.now();
        eventually(async || {
            cx.clock.advance(Duration::from_secs(1));
            let until = cx.count("SELECT leased_until AS n FROM kernel_node").await;
            (Timestamp::from_millis(until) > start.plus_millis(60_000)).then_some(())
        }).await;
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
}
