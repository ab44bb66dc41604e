//! Orders' only SQL.

use std::collections::{BTreeSet, HashMap};

use huika_core::{Currency, MemberId, Timestamp};
use huika_db::{
    DbError, Executor, Param, Row, Tx,
    dialect::{Insert, Update, pair_condition},
    params,
};
use huika_ledger::{InputHash, PostingId};

use crate::Document;

/// The code of a purchase in the name table.
pub(crate) const PURCHASE: i64 = 1;
/// The code of a refund in the name table.
pub(crate) const REFUND: i64 = 2;

/// A row of the name table.
#[derive(Debug, Clone)]
pub(crate) struct ExternalRef {
    pub(crate) external_no: String,
    pub(crate) source: String,
    pub(crate) document: i64,
    pub(crate) member_id: MemberId,
    pub(crate) document_id: i64,
    pub(crate) input: InputHash,
}

impl ExternalRef {
    pub(crate) fn new(document: &Document, member_id: MemberId, document_id: i64, input: InputHash) -> Self {
        let (external_no, source, document) = ref_key(document);
        Self {
            external_no,
            source,
            document,
            member_id,
            document_id,
            input,
        }
    }
}

/// The name of a document: number, source, kind.
pub(crate) fn ref_key(document: &Document) -> (String, String, i64) {
    let kind = match document {
        Document::Purchase(_) => PURCHASE,
        Document::UnlinkedRefund(_) => REFUND,
    };
    (
        document.external_no().to_string(),
        document.source().to_string(),
        kind,
    )
}

#[derive(Debug, Clone)]
pub(crate) struct PurchaseRow {
    pub(crate) member_id: MemberId,
    pub(crate) purchase_id: i64,
    pub(crate) identified: bool,
    pub(crate) kind: i64,
    pub(crate) source: String,
    pub(crate) external_no: String,
    pub(crate) channel: String,
    pub(crate) store_code: Option<String>,
    pub(crate) payment_method: Option<String>,
    pub(crate) placed_at: Timestamp,
    pub(crate) recorded_at: Timestamp,
    pub(crate) currency: Currency,
    pub(crate) paid_minor: i64,
    pub(crate) refunded_minor: i64,
    pub(crate) points: i64,
    pub(crate) growth: i64,
    pub(crate) tier_before: Option<String>,
    pub(crate) tier_after: Option<String>,
    pub(crate) earns: bool,
    pub(crate) posting_id: Option<PostingId>,
}

#[derive(Debug, Clone)]
pub(crate) struct LineRow {
    pub(crate) member_id: MemberId,
    pub(crate) purchase_id: i64,
    pub(crate) line_no: i64,
    pub(crate) sku: String,
    pub(crate) name: String,
    pub(crate) category: Option<String>,
    pub(crate) quantity: i64,
    pub(crate) paid_minor: i64,
    pub(crate) points: i64,
    pub(crate) refunded_minor: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct RefundRow {
    pub(crate) member_id: MemberId,
    pub(crate) refund_id: i64,
    pub(crate) identified: bool,
    pub(crate) purchase_id: Option<i64>,
    pub(crate) source: String,
    pub(crate) external_no: String,
    pub(crate) refunded_at: Timestamp,
    pub(crate) recorded_at: Timestamp,
    pub(crate) currency: Currency,
    pub(crate) amount_minor: i64,
    pub(crate) points: i64,
    pub(crate) growth: i64,
    pub(crate) posting_id: Option<PostingId>,
}

#[derive(Debug, Clone)]
pub(crate) struct RefundLineRow {
    pub(crate) member_id: MemberId,
    pub(crate) refund_id: i64,
    pub(crate) line_no: i64,
    pub(crate) sku: String,
    pub(crate) name: String,
    pub(crate) quantity: i64,
    pub(crate) amount_minor: i64,
}

fn currency_from(row: &Row) -> Result<Currency, DbError> {
    row.get::<String>("currency")?
        .parse()
        .map_err(|_| DbError::corrupt("currency"))
}

/// What the name table knows of documents.
pub(crate) async fn ref_load<'a>(
    executor: &mut impl Executor,
    documents: impl Iterator<Item = &'a Document>,
) -> Result<HashMap<(String, String, i64), ExternalRef>, DbError> {
    let names: Vec<(String, String, i64)> = documents.map(ref_key).collect();
    refs_by_name(executor, &names).await
}

