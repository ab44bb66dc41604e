//! Proving that documents and postings tell the same story.

use std::collections::HashMap;

use huika_core::MemberId;
use huika_db::Tx;
use huika_ledger::{Asset, VerifyReport};
use serde::Serialize;

use super::intake::{PurchaseId, RefundId};
use crate::{OrdersError, store};

/// Members per page.
const PAGE: i64 = 200;

/// What was checked of orders.
#[derive(Debug, Clone, Default, Serialize)]
pub struct OrdersVerification {
    /// Documents with a posting.
    pub documents: u64,
}

impl crate::Orders {
    /// Checks within a snapshot that every document of a member has exactly one posting and every posting its
    /// document, that every document has its name, that growth equals net spend and points are what was posted, and
    /// that lines and refunds add up. Adds what does not to `report`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn verify_in_tx(
        tx: &mut Tx<'_>,
        report: &mut VerifyReport,
    ) -> Result<OrdersVerification, OrdersError> {
        let mut checked = OrdersVerification::default();
        for (row, problem) in store::broken_names(tx).await? {
            report.find(row, problem);
        }
        for (document, member_id, document_id, problem) in store::contradictions(tx).await? {
            let id = reference_of(document, document_id);
            report.find(format!("{id} of {member_id}"), problem);
        }
        let mut after = i64::MIN;
        let mut growth_of_members: i128 = 0;
        loop {
            let page = store::member_page(tx, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.as_i64();
            growth_of_members += verify_page(tx, &page, &mut checked, report).await?;
        }
        verify_whole(tx, growth_of_members, report).await?;
        Ok(checked)
    }
}

fn reference_of(document: i64, document_id: i64) -> String {
    if document == store::PURCHASE {
        PurchaseId::from_i64(document_id).to_string()
    } else {
        RefundId::from_i64(document_id).to_string()
    }
}

/// The kinds of postings that documents make.
const POSTINGS: [&str; 2] = ["purchase", "refund"];

/// Members without any document are on no page: if theirs were wiped out, the growth of all tells.
async fn verify_whole(
    tx: &mut Tx<'_>,
    growth_of_members: i128,
    report: &mut VerifyReport,
) -> Result<(), OrdersError> {
    let issued = i128::from(huika_ledger::posted_total(tx, Asset::Growth, &POSTINGS).await?);
    if issued != growth_of_members {
        report.find(
            "ledger_entry of all members",
            format!("growth of {issued} was issued, purchases less refunds give {growth_of_members}"),
        );
    }
    Ok(())
}

/// Checks a page of members and returns the growth that their documents give.
async fn verify_page(
    tx: &mut Tx<'_>,
    page: &[MemberId],
    checked: &mut OrdersVerification,
    report: &mut VerifyReport,
) -> Result<i128, OrdersError> {
    let mut references = HashMap::new();
    for posting in huika_ledger::posting_references(tx, page, &POSTINGS).await? {
        if let Some(other) =
            references.insert((posting.member_id, posting.reference.clone()), posting.posting_id)
        {
            report.find(
                format!("ledger_posting {} {}", posting.member_id, posting.posting_id),
                format!("{} was posted twice, also by {other}", posting.reference),
            );
        }
    }
    let mut growth_of_page: i128 = 0;
    let mut spent: HashMap<MemberId, i64> = page.iter().map(|member_id| (*member_id, 0)).collect();
    let mut moved = HashMap::new();
    for asset in [Asset::Points, Asset::Growth] {
        for (member_id, posting_id, change) in huika_ledger::posted_changes(tx, page, asset).await? {
            moved.insert((asset, member_id, posting_id), change);
        }
    }
    for document in store::documents_of(tx, page).await? {
        checked.documents += 1;
        growth_of_page += i128::from(document.growth);
        *spent.entry(document.member_id).or_default() += document.spend_minor;
        let reference = reference_of(document.document, document.document_id);
        if let Some(posting_id) = document.posting_id {
            let of = |asset| {
                let known = moved.get(&(asset, document.member_id, posting_id));
                known.copied().unwrap_or(0)
            };
            let (moved, grown) = (of(Asset::Points), of(Asset::Growth));
            // A refund takes no more than it wanted back: what had expired or was forgiven is not moved.
            let right = if document.points >= 0 {
                moved == document.points
            } else {
                (document.points..=0).contains(&moved)
            };
            if !right {
                report.find(
                    format!("{reference} of {}", document.member_id),
                    format!("it says {} points, its posting moved {moved}", document.points),
                );
            }
            if grown != document.growth {
                report.find(
                    format!("{reference} of {}", document.member_id),
                    format!(
                        "it says a growth of {}, its posting moved {grown}",
                        document.growth
                    ),
                );
            }
        }
        let posted = references.remove(&(document.member_id, reference.clone()));
        if posted.is_none() || posted != document.posting_id {
            report.find(
                format!("{} of {}", reference, document.member_id),
                "its posting is missing or another one",
            );
        }
    }
    for ((member_id, reference), posting_id) in references {
        report.find(
            format!("ledger_posting {member_id} {posting_id}"),
            format!("there is no document {reference}"),
        );
    }
    let counted = huika_loyalty::net_spend_of(tx, page).await?;
    for (member_id, net) in spent {
        let counted = counted.get(&member_id).copied().unwrap_or(0);
        if counted != net {
            report.find(
                format!("loyalty_activity {member_id}"),
                format!("a net spend of {counted} counts for the tier, purchases less refunds give {net}"),
            );
        }
    }
    Ok(growth_of_page)
}
