//! `verify` passes an honest ledger and names the row of a dishonest one.

use std::sync::Mutex;

use huika_core::MemberId;
use huika_db::{Params, params};
use huika_ledger::{
    Asset, Availability, CounterAccount, LedgerError, LotId, NegativePolicy, Operation, PostingId,
    VerifyFinding,
};

use crate::counter::{
    Counter, DAY, assert_proven, claw_back, command, earn, earn_later, earn_until, hold, reverse_earn,
    reverse_spend, spend,
};

/// A member with something of everything. Sequence 3 is pending value, 5 a spend out of two lots.
async fn busy(counter: &Counter) {
    let policy = NegativePolicy::GoNegative { limit: 500 };
    let earned = counter
        .done(vec![earn_until(100, counter.in_days(2)), earn(200)])
        .await
        .posting_id;
    counter
        .done(vec![earn_later(40, Availability::At(counter.in_days(1)))])
        .await;
    counter
        .done(vec![earn_later(
            7,
            Availability::OnEvent {
                event: "received".to_owned(),
                not_before: None,
            },
        )])
        .await;
    let spent = counter.done(vec![spend(120)]).await.posting_id;
    let held = counter.done(vec![hold(50, counter.in_days(3))]).await.entries[0]
        .hold_id
        .unwrap();
    counter.done(vec![hold(30, counter.in_days(30))]).await;
    counter.pass(2 * DAY);
    counter.done(vec![reverse_spend(spent, 110)]).await;
    counter.done(vec![reverse_earn(earned, 60, policy)]).await;
    counter.done(vec![Operation::VoidHold { hold_id: held }]).await;
    counter.done(vec![claw_back(400, policy)]).await;
    counter
        .done(vec![Operation::Release {
            event: "received".to_owned(),
        }])
        .await;
    counter.done(vec![earn(1_000)]).await;
    counter.assert_proven().await;
}

/// Alters rows behind the ledger's back, takes what verify finds, and undoes it.
async fn findings_after(counter: &Counter, sql: &str, params: Params) -> Vec<VerifyFinding> {
    let report = Mutex::new(None);
    let (report_of, sql_of, params) = (&report, sql, &params);
    let undone: Result<(), LedgerError> = counter
        .cx
        .db
        .run_tx("test.tamper", |tx| {
            let params = params.clone();
            Box::pin(async move {
                assert!(tx.execute(sql_of, params).await? > 0, "{sql_of} met no row");
                let report = huika_ledger::verify(tx, |_| {}).await?;
                *report_of.lock().unwrap() = Some(report);
                Err(LedgerError::Stopping)
            })
        })
        .await;
    assert!(matches!(undone, Err(LedgerError::Stopping)), "{sql}: {undone:?}");
    let report = report.into_inner().unwrap().unwrap();
    assert!(!report.is_clean(), "not found: {sql}");
    assert_eq!(report.findings as usize, report.first_findings.len());
    report.first_findings
}

/// After the alteration verify names this row.
async fn names(counter: &Counter, row: &str, sql: &str) {
    let findings = findings_after(counter, sql, params![]).await;
    assert!(
        findings.iter().any(|finding| finding.row == row),
        "{row} after {sql}: {findings:#?}"
    );
}

async fn largest(counter: &Counter, column: &str, of: &str) -> i64 {
    counter
        .cx
        .count(&format!("SELECT MAX({column}) AS n FROM {of}"))
        .await
}