/// What the name table knows of names.
pub(crate) async fn refs_by_name(
    executor: &mut impl Executor,
    names: &[(String, String, i64)],
) -> Result<HashMap<(String, String, i64), ExternalRef>, DbError> {
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let numbers: BTreeSet<&String> = names.iter().map(|(number, _, _)| number).collect();
    let sources: BTreeSet<&String> = names.iter().map(|(_, source, _)| source).collect();
    let texts = |set: BTreeSet<&String>| Param::Texts(set.into_iter().cloned().collect());
    let sql = "SELECT external_no, source, document, member_id, document_id, input_hash FROM orders_external_ref \
         WHERE external_no IN (??) AND source IN (??)";
    let rows = executor
        .fetch_all(sql, params![texts(numbers), texts(sources)])
        .await?;
    let wanted: BTreeSet<&(String, String, i64)> = names.iter().collect();
    let mut refs = HashMap::with_capacity(rows.len());
    for row in rows {
        let key: (String, String, i64) = (row.get("external_no")?, row.get("source")?, row.get("document")?);
        if !wanted.contains(&key) {
            continue;
        }
        let known = ExternalRef {
            external_no: key.0.clone(),
            source: key.1.clone(),
            document: key.2,
            member_id: row.get("member_id")?,
            document_id: row.get("document_id")?,
            input: InputHash(row.get("input_hash")?),
        };
        refs.insert(key, known);
    }
    Ok(refs)
}

/// Claims names; a name that somebody else claimed meanwhile makes the transaction run again and find it.
pub(crate) async fn ref_insert(tx: &mut Tx<'_>, refs: &[ExternalRef]) -> Result<(), DbError> {
    let mut insert = Insert::into_table(
        "orders_external_ref",
        &[
            "external_no",
            "source",
            "document",
            "member_id",
            "document_id",
            "input_hash",
        ],
    );
    for known in refs {
        insert.push(params![
            &known.external_no,
            &known.source,
            known.document,
            known.member_id,
            known.document_id,
            known.input.0,
        ]);
    }
    match tx.insert(insert).await {
        Err(DbError::Duplicate(_)) => Err(DbError::Stale("orders_external_ref")),
        other => other.map(drop),
    }
}

const PURCHASE_COLUMNS: &str = "member_id, purchase_id, identified, kind, source, external_no, channel, store_code, \
     payment_method, placed_at, recorded_at, currency, paid_minor, refunded_minor, points, growth, tier_before, tier_after, \
     earns, posting_id";

fn purchase_from(row: &Row) -> Result<PurchaseRow, DbError> {
    Ok(PurchaseRow {
        member_id: row.get("member_id")?,
        purchase_id: row.get("purchase_id")?,
        identified: row.get("identified")?,
        kind: row.get("kind")?,
        source: row.get("source")?,
        external_no: row.get("external_no")?,
        channel: row.get("channel")?,
        store_code: row.get("store_code")?,
        payment_method: row.get("payment_method")?,
        placed_at: row.get("placed_at")?,
        recorded_at: row.get("recorded_at")?,
        currency: currency_from(row)?,
        paid_minor: row.get("paid_minor")?,
        refunded_minor: row.get("refunded_minor")?,
        points: row.get("points")?,
        growth: row.get("growth")?,
        tier_before: row.get("tier_before")?,
        tier_after: row.get("tier_after")?,
        earns: row.get("earns")?,
        posting_id: row.get("posting_id")?,
    })
}

pub(crate) async fn purchase_load(
    executor: &mut impl Executor,
    wanted: &[(i64, i64)],
) -> Result<Vec<PurchaseRow>, DbError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let (condition, params) = pair_condition(executor.engine(), ("member_id", "purchase_id"), wanted);
    let sql = format!("SELECT {PURCHASE_COLUMNS} FROM orders_purchase WHERE {condition}");
    executor
        .fetch_all(&sql, params)
        .await?
        .iter()
        .map(purchase_from)
        .collect()
}

/// A purchase for changing: on engines with row locks a second refund waits here.
pub(crate) async fn purchase_lock(
    tx: &mut Tx<'_>,
    member_id: MemberId,
    purchase_id: i64,
) -> Result<Option<PurchaseRow>, DbError> {
    let sql = format!(
        "SELECT {PURCHASE_COLUMNS} FROM orders_purchase WHERE member_id = ? AND purchase_id = ? FOR UPDATE"
    );
    tx.fetch_optional(&sql, params![member_id, purchase_id])
        .await?
        .as_ref()
        .map(purchase_from)
        .transpose()
}

