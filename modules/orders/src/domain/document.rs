//! Purchases and refunds as they come in.

use std::{fmt, str::FromStr};

use huika_core::{Currency, Timestamp};
use huika_members::Code;
use serde::Serialize;

use crate::OrdersError;

/// The largest amount of one document: 10 billion yuan.
pub(crate) const MAX_AMOUNT: i64 = 1_000_000_000_000;

/// How far the clock of a till may run ahead of ours.
pub(crate) const CLOCK_SKEW_MS: i64 = 5 * 60 * 1_000;
/// Most lines of one document.
pub(crate) const MAX_LINES: usize = 500;

/// The number that a source gives an order or a refund: 1 to 64 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct OrderNo(String);

impl OrderNo {
    /// The longest number; the columns that store numbers have this width.
    pub const MAX_CHARS: usize = 64;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OrderNo {
    type Err = OrdersError;
    fn from_str(text: &str) -> Result<Self, OrdersError> {
        let fits = (1..=Self::MAX_CHARS).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(OrdersError::OrderNoInvalid)
        }
    }
}

impl fmt::Display for OrderNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A document that intake settles in batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Document {
    /// A purchase.
    Purchase(PurchaseDocument),
    /// A refund whose purchase is not known.
    UnlinkedRefund(UnlinkedRefundDocument),
}

/// What a purchase is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum PurchaseKind {
    /// A sale.
    Sale,
    /// A correction by the shop, such as a bad debt. May be negative; earns nothing.
    Adjustment,
}

impl PurchaseKind {
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Sale => 1,
            Self::Adjustment => 2,
        }
    }
}

/// A purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PurchaseDocument {
    /// The system that reports it.
    pub source: Code,
    /// Its number there.
    pub external_no: OrderNo,
    /// What it is.
    pub kind: PurchaseKind,
    /// Where it was made: pos, shop, mini_program …
    pub channel: Code,
    /// In which store.
    pub store_code: Option<Code>,
    /// How it was paid.
    pub payment_method: Option<Code>,
    /// When it was paid.
    pub placed_at: Timestamp,
    /// The currency of all amounts.
    pub currency: Currency,
    /// What was paid, discounts deducted.
    pub paid_minor: i64,
    /// What was bought. At least one; they add up to what was paid.
    pub lines: Vec<LineDocument>,
}

/// One line of a purchase or of a refund without a purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineDocument {
    /// The code of the article; empty when not told.
    pub sku: String,
    /// What it is called; empty when not told.
    pub name: String,
    /// Its category.
    pub category: Option<String>,
    /// How many.
    pub quantity: i64,
    /// What was paid for the line, discounts deducted.
    pub amount_minor: i64,
}

/// A refund whose purchase is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnlinkedRefundDocument {
    /// The system that reports it.
    pub source: Code,
    /// Its number there.
    pub external_no: OrderNo,
    /// When the money went back.
    pub refunded_at: Timestamp,
    /// The currency of all amounts.
    pub currency: Currency,
    /// What went back: positive.
    pub amount_minor: i64,
    /// What was returned. May be empty.
    pub lines: Vec<LineDocument>,
}

/// A refund of a known purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefundDocument {
    /// The system that reports both.
    pub source: Code,
    /// The number of the purchase.
    pub purchase_no: OrderNo,
    /// The number of the refund.
    pub external_no: OrderNo,
    /// When the money went back.
    pub refunded_at: Timestamp,
    /// What goes back.
    pub part: RefundedPart,
}

/// What of a purchase goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum RefundedPart {
    /// All that is left.
    Rest,
    /// An amount, spread over what is left of the lines.
    Amount {
        /// Minor units.
        minor: i64,
        /// Must be that of the purchase.
        currency: Currency,
    },
    /// Parts of lines.
    Lines(Vec<super::LineRefund>),
}

impl Document {
    pub(crate) fn source(&self) -> &Code {
        match self {
            Self::Purchase(purchase) => &purchase.source,
            Self::UnlinkedRefund(refund) => &refund.source,
        }
    }

    pub(crate) fn external_no(&self) -> &OrderNo {
        match self {
            Self::Purchase(purchase) => &purchase.external_no,
            Self::UnlinkedRefund(refund) => &refund.external_no,
        }
    }

    /// The moment at which it counts.
    pub(crate) fn moment(&self) -> Timestamp {
        match self {
            Self::Purchase(purchase) => purchase.placed_at,
            Self::UnlinkedRefund(refund) => refund.refunded_at,
        }
    }

    /// Checks amounts, times and sums. `latest` is now and what a till's clock may run ahead.
    pub(crate) fn validate(&self, currency: Currency, latest: Timestamp) -> Result<(), OrdersError> {
        let (at, of, total, lines, lowest) = match self {
            Self::Purchase(purchase) => {
                let lowest = if purchase.kind == PurchaseKind::Adjustment {
                    -MAX_AMOUNT
                } else {
                    0
                };
                (
                    purchase.placed_at,
                    purchase.currency,
                    purchase.paid_minor,
                    &purchase.lines,
                    lowest,
                )
            }
            Self::UnlinkedRefund(refund) => (
                refund.refunded_at,
                refund.currency,
                refund.amount_minor,
                &refund.lines,
                0,
            ),
        };
        if of != currency {
            return Err(OrdersError::CurrencyMismatch {
                currency: of.to_string(),
                expected: currency.to_string(),
            });
        }
        if at > latest {
            return Err(OrdersError::TimeInFuture);
        }
        let amounts = lines.iter().map(|line| line.amount_minor);
        if let Some(amount) = amounts
            .clone()
            .chain([total])
            .find(|amount| !(lowest..=MAX_AMOUNT).contains(amount))
        {
            return Err(OrdersError::AmountInvalid { amount });
        }
        // At most 500 lines or what a file holds, each within the limit: the sum stays within 64 bits.
        let sum: i64 = amounts.sum();
        // A refund may tell no lines. A purchase without any could never be refunded.
        let tells_lines = matches!(self, Self::Purchase(_)) || !lines.is_empty();
        if tells_lines && (lines.is_empty() || sum != total) {
            return Err(OrdersError::LinesDoNotAddUp {
                lines: sum,
                paid: total,
            });
        }
        Ok(())
    }
}
