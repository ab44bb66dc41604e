//! Exact rates. 1 point per yuan, 95 折 and ×1.2 are fractions of integers, never floats.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Overflow;

/// How a fraction becomes a whole number. Every division of value names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// Towards negative infinity.
    Floor,
    /// Towards positive infinity.
    Ceiling,
    /// To the nearest; halves away from zero (四舍五入).
    HalfUp,
    /// To the nearest; halves to the even neighbour.
    HalfEven,
}

/// An exact, non-negative fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RateParts", into = "RateParts")]
pub struct Rate {
    numerator: u32,
    denominator: u32,
}

/// The fraction has the denominator zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the denominator of a rate must be at least 1")]
pub struct InvalidRate;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RateParts {
    numerator: u32,
    denominator: u32,
}

impl Rate {
    /// One.
    pub const ONE: Self = Self {
        numerator: 1,
        denominator: 1,
    };

    /// A fraction.
    ///
    /// # Errors
    /// When the denominator is zero.
    pub const fn try_new(numerator: u32, denominator: u32) -> Result<Self, InvalidRate> {
        if denominator == 0 {
            return Err(InvalidRate);
        }
        Ok(Self {
            numerator,
            denominator,
        })
    }

    /// The numerator.
    pub const fn numerator(self) -> u32 {
        self.numerator
    }

    /// The denominator, at least 1.
    pub const fn denominator(self) -> u32 {
        self.denominator
    }

    /// `amount × self`, rounded.
    ///
    /// # Errors
    /// When the result leaves 64 bits.
    pub fn apply(self, amount: i64, rounding: Rounding) -> Result<i64, Overflow> {
        divide(
            i128::from(amount) * i128::from(self.numerator),
            i128::from(self.denominator),
            rounding,
        )
    }

    /// `amount × (self − 1)`, rounded: what a multiplier adds to a base. Negative below one.
    ///
    /// # Errors
    /// When the result leaves 64 bits.
    pub fn apply_excess(self, amount: i64, rounding: Rounding) -> Result<i64, Overflow> {
        let excess = i128::from(self.numerator) - i128::from(self.denominator);
        divide(
            i128::from(amount) * excess,
            i128::from(self.denominator),
            rounding,
        )
    }

    /// `self × other` in lowest terms.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn times(self, other: Self) -> Result<Self, Overflow> {
        let numerator = u64::from(self.numerator) * u64::from(other.numerator);
        let denominator = u64::from(self.denominator) * u64::from(other.denominator);
        let divisor = greatest_common_divisor(numerator, denominator).max(1);
        Ok(Self {
            numerator: u32::try_from(numerator / divisor).map_err(|_| Overflow)?,
            denominator: u32::try_from(denominator / divisor).map_err(|_| Overflow)?,
        })
    }

    /// Whether it is greater than another: 12/10 does not exceed 6/5.
    pub fn exceeds(self, other: Self) -> bool {
        u64::from(self.numerator) * u64::from(other.denominator)
            > u64::from(other.numerator) * u64::from(self.denominator)
    }

    /// `total × part ÷ whole`, rounded: a share pro rata.
    ///
    /// # Errors
    /// When the result leaves 64 bits.
    ///
    /// # Panics
    /// When `whole` is not positive: callers return early for an empty whole.
    pub fn pro_rata(total: i64, part: i64, whole: i64, rounding: Rounding) -> Result<i64, Overflow> {
        assert!(whole > 0, "a share of a whole of {whole}");
        divide(i128::from(total) * i128::from(part), i128::from(whole), rounding)
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

/// Divides by a positive number.
fn divide(numerator: i128, denominator: i128, rounding: Rounding) -> Result<i64, Overflow> {
    let floor = numerator.div_euclid(denominator);
    let rest = numerator.rem_euclid(denominator);
    let up = match rounding {
        Rounding::Floor => false,
        Rounding::Ceiling => rest > 0,
        Rounding::HalfUp if numerator < 0 => rest * 2 > denominator,
        Rounding::HalfUp => rest * 2 >= denominator,
        Rounding::HalfEven => rest * 2 > denominator || (rest * 2 == denominator && floor % 2 != 0),
    };
    i64::try_from(floor + i128::from(up)).map_err(|_| Overflow)
}

impl TryFrom<RateParts> for Rate {
    type Error = InvalidRate;
    fn try_from(parts: RateParts) -> Result<Self, InvalidRate> {
        Self::try_new(parts.numerator, parts.denominator)
    }
}
impl From<Rate> for RateParts {
    fn from(rate: Rate) -> Self {
        Self {
            numerator: rate.numerator,
            denominator: rate.denominator,
        }
    }
}

impl fmt::Display for Rate {
    /// As a decimal where it ends within four places (`1.2`), else as the fraction (`1/3`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scaled = u64::from(self.numerator) * 10_000;
        if !scaled.is_multiple_of(u64::from(self.denominator)) {
            return write!(f, "{}/{}", self.numerator, self.denominator);
        }
        let ten_thousandths = scaled / u64::from(self.denominator);
        let (whole, rest) = (ten_thousandths / 10_000, ten_thousandths % 10_000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let decimals = format!("{rest:04}");
        write!(f, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_modes_differ_exactly_where_they_should() {
        let half = Rate::try_new(1, 2).unwrap_or(Rate::ONE);
        let table = [
            // amount, floor, ceiling, half up, half even
            (5, 2, 3, 3, 2),
            (7, 3, 4, 4, 4),
            (-5, -3, -2, -3, -2),
            (4, 2, 2, 2, 2),
        ];
        for (amount, floor, ceiling, half_up, half_even) in table {
            assert_eq!(half.apply(amount, Rounding::Floor), Ok(floor), "{amount} floor");
            assert_eq!(
                half.apply(amount, Rounding::Ceiling),
                Ok(ceiling),
                "{amount} ceiling"
            );
            assert_eq!(
                half.apply(amount, Rounding::HalfUp),
                Ok(half_up),
                "{amount} half up"
            );
            assert_eq!(
                half.apply(amount, Rounding::HalfEven),
                Ok(half_even),
                "{amount} half even"
            );
        }
    }

    #[test]
    fn a_multiplier_adds_its_excess() {
        let gold = Rate::try_new(12, 10).unwrap_or(Rate::ONE);
        assert_eq!(gold.apply_excess(248, Rounding::Floor), Ok(49));
        assert_eq!(gold.to_string(), "1.2");
        assert_eq!(
            Rate::try_new(1, 3).map(|rate| rate.to_string()),
            Ok("1/3".to_owned())
        );
    }

    #[test]
    fn results_beyond_64_bits_are_refused() {
        let double = Rate::try_new(2, 1).unwrap_or(Rate::ONE);
        assert_eq!(double.apply(i64::MAX, Rounding::Floor), Err(Overflow));
    }
}
