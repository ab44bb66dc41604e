//! Money on the wire.

use std::str::FromStr;

use huika_core::{Currency, Money};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::InvalidInput;

/// An amount of money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct MoneyBody {
    /// Minor units: fen, pence, cents.
    #[garde(skip)]
    #[schema(example = 26_800)]
    pub minor: i64,
    /// ISO 4217 code of a currency with two decimals.
    #[garde(length(equal = 3))]
    #[schema(min_length = 3, max_length = 3, example = "CNY")]
    pub currency: String,
}

impl From<Money> for MoneyBody {
    fn from(money: Money) -> Self {
        Self {
            minor: money.minor,
            currency: money.currency.code().to_owned(),
        }
    }
}

impl TryFrom<MoneyBody> for Money {
    type Error = InvalidInput;

    fn try_from(body: MoneyBody) -> Result<Self, InvalidInput> {
        let currency: Currency = body
            .currency
            .parse()
            .map_err(|error: <Currency as FromStr>::Err| {
                let zh = "不支持该货币：仅支持以百分之一为最小单位的常用货币，例如 CNY";
                InvalidInput::field("currency", error.to_string(), zh)
            })?;
        Ok(Self::new(body.minor, currency))
    }
}
