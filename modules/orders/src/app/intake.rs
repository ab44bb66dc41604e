//! Taking in purchases, and refunds without a purchase: many callers share a transaction.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher as _},
};

use async_trait::async_trait;
use huika_core::{
    Actor, Bilingual, Denied, Id, IdGenerator, IdKind, IdempotencyKey, MemberId, MemberKind, Permission,
    Timestamp,
};
use huika_db::{
    DbError, RunBatch, Tx,
    audit::{AuditEntry, record_audit_in_tx},
};
use huika_ledger::{Asset, Balance, EntryOutcome, InputHash, LedgerError, Need, Outcome, PostingId};
use huika_loyalty::{
    LineFacts, Loyalty, LoyaltyError, PurchaseToSettle, Settled, TakenBack, TierProgress, Trace,
    UnlinkedRefundToSettle,
};
use huika_members::{Identity, MemberAction, MemberState, Members, MembersError};

use crate::{
    ClaimCode, Document, LineDocument, Orders, OrdersError, PurchaseDocument, PurchaseKind, RECORD, REFUND,
    domain::CLOCK_SKEW_MS,
    store::{self, ExternalRef, LineRow, PurchaseRow, RefundLineRow, RefundRow},
};

/// Most purchases of one bulk request.
const BULK_LIMIT: usize = 500;

/// The kind of a purchase's id.
#[derive(Debug)]
pub enum PurchaseIdKind {}
impl IdKind for PurchaseIdKind {
    const PREFIX: &'static str = "pur";
}
/// A purchase.
pub type PurchaseId = Id<PurchaseIdKind>;

/// The kind of a refund's id.
#[derive(Debug)]
pub enum RefundIdKind {}
impl IdKind for RefundIdKind {
    const PREFIX: &'static str = "ref";
}
/// A refund.
pub type RefundId = Id<RefundIdKind>;

/// Whose document it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberRef {
    /// A member by id.
    Id(MemberId),
    /// A member by card, phone or number in another system.
    Named(Identity),
    /// Nobody is known.
    Anonymous,
}

/// A document on its way in.
#[derive(Debug, Clone)]
pub struct Intake {
    /// What came in.
    pub document: Document,
    /// Whose it is.
    pub member: MemberRef,
    /// The caller's key. `None`: the order number alone is the key, as in files.
    pub key: Option<IdempotencyKey>,
    /// The hash of what the caller sent, without the member: names of persons are compared by the member they
    /// lead to, since a hash of a phone gives the phone away.
    pub input: InputHash,
    /// Who sent it.
    pub actor: Actor,
}

/// What became of a document.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The purchase or refund: an id with its prefix.
    pub document_id: String,
    /// Whose. `None` for an anonymous one.
    pub member_id: Option<MemberId>,
    /// Whether it was known before, and this is the first answer again.
    pub replayed: bool,
    /// Points earned; negative when to be taken back.
    pub points: i64,
    /// The code of the tier at the time of the order.
    pub tier_before: Option<String>,
    /// The code of the tier afterwards.
    pub tier_after: Option<String>,
    /// Where the member stands after it. `None` for refunds, anonymous purchases and repeated answers.
    pub progress: Option<TierProgress>,
    /// What the ledger answered.
    pub outcome: Option<Outcome>,
    /// Why.
    pub why: Option<Bilingual>,
    /// By which a member can claim an anonymous purchase. `None` for all others, and when the purchase was known
    /// before: the code is shown once.
    pub claim_code: Option<ClaimCode>,
}

impl Receipt {
    /// The growth value after the settlement. `None` where it did not change.
    pub fn growth(&self) -> Option<i64> {
        Some(self.last_of(Asset::Growth)?.available)
    }

    fn last_of(&self, asset: Asset) -> Option<&EntryOutcome> {
        self.outcome.as_ref()?.last_of(asset)
    }
}

/// What intake works with.
#[derive(Clone)]
pub(crate) struct Taker {
    pub(crate) ids: IdGenerator,
    pub(crate) loyalty: Loyalty,
    pub(crate) members: Members,
}

impl Orders {
    /// Takes in a document together with those of other callers, and returns after the commit.
    ///
    /// # Errors
    /// When the actor may not, the document contradicts itself or another one, the member is not known, or the
    /// member's state forbids it.
    pub async fn take_in(&self, actor: &Actor, intake: Intake) -> Result<Receipt, OrdersError> {
        actor.authorize(&permission_of(&intake.document))?;
        self.validate(std::slice::from_ref(&intake)).await?.remove(0)?;
        self.lanes.submit(intake).await?
    }

