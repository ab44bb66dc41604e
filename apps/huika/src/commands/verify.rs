//! `huika verify`: recompute every balance, on one snapshot of the whole database.

use std::process::ExitCode;

use huika_core::Bilingual;
use huika_db::{
    Db,
    audit::{AuditVerification, verify_audit_in_tx},
};
use huika_ledger::VerifyReport;
use huika_loyalty::{Loyalty, LoyaltyVerification};
use huika_orders::{Orders, OrdersError, OrdersVerification};
use serde_json::json;

use super::Context;
use crate::{
    compose::Migrate,
    error::{CommandError, Failure},
};

pub(crate) async fn run(context: Context) -> Result<ExitCode, Failure> {
    let db = context.database(Migrate::Refuse).await?;
    let progress = context.output.progress(
        &context.clock,
        Bilingual::new("核验账户", "Verifying accounts"),
        None,
    );
    let (ledger, loyalty, orders, audit) = whole(&db, |accounts| progress.at(accounts)).await?;
    progress.finish();
    db.close().await;

    let clean = ledger.is_clean();
    if !clean && !context.output.json {
        for finding in &ledger.first_findings {
            crate::output::print(&format!("{}: {}", finding.row, finding.problem));
        }
    }
    let words = figures(&ledger, &loyalty, &orders, &audit);
    context.output.result(
        &json!({ "clean": clean, "ledger": ledger, "loyalty": loyalty, "orders": orders, "audit": audit }),
        &words,
    );
    if clean {
        return Ok(ExitCode::SUCCESS);
    }
    if !context.output.json {
        context.output.failure(
            &CommandError::NotClean {
                findings: ledger.findings,
            }
            .into(),
        );
    }
    Ok(ExitCode::FAILURE)
}

/// What was checked, in words.
pub(crate) fn figures(
    ledger: &VerifyReport,
    loyalty: &LoyaltyVerification,
    orders: &OrdersVerification,
    audit: &AuditVerification,
) -> Bilingual {
    let clean = ledger.is_clean();
    let figures = (
        ledger.accounts,
        ledger.postings,
        ledger.entries,
        ledger.lots,
        ledger.holds,
        loyalty.tier_changes,
        orders.documents,
    );
    let (accounts, postings, entries, lots, holds, tier_changes, documents) = figures;
    let (digest, sealed, waiting, audit_digest) =
        (&ledger.digest, audit.sealed, audit.waiting, &audit.digest);
    Bilingual::new(
        format!(
            "已核验：账户 {accounts}、记账 {postings}、分录 {entries}、批次 {lots}、预占 {holds}、等级变更 {tier_changes}、单据 {documents}。历史摘要 {digest}。审计日志 {sealed} 条已封存、{waiting} 条待封存，摘要 {audit_digest}。{}",
            if clean {
                "账目相符。"
            } else {
                "账目不符。"
            }
        ),
        format!(
            "Verified {accounts} accounts, {postings} postings, {entries} entries, {lots} lots, {holds} holds, \
             {tier_changes} changes of tier, {documents} documents. Digest of the history: {digest}. Audit log: {sealed} entries sealed, {waiting} \
             waiting, digest {audit_digest}. {}",
            if clean {
                "Everything adds up."
            } else {
                "Not everything adds up."
            }
        ),
    )
}

/// Checks everything that is stored, on one snapshot. `on_accounts` is told how many accounts were checked.
pub(crate) async fn whole(
    db: &Db,
    on_accounts: impl FnMut(u64) + Send,
) -> Result<
    (
        VerifyReport,
        LoyaltyVerification,
        OrdersVerification,
        AuditVerification,
    ),
    Failure,
> {
    let verified = db.run_snapshot(|tx| {
        Box::pin(async move {
            let mut report = huika_ledger::verify_in_tx(tx, on_accounts).await?;
            let loyalty = Loyalty::verify_in_tx(tx, &mut report).await?;
            let orders = match Orders::verify_in_tx(tx, &mut report).await {
                // Rows that the ledger has named already may fit into no sum and keep the documents from being
                // checked; that must not hide what was found.
                Err(error) if !report.is_clean() => {
                    report.find(
                        "orders_purchase ?",
                        format!("documents were not checked: {error}"),
                    );
                    OrdersVerification::default()
                }
                checked => checked?,
            };
            let audit = verify_audit_in_tx(tx).await?;
            for finding in &audit.first_findings {
                report.find(finding.row.clone(), finding.problem);
            }
            // What the audit log has not named is counted all the same.
            report.findings += audit.findings - audit.first_findings.len() as u64;
            Ok::<_, OrdersError>((report, loyalty, orders, audit))
        })
    });
    Ok(verified.await?)
}
