//! Our own formats, as docs/guides/import.md describes them: CSV with one row per line of a document, and JSON
//! lines with one document per line.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read},
};

use csv::StringRecord;
use huika_core::{Currency, Timestamp};
use huika_members::Code;
use rust_decimal::{Decimal, prelude::ToPrimitive};
use serde::Deserialize;

use super::{Emit, Item, Owner, Record, RefusedRow, clean, refused};
use crate::{
    Document, LineDocument, OrderNo, OrdersError, PurchaseDocument, PurchaseKind, RefundDocument,
    RefundedPart, UnlinkedRefundDocument, domain::MAX_LINES,
};

/// The longest line of a file.
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
    /// A bad row belongs to its document too, so that it takes all of it along. One that cannot be read as far as
    /// its number may belong to the document that is open: better none of it than a part.
    fn continues_with(&self, kind: &str, order_no: &str, bad: bool) -> bool {
        if order_no.is_empty() {
            return bad;
        }
        self.kind == kind && self.order_no == order_no
    }

    fn join(&mut self, line: u64, row: Result<Head, RefusedRow>) {
        self.rows += 1;
        let problem = match (&mut self.head, row) {
            (Ok(head), Ok(row)) => match head.difference(&row) {
                None if head.lines.len() >= MAX_LINES => too_many_lines(line),
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
///
/// A record is one physical line: a quote that is never closed spoils its own line and no other.
pub(super) fn read_csv(
    input: Box<dyn Read>,
    source: &Code,
    currency: Currency,
    emit: Emit<'_>,
) -> Result<i64, OrdersError> {
    let mut lines = Lines::of(input);
    let columns = loop {
        match lines.next(0)? {
            Some(Ok("")) => {}
            Some(Ok(text)) => break Columns::of(&cells(text))?,
            Some(Err(_)) | None => break Columns::of(&StringRecord::new())?,
        }
    };
    let mut rows = 0;
    let mut open: Option<Open> = None;
    loop {
        let Some(read) = lines.next(rows)? else { break };
        let (text, intact) = match read {
            Ok("") => continue,
            Ok(text) => (cells(text), one_record(text)),
            Err(too_long) => (StringRecord::new(), Err(too_long)),
        };
        let line = lines.number;
        let (kind, order_no) = (columns.cell(&text, "kind"), columns.cell(&text, "order_no"));
        let row = match intact {
            Ok(()) => csv_row(&text, &columns, line, currency),
            Err(broken) => Err(broken.refusal(line)),
        };
        match &mut open {
            Some(open) if open.continues_with(kind, order_no, row.is_err()) => open.join(line, row),
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
    let mut lines = Lines::of(input);
    let mut rows = 0;
    while let Some(read) = lines.next(rows)? {
        rows += 1;
        let head = match read {
            Ok("") => continue,
            Ok(text) => serde_json::from_str::<Head>(text).map_err(|error| {
                let error = clean(&error.to_string(), 200);
                (error.clone(), error)
            }),
            Err(too_long) => Err(too_long.words()),
        };
        let line = lines.number;
        let head = head.map_err(|(en, zh)| {
            refused(
                line,
                format!("line {line} is no document: {en}"),
                format!("第 {line} 行格式错误：{zh}"),
            )
        });
        if !send(line, 1, rows, head, source, currency, emit) {
            return Err(OrdersError::Stopping);
        }
    }
    Ok(rows)
}

/// The physical lines of a file, none of them kept longer than [`MAX_LINE_BYTES`].
struct Lines {
    reader: BufReader<Box<dyn Read>>,
    bytes: Vec<u8>,
    text: String,
    /// The line that was read last, counted from 1.
    number: u64,
}

/// Why a line is no record.
#[derive(Debug, Clone, Copy)]
enum BrokenLine {
    TooLong,
    QuoteOpen,
}

impl BrokenLine {
    fn words(self) -> (String, String) {
        match self {
            Self::TooLong => (
                format!("it is longer than {MAX_LINE_BYTES} bytes"),
                format!("超过 {MAX_LINE_BYTES} 字节"),
            ),
            Self::QuoteOpen => (
                "a quote is opened and not closed: a record is one line, and a quote within a text is doubled".into(),
                "引号未成对：每条记录占一行，文本中的引号须写两遍".into(),
            ),
        }
    }

    fn refusal(self, line: u64) -> RefusedRow {
        let (en, zh) = self.words();
        refused(line, format!("line {line}: {en}"), format!("第 {line} 行：{zh}"))
    }
}

impl Lines {
    fn of(input: Box<dyn Read>) -> Self {
        Self {
            reader: BufReader::new(input),
            bytes: Vec::new(),
            text: String::new(),
            number: 0,
        }
    }

    /// The next line without its end and blanks around it; `rows` are those that were read before it.
    fn next(&mut self, rows: i64) -> Result<Option<Result<&str, BrokenLine>>, OrdersError> {
        self.bytes.clear();
        let length = (&mut self.reader)
            .take(MAX_LINE_BYTES as u64 + 1)
            .read_until(b'\n', &mut self.bytes)
            .map_err(|_| broken_off(rows))?;
        if length == 0 {
            return Ok(None);
        }
        self.number += 1;
        if length > MAX_LINE_BYTES {
            if self.bytes.last() != Some(&b'\n') {
                skip_line(&mut self.reader).map_err(|_| broken_off(rows))?;
            }
            return Ok(Some(Err(BrokenLine::TooLong)));
        }
        self.text.clear();
        self.text.push_str(&String::from_utf8_lossy(&self.bytes));
        Ok(Some(Ok(self.text.trim_start_matches('\u{feff}').trim())))
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

/// Quotes come in pairs: around a text, and doubled within it.
fn one_record(text: &str) -> Result<(), BrokenLine> {
    if text.bytes().filter(|byte| *byte == b'"').count() % 2 == 0 {
        Ok(())
    } else {
        Err(BrokenLine::QuoteOpen)
    }
}

/// The cells of one line; of a broken one those before the break are right.
fn cells(line: &str) -> StringRecord {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .has_headers(false)
        .trim(csv::Trim::All)
        .buffer_capacity(line.len().max(1))
        .from_reader(line.as_bytes());
    let mut record = StringRecord::new();
    // The line is text already, and a flexible reader refuses no number of cells.
    if reader.read_record(&mut record).is_err() {
        record.clear();
    }
    record
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
    fn of(header: &StringRecord) -> Result<Self, OrdersError> {
        let invalid = |en: String, zh: String| Err(OrdersError::FileInvalid { en, zh });
        let mut places = HashMap::new();
        for (at, name) in header.iter().enumerate() {
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

fn too_many_lines(line: u64) -> RefusedRow {
    refused(
        line,
        format!("line {line}: a document has at most {MAX_LINES} lines"),
        format!("第 {line} 行：每个单据最多 {MAX_LINES} 行明细"),
    )
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
    if head.lines.len() > MAX_LINES {
        return Err(too_many_lines(line));
    }
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