    /// Takes in many documents in one transaction; a refused one refuses itself alone.
    ///
    /// # Errors
    /// When the actor may record none of them, [`OrdersError::BulkTooLarge`], or when the database fails for all of
    /// them.
    pub async fn take_in_bulk(
        &self,
        actor: &Actor,
        intakes: Vec<Intake>,
    ) -> Result<Vec<Result<Receipt, OrdersError>>, OrdersError> {
        if intakes.len() > BULK_LIMIT {
            return Err(OrdersError::BulkTooLarge { most: BULK_LIMIT });
        }
        if intakes.is_empty() {
            actor.authorize(&RECORD)?;
        }
        let rights: Vec<Result<(), Denied>> = intakes
            .iter()
            .map(|intake| actor.authorize(&permission_of(&intake.document)))
            .collect();
        if rights.iter().all(Result::is_err)
            && let Some(Err(denied)) = rights.first()
        {
            return Err(denied.clone().into());
        }
        let valid = self.validate(&intakes).await?;
        let mut results: Vec<Option<Result<Receipt, OrdersError>>> = Vec::with_capacity(intakes.len());
        let mut admitted = Vec::with_capacity(intakes.len());
        for ((intake, right), valid) in intakes.into_iter().zip(rights).zip(valid) {
            match right.map_err(OrdersError::from).and(valid) {
                Ok(()) => {
                    admitted.push(intake);
                    results.push(None);
                }
                Err(refused) => results.push(Some(Err(refused))),
            }
        }
        let mut done = self.lanes.run(&admitted).await.into_iter();
        Ok(results
            .into_iter()
            .map(|refused| {
                refused
                    .or_else(|| done.next())
                    .unwrap_or(Err(OrdersError::Stopping))
            })
            .collect())
    }

    /// The tier and the way to the next after a settlement; as they are now for a repeated answer. `None` for refunds
    /// and anonymous purchases.
    ///
    /// # Errors
    /// When no programme was published, or the database fails.
    pub async fn progress_after(&self, receipt: &Receipt) -> Result<Option<TierProgress>, OrdersError> {
        let (Some(_), Some(member_id)) = (&receipt.tier_after, receipt.member_id) else {
            return Ok(None);
        };
        match &receipt.progress {
            Some(progress) => Ok(Some(progress.clone())),
            None => Ok(Some(self.loyalty.progress_now(member_id).await?)),
        }
    }

    /// Available and pending points after a settlement; as they are now where it did not change them. `None` for
    /// anonymous documents.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn points_after(&self, receipt: &Receipt) -> Result<Option<(i64, i64)>, OrdersError> {
        let Some(member_id) = receipt.member_id else {
            return Ok(None);
        };
        if let Some(entry) = receipt.last_of(Asset::Points) {
            return Ok(Some((entry.available, entry.pending)));
        }
        let balance = self.balance_now(member_id, Asset::Points).await?;
        Ok(Some((balance.available, balance.pending)))
    }

    async fn balance_now(&self, member_id: MemberId, asset: Asset) -> Result<Balance, OrdersError> {
        let now = self.db.clock().now();
        Ok(huika_ledger::balance(&mut &self.db, &self.ids, member_id, asset, now).await?)
    }

    /// Checks documents against the programme, each by itself.
    async fn validate(&self, intakes: &[Intake]) -> Result<Vec<Result<(), OrdersError>>, OrdersError> {
        let program = self.loyalty.program_now().await?;
        let latest = self.db.clock().now().plus_millis(CLOCK_SKEW_MS);
        let validate = |intake: &Intake| intake.document.validate(program.rules.currency, latest);
        Ok(intakes.iter().map(validate).collect())
    }
}

fn permission_of(document: &Document) -> Permission {
    match document {
        Document::Purchase(_) => RECORD,
        Document::UnlinkedRefund(_) => REFUND,
    }
}

#[async_trait]
impl RunBatch for Taker {
    type Command = Intake;
    type Answer = Receipt;
    type Error = OrdersError;
    const NAME: &'static str = "orders.intake";

    fn key(intake: &Intake) -> i64 {
        lane_of(intake)
    }

