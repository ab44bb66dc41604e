//! The admin API: the versions of the programme.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use garde::Validate;
use huika_core::{Bilingual, Currency, Rate, Rounding, Timestamp};
use huika_http::{ApiResult, Body, Caller, InvalidInput, Page, Path, Problems};
use huika_ledger::NegativePolicy;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ExpiryRule, Loyalty, ProgramVersion, Rules, Tier};

const MAX_LIMIT: i64 = 1_000_000_000_000;

/// The rules of a programme.
#[derive(Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RulesBody {
    /// The zone of the programme's business dates.
    #[garde(length(min = 1, max = 64))]
    #[schema(min_length = 1, max_length = 64, example = "Asia/Shanghai")]
    time_zone: String,
    /// The currency of purchases.
    #[garde(length(equal = 3))]
    #[schema(min_length = 3, max_length = 3, example = "CNY")]
    currency: String,
    /// Points per minor unit: 1/100 is one point per yuan.
    #[garde(dive)]
    points_rate: RateBody,
    /// How the part that a multiplier adds becomes whole.
    #[garde(skip)]
    bonus_rounding: RoundingBody,
    /// Days from the purchase until its points can be spent.
    #[garde(range(max = 365))]
    #[schema(minimum = 0, maximum = 365, example = 7)]
    pending_days: u16,
    /// When points are lost.
    #[garde(dive)]
    expiry: ExpiryBody,
    /// When a refund takes back more points than there are: how far below zero the balance may go before the rest
    /// is forgiven. 0 takes what exists.
    #[garde(range(min = 0, max = MAX_LIMIT))]
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64, example = 100_000)]
    negative_limit: i64,
    /// Days that points live on which return from a refund after their date.
    #[garde(range(max = 365))]
    #[schema(minimum = 0, maximum = 365, example = 30)]
    grace_days: u16,
    /// From the lowest to the highest; the first begins at zero.
    #[garde(length(min = 1, max = 20), dive)]
    #[schema(min_items = 1, max_items = 20)]
    tiers: Vec<TierBody>,
}

/// An exact fraction.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RateBody {
    /// Above the line.
    #[garde(range(max = 1_000_000))]
    #[schema(minimum = 0, maximum = 1_000_000, example = 12)]
    numerator: u32,
    /// Below the line.
    #[garde(range(min = 1, max = 1_000_000))]
    #[schema(minimum = 1, maximum = 1_000_000, example = 10)]
    denominator: u32,
}

/// How a fraction becomes whole.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RoundingBody {
    /// Down.
    Floor,
    /// Up.
    Ceiling,
    /// To the nearest, halves up (四舍五入).
    HalfUp,
    /// To the nearest, halves to the even neighbour.
    HalfEven,
}

/// When points are lost: always at the end of a date.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpiryBody {
    /// The kind of rule.
    #[garde(skip)]
    kind: ExpiryKindBody,
    /// How many days, months or years after the purchase. 0 where the kind needs none.
    #[serde(default)]
    #[garde(range(max = 3_650))]
    #[schema(minimum = 0, maximum = 3_650, example = 1)]
    after: u16,
}

/// The kinds of expiry.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ExpiryKindBody {
    /// Points stay.
    Never,
    /// So many days after the purchase.
    DaysAfter,
    /// At the end of the month that many months after.
    EndOfMonthAfter,
    /// At the end of the year that many years after.
    EndOfYearAfter,
}

/// A tier by net spend.
#[derive(Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TierBody {
    /// Stable.
    #[garde(length(min = 1, max = 32))]
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[a-z0-9_]{1,32}$",
        example = "silver"
    )]
    code: String,
    /// What Chinese readers call it.
    #[garde(length(chars, min = 1, max = 30))]
    #[schema(min_length = 1, max_length = 30, example = "白银会员")]
    name_zh: String,
    /// What English readers call it.
    #[garde(length(chars, min = 1, max = 30))]
    #[schema(min_length = 1, max_length = 30, example = "Silver")]
    name_en: String,
    /// The net spend from which a member belongs to it, in minor units.
    #[garde(range(min = 0, max = 1_000_000_000_000_000))]
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64, example = 100_000)]
    threshold_minor: i64,
    /// What base points are multiplied by.
    #[garde(dive)]
    multiplier: RateBody,
}

