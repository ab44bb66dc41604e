//! The open API: pages, mini programs and other systems report what people do.

use std::sync::Arc;

use axum::{Json, extract::State};
use garde::Validate;
use huika_core::{MemberId, Timestamp};
use huika_http::{ApiError, ApiResult, Body, Caller, ProblemBody, Problems, field_error};
use huika_members::{Code, ExternalIdentity, Identity};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    Behavior, BehaviorError, Event, EventName, MOST_EVENTS, Properties, Subject, Taken, Visitor,
    domain::{EVENT_ID_CHARS, MOST_DURATION_MS, VISITOR_CHARS, clean_page},
};

fn is_code(text: &str, _: &()) -> garde::Result {
    text.parse::<Code>().map(drop).map_err(|_| {
        field_error(
            "1 to 32 letters, digits, dots, dashes or underscores",
            "应为1至32位字母、数字、点、短横线或下划线",
        )
    })
}

fn is_name(text: &str, _: &()) -> garde::Result {
    text.parse::<EventName>().map(drop).map_err(|_| {
        field_error(
            "1 to 48 small letters, digits, dots, dashes or underscores",
            "应为1至48位小写字母、数字、点、短横线或下划线",
        )
    })
}

fn is_visible(text: &str, _: &()) -> garde::Result {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(field_error(
            "visible ASCII characters without spaces",
            "应为可见字符，不含空格与中文",
        ))
    }
}

/// A member: exactly one of these.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"member_id": "mbr_2p3rvd1w6k8fz"}))]
pub(super) struct EventMemberBody {
    /// The member.
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = Option<String>, nullable = false)]
    member_id: Option<MemberId>,
    /// The number of the card.
    #[serde(default)]
    #[garde(length(chars, min = 1, max = 40))]
    #[schema(min_length = 1, max_length = 40)]
    card_number: Option<String>,
    /// The phone, in any way of writing it. It is not stored.
    #[serde(default)]
    #[garde(length(chars, min = 1, max = 40))]
    #[schema(min_length = 1, max_length = 40)]
    phone: Option<String>,
    /// The customer number in another system. It is not stored.
    #[serde(default)]
    #[garde(dive)]
    customer: Option<EventCustomerBody>,
}

/// A customer number of another system.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventCustomerBody {
    /// The code of the system.
    #[garde(custom(is_code))]
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[A-Za-z0-9._-]{1,32}$",
        example = "shop"
    )]
    source: String,
    /// The number there.
    #[garde(length(min = 1, max = 64), custom(is_visible))]
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = "^[!-~]{1,64}$",
        example = "C-1001"
    )]
    customer_no: String,
}

/// Something that somebody did.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventBody {
    /// Made by the sender, and the same when the event is sent again.
    #[garde(length(min = 1, max = EVENT_ID_CHARS), custom(is_visible))]
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = "^[!-~]{1,64}$",
        example = "e-7f3a-0001"
    )]
    event_id: String,
    /// `page_view`, `click`, `dwell`, or a name of your own.
    #[garde(custom(is_name))]
    #[schema(
        min_length = 1,
        max_length = 48,
        pattern = "^[a-z0-9._-]{1,48}$",
        example = "page_view"
    )]
    name: String,
    /// The member, where one is known. Otherwise `visitor_id`.
    #[serde(default)]
    #[garde(dive)]
    member: Option<EventMemberBody>,
    /// A name that the device made for somebody who is not known. It is stored as a hash.
    #[serde(default)]
    #[garde(length(min = 1, max = VISITOR_CHARS), inner(custom(is_visible)))]
    #[schema(min_length = 1, max_length = 64, pattern = "^[!-~]{1,64}$")]
    visitor_id: Option<String>,
    /// When: at most 7 days ago, and at most 5 minutes ahead of our clock.
    #[garde(skip)]
    #[schema(value_type = String, format = DateTime, example = "2026-11-21T10:00:00+08:00")]
    occurred_at: Timestamp,
    /// Where.
    #[serde(default = "default_channel")]
    #[garde(custom(is_code))]
    #[schema(
        min_length = 1,
        max_length = 32,
        pattern = "^[A-Za-z0-9._-]{1,32}$",
        example = "miniprogram",
        default = "web"
    )]
    channel: String,
    /// The path of the page. What follows a `?` or `#` is not stored.
    #[serde(default)]
    #[garde(length(chars, min = 1, max = 200))]
    #[schema(min_length = 1, max_length = 200, example = "/menu/latte")]
    page: Option<String>,
    /// The part of the page.
    #[serde(default)]
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(min_length = 1, max_length = 100, example = "buy-button")]
    element: Option<String>,
    /// How long, in milliseconds.
    #[serde(default)]
    #[garde(range(min = 0, max = MOST_DURATION_MS))]
    #[schema(minimum = 0, maximum = 86_400_000, example = 12_000)]
    duration_ms: Option<i64>,
    /// At most 16 texts, whole numbers or truth values. No personal data: what looks like a phone, an address or an
    /// identity number is refused.
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = Object, example = json!({"sku": "LATTE-L"}))]
    properties: Map<String, Value>,
}

