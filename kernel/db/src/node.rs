//! Leases of node numbers: two running processes never make ids with the same number.

use std::time::Duration;

use huika_core::Timestamp;

use crate::{Db, DbError, Executor, lease, params};

/// How long a lease lasts without renewal. A process that was killed gives its number back after this.
const LEASE_MS: i64 = 60_000;
const RENEW_EVERY: Duration = Duration::from_secs(15);

/// A leased node number. Released when the process stops in good order, otherwise it lapses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeLease {
    node: u16,
    fence: i64,
    /// By this process's clock. Renewals move the row, not this.
    leased_until: Timestamp,
}

impl NodeLease {
    /// Takes the lowest free number: 0 for a process alone on its database.
    ///
    /// # Errors
    /// [`DbError::Setup`] when all 1,024 numbers are taken.
    pub async fn acquire(db: &Db) -> Result<Self, DbError> {
        db.run_tx("db.node.acquire", |tx| {
            Box::pin(async move {
                let now = db.clock().now();
                let rows = tx.fetch_all("SELECT node, fence, leased_until FROM kernel_node ORDER BY node", params![]).await?;
                let mut next = 0;
                for row in rows {
                    let (node, fence, until): (i64, i64, i64) =
                        (row.get("node")?, row.get("fence")?, row.get("leased_until")?);
                    if until <= now.as_millis() {
                        let taken = tx
                            .execute(
                                "UPDATE kernel_node SET fence = fence + 1, leased_until = ? WHERE node = ? AND fence = ?",
                                params![now.plus_millis(LEASE_MS), node, fence],
                            )
                            .await?;
                        return if taken == 1 { Self::new(node, fence + 1, now.plus_millis(LEASE_MS)) } else { Err(DbError::Stale("kernel_node")) };
                    }
                    next = node + 1;
                }
                let lease = Self::new(next, 1, now.plus_millis(LEASE_MS))?;
                let row = params![next, 1_i64, now.plus_millis(LEASE_MS)];
                match tx.execute("INSERT INTO kernel_node (node, fence, leased_until) VALUES (?, ?, ?)", row).await {
                    Err(DbError::Duplicate(_)) => Err(DbError::Stale("kernel_node")),
                    other => other.map(|_| lease),
                }
            })
        })
        .await
    }

    fn new(node: i64, fence: i64, leased_until: Timestamp) -> Result<Self, DbError> {
        match u16::try_from(node) {
            Ok(node) if node <= huika_core::MAX_NODE => Ok(Self {
                node,
                fence,
                leased_until,
            }),
            _ => Err(DbError::Setup(
                "all node numbers are leased: stop some of the processes on this database".into(),
            )),
        }
    }

    /// The number.
    pub fn node(&self) -> u16 {
        self.node
    }

    /// Renews until the lease is lost, then returns: the process must stop at once.
    pub async fn keep(self, db: Db) {
        let renew = || self.set_until(&db, LEASE_MS);
        lease::keep(db.clock(), LEASE_MS, RENEW_EVERY, self.leased_until, renew).await;
    }

    /// Gives the number back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release(self, db: &Db) -> Result<(), DbError> {
        self.set_until(db, 0).await.map(drop)
    }

    async fn set_until(&self, db: &Db, millis: i64) -> Result<bool, DbError> {
        db.run_tx("db.node.renew", |tx| {
            Box::pin(async move {
                let until = db.clock().now().plus_millis(millis);
                let met = tx
                    .execute(
                        "UPDATE kernel_node SET leased_until = ? WHERE node = ? AND fence = ?",
                        params![until, i64::from(self.node), self.fence],
                    )
                    .await?;
                Ok(met == 1)
            })
        })
        .await
    }
}