/// A member's purchases before a row, newest first.
pub(crate) async fn purchase_list(
    executor: &mut impl Executor,
    member_id: MemberId,
    before: Option<(i64, i64)>,
    limit: i64,
) -> Result<Vec<PurchaseRow>, DbError> {
    let (placed_at, purchase_id) = before.unwrap_or((i64::MAX, i64::MAX));
    let sql = format!(
        "SELECT {PURCHASE_COLUMNS} FROM orders_purchase WHERE member_id = ? AND identified = 1 \
         AND (placed_at < ? OR (placed_at = ? AND purchase_id < ?)) ORDER BY placed_at DESC, purchase_id DESC LIMIT ?"
    );
    let params = params![member_id, placed_at, placed_at, purchase_id, limit];
    executor
        .fetch_all(&sql, params)
        .await?
        .iter()
        .map(purchase_from)
        .collect()
}

pub(crate) async fn purchase_insert(
    tx: &mut Tx<'_>,
    purchases: &[PurchaseRow],
    lines: &[LineRow],
) -> Result<(), DbError> {
    let mut insert = Insert::into_table(
        "orders_purchase",
        &[
            "member_id",
            "purchase_id",
            "identified",
            "kind",
            "source",
            "external_no",
            "channel",
            "store_code",
            "payment_method",
            "placed_at",
            "recorded_at",
            "currency",
            "paid_minor",
            "refunded_minor",
            "points",
            "growth",
            "tier_before",
            "tier_after",
            "earns",
            "posting_id",
        ],
    );
    for row in purchases {
        insert.push(params![
            row.member_id,
            row.purchase_id,
            row.identified,
            row.kind,
            &row.source,
            &row.external_no,
            &row.channel,
            row.store_code.as_ref(),
            row.payment_method.as_ref(),
            row.placed_at,
            row.recorded_at,
            row.currency.code(),
            row.paid_minor,
            row.refunded_minor,
            row.points,
            row.growth,
            row.tier_before.as_ref(),
            row.tier_after.as_ref(),
            row.earns,
            row.posting_id,
        ]);
    }
    tx.insert(insert).await?;
    let mut insert = Insert::into_table(
        "orders_purchase_line",
        &[
            "member_id",
            "purchase_id",
            "line_no",
            "sku",
            "name",
            "category",
            "quantity",
            "paid_minor",
            "points",
            "refunded_minor",
        ],
    );
    for row in lines {
        insert.push(params![
            row.member_id,
            row.purchase_id,
            row.line_no,
            &row.sku,
            &row.name,
            row.category.as_ref(),
            row.quantity,
            row.paid_minor,
            row.points,
            row.refunded_minor,
        ]);
    }
    tx.insert(insert).await.map(drop)
}

pub(crate) async fn line_load(
    executor: &mut impl Executor,
    member_id: MemberId,
    purchase_id: i64,
) -> Result<Vec<LineRow>, DbError> {
    let sql = "SELECT line_no, sku, name, category, quantity, paid_minor, points, refunded_minor \
         FROM orders_purchase_line WHERE member_id = ? AND purchase_id = ? ORDER BY line_no";
    let rows = executor.fetch_all(sql, params![member_id, purchase_id]).await?;
    rows.iter()
        .map(|row| {
            Ok(LineRow {
                member_id,
                purchase_id,
                line_no: row.get("line_no")?,
                sku: row.get("sku")?,
                name: row.get("name")?,
                category: row.get("category")?,
                quantity: row.get("quantity")?,
                paid_minor: row.get("paid_minor")?,
                points: row.get("points")?,
                refunded_minor: row.get("refunded_minor")?,
            })
        })
        .collect()
}

