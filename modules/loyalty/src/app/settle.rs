//! Settling purchases and refunds: points, growth and tier in one posting of the caller's transaction.
//!
//! What is decided here is decided by the pure functions of `domain/`; this file loads what they ask for, posts what
//! they answer and keeps it until the caller saves.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use huika_core::{
    BusinessDate, Currency, Id, IdGenerator, IdKind, IdempotencyKey, MemberId, Rate, Rounding, Timestamp,
};
use huika_db::Tx;
use huika_ledger::{
    Asset, Availability, Book, Command, CounterAccount, InputHash, LapsedLots, LedgerError, NegativePolicy,
    Operation, Outcome, PostingId,
};
use huika_members::MemberState;

use super::tally::Tally;
use crate::{
    Activity, Award, DaySums, LineFacts, Loyalty, LoyaltyError, Member, Metrics, Period, ProgramVersion,
    PurchaseFacts, RefundEffect, Rules, Span, TierChanged, TierProgress, TierReason, Trace, advance, award,
    domain::{LiftingOrder, RefundTrace, RefundedLine, UnlinkedRefundTrace, progress, tier_by, version_at},
    lift, lower_by_refund,
    store::{self, Reading},
};

/// The kind of a tier change's id.
#[derive(Debug)]
pub enum TierChangeKind {}
impl IdKind for TierChangeKind {
    const PREFIX: &'static str = "tch";
}

/// Where a member stands among the tiers, as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    pub(crate) span: Span,
    pub(crate) revision: i64,
}

/// One change of tier, or one more span in the same tier.
#[derive(Debug, Clone)]
pub struct TierChange {
    /// Whose.
    pub member_id: MemberId,
    /// Which.
    pub change_id: Id<TierChangeKind>,
    /// The code of the tier before.
    pub from_tier: String,
    /// What began: the tier, from when until when, and why.
    pub span: Span,
    /// What brought it about. Empty for evaluations.
    pub reference: String,
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
    /// What was bought; adds up to what was paid.
    pub lines: Vec<LineFacts>,
    /// Where.
    pub channel: String,
    /// In which store.
    pub store: Option<String>,
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
    /// When it was paid.
    pub purchased_at: Timestamp,
    /// The points that it earned.
    pub earned: i64,
    /// The growth value that it earned.
    pub growth: i64,
    /// Whether it counted for the member at all.
    pub counted: bool,
    /// What was refunded of it before.
    pub before_minor: i64,
    /// The lines that are refunded.
    pub lines: Vec<RefundedLine>,
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
    /// The points of each line of a purchase.
    pub line_points: Vec<i64>,
    /// Growth value earned, or taken back when negative.
    pub growth: i64,
    /// The code of the tier at the time of the order.
    pub tier_before: String,
    /// The code of the tier afterwards.
    pub tier_after: String,
    /// Where the member stands now.
    pub progress: TierProgress,
    /// Why.
    pub trace: Trace,
}

/// Loyalty's part of a caller's transaction: decides beside a [`Book`], writes once at the end.
pub struct Settling {
    ids: IdGenerator,
    now: Timestamp,
    versions: Arc<Vec<ProgramVersion>>,
    members: HashMap<MemberId, Known>,
    changes: Vec<TierChange>,
    days: BTreeMap<(MemberId, BusinessDate), (DaySums, Timestamp)>,
    tally: Tally,
}

/// What is known of a member.
#[derive(Debug, Clone, Default)]
struct Known {
    joined_on: BusinessDate,
    span: Option<Span>,
    /// Of the stored row; `None` while there is none.
    revision: Option<i64>,
    changed: bool,
    /// The tiers before and the moments at which each ended, in order; as far back as somebody asks.
    past: Vec<(Timestamp, String)>,
    activity: Activity,
}

impl Known {
    /// The code of the tier in force at a moment. `None`: the first one.
    fn tier_at(&self, moment: Timestamp) -> Option<&str> {
        let before = self.past.iter().find(|(end, _)| moment < *end);
        before
            .map(|(_, tier)| tier.as_str())
            .or_else(|| self.span.as_ref().map(|span| span.tier.as_str()))
    }