    async fn run_in_tx(
        &self,
        tx: &mut Tx<'_>,
        intakes: &[Intake],
    ) -> Result<Vec<Result<Receipt, OrdersError>>, OrdersError> {
        self.take_in_tx(tx, intakes).await
    }
}

/// What a batch writes in the end.
#[derive(Default)]
struct Writes {
    refs: Vec<ExternalRef>,
    purchases: Vec<PurchaseRow>,
    lines: Vec<LineRow>,
    refunds: Vec<RefundRow>,
    refund_lines: Vec<RefundLineRow>,
    claim_codes: Vec<(String, MemberId, i64)>,
}

type DocumentKey = (String, String, i64);

/// Whose document it is.
#[derive(Debug, Clone, Copy)]
struct Owner {
    member_id: MemberId,
    /// The state that forbids the member to earn.
    withheld: Option<MemberState>,
}

impl Taker {
    /// Takes in documents inside a transaction. A refused one refuses itself alone; an error of the whole is
    /// the database's.
    pub(crate) async fn take_in_tx(
        &self,
        tx: &mut Tx<'_>,
        intakes: &[Intake],
    ) -> Result<Vec<Result<Receipt, OrdersError>>, OrdersError> {
        let named: Vec<Identity> = intakes
            .iter()
            .filter_map(|intake| match &intake.member {
                MemberRef::Named(identity) => Some(identity.clone()),
                _ => None,
            })
            .collect();
        let found = if named.is_empty() {
            HashMap::new()
        } else {
            self.members.find_many_in_tx(tx, &named).await?
        };
        let owners: Vec<Option<Result<MemberId, MembersError>>> = intakes
            .iter()
            .map(|intake| match &intake.member {
                MemberRef::Id(member_id) => Some(Ok(*member_id)),
                MemberRef::Named(identity) => {
                    Some(found.get(identity).copied().ok_or(MembersError::NotFound))
                }
                MemberRef::Anonymous => None,
            })
            .collect();
        let members: Vec<MemberId> = owners
            .iter()
            .flatten()
            .filter_map(|owner| owner.as_ref().ok().copied())
            .collect();
        let states = if members.is_empty() {
            HashMap::new()
        } else {
            self.members.states_in_tx(tx, &members).await?
        };

        let mut known = store::ref_load(tx, intakes.iter().map(|intake| &intake.document)).await?;
        let mut answers = self.answer_known(tx, intakes, &known).await?;

        let document_ids: Vec<i64> = intakes
            .iter()
            .map(|intake| self.next_id(&intake.document))
            .collect();
        let needs: Vec<Need> = intakes
            .iter()
            .zip(&owners)
            .zip(&document_ids)
            .filter_map(|((intake, owner), document_id)| {
                let member_id = *owner.as_ref()?.as_ref().ok()?;
                let key = key_of(intake, *document_id);
                Some(match intake.document {
                    Document::Purchase(_) => Need::to_earn(member_id, &key),
                    Document::UnlinkedRefund(_) => {
                        Need::to_spend(member_id, &key, [Asset::Points, Asset::Growth])
                    }
                })
            })
            .collect();
        let mut book = self.loyalty.ledger().book_in_tx(tx, &needs).await?;
        let moments: Vec<(MemberId, Timestamp)> = intakes
            .iter()
            .zip(&owners)
            .filter_map(|(intake, owner)| Some((*owner.as_ref()?.as_ref().ok()?, intake.document.moment())))
            .collect();
        let mut settling = self.loyalty.settling_in_tx(tx, &moments).await?;

        let now = tx.db().clock().now();
        let mut writes = Writes::default();
        let mut results = Vec::with_capacity(intakes.len());
        for ((intake, owner), document_id) in intakes.iter().zip(owners).zip(document_ids) {
            let name = store::ref_key(&intake.document);
            if let Some(before) = known.get(&name) {
                results.push(answer_again(before, intake, owner, &answers));
                continue;
            }
            let member_id = match owner {
                None => None,
                Some(Ok(member_id)) => Some(member_id),
                Some(Err(refused)) => {
                    results.push(Err(refused.into()));
                    continue;
                }
            };
            let receipt = match member_id {
                Some(member_id) => {
                    let Some(state) = states.get(&member_id) else {
                        results.push(Err(MembersError::NotFound.into()));
                        continue;
                    };
                    // A purchase is recorded in every state, and a refund is never blocked: what the state blocks
                    // is earning.
                    let withheld = (!state.allows(MemberAction::Earn)).then_some(*state);
                    let owner = Owner { member_id, withheld };
                    match settle(&mut settling, &mut book, intake, owner, document_id) {
                        Ok(settled) if settled.outcome.replayed => Err(key_was_used(tx, intake).await?),
                        Ok(settled) => {
                            Ok(self.write_known(&mut writes, intake, owner, document_id, settled, now))
                        }
                        Err(refused) => Err(refused),
                    }
                }
                None => {
                    // What files bring has no receipt on which a code could be printed.
                    let sale = matches!(intake.document, Document::Purchase(_)) && intake.key.is_some();
                    let code = sale.then(|| ClaimCode::draw(tx.db().rng()));
                    Ok(self.write_anonymous(&mut writes, intake, document_id, code, now))
                }
            };
            if let Ok(receipt) = &receipt {
                // A second copy of the same document in this batch is answered like a later one.
                let member_id = receipt.member_id.unwrap_or(MemberId::from_i64(0));
                known.insert(
                    name.clone(),
                    ExternalRef::new(&intake.document, member_id, document_id, intake.input),
                );
                answers.insert(
                    name,
                    Receipt {
                        replayed: true,
                        claim_code: None,
                        progress: None,
                        ..receipt.clone()
                    },
                );
            }
            results.push(receipt);
        }

        book.save_in_tx(tx).await?;
        settling.save_in_tx(tx).await?;
        store::ref_insert(tx, &writes.refs).await?;
        store::purchase_insert(tx, &writes.purchases, &writes.lines).await?;
        store::refund_insert(tx, &writes.refunds, &writes.refund_lines).await?;
        store::claim_code_insert(tx, &writes.claim_codes).await?;
        self.audit_in_tx(tx, intakes, &results).await?;
        Ok(results)
    }

