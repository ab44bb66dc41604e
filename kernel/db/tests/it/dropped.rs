//! Callers that leave: a request whose client has gone is dropped wherever it waits.

use std::{
    future::Future as _,
    task::{Context, Waker},
};

use huika_db::{DbError, params};

huika_testing::db_test! {
    async fn a_caller_that_leaves_while_a_transaction_begins_harms_no_later_one(cx) {
        for round in 0..60_u32 {
            let mut leaving = Box::pin(cx.db.run_tx("test.leaving", |tx| {
                Box::pin(async move {
                    tx.execute("UPDATE kernel_schedule SET next_at = 0 WHERE name = ?", params!["none"]).await?;
                    Ok::<_, DbError>(())
                })
            }));
            let mut context = Context::from_waker(Waker::noop());
            for _ in 0..=(round % 4) {
                if leaving.as_mut().poll(&mut context).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(leaving);
            let after = cx.db.run_tx("test.after", |tx| {
                Box::pin(async move {
                    tx.execute("UPDATE kernel_schedule SET next_at = 0 WHERE name = ?", params!["none"]).await
                })
            });
            assert!(after.await.is_ok(), "round {round}");
        }
    }
}
