//! What members and operators see: balances, tier progress, statements with their why.

use std::collections::BTreeMap;

use huika_core::{Actor, Bilingual, MemberId, Timestamp};
use huika_ledger::{Asset, Balance, LotPlace, LotView, StatementLine};

use super::settle::TierChange;
use crate::{
    Loyalty, LoyaltyError, Member, READ, TierProgress, Trace, advance,
    domain::{TakenBack, progress, tier_by, version_at},
    store::{self, Reading},
};

/// Most tier changes that are shown of one member.
const MAX_TIER_CHANGES: i64 = 200;

/// Where a member stands.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The points account.
    pub points: Balance,
    /// The tier and the way to the next.
    pub tier: TierProgress,
    /// The points that expire first, with their date.
    pub expiring_next: Option<(i64, Timestamp)>,
}

/// One line of a statement with its why.
#[derive(Debug, Clone)]
pub struct StatementView {
    /// The entry and its posting.
    pub line: StatementLine,
    /// Why, in both languages. `None` where the kind says it all.
    pub why: Option<Bilingual>,
}

impl Loyalty {
    /// A member's balances and tier now.
    ///
    /// # Errors
    /// When the actor may not, there is no such member, or the database fails.
    pub async fn standing(&self, actor: &Actor, member_id: MemberId) -> Result<Standing, LoyaltyError> {
        actor.authorize(&READ)?;
        self.require_member(member_id).await?;
        let now = self.db.clock().now();
        let balances = huika_ledger::balances(&mut &self.db, &self.ids, member_id, now).await?;
        let expiring_next =
            huika_ledger::first_expiring(&mut &self.db, &self.ids, member_id, Asset::Points, now).await?;
        Ok(Standing {
            points: balances.get(&Asset::Points).copied().unwrap_or_default(),
            tier: self.progress(member_id, &balances, now).await?,
            expiring_next,
        })
    }

    /// The points balance alone: the cheapest read.
    ///
    /// # Errors
    /// When the actor may not, there is no such member, or the database fails.
    pub async fn points_balance(&self, actor: &Actor, member_id: MemberId) -> Result<Balance, LoyaltyError> {
        actor.authorize(&READ)?;
        let now = self.db.clock().now();
        let balances = huika_ledger::balances(&mut &self.db, &self.ids, member_id, now).await?;
        // Whoever has an account is a member: only the first read of a new one asks.
        if balances.is_empty() {
            self.require_member(member_id).await?;
        }
        Ok(balances.get(&Asset::Points).copied().unwrap_or_default())
    }

    async fn progress(
        &self,
        member_id: MemberId,
        balances: &BTreeMap<Asset, Balance>,
        now: Timestamp,
    ) -> Result<TierProgress, LoyaltyError> {
        let versions = self.versions().await?;
        let (db, ids) = (&mut &self.db, [member_id]);
        let membership = store::membership_load(db, &ids, Reading::Seen)
            .await?
            .remove(&member_id);
        let activity = store::activity_load(db, &ids, Reading::Seen)
            .await?
            .remove(&member_id);
        let rules = &version_at(&versions, now)?.rules;
        let joined_on = self.joined_on_in_tx(db, &ids).await?.remove(&member_id);
        let activity = activity.map(|(activity, _)| activity).unwrap_or_default();
        let mut member = Member {
            joined_on: joined_on.unwrap_or_default(),
            activity: &activity,
            span: membership.map(|membership| membership.span),
        };
        // What is due is true before the job writes it down.
        advance(&versions, &mut member, now)?;
        let growth = balances
            .get(&Asset::Growth)
            .map_or(0, |balance| balance.available);
        Ok(progress(&versions, rules, &member, growth, now))
    }

    /// A member's progress as it is now, for callers that have authorized their actor.
    ///
    /// # Errors
    /// [`LoyaltyError::NoProgram`], or when the database fails.
    pub async fn progress_now(&self, member_id: MemberId) -> Result<TierProgress, LoyaltyError> {
        let now = self.db.clock().now();
        let balances = huika_ledger::balances(&mut &self.db, &self.ids, member_id, now).await?;
        self.progress(member_id, &balances, now).await
    }

    /// The lots of a member's points, earliest expiry first: at most `limit` of those after `after`.
    ///
    /// # Errors
    /// When the actor may not or the database fails.
    pub async fn points_lots(
        &self,
        actor: &Actor,
        member_id: MemberId,
        after: Option<LotPlace>,
        limit: usize,
    ) -> Result<Vec<LotView>, LoyaltyError> {
        actor.authorize(&READ)?;
        self.require_member(member_id).await?;
        let now = self.db.clock().now();
        let (db, ids) = (&mut &self.db, &self.ids);
        Ok(huika_ledger::lots(db, ids, member_id, Asset::Points, now, after, limit).await?)
    }

    /// The entries of a member's points below the sequence `before`, newest first, each with its why.
    ///
    /// # Errors
    /// When the actor may not or the database fails.
    pub async fn points_statement(
        &self,
        actor: &Actor,
        member_id: MemberId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<StatementView>, LoyaltyError> {
        actor.authorize(&READ)?;
        self.require_member(member_id).await?;
        let lines = huika_ledger::statement(&mut &self.db, member_id, Asset::Points, before, limit).await?;
        Ok(lines
            .into_iter()
            .map(|line| {
                let trace = line
                    .trace
                    .as_deref()
                    .and_then(|json| serde_json::from_str::<Trace>(json).ok());
                let taken = TakenBack {
                    taken: -(line.available_change + line.pending_change + line.held_change),
                    shortfall: line.shortfall,
                };
                // A hold's rest that returns shares the posting of the spending, whose why is not its own.
                let main = !matches!(
                    line.entry_kind.as_str(),
                    "void_hold" | "expire" | "release" | "lapse"
                );
                let why = trace.filter(|_| main).map(|trace| trace.explain(Some(taken)));
                StatementView { line, why }
            })
            .collect())
    }

    /// The latest changes of a member's tier, newest first.
    ///
    /// # Errors
    /// When the actor may not, there is no such member, or the database fails.
    pub async fn tier_changes(
        &self,
        actor: &Actor,
        member_id: MemberId,
    ) -> Result<Vec<TierChange>, LoyaltyError> {
        actor.authorize(&READ)?;
        self.require_member(member_id).await?;
        Ok(store::tier_change_list(&mut &self.db, member_id, MAX_TIER_CHANGES).await?)
    }

    /// How many members each tier has, given the number of all members.
    ///
    /// # Errors
    /// [`LoyaltyError::NoProgram`], or when the database fails.
    pub async fn tier_distribution(&self, members: i64) -> Result<Vec<(String, i64)>, LoyaltyError> {
        let versions = self.versions().await?;
        let rules = &version_at(&versions, self.db.clock().now())?.rules;
        let mut counted: Vec<(String, i64)> = rules.tiers.iter().map(|tier| (tier.code.clone(), 0)).collect();
        let mut without_row = members;
        for (code, stored) in store::membership_count(&mut &self.db).await? {
            without_row -= stored;
            let tier = tier_by(&versions, rules, &code);
            if let Some((_, count)) = counted.iter_mut().find(|(code, _)| *code == tier.code) {
                *count += stored;
            }
        }
        counted[0].1 += without_row;
        Ok(counted)
    }
}

impl Loyalty {
    async fn require_member(&self, member_id: MemberId) -> Result<(), LoyaltyError> {
        let states = self.members.states_in_tx(&mut &self.db, &[member_id]).await?;
        if states.is_empty() {
            Err(huika_members::MembersError::NotFound.into())
        } else {
            Ok(())
        }
    }
}
