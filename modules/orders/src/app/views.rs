//! What members and operators see of purchases and refunds.

use huika_core::{Actor, Bilingual, Currency, MemberId, Timestamp};

use super::intake::{PurchaseId, RefundId, explained};
use crate::{
    OrderNo, Orders, OrdersError, READ,
    store::{self, PurchaseRow},
};
use huika_members::Code;

/// Most refunds that are shown of one member.
const MAX_REFUNDS: i64 = 200;

/// A purchase with its lines.
#[derive(Debug, Clone)]
pub struct PurchaseView {
    /// Its id.
    pub purchase_id: PurchaseId,
    /// Whose. `None` for an anonymous sale.
    pub member_id: Option<MemberId>,
    /// The system that reported it.
    pub source: String,
    /// Its number there.
    pub external_no: String,
    /// Where it was made.
    pub channel: String,
    /// In which store.
    pub store_code: Option<String>,
    /// When.
    pub placed_at: Timestamp,
    /// The currency of all amounts.
    pub currency: Currency,
    /// What was paid.
    pub paid_minor: i64,
    /// What went back.
    pub refunded_minor: i64,
    /// What it earned.
    pub points: i64,
    /// The tier at the time of the order.
    pub tier_before: Option<String>,
    /// What was bought. Empty in lists.
    pub lines: Vec<PurchaseLineView>,
    /// Why it earned what it earned. `None` in lists and for anonymous sales.
    pub why: Option<Bilingual>,
}

/// A line of a purchase.
#[derive(Debug, Clone)]
pub struct PurchaseLineView {
    /// Counted from 1.
    pub line_no: i64,
    /// The code of the article.
    pub sku: String,
    /// What it is called.
    pub name: String,
    /// Its category.
    pub category: Option<String>,
    /// How many.
    pub quantity: i64,
    /// What was paid for it.
    pub paid_minor: i64,
    /// Its share of the points.
    pub points: i64,
    /// What went back of it.
    pub refunded_minor: i64,
}

/// A refund.
#[derive(Debug, Clone)]
pub struct RefundView {
    /// Its id.
    pub refund_id: RefundId,
    /// Of which purchase. `None` when that is not known.
    pub purchase_id: Option<PurchaseId>,
    /// The system that reported it.
    pub source: String,
    /// Its number there.
    pub external_no: String,
    /// When.
    pub refunded_at: Timestamp,
    /// The currency.
    pub currency: Currency,
    /// What went back.
    pub amount_minor: i64,
    /// Points that were to be taken back.
    pub points: i64,
}

impl Orders {
    /// A member's purchases, newest first, below a row.
    ///
    /// # Errors
    /// When the actor may not or the database fails.
    pub async fn purchases_of(
        &self,
        actor: &Actor,
        member_id: MemberId,
        before: Option<(i64, i64)>,
        limit: i64,
    ) -> Result<Vec<PurchaseView>, OrdersError> {
        actor.authorize(&READ)?;
        self.require_member(member_id).await?;
        let rows = store::purchase_list(&mut &self.db, member_id, before, limit).await?;
        Ok(rows.into_iter().map(|row| view(row, Vec::new(), None)).collect())
    }

    /// A purchase by its number, with lines and why.
    ///
    /// # Errors
    /// [`OrdersError::PurchaseNotFound`].
    pub async fn purchase_by_number(
        &self,
        actor: &Actor,
        source: &Code,
        external_no: &OrderNo,
    ) -> Result<PurchaseView, OrdersError> {
        actor.authorize(&READ)?;
        let name = (external_no.to_string(), source.to_string(), store::PURCHASE);
        let name = &name;
        self.db
            .run_snapshot(|tx| {
                Box::pin(async move {
                    let mut known = store::refs_by_name(tx, std::slice::from_ref(name)).await?;
                    let Some(named) = known.remove(name) else {
                        return Err(OrdersError::PurchaseNotFound);
                    };
                    let wanted = [(named.member_id.as_i64(), named.document_id)];
                    let Some(row) = store::purchase_load(tx, &wanted).await?.into_iter().next() else {
                        return Err(OrdersError::PurchaseNotFound);
                    };
                    let lines = store::line_load(tx, row.member_id, row.purchase_id).await?;
                    let (_, why) = explained(tx, row.member_id, row.posting_id).await?;
                    let lines = lines
                        .into_iter()
                        .map(|line| PurchaseLineView {
                            line_no: line.line_no,
                            sku: line.sku,
                            name: line.name,
                            category: line.category,
                            quantity: line.quantity,
                            paid_minor: line.paid_minor,
                            points: line.points,
                            refunded_minor: line.refunded_minor,
                        })
                        .collect();
                    Ok(view(row, lines, why))
                })
            })
            .await
    }

    /// A member's latest refunds.
    ///
    /// # Errors
    /// When the actor may not or the database fails.
    pub async fn refunds_of(
        &self,
        actor: &Actor,
        member_id: MemberId,
    ) -> Result<Vec<RefundView>, OrdersError> {
        actor.authorize(&READ)?;
        self.require_member(member_id).await?;
        let rows = store::refund_list_of(&mut &self.db, member_id, MAX_REFUNDS).await?;
        Ok(rows
            .into_iter()
            .map(|row| RefundView {
                refund_id: RefundId::from_i64(row.refund_id),
                purchase_id: row.purchase_id.map(PurchaseId::from_i64),
                source: row.source,
                external_no: row.external_no,
                refunded_at: row.refunded_at,
                currency: row.currency,
                amount_minor: row.amount_minor,
                points: row.points,
            })
            .collect())
    }

    async fn require_member(&self, member_id: MemberId) -> Result<(), OrdersError> {
        let states = self.members.states_in_tx(&mut &self.db, &[member_id]).await?;
        if states.is_empty() {
            Err(huika_members::MembersError::NotFound.into())
        } else {
            Ok(())
        }
    }
}

fn view(row: PurchaseRow, lines: Vec<PurchaseLineView>, why: Option<Bilingual>) -> PurchaseView {
    PurchaseView {
        purchase_id: PurchaseId::from_i64(row.purchase_id),
        member_id: row.identified.then_some(row.member_id),
        source: row.source,
        external_no: row.external_no,
        channel: row.channel,
        store_code: row.store_code,
        placed_at: row.placed_at,
        currency: row.currency,
        paid_minor: row.paid_minor,
        refunded_minor: row.refunded_minor,
        points: row.points,
        tier_before: row.tier_before,
        lines,
        why,
    }
}