/// Notes what was refunded of a purchase and its lines. Each row must still say what was read.
pub(crate) async fn purchase_add_refund(
    tx: &mut Tx<'_>,
    purchase: &PurchaseRow,
    amount: i64,
    lines: &[(&LineRow, i64)],
) -> Result<(), DbError> {
    let mut update = Update::table(
        "orders_purchase",
        &["refunded_minor"],
        &["member_id", "purchase_id", "refunded_minor"],
    );
    update.push(params![
        purchase.refunded_minor + amount,
        purchase.member_id,
        purchase.purchase_id,
        purchase.refunded_minor
    ]);
    tx.update(update).await?;
    let mut update = Update::table(
        "orders_purchase_line",
        &["refunded_minor"],
        &["member_id", "purchase_id", "line_no", "refunded_minor"],
    );
    for (line, amount) in lines {
        update.push(params![
            line.refunded_minor + amount,
            line.member_id,
            line.purchase_id,
            line.line_no,
            line.refunded_minor
        ]);
    }
    tx.update(update).await
}

const REFUND_COLUMNS: &str = "member_id, refund_id, identified, purchase_id, source, external_no, refunded_at, \
     recorded_at, currency, amount_minor, points, growth, posting_id";

fn refund_from(row: &Row) -> Result<RefundRow, DbError> {
    Ok(RefundRow {
        member_id: row.get("member_id")?,
        refund_id: row.get("refund_id")?,
        identified: row.get("identified")?,
        purchase_id: row.get("purchase_id")?,
        source: row.get("source")?,
        external_no: row.get("external_no")?,
        refunded_at: row.get("refunded_at")?,
        recorded_at: row.get("recorded_at")?,
        currency: currency_from(row)?,
        amount_minor: row.get("amount_minor")?,
        points: row.get("points")?,
        growth: row.get("growth")?,
        posting_id: row.get("posting_id")?,
    })
}

pub(crate) async fn refund_load(
    executor: &mut impl Executor,
    wanted: &[(i64, i64)],
) -> Result<Vec<RefundRow>, DbError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let (condition, params) = pair_condition(executor.engine(), ("member_id", "refund_id"), wanted);
    let sql = format!("SELECT {REFUND_COLUMNS} FROM orders_refund WHERE {condition}");
    executor
        .fetch_all(&sql, params)
        .await?
        .iter()
        .map(refund_from)
        .collect()
}

pub(crate) async fn refund_list_of(
    executor: &mut impl Executor,
    member_id: MemberId,
    limit: i64,
) -> Result<Vec<RefundRow>, DbError> {
    let sql = format!(
        "SELECT {REFUND_COLUMNS} FROM orders_refund WHERE member_id = ? ORDER BY refunded_at DESC, refund_id DESC LIMIT ?"
    );
    executor
        .fetch_all(&sql, params![member_id, limit])
        .await?
        .iter()
        .map(refund_from)
        .collect()
}

pub(crate) async fn refund_insert(
    tx: &mut Tx<'_>,
    refunds: &[RefundRow],
    lines: &[RefundLineRow],
) -> Result<(), DbError> {
    let mut insert = Insert::into_table(
        "orders_refund",
        &[
            "member_id",
            "refund_id",
            "identified",
            "purchase_id",
            "source",
            "external_no",
            "refunded_at",
            "recorded_at",
            "currency",
            "amount_minor",
            "points",
            "growth",
            "posting_id",
        ],
    );
    for row in refunds {
        insert.push(params![
            row.member_id,
            row.refund_id,
            row.identified,
            row.purchase_id,
            &row.source,
            &row.external_no,
            row.refunded_at,
            row.recorded_at,
            row.currency.code(),
            row.amount_minor,
            row.points,
            row.growth,
            row.posting_id,
        ]);
    }
    tx.insert(insert).await?;
    let mut insert = Insert::into_table(
        "orders_refund_line",
        &[
            "member_id",
            "refund_id",
            "line_no",
            "sku",
            "name",
            "quantity",
            "amount_minor",
        ],
    );
    for row in lines {
        insert.push(params![
            row.member_id,
            row.refund_id,
            row.line_no,
            &row.sku,
            &row.name,
            row.quantity,
            row.amount_minor
        ]);
    }
    tx.insert(insert).await.map(drop)
}

/// How far an import has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ImportState {
    pub(crate) rows_done: i64,
    pub(crate) documents_done: i64,
    pub(crate) rows_refused: i64,
    pub(crate) finished: bool,
}

pub(crate) async fn import_load(
    executor: &mut impl Executor,
    source: &str,
    file_hash: &str,
) -> Result<Option<ImportState>, DbError> {
    let sql = "SELECT rows_done, documents_done, rows_refused, state FROM orders_import WHERE source = ? AND file_hash = ?";
    let Some(row) = executor.fetch_optional(sql, params![source, file_hash]).await? else {
        return Ok(None);
    };
    Ok(Some(ImportState {
        rows_done: row.get("rows_done")?,
        documents_done: row.get("documents_done")?,
        rows_refused: row.get("rows_refused")?,
        finished: row.get::<i64>("state")? == 2,
    }))
}

