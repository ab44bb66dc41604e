//! Settling purchases and refunds: points, growth and tier in one posting of the caller's transaction.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use huika_core::{Currency, Id, IdGenerator, IdKind, IdempotencyKey, MemberId, Rounding, Timestamp};
use huika_db::Tx;
use huika_ledger::{
    Asset, Availability, Book, Command, CounterAccount, InputHash, LapsedLots, NegativePolicy, Operation,
    Outcome, PostingId,
};
use huika_members::MemberState;

use super::{
    ProgramVersion,
    program::{tier_by, version_at},
};
use crate::{
    Loyalty, LoyaltyError, Rules, TierChanged, Trace, award,
    domain::{RefundTrace, RefundedLine, UnlinkedRefundTrace},
    store, tier_for,
};

/// The kind of a tier change's id.
#[derive(Debug)]
pub enum TierChangeKind {}
impl IdKind for TierChangeKind {
    const PREFIX: &'static str = "tch";
}

/// Where a member stands among the tiers.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    pub(crate) tier: String,
    pub(crate) tier_since: Timestamp,
    /// Of the stored row; `None` while there is none.
    pub(crate) revision: Option<i64>,
    pub(crate) changed: bool,
    /// The tiers before and the moments at which each ended, in order; as far back as somebody asks.
    pub(crate) past: Vec<(Timestamp, String)>,
}

impl Membership {
    /// The tier in force at a moment.
    fn tier_at(&self, moment: Timestamp) -> &str {
        self.past
            .iter()
            .find(|(end, _)| moment < *end)
            .map_or(&self.tier, |(_, tier)| tier)
    }
}

/// One change of tier.
#[derive(Debug, Clone)]
pub struct TierChange {
    /// Whose.
    pub member_id: MemberId,
    /// Which.
    pub change_id: Id<TierChangeKind>,
    /// The code of the tier before.
    pub from_tier: String,
    /// The code of the tier after.
    pub to_tier: String,
    /// The growth value that decided.
    pub growth: i64,
    /// What brought it about.
    pub reference: String,
    /// The moment of the order that brought it about, from which on orders count in the tier after.
    pub effective_at: Timestamp,
    /// When it was recorded.
    pub changed_at: Timestamp,
}

/// A purchase as loyalty needs it.
#[derive(Debug, Clone)]
pub struct PurchaseToSettle {
    /// Whose.
    pub member_id: MemberId,
    /// The caller's key.
    pub key: IdempotencyKey,
    /// The caller's input.
    pub input: InputHash,
    /// The purchase: an id with its prefix.
    pub reference: String,
    /// Who recorded it.
    pub actor: String,
    /// What the member paid, discounts and points deducted.
    pub paid_minor: i64,
    /// When it was paid.
    pub effective_at: Timestamp,
    /// The state of the member that forbids earning; the purchase is then settled into nothing.
    pub withheld: Option<MemberState>,
}

/// A refund of a known purchase.
#[derive(Debug, Clone)]
pub struct RefundToSettle {
    /// Whose.
    pub member_id: MemberId,
    /// The caller's key.
    pub key: IdempotencyKey,
    /// The caller's input.
    pub input: InputHash,
    /// The refund: an id with its prefix.
    pub reference: String,
    /// Who recorded it.
    pub actor: String,
    /// The posting that settled the purchase.
    pub source: PostingId,
    /// What the purchase cost.
    pub paid_minor: i64,
    /// What it earned.
    pub earned: i64,
    /// The lines that are refunded.
    pub lines: Vec<RefundedLine>,
    /// The growth to take back: what is refunded of a purchase that counted.
    pub growth_minor: i64,
    /// In which currency.
    pub currency: Currency,
    /// When it was refunded.
    pub effective_at: Timestamp,
}

/// A refund whose purchase is not known.
#[derive(Debug, Clone)]
pub struct UnlinkedRefundToSettle {
    /// Whose.
    pub member_id: MemberId,
    /// The caller's key.
    pub key: IdempotencyKey,
    /// The caller's input.
    pub input: InputHash,
    /// The refund: an id with its prefix.
    pub reference: String,
    /// Who recorded it.
    pub actor: String,
    /// What was returned.
    pub refunded_minor: i64,
    /// In which currency.
    pub currency: Currency,
    /// When.
    pub effective_at: Timestamp,
}

