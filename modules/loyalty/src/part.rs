//! Loyalty's part in what happens to a member as a whole.

use async_trait::async_trait;
use huika_core::{Bilingual, MemberId, Problem, Refusal as _};
use huika_db::Tx;
use huika_members::{MemberPart, Merge, MergeEffect, PartError};
use serde_json::{Value, json};

use crate::{Loyalty, LoyaltyError};

impl Loyalty {
    /// Only somebody without an account can be merged into another member: value does not move yet, and nobody's
    /// points are left behind.
    async fn require_no_account(&self, tx: &mut Tx<'_>, merge: &Merge) -> Result<(), LoyaltyError> {
        let now = self.db.clock().now();
        if huika_ledger::balances(tx, &self.ids, merge.loser, now)
            .await?
            .is_empty()
        {
            Ok(())
        } else {
            Err(LoyaltyError::MemberHasAccount)
        }
    }
}

#[async_trait]
impl MemberPart for Loyalty {
    fn name(&self) -> &'static str {
        "loyalty"
    }

    async fn preview_merge(&self, tx: &mut Tx<'_>, merge: &Merge) -> Result<Vec<MergeEffect>, PartError> {
        match self.require_no_account(tx, merge).await {
            Ok(()) => Ok(Vec::new()),
            Err(refused @ LoyaltyError::MemberHasAccount) => {
                let Problem { zh, en, .. } = refused.problem();
                Ok(vec![MergeEffect {
                    part: self.name(),
                    text: Bilingual::new(zh, en),
                    blocks: true,
                }])
            }
            Err(failed) => Err(PartError::new(failed)),
        }
    }

    async fn merge_in_tx(&self, tx: &mut Tx<'_>, merge: &Merge) -> Result<(), PartError> {
        self.require_no_account(tx, merge).await.map_err(PartError::new)
    }

    async fn unmerge_in_tx(&self, _: &mut Tx<'_>, _: &Merge) -> Result<(), PartError> {
        Ok(())
    }

    async fn export(&self, tx: &mut Tx<'_>, member_id: MemberId) -> Result<Value, PartError> {
        let now = self.db.clock().now();
        let balances = huika_ledger::balances(tx, &self.ids, member_id, now)
            .await
            .map_err(|error| PartError::new(LoyaltyError::from(error)))?;
        let accounts = balances.into_iter().map(|(asset, balance)| {
            json!({
                "asset": asset.name(), "available": balance.available, "pending": balance.pending,
                "held": balance.held, "lifetime_in": balance.lifetime_in, "lifetime_out": balance.lifetime_out,
            })
        });
        Ok(json!({ "accounts": accounts.collect::<Vec<_>>() }))
    }

    async fn may_close_in_tx(&self, _: &mut Tx<'_>, _: MemberId) -> Result<(), PartError> {
        Ok(())
    }

    async fn erase_in_tx(&self, _: &mut Tx<'_>, _: MemberId) -> Result<(), PartError> {
        // Entries hold no personal data: reasons were masked when they were written.
        Ok(())
    }
}