pub(crate) async fn import_start(
    tx: &mut Tx<'_>,
    source: &str,
    file_hash: &str,
    format: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let mut insert = Insert::into_table(
        "orders_import",
        &[
            "source",
            "file_hash",
            "format",
            "rows_done",
            "documents_done",
            "rows_refused",
            "state",
            "updated_at",
        ],
    )
    .skip_existing();
    insert.push(params![
        source, file_hash, format, 0_i64, 0_i64, 0_i64, 1_i64, now
    ]);
    tx.insert(insert).await.map(drop)
}

/// Moves an import on from what was read to what is done now; two imports of one file cannot both do it.
pub(crate) async fn import_save(
    tx: &mut Tx<'_>,
    source: &str,
    file_hash: &str,
    before: &ImportState,
    after: &ImportState,
    now: Timestamp,
) -> Result<bool, DbError> {
    let state = if after.finished { 2_i64 } else { 1 };
    let met = tx
        .execute(
            "UPDATE orders_import SET rows_done = ?, documents_done = ?, rows_refused = ?, state = ?, updated_at = ? \
             WHERE source = ? AND file_hash = ? AND rows_done = ? AND documents_done = ?",
            params![
                after.rows_done,
                after.documents_done,
                after.rows_refused,
                state,
                now,
                source,
                file_hash,
                before.rows_done,
                before.documents_done
            ],
        )
        .await?;
    Ok(met == 1)
}

/// Sums over all documents, for the report.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) sales: i64,
    pub(crate) adjustments: i64,
    pub(crate) refunds: i64,
    pub(crate) rows_read: i64,
    pub(crate) net_minor: i64,
    pub(crate) net_identified_minor: i64,
}

pub(crate) async fn totals(executor: &mut impl Executor) -> Result<Totals, DbError> {
    let mut totals = Totals::default();
    let sql = "SELECT kind, identified, COUNT(*) AS documents, CAST(COALESCE(SUM(paid_minor), 0) AS {int}) AS minor \
         FROM orders_purchase GROUP BY kind, identified";
    for row in executor.fetch_all(sql, params![]).await? {
        let (documents, minor): (i64, i64) = (row.get("documents")?, row.get("minor")?);
        *(if row.get::<i64>("kind")? == 1 {
            &mut totals.sales
        } else {
            &mut totals.adjustments
        }) += documents;
        totals.net_minor += minor;
        if row.get("identified")? {
            totals.net_identified_minor += minor;
        }
    }
    let sql = "SELECT identified, COUNT(*) AS documents, CAST(COALESCE(SUM(amount_minor), 0) AS {int}) AS minor \
         FROM orders_refund GROUP BY identified";
    for row in executor.fetch_all(sql, params![]).await? {
        let (documents, minor): (i64, i64) = (row.get("documents")?, row.get("minor")?);
        totals.refunds += documents;
        totals.net_minor -= minor;
        if row.get("identified")? {
            totals.net_identified_minor -= minor;
        }
    }
    // What was claimed is there twice: as an anonymous sale, and as the member's.
    let sql = "SELECT COUNT(*) AS documents, CAST(COALESCE(SUM(amount_minor), 0) AS {int}) AS minor FROM orders_claim";
    let row = executor.fetch_one(sql, params![]).await?;
    totals.sales -= row.get::<i64>("documents")?;
    totals.net_minor -= row.get::<i64>("minor")?;
    let sql = "SELECT CAST(COALESCE(SUM(rows_done), 0) AS {int}) AS rows_done FROM orders_import";
    totals.rows_read = executor.fetch_one(sql, params![]).await?.get("rows_done")?;
    Ok(totals)
}

/// What a member spent and how often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MemberSpend {
    pub(crate) net_minor: i64,
    pub(crate) sales: i64,
}