/// What a settlement brought.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The posting and its entries.
    pub outcome: Outcome,
    /// Points earned, or to be taken back when negative.
    pub points: i64,
    /// The code of the tier at the time of the order.
    pub tier_before: String,
    /// The code of the tier afterwards.
    pub tier_after: String,
    /// Why.
    pub trace: Trace,
}

/// Loyalty's part of a caller's transaction: decides beside a [`Book`], writes once at the end.
pub struct Settling {
    ids: IdGenerator,
    now: Timestamp,
    versions: Arc<Vec<ProgramVersion>>,
    memberships: HashMap<MemberId, Membership>,
    changes: Vec<TierChange>,
}

impl Loyalty {
    /// Loads what settling needs for these documents: whose they are, and the moments at which they count.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settling_in_tx(
        &self,
        tx: &mut Tx<'_>,
        documents: &[(MemberId, Timestamp)],
    ) -> Result<Settling, LoyaltyError> {
        let members: Vec<MemberId> = documents.iter().map(|(member_id, _)| *member_id).collect();
        let mut memberships = store::membership_load(tx, &members).await?;
        // Only a document from before the last change needs to know what was before it.
        let late: BTreeSet<MemberId> = documents
            .iter()
            .filter(|(member_id, moment)| {
                memberships
                    .get(member_id)
                    .is_some_and(|membership| *moment < membership.tier_since)
            })
            .map(|(member_id, _)| *member_id)
            .collect();
        let late: Vec<MemberId> = late.into_iter().collect();
        for change in store::tier_changes_of(tx, &late).await? {
            if let Some(membership) = memberships.get_mut(&change.member_id) {
                membership.past.push((change.effective_at, change.from_tier));
            }
        }
        Ok(Settling {
            ids: self.ids.clone(),
            now: self.db.clock().now(),
            versions: self.versions_by(tx).await?,
            memberships,
            changes: Vec::new(),
        })
    }
}

impl Settling {
    fn rules_at(&self, moment: Timestamp) -> Result<&Rules, LoyaltyError> {
        version_at(&self.versions, moment).map(|version| &version.rules)
    }

    /// Settles a purchase: points for what was paid, growth by the same amount, and the tier at once.
    ///
    /// # Errors
    /// What the ledger refuses.
    pub fn purchase(
        &mut self,
        book: &mut Book,
        purchase: &PurchaseToSettle,
    ) -> Result<Settled, LoyaltyError> {
        let version = version_at(&self.versions, purchase.effective_at)?;
        let tier = match self.memberships.get(&purchase.member_id) {
            Some(membership) => {
                let code = membership.tier_at(purchase.effective_at);
                tier_by(&self.versions, &version.rules, code)
            }
            None => &version.rules.tiers[0],
        };
        let tier_before = tier.code.clone();
        let mut award = award(
            &version.rules,
            version.version,
            tier,
            purchase.paid_minor,
            purchase.effective_at,
        )
        .map_err(|_| huika_ledger::LedgerError::AmountInvalid {
            amount: purchase.paid_minor,
        })?;
        let mut growth = purchase.paid_minor;
        if let Some(state) = purchase.withheld {
            (award, growth) = (award.withheld(state), 0);
        }
        let mut operations = Vec::with_capacity(2);
        if award.points > 0 {
            operations.push(Operation::Earn {
                asset: Asset::Points,
                amount: award.points,
                counter_account: CounterAccount::Issuance,
                availability: award.available_at.map_or(Availability::Now, Availability::At),
                expires_at: award.expires_at,
            });
        }
        if growth > 0 {
            operations.push(Operation::Earn {
                asset: Asset::Growth,
                amount: growth,
                counter_account: CounterAccount::Issuance,
                availability: Availability::Now,
                expires_at: None,
            });
        }
        let outcome = book.apply(&Command {
            member_id: purchase.member_id,
            key: purchase.key.clone(),
            input: purchase.input,
            kind: "purchase",
            reference: purchase.reference.clone(),
            actor: purchase.actor.clone(),
            effective_at: purchase.effective_at,
            trace: Some(encode(&award.trace)),
            operations,
        })?;
        let tier_after = self.lift(purchase, &outcome)?;
        Ok(Settled {
            outcome,
            points: award.points,
            tier_before,
            tier_after,
            trace: award.trace,
        })
    }