/// Rules and the moment from which they hold.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishProgramBody {
    /// The rules.
    #[garde(dive)]
    rules: RulesBody,
    /// From when on: at least ten seconds ahead, except for the first version. Absent: as soon as possible.
    #[garde(skip)]
    #[schema(value_type = Option<String>, format = DateTime)]
    effective_from: Option<Timestamp>,
}

/// A published version.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProgramVersionBody {
    /// Counts from 1.
    #[schema(example = 1)]
    version: i64,
    /// What holds.
    rules: RulesBody,
    /// From when on.
    #[schema(value_type = String, format = DateTime)]
    effective_from: Timestamp,
    /// When it was published.
    #[schema(value_type = String, format = DateTime)]
    published_at: Timestamp,
    /// By whom.
    published_by: String,
    /// Whether it was withdrawn before it held.
    withdrawn: bool,
}

/// Lists the versions of the programme, the first first.
///
/// Needs the permission `loyalty.read`.
#[utoipa::path(get, path = "/api/admin/v1/program-versions", tag = "loyalty",
    responses((status = 200, body = Page<ProgramVersionBody>, description = "Every version."), Problems))]
pub(super) async fn list_program_versions(
    State(loyalty): State<Arc<Loyalty>>,
    Caller(actor): Caller,
) -> ApiResult<Json<Page<ProgramVersionBody>>> {
    let versions = loyalty.program_versions(&actor).await?;
    Ok(Json(Page {
        items: versions.into_iter().map(Into::into).collect(),
        next_cursor: None,
    }))
}

/// Publishes a version of the programme.
///
/// Needs the permission `loyalty.publish`.
#[utoipa::path(post, path = "/api/admin/v1/program-versions", tag = "loyalty", request_body = PublishProgramBody,
    responses((status = 201, body = ProgramVersionBody, description = "The version is published."), Problems))]
pub(super) async fn publish_program(
    State(loyalty): State<Arc<Loyalty>>,
    Caller(actor): Caller,
    Body(body): Body<PublishProgramBody>,
) -> ApiResult<(StatusCode, Json<ProgramVersionBody>)> {
    let published = loyalty
        .publish_program(&actor, body.rules.try_into()?, body.effective_from)
        .await?;
    Ok((StatusCode::CREATED, Json(published.into())))
}

/// Withdraws a version of the programme that does not hold yet.
///
/// The versions before and after it hold on as if it had not been published. Needs the permission
/// `loyalty.publish`.
#[utoipa::path(post, path = "/api/admin/v1/program-versions/{version}/withdraw", tag = "loyalty",
    params(("version" = i64, Path, description = "The version.", minimum = 1, example = 2)),
    responses((status = 200, body = ProgramVersionBody, description = "The version is withdrawn."), Problems))]
pub(super) async fn withdraw_program(
    State(loyalty): State<Arc<Loyalty>>,
    Caller(actor): Caller,
    Path(VersionPath { version }): Path<VersionPath>,
) -> ApiResult<Json<ProgramVersionBody>> {
    Ok(Json(loyalty.withdraw_program(&actor, version).await?.into()))
}

/// A version of the programme.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct VersionPath {
    #[garde(range(min = 1))]
    version: i64,
}

impl TryFrom<RulesBody> for Rules {
    type Error = InvalidInput;