    /// Records what operators took back by hand, without a purchase that would prove it.
    async fn audit_in_tx(
        &self,
        tx: &mut Tx<'_>,
        intakes: &[Intake],
        results: &[Result<Receipt, OrdersError>],
    ) -> Result<(), OrdersError> {
        for (intake, result) in intakes.iter().zip(results) {
            let (Document::UnlinkedRefund(refund), Ok(receipt)) = (&intake.document, result) else {
                continue;
            };
            if receipt.replayed || !intake.actor.is_operator() {
                continue;
            }
            let entry = AuditEntry {
                actor: &intake.actor,
                action: "orders.refund_unlinked",
                subject: receipt.document_id.clone(),
                detail: serde_json::json!({
                    "member_id": receipt.member_id, "amount_minor": refund.amount_minor, "points": receipt.points,
                }),
            };
            record_audit_in_tx(tx, &self.ids, entry).await?;
        }
        Ok(())
    }

    fn next_id(&self, document: &Document) -> i64 {
        match document {
            Document::Purchase(_) => self.ids.next::<PurchaseIdKind>().as_i64(),
            Document::UnlinkedRefund(_) => self.ids.next::<RefundIdKind>().as_i64(),
        }
    }

    /// The first answers of documents that were taken in before.
    async fn answer_known(
        &self,
        tx: &mut Tx<'_>,
        intakes: &[Intake],
        known: &HashMap<DocumentKey, ExternalRef>,
    ) -> Result<HashMap<DocumentKey, Receipt>, OrdersError> {
        if known.is_empty() {
            return Ok(HashMap::new());
        }
        let wanted = |document: i64| -> Vec<(i64, i64)> {
            let refs = intakes
                .iter()
                .filter_map(|intake| known.get(&store::ref_key(&intake.document)));
            refs.filter(|known| known.document == document)
                .map(|known| (known.member_id.as_i64(), known.document_id))
                .collect()
        };
        let mut receipts = HashMap::new();
        for purchase in store::purchase_load(tx, &wanted(store::PURCHASE)).await? {
            let key = (
                purchase.external_no.clone(),
                purchase.source.clone(),
                store::PURCHASE,
            );
            receipts.insert(key, receipt_of_purchase(tx, &purchase).await?);
        }
        for refund in store::refund_load(tx, &wanted(store::REFUND)).await? {
            let key = (refund.external_no.clone(), refund.source.clone(), store::REFUND);
            receipts.insert(key, receipt_of_refund(tx, &refund).await?);
        }
        Ok(receipts)
    }

