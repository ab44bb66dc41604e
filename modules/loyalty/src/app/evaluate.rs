//! Writing down the evaluations of tiers that time has made due. What a member reads is right without it: see
//! [`advance`].

use std::collections::HashMap;

use huika_core::{BusinessDate, MemberId, Timestamp};
use huika_db::{Executor, Tx};
use huika_members::MemberAction;

use super::settle::by_anniversary;
use crate::{Loyalty, LoyaltyError, store};

/// Members of one transaction: each writes two rows, or a few more after a long time (ADR 7, rule 11).
const EVALUATED_AT_ONCE: i64 = 200;

impl Loyalty {
    /// Evaluates every tier that is due now, in transactions of some members, each of which stands by itself: a run
    /// that is cut off goes on where it was. Returns how many members were evaluated.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn evaluate_due(&self) -> Result<u64, LoyaltyError> {
        let now = self.db.clock().now();
        let (mut evaluated, mut passed_over) = (0, 0);
        loop {
            let due = store::membership_list_due(&mut &self.db, now, passed_over, EVALUATED_AT_ONCE).await?;
            if due.is_empty() {
                return Ok(evaluated);
            }
            let members = &due;
            let done = self
                .db
                .run_tx("loyalty.evaluate", |tx| {
                    Box::pin(async move { self.evaluate_in_tx(tx, members, now).await })
                })
                .await?;
            evaluated += done;
            // Those whose state forbids it stay due.
            passed_over += due.len() as i64 - done as i64;
        }
    }

    async fn evaluate_in_tx(
        &self,
        tx: &mut Tx<'_>,
        members: &[MemberId],
        now: Timestamp,
    ) -> Result<u64, LoyaltyError> {
        // A purchase that is being settled comes before or after, never in between.
        huika_ledger::lock_accounts_in_tx(tx, members).await?;
        let states = self.members.states_in_tx(tx, members).await?;
        let moments: Vec<(MemberId, Timestamp)> = members
            .iter()
            .filter(|member_id| {
                states
                    .get(member_id)
                    .is_some_and(|state| state.allows(MemberAction::Evaluate))
            })
            .map(|member_id| (*member_id, now))
            .collect();
        let mut settling = self.settling_in_tx(tx, &moments).await?;
        for (member_id, _) in &moments {
            settling.evaluate(*member_id, now)?;
        }
        settling.save_in_tx(tx).await?;
        Ok(moments.len() as u64)
    }

    /// The dates on which members registered, where the rules ask for them.
    pub(crate) async fn joined_on_in_tx(
        &self,
        executor: &mut impl Executor,
        members: &[MemberId],
    ) -> Result<HashMap<MemberId, BusinessDate>, LoyaltyError> {
        let versions = self.versions_by(executor).await?;
        let Some(version) = versions.first().filter(|_| by_anniversary(&versions)) else {
            return Ok(HashMap::new());
        };
        // Every version has the same zone.
        let calendar = version.rules.calendar();
        let registered = self.members.registered_in_tx(executor, members).await?;
        Ok(registered
            .into_iter()
            .map(|(member_id, at)| (member_id, calendar.date_of(at)))
            .collect())
    }
}
