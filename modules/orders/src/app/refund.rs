//! Refunding a known purchase, whole or in parts.

use std::slice;

use huika_core::{Actor, IdempotencyKey, MemberId};
use huika_db::Tx;
use huika_ledger::{InputHash, Need};
use huika_loyalty::{RefundToSettle, RefundedLine};

use super::intake::{Receipt, RefundId, RefundIdKind, receipt_of_refund, taken_back};
use crate::{
    Orders, OrdersError, PurchaseKind, REFUND, RefundDocument, RefundedPart,
    domain::{CLOCK_SKEW_MS, RefundableLine, decide_lines},
    store::{self, ExternalRef, LineRow, RefundLineRow, RefundRow},
};

/// What became of a refund.
#[derive(Debug, Clone)]
pub struct RefundReceipt {
    /// The refund with what it took back.
    pub receipt: Receipt,
    /// Minor units that went back.
    pub amount_minor: i64,
    /// What can still be refunded of the purchase.
    pub left_minor: i64,
}

impl Orders {
    /// Records a refund of a purchase and takes back its share of points and growth.
    ///
    /// # Errors
    /// When the purchase is not known, more would go back than was paid, or the number was used for another
    /// refund. Nothing is changed then.
    pub async fn refund(
        &self,
        actor: &Actor,
        document: &RefundDocument,
        key: &IdempotencyKey,
        input: InputHash,
    ) -> Result<RefundReceipt, OrdersError> {
        actor.authorize(&REFUND)?;
        self.db
            .run_tx("orders.refund", |tx| {
                Box::pin(self.refund_in_tx(tx, actor, document, key, input))
            })
            .await
    }