    fn write_known(
        &self,
        writes: &mut Writes,
        intake: &Intake,
        owner: Owner,
        document_id: i64,
        settled: Settled,
        now: Timestamp,
    ) -> Receipt {
        let Owner { member_id, .. } = owner;
        self.write(writes, intake, Ok(owner), document_id, Some(&settled), now);
        let taken_back = taken_back(&settled.outcome);
        // A refund leaves the tier to the next evaluation.
        let purchase = matches!(intake.document, Document::Purchase(_));
        Receipt {
            document_id: public_id(&intake.document, document_id),
            member_id: Some(member_id),
            replayed: false,
            points: settled.points,
            tier_before: purchase.then_some(settled.tier_before),
            tier_after: purchase.then_some(settled.tier_after),
            progress: purchase.then_some(settled.progress),
            outcome: Some(settled.outcome),
            why: Some(settled.trace.explain(Some(taken_back))),
            claim_code: None,
        }
    }

    fn write_anonymous(
        &self,
        writes: &mut Writes,
        intake: &Intake,
        document_id: i64,
        claim_code: Option<ClaimCode>,
        now: Timestamp,
    ) -> Receipt {
        let nobody: MemberId = self.ids.next::<MemberKind>();
        let hash = claim_code.as_ref().map(ClaimCode::hash);
        writes
            .claim_codes
            .extend(hash.map(|hash| (hash, nobody, document_id)));
        self.write(writes, intake, Err(nobody), document_id, None, now);
        Receipt {
            document_id: public_id(&intake.document, document_id),
            member_id: None,
            replayed: false,
            points: 0,
            tier_before: None,
            tier_after: None,
            progress: None,
            outcome: None,
            why: None,
            claim_code,
        }
    }

    /// `owner` is whose document it is, or the drawn number of nobody.
    fn write(
        &self,
        writes: &mut Writes,
        intake: &Intake,
        owner: Result<Owner, MemberId>,
        document_id: i64,
        settled: Option<&Settled>,
        now: Timestamp,
    ) {
        let (identified, earns) = (owner.is_ok(), owner.is_ok_and(|owner| owner.withheld.is_none()));
        let member_id = owner.map_or_else(|nobody| nobody, |owner| owner.member_id);
        writes.refs.push(ExternalRef::new(
            &intake.document,
            member_id,
            document_id,
            intake.input,
        ));
        let posting_id = settled.map(|settled| settled.outcome.posting_id);
        match &intake.document {
            Document::Purchase(purchase) => {
                let points = settled.map_or(0, |settled| settled.points);
                let shares = settled.map_or(&[][..], |settled| &settled.line_points);
                writes
                    .lines
                    .extend(lines_of(purchase, member_id, document_id, shares));
                writes.purchases.push(PurchaseRow {
                    member_id,
                    purchase_id: document_id,
                    identified,
                    kind: purchase.kind.code(),
                    source: purchase.source.to_string(),
                    external_no: purchase.external_no.to_string(),
                    channel: purchase.channel.to_string(),
                    store_code: purchase.store_code.as_ref().map(ToString::to_string),
                    payment_method: purchase.payment_method.as_ref().map(ToString::to_string),
                    placed_at: purchase.placed_at,
                    recorded_at: now,
                    currency: purchase.currency,
                    paid_minor: purchase.paid_minor,
                    refunded_minor: 0,
                    points,
                    growth: settled.map_or(0, |settled| settled.growth),
                    tier_before: settled.map(|settled| settled.tier_before.clone()),
                    tier_after: settled.map(|settled| settled.tier_after.clone()),
                    earns,
                    posting_id,
                });
            }
            Document::UnlinkedRefund(refund) => {
                let lines = refund.lines.iter().enumerate().map(|(at, line)| RefundLineRow {
                    member_id,
                    refund_id: document_id,
                    line_no: at as i64 + 1,
                    sku: line.sku.clone(),
                    name: line.name.clone(),
                    quantity: line.quantity,
                    amount_minor: line.amount_minor,
                });
                writes.refund_lines.extend(lines);
                writes.refunds.push(RefundRow {
                    member_id,
                    refund_id: document_id,
                    identified,
                    purchase_id: None,
                    source: refund.source.to_string(),
                    external_no: refund.external_no.to_string(),
                    refunded_at: refund.refunded_at,
                    recorded_at: now,
                    currency: refund.currency,
                    amount_minor: refund.amount_minor,
                    points: settled.map_or(0, |settled| -settled.points),
                    growth: settled.map_or(0, |settled| -settled.growth),
                    posting_id,
                });
            }
        }
    }
}

