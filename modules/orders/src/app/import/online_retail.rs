//! The "Online Retail" history: InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID,
//! Country, in order of day.
//!
//! The rows of an invoice mostly, not always, follow each other: invoices are put together per day. Numbers
//! that begin with C are refunds whose purchase is unknown, those that begin with A are adjustments. A line is
//! quantity × price, rounded half up to the penny. Rows without a customer are anonymous sales; exact copies
//! of a row are lines of their own.

use std::io::Read;

use csv::StringRecord;
use huika_core::{Calendar, Currency, Timestamp};
use huika_members::Code;
use rust_decimal::{Decimal, RoundingStrategy, prelude::ToPrimitive};

use super::{Emit, Item, Owner, Record, RefusedRow, clean, refused};
use crate::{
    Document, LineDocument, OrderNo, OrdersError, PurchaseDocument, PurchaseKind, UnlinkedRefundDocument,
};

const COLUMNS: [&str; 8] = [
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
];
/// Rows of one day that are kept in memory; the busiest day of the real file has about 5,000.
const MAX_ROWS_OF_A_DAY: usize = 1_000_000;

struct Row {
    line: u64,
    invoice: String,
    placed_at: Timestamp,
    customer: Option<String>,
    item: LineDocument,
}

struct Invoice {
    line: u64,
    rows: i64,
    result: Result<Vec<Row>, RefusedRow>,
    number: String,
    /// Whether one of its rows has a date. Until then it may belong to the next day.
    dated: bool,
}

/// Reads the file to its end and returns the number of rows.
pub(super) fn read(
    input: Box<dyn Read>,
    source: &Code,
    currency: Currency,
    emit: Emit<'_>,
) -> Result<i64, OrdersError> {
    let invalid = |en: String, zh: &str| OrdersError::FileInvalid {
        en,
        zh: zh.to_owned(),
    };
    // The shop sold from the United Kingdom: its clock is the one of the file.
    let calendar =
        Calendar::try_new("Europe/London").map_err(|error| invalid(error.to_string(), "缺少时区数据。"))?;
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(input);
    let header = reader
        .byte_headers()
        .map_err(|error| invalid(format!("its header cannot be read ({error})."), "表头无法读取。"))?;
    if !header.iter().eq(COLUMNS.iter().map(|name| name.as_bytes())) {
        return Err(invalid(
            format!("its first line must be {}.", COLUMNS.join(",")),
            "首行必须为 InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country。",
        ));
    }
    let mut rows = 0;
    let mut day: Vec<Invoice> = Vec::new();
    let mut date = String::new();
    let mut rows_of_day = 0;
    let mut record = csv::ByteRecord::new();
    loop {
        let more = match reader.read_byte_record(&mut record) {
            Ok(more) => more,
            Err(error) if error.is_io_error() => {
                return Err(invalid(
                    format!("it breaks off after row {rows} ({error})."),
                    "文件损坏或不完整。",
                ));
            }
            Err(_) => true,
        };
        if !more {
            flush(&mut day, rows, source, currency, emit);
            return Ok(rows);
        }
        let line = record.position().map_or(0, csv::Position::line);
        let text = StringRecord::from_byte_record_lossy(record.clone());
        let number = text.get(0).unwrap_or_default();
        let moment = text.get(4).unwrap_or_default();
        let placed_at = calendar.parse_local(moment).ok();
        // A row without a date stays with its invoice, so that it takes all of it along.
        let today = moment.get(..10).filter(|_| placed_at.is_some()).unwrap_or(&date);
        if today != date || rows_of_day >= MAX_ROWS_OF_A_DAY {
            let ahead = day.pop_if(|last| !last.dated && last.number == number);
            let rows_ahead = ahead.as_ref().map_or(0, |invoice| invoice.rows);
            if !flush(&mut day, rows - rows_ahead, source, currency, emit) {
                return Err(OrdersError::Stopping);
            }
            day.extend(ahead);
            date = today.to_owned();
            rows_of_day = 0;
        }
        rows += 1;
        rows_of_day += 1;
        collect(
            &mut day,
            number,
            line,
            placed_at.is_some(),
            parse(&text, line, placed_at),
        );
    }
}

/// Adds a row to its invoice of the day. A bad row makes the whole invoice bad.
fn collect(day: &mut Vec<Invoice>, number: &str, line: u64, dated: bool, parsed: Result<Row, RefusedRow>) {
    let at = day
        .iter()
        .rposition(|invoice| invoice.number == number)
        .unwrap_or_else(|| {
            day.push(Invoice {
                line,
                rows: 0,
                result: Ok(Vec::new()),
                number: number.to_owned(),
                dated,
            });
            day.len() - 1
        });
    let invoice = &mut day[at];
    invoice.rows += 1;
    invoice.dated |= dated;
    match (&mut invoice.result, parsed) {
        (Ok(rows), Ok(row)) => rows.push(row),
        (result @ Ok(_), Err(problem)) => *result = Err(problem),
        (Err(_), _) => {}
    }
}

