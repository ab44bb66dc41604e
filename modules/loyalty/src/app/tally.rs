//! What was used of caps and budgets: read after the accounts are locked, written with them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use huika_core::{BusinessDate, MemberId};
use huika_db::Tx;

use crate::{
    CapPeriod, Limits, LoyaltyError, ProgramVersion, Rules,
    store::{self, CounterKey},
};

/// Counters of the members of a transaction, and the budgets.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    used: HashMap<CounterKey, i64>,
    budgets: HashMap<String, i64>,
    added: BTreeMap<CounterKey, i64>,
    spent: BTreeMap<String, i64>,
}

impl Tally {
    /// Loads what the rules limit. Where they limit nothing, that is nothing.
    pub(crate) async fn load_in_tx(
        tx: &mut Tx<'_>,
        versions: &[ProgramVersion],
        members: &[MemberId],
        earliest: BusinessDate,
    ) -> Result<Self, LoyaltyError> {
        let mut tally = Self::default();
        if versions.iter().any(|version| has_caps(&version.rules)) {
            let since = CapPeriod::Month
                .begins_on(earliest)
                .min(CapPeriod::Week.begins_on(earliest));
            tally.used = store::counter_load(tx, members, since).await?;
        }
        let limited: BTreeSet<String> = versions
            .iter()
            .flat_map(|version| budgeted(&version.rules))
            .collect();
        tally.budgets = store::budget_lock(tx, limited).await?;
        Ok(tally)
    }

    /// The limits as one member meets them.
    pub(crate) fn of(&self, member_id: MemberId) -> impl Limits + '_ {
        OfMember {
            tally: self,
            member_id,
        }
    }

    /// Notes that points were granted under limits.
    pub(crate) fn add(
        &mut self,
        member_id: MemberId,
        code: &str,
        limits: impl Iterator<Item = (CapPeriod, i64)>,
        date: BusinessDate,
        points: i64,
    ) {
        for (cap, _) in limits {
            if cap == CapPeriod::Budget {
                *self.budgets.entry(code.to_owned()).or_default() += points;
                *self.spent.entry(code.to_owned()).or_default() += points;
                continue;
            }
            let key = CounterKey {
                member_id,
                code: code.to_owned(),
                cap,
                period: cap.begins_on(date),
            };
            *self.used.entry(key.clone()).or_default() += points;
            *self.added.entry(key).or_default() += points;
        }
    }

    /// Writes what was granted.
    ///
    /// # Errors
    /// [`huika_db::DbError::Stale`] when somebody else spent from a budget meanwhile: the transaction runs again.
    pub(crate) async fn save_in_tx(self, tx: &mut Tx<'_>) -> Result<(), LoyaltyError> {
        store::counter_add(tx, &self.added).await?;
        for (code, spent) in &self.spent {
            let read = self.budgets.get(code).copied().unwrap_or(0) - spent;
            store::budget_spend(tx, code, read, *spent).await?;
        }
        Ok(())
    }
}

fn has_caps(rules: &Rules) -> bool {
    rules.caps.set().next().is_some()
        || rules
            .promotions
            .iter()
            .any(|promotion| promotion.caps.set().next().is_some())
        || rules
            .activities
            .iter()
            .any(|activity| activity.caps.set().next().is_some())
}

fn budgeted(rules: &Rules) -> impl Iterator<Item = String> + '_ {
    let promotions = rules.promotions.iter().map(|one| (&one.code, one.budget));
    let activities = rules.activities.iter().map(|one| (&one.code, one.budget));
    promotions
        .chain(activities)
        .filter(|(_, budget)| budget.is_some())
        .map(|(code, _)| code.clone())
}

struct OfMember<'a> {
    tally: &'a Tally,
    member_id: MemberId,
}

impl Limits for OfMember<'_> {
    fn used(&self, code: &str, cap: CapPeriod, date: BusinessDate) -> i64 {
        if cap == CapPeriod::Budget {
            return self.tally.budgets.get(code).copied().unwrap_or(0);
        }
        let key = CounterKey {
            member_id: self.member_id,
            code: code.to_owned(),
            cap,
            period: cap.begins_on(date),
        };
        self.tally.used.get(&key).copied().unwrap_or(0)
    }
}
