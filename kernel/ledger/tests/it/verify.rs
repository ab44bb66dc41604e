//! `verify` passes an honest ledger and names the row of a dishonest one.

use huika_db::params;
use huika_ledger::{Availability, NegativePolicy, Operation};

use crate::counter::{
    Counter, DAY, claw_back, earn, earn_later, earn_until, hold, reverse_earn, reverse_spend, spend,
};

/// A member with something of everything.
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
}

/// Alters rows behind the ledger's back, and tells what verify then finds: rows and problems.
async fn findings_after(counter: &Counter, sql: &str) -> Vec<(String, String)> {
    counter.assert_proven().await;
    let met = counter.cx.execute(sql, params![]).await;
    assert!(met > 0, "{sql} met no row");
    let report = counter.verify().await;
    assert!(!report.is_clean(), "not found: {sql}");
    assert_eq!(report.findings as usize, report.first_findings.len());
    report
        .first_findings
        .into_iter()
        .map(|finding| (finding.row, finding.problem))
        .collect()
}

fn names(findings: &[(String, String)], row: &str) -> bool {
    findings.iter().any(|(found, _)| found == row)
}

async fn largest(counter: &Counter, column: &str, of: &str) -> i64 {
    counter
        .cx
        .count(&format!("SELECT MAX({column}) AS n FROM {of}"))
        .await
}

