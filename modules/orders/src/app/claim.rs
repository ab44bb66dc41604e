//! Claiming: an anonymous purchase becomes a member's, once, by what stands on its receipt.
//!
//! The anonymous rows stay; the member gets a purchase that is worth what is left of them, settled as of the time at
//! which it was paid. Refunds that come later find the member's purchase.

use huika_core::{Actor, BusinessDate, Currency, MemberId};
use huika_db::{
    DbError, Tx,
    audit::{AuditEntry, record_audit_in_tx},
};
use huika_ledger::InputHash;
use huika_members::{Code, MemberAction, MembersError};

use super::intake::receipt_of_purchase;
use crate::{
    CLAIM, ClaimCode, Document, Intake, LineDocument, MemberRef, OrderNo, Orders, OrdersError,
    PurchaseDocument, PurchaseId, PurchaseKind, Receipt,
    store::{self, ClaimRow, PurchaseRow},
};

/// The source of purchases that were claimed. What was anonymous keeps its own name, by which refunds find it.
pub(crate) const CLAIM_SOURCE: &str = "huika-claim";
const DAY_MS: i64 = 86_400_000;

/// What proves that somebody holds the receipt.
#[derive(Debug, Clone)]
pub enum ClaimEvidence {
    /// The code that is printed on it.
    Code(ClaimCode),
    /// What else is printed on it.
    Receipt {
        /// The system that reported the purchase.
        source: Code,
        /// The number of the order.
        external_no: OrderNo,
        /// What was paid.
        paid_minor: i64,
        /// In which currency.
        currency: Currency,
        /// The business date on which it was paid.
        date: BusinessDate,
    },
}

impl Orders {
    /// Makes an anonymous purchase a member's. The same member gets the first answer again.
    ///
    /// # Errors
    /// [`OrdersError::ClaimNotFound`] also when the evidence is wrong, [`OrdersError::AlreadyClaimed`],
    /// [`OrdersError::ClaimTooLate`], [`OrdersError::NothingToClaim`]; when the member is not known or may not earn.
    pub async fn claim(
        &self,
        actor: &Actor,
        member: &MemberRef,
        evidence: &ClaimEvidence,
    ) -> Result<Receipt, OrdersError> {
        actor.authorize(&CLAIM)?;
        let calendar = self.loyalty.program_now().await?.rules.calendar();
        let calendar = &calendar;
        self.db
            .run_tx("orders.claim", |tx| {
                Box::pin(async move {
                    let member_id = self.claimant_in_tx(tx, member).await?;
                    let (nobody, purchase_id) = named_in_tx(tx, evidence).await?;
                    let Some(purchase) = store::purchase_lock(tx, nobody, purchase_id).await? else {
                        return Err(OrdersError::ClaimNotFound);
                    };
                    let right = match evidence {
                        ClaimEvidence::Code(_) => true,
                        ClaimEvidence::Receipt {
                            paid_minor,
                            currency,
                            date,
                            ..
                        } => {
                            purchase.paid_minor == *paid_minor
                                && purchase.currency == *currency
                                && calendar.date_of(purchase.placed_at) == *date
                        }
                    };
                    // Whoever tries numbers learns nothing about purchases that are a member's already.
                    if !right || purchase.identified || purchase.kind != PurchaseKind::Sale.code() {
                        return Err(OrdersError::ClaimNotFound);
                    }
                    if let Some(claim) = store::claim_find(tx, nobody, purchase_id).await? {
                        return claimed_before(tx, &claim, member_id).await;
                    }
                    let days = self.claim_days;
                    let until = purchase.placed_at.plus_millis(days.saturating_mul(DAY_MS));
                    if tx.db().clock().now() > until {
                        return Err(OrdersError::ClaimTooLate { days });
                    }
                    self.settle_claim_in_tx(tx, actor, member_id, &purchase).await
                })
            })
            .await
    }

    async fn claimant_in_tx(&self, tx: &mut Tx<'_>, member: &MemberRef) -> Result<MemberId, OrdersError> {
        let member_id = match member {
            MemberRef::Id(member_id) => *member_id,
            MemberRef::Named(identity) => {
                let found = self
                    .members
                    .find_many_in_tx(tx, std::slice::from_ref(identity))
                    .await?;
                found.get(identity).copied().ok_or(MembersError::NotFound)?
            }
            MemberRef::Anonymous => return Err(MembersError::NotFound.into()),
        };
        let states = self.members.states_in_tx(tx, &[member_id]).await?;
        let state = states.get(&member_id).ok_or(MembersError::NotFound)?;
        state.require(MemberAction::Earn)?;
        Ok(member_id)
    }

