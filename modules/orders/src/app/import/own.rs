//! Our own formats, as docs/guides/import.md describes them: CSV with one row per line of a document, and JSON
//! lines with one document per line.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read},
};

use csv::StringRecord;
use huika_core::{Currency, Timestamp};
use huika_ledger::InputHash;
use huika_members::Code;
use rust_decimal::{Decimal, prelude::ToPrimitive};
use serde::Deserialize;

use super::{Emit, Item, Owner, Record, RefusedRow, clean, refused};
use crate::{
    Document, LineDocument, OrderNo, OrdersError, PurchaseDocument, PurchaseKind, RefundDocument,
    RefundedPart, UnlinkedRefundDocument,
};

/// The longest line of a file of JSON lines.
const MAX_LINE_BYTES: usize = 1024 * 1024;
/// The largest number of pieces of one line.
const MAX_QUANTITY: i64 = 1_000_000_000;

/// One row of our CSV, and the head of one document of our JSON lines.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    /// purchase, refund
    kind: String,
    order_no: String,
    #[serde(default)]
    refund_of: Option<String>,
    #[serde(default)]
    phone: Option<String>,
    #[serde(default)]
    customer_no: Option<String>,
    at: String,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    store: Option<String>,
    #[serde(default)]
    payment_method: Option<String>,
    /// In major units, such as 268 or 268.50. Absent: the sum of the lines.
    #[serde(default)]
    amount: Option<String>,
    #[serde(default)]
    lines: Vec<Line>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default)]
    sku: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    category: Option<String>,
    quantity: i64,
    amount: String,
}

const REQUIRED: [&str; 4] = ["kind", "order_no", "at", "amount"];
const OPTIONAL: [&str; 11] = [
    "refund_of",
    "phone",
    "customer_no",
    "channel",
    "store",
    "payment_method",
    "sku",
    "name",
    "category",
    "quantity",
    "currency",
];

impl Head {
    /// The first column of the document in which another row says something else.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        [
            ("refund_of", self.refund_of == other.refund_of),
            ("customer_no", self.customer_no == other.customer_no),
            ("phone", self.phone == other.phone),
            ("at", self.at == other.at),
            ("channel", self.channel == other.channel),
            ("store", self.store == other.store),
            ("payment_method", self.payment_method == other.payment_method),
        ]
        .into_iter()
        .find_map(|(column, agrees)| (!agrees).then_some(column))
    }
}

/// The document of a CSV whose rows are being read.
struct Open {
    line: u64,
    rows: i64,
    kind: String,
    order_no: String,
    head: Result<Head, RefusedRow>,
}

impl Open {
    /// A bad row belongs to its document too, so that it takes all of it along.
    fn continues_with(&self, kind: &str, order_no: &str) -> bool {
        !order_no.is_empty() && self.kind == kind && self.order_no == order_no
    }

    fn join(&mut self, line: u64, row: Result<Head, RefusedRow>) {
        self.rows += 1;
        let problem = match (&mut self.head, row) {
            (Ok(head), Ok(row)) => match head.difference(&row) {
                None => return head.lines.extend(row.lines),
                Some(column) => refused(
                    line,
                    format!("line {line}: {column} is not that of the rows before it"),
                    format!("第 {line} 行：{column} 与同一单据的前一行不一致"),
                ),
            },
            (Ok(_), Err(problem)) => problem,
            (Err(_), _) => return,
        };
        self.head = Err(problem);
    }
}

