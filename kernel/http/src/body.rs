//! The body of a request: read up to a limit, and taken as strict JSON.

use std::{future::poll_fn, pin::Pin};

use axum::{
    body::HttpBody,
    extract::{FromRequest, Request},
    http::{HeaderMap, header::CONTENT_TYPE},
};
use bytes::{Bytes, BytesMut};
use garde::Validate;
use serde::de::DeserializeOwned;

use crate::{ApiError, InvalidInput, RequestError, auth::Authenticated, json, words};

/// How many bytes a body may have. Set per router: as an argument of [`crate::authenticated`], or on a public
/// router with `.layer(axum::Extension(limit))`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimit(usize);

impl BodyLimit {
    /// 1 MiB, for a single command.
    pub const DEFAULT: Self = Self(1024 * 1024);
    /// 32 MiB, for bulk routes.
    pub const BULK: Self = Self(32 * 1024 * 1024);

    /// A limit in bytes.
    pub const fn bytes(limit: usize) -> Self {
        Self(limit)
    }

    fn of(request: &Request) -> Self {
        let extensions = request.extensions();
        let authenticated = extensions
            .get::<Authenticated>()
            .map(|authenticated| authenticated.limit);
        authenticated
            .or_else(|| extensions.get::<Self>().copied())
            .unwrap_or(Self::DEFAULT)
    }
}

/// A body of strict JSON that passed its validation.
///
/// Refused with a Problem: another content type, broken syntax (with line and column), and missing, unknown,
/// repeated, mistyped or invalid fields (each with its path, in both languages). `T` carries
/// `#[serde(deny_unknown_fields)]`; its numbers are integers, so fractions are refused too.
#[derive(Debug, Clone, Copy)]
pub struct Body<T>(pub T);

impl<S, T> FromRequest<S> for Body<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Validate<Context = ()>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(RequestError::NotJson.into());
        }
        let limit = BodyLimit::of(&request);
        let bytes = read(request.into_body(), limit).await?;
        let value: T = json::parse(&bytes)?;
        words::validate(&value).map_err(InvalidInput::body)?;
        Ok(Self(value))
    }
}

/// `application/json` or `application/…+json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(content_type)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Reads a whole body. One that arrives in one piece, as small ones do, is not copied.
pub(crate) async fn read(mut body: axum::body::Body, limit: BodyLimit) -> Result<Bytes, RequestError> {
    let BodyLimit(limit_bytes) = limit;
    let too_large = || RequestError::TooLarge { limit_bytes };
    // A declared length above the limit is refused before anything is read.
    if body.size_hint().lower() > limit_bytes as u64 {
        return Err(too_large());
    }
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.map_err(|_| RequestError::Unreadable)?.into_data() else {
            continue;
        };
        if first.len().max(joined.len()) + data.len() > limit_bytes {
            return Err(too_large());
        }
        if first.is_empty() {
            first = data;
        } else {
            if joined.is_empty() {
                joined.extend_from_slice(&first);
            }
            joined.extend_from_slice(&data);
        }
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}