    /// The same inside the caller's transaction. A refusal has written nothing.
    pub(super) async fn refund_in_tx(
        &self,
        tx: &mut Tx<'_>,
        actor: &Actor,
        document: &RefundDocument,
        key: &IdempotencyKey,
        input: InputHash,
    ) -> Result<RefundReceipt, OrdersError> {
        if document.refunded_at > tx.db().clock().now().plus_millis(CLOCK_SKEW_MS) {
            return Err(OrdersError::TimeInFuture);
        }
        let source = document.source.to_string();
        let refund_name = (document.external_no.to_string(), source.clone(), store::REFUND);
        let purchase_name = (document.purchase_no.to_string(), source.clone(), store::PURCHASE);
        let mut known = store::refs_by_name(tx, &[refund_name.clone(), purchase_name.clone()]).await?;
        if let Some(before) = known.remove(&refund_name) {
            return answer_again(tx, &before, input, document).await;
        }
        let Some(named) = known.remove(&purchase_name) else {
            return Err(OrdersError::PurchaseNotFound);
        };
        let (mut member_id, mut purchase_id) = (named.member_id, named.document_id);
        let Some(mut purchase) = store::purchase_lock(tx, member_id, purchase_id).await? else {
            return Err(OrdersError::PurchaseNotFound);
        };
        // What a member has claimed is refunded to the member.
        if !purchase.identified
            && let Some(claim) = store::claim_find(tx, member_id, purchase_id).await?
        {
            (member_id, purchase_id) = (claim.claimant_id, claim.claim_purchase_id);
            purchase = store::purchase_lock(tx, member_id, purchase_id)
                .await?
                .ok_or(OrdersError::PurchaseNotFound)?;
        }
        // A copy of this refund may have held the lock until now.
        if let Some(before) = store::refs_by_name(tx, slice::from_ref(&refund_name))
            .await?
            .remove(&refund_name)
        {
            return answer_again(tx, &before, input, document).await;
        }
        // A correction by the shop is no sale: nothing was paid that could go back.
        if purchase.kind != PurchaseKind::Sale.code() {
            return Err(OrdersError::NothingToRefund);
        }
        // Either clock may run ahead.
        if document.refunded_at < purchase.placed_at.plus_millis(-CLOCK_SKEW_MS) {
            return Err(OrdersError::RefundBeforePurchase);
        }
        if let RefundedPart::Amount { currency, .. } = &document.part
            && *currency != purchase.currency
        {
            return Err(OrdersError::CurrencyMismatch {
                currency: currency.to_string(),
                expected: purchase.currency.to_string(),
            });
        }
        let lines = store::line_load(tx, member_id, purchase_id).await?;
        let refundable: Vec<RefundableLine> = lines
            .iter()
            .map(|line| RefundableLine {
                line_no: line.line_no,
                paid_minor: line.paid_minor,
                points: line.points,
                refunded_minor: line.refunded_minor,
            })
            .collect();
        let decided = decide_lines(&refundable, &document.part)?;
        let amount_minor: i64 = decided.iter().map(|(_, amount)| amount).sum();
        let refund_id: RefundId = self.ids.next::<RefundIdKind>();
        let now = tx.db().clock().now();

        let (mut points, mut growth) = (0, 0);
        let mut receipt = Receipt {
            document_id: refund_id.to_string(),
            member_id: purchase.identified.then_some(member_id),
            replayed: false,
            points: 0,
            tier_before: None,
            tier_after: None,
            progress: None,
            outcome: None,
            why: None,
            claim_code: None,
        };
        if let Some(posting_id) = purchase.posting_id {
            let settled_lines = decided
                .iter()
                .map(|(at, amount)| RefundedLine {
                    paid_minor: lines[*at].paid_minor,
                    points: lines[*at].points,
                    before_minor: lines[*at].refunded_minor,
                    refunded_minor: *amount,
                })
                .collect();
            let to_settle = RefundToSettle {
                member_id,
                key: key.clone(),
                input,
                reference: refund_id.to_string(),
                actor: actor.id().to_owned(),
                source: posting_id,
                paid_minor: purchase.paid_minor,
                purchased_at: purchase.placed_at,
                earned: purchase.points,
                growth: purchase.growth,
                counted: purchase.earns,
                before_minor: purchase.refunded_minor,
                lines: settled_lines,
                currency: purchase.currency,
                effective_at: document.refunded_at,
            };
            let need = Need::to_reverse(member_id, key, vec![posting_id]);
            let mut book = self.loyalty.ledger().book_in_tx(tx, &[need]).await?;
            let mut settling = self
                .loyalty
                .settling_in_tx(tx, &[(member_id, document.refunded_at)])
                .await?;
            let settled = settling.refund(&mut book, &to_settle)?;
            if settled.outcome.replayed {
                return Err(huika_ledger::LedgerError::IdempotencyConflict { key: key.to_string() }.into());
            }
            book.save_in_tx(tx).await?;
            settling.save_in_tx(tx).await?;
            (points, growth) = (-settled.points, -settled.growth);
            receipt.points = settled.points;
            receipt.why = Some(settled.trace.explain(Some(taken_back(&settled.outcome))));
            receipt.outcome = Some(settled.outcome);
        }

        let refunded: Vec<(&LineRow, i64)> = decided
            .iter()
            .map(|(at, amount)| (&lines[*at], *amount))
            .collect();
        store::purchase_add_refund(tx, &purchase, amount_minor, &refunded).await?;
        // Who claimed it meanwhile has written the row as well: nobody can any more, and what they did is seen.
        if !purchase.identified && store::claim_find(tx, member_id, purchase_id).await?.is_some() {
            return Err(huika_db::DbError::Stale("orders_claim").into());
        }
        store::ref_insert(
            tx,
            &[ExternalRef {
                external_no: refund_name.0,
                source: source.clone(),
                document: store::REFUND,
                member_id,
                document_id: refund_id.as_i64(),
                input,
            }],
        )
        .await?;
        let refund_lines: Vec<RefundLineRow> = refunded
            .iter()
            .map(|(line, amount)| refund_line(line, refund_id, member_id, *amount))
            .collect();
        let refund = RefundRow {
            member_id,
            refund_id: refund_id.as_i64(),
            identified: purchase.identified,
            purchase_id: Some(purchase_id),
            source,
            external_no: document.external_no.to_string(),
            refunded_at: document.refunded_at,
            recorded_at: now,
            currency: purchase.currency,
            amount_minor,
            points,
            growth,
            posting_id: receipt.outcome.as_ref().map(|outcome| outcome.posting_id),
        };
        store::refund_insert(tx, &[refund], &refund_lines).await?;
        let left_minor = purchase.paid_minor - purchase.refunded_minor - amount_minor;
        Ok(RefundReceipt {
            receipt,
            amount_minor,
            left_minor,
        })
    }
}

fn refund_line(line: &LineRow, refund_id: RefundId, member_id: MemberId, amount_minor: i64) -> RefundLineRow {
    RefundLineRow {
        member_id,
        refund_id: refund_id.as_i64(),
        line_no: line.line_no,
        sku: line.sku.clone(),
        name: line.name.clone(),
        quantity: line.quantity,
        amount_minor,
    }
}

async fn answer_again(
    tx: &mut Tx<'_>,
    before: &ExternalRef,
    input: InputHash,
    document: &RefundDocument,
) -> Result<RefundReceipt, OrdersError> {
    if before.input != input {
        return Err(OrdersError::OrderConflict {
            source_code: document.source.to_string(),
            external_no: document.external_no.to_string(),
        });
    }
    let rows = store::refund_load(tx, &[(before.member_id.as_i64(), before.document_id)]).await?;
    let Some(refund) = rows.into_iter().next() else {
        return Err(OrdersError::PurchaseNotFound);
    };
    let left_minor = match refund.purchase_id {
        Some(purchase_id) => store::purchase_lock(tx, refund.member_id, purchase_id)
            .await?
            .map_or(0, |purchase| purchase.paid_minor - purchase.refunded_minor),
        None => 0,
    };
    let receipt = receipt_of_refund(tx, &refund).await?;
    Ok(RefundReceipt {
        receipt,
        amount_minor: refund.amount_minor,
        left_minor,
    })
}