/// Net spend and sales of every member who has a document.
pub(crate) async fn member_spend(tx: &mut Tx<'_>) -> Result<HashMap<MemberId, MemberSpend>, DbError> {
    let mut members: HashMap<MemberId, MemberSpend> = HashMap::new();
    let sql = "SELECT member_id, CAST(SUM(paid_minor) AS {int}) AS minor, \
         CAST(SUM(CASE WHEN kind = 1 THEN 1 ELSE 0 END) AS {int}) AS sales \
         FROM orders_purchase WHERE identified = 1 GROUP BY member_id";
    tx.for_each::<DbError>(sql, params![], |row| {
        let spend = members.entry(row.get("member_id")?).or_default();
        spend.net_minor += row.get::<i64>("minor")?;
        spend.sales += row.get::<i64>("sales")?;
        Ok(())
    })
    .await?;
    let sql = "SELECT member_id, CAST(SUM(amount_minor) AS {int}) AS minor FROM orders_refund \
         WHERE identified = 1 GROUP BY member_id";
    tx.for_each::<DbError>(sql, params![], |row| {
        members.entry(row.get("member_id")?).or_default().net_minor -= row.get::<i64>("minor")?;
        Ok(())
    })
    .await?;
    Ok(members)
}

/// A settled document: member, posting, public reference by kind and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SettledDocument {
    pub(crate) member_id: MemberId,
    pub(crate) document: i64,
    pub(crate) document_id: i64,
    pub(crate) posting_id: Option<PostingId>,
    /// What it adds to growth.
    pub(crate) growth: i64,
    /// What it adds to the net spend that counts for tiers.
    pub(crate) spend_minor: i64,
    /// The points that it says it gave, or wanted back where negative.
    pub(crate) points: i64,
}

/// The documents of some members.
pub(crate) async fn documents_of(
    tx: &mut Tx<'_>,
    members: &[MemberId],
) -> Result<Vec<SettledDocument>, DbError> {
    let members = || Param::Ints(members.iter().map(|id| id.as_i64()).collect());
    let mut documents = Vec::new();
    let sql = "SELECT member_id, purchase_id AS document_id, posting_id, points, growth, \
         CASE WHEN kind = 1 AND earns = 1 THEN paid_minor ELSE 0 END AS spend FROM orders_purchase \
         WHERE member_id IN (??) AND identified = 1";
    for row in tx.fetch_all(sql, params![members()]).await? {
        documents.push(SettledDocument {
            member_id: row.get("member_id")?,
            document: PURCHASE,
            document_id: row.get("document_id")?,
            posting_id: row.get("posting_id")?,
            growth: row.get("growth")?,
            spend_minor: row.get("spend")?,
            points: row.get("points")?,
        });
    }
    // What never counted is not taken back either.
    let sql = "SELECT r.member_id, r.refund_id AS document_id, r.posting_id, r.points, r.growth, \
         CASE WHEN p.earns = 0 THEN 0 ELSE r.amount_minor END AS spend FROM orders_refund r \
         LEFT JOIN orders_purchase p ON p.member_id = r.member_id AND p.purchase_id = r.purchase_id \
         WHERE r.member_id IN (??) AND r.identified = 1";
    for row in tx.fetch_all(sql, params![members()]).await? {
        documents.push(SettledDocument {
            member_id: row.get("member_id")?,
            document: REFUND,
            document_id: row.get("document_id")?,
            posting_id: row.get("posting_id")?,
            growth: -row.get::<i64>("growth")?,
            spend_minor: -row.get::<i64>("spend")?,
            points: -row.get::<i64>("points")?,
        });
    }
    Ok(documents)
}

/// Members that have documents, in pages by id.
pub(crate) async fn member_page(tx: &mut Tx<'_>, after: i64, limit: i64) -> Result<Vec<MemberId>, DbError> {
    // Each part has the limit of the whole, so that a page reads no more than a page.
    let sql = "SELECT member_id FROM (SELECT DISTINCT member_id FROM orders_purchase \
         WHERE member_id > ? AND identified = 1 ORDER BY member_id LIMIT ?) p \
         UNION SELECT member_id FROM (SELECT DISTINCT member_id FROM orders_refund \
         WHERE member_id > ? AND identified = 1 ORDER BY member_id LIMIT ?) r ORDER BY member_id LIMIT ?";
    let rows = tx
        .fetch_all(sql, params![after, limit, after, limit, limit])
        .await?;
    rows.iter().map(|row| row.get("member_id")).collect()
}