    fn try_from(body: RulesBody) -> Result<Self, InvalidInput> {
        let currency: Currency = body.currency.parse().map_err(|_| {
            InvalidInput::field(
                "rules.currency",
                "This currency is not supported.",
                "不支持该货币。",
            )
        })?;
        let after = body.expiry.after;
        Ok(Self {
            time_zone: body.time_zone,
            currency,
            points_rate: body.points_rate.into(),
            bonus_rounding: match body.bonus_rounding {
                RoundingBody::Floor => Rounding::Floor,
                RoundingBody::Ceiling => Rounding::Ceiling,
                RoundingBody::HalfUp => Rounding::HalfUp,
                RoundingBody::HalfEven => Rounding::HalfEven,
            },
            pending_days: body.pending_days,
            expiry: match body.expiry.kind {
                ExpiryKindBody::Never => ExpiryRule::Never,
                ExpiryKindBody::DaysAfter => ExpiryRule::DaysAfter { days: after },
                ExpiryKindBody::EndOfMonthAfter => ExpiryRule::EndOfMonthAfter { months: after },
                ExpiryKindBody::EndOfYearAfter => ExpiryRule::EndOfYearAfter {
                    years: after.min(255) as u8,
                },
            },
            claw_back: match body.negative_limit {
                0 => NegativePolicy::TakeExisting,
                limit => NegativePolicy::GoNegative { limit },
            },
            grace_days: body.grace_days,
            tiers: body
                .tiers
                .into_iter()
                .map(|tier| Tier {
                    code: tier.code,
                    name: Bilingual::new(tier.name_zh, tier.name_en),
                    threshold_minor: tier.threshold_minor,
                    multiplier: tier.multiplier.into(),
                })
                .collect(),
        })
    }
}

impl From<RateBody> for Rate {
    fn from(body: RateBody) -> Self {
        // The body was validated: the denominator is at least 1.
        Self::try_new(body.numerator, body.denominator.max(1)).unwrap_or(Self::ONE)
    }
}

impl From<Rate> for RateBody {
    fn from(rate: Rate) -> Self {
        Self {
            numerator: rate.numerator(),
            denominator: rate.denominator(),
        }
    }
}

impl From<ProgramVersion> for ProgramVersionBody {
    fn from(version: ProgramVersion) -> Self {
        let rules = version.rules;
        let (kind, after) = match rules.expiry {
            ExpiryRule::Never => (ExpiryKindBody::Never, 0),
            ExpiryRule::DaysAfter { days } => (ExpiryKindBody::DaysAfter, days),
            ExpiryRule::EndOfMonthAfter { months } => (ExpiryKindBody::EndOfMonthAfter, months),
            ExpiryRule::EndOfYearAfter { years } => (ExpiryKindBody::EndOfYearAfter, years.into()),
        };
        Self {
            version: version.version,
            rules: RulesBody {
                time_zone: rules.time_zone,
                currency: rules.currency.code().to_owned(),
                points_rate: rules.points_rate.into(),
                bonus_rounding: match rules.bonus_rounding {
                    Rounding::Floor => RoundingBody::Floor,
                    Rounding::Ceiling => RoundingBody::Ceiling,
                    Rounding::HalfUp => RoundingBody::HalfUp,
                    Rounding::HalfEven => RoundingBody::HalfEven,
                },
                pending_days: rules.pending_days,
                expiry: ExpiryBody { kind, after },
                negative_limit: match rules.claw_back {
                    NegativePolicy::TakeExisting => 0,
                    NegativePolicy::GoNegative { limit } => limit,
                },
                grace_days: rules.grace_days,
                tiers: rules
                    .tiers
                    .into_iter()
                    .map(|tier| TierBody {
                        code: tier.code,
                        name_zh: tier.name.zh,
                        name_en: tier.name.en,
                        threshold_minor: tier.threshold_minor,
                        multiplier: tier.multiplier.into(),
                    })
                    .collect(),
            },
            effective_from: version.effective_from,
            published_at: version.published_at,
            published_by: version.published_by,
            withdrawn: version.withdrawn,
        }
    }
}