/// Reads our CSV. Rows of one document follow each other and agree in all but the line's own columns.
pub(super) fn read_csv(
    input: Box<dyn Read>,
    source: &Code,
    currency: Currency,
    emit: Emit<'_>,
) -> Result<i64, OrdersError> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(input);
    let columns = Columns::of(reader.byte_headers().map_err(|_| broken_off(0))?)?;
    let mut rows = 0;
    let mut open: Option<Open> = None;
    let mut record = csv::ByteRecord::new();
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) if error.is_io_error() => return Err(broken_off(rows)),
            Err(_) => continue,
        }
        let line = record.position().map_or(0, csv::Position::line);
        let text = StringRecord::from_byte_record_lossy(record.clone());
        let (kind, order_no) = (columns.cell(&text, "kind"), columns.cell(&text, "order_no"));
        let row = csv_row(&text, &columns, line, currency);
        match &mut open {
            Some(open) if open.continues_with(kind, order_no) => open.join(line, row),
            _ => {
                let next = Open {
                    line,
                    rows: 1,
                    kind: kind.to_owned(),
                    order_no: order_no.to_owned(),
                    head: row,
                };
                if let Some(done) = open.replace(next)
                    && !send(done.line, done.rows, rows, done.head, source, currency, emit)
                {
                    return Err(OrdersError::Stopping);
                }
            }
        }
        rows += 1;
    }
    if let Some(done) = open
        && !send(done.line, done.rows, rows, done.head, source, currency, emit)
    {
        return Err(OrdersError::Stopping);
    }
    Ok(rows)
}

/// Reads our JSON lines.
pub(super) fn read_jsonl(
    input: Box<dyn Read>,
    source: &Code,
    currency: Currency,
    emit: Emit<'_>,
) -> Result<i64, OrdersError> {
    let mut reader = BufReader::new(input);
    let mut rows = 0;
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let read = (&mut reader)
            .take(MAX_LINE_BYTES as u64 + 1)
            .read_until(b'\n', &mut buffer);
        let length = match read {
            Ok(0) => return Ok(rows),
            Ok(length) => length,
            Err(_) => return Err(broken_off(rows)),
        };
        rows += 1;
        let line = rows as u64;
        let head = if length > MAX_LINE_BYTES {
            if buffer.last() != Some(&b'\n') && skip_line(&mut reader).is_err() {
                return Err(broken_off(rows));
            }
            Err(refused(
                line,
                format!("line {line} is longer than {MAX_LINE_BYTES} bytes"),
                format!("第 {line} 行超过 {MAX_LINE_BYTES} 字节"),
            ))
        } else {
            let text = String::from_utf8_lossy(&buffer);
            let text = text.trim_start_matches('\u{feff}').trim();
            if text.is_empty() {
                continue;
            }
            serde_json::from_str::<Head>(text).map_err(|error| {
                let error = clean(&error.to_string(), 200);
                refused(
                    line,
                    format!("line {line} is no document: {error}"),
                    format!("第 {line} 行格式错误：{error}"),
                )
            })
        };
        if !send(line, 1, rows, head, source, currency, emit) {
            return Err(OrdersError::Stopping);
        }
    }
}

/// Passes over the rest of a line without keeping it.
fn skip_line(reader: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let bytes = reader.fill_buf()?;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let passed = end.map_or(bytes.len(), |at| at + 1);
        reader.consume(passed);
        if end.is_some() || passed == 0 {
            return Ok(());
        }
    }
}

fn broken_off(rows: i64) -> OrdersError {
    OrdersError::FileInvalid {
        en: format!("it breaks off after row {rows}."),
        zh: format!("文件在第 {rows} 行后损坏或不完整。"),
    }
}

/// Where the columns of a CSV stand.
struct Columns {
    places: HashMap<&'static str, usize>,
    width: usize,
}

impl Columns {
    fn of(header: &csv::ByteRecord) -> Result<Self, OrdersError> {
        let invalid = |en: String, zh: String| Err(OrdersError::FileInvalid { en, zh });
        let mut places = HashMap::new();
        for (at, name) in header.iter().enumerate() {
            let name = String::from_utf8_lossy(name);
            let name = name.trim_start_matches('\u{feff}');
            let Some(known) = REQUIRED.iter().chain(&OPTIONAL).find(|known| **known == name) else {
                let name = clean(name, 40);
                return invalid(
                    format!(
                        "column {name:?} is not known; the columns are {}, {}.",
                        REQUIRED.join(", "),
                        OPTIONAL.join(", ")
                    ),
                    format!(
                        "列 {name:?} 无法识别；可用列：{}、{}。",
                        REQUIRED.join("、"),
                        OPTIONAL.join("、")
                    ),
                );
            };
            if places.insert(*known, at).is_some() {
                return invalid(
                    format!("the column {known} stands there twice."),
                    format!("列 {known} 重复。"),
                );
            }
        }
        if let Some(missing) = REQUIRED.iter().find(|name| !places.contains_key(*name)) {
            return invalid(
                format!("the column {missing} is missing."),
                format!("缺少列 {missing}。"),
            );
        }
        Ok(Self {
            places,
            width: header.len(),
        })
    }

