//! `verify` passes an honest ledger and names the row of a dishonest one.

use std::sync::Mutex;

use huika_core::MemberId;
use huika_db::{Params, params};
use huika_ledger::{
    Asset, Availability, CounterAccount, HoldId, LedgerError, LotId, NegativePolicy, Operation, PostingId,
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
                let report = huika_ledger::verify_in_tx(tx, |_| {}).await?;
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
        // Only the first findings are listed.
        let edit = "UPDATE ledger_account SET available = available + 1 WHERE available BETWEEN 448 AND 450";
        assert_eq!(findings_after(&counter, edit, params![]).await.len(), 3);
        counter.cx.execute("UPDATE ledger_account SET available = available + 1", params![]).await;
        let report = counter.verify().await;
        assert_eq!((report.findings, report.first_findings.len()), (450, 20));
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

    /// What a repeated command would be answered, and what a later refund would go by: each part is in the chain.
    async fn an_altered_answer_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let member_id = counter.member_id;
        for (kind, from, to) in [
            ("spend", "\"available_change\":-120", "\"available_change\":-1"),
            ("spend", "\"redemption\"", "\"payment\""),
            ("spend", ",100]", ",101]"),
            // What was spent lies in other lots: a refund would go there.
            ("spend", ",100],", ",20],"),
            ("hold", "\"available\":100,", "\"available\":900,"),
            ("hold", "\"lapses_at\":1", "\"lapses_at\":2"),
            ("reverse_spend", "\"reversed\":110", "\"reversed\":1000"),
            ("reverse_spend", "\"reversed\":110", "\"reversed\":1"),
            ("reverse_earn", "\"reversed\":60", "\"reversed\":6"),
            ("reverse_spend", ",90]", ",9]"),
            ("claw_back", "\"limit\":500", "\"limit\":501"),
            ("earn", "\"lot_id\":\"lot_", "\"hold_id\":\"hld_"),
            ("earn", "\"event\":\"received\"", "\"event\":\"returned\""),
            ("earn", "\"expires_at\":1", "\"expires_at\":2"),
            ("earn", "\"available_at\":1", "\"available_at\":2"),
            ("earn", "}]", "}, 7]"),
            ("earn", "[{", "{"),
        ] {
            let of = format!(
                "ledger_entry e JOIN ledger_posting p ON p.posting_id = e.posting_id \
                 WHERE e.kind = '{kind}' AND p.outcome LIKE '%{from}%'"
            );
            let sequence = largest(&counter, "e.sequence", &of).await;
            let number = largest(&counter, "posting_id", &format!("ledger_entry WHERE sequence = {sequence}")).await;
            let posting = PostingId::from_i64(number);
            let edit = format!(
                "UPDATE ledger_posting SET outcome = REPLACE(outcome, '{from}', '{to}') WHERE posting_id = {number}"
            );
            let findings = findings_after(&counter, &edit, params![]).await;
            if ["}]", "[{"].contains(&from) {
                assert_eq!(findings[0].row, format!("ledger_posting {member_id} {posting}"), "{edit}");
            } else {
                let entry = format!("ledger_entry {member_id} points ");
                let named = findings.iter().find(|finding| finding.problem.contains(&format!("posting {posting} was altered")));
                assert!(named.is_some_and(|finding| finding.row.starts_with(&entry)), "{edit}: {findings:#?}");
            }
        }
    }

    async fn an_altered_lot_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let number = largest(&counter, "lot_id", "ledger_lot WHERE amount = 200").await;
        let (lot, at) = (LotId::from_i64(number), format!("WHERE lot_id = {number}"));
        let row = format!("ledger_lot {} {lot}", counter.member_id);
        for change in [
            "remaining = remaining + 1",
            "held = held + 1",
            "amount = amount + 1",
            "expired = expired + 1",
            "state = 3",
            "asset = 2",
            "posting_id = posting_id + 1",
            "available_at = 5",
            "release_event = 'received'",
            "expires_at = 253370764800000",
        ] {
            names(&counter, &row, &format!("UPDATE ledger_lot SET {change} {at}")).await;
        }
        names(&counter, &row, &format!("DELETE FROM ledger_lot {at}")).await;

        // Points that live for ever, and those that expired and are owed again.
        let number = largest(&counter, "lot_id", "ledger_lot WHERE expires_at IS NOT NULL").await;
        let row = format!("ledger_lot {} {}", counter.member_id, LotId::from_i64(number));
        for change in ["expires_at = expires_at + 1", "expires_at = NULL", "expired = 0"] {
            names(&counter, &row, &format!("UPDATE ledger_lot SET {change} WHERE lot_id = {number}")).await;
        }

        // Two lots that exchange size and rest: every sum of the account stays.
        counter.done(vec![earn_until(80, counter.in_days(1)), earn(20)]).await;
        let number = largest(&counter, "lot_id", "ledger_lot WHERE amount = 20").await;
        let exchange = "UPDATE ledger_lot SET amount = 100 - amount, remaining = 100 - remaining WHERE amount IN (20, 80)";
        names(&counter, &format!("ledger_lot {} {}", counter.member_id, LotId::from_i64(number)), exchange).await;

        // One that nothing made.
        let columns = "member_id, asset, posting_id, amount, remaining, held, expired, state";
        let invent = format!("INSERT INTO ledger_lot (lot_id, {columns}) SELECT 4711, {columns} FROM ledger_lot {at}");
        names(&counter, &format!("ledger_lot {} {}", counter.member_id, LotId::from_i64(4_711)), &invent).await;
    }

    async fn an_altered_lot_entry_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let lot = largest(&counter, "lot_id", "ledger_lot WHERE amount = 200").await;
        let of = format!("ledger_lot_entry WHERE lot_id = {lot} AND remaining_change <> 0");
        let posting = largest(&counter, "posting_id", &of).await;
        let row = format!(
            "ledger_lot_entry {} {} {}",
            counter.member_id,
            PostingId::from_i64(posting),
            LotId::from_i64(lot)
        );
        let at = format!("WHERE lot_id = {lot} AND posting_id = {posting}");
        names(&counter, &row, &format!("DELETE FROM ledger_lot_entry {at}")).await;
        for change in ["remaining_change = remaining_change + 1", "held_change = held_change + 5"] {
            names(&counter, &row, &format!("UPDATE ledger_lot_entry SET {change} {at}")).await;
        }
        // Two postings that exchange what they did to the lot: its sums stay.
        let other = format!("SELECT MIN(posting_id) AS n FROM {of}");
        let other = counter.cx.count(&other).await;
        assert_ne!(other, posting);
        let exchange = format!(
            "UPDATE ledger_lot_entry SET remaining_change = remaining_change + CASE posting_id WHEN {posting} THEN 1 ELSE -1 END \
             WHERE lot_id = {lot} AND posting_id IN ({posting}, {other})"
        );
        names(&counter, &row, &exchange).await;
    }

    async fn an_altered_hold_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let number = largest(&counter, "hold_id", "ledger_hold WHERE state = 1").await;
        let row = format!("ledger_hold {} {}", counter.member_id, HoldId::from_i64(number));
        let lot = largest(&counter, "lot_id", "ledger_lot").await;
        let elsewhere = format!("lots = '[[{lot},30]]'");
        for change in [
            "lots = '[]'",
            &elsewhere,
            "state = 2",
            "lapses_at = 5",
            "lapses_at = lapses_at + 86400000",
            "amount = amount + 1",
            "asset = 2",
        ] {
            names(&counter, &row, &format!("UPDATE ledger_hold SET {change} WHERE state = 1")).await;
        }
        names(&counter, &row, "DELETE FROM ledger_hold WHERE state = 1").await;
        let closed = largest(&counter, "hold_id", "ledger_hold WHERE state = 2").await;
        let row = format!("ledger_hold {} {}", counter.member_id, HoldId::from_i64(closed));
        names(&counter, &row, "UPDATE ledger_hold SET state = 1 WHERE state = 2").await;
    }

    async fn an_altered_link_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        // Without the link of a refund to its source a second one would be possible.
        let findings = findings_after(&counter, "DELETE FROM ledger_reversal", params![]).await;
        assert!(findings.iter().all(|finding| finding.row.starts_with("ledger_reversal")), "{findings:#?}");
        assert_eq!(findings.len(), 2);
        let turned = "UPDATE ledger_reversal SET source_posting_id = posting_id";
        assert_eq!(findings_after(&counter, turned, params![]).await.len(), 4);
    }

    /// A row that cannot even be read is named, and the rest is checked all the same.
    async fn a_row_that_cannot_be_read_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let member_id = counter.member_id;
        let posting = largest(&counter, "posting_id", "ledger_entry WHERE sequence = 5").await;
        let lot = largest(&counter, "lot_id", "ledger_lot").await;
        let hold = largest(&counter, "hold_id", "ledger_hold").await;
        let (of_posting, of_lot) = (PostingId::from_i64(posting), LotId::from_i64(lot));
        for (row, table, change, at) in [
            (format!("ledger_posting {member_id} {of_posting}"), "posting", "outcome = 'no json'", format!("posting_id = {posting}")),
            (format!("ledger_posting {member_id} {of_posting}"), "posting", "input_hash = ?", format!("posting_id = {posting}")),
            (format!("ledger_lot {member_id} {of_lot}"), "lot", "state = 7", format!("lot_id = {lot}")),
            (format!("ledger_lot {member_id} {of_lot}"), "lot", "asset = 99", format!("lot_id = {lot}")),
            (format!("ledger_hold {member_id} {}", HoldId::from_i64(hold)), "hold", "lots = '{'", format!("hold_id = {hold}")),
            (format!("ledger_hold {member_id} {}", HoldId::from_i64(hold)), "hold", "state = 7", format!("hold_id = {hold}")),
            (format!("ledger_account {member_id} ?"), "account", "asset = 99", "asset = 1".to_owned()),
            (format!("ledger_account {member_id} points"), "account", "chain = ?", "asset = 1".to_owned()),
            (format!("ledger_entry {member_id} points 5"), "entry", "chain = ?", "sequence = 5".to_owned()),
            (format!("ledger_entry {member_id} ?"), "entry", "asset = 99", "sequence = 5".to_owned()),
        ] {
            let edit = format!("UPDATE ledger_{table} SET {change} WHERE {at}");
            let params = if change.contains('?') { params![vec![7_u8; 31]] } else { params![] };
            let findings = findings_after(&counter, &edit, params).await;
            assert!(findings.iter().any(|finding| finding.row == row), "{row} after {edit}: {findings:#?}");
        }
        // Sums of such numbers fit into no column.
        let most = i64::MAX;
        let account = format!("ledger_account {member_id} points");
        for column in ["available", "pending", "held", "lifetime_in"] {
            names(&counter, &account, &format!("UPDATE ledger_account SET {column} = {most}")).await;
        }
        let entry = format!("ledger_entry {member_id} points 5");
        for column in ["available_change", "pending_change", "held_change"] {
            names(&counter, &entry, &format!("UPDATE ledger_entry SET {column} = {most}")).await;
        }
        let row = format!("ledger_lot {member_id} {of_lot}");
        names(&counter, &row, &format!("UPDATE ledger_lot SET remaining = {most}, held = -{most}")).await;
        let edit = format!("UPDATE ledger_lot_entry SET remaining_change = {most}");
        assert!(findings_after(&counter, &edit, params![]).await.len() > 1);
    }

    /// The ends of all chains in one number, to be kept elsewhere.
    async fn the_digest_changes_with_every_posting_and_only_then(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let digest = counter.verify().await.digest;
        assert_eq!((digest.len(), &digest), (64, &counter.verify().await.digest));
        counter.done(vec![earn(1)]).await;
        assert_ne!(counter.verify().await.digest, digest);
    }
}
