//! The admin API: counts, a member's latest events, and the settings.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use garde::Validate;
use huika_core::{BusinessDate, MemberId, Timestamp};
use huika_http::{ApiResult, Body, Caller, Cursor, Page, PageQuery, PathId, Problems, Query};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::{Behavior, CountView, EventName, EventView, Settings, WithoutConsent};

/// Which counts.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CountsQuery {
    /// The first business date.
    #[garde(skip)]
    #[param(value_type = String, format = Date, example = "2026-11-01")]
    from: BusinessDate,
    /// The last business date, at most 92 days later.
    #[garde(skip)]
    #[param(value_type = String, format = Date, example = "2026-11-30")]
    until: BusinessDate,
    /// Only events of this name.
    #[serde(default)]
    #[garde(length(min = 1, max = 48))]
    #[param(
        min_length = 1,
        max_length = 48,
        pattern = "^[a-z0-9._-]{1,48}$",
        nullable = false
    )]
    name: Option<String>,
}

/// How often something was done on a day.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CountBody {
    /// The business date.
    #[schema(value_type = String, format = Date, example = "2026-11-21")]
    day: BusinessDate,
    /// What.
    #[schema(example = "page_view")]
    name: String,
    /// Where.
    #[schema(example = "miniprogram")]
    channel: String,
    /// How many events were stored.
    #[schema(example = 120)]
    stored: i64,
    /// How many there were, scaled up by the rates at which they were sampled.
    #[schema(example = 1_200)]
    estimated: i64,
}

/// The counts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CountsBody {
    /// By day, name and channel.
    items: Vec<CountBody>,
}

/// Something that a member did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventViewBody {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    occurred_at: Timestamp,
    /// What.
    #[schema(example = "click")]
    name: String,
    /// Where.
    #[schema(example = "miniprogram")]
    channel: String,
    /// On which page. Null where it is about none.
    #[schema(required, example = "/menu/latte")]
    page: Option<String>,
    /// On which part of it. Null: the page as a whole.
    #[schema(required, example = "buy-button")]
    element: Option<String>,
    /// How long, in milliseconds. Null where it has no length.
    #[schema(required)]
    duration_ms: Option<i64>,
    /// What else.
    #[schema(value_type = Object)]
    properties: Value,
}

/// What becomes of an event of a member who did not agree to profiling.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum WithoutConsentBody {
    /// It is counted and stored, as nobody's.
    Anonymise,
    /// It is neither counted nor stored.
    Drop,
}

/// How much of behaviour is kept, and for how long.
#[derive(Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BehaviorSettingsBody {
    /// Days for which events are kept. Counts stay.
    #[garde(range(min = 1, max = 400))]
    #[schema(minimum = 1, maximum = 400, example = 90)]
    retention_days: u16,
    /// Members who did not agree to profiling.
    #[garde(skip)]
    without_consent: WithoutConsentBody,
    /// By name: of how many in ten thousand visitors events are kept. Other names are kept whole, and so are names
    /// that earn.
    #[serde(default)]
    #[garde(length(max = 200))]
    #[schema(example = json!({"page_view": 1_000}))]
    sampling: BTreeMap<String, u16>,
}

impl From<CountView> for CountBody {
    fn from(count: CountView) -> Self {
        Self {
            day: count.day,
            name: count.name,
            channel: count.channel,
            stored: count.stored,
            estimated: count.estimated,
        }
    }
}

impl From<EventView> for EventViewBody {
    fn from(event: EventView) -> Self {
        let properties = event
            .properties
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        Self {
            occurred_at: event.occurred_at,
            name: event.name,
            channel: event.channel,
            page: event.page,
            element: event.element,
            duration_ms: event.duration_ms,
            properties,
        }
    }
}

impl From<Settings> for BehaviorSettingsBody {
    fn from(settings: Settings) -> Self {
        Self {
            retention_days: settings.retention_days,
            without_consent: match settings.without_consent {
                WithoutConsent::Anonymise => WithoutConsentBody::Anonymise,
                WithoutConsent::Drop => WithoutConsentBody::Drop,
            },
            sampling: settings.sampling,
        }
    }
}

impl From<BehaviorSettingsBody> for Settings {
    fn from(body: BehaviorSettingsBody) -> Self {
        Self {
            retention_days: body.retention_days,
            without_consent: match body.without_consent {
                WithoutConsentBody::Anonymise => WithoutConsent::Anonymise,
                WithoutConsentBody::Drop => WithoutConsent::Drop,
            },
            sampling: body.sampling,
        }
    }
}

/// Shows how often things were done, by day, name and channel.
///
/// Needs the permission `behavior.read`.
#[utoipa::path(get, path = "/api/admin/v1/behavior/counts", tag = "behavior", params(CountsQuery),
    responses((status = 200, body = CountsBody, description = "The counts."), Problems))]
pub(super) async fn list_behavior_counts(
    State(behavior): State<Arc<Behavior>>,
    Caller(actor): Caller,
    Query(query): Query<CountsQuery>,
) -> ApiResult<Json<CountsBody>> {
    let name: Option<EventName> = query.name.map(|name| name.parse()).transpose()?;
    let counts = behavior
        .counts(&actor, (query.from, query.until), name.as_ref())
        .await?;
    Ok(Json(CountsBody {
        items: counts.into_iter().map(CountBody::from).collect(),
    }))
}

/// Lists what a member did, the latest first.
///
/// Needs the permission `behavior.read`.
#[utoipa::path(get, path = "/api/admin/v1/members/{member_id}/events", tag = "behavior",
    params(("member_id" = String, Path, description = "The member.", example = "mbr_2p3rvd1w6k8fz"), PageQuery),
    responses((status = 200, body = Page<EventViewBody>, description = "A page of events."), Problems))]
pub(super) async fn list_member_events(
    State(behavior): State<Arc<Behavior>>,
    Caller(actor): Caller,
    PathId(member_id): PathId<MemberId>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<Page<EventViewBody>>> {
    let before = query.cursor.map(|Cursor(occurred_at, key)| (occurred_at, key));
    let events = behavior
        .events_of(&actor, member_id, before, i64::from(query.limit) + 1)
        .await?;
    let page = Page::cut(events, query.limit, |last: &EventView| {
        Cursor(last.occurred_at.as_millis(), last.event_key)
    });
    Ok(Json(page.map(EventViewBody::from)))
}

/// Shows how behaviour is sampled and how long it is kept.
///
/// Needs the permission `behavior.configure`.
#[utoipa::path(get, path = "/api/admin/v1/behavior/settings", tag = "behavior",
    responses((status = 200, body = BehaviorSettingsBody, description = "The settings in force."), Problems))]
pub(super) async fn show_behavior_settings(
    State(behavior): State<Arc<Behavior>>,
    Caller(actor): Caller,
) -> ApiResult<Json<BehaviorSettingsBody>> {
    Ok(Json(behavior.settings(&actor).await?.into()))
}

/// Decides how behaviour is sampled and how long it is kept, from now on.
///
/// Needs the permission `behavior.configure`.
#[utoipa::path(put, path = "/api/admin/v1/behavior/settings", tag = "behavior", request_body = BehaviorSettingsBody,
    responses((status = 200, body = BehaviorSettingsBody, description = "The settings in force."), Problems))]
pub(super) async fn change_behavior_settings(
    State(behavior): State<Arc<Behavior>>,
    Caller(actor): Caller,
    Body(body): Body<BehaviorSettingsBody>,
) -> ApiResult<Json<BehaviorSettingsBody>> {
    Ok(Json(behavior.configure(&actor, body.into()).await?.into()))
}