    /// A cell by the name of its column; empty where there is none.
    fn cell<'a>(&self, row: &'a StringRecord, name: &str) -> &'a str {
        let at = self.places.get(name);
        at.and_then(|at| row.get(*at)).unwrap_or_default()
    }
}

fn csv_row(
    text: &StringRecord,
    columns: &Columns,
    line: u64,
    currency: Currency,
) -> Result<Head, RefusedRow> {
    let cell = |name: &str| columns.cell(text, name).to_owned();
    let some = |name: &str| Some(cell(name)).filter(|value| !value.is_empty());
    let wrong = |field: &str| not_valid(line, field);
    if text.len() != columns.width {
        // A comma too many shifts what stands behind it, amounts included.
        let (found, expected) = (text.len(), columns.width);
        return Err(refused(
            line,
            format!(
                "line {line} has {found} columns instead of {expected}: put texts with commas into quotes"
            ),
            format!("第 {line} 行有 {found} 列，应为 {expected} 列：含逗号的文本请加引号"),
        ));
    }
    if let Some(named) = some("currency")
        && named != currency.code()
    {
        let named = clean(&named, 40);
        return Err(refused(
            line,
            format!("line {line} is in {named}, the programme counts in {currency}"),
            format!("第 {line} 行币种为 {named}，会员方案币种为 {currency}"),
        ));
    }
    let quantity = some("quantity").map_or(Ok(1), |text| text.parse());
    let item = Line {
        sku: cell("sku"),
        name: cell("name"),
        category: some("category"),
        quantity: quantity.map_err(|_| wrong("quantity"))?,
        amount: cell("amount"),
    };
    // Looked at here as well, because only here it is known in which row it stands.
    item.document().map_err(wrong)?;
    Ok(Head {
        kind: cell("kind"),
        order_no: cell("order_no"),
        refund_of: some("refund_of"),
        phone: some("phone"),
        customer_no: some("customer_no"),
        at: cell("at"),
        channel: some("channel"),
        store: some("store"),
        payment_method: some("payment_method"),
        amount: None,
        lines: vec![item],
    })
}

impl Line {
    /// The line of a document, or the name of what is not valid in it.
    fn document(&self) -> Result<LineDocument, &'static str> {
        if !(1..=MAX_QUANTITY).contains(&self.quantity) {
            return Err("quantity");
        }
        Ok(LineDocument {
            sku: clean(&self.sku, 64),
            name: clean(&self.name, 200),
            category: self.category.as_deref().map(|category| clean(category, 64)),
            quantity: self.quantity,
            amount_minor: minor_of(&self.amount).ok_or("amount")?,
        })
    }
}

fn not_valid(line: u64, field: &str) -> RefusedRow {
    refused(
        line,
        format!("line {line}: {field} is not valid"),
        format!("第 {line} 行：{field} 无效"),
    )
}

fn send(
    line: u64,
    rows: i64,
    rows_through: i64,
    head: Result<Head, RefusedRow>,
    source: &Code,
    currency: Currency,
    emit: Emit<'_>,
) -> bool {
    let record = head
        .and_then(|head| record(head, line, source, currency))
        .unwrap_or_else(Record::Refused);
    emit(
        Item {
            line,
            rows,
            rows_through,
            group_end: rows_through,
            record,
        },
        true,
    )
}

