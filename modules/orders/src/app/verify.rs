//! Proving that documents and postings tell the same story.

use std::collections::HashMap;

use huika_core::MemberId;
use huika_db::Tx;
use huika_ledger::{Asset, CounterAccount, PostingId, VerifyReport};
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

/// Members without any document are on no page: if theirs were wiped out, the growth of all tells.
async fn verify_whole(
    tx: &mut Tx<'_>,
    growth_of_members: i128,
    report: &mut VerifyReport,
) -> Result<(), OrdersError> {
    // Purchases and refunds alone issue growth.
    let issued: i128 = huika_ledger::counter_totals(tx)
        .await?
        .into_iter()
        .filter(|(asset, counter_account, _)| {
            *asset == Asset::Growth && counter_account == CounterAccount::Issuance.name()
        })
        .map(|(_, _, total)| i128::from(total))
        .sum();
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
    for posting in huika_ledger::posting_references(tx, page, &["purchase", "refund"]).await? {
        if let Some(other) =
            references.insert((posting.member_id, posting.reference.clone()), posting.posting_id)
        {
            report.find(
                format!("ledger_posting {} {}", posting.member_id, posting.posting_id),
                format!("{} was posted twice, also by {other}", posting.reference),
            );
        }
    }
    let mut net: HashMap<MemberId, i64> = HashMap::new();
    let moved: HashMap<(MemberId, PostingId), i64> = huika_ledger::posted_changes(tx, page, Asset::Points)
        .await?
        .into_iter()
        .map(|(member_id, posting_id, moved)| ((member_id, posting_id), moved))
        .collect();
    for document in store::documents_of(tx, page).await? {
        checked.documents += 1;
        *net.entry(document.member_id).or_default() += document.growth;
        let reference = reference_of(document.document, document.document_id);
        if let Some(posting_id) = document.posting_id {
            let moved = moved.get(&(document.member_id, posting_id)).copied().unwrap_or(0);
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
    let growth: HashMap<MemberId, i64> = huika_ledger::stored_balances(tx, page, Asset::Growth)
        .await?
        .into_iter()
        .collect();
    for (member_id, net) in &net {
        let growth = growth.get(member_id).copied().unwrap_or(0);
        if growth != *net {
            report.find(
                format!("ledger_account {member_id} growth"),
                format!("growth is {growth}, purchases less refunds give {net}"),
            );
        }
    }
    Ok(net.into_values().map(i128::from).sum())
}