    fn member(&self) -> Member<'_> {
        Member {
            joined_on: self.joined_on,
            activity: &self.activity,
            span: self.span.clone(),
        }
    }
}

impl Loyalty {
    /// Loads what settling needs for these documents: whose they are, and the moments at which they count. Comes
    /// after the accounts were locked, so that it sees what others committed before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settling_in_tx(
        &self,
        tx: &mut Tx<'_>,
        documents: &[(MemberId, Timestamp)],
    ) -> Result<Settling, LoyaltyError> {
        let versions = self.versions_by(tx).await?;
        let ids: BTreeSet<MemberId> = documents.iter().map(|(member_id, _)| *member_id).collect();
        let ids: Vec<MemberId> = ids.into_iter().collect();
        let mut members: HashMap<MemberId, Known> = ids
            .iter()
            .map(|member_id| (*member_id, Known::default()))
            .collect();
        for (member_id, membership) in store::membership_load(tx, &ids, Reading::Current).await? {
            if let Some(known) = members.get_mut(&member_id) {
                known.span = Some(membership.span);
                known.revision = Some(membership.revision);
            }
        }
        // Only a document from before the last change needs to know what was before it.
        let is_late = |(member_id, moment): &&(MemberId, Timestamp)| {
            let span = members.get(member_id).and_then(|known| known.span.as_ref());
            span.is_some_and(|span| *moment < span.from)
        };
        let late: BTreeSet<MemberId> = documents.iter().filter(is_late).map(|(id, _)| *id).collect();
        let late: Vec<MemberId> = late.into_iter().collect();
        for change in store::tier_changes_of(tx, &late).await? {
            if let Some(known) = members.get_mut(&change.member_id) {
                known.past.push((change.span.from, change.from_tier));
            }
        }
        let moving: Vec<MemberId> = ids
            .iter()
            .filter(|member_id| may_move(&versions, &members[member_id]))
            .copied()
            .collect();
        for (member_id, (activity, _)) in store::activity_load(tx, &moving, Reading::Current).await? {
            if let Some(known) = members.get_mut(&member_id) {
                known.activity = activity;
            }
        }
        for (member_id, joined_on) in self.joined_on_in_tx(tx, &ids).await? {
            if let Some(known) = members.get_mut(&member_id) {
                known.joined_on = joined_on;
            }
        }
        let now = self.db.clock().now();
        let earliest = documents.iter().map(|(_, moment)| *moment).min().unwrap_or(now);
        let calendar = version_at(&versions, now)?.rules.calendar();
        let tally = Tally::load_in_tx(tx, &versions, &ids, calendar.date_of(earliest)).await?;
        Ok(Settling {
            ids: self.ids.clone(),
            now,
            versions,
            members,
            changes: Vec::new(),
            days: BTreeMap::new(),
            tally,
        })
    }
}

/// Whether periods depend on the date of registration.
pub(crate) fn by_anniversary(versions: &[ProgramVersion]) -> bool {
    versions
        .iter()
        .any(|version| version.rules.qualification.period == Period::Anniversary)
}

/// Whether what a member did can matter: not for somebody who is at the top for good, under rules that never ask.
fn may_move(versions: &[ProgramVersion], known: &Known) -> bool {
    let Some(span) = &known.span else { return true };
    let asks = versions.iter().any(|version| {
        let rules = &version.rules;
        let at_top = rules.position(&span.tier) == Some(rules.tiers.len() - 1);
        let counts_orders = rules
            .promotions
            .iter()
            .any(|promotion| promotion.when.first_order);
        !at_top || counts_orders || rules.qualification.refunds == RefundEffect::AtOnce
    });
    asks || span.until.is_some()
}

impl Settling {
    fn rules_at(&self, moment: Timestamp) -> Result<&Rules, LoyaltyError> {
        version_at(&self.versions, moment).map(|version| &version.rules)
    }

