//! Where exported rows come from.
//!
//! These are the only statements outside the modules that name modules' tables: no module streams its rows yet.
//! They read and never decide; ids and times leave in their public form.

use std::io::Write;

use huika_core::{Actor, Id, IdKind, MemberId, Timestamp};
use huika_db::{Db, DbError, Executor, Row, params};
use huika_ledger::{Asset, PostingId};
use huika_members::Members;
use huika_orders::{PurchaseId, RefundId};

use super::table::{Cell, Writer};
use crate::error::Failure;

/// Members that are looked up at a time.
const PAGE: i64 = 500;

const MEMBER: &[&str] = &[
    "member_id",
    "card_number",
    "state",
    "phone_masked",
    "nickname",
    "channel",
    "store_code",
    "registered_at",
];
const PURCHASE: &[&str] = &[
    "purchase_id",
    "member_id",
    "source",
    "external_order_no",
    "kind",
    "channel",
    "store_code",
    "payment_method",
    "placed_at",
    "currency",
    "paid_minor",
    "refunded_minor",
    "points",
    "tier_before",
    "tier_after",
];
const REFUND: &[&str] = &[
    "refund_id",
    "member_id",
    "purchase_id",
    "source",
    "external_refund_no",
    "refunded_at",
    "currency",
    "amount_minor",
    "points",
];
const ENTRY: &[&str] = &[
    "member_id",
    "asset",
    "sequence",
    "posting_id",
    "posting_kind",
    "kind",
    "counter_account",
    "available_change",
    "pending_change",
    "held_change",
    "shortfall",
    "reference",
    "actor",
    "effective_at",
    "recorded_at",
];

/// Members as an operator sees them.
pub(super) async fn members<W: Write, F: FnMut(u64)>(
    db: &Db,
    members: &Members,
    writer: &mut Writer<W, F>,
) -> Result<(), Failure> {
    writer.begin(MEMBER)?;
    let actor = Actor::system("export");
    let mut after = i64::MIN;
    loop {
        let sql = "SELECT member_id FROM members_member WHERE member_id > ? ORDER BY member_id LIMIT ?";
        let page = (&mut &*db)
            .fetch_all(sql, params![after, PAGE])
            .await
            .map_err(Failure::database)?;
        if page.is_empty() {
            return Ok(());
        }
        for row in page {
            let id: MemberId = row.get("member_id").map_err(Failure::database)?;
            after = id.as_i64();
            let member = members.find(&actor, id).await?;
            writer.row(vec![
                id.to_string().into(),
                member.card_number.to_string().into(),
                member.state.name().to_owned().into(),
                member.phone_masked.into(),
                member
                    .nickname
                    .map(|nickname| nickname.as_str().to_owned())
                    .into(),
                member.channel.to_string().into(),
                member.store_code.map(|code| code.to_string()).into(),
                member.registered_at.to_string().into(),
            ])?;
        }
    }
}

/// Purchases, also anonymous ones.
pub(super) async fn purchases<W: Write + Send, F: FnMut(u64) + Send>(
    db: &Db,
    writer: &mut Writer<W, F>,
) -> Result<(), Failure> {
    writer.begin(PURCHASE)?;
    let sql = "SELECT purchase_id, member_id, identified, source, external_no, kind, channel, store_code, \
               payment_method, placed_at, currency, paid_minor, refunded_minor, points, tier_before, tier_after \
               FROM orders_purchase ORDER BY member_id, purchase_id";
    stream(db, sql, writer, |row| {
        let kind = if row.get::<i64>("kind")? == 1 {
            "sale"
        } else {
            "adjustment"
        };
        Ok(vec![
            id(row, "purchase_id", PurchaseId::from_i64)?,
            owner(row)?,
            text(row, "source")?,
            text(row, "external_no")?,
            kind.to_owned().into(),
            text(row, "channel")?,
            text(row, "store_code")?,
            text(row, "payment_method")?,
            time(row, "placed_at")?,
            text(row, "currency")?,
            number(row, "paid_minor")?,
            number(row, "refunded_minor")?,
            number(row, "points")?,
            text(row, "tier_before")?,
            text(row, "tier_after")?,
        ])
    })
    .await
}