/// Documents without their name and names without their document: by the one an order could be recorded twice,
/// by the other one has disappeared.
pub(crate) async fn broken_names(tx: &mut Tx<'_>) -> Result<Vec<(String, &'static str)>, DbError> {
    let mut found = Vec::new();
    for (document, table, id) in [
        (PURCHASE, "orders_purchase", "purchase_id"),
        (REFUND, "orders_refund", "refund_id"),
    ] {
        let unnamed = format!(
            "SELECT d.external_no, d.source, d.member_id FROM {table} d LEFT JOIN orders_external_ref r \
             ON r.external_no = d.external_no AND r.source = d.source AND r.document = {document} \
             WHERE r.document_id IS NULL OR r.document_id <> d.{id} OR r.member_id <> d.member_id LIMIT 20"
        );
        let lost = format!(
            "SELECT r.external_no, r.source, r.member_id FROM orders_external_ref r LEFT JOIN {table} d \
             ON d.member_id = r.member_id AND d.{id} = r.document_id \
             WHERE r.document = {document} AND d.{id} IS NULL LIMIT 20"
        );
        for (sql, problem) in [
            (unnamed, "its name is missing or leads elsewhere"),
            (lost, "it is named and missing"),
        ] {
            for row in tx.fetch_all(&sql, params![]).await? {
                let (number, source): (String, String) = (row.get("external_no")?, row.get("source")?);
                let member_id: MemberId = row.get("member_id")?;
                found.push((format!("{table} {source} {number} of {member_id}"), problem));
            }
        }
    }
    Ok(found)
}

/// Documents whose own sums contradict each other: table, member, id and what is wrong.
pub(crate) async fn contradictions(
    tx: &mut Tx<'_>,
) -> Result<Vec<(i64, MemberId, i64, &'static str)>, DbError> {
    let mut found = Vec::new();
    let checks = [
        (
            PURCHASE,
            "SELECT p.member_id, p.purchase_id AS document_id FROM orders_purchase p LEFT JOIN (SELECT member_id, purchase_id, \
             SUM(paid_minor) AS paid, SUM(points) AS points, SUM(refunded_minor) AS refunded FROM orders_purchase_line \
             GROUP BY member_id, purchase_id) l ON l.member_id = p.member_id AND l.purchase_id = p.purchase_id \
             WHERE l.purchase_id IS NULL OR l.paid <> p.paid_minor OR l.refunded <> p.refunded_minor \
             OR l.points <> p.points LIMIT 20",
            "its lines do not add up to it",
        ),
        (
            PURCHASE,
            "SELECT p.member_id, p.purchase_id AS document_id FROM orders_purchase p LEFT JOIN (SELECT member_id, purchase_id, \
             SUM(amount_minor) AS refunded FROM orders_refund WHERE purchase_id IS NOT NULL \
             GROUP BY member_id, purchase_id) r ON r.member_id = p.member_id AND r.purchase_id = p.purchase_id \
             WHERE COALESCE(r.refunded, 0) <> p.refunded_minor OR (p.kind = 1 AND p.refunded_minor > p.paid_minor) LIMIT 20",
            "its refunds do not add up to what was refunded",
        ),
        // A refund without its purchase may tell no lines.
        (
            REFUND,
            "SELECT r.member_id, r.refund_id AS document_id FROM orders_refund r LEFT JOIN (SELECT member_id, refund_id, \
             SUM(amount_minor) AS amount FROM orders_refund_line GROUP BY member_id, refund_id) l \
             ON l.member_id = r.member_id AND l.refund_id = r.refund_id \
             WHERE (l.refund_id IS NULL AND r.purchase_id IS NOT NULL) OR l.amount <> r.amount_minor LIMIT 20",
            "its lines do not add up to it",
        ),
        (
            PURCHASE,
            "SELECT p.member_id, p.purchase_id AS document_id FROM orders_purchase_line p LEFT JOIN (SELECT r.member_id, \
             r.purchase_id, l.line_no, SUM(l.amount_minor) AS refunded FROM orders_refund r JOIN orders_refund_line l \
             ON l.member_id = r.member_id AND l.refund_id = r.refund_id WHERE r.purchase_id IS NOT NULL \
             GROUP BY r.member_id, r.purchase_id, l.line_no) r ON r.member_id = p.member_id \
             AND r.purchase_id = p.purchase_id AND r.line_no = p.line_no \
             WHERE COALESCE(r.refunded, 0) <> p.refunded_minor LIMIT 20",
            "the refunds of a line do not add up to what was refunded of it",
        ),
        (
            PURCHASE,
            "SELECT c.member_id, c.purchase_id AS document_id FROM orders_claim c LEFT JOIN orders_purchase a \
             ON a.member_id = c.member_id AND a.purchase_id = c.purchase_id LEFT JOIN orders_purchase p \
             ON p.member_id = c.claimant_id AND p.purchase_id = c.claim_purchase_id \
             WHERE a.purchase_id IS NULL OR p.purchase_id IS NULL OR a.identified <> 0 OR p.identified <> 1 \
             OR a.paid_minor - a.refunded_minor <> c.amount_minor OR p.paid_minor <> c.amount_minor LIMIT 20",
            "its claim leads nowhere or to another amount",
        ),
        (
            PURCHASE,
            "SELECT p.member_id, p.purchase_id AS document_id FROM orders_purchase p LEFT JOIN orders_claim c \
             ON c.claimant_id = p.member_id AND c.claim_purchase_id = p.purchase_id \
             WHERE p.source = 'huika-claim' AND c.purchase_id IS NULL LIMIT 20",
            "it was claimed, and the claim is missing",
        ),
    ];
    for (document, sql, problem) in checks {
        for row in tx.fetch_all(sql, params![]).await? {
            found.push((document, row.get("member_id")?, row.get("document_id")?, problem));
        }
    }
    Ok(found)
}