huika_testing::db_test! { migrations = huika_ledger::migrations,

    async fn an_honest_ledger_is_proven(cx) {
        assert_proven(&cx).await;
        let counter = Counter::open(cx);
        busy(&counter).await;
        let report = counter.verify().await;
        assert!(report.is_clean(), "{report:#?}");
        assert_eq!((report.accounts, report.lots, report.holds), (1, 5, 2));
        assert!(report.postings >= 12 && report.entries >= 13, "{report:?}");
    }

    async fn the_members_of_every_page_are_met(cx) {
        let counter = Counter::open(cx);
        let posts = (1..=450).map(|amount| {
            counter.ledger.post(command(counter.cx.ids.next(), "key", counter.now(), vec![earn(amount)]))
        });
        for answer in futures::future::join_all(posts).await {
            answer.unwrap();
        }
        let report = counter.verify().await;
        assert!(report.is_clean(), "{report:#?}");
        assert_eq!((report.accounts, report.postings, report.entries, report.lots), (450, 450, 450, 450));
        // A balance is wrong by itself and by its lots; only the first findings are listed.
        let edit = "UPDATE ledger_account SET available = available + 1 WHERE available BETWEEN 448 AND 450";
        assert_eq!(findings_after(&counter, edit, params![]).await.len(), 6);
        counter.cx.execute("UPDATE ledger_account SET available = available + 1", params![]).await;
        let report = counter.verify().await;
        assert_eq!((report.findings, report.first_findings.len()), (900, 20));
    }

    async fn an_altered_account_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let account = format!("ledger_account {} points", counter.member_id);
        for column in ["available", "pending", "held", "lifetime_in", "lifetime_out", "sequence"] {
            let edit = format!("UPDATE ledger_account SET {column} = {column} + 1");
            let findings = findings_after(&counter, &edit, params![]).await;
            assert!(findings.iter().all(|finding| finding.row == account), "{findings:#?}");
            assert!(findings.iter().any(|finding| finding.problem.contains(column)), "{findings:#?}");
        }
        let findings = findings_after(&counter, "UPDATE ledger_account SET chain = ?", params![[7_u8; 32]]).await;
        assert_eq!(findings[0].row, account);
        // The open hold would lapse too late.
        names(&counter, &account, "UPDATE ledger_account SET next_change_at = next_change_at + 86400000000").await;

        // A member that has nothing else is met by what it left; otherwise by its other accounts.
        names(&counter, &format!("ledger_posting of {}", counter.member_id), "DELETE FROM ledger_account").await;
        let growth = Operation::Earn {
            asset: Asset::Growth,
            amount: 5,
            counter_account: CounterAccount::Issuance,
            availability: Availability::Now,
            expires_at: None,
        };
        counter.done(vec![growth]).await;
        names(&counter, &account, "DELETE FROM ledger_account WHERE asset = 1").await;
    }

    async fn an_altered_entry_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let entry = format!("ledger_entry {} points 5", counter.member_id);
        for change in [
            "available_change = available_change + 5",
            "pending_change = pending_change - 5",
            "held_change = held_change + 1",
            "shortfall = 9",
            "counter_account = 'top_up'",
            "kind = 'release'",
            "kind = 'nonsense'",
            "posting_id = posting_id + 1",
        ] {
            names(&counter, &entry, &format!("UPDATE ledger_entry SET {change} WHERE sequence = 5")).await;
        }
        let edit = "UPDATE ledger_entry SET chain = ? WHERE sequence = 5";
        assert_eq!(findings_after(&counter, edit, params![[0_u8; 32]]).await[0].row, entry);

        // One that is gone is named by its successor and its posting, the last one by its account.
        let findings = findings_after(&counter, "DELETE FROM ledger_entry WHERE sequence = 4", params![]).await;
        assert_eq!(findings[0].row, entry);
        assert!(findings[0].problem.contains("entry 4 is missing"), "{findings:#?}");
        assert!(findings.iter().any(|finding| finding.row.starts_with("ledger_posting")), "{findings:#?}");
        let last = largest(&counter, "sequence", "ledger_entry").await;
        let account = format!("ledger_account {} points", counter.member_id);
        names(&counter, &account, &format!("DELETE FROM ledger_entry WHERE sequence = {last}")).await;
    }

    async fn an_altered_posting_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let number = largest(&counter, "posting_id", "ledger_entry WHERE sequence = 5").await;
        let (posting, at) = (PostingId::from_i64(number), format!("WHERE posting_id = {number}"));
        let entry = format!("ledger_entry {} points 5", counter.member_id);
        for change in [
            "trace = '{}'",
            "trace = NULL",
            "reference = 'ord_0002'",
            "actor = 'staff:9'",
            "kind = 'other'",
            "idem_key = 'stolen'",
            "effective_at = effective_at - 1",
            "recorded_at = recorded_at - 1",
        ] {
            let edit = format!("UPDATE ledger_posting SET {change} {at}");
            let findings = findings_after(&counter, &edit, params![]).await;
            assert_eq!(findings[0].row, entry, "{change}");
            assert!(findings[0].problem.contains(&posting.to_string()), "{change}: {findings:#?}");
        }
        let edit = format!("UPDATE ledger_posting SET input_hash = ? {at}");
        assert_eq!(findings_after(&counter, &edit, params![[1_u8; 32]]).await[0].row, entry);
        names(&counter, &entry, &format!("DELETE FROM ledger_posting {at}")).await;

        // Invented ones, with and without an account.
        let columns = "kind, input_hash, reference, actor, effective_at, recorded_at, outcome, trace";
        let stranger: MemberId = counter.cx.ids.next();
        let invented = PostingId::from_i64(4_711);
        for (member_id, row) in [
            (counter.member_id, format!("ledger_posting {} {invented}", counter.member_id)),
            (stranger, format!("ledger_posting of {stranger}")),
        ] {
            let invent = format!(
                "INSERT INTO ledger_posting (member_id, posting_id, idem_key, {columns}) \
                 SELECT {}, 4711, 'invented', {columns} FROM ledger_posting {at}",
                member_id.as_i64()
            );
            names(&counter, &row, &invent).await;
        }
    }

    /// What a repeated command would be answered, and what a later refund would go by.
    async fn an_altered_answer_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let member_id = counter.member_id;
        for (kind, from, to, by_entry) in [
            ("spend", "\"available_change\":-120", "\"available_change\":-1", true),
            ("spend", "\"redemption\"", "\"payment\"", true),
            ("spend", ",100]", ",101]", false),
            ("hold", "\"available\":100,", "\"available\":900,", true),
            ("reverse_spend", "\"reversed\":110", "\"reversed\":1000", false),
            ("reverse_spend", "\"reversed\":110", "\"reversed\":1", false),
            ("reverse_earn", "\"reversed\":60", "\"reversed\":6", false),
            ("reverse_spend", ",90]", ",9]", false),
            ("earn", "\"lot_id\":\"lot_", "\"hold_id\":\"hld_", false),
        ] {
            let of = format!("ledger_entry WHERE kind = '{kind}' AND sequence < 14");
            let sequence = largest(&counter, "sequence", &of).await;
            let number = largest(&counter, "posting_id", &format!("ledger_entry WHERE sequence = {sequence}")).await;
            let row = if by_entry {
                format!("ledger_entry {member_id} points {sequence}")
            } else {
                format!("ledger_posting {member_id} {}", PostingId::from_i64(number))
            };
            let edit = format!(
                "UPDATE ledger_posting SET outcome = REPLACE(outcome, '{from}', '{to}') WHERE posting_id = {number}"
            );
            names(&counter, &row, &edit).await;
        }
    }

    async fn an_altered_lot_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let number = largest(&counter, "lot_id", "ledger_lot WHERE amount = 200").await;
        let (lot, at) = (LotId::from_i64(number), format!("WHERE lot_id = {number}"));
        let row = format!("ledger_lot {} {lot}", counter.member_id);
        for column in ["remaining", "held", "amount"] {
            names(&counter, &row, &format!("UPDATE ledger_lot SET {column} = {column} + 1 {at}")).await;
        }
        names(&counter, &row, &format!("UPDATE ledger_lot SET state = 3 {at}")).await;
        names(&counter, &row, &format!("DELETE FROM ledger_lot {at}")).await;
        names(&counter, &row, &format!("DELETE FROM ledger_lot_entry {at} AND remaining_change <> 0")).await;
        let edit = "UPDATE ledger_lot_entry SET remaining_change = remaining_change + 1";
        names(&counter, &row, &format!("{edit} {at} AND remaining_change <> 0")).await;

        // Two lots that exchange size and rest: every sum of the account stays.
        let until = counter.in_days(1);
        let earned = counter.done(vec![earn_until(80, until), earn(20)]).await;
        let exchange = "UPDATE ledger_lot SET amount = 100 - amount, remaining = 100 - remaining WHERE amount IN (20, 80)";
        names(&counter, &format!("ledger_posting {} {}", counter.member_id, earned.posting_id), exchange).await;
    }

    async fn an_altered_hold_or_link_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let account = format!("ledger_account {} points", counter.member_id);
        names(&counter, &account, "UPDATE ledger_hold SET lots = '[]' WHERE state = 1").await;
        names(&counter, &account, "UPDATE ledger_hold SET state = 2 WHERE state = 1").await;
        names(&counter, &account, "DELETE FROM ledger_hold WHERE state = 1").await;
        names(&counter, &account, "UPDATE ledger_hold SET lapses_at = 5 WHERE state = 1").await;
        // Without the link of a refund to its source a second one would be possible.
        let findings = findings_after(&counter, "DELETE FROM ledger_reversal", params![]).await;
        assert!(findings.iter().all(|finding| finding.row.starts_with("ledger_reversal")), "{findings:#?}");
        assert_eq!(findings.len(), 2);
    }
}
