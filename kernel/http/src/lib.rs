//! What every HTTP face shares.
//!
//! - [`finish`] puts around a router what every request passes: trace id, span, metrics, time limit, caught
//!   panics, security headers, and Problems for unknown routes and methods.
//! - [`authenticated`] lets only requests with valid credentials through; handlers take [`Caller`].
//! - [`Body`], [`Query`], [`Path`], [`PathId`] and [`RequiredIdempotencyKey`] refuse bad input with Problems that
//!   name the field, never with plain text.
//! - [`ApiError`] turns any [`huika_core::Refusal`] into Problem JSON (RFC 9457) and logs what is our fault, once.
//! - [`Page`], [`Cursor`], [`MoneyBody`], [`Problems`] and [`api_description`] are the shared pieces of OpenAPI.
//!
//! Nothing here knows a business word. No error text of a library reaches a caller untranslated, and nothing
//! personal (query, body, ids) reaches logs or metrics.

mod auth;
mod body;
mod client;
mod context;
mod json;
mod money;
mod openapi;
mod paging;
mod params;
mod problem;
mod request_error;
mod shell;
mod words;

pub use auth::{Authenticator, Caller, SignedRequest, authenticated};
pub use body::{Body, BodyLimit};
pub use client::{ClientAddress, InvalidNetwork, Network, PeerAddress, TrustedProxies};
pub use context::{TraceId, language, trace_id};
pub use money::MoneyBody;
pub use openapi::{IdempotencyHeader, Problems, api_description};
pub use paging::{Cursor, InvalidCursor, Page, PageQuery};
pub use params::{Path, PathId, Query, RequiredIdempotencyKey};
pub use problem::{ApiError, ApiResult, FieldBody, ProblemBody};
pub use request_error::{InvalidInput, RequestError};
pub use shell::{HttpOptions, finish};
pub use words::field_error;
