//! How values of the kernel look in JSON, for the description of the API.

#![allow(dead_code, reason = "these types describe others and are never made")]

use utoipa::ToSchema;

/// An exact fraction.
#[derive(ToSchema)]
#[schema(as = Rate, example = json!({"numerator": 12, "denominator": 10}))]
pub(crate) struct RateForm {
    /// Above the line.
    #[schema(minimum = 0, maximum = 1_000_000)]
    numerator: u32,
    /// Below the line.
    #[schema(minimum = 1, maximum = 1_000_000)]
    denominator: u32,
}

/// One text in both languages.
#[derive(ToSchema)]
#[schema(as = Bilingual, example = json!({"zh": "白银会员", "en": "Silver"}))]
pub(crate) struct BilingualForm {
    /// Simplified Chinese.
    #[schema(min_length = 1, max_length = 90)]
    zh: String,
    /// English.
    #[schema(min_length = 1, max_length = 90)]
    en: String,
}

/// How a fraction becomes whole.
#[derive(ToSchema)]
#[schema(as = Rounding, rename_all = "snake_case")]
pub(crate) enum RoundingForm {
    /// Down.
    Floor,
    /// Up.
    Ceiling,
    /// To the nearest, halves away from zero (四舍五入).
    HalfUp,
    /// To the nearest, halves to the even neighbour.
    HalfEven,
}

/// What happens when more is to be taken back than there is.
#[derive(ToSchema)]
#[schema(as = NegativePolicy, rename_all = "snake_case")]
pub(crate) enum NegativePolicyForm {
    /// What exists is taken, the rest is forgiven.
    TakeExisting,
    /// The balance goes below zero; the next credits repay it.
    GoNegative {
        /// How far below zero at most; what lies beyond is forgiven.
        #[schema(minimum = 1, maximum = 1_000_000_000_000_i64)]
        limit: i64,
    },
}