fn default_channel() -> String {
    "web".to_owned()
}

/// Many events.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsBody {
    /// At most 500; each is taken or refused by itself.
    #[garde(length(min = 1, max = MOST_EVENTS), dive)]
    #[schema(min_items = 1, max_items = 500)]
    events: Vec<EventBody>,
}

/// What became of the events.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventsTakenBody {
    /// Stored, known already, or left out by the shop's settings: nothing more to do about them.
    #[schema(example = 500)]
    accepted: usize,
    /// Those among them that were known already.
    #[schema(example = 0)]
    known: usize,
    /// Those that were refused: sending them again changes nothing, unless the problem says so.
    refused: Vec<RefusedEventBody>,
}

/// An event that was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RefusedEventBody {
    /// Its place in the request, counted from 0.
    #[schema(example = 3)]
    index: usize,
    /// Why.
    problem: ProblemBody,
}

impl EventBody {
    fn into_event(self) -> Result<(Visitor, Event), BehaviorError> {
        let visitor = match (self.member, self.visitor_id) {
            (Some(member), None) => member.into_visitor()?,
            (None, Some(visitor)) => Visitor::Anonymous(visitor),
            _ => return Err(BehaviorError::SubjectInvalid),
        };
        let event = Event {
            event_id: self.event_id,
            name: self.name.parse()?,
            // Whoever it is turns out when names are looked up.
            subject: Subject::Visitor(String::new()),
            occurred_at: self.occurred_at,
            channel: self.channel.parse()?,
            page: match self.page {
                Some(page) => clean_page(&page)?,
                None => None,
            },
            element: self.element,
            duration_ms: self.duration_ms,
            properties: Properties::try_new(&self.properties)?,
        };
        Ok((visitor, event))
    }
}

impl EventMemberBody {
    fn into_visitor(self) -> Result<Visitor, BehaviorError> {
        match (self.member_id, self.card_number, self.phone, self.customer) {
            (Some(member_id), None, None, None) => Ok(Visitor::Member(member_id)),
            (None, Some(card), None, None) => Ok(Visitor::Named(Identity::Card(card.parse()?))),
            (None, None, Some(phone), None) => Ok(Visitor::Named(Identity::Phone(phone.parse()?))),
            (None, None, None, Some(customer)) => Ok(Visitor::Named(Identity::External(
                ExternalIdentity::try_new(&customer.source, &customer.customer_no)?,
            ))),
            _ => Err(BehaviorError::SubjectInvalid),
        }
    }
}

/// Takes in what people do: page views, clicks, dwell and events of the shop's own.
///
/// Idempotent by `event_id` with `occurred_at`. When too many events wait the answer is 429 with Retry-After, and
/// none was taken. Needs the permission `behavior.record`.
#[utoipa::path(post, path = "/api/open/v1/events", tag = "behavior", request_body = EventsBody,
    responses((status = 200, body = EventsTakenBody, description = "What became of the events."), Problems))]
pub(super) async fn record_events(
    State(behavior): State<Arc<Behavior>>,
    Caller(actor): Caller,
    Body(body): Body<EventsBody>,
) -> ApiResult<Json<EventsTakenBody>> {
    let mut places = Vec::with_capacity(body.events.len());
    let mut events = Vec::with_capacity(body.events.len());
    let mut refused: Vec<(usize, ApiError)> = Vec::new();
    for (index, event) in body.events.into_iter().enumerate() {
        match event.into_event() {
            Ok(event) => {
                places.push(index);
                events.push(event);
            }
            Err(problem) => refused.push((index, problem.into())),
        }
    }
    let (mut accepted, mut known) = (0, 0);
    for (index, taken) in places.into_iter().zip(behavior.record(&actor, events).await?) {
        match taken {
            Ok(taken) => {
                accepted += 1;
                known += usize::from(taken == Taken::Known);
            }
            Err(error) => refused.push((index, error.into())),
        }
    }
    refused.sort_by_key(|(index, _)| *index);
    let refused = refused
        .into_iter()
        .map(|(index, error)| RefusedEventBody {
            index,
            problem: error.to_body(),
        })
        .collect();
    Ok(Json(EventsTakenBody {
        accepted,
        known,
        refused,
    }))
}