    fn known(&self, member_id: MemberId) -> &Known {
        // Every member whose document is settled was loaded.
        self.members
            .get(&member_id)
            .unwrap_or_else(|| panic!("{member_id} was not loaded"))
    }

    /// Settles a purchase: points, growth, and the tier at once.
    ///
    /// # Errors
    /// What the ledger refuses.
    pub fn purchase(
        &mut self,
        book: &mut Book,
        purchase: &PurchaseToSettle,
    ) -> Result<Settled, LoyaltyError> {
        let member_id = purchase.member_id;
        let versions = Arc::clone(&self.versions);
        let version = version_at(&versions, purchase.effective_at)?;
        let rules = &version.rules;
        let due = self.due(member_id, purchase.effective_at)?;
        let tier_before = self.tier_code(member_id, purchase.effective_at, &due, rules);
        let mut award = self.award(version, &tier_before, purchase)?;
        let counted = DaySums {
            gained: Metrics {
                spend_minor: purchase.paid_minor,
                orders: i64::from(purchase.paid_minor > 0),
                growth: award.growth,
            },
            refunded: Metrics::default(),
        };
        if rules.lifting_order == LiftingOrder::After && purchase.withheld.is_none() {
            let reached = self.reached_with(member_id, purchase.effective_at, &due, counted)?;
            if let Some(span) = reached {
                award = self.award(version, &span.tier, purchase)?;
            }
        }
        if let Some(state) = purchase.withheld {
            award = award.withheld(state);
        }
        let outcome = book.apply(&Command {
            member_id,
            key: purchase.key.clone(),
            input: purchase.input,
            kind: "purchase",
            reference: purchase.reference.clone(),
            actor: purchase.actor.clone(),
            effective_at: purchase.effective_at,
            trace: Some(encode(&award.trace)),
            operations: earnings(&award, &purchase.reference),
        })?;
        if !outcome.replayed && purchase.withheld.is_none() {
            self.carry_out(member_id, due, "");
            self.count(
                member_id,
                rules,
                purchase.effective_at,
                counted,
                purchase.effective_at,
            );
            let date = rules.calendar().date_of(purchase.effective_at);
            for (code, points) in &award.used {
                self.tally
                    .add(member_id, code, rules.limits_of(code), date, *points);
            }
            self.lift(purchase)?;
        }
        let progress = self.progress(book, member_id)?;
        Ok(Settled {
            outcome,
            points: award.points,
            line_points: award.line_points,
            growth: award.growth,
            tier_before,
            tier_after: progress.tier.code.clone(),
            progress,
            trace: award.trace,
        })
    }

    fn award(
        &self,
        version: &ProgramVersion,
        tier: &str,
        purchase: &PurchaseToSettle,
    ) -> Result<Award, LoyaltyError> {
        let gained = self.known(purchase.member_id).activity.days();
        let facts = PurchaseFacts {
            paid_minor: purchase.paid_minor,
            moment: purchase.effective_at,
            channel: &purchase.channel,
            store: purchase.store.as_deref(),
            lines: &purchase.lines,
            first_order: gained.map(|(_, day)| day.gained.orders).sum::<i64>() == 0,
        };
        let tier = tier_by(&self.versions, &version.rules, tier);
        award(version, tier, &facts, &self.tally.of(purchase.member_id)).map_err(|_| {
            LedgerError::AmountInvalid {
                amount: purchase.paid_minor,
            }
            .into()
        })
    }

