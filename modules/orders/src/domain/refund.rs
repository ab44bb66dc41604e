//! What of which line a refund gives back.

use huika_core::allocate;
use serde::Serialize;

use super::RefundedPart;
use crate::OrdersError;

/// A part of a line that goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineRefund {
    /// The line of the purchase, counted from 1.
    pub line_no: i64,
    /// Minor units. `None`: all that is left of the line.
    pub amount_minor: Option<i64>,
}

/// A line as it stands before a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefundableLine {
    pub(crate) line_no: i64,
    pub(crate) paid_minor: i64,
    pub(crate) points: i64,
    pub(crate) refunded_minor: i64,
}

impl RefundableLine {
    fn left(&self) -> i64 {
        self.paid_minor - self.refunded_minor
    }
}

/// Decides how much of each line goes back: positions in `lines` and amounts, all positive.
pub(crate) fn decide_lines(
    lines: &[RefundableLine],
    part: &RefundedPart,
) -> Result<Vec<(usize, i64)>, OrdersError> {
    let left: i64 = lines.iter().map(RefundableLine::left).sum();
    let amounts = match part {
        RefundedPart::Rest => lines.iter().map(RefundableLine::left).collect(),
        RefundedPart::Amount { minor, .. } => {
            if *minor < 0 {
                return Err(OrdersError::AmountInvalid { amount: *minor });
            }
            if *minor > left {
                return Err(OrdersError::RefundExceeds {
                    left,
                    requested: *minor,
                });
            }
            let weights: Vec<i64> = lines.iter().map(RefundableLine::left).collect();
            allocate(*minor, &weights)
        }
        RefundedPart::Lines(wanted) => {
            let mut amounts = vec![0; lines.len()];
            let mut named = vec![false; lines.len()];
            for refund in wanted {
                let invalid = OrdersError::RefundLineInvalid {
                    line_no: refund.line_no,
                };
                let Some(at) = lines.iter().position(|line| line.line_no == refund.line_no) else {
                    return Err(invalid);
                };
                if std::mem::replace(&mut named[at], true) {
                    return Err(invalid);
                }
                let left = lines[at].left();
                let requested = refund.amount_minor.unwrap_or(left);
                if requested < 0 {
                    return Err(OrdersError::AmountInvalid { amount: requested });
                }
                if requested > left {
                    return Err(OrdersError::LineRefundExceeds {
                        line_no: refund.line_no,
                        left,
                        requested,
                    });
                }
                amounts[at] = requested;
            }
            amounts
        }
    };
    let decided: Vec<(usize, i64)> = amounts
        .into_iter()
        .enumerate()
        .filter(|(_, amount)| *amount > 0)
        .collect();
    if decided.is_empty() {
        Err(OrdersError::NothingToRefund)
    } else {
        Ok(decided)
    }
}

#[cfg(test)]
mod tests {
    use huika_core::{Currency, Refusal as _};

    use super::*;

    fn lines() -> Vec<RefundableLine> {
        let line = |line_no, paid_minor, refunded_minor| RefundableLine {
            line_no,
            paid_minor,
            points: 0,
            refunded_minor,
        };
        vec![line(1, 1_000, 0), line(2, 500, 500), line(3, 301, 100)]
    }

    fn code(part: RefundedPart) -> &'static str {
        decide_lines(&lines(), &part).map_or_else(|refused| refused.problem().code, |_| "ok")
    }

    #[test]
    fn an_amount_is_spread_over_what_is_left() {
        let part = RefundedPart::Amount {
            minor: 600,
            currency: Currency::CNY,
        };
        let decided = decide_lines(&lines(), &part).unwrap();
        assert_eq!(decided.iter().map(|(_, amount)| amount).sum::<i64>(), 600);
        assert_eq!(decided, [(0, 500), (2, 100)]);
        assert_eq!(
            decide_lines(&lines(), &RefundedPart::Rest).unwrap(),
            [(0, 1_000), (2, 201)]
        );
    }

    #[test]
    fn impossible_refunds_say_what_is_wrong() {
        let amount = |minor| RefundedPart::Amount {
            minor,
            currency: Currency::CNY,
        };
        let line = |line_no, amount_minor| LineRefund {
            line_no,
            amount_minor: Some(amount_minor),
        };
        assert_eq!(code(amount(1_202)), "orders.refund_exceeds");
        assert_eq!(code(amount(-1)), "orders.amount_invalid");
        assert_eq!(code(amount(0)), "orders.nothing_to_refund");
        assert_eq!(
            code(RefundedPart::Lines(vec![line(3, 202)])),
            "orders.line_refund_exceeds"
        );
        assert_eq!(
            code(RefundedPart::Lines(vec![line(4, 1)])),
            "orders.refund_line_invalid"
        );
        assert_eq!(
            code(RefundedPart::Lines(vec![line(1, 1), line(1, 1)])),
            "orders.refund_line_invalid"
        );
        assert_eq!(
            code(RefundedPart::Lines(vec![line(2, 0)])),
            "orders.nothing_to_refund"
        );
    }
}