    /// Takes back a refund's share of what its purchase earned. The tier stays until its next evaluation:
    /// benefits that were used are not clawed back.
    ///
    /// # Errors
    /// What the ledger refuses.
    pub fn refund(&mut self, book: &mut Book, refund: &RefundToSettle) -> Result<Settled, LoyaltyError> {
        let rules = self.rules_at(refund.effective_at)?;
        let tier = self.tier_of(refund.member_id, rules);
        let points: i64 = refund.lines.iter().map(RefundedLine::points_back).sum();
        let refunded_minor: i64 = refund.lines.iter().map(|line| line.refunded_minor).sum();
        let mut operations = Vec::with_capacity(2);
        if points > 0 {
            operations.push(Operation::ReverseEarn {
                source: refund.source,
                asset: Asset::Points,
                amount: points,
                policy: rules.claw_back,
            });
        }
        if refund.growth_minor > 0 {
            operations.push(Operation::ReverseEarn {
                source: refund.source,
                asset: Asset::Growth,
                amount: refund.growth_minor,
                policy: NegativePolicy::GoNegative { limit: i64::MAX },
            });
        }
        let trace = Trace::Refund(RefundTrace {
            currency: refund.currency,
            refunded_minor,
            paid_minor: refund.paid_minor,
            earned: refund.earned,
            lines: refund.lines.clone(),
            points,
        });
        let outcome = book.apply(&Command {
            member_id: refund.member_id,
            key: refund.key.clone(),
            input: refund.input,
            kind: "refund",
            reference: refund.reference.clone(),
            actor: refund.actor.clone(),
            effective_at: refund.effective_at,
            trace: Some(encode(&trace)),
            operations,
        })?;
        Ok(Settled {
            outcome,
            points: -points,
            tier_before: tier.clone(),
            tier_after: tier,
            trace,
        })
    }

    /// Takes back what an amount earns at the base rate, for a refund whose purchase is unknown.
    ///
    /// # Errors
    /// What the ledger refuses.
    pub fn unlinked_refund(
        &mut self,
        book: &mut Book,
        refund: &UnlinkedRefundToSettle,
    ) -> Result<Settled, LoyaltyError> {
        let version = version_at(&self.versions, refund.effective_at)?;
        let tier = self.tier_of(refund.member_id, &version.rules);
        let points = version
            .rules
            .points_rate
            .apply(refund.refunded_minor, Rounding::Floor)
            .map_err(|_| huika_ledger::LedgerError::AmountInvalid {
                amount: refund.refunded_minor,
            })?;
        // What the refund is about was earned before it, so it expired no later than points of its own day would
        // have: once those are over, nothing is left to take. The history of a shop leaves nobody in debt.
        let (_, expires_at) = version.rules.dates(refund.effective_at);
        let expired = expires_at.is_some_and(|expires_at| expires_at <= self.now);
        let mut operations = Vec::with_capacity(2);
        if points > 0 && !expired {
            operations.push(Operation::ClawBack {
                asset: Asset::Points,
                amount: points,
                counter_account: CounterAccount::Issuance,
                policy: version.rules.claw_back,
            });
        }
        if refund.refunded_minor > 0 {
            operations.push(Operation::ClawBack {
                asset: Asset::Growth,
                amount: refund.refunded_minor,
                counter_account: CounterAccount::Issuance,
                policy: NegativePolicy::GoNegative { limit: i64::MAX },
            });
        }
        let trace = Trace::UnlinkedRefund(UnlinkedRefundTrace {
            version: version.version,
            currency: refund.currency,
            refunded_minor: refund.refunded_minor,
            points_rate: version.rules.points_rate,
            points,
        });
        let outcome = book.apply(&Command {
            member_id: refund.member_id,
            key: refund.key.clone(),
            input: refund.input,
            kind: "refund",
            reference: refund.reference.clone(),
            actor: refund.actor.clone(),
            effective_at: refund.effective_at,
            trace: Some(encode(&trace)),
            operations,
        })?;
        Ok(Settled {
            outcome,
            points: -points,
            tier_before: tier.clone(),
            tier_after: tier,
            trace,
        })
    }