fn settle(
    settling: &mut huika_loyalty::Settling,
    book: &mut huika_ledger::Book,
    intake: &Intake,
    owner: Owner,
    document_id: i64,
) -> Result<Settled, OrdersError> {
    let Owner { member_id, withheld } = owner;
    let key = key_of(intake, document_id);
    let reference = public_id(&intake.document, document_id);
    let settled: Result<Settled, LoyaltyError> = match &intake.document {
        Document::Purchase(purchase) => settling.purchase(
            book,
            &PurchaseToSettle {
                member_id,
                key,
                input: intake.input,
                reference,
                actor: intake.actor.id().to_owned(),
                // An adjustment is the shop's own correction: it earns nothing.
                paid_minor: if purchase.kind == PurchaseKind::Sale {
                    purchase.paid_minor
                } else {
                    0
                },
                lines: purchase
                    .lines
                    .iter()
                    .map(|line| LineFacts {
                        category: line.category.clone(),
                        paid_minor: line.amount_minor,
                    })
                    .collect(),
                channel: purchase.channel.to_string(),
                store: purchase.store_code.as_ref().map(ToString::to_string),
                effective_at: purchase.placed_at,
                withheld,
            },
        ),
        Document::UnlinkedRefund(refund) => settling.unlinked_refund(
            book,
            &UnlinkedRefundToSettle {
                member_id,
                key,
                input: intake.input,
                reference,
                actor: intake.actor.id().to_owned(),
                refunded_minor: refund.amount_minor,
                currency: refund.currency,
                effective_at: refund.refunded_at,
            },
        ),
    };
    Ok(settled?)
}

/// Why the ledger knows the key and input of an order whose name was not known. Where another node took in the
/// same order meanwhile, its name can be seen by now, and the transaction runs again to find it.
async fn key_was_used(tx: &mut Tx<'_>, intake: &Intake) -> Result<OrdersError, OrdersError> {
    if !store::ref_load(tx, std::iter::once(&intake.document))
        .await?
        .is_empty()
    {
        return Err(DbError::Stale("orders_external_ref").into());
    }
    let key = intake.key.as_ref().map(ToString::to_string).unwrap_or_default();
    Ok(LedgerError::IdempotencyConflict { key }.into())
}

fn key_of(intake: &Intake, document_id: i64) -> IdempotencyKey {
    match &intake.key {
        Some(key) => key.clone(),
        None => IdempotencyKey::derived("document", public_id(&intake.document, document_id)),
    }
}

pub(crate) fn public_id(document: &Document, document_id: i64) -> String {
    match document {
        Document::Purchase(_) => PurchaseId::from_i64(document_id).to_string(),
        Document::UnlinkedRefund(_) => RefundId::from_i64(document_id).to_string(),
    }
}

/// `shares` are the points of the lines; empty where nothing was earned.
fn lines_of(
    purchase: &PurchaseDocument,
    member_id: MemberId,
    purchase_id: i64,
    shares: &[i64],
) -> Vec<LineRow> {
    let line = |(at, line): (usize, &LineDocument)| LineRow {
        member_id,
        purchase_id,
        line_no: at as i64 + 1,
        sku: line.sku.clone(),
        name: line.name.clone(),
        category: line.category.clone(),
        quantity: line.quantity,
        paid_minor: line.amount_minor,
        points: shares.get(at).copied().unwrap_or(0),
        refunded_minor: 0,
    };
    purchase.lines.iter().enumerate().map(line).collect()
}

/// The first answer again, for the same content of the same member by whatever name.
fn answer_again(
    before: &ExternalRef,
    intake: &Intake,
    owner: Option<Result<MemberId, MembersError>>,
    answers: &HashMap<DocumentKey, Receipt>,
) -> Result<Receipt, OrdersError> {
    let Some(answer) = answers.get(&store::ref_key(&intake.document)) else {
        return Err(OrdersError::PurchaseNotFound);
    };
    let same_member = match (owner, answer.member_id) {
        (None, None) => true,
        (Some(Ok(member_id)), Some(known)) => member_id == known,
        _ => false,
    };
    if same_member && before.input == intake.input {
        Ok(answer.clone())
    } else {
        Err(OrdersError::OrderConflict {
            source_code: intake.document.source().to_string(),
            external_no: intake.document.external_no().to_string(),
        })
    }
}

