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

use super::{Emit, Item, Owner, Record, clean, refused};
use crate::{
    Document, LineDocument, OrderNo, OrdersError, PurchaseDocument, PurchaseKind, RefundDocument,
    RefundedPart, UnlinkedRefundDocument,
};

/// The longest line of a file of JSON lines.
const MAX_LINE_BYTES: usize = 1024 * 1024;

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
    /// In major units, such as 268 or 268.50. Of a CSV row: of its line.
    amount: String,
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
    let columns = columns(reader.byte_headers().ok())?;
    let mut rows = 0;
    let mut open: Option<(u64, i64, Result<Head, Record>)> = None;
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
        let row = csv_row(&text, &columns, line, currency);
        let joins = matches!((&open, &row), (Some((_, _, Ok(head))), Ok(row))
            if head.kind == row.kind && head.order_no == row.order_no);
        if joins {
            if let (Some((_, count, Ok(head))), Ok(row)) = (&mut open, row) {
                *count += 1;
                head.lines.extend(row.lines);
            }
        } else {
            if let Some((first, count, head)) = open.take()
                && !send(first, count, rows, head, source, currency, emit)
            {
                return Err(OrdersError::Stopping);
            }
            open = Some((line, 1, row));
        }
        rows += 1;
    }
    if let Some((first, count, head)) = open
        && !send(first, count, rows, head, source, currency, emit)
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
        match read {
            Ok(0) => return Ok(rows),
            Ok(length) if length > MAX_LINE_BYTES => {
                return Err(OrdersError::FileInvalid {
                    en: format!("line {} is longer than {MAX_LINE_BYTES} bytes.", rows + 1),
                    zh: format!("第 {} 行过长。", rows + 1),
                });
            }
            Ok(_) => {}
            Err(_) => return Err(broken_off(rows)),
        }
        rows += 1;
        let line = rows as u64;
        let text = String::from_utf8_lossy(&buffer);
        if text.trim().is_empty() {
            continue;
        }
        let head = serde_json::from_str::<Head>(&text).map_err(|error| {
            refused(
                line,
                format!("line {line} is no document: {error}"),
                format!("第 {line} 行格式错误：{error}"),
            )
        });
        if !send(line, 1, rows, head, source, currency, emit) {
            return Err(OrdersError::Stopping);
        }
    }
}

fn broken_off(rows: i64) -> OrdersError {
    OrdersError::FileInvalid {
        en: format!("it breaks off after row {rows}."),
        zh: format!("文件在第 {rows} 行后损坏或不完整。"),
    }
}

fn columns(header: Option<&csv::ByteRecord>) -> Result<HashMap<&'static str, usize>, OrdersError> {
    let mut columns = HashMap::new();
    for (at, name) in header.into_iter().flatten().enumerate() {
        let name = String::from_utf8_lossy(name);
        let name = name.trim_start_matches('\u{feff}');
        match REQUIRED.iter().chain(&OPTIONAL).find(|known| **known == name) {
            Some(known) => drop(columns.insert(*known, at)),
            None => {
                return Err(OrdersError::FileInvalid {
                    en: format!(
                        "column {:?} is not known; the columns are {}, {}.",
                        clean(name, 40),
                        REQUIRED.join(", "),
                        OPTIONAL.join(", ")
                    ),
                    zh: format!(
                        "列 {:?} 无法识别；可用列：{}、{}。",
                        clean(name, 40),
                        REQUIRED.join("、"),
                        OPTIONAL.join("、")
                    ),
                });
            }
        }
    }
    if let Some(missing) = REQUIRED.iter().find(|name| !columns.contains_key(*name)) {
        return Err(OrdersError::FileInvalid {
            en: format!("the column {missing} is missing."),
            zh: format!("缺少列 {missing}。"),
        });
    }
    Ok(columns)
}