huika_testing::db_test! { migrations = huika_ledger::migrations,

    async fn an_honest_ledger_is_proven(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let report = counter.verify().await;
        assert!(report.is_clean(), "{report:#?}");
        assert_eq!((report.accounts, report.lots, report.holds), (1, 5, 2));
        assert!(report.postings >= 12 && report.entries >= 13, "{report:?}");
    }

    async fn an_empty_ledger_is_proven(cx) {
        let counter = Counter::open(cx);
        counter.assert_proven().await;
    }

    async fn pages_of_many_members_are_all_met(cx) {
        let counter = Counter::open(cx);
        let commands = (0..450).map(|number| {
            let command = crate::counter::command(
                counter.cx.ids.next(),
                "key",
                counter.now(),
                vec![earn(1 + number)],
            );
            counter.ledger.post(command)
        });
        for answer in futures::future::join_all(commands).await {
            answer.unwrap();
        }
        let report = counter.verify().await;
        assert!(report.is_clean(), "{report:#?}");
        assert_eq!((report.accounts, report.postings, report.entries, report.lots), (450, 450, 450, 450));
        counter.cx.execute("UPDATE ledger_account SET available = available + 1 WHERE available = 450", params![]).await;
        assert!(!counter.verify().await.is_clean());
    }

    async fn an_edited_balance_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let account = format!("ledger_account {} points", counter.member_id);
        for column in ["available", "pending", "held", "lifetime_in", "lifetime_out"] {
            let found = findings_after(&counter, &format!("UPDATE ledger_account SET {column} = {column} + 1")).await;
            assert!(found.iter().all(|(row, _)| *row == account), "{found:?}");
            assert!(found.iter().any(|(_, problem)| problem.contains(column)), "{found:?}");
            counter.cx.execute(&format!("UPDATE ledger_account SET {column} = {column} - 1"), params![]).await;
        }
    }

    async fn an_edited_sequence_or_chain_of_an_account_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let account = format!("ledger_account {} points", counter.member_id);
        let found = findings_after(&counter, "UPDATE ledger_account SET sequence = sequence + 1").await;
        assert!(names(&found, &account), "{found:?}");
        counter.cx.execute("UPDATE ledger_account SET sequence = sequence - 1", params![]).await;
        counter.assert_proven().await;
        counter.cx.execute("UPDATE ledger_account SET chain = ?", params![[7_u8; 32]]).await;
        let report = counter.verify().await;
        assert_eq!(report.first_findings[0].row, account);
    }

    async fn an_account_that_would_wake_too_late_is_named(cx) {
        let counter = Counter::open(cx);
        counter.done(vec![earn(10)]).await;
        counter.done(vec![hold(10, counter.in_days(3))]).await;
        let found = findings_after(&counter, "UPDATE ledger_account SET next_change_at = next_change_at + 1").await;
        assert!(names(&found, &format!("ledger_account {} points", counter.member_id)), "{found:?}");
    }

    async fn an_edited_entry_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let entry = format!("ledger_entry {} points 3", counter.member_id);
        for change in [
            "available_change = available_change + 5",
            "pending_change = pending_change - 5",
            "held_change = held_change + 1",
            "shortfall = 9",
            "counter_account = 'top_up'",
            "kind = 'release'",
            "kind = 'nonsense'",
        ] {
            let row = format!("UPDATE ledger_entry SET {change} WHERE sequence = 3");
            let columns = "kind, counter_account, available_change, pending_change, held_change, shortfall";
            let before = counter.cx.fetch_all(&format!("SELECT {columns} FROM ledger_entry WHERE sequence = 3")).await;
            let found = findings_after(&counter, &row).await;
            assert!(names(&found, &entry), "{change}: {found:?}");
            let before = &before[0];
            counter
                .cx
                .execute(
                    "UPDATE ledger_entry SET kind = ?, counter_account = ?, available_change = ?, \
                     pending_change = ?, held_change = ?, shortfall = ? WHERE sequence = 3",
                    params![
                        before.get::<String>("kind").unwrap(),
                        before.get::<String>("counter_account").unwrap(),
                        before.get::<i64>("available_change").unwrap(),
                        before.get::<i64>("pending_change").unwrap(),
                        before.get::<i64>("held_change").unwrap(),
                        before.get::<i64>("shortfall").unwrap(),
                    ],
                )
                .await;
        }
    }

    async fn an_edited_chain_of_an_entry_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let met = counter.cx.execute("UPDATE ledger_entry SET chain = ? WHERE sequence = 3", params![[0_u8; 32]]).await;
        assert_eq!(met, 1);
        let report = counter.verify().await;
        assert_eq!(report.first_findings[0].row, format!("ledger_entry {} points 3", counter.member_id));
    }

    async fn a_deleted_entry_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let found = findings_after(&counter, "DELETE FROM ledger_entry WHERE sequence = 3").await;
        // By its successor and by its posting.
        assert_eq!(found[0].0, format!("ledger_entry {} points 4", counter.member_id));
        assert!(found[0].1.contains("entry 3 is missing"), "{found:?}");
        assert!(found.iter().any(|(row, _)| row.starts_with("ledger_posting")), "{found:?}");
    }

    async fn a_deleted_last_entry_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let last = largest(&counter, "sequence", "ledger_entry").await;
        let found = findings_after(&counter, &format!("DELETE FROM ledger_entry WHERE sequence = {last}")).await;
        assert!(names(&found, &format!("ledger_account {} points", counter.member_id)), "{found:?}");
    }

    async fn an_edited_posting_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let posting_id = largest(&counter, "posting_id", "ledger_entry WHERE sequence = 3").await;
        let posting = huika_ledger::PostingId::from_i64(posting_id);
        for (column, edited) in [
            ("trace", "'{}'"),
            ("reference", "'ord_0002'"),
            ("actor", "'staff:9'"),
            ("kind", "'other'"),
            ("idem_key", "'stolen'"),
            ("effective_at", "1"),
            ("recorded_at", "1"),
        ] {
            let sql = format!("SELECT {column} FROM ledger_posting WHERE posting_id = {posting_id}");
            let before = counter.cx.fetch_all(&sql).await;
            let at = format!("WHERE posting_id = {posting_id}");
            let found = findings_after(&counter, &format!("UPDATE ledger_posting SET {column} = {edited} {at}")).await;
            let named = format!("ledger_entry {} points 3", counter.member_id);
            assert_eq!(found[0].0, named, "{column}");
            assert!(found[0].1.contains(&posting.to_string()), "{column}: {found:?}");
            let restored = match before[0].get::<String>(column) {
                Ok(text) => params![text],
                Err(_) => params![before[0].get::<i64>(column).unwrap()],
            };
            counter.cx.execute(&format!("UPDATE ledger_posting SET {column} = ? {at}"), restored).await;
        }
    }

    /// What a repeated command would be answered, and what a later refund would go by.
    async fn an_edited_answer_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        for (kind, from, to) in [
            ("spend", "\"available_change\":-120", "\"available_change\":-1"),
            ("spend", ",100]", ",101]"),
            ("earn", "\"available\":100,", "\"available\":900,"),
            ("reverse_spend", "\"reversed\":110", "\"reversed\":1000"),
        ] {
            let posting_id =
                largest(&counter, "posting_id", &format!("ledger_entry WHERE kind = '{kind}' AND sequence < 10")).await;
            let at = format!("WHERE posting_id = {posting_id}");
            let edit = |from: &str, to: &str| {
                format!("UPDATE ledger_posting SET outcome = REPLACE(outcome, '{from}', '{to}') {at}")
            };
            let found = findings_after(&counter, &edit(from, to)).await;
            assert!(!found.is_empty());
            counter.cx.execute(&edit(to, from), params![]).await;
        }
        counter.assert_proven().await;
    }

    async fn a_deleted_posting_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let posting_id = largest(&counter, "posting_id", "ledger_entry WHERE sequence = 3").await;
        let found = findings_after(&counter, &format!("DELETE FROM ledger_posting WHERE posting_id = {posting_id}")).await;
        assert_eq!(found[0].0, format!("ledger_entry {} points 3", counter.member_id));
        assert!(found[0].1.contains("is missing"), "{found:?}");
    }

    async fn an_invented_posting_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let columns = "kind, input_hash, reference, actor, effective_at, recorded_at, outcome, trace";
        let invent = format!(
            "INSERT INTO ledger_posting (member_id, posting_id, idem_key, {columns}) \
             SELECT member_id, 4711, 'invented', {columns} FROM ledger_posting WHERE idem_key = 'key-0'"
        );
        let found = findings_after(&counter, &invent).await;
        let posting = huika_ledger::PostingId::from_i64(4_711);
        assert!(names(&found, &format!("ledger_posting {} {posting}", counter.member_id)), "{found:?}");
    }

    async fn an_invented_posting_of_a_member_without_an_account_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let stranger: huika_core::MemberId = counter.cx.ids.next();
        let columns = "posting_id, idem_key, kind, input_hash, reference, actor, effective_at, recorded_at, outcome, trace";
        let invent = format!(
            "INSERT INTO ledger_posting (member_id, {columns}) \
             SELECT {}, {columns} FROM ledger_posting WHERE idem_key = 'key-0'",
            stranger.as_i64()
        );
        let found = findings_after(&counter, &invent).await;
        assert!(names(&found, &format!("ledger_posting of {stranger}")), "{found:?}");
    }

    async fn an_edited_lot_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let lot_id = largest(&counter, "lot_id", "ledger_lot WHERE remaining > 10").await;
        let lot = format!("ledger_lot {} {}", counter.member_id, huika_ledger::LotId::from_i64(lot_id));
        for column in ["remaining", "held", "amount"] {
            let edit = |by: i64| format!("UPDATE ledger_lot SET {column} = {column} + {by} WHERE lot_id = {lot_id}");
            let found = findings_after(&counter, &edit(1)).await;
            assert!(names(&found, &lot), "{column}: {found:?}");
            counter.cx.execute(&edit(-1), params![]).await;
        }
        counter.assert_proven().await;
        let found = findings_after(&counter, &format!("UPDATE ledger_lot SET state = 3 WHERE lot_id = {lot_id}")).await;
        assert!(names(&found, &lot), "{found:?}");
    }

    /// Size and rest of two lots exchanged: every sum of the account stays.
    async fn value_moved_from_one_lot_to_another_is_named(cx) {
        let counter = Counter::open(cx);
        counter.done(vec![earn_until(100, counter.in_days(1)), earn(10)]).await;
        let (small, large) = (
            largest(&counter, "lot_id", "ledger_lot WHERE amount = 10").await,
            largest(&counter, "lot_id", "ledger_lot WHERE amount = 100").await,
        );
        counter.cx.execute(&format!("UPDATE ledger_lot SET amount = 20, remaining = 20 WHERE lot_id = {large}"), params![]).await;
        counter.cx.execute(&format!("UPDATE ledger_lot SET amount = 90, remaining = 90 WHERE lot_id = {small}"), params![]).await;
        let report = counter.verify().await;
        assert!(!report.is_clean());
    }

    async fn a_deleted_lot_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let lot_id = largest(&counter, "lot_id", "ledger_lot WHERE amount = 200").await;
        let found = findings_after(&counter, &format!("DELETE FROM ledger_lot WHERE lot_id = {lot_id}")).await;
        let lot = format!("ledger_lot {} {}", counter.member_id, huika_ledger::LotId::from_i64(lot_id));
        assert!(names(&found, &lot), "{found:?}");
    }

    async fn an_edited_or_deleted_lot_entry_names_its_lot(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let lot_id = largest(&counter, "lot_id", "ledger_lot WHERE amount = 200").await;
        let lot = format!("ledger_lot {} {}", counter.member_id, huika_ledger::LotId::from_i64(lot_id));
        let edit = |by: i64| {
            format!(
                "UPDATE ledger_lot_entry SET remaining_change = remaining_change + {by} \
                 WHERE lot_id = {lot_id} AND remaining_change <> 0"
            )
        };
        let found = findings_after(&counter, &edit(1)).await;
        assert!(names(&found, &lot), "{found:?}");
        counter.cx.execute(&edit(-1), params![]).await;
        let delete = format!("DELETE FROM ledger_lot_entry WHERE lot_id = {lot_id} AND remaining_change <> 0");
        let found = findings_after(&counter, &delete).await;
        assert!(names(&found, &lot), "{found:?}");
    }

    async fn a_removed_or_edited_hold_is_named_by_its_account(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let account = format!("ledger_account {} points", counter.member_id);
        let found = findings_after(&counter, "UPDATE ledger_hold SET lots = '[]' WHERE state = 1").await;
        assert!(names(&found, &account), "{found:?}");
        let found = counter.cx.execute("DELETE FROM ledger_hold WHERE state = 1", params![]).await;
        assert_eq!(found, 1);
        let report = counter.verify().await;
        assert!(report.first_findings.iter().any(|finding| finding.row == account), "{report:#?}");
    }

    /// Without the link a second refund would be possible.
    async fn a_deleted_reversal_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let found = findings_after(&counter, "DELETE FROM ledger_reversal").await;
        assert!(found.iter().all(|(row, _)| row.starts_with("ledger_reversal")), "{found:?}");
        assert_eq!(found.len(), 2);
    }

    async fn a_deleted_account_is_named(cx) {
        let counter = Counter::open(cx);
        busy(&counter).await;
        let growth = Operation::Earn {
            asset: huika_ledger::Asset::Growth,
            amount: 5,
            counter_account: huika_ledger::CounterAccount::Issuance,
            availability: Availability::Now,
            expires_at: None,
        };
        counter.done(vec![growth]).await;
        // One of two, then the other.
        let found = findings_after(&counter, "DELETE FROM ledger_account WHERE asset = 1").await;
        assert!(names(&found, &format!("ledger_account {} points", counter.member_id)), "{found:?}");
        counter.cx.execute("DELETE FROM ledger_account", params![]).await;
        let report = counter.verify().await;
        let orphan = format!("ledger_posting of {}", counter.member_id);
        assert!(report.first_findings.iter().any(|finding| finding.row == orphan), "{report:#?}");
    }
}