/// Refunds, also anonymous ones.
pub(super) async fn refunds<W: Write + Send, F: FnMut(u64) + Send>(
    db: &Db,
    writer: &mut Writer<W, F>,
) -> Result<(), Failure> {
    writer.begin(REFUND)?;
    let sql = "SELECT refund_id, member_id, identified, purchase_id, source, external_no, refunded_at, currency, \
               amount_minor, points FROM orders_refund ORDER BY member_id, refund_id";
    stream(db, sql, writer, |row| {
        Ok(vec![
            id(row, "refund_id", RefundId::from_i64)?,
            owner(row)?,
            id(row, "purchase_id", PurchaseId::from_i64)?,
            text(row, "source")?,
            text(row, "external_no")?,
            time(row, "refunded_at")?,
            text(row, "currency")?,
            number(row, "amount_minor")?,
            number(row, "points")?,
        ])
    })
    .await
}

/// Entries of the ledger with their postings.
pub(super) async fn entries<W: Write + Send, F: FnMut(u64) + Send>(
    db: &Db,
    writer: &mut Writer<W, F>,
) -> Result<(), Failure> {
    writer.begin(ENTRY)?;
    let sql = "SELECT e.member_id, e.asset, e.sequence, e.posting_id, p.kind AS posting_kind, e.kind, \
               e.counter_account, e.available_change, e.pending_change, e.held_change, e.shortfall, p.reference, \
               p.actor, p.effective_at, p.recorded_at FROM ledger_entry e \
               JOIN ledger_posting p ON p.member_id = e.member_id AND p.posting_id = e.posting_id \
               ORDER BY e.member_id, e.asset, e.sequence";
    stream(db, sql, writer, |row| {
        let asset = row.get::<i64>("asset")?;
        Ok(vec![
            id(row, "member_id", MemberId::from_i64)?,
            Asset::from_code(asset)
                .map(|asset| asset.name().to_owned())
                .into(),
            number(row, "sequence")?,
            id(row, "posting_id", PostingId::from_i64)?,
            text(row, "posting_kind")?,
            text(row, "kind")?,
            text(row, "counter_account")?,
            number(row, "available_change")?,
            number(row, "pending_change")?,
            number(row, "held_change")?,
            number(row, "shortfall")?,
            text(row, "reference")?,
            text(row, "actor")?,
            time(row, "effective_at")?,
            time(row, "recorded_at")?,
        ])
    })
    .await
}

/// Hands the rows of a query to the writer, one after another, on one snapshot.
async fn stream<W: Write + Send, F: FnMut(u64) + Send>(
    db: &Db,
    sql: &str,
    writer: &mut Writer<W, F>,
    cells: impl Fn(&Row) -> Result<Vec<Cell>, DbError> + Send + Sync,
) -> Result<(), Failure> {
    db.run_snapshot(|tx| {
        Box::pin(async move {
            tx.for_each(sql, params![], |row| {
                writer.row(cells(&row).map_err(Failure::database)?)
            })
            .await
        })
    })
    .await
}

fn id<K: IdKind>(row: &Row, column: &str, of: fn(i64) -> Id<K>) -> Result<Cell, DbError> {
    Ok(row
        .get::<Option<i64>>(column)?
        .map(|number| of(number).to_string())
        .into())
}

/// Whose document it is; empty for an anonymous one, whose number no member has.
fn owner(row: &Row) -> Result<Cell, DbError> {
    if row.get::<bool>("identified")? {
        id(row, "member_id", MemberId::from_i64)
    } else {
        Ok(Cell::Empty)
    }
}

fn text(row: &Row, column: &str) -> Result<Cell, DbError> {
    Ok(row.get::<Option<String>>(column)?.into())
}

fn number(row: &Row, column: &str) -> Result<Cell, DbError> {
    Ok(row.get::<i64>(column)?.into())
}

fn time(row: &Row, column: &str) -> Result<Cell, DbError> {
    Ok(row.get::<Timestamp>(column)?.to_string().into())
}