    /// Takes back a refund's share of what its purchase earned. What it does to the tier is for the rules to say:
    /// benefits that were used are not clawed back.
    ///
    /// # Errors
    /// What the ledger refuses.
    pub fn refund(&mut self, book: &mut Book, refund: &RefundToSettle) -> Result<Settled, LoyaltyError> {
        let member_id = refund.member_id;
        let versions = Arc::clone(&self.versions);
        let rules = &version_at(&versions, refund.effective_at)?.rules;
        let due = self.due(member_id, refund.effective_at)?;
        let tier_before = self.tier_code(member_id, refund.effective_at, &due, rules);
        let points: i64 = refund.lines.iter().map(RefundedLine::points_back).sum();
        let refunded_minor: i64 = refund.lines.iter().map(|line| line.refunded_minor).sum();
        let growth = growth_back(refund, refunded_minor);
        let mut operations = Vec::with_capacity(2);
        if points > 0 {
            operations.push(Operation::ReverseEarn {
                source: refund.source,
                asset: Asset::Points,
                amount: points,
                policy: rules.claw_back,
            });
        }
        if growth > 0 {
            operations.push(Operation::ReverseEarn {
                source: refund.source,
                asset: Asset::Growth,
                amount: growth,
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
            member_id,
            key: refund.key.clone(),
            input: refund.input,
            kind: "refund",
            reference: refund.reference.clone(),
            actor: refund.actor.clone(),
            effective_at: refund.effective_at,
            trace: Some(encode(&trace)),
            operations,
        })?;
        if !outcome.replayed && refund.counted {
            let whole = refund.before_minor + refunded_minor >= refund.paid_minor;
            let sums = DaySums {
                gained: Metrics::default(),
                refunded: Metrics {
                    spend_minor: refunded_minor,
                    orders: i64::from(whole),
                    growth,
                },
            };
            self.carry_out(member_id, due, "");
            self.count(member_id, rules, refund.purchased_at, sums, Timestamp::MIN);
            self.lower(member_id, refund.effective_at, &refund.reference)?;
        }
        let progress = self.progress(book, member_id)?;
        Ok(Settled {
            outcome,
            points: -points,
            line_points: Vec::new(),
            growth: -growth,
            tier_before,
            tier_after: progress.tier.code.clone(),
            progress,
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
        let member_id = refund.member_id;
        let versions = Arc::clone(&self.versions);
        let version = version_at(&versions, refund.effective_at)?;
        let rules = &version.rules;
        let due = self.due(member_id, refund.effective_at)?;
        let tier_before = self.tier_code(member_id, refund.effective_at, &due, rules);
        let at_rate = |rate: Rate| {
            rate.apply(refund.refunded_minor, Rounding::Floor)
                .map_err(|_| LedgerError::AmountInvalid {
                    amount: refund.refunded_minor,
                })
        };
        let (points, growth) = (at_rate(rules.points_rate)?, at_rate(rules.growth_rate)?);
        // What the refund is about was earned before it, so it expired no later than points of its own day would
        // have: once those are over, nothing is left to take. The history of a shop leaves nobody in debt.
        let (_, expires_at) = rules.dates(refund.effective_at);
        let expired = expires_at.is_some_and(|expires_at| expires_at <= self.now);
        let mut operations = Vec::with_capacity(2);
        if points > 0 && !expired {
            operations.push(Operation::ClawBack {
                asset: Asset::Points,
                amount: points,
                counter_account: CounterAccount::Issuance,
                policy: rules.claw_back,
            });
        }
        if growth > 0 {
            operations.push(Operation::ClawBack {
                asset: Asset::Growth,
                amount: growth,
                counter_account: CounterAccount::Issuance,
                policy: NegativePolicy::GoNegative { limit: i64::MAX },
            });
        }
        let trace = Trace::UnlinkedRefund(UnlinkedRefundTrace {
            version: version.version,
            currency: refund.currency,
            refunded_minor: refund.refunded_minor,
            points_rate: rules.points_rate,
            points,
        });
        let outcome = book.apply(&Command {
            member_id,
            key: refund.key.clone(),
            input: refund.input,
            kind: "refund",
            reference: refund.reference.clone(),
            actor: refund.actor.clone(),
            effective_at: refund.effective_at,
            trace: Some(encode(&trace)),
            operations,
        })?;
        if !outcome.replayed {
            let sums = DaySums {
                gained: Metrics::default(),
                refunded: Metrics {
                    spend_minor: refund.refunded_minor,
                    orders: 0,
                    growth,
                },
            };
            self.carry_out(member_id, due, "");
            // Its purchase has no date that is known: it counts on its own.
            self.count(member_id, rules, refund.effective_at, sums, Timestamp::MIN);
            self.lower(member_id, refund.effective_at, &refund.reference)?;
        }
        let progress = self.progress(book, member_id)?;
        Ok(Settled {
            outcome,
            points: -points,
            line_points: Vec::new(),
            growth: -growth,
            tier_before,
            tier_after: progress.tier.code.clone(),
            progress,
            trace,
        })
    }

    /// Carries out the evaluations of a member's tier that are due.
    pub(crate) fn evaluate(&mut self, member_id: MemberId, now: Timestamp) -> Result<(), LoyaltyError> {
        let due = self.due(member_id, now)?;
        self.carry_out(member_id, due, "");
        Ok(())
    }

    /// Writes what changed. The book is saved by the caller, before or after.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_in_tx(self, tx: &mut Tx<'_>) -> Result<(), LoyaltyError> {
        store::activity_add(tx, &self.days).await?;
        self.tally.save_in_tx(tx).await?;
        if self.changes.is_empty() {
            return Ok(());
        }
        let changed = self.members.iter().filter(|(_, known)| known.changed);
        let memberships =
            changed.filter_map(|(member_id, known)| Some((*member_id, known.span.as_ref()?, known.revision)));
        store::membership_save(tx, memberships).await?;
        store::tier_change_insert(tx, &self.changes).await?;
        // A tier that was kept is nobody's news.
        let events: Vec<TierChanged> = self
            .changes
            .into_iter()
            .filter(|change| change.from_tier != change.span.tier)
            .map(|change| TierChanged {
                member_id: change.member_id,
                from_tier: change.from_tier,
                to_tier: change.span.tier,
                reason: change.span.reason,
                growth: change.span.metrics.growth,
                changed_at: change.changed_at,
            })
            .collect();
        tx.record_events(&self.ids, &events).await?;
        Ok(())
    }

    /// The evaluations that were due before a moment and that nobody has written down yet.
    fn due(&self, member_id: MemberId, moment: Timestamp) -> Result<Vec<Span>, LoyaltyError> {
        advance(&self.versions, &mut self.known(member_id).member(), moment)
    }

    /// The code of the tier at a moment, by some rules, once what is due has been carried out.
    fn tier_code(&self, member_id: MemberId, moment: Timestamp, due: &[Span], rules: &Rules) -> String {
        let stored = self.known(member_id).tier_at(moment);
        let code = due.last().map(|span| span.tier.as_str()).or(stored);
        let tier = code.map_or(&rules.tiers[0], |code| tier_by(&self.versions, rules, code));
        tier.code.clone()
    }

    /// Where a member stands now, once what is due has been carried out.
    fn progress(&self, book: &mut Book, member_id: MemberId) -> Result<TierProgress, LoyaltyError> {
        let mut member = self.known(member_id).member();
        advance(&self.versions, &mut member, self.now)?;
        let growth = book.available(member_id, Asset::Growth);
        Ok(progress(
            &self.versions,
            self.rules_at(self.now)?,
            &member,
            growth,
            self.now,
        ))
    }

    /// The span that a purchase would begin.
    fn reached_with(
        &self,
        member_id: MemberId,
        moment: Timestamp,
        due: &[Span],
        counted: DaySums,
    ) -> Result<Option<Span>, LoyaltyError> {
        let mut known = self.known(member_id).clone();
        known.span = due.last().cloned().or(known.span);
        let date = self.rules_at(moment)?.calendar().date_of(moment);
        known.activity.add(date, counted);
        lift(&self.versions, &known.member(), moment, TierReason::Reached)
    }

    /// Adds to what a member did on the date of a moment.
    fn count(
        &mut self,
        member_id: MemberId,
        rules: &Rules,
        moment: Timestamp,
        sums: DaySums,
        last_at: Timestamp,
    ) {
        let date = rules.calendar().date_of(moment);
        if let Some(known) = self.members.get_mut(&member_id) {
            known.activity.add(date, sums);
        }
        let none = (DaySums::default(), Timestamp::MIN);
        let day = self.days.entry((member_id, date)).or_insert(none);
        *day = (day.0.plus(sums), day.1.max(last_at));
    }

    /// Lifts a member to the tier that a purchase reaches.
    fn lift(&mut self, purchase: &PurchaseToSettle) -> Result<(), LoyaltyError> {
        let known = self.known(purchase.member_id);
        // An order that is recorded late does not reach back behind a change that is known already.
        let since = known.span.as_ref().map_or(Timestamp::MIN, |span| span.from);
        let moment = purchase.effective_at.max(since);
        let reason = if since > purchase.effective_at {
            TierReason::ReachedLate
        } else {
            TierReason::Reached
        };
        let reached = lift(&self.versions, &known.member(), moment, reason)?;
        self.carry_out(purchase.member_id, reached, &purchase.reference);
        Ok(())
    }

    /// Lowers a member at once where the rules let a refund do that.
    fn lower(
        &mut self,
        member_id: MemberId,
        refunded_at: Timestamp,
        reference: &str,
    ) -> Result<(), LoyaltyError> {
        let known = self.known(member_id);
        let since = known.span.as_ref().map_or(Timestamp::MIN, |span| span.from);
        let lowered = lower_by_refund(&self.versions, &known.member(), refunded_at.max(since))?;
        self.carry_out(member_id, lowered, reference);
        Ok(())
    }

    /// Begins spans.
    fn carry_out(&mut self, member_id: MemberId, spans: impl IntoIterator<Item = Span>, reference: &str) {
        let Some(known) = self.members.get_mut(&member_id) else {
            return;
        };
        for span in spans {
            // The change names what is stored, so that each follows from the one before it.
            let from_tier = known.span.as_ref().map_or_else(
                || first_tier(&self.versions, span.from),
                |before| before.tier.clone(),
            );
            known.past.push((span.from, from_tier.clone()));
            known.span = Some(span.clone());
            known.changed = true;
            self.changes.push(TierChange {
                member_id,
                change_id: self.ids.next(),
                from_tier,
                span,
                reference: reference.to_owned(),
                changed_at: self.now,
            });
        }
    }
}

fn first_tier(versions: &[ProgramVersion], moment: Timestamp) -> String {
    version_at(versions, moment).map_or_else(|_| String::new(), |version| version.rules.tiers[0].code.clone())
}

/// The operations of an award.
fn earnings(award: &Award, reference: &str) -> Vec<Operation> {
    let mut operations = Vec::with_capacity(2);
    if award.points > 0 {
        let availability = if award.awaits_confirmation {
            Availability::OnEvent {
                event: reference.to_owned(),
                not_before: award.available_at,
            }
        } else {
            award.available_at.map_or(Availability::Now, Availability::At)
        };
        operations.push(Operation::Earn {
            asset: Asset::Points,
            amount: award.points,
            counter_account: CounterAccount::Issuance,
            availability,
            expires_at: award.expires_at,
        });
    }
    if award.growth > 0 {
        operations.push(Operation::Earn {
            asset: Asset::Growth,
            amount: award.growth,
            counter_account: CounterAccount::Issuance,
            availability: Availability::Now,
            expires_at: None,
        });
    }
    operations
}

/// The growth value that a refund takes back: its share of all that was refunded so far, so that the last refund takes
/// the remainder.
fn growth_back(refund: &RefundToSettle, refunded_minor: i64) -> i64 {
    if refund.paid_minor <= 0 || !refund.counted {
        return 0;
    }
    let until = |refunded: i64| {
        // A share of what was earned cannot leave 64 bits.
        Rate::pro_rata(refund.growth, refunded, refund.paid_minor, Rounding::Floor).unwrap_or(refund.growth)
    };
    until(refund.before_minor + refunded_minor) - until(refund.before_minor)
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