    async fn settle_claim_in_tx(
        &self,
        tx: &mut Tx<'_>,
        actor: &Actor,
        member_id: MemberId,
        purchase: &PurchaseRow,
    ) -> Result<Receipt, OrdersError> {
        let amount_minor = purchase.paid_minor - purchase.refunded_minor;
        if amount_minor <= 0 {
            return Err(OrdersError::NothingToClaim);
        }
        let lines = store::line_load(tx, purchase.member_id, purchase.purchase_id).await?;
        let document = Document::Purchase(PurchaseDocument {
            source: CLAIM_SOURCE.parse()?,
            external_no: PurchaseId::from_i64(purchase.purchase_id).to_string().parse()?,
            kind: PurchaseKind::Sale,
            channel: purchase.channel.parse()?,
            store_code: purchase.store_code.as_deref().map(str::parse).transpose()?,
            payment_method: purchase.payment_method.as_deref().map(str::parse).transpose()?,
            placed_at: purchase.placed_at,
            currency: purchase.currency,
            paid_minor: amount_minor,
            // Line by line, what is left of each: refunds name lines by their number.
            lines: lines
                .into_iter()
                .map(|line| LineDocument {
                    sku: line.sku,
                    name: line.name,
                    category: line.category,
                    quantity: line.quantity,
                    amount_minor: line.paid_minor - line.refunded_minor,
                })
                .collect(),
        });
        let intake = Intake {
            input: InputHash::of(&document),
            document,
            member: MemberRef::Id(member_id),
            key: None,
            actor: actor.clone(),
        };
        let mut receipts = self.taker().take_in_tx(tx, std::slice::from_ref(&intake)).await?;
        let receipt = receipts.pop().unwrap_or(Err(OrdersError::Stopping))?;
        let name = store::ref_key(&intake.document);
        let made = store::refs_by_name(tx, std::slice::from_ref(&name)).await?;
        let Some(made) = made.get(&name) else {
            return Err(DbError::corrupt("orders_external_ref").into());
        };
        // What was decided on must still be so, whoever honours the lock: a refund of the anonymous purchase changes
        // this row, and so it is written although nothing in it changes.
        store::purchase_add_refund(tx, purchase, 0, &[]).await?;
        let claim = ClaimRow {
            member_id: purchase.member_id,
            purchase_id: purchase.purchase_id,
            claimant_id: member_id,
            claim_purchase_id: made.document_id,
            amount_minor,
        };
        store::claim_insert(tx, &claim).await?;
        if actor.is_operator() {
            let entry = AuditEntry {
                actor,
                action: "orders.claim",
                subject: receipt.document_id.clone(),
                detail: serde_json::json!({
                    "member_id": member_id, "amount_minor": amount_minor, "points": receipt.points,
                    "claimed": PurchaseId::from_i64(purchase.purchase_id),
                }),
            };
            record_audit_in_tx(tx, &self.ids, entry).await?;
        }
        Ok(receipt)
    }
}

/// The anonymous purchase that the evidence names.
async fn named_in_tx(tx: &mut Tx<'_>, evidence: &ClaimEvidence) -> Result<(MemberId, i64), OrdersError> {
    match evidence {
        ClaimEvidence::Code(code) => store::claim_code_find(tx, &code.hash())
            .await?
            .ok_or(OrdersError::ClaimNotFound),
        ClaimEvidence::Receipt {
            source, external_no, ..
        } => {
            let name = (external_no.to_string(), source.to_string(), store::PURCHASE);
            let known = store::refs_by_name(tx, std::slice::from_ref(&name)).await?;
            let named = known.get(&name).ok_or(OrdersError::ClaimNotFound)?;
            Ok((named.member_id, named.document_id))
        }
    }
}

/// The first answer for the same member; anybody else comes too late.
async fn claimed_before(
    tx: &mut Tx<'_>,
    claim: &ClaimRow,
    member_id: MemberId,
) -> Result<Receipt, OrdersError> {
    if claim.claimant_id != member_id {
        return Err(OrdersError::AlreadyClaimed);
    }
    let wanted = [(claim.claimant_id.as_i64(), claim.claim_purchase_id)];
    match store::purchase_load(tx, &wanted).await?.first() {
        Some(purchase) => receipt_of_purchase(tx, purchase).await,
        None => Err(OrdersError::ClaimNotFound),
    }
}
