//! The figures of a shop's history, computed from the stored documents.

use huika_core::{Actor, Currency, Money};
use serde::Serialize;

use crate::{Orders, OrdersError, READ, store};

/// Net spend from which members are counted, in major units of the currency.
const THRESHOLDS: [i64; 5] = [500, 1_000, 2_000, 5_000, 10_000];

/// The report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Rows of files that imports have read.
    pub rows_read: i64,
    /// Sales, refunds and adjustments together.
    pub invoices: i64,
    /// Sales.
    pub sales: i64,
    /// Refunds.
    pub cancellations: i64,
    /// Corrections by the shop.
    pub adjustments: i64,
    /// The currency of all amounts.
    pub currency: Currency,
    /// Paid less refunded, over all documents.
    pub net: String,
    /// The same in minor units.
    pub net_minor: i64,
    /// Paid less refunded, of members.
    pub net_of_members: String,
    /// The same in minor units.
    pub net_of_members_minor: i64,
    /// Members with a document.
    pub members_with_purchases: i64,
    /// Members with net spend at or above a threshold.
    pub members_at_or_above: Vec<TierShare>,
    /// Members with at least one sale.
    pub buyers: i64,
    /// Members with at least two sales (复购).
    pub repeat_buyers: i64,
    /// Members per tier of the programme.
    pub tiers: Vec<(String, i64)>,
}

/// How many members reach a threshold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TierShare {
    /// In major units.
    pub threshold: i64,
    /// How many.
    pub members: i64,
}

impl Orders {
    /// Computes the report on one snapshot.
    ///
    /// # Errors
    /// When the actor may not, no programme was published, or the database fails.
    pub async fn report(&self, actor: &Actor) -> Result<Report, OrdersError> {
        actor.authorize(&READ)?;
        let currency = self.loyalty.program_now().await?.rules.currency;
        let (totals, spend) = self
            .db
            .run_snapshot(|tx| {
                Box::pin(async move {
                    let totals = store::totals(tx).await?;
                    Ok::<_, OrdersError>((totals, store::member_spend(tx).await?))
                })
            })
            .await?;
        let count = |test: &dyn Fn(&store::MemberSpend) -> bool| {
            spend.values().filter(|member| test(member)).count() as i64
        };
        let members = spend.len() as i64;
        Ok(Report {
            rows_read: totals.rows_read,
            invoices: totals.sales + totals.refunds + totals.adjustments,
            sales: totals.sales,
            cancellations: totals.refunds,
            adjustments: totals.adjustments,
            currency,
            net: Money::new(totals.net_minor, currency).to_string(),
            net_minor: totals.net_minor,
            net_of_members: Money::new(totals.net_identified_minor, currency).to_string(),
            net_of_members_minor: totals.net_identified_minor,
            members_with_purchases: members,
            members_at_or_above: THRESHOLDS
                .into_iter()
                .map(|threshold| TierShare {
                    threshold,
                    members: count(&|member| member.net_minor >= threshold * 100),
                })
                .collect(),
            buyers: count(&|member| member.sales >= 1),
            repeat_buyers: count(&|member| member.sales >= 2),
            tiers: self
                .loyalty
                .tier_distribution(self.members.count().await?)
                .await?,
        })
    }
}