fn flush(day: &mut Vec<Invoice>, rows: i64, source: &Code, currency: Currency, emit: Emit<'_>) -> bool {
    let last = day.len().saturating_sub(1);
    let before = rows - day.iter().map(|invoice| invoice.rows).sum::<i64>();
    for (at, invoice) in day.drain(..).enumerate() {
        let record = match invoice.result {
            Ok(rows) => document(rows, source, currency).unwrap_or_else(Record::Refused),
            Err(problem) => Record::Refused(problem),
        };
        let rows_through = if at == last { rows } else { before };
        if !emit(
            Item {
                line: invoice.line,
                rows: invoice.rows,
                rows_through,
                group_end: rows,
                record,
            },
            at == last,
        ) {
            return false;
        }
    }
    true
}

fn parse(text: &StringRecord, line: u64, placed_at: Option<Timestamp>) -> Result<Row, RefusedRow> {
    if text.len() != COLUMNS.len() {
        return Err(refused(
            line,
            format!(
                "line {line} has {} columns instead of {}",
                text.len(),
                COLUMNS.len()
            ),
            format!("第 {line} 行有 {} 列，应为 {} 列", text.len(), COLUMNS.len()),
        ));
    }
    let wrong = |column: usize| {
        let (name, value) = (COLUMNS[column], clean(&text[column], 40));
        refused(
            line,
            format!("line {line}: {name} {value:?} is not valid"),
            format!("第 {line} 行：{name} {value:?} 无效"),
        )
    };
    let quantity: i64 = text[3].parse().map_err(|_| wrong(3))?;
    let price: Decimal = text[5].parse().map_err(|_| wrong(5))?;
    let amount_minor = Decimal::from(quantity)
        .checked_mul(price)
        .and_then(|amount| amount.checked_mul(Decimal::ONE_HUNDRED))
        .map(|amount| amount.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero))
        .and_then(|amount| amount.to_i64())
        .ok_or_else(|| wrong(5))?;
    let placed_at = placed_at.ok_or_else(|| wrong(4))?;
    // Customers are written like 17850.0.
    let customer = text[6].strip_suffix(".0").unwrap_or(&text[6]);
    if !customer.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong(6));
    }
    let item = LineDocument {
        sku: clean(&text[1], 64),
        name: clean(&text[2], 200),
        category: None,
        quantity,
        amount_minor,
    };
    let customer = (!customer.is_empty()).then(|| customer.to_owned());
    Ok(Row {
        line,
        invoice: text[0].to_owned(),
        placed_at,
        customer,
        item,
    })
}

/// The document that the rows of an invoice make.
fn document(rows: Vec<Row>, source: &Code, currency: Currency) -> Result<Record, RefusedRow> {
    let Some(first) = rows.first() else {
        return Err(refused(0, "an invoice has no rows", "订单没有明细"));
    };
    let (line, placed_at) = (first.line, first.placed_at);
    let external_no: OrderNo = first.invoice.parse().map_err(|_| {
        refused(
            line,
            format!("line {line}: the invoice number is not valid"),
            format!("第 {line} 行：订单号无效"),
        )
    })?;
    if rows.iter().any(|row| row.customer != first.customer) {
        return Err(refused(
            line,
            format!("invoice {external_no} belongs to two customers"),
            format!("订单 {external_no} 属于两个客户"),
        ));
    }
    let owner = Owner {
        customer_no: first.customer.clone(),
        phone: None,
    };
    let kind = first.invoice.bytes().next();
    let mut lines: Vec<LineDocument> = rows.into_iter().map(|row| row.item).collect();
    let too_large = || {
        refused(
            line,
            format!("invoice {external_no} is too large"),
            format!("订单 {external_no} 金额过大"),
        )
    };
    let total = lines
        .iter()
        .try_fold(0_i64, |sum, item| sum.checked_add(item.amount_minor))
        .ok_or_else(too_large)?;
    let document = if kind == Some(b'C') {
        for item in &mut lines {
            item.amount_minor = -item.amount_minor;
        }
        Document::UnlinkedRefund(UnlinkedRefundDocument {
            source: source.clone(),
            external_no,
            refunded_at: placed_at,
            currency,
            amount_minor: -total,
            lines,
        })
    } else {
        let kind = if kind == Some(b'A') {
            PurchaseKind::Adjustment
        } else {
            PurchaseKind::Sale
        };
        Document::Purchase(PurchaseDocument {
            source: source.clone(),
            external_no,
            kind,
            channel: "online"
                .parse()
                .map_err(|_| refused(line, "no channel", "渠道无效"))?,
            store_code: None,
            payment_method: None,
            placed_at,
            currency,
            paid_minor: total,
            lines,
        })
    };
    Ok(Record::Document(owner, document))
}