fn record(head: Head, line: u64, source: &Code, currency: Currency) -> Result<Record, RefusedRow> {
    let wrong = |field: &str| not_valid(line, field);
    let told = |text: Option<String>| text.filter(|text| !text.is_empty());
    let code = |text: Option<String>, field: &str| -> Result<Option<Code>, RefusedRow> {
        let code = told(text).map(|text| text.parse()).transpose();
        code.map_err(|_| wrong(field))
    };
    let external_no: OrderNo = head.order_no.parse().map_err(|_| wrong("order_no"))?;
    let at: Timestamp = head.at.parse().map_err(|_| wrong("at"))?;
    let mut lines: Vec<LineDocument> = Vec::with_capacity(head.lines.len().max(1));
    for item in &head.lines {
        lines.push(item.document().map_err(wrong)?);
    }
    let sum = lines
        .iter()
        .try_fold(0_i64, |sum, item| sum.checked_add(item.amount_minor));
    let total = match &head.amount {
        Some(amount) => minor_of(amount),
        None => sum.filter(|_| !lines.is_empty()),
    }
    .ok_or_else(|| wrong("amount"))?;
    if lines.is_empty() {
        lines.push(LineDocument {
            sku: String::new(),
            name: String::new(),
            category: None,
            quantity: 1,
            amount_minor: total,
        });
    }
    let owner = Owner {
        customer_no: told(head.customer_no),
        phone: told(head.phone),
    };
    match (head.kind.as_str(), told(head.refund_of)) {
        ("purchase", None) => Ok(Record::Document(
            owner,
            Document::Purchase(PurchaseDocument {
                source: source.clone(),
                external_no,
                kind: PurchaseKind::Sale,
                channel: code(head.channel, "channel")?
                    .map_or_else(|| "import".parse().map_err(|_| wrong("channel")), Ok)?,
                store_code: code(head.store, "store")?,
                payment_method: code(head.payment_method, "payment_method")?,
                placed_at: at,
                currency,
                paid_minor: total,
                lines,
            }),
        )),
        ("refund", None) => Ok(Record::Document(
            owner,
            Document::UnlinkedRefund(UnlinkedRefundDocument {
                source: source.clone(),
                external_no,
                refunded_at: at,
                currency,
                amount_minor: total,
                lines,
            }),
        )),
        ("refund", Some(purchase)) => Ok(Record::LinkedRefund(RefundDocument {
            source: source.clone(),
            purchase_no: purchase.parse().map_err(|_| wrong("refund_of"))?,
            external_no,
            refunded_at: at,
            part: RefundedPart::Amount {
                minor: total,
                currency,
            },
        })),
        _ => Err(wrong("kind")),
    }
}

/// An amount in major units with at most two decimals, in minor units.
fn minor_of(text: &str) -> Option<i64> {
    let amount = text.parse::<Decimal>().ok()?.checked_mul(Decimal::ONE_HUNDRED)?;
    if amount.fract().is_zero() {
        amount.to_i64()
    } else {
        None
    }
}

/// The input of a document of a file, by which a changed document of a known number is told.
pub(super) fn input_hash(owner: &Owner, document: &Document) -> InputHash {
    let owner = (&owner.customer_no, &owner.phone);
    let line = |item: &LineDocument| {
        (
            item.sku.clone(),
            item.name.clone(),
            item.category.clone(),
            item.quantity,
            item.amount_minor,
        )
    };
    match document {
        Document::Purchase(purchase) => InputHash::of(&(
            owner,
            "purchase",
            purchase.placed_at.as_millis(),
            purchase.currency.code(),
            purchase.paid_minor,
            purchase.lines.iter().map(line).collect::<Vec<_>>(),
        )),
        Document::UnlinkedRefund(refund) => InputHash::of(&(
            owner,
            "refund",
            refund.refunded_at.as_millis(),
            refund.currency.code(),
            refund.amount_minor,
            refund.lines.iter().map(line).collect::<Vec<_>>(),
        )),
    }
}

/// What a linked refund gives back, as text for its hash.
pub(super) fn part_text(part: &RefundedPart) -> String {
    match part {
        RefundedPart::Rest => "rest".to_owned(),
        RefundedPart::Amount { minor, currency } => format!("{minor} {currency}"),
        RefundedPart::Lines(lines) => format!("{lines:?}"),
    }
}