fn csv_row(
    text: &StringRecord,
    columns: &HashMap<&'static str, usize>,
    line: u64,
    currency: Currency,
) -> Result<Head, Record> {
    let cell = |name: &str| {
        columns
            .get(name)
            .and_then(|at| text.get(*at))
            .unwrap_or_default()
            .to_owned()
    };
    let some = |name: &str| Some(cell(name)).filter(|value| !value.is_empty());
    if let Some(named) = some("currency")
        && named != currency.code()
    {
        return Err(refused(
            line,
            format!("line {line} is in {named}, the programme counts in {currency}"),
            format!("第 {line} 行币种为 {named}，会员方案币种为 {currency}"),
        ));
    }
    let quantity = match some("quantity") {
        None => 1,
        Some(quantity) => quantity.parse().map_err(|_| {
            refused(
                line,
                format!("line {line}: the quantity is not whole"),
                format!("第 {line} 行：数量应为整数"),
            )
        })?,
    };
    let amount = cell("amount");
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
        lines: vec![Line {
            sku: cell("sku"),
            name: cell("name"),
            category: some("category"),
            quantity,
            amount,
        }],
        amount: String::new(),
    })
}

fn send(
    line: u64,
    rows: i64,
    rows_through: i64,
    head: Result<Head, Record>,
    source: &Code,
    currency: Currency,
    emit: Emit<'_>,
) -> bool {
    let record = head
        .and_then(|head| record(head, line, source, currency))
        .unwrap_or_else(|problem| problem);
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

fn record(head: Head, line: u64, source: &Code, currency: Currency) -> Result<Record, Record> {
    let wrong = |field: &str| {
        refused(
            line,
            format!("line {line}: {field} is not valid"),
            format!("第 {line} 行：{field} 无效"),
        )
    };
    let code = |text: &Option<String>, field: &str| -> Result<Option<Code>, Record> {
        text.as_ref()
            .map(|text| text.parse())
            .transpose()
            .map_err(|_| wrong(field))
    };
    let external_no: OrderNo = head.order_no.parse().map_err(|_| wrong("order_no"))?;
    let at: Timestamp = head.at.parse().map_err(|_| wrong("at"))?;
    let mut lines = Vec::with_capacity(head.lines.len());
    for item in &head.lines {
        lines.push(LineDocument {
            sku: clean(&item.sku, 64),
            name: clean(&item.name, 200),
            category: item.category.as_deref().map(|category| clean(category, 64)),
            quantity: item.quantity,
            amount_minor: minor_of(&item.amount).ok_or_else(|| wrong("amount"))?,
        });
    }
    let sum = lines
        .iter()
        .try_fold(0_i64, |sum, item| sum.checked_add(item.amount_minor))
        .ok_or_else(|| wrong("amount"))?;
    let total = if head.amount.is_empty() {
        sum
    } else {
        minor_of(&head.amount).ok_or_else(|| wrong("amount"))?
    };
    if lines.is_empty() {
        lines.push(LineDocument {
            sku: String::new(),
            name: String::new(),
            category: None,
            quantity: 1,
            amount_minor: total,
        });
    }
    let owner = match (head.customer_no, head.phone) {
        (Some(number), _) => Owner::Customer(number),
        (None, Some(phone)) => Owner::Phone(phone),
        (None, None) => Owner::Nobody,
    };
    match (head.kind.as_str(), head.refund_of) {
        ("purchase", None) => Ok(Record::Document(
            owner,
            Document::Purchase(PurchaseDocument {
                source: source.clone(),
                external_no,
                kind: PurchaseKind::Sale,
                channel: code(&head.channel, "channel")?
                    .map_or_else(|| "import".parse().map_err(|_| wrong("channel")), Ok)?,
                store_code: code(&head.store, "store")?,
                payment_method: code(&head.payment_method, "payment_method")?,
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
    let owner = match owner {
        Owner::Customer(number) => ("customer", number.as_str()),
        Owner::Phone(phone) => ("phone", phone.as_str()),
        Owner::Nobody => ("", ""),
    };
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
