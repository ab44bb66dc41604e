//! The baseline's accounts: as many members as Huika has, with the same lots.

use huika_core::MemberId;
use huika_db::{Db, DbError, dialect::Insert, params};

use crate::site::Opening;

/// Between two members, so that ten thousand of them lie over the whole range of ids as Huika's do. A product
/// below 2^63, because pgbench computes it too.
pub(crate) const STRIDE: i64 = 922_337_203_685_477;
const MEMBERS_PER_TX: usize = 100;
const NOW: i64 = 1_795_226_400_000;
const EXPIRES_AT: i64 = 1_830_268_800_000;

/// The members of the baseline as Huika writes their ids.
pub(crate) fn member_ids(count: usize) -> Vec<String> {
    (1..=count as i64)
        .map(|number| MemberId::from_i64(number * STRIDE).to_string())
        .collect()
}

/// Writes accounts, lots, postings and entries.
///
/// # Errors
/// When the database fails.
pub(crate) async fn fill(db: &Db, opening: &Opening) -> Result<(), DbError> {
    let numbers: Vec<i64> = (1..=opening.members as i64).collect();
    for numbers in numbers.chunks(MEMBERS_PER_TX) {
        db.run_tx("bench.fill", |tx| {
            Box::pin(async move {
                let mut rows = Rows::new();
                for number in numbers {
                    rows.push_member(*number, opening);
                }
                for insert in [rows.accounts, rows.postings, rows.entries, rows.lots] {
                    tx.insert(insert).await?;
                }
                Ok::<_, DbError>(())
            })
        })
        .await?;
    }
    Ok(())
}

struct Rows {
    accounts: Insert,
    postings: Insert,
    entries: Insert,
    lots: Insert,
}

impl Rows {
    fn new() -> Self {
        Self {
            accounts: Insert::into_table(
                "ledger_account",
                &[
                    "member_id",
                    "asset",
                    "available",
                    "pending",
                    "held",
                    "lifetime_in",
                    "lifetime_out",
                    "sequence",
                    "chain",
                    "next_change_at",
                ],
            ),
            postings: Insert::into_table(
                "ledger_posting",
                &[
                    "member_id",
                    "posting_id",
                    "kind",
                    "idem_key",
                    "input_hash",
                    "reference",
                    "actor",
                    "effective_at",
                    "recorded_at",
                    "outcome",
                    "trace",
                ],
            ),
            entries: Insert::into_table(
                "ledger_entry",
                &[
                    "member_id",
                    "asset",
                    "sequence",
                    "posting_id",
                    "kind",
                    "counter_account",
                    "available_change",
                    "pending_change",
                    "held_change",
                    "shortfall",
                    "chain",
                ],
            ),
            lots: Insert::into_table(
                "ledger_lot",
                &[
                    "member_id",
                    "lot_id",
                    "asset",
                    "posting_id",
                    "amount",
                    "remaining",
                    "held",
                    "expired",
                    "state",
                    "available_at",
                    "release_event",
                    "expires_at",
                ],
            ),
        }
    }

    fn push_member(&mut self, number: i64, opening: &Opening) {
        let Opening {
            lots,
            points_per_lot: points,
            ..
        } = *opening;
        let member_id = number * STRIDE;
        let (hash, none) = ([0xAB_u8; 32], None::<i64>);
        let total = lots * points;
        self.accounts.push(params![
            member_id, 1_i64, total, 0_i64, 0_i64, total, 0_i64, lots, hash, EXPIRES_AT
        ]);
        for lot in 1..=lots {
            let outcome = format!(
                r#"[{{"asset":"points","kind":"earn","counter_account":"issuance","available_change":{points},"available":{},"lot_id":"lot_{lot:013}"}}]"#,
                lot * points
            );
            let trace = format!(r#"{{"rule":"direct","points":{points},"reason":"Opening balance"}}"#);
            self.postings.push(params![
                member_id,
                lot,
                "earn",
                format!("opening-{lot}"),
                hash,
                "",
                "apc_01hpw4v5z6k8f",
                NOW,
                NOW,
                outcome,
                Some(trace),
            ]);
            self.entries.push(params![
                member_id, 1_i64, lot, lot, "earn", "issuance", points, 0_i64, 0_i64, 0_i64, hash
            ]);
            self.lots.push(params![
                member_id,
                lot,
                1_i64,
                lot,
                points,
                points,
                0_i64,
                0_i64,
                2_i64,
                none,
                None::<String>,
                EXPIRES_AT,
            ]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_members_fit_into_the_range_of_ids() {
        assert_eq!(10_000_i64.checked_mul(STRIDE), Some(9_223_372_036_854_770_000));
        let ids = member_ids(2);
        assert_eq!(ids[1].parse::<MemberId>().map(MemberId::as_i64), Ok(2 * STRIDE));
    }
}