/// Whose an anonymous purchase has become.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClaimRow {
    /// The drawn number of nobody.
    pub(crate) member_id: MemberId,
    pub(crate) purchase_id: i64,
    pub(crate) claimant_id: MemberId,
    pub(crate) claim_purchase_id: i64,
    pub(crate) amount_minor: i64,
}

/// Who has claimed an anonymous purchase.
pub(crate) async fn claim_find(
    tx: &mut Tx<'_>,
    member_id: MemberId,
    purchase_id: i64,
) -> Result<Option<ClaimRow>, DbError> {
    let sql = "SELECT claimant_id, claim_purchase_id, amount_minor FROM orders_claim \
               WHERE member_id = ? AND purchase_id = ?";
    let row = tx.fetch_optional(sql, params![member_id, purchase_id]).await?;
    row.map(|row| {
        Ok(ClaimRow {
            member_id,
            purchase_id,
            claimant_id: row.get("claimant_id")?,
            claim_purchase_id: row.get("claim_purchase_id")?,
            amount_minor: row.get("amount_minor")?,
        })
    })
    .transpose()
}

/// Notes a claim.
///
/// # Errors
/// [`DbError::Stale`] when somebody else was first: the transaction runs again and finds that one.
pub(crate) async fn claim_insert(tx: &mut Tx<'_>, claim: &ClaimRow) -> Result<(), DbError> {
    let now = tx.db().clock().now();
    let mut insert = Insert::into_table(
        "orders_claim",
        &[
            "member_id",
            "purchase_id",
            "claimant_id",
            "claim_purchase_id",
            "amount_minor",
            "claimed_at",
        ],
    );
    insert.push(params![
        claim.member_id,
        claim.purchase_id,
        claim.claimant_id,
        claim.claim_purchase_id,
        claim.amount_minor,
        now,
    ]);
    match tx.insert(insert).await {
        Err(DbError::Duplicate(_)) => Err(DbError::Stale("orders_claim")),
        other => other.map(drop),
    }
}

/// The anonymous purchase that a code leads to.
pub(crate) async fn claim_code_find(
    tx: &mut Tx<'_>,
    code_hash: &str,
) -> Result<Option<(MemberId, i64)>, DbError> {
    let sql = "SELECT member_id, purchase_id FROM orders_claim_code WHERE code_hash = ?";
    let row = tx.fetch_optional(sql, params![code_hash]).await?;
    row.map(|row| Ok((row.get("member_id")?, row.get("purchase_id")?)))
        .transpose()
}

/// Notes the codes of anonymous purchases.
pub(crate) async fn claim_code_insert(
    tx: &mut Tx<'_>,
    codes: &[(String, MemberId, i64)],
) -> Result<(), DbError> {
    let mut insert = Insert::into_table("orders_claim_code", &["code_hash", "member_id", "purchase_id"]);
    for (code_hash, member_id, purchase_id) in codes {
        insert.push(params![code_hash, *member_id, *purchase_id]);
    }
    tx.insert(insert).await.map(drop)
}
