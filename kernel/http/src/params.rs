//! Path, query and headers: typed, or refused with a Problem.

use std::{fmt::Display, str::FromStr};

use axum::{
    extract::{FromRequestParts, RawPathParams, path::ErrorKind, rejection::PathRejection},
    http::request::Parts,
};
use garde::Validate;
use huika_core::{FieldProblem, IdempotencyKey};
use serde::de::DeserializeOwned;

use crate::{ApiError, InvalidInput, RequestError, json, words};

/// The one parameter of a path, parsed by its `FromStr`: an id in its text form.
#[derive(Debug, Clone, Copy)]
pub struct PathId<T>(pub T);

impl<S, T> FromRequestParts<S> for PathId<T>
where
    S: Send + Sync,
    T: FromStr<Err: Display>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // A path that is not UTF-8, or a route without parameters, ends in the same refusal.
        let params = RawPathParams::from_request_parts(parts, state).await.ok();
        let Some((name, text)) = params.as_ref().and_then(|params| params.iter().next()) else {
            return Err(InvalidInput::path(json::field_problem("path", "expected UTF-8")).into());
        };
        let parsed = text
            .parse()
            .map_err(|error: T::Err| json::field_problem(name, &error.to_string()));
        Ok(Self(parsed.map_err(InvalidInput::path)?))
    }
}

/// The parameters of a path as a struct, for routes that have several.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let rejection = match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => return Ok(Self(value)),
            Err(rejection) => rejection,
        };
        let field = match rejection {
            PathRejection::FailedToDeserializePathParams(inner) => match inner.into_kind() {
                ErrorKind::ParseErrorAtKey {
                    key, expected_type, ..
                } => json::field_problem(&key, &format!("expected {expected_type}")),
                ErrorKind::DeserializeError { key, message, .. } => json::field_problem(&key, &message),
                ErrorKind::InvalidUtf8InPathParam { key } => json::field_problem(&key, "expected UTF-8"),
                other => json::field_problem("path", &other.to_string()),
            },
            other => json::field_problem("path", &other.body_text()),
        };
        Err(InvalidInput::path(field).into())
    }
}

/// The query as a struct that denies unknown fields and passed its validation.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<S, T> FromRequestParts<S> for Query<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Validate<Context = ()>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // U+0000 cannot be stored in PostgreSQL, so no text may bring it in.
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            let (en, zh) = (
                "holds the character U+0000: leave it out",
                "含有 U+0000 字符，请去除",
            );
            let field = FieldProblem {
                field: "query".into(),
                en: en.into(),
                zh: zh.into(),
            };
            return Err(InvalidInput::query(vec![field]).into());
        }
        let value: T = match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(value)) => value,
            Err(rejection) => {
                let message = rejection.body_text();
                let message = message
                    .split_once(": ")
                    .map_or(message.as_str(), |(_, rest)| rest);
                // The message begins with the parameter where it is about one.
                let (path, message) = match message.split_once(": ") {
                    Some((path, rest)) if !path.contains(' ') => (path, rest),
                    _ => ("query", message),
                };
                let path = if message.contains(" field `") { "." } else { path };
                return Err(InvalidInput::query(vec![json::field_problem(path, message)]).into());
            }
        };
        words::validate(&value).map_err(InvalidInput::query)?;
        Ok(Self(value))
    }
}

/// The `Idempotency-Key` header, without which a command that moves value is refused.
#[derive(Debug, Clone)]
pub struct RequiredIdempotencyKey(pub IdempotencyKey);

impl<S: Send + Sync> FromRequestParts<S> for RequiredIdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else {
            return Err(RequestError::IdempotencyKeyMissing.into());
        };
        // Two keys for one command would leave it open which of them was meant.
        let text = value.to_str().ok().filter(|_| values.next().is_none());
        let key = text.and_then(|text| IdempotencyKey::try_new(text).ok());
        key.map(Self)
            .ok_or_else(|| RequestError::IdempotencyKeyInvalid.into())
    }
}