/// Documents of one name meet in one lane; those of nobody spread by their number.
fn lane_of(intake: &Intake) -> i64 {
    let mut hasher = DefaultHasher::new();
    match &intake.member {
        MemberRef::Id(member_id) => return member_id.as_i64(),
        MemberRef::Named(identity) => identity.hash(&mut hasher),
        MemberRef::Anonymous => intake.document.external_no().hash(&mut hasher),
    }
    hasher.finish().cast_signed()
}

/// What an entry really took of the points that a refund wanted back: nothing where there is no entry, because
/// all of them had expired.
pub(crate) fn taken_back(outcome: &Outcome) -> TakenBack {
    let entry = outcome
        .entries
        .iter()
        .find(|entry| entry.asset == Asset::Points && entry.total_change() <= 0);
    TakenBack {
        taken: entry.map_or(0, |entry| -entry.total_change()),
        shortfall: entry.map_or(0, |entry| entry.shortfall),
    }
}

pub(crate) async fn receipt_of_purchase(
    tx: &mut Tx<'_>,
    purchase: &PurchaseRow,
) -> Result<Receipt, OrdersError> {
    let (outcome, why) = explained(tx, purchase.member_id, purchase.posting_id).await?;
    Ok(Receipt {
        document_id: PurchaseId::from_i64(purchase.purchase_id).to_string(),
        member_id: purchase.identified.then_some(purchase.member_id),
        replayed: true,
        points: purchase.points,
        tier_before: purchase.tier_before.clone(),
        tier_after: purchase.tier_after.clone(),
        progress: None,
        outcome,
        why,
        claim_code: None,
    })
}

pub(crate) async fn receipt_of_refund(tx: &mut Tx<'_>, refund: &RefundRow) -> Result<Receipt, OrdersError> {
    let (outcome, why) = explained(tx, refund.member_id, refund.posting_id).await?;
    Ok(Receipt {
        document_id: RefundId::from_i64(refund.refund_id).to_string(),
        member_id: refund.identified.then_some(refund.member_id),
        replayed: true,
        points: -refund.points,
        tier_before: None,
        tier_after: None,
        progress: None,
        outcome,
        why,
        claim_code: None,
    })
}

/// The stored answer and why of a posting.
pub(crate) async fn explained(
    tx: &mut Tx<'_>,
    member_id: MemberId,
    posting_id: Option<PostingId>,
) -> Result<(Option<Outcome>, Option<Bilingual>), OrdersError> {
    let Some(posting_id) = posting_id else {
        return Ok((None, None));
    };
    let Some(posting) = huika_ledger::posting(tx, member_id, posting_id).await? else {
        return Ok((None, None));
    };
    let trace = posting
        .trace
        .as_deref()
        .and_then(|json| serde_json::from_str::<Trace>(json).ok());
    let outcome = Outcome {
        posting_id,
        replayed: true,
        entries: posting.entries,
    };
    let why = trace.map(|trace| trace.explain(Some(taken_back(&outcome))));
    Ok((Some(outcome), why))
}

#[cfg(test)]
mod tests {
    use huika_core::Currency;

    use super::*;
    use crate::UnlinkedRefundDocument;

    #[test]
    fn documents_of_one_name_share_a_lane_and_those_of_many_spread() {
        let lane = |member: MemberRef, number: usize| {
            let document = Document::UnlinkedRefund(UnlinkedRefundDocument {
                source: "pos".parse().unwrap(),
                external_no: number.to_string().parse().unwrap(),
                refunded_at: Timestamp::from_millis(0),
                currency: Currency::CNY,
                amount_minor: 1,
                lines: Vec::new(),
            });
            let intake = Intake {
                input: InputHash::of(&document),
                document,
                member,
                key: None,
                actor: Actor::system("test"),
            };
            // As the batcher chooses among four lanes.
            (lane_of(&intake) as u64 >> 40) % 4
        };
        let of_phone =
            |number: usize| MemberRef::Named(Identity::Phone(format!("139{number:08}").parse().unwrap()));
        assert_eq!(lane(of_phone(1), 1), lane(of_phone(1), 2));
        let lanes =
            |lane: &dyn Fn(usize) -> u64| (0..64).map(lane).collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!(lanes(&|number| lane(of_phone(number), 1)), 4);
        assert_eq!(lanes(&|number| lane(MemberRef::Anonymous, number)), 4);
    }
}
