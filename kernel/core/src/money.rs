//! Money in minor units with its currency. Checked arithmetic only.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An amount left the range of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the amount is too large")]
pub struct Overflow;

/// A currency with two decimal places, by its ISO 4217 code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// Renminbi, counted in fen.
    pub const CNY: Self = Self(*b"CNY");
    /// Pound sterling, counted in pence.
    pub const GBP: Self = Self(*b"GBP");

    /// The ISO 4217 code.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// The sign that people write before an amount.
    pub fn sign(&self) -> &str {
        match &self.0 {
            b"CNY" => "¥",
            b"GBP" => "£",
            b"USD" => "$",
            b"EUR" => "€",
            b"HKD" => "HK$",
            _ => self.code(),
        }
    }
}

/// The text is no currency that Huika counts in hundredths.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the currency must be one of CNY, HKD, MOP, TWD, SGD, MYR, THB, USD, EUR, GBP, AUD, CAD")]
pub struct UnknownCurrency;

impl FromStr for Currency {
    type Err = UnknownCurrency;
    fn from_str(code: &str) -> Result<Self, UnknownCurrency> {
        // Currencies without two decimals (JPY, KRW, KWD) are refused rather than miscounted.
        const TWO_DECIMALS: [&str; 12] = [
            "CNY", "HKD", "MOP", "TWD", "SGD", "MYR", "THB", "USD", "EUR", "GBP", "AUD", "CAD",
        ];
        if !TWO_DECIMALS.contains(&code) {
            return Err(UnknownCurrency);
        }
        let mut letters = [0; 3];
        letters.copy_from_slice(code.as_bytes());
        Ok(Self(letters))
    }
}
impl TryFrom<String> for Currency {
    type Error = UnknownCurrency;
    fn try_from(code: String) -> Result<Self, UnknownCurrency> {
        code.parse()
    }
}
impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}
impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount of money: minor units (fen) and the currency they are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Minor units, for CNY fen.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// An amount of minor units.
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Adds an amount of the same currency.
    ///
    /// # Errors
    /// When the sum leaves 64 bits.
    ///
    /// # Panics
    /// When the currencies differ: intake refuses foreign currencies before anything is added.
    pub fn checked_add(self, other: Self) -> Result<Self, Overflow> {
        assert_eq!(
            self.currency, other.currency,
            "amounts of two currencies were added"
        );
        let minor = self.minor.checked_add(other.minor).ok_or(Overflow)?;
        Ok(Self { minor, ..self })
    }
}

impl fmt::Display for Money {
    /// `¥268`, `¥268.50`, `-£0.05`: as a person writes it, without trailing zeros of whole amounts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minus = if self.minor < 0 { "-" } else { "" };
        let magnitude = self.minor.unsigned_abs();
        let (whole, cents) = (magnitude / 100, magnitude % 100);
        write!(f, "{minus}{}{whole}", self.currency.sign())?;
        if cents > 0 {
            write!(f, ".{cents:02}")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_reads_as_a_person_writes_it() {
        let show = |minor| Money::new(minor, Currency::CNY).to_string();
        assert_eq!(show(26_800), "¥268");
        assert_eq!(show(26_850), "¥268.50");
        assert_eq!(show(-5), "-¥0.05");
        assert_eq!(show(i64::MIN), "-¥92233720368547758.08");
    }

    #[test]
    fn sums_beyond_64_bits_are_refused() {
        let max = Money::new(i64::MAX, Currency::CNY);
        assert_eq!(max.checked_add(Money::new(1, Currency::CNY)), Err(Overflow));
    }

    #[test]
    fn currencies_without_two_decimals_are_refused() {
        assert!("JPY".parse::<Currency>().is_err());
        assert!("cny".parse::<Currency>().is_err());
        assert_eq!("CNY".parse(), Ok(Currency::CNY));
    }
}