    /// Writes the tiers that changed. The book is saved by the caller, before or after.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_in_tx(self, tx: &mut Tx<'_>) -> Result<(), LoyaltyError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        store::membership_save(
            tx,
            self.memberships
                .iter()
                .map(|(member_id, known)| (*member_id, known)),
        )
        .await?;
        store::tier_change_insert(tx, &self.changes).await?;
        let events: Vec<TierChanged> = self
            .changes
            .into_iter()
            .map(|change| TierChanged {
                member_id: change.member_id,
                from_tier: change.from_tier,
                to_tier: change.to_tier,
                growth: change.growth,
                changed_at: change.changed_at,
            })
            .collect();
        tx.record_events(&self.ids, &events).await?;
        Ok(())
    }

    /// The code of a member's present tier, by these rules.
    fn tier_of(&self, member_id: MemberId, rules: &Rules) -> String {
        let stored = self.memberships.get(&member_id);
        let tier = stored.map_or(&rules.tiers[0], |membership| {
            tier_by(&self.versions, rules, &membership.tier)
        });
        tier.code.clone()
    }

    /// Lifts a member to the tier that the growth value reaches by the rules in force now. Never lowers:
    /// that is for the end of a qualification period.
    fn lift(&mut self, purchase: &PurchaseToSettle, outcome: &Outcome) -> Result<String, LoyaltyError> {
        let member_id = purchase.member_id;
        let rules = &version_at(&self.versions, self.now)?.rules;
        let before = self.tier_of(member_id, rules);
        let Some(growth) = outcome.last_of(Asset::Growth).map(|entry| entry.available) else {
            return Ok(before);
        };
        let position = |code: &str| rules.tiers.iter().position(|tier| tier.code == code).unwrap_or(0);
        let reached = tier_for(rules, growth);
        if position(&reached.code) <= position(&before) {
            return Ok(before);
        }
        let after = reached.code.clone();
        let known = self.memberships.remove(&member_id);
        // An order that is recorded late does not reach back behind a change that is known already.
        let since = known.as_ref().map(|known| known.tier_since);
        let effective_at = since.map_or(purchase.effective_at, |since| since.max(purchase.effective_at));
        // The change names what is stored, so that each follows from the one before it.
        let from_tier = known.as_ref().map_or(before, |known| known.tier.clone());
        let (revision, mut past) = known.map_or((None, Vec::new()), |known| (known.revision, known.past));
        past.push((effective_at, from_tier.clone()));
        self.memberships.insert(
            member_id,
            Membership {
                tier: after.clone(),
                tier_since: effective_at,
                revision,
                changed: true,
                past,
            },
        );
        self.changes.push(TierChange {
            member_id,
            change_id: self.ids.next(),
            from_tier,
            to_tier: after.clone(),
            growth,
            reference: purchase.reference.clone(),
            effective_at,
            changed_at: self.now,
        });
        Ok(after)
    }
}

/// What happens to points that return from a refund to a lot that has expired.
pub(crate) fn lapsed_lots(rules: &Rules, now: Timestamp) -> LapsedLots {
    if rules.grace_days == 0 {
        return LapsedLots::Lapse;
    }
    let calendar = rules.calendar();
    LapsedLots::ExtendTo(calendar.end_of(calendar.date_of(now).plus_days(rules.grace_days.into())))
}

pub(crate) fn encode(trace: &Trace) -> String {
    // Traces are plain structs with text keys.
    serde_json::to_string(trace).unwrap_or_else(|error| unreachable!("{error}"))
}
