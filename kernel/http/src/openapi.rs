//! The shared pieces of the API description.
//!
//! A route lists `responses((status = 200, body = …), Problems)`, so that every status which it can answer is
//! declared; the fuzzer of `scripts/fuzz-api` holds it to that.

use utoipa::{
    IntoParams, IntoResponses, OpenApi as _,
    openapi::{
        OpenApi,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use crate::{FieldBody, MoneyBody, ProblemBody};

/// Every refusal that a route can answer with.
#[derive(Debug, IntoResponses)]
pub enum Problems {
    /// The request cannot be read: syntax, query, path or headers.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(ProblemBody),
    /// The credentials are missing or do not hold.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthenticated(ProblemBody),
    /// The caller lacks the permission, or the state of the subject forbids it.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemBody),
    /// What is named does not exist.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemBody),
    /// The address does not take this method.
    #[response(status = 405, content_type = "application/problem+json")]
    MethodNotAllowed(ProblemBody),
    /// The command conflicts with the present state, or its key was used for another one.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(ProblemBody),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemBody),
    /// The body is not declared as JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(ProblemBody),
    /// Fields are missing, unknown or out of range, or a rule forbids the values.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(ProblemBody),
    /// Too many requests: come back after the seconds in Retry-After.
    #[response(status = 429, content_type = "application/problem+json")]
    TooManyRequests(ProblemBody),
    /// Something failed on our side and was logged.
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(ProblemBody),
    /// The system is busy: come back after the seconds in Retry-After.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemBody),
}

/// The header that [`crate::RequiredIdempotencyKey`] reads: `params(IdempotencyHeader)`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IdempotencyHeader {
    /// A key of the caller's own for this command: the same one when the command is repeated.
    #[param(
        rename = "Idempotency-Key",
        min_length = 1,
        max_length = 64,
        pattern = "^[!-~]{1,64}$"
    )]
    #[allow(dead_code, reason = "the field exists for its description")]
    idempotency_key: String,
}

/// The description that the routers are merged into: title, shared schemas and the two ways to authenticate,
/// which hold for every route that does not say `security(())`.
pub fn api_description(version: &str) -> OpenApi {
    #[derive(utoipa::OpenApi)]
    #[openapi(
        info(
            title = "Huika",
            description = "Membership and loyalty. Amounts are integers of minor units, times are RFC 3339 in UTC, \
                           lists have cursors, refusals are Problem JSON (RFC 9457) in Chinese and English.",
            license(name = "Apache-2.0", identifier = "Apache-2.0"),
        ),
        components(schemas(ProblemBody, FieldBody, MoneyBody))
    )]
    struct Description;

    let mut api = Description::openapi();
    version.clone_into(&mut api.info.version);
    let components = api.components.get_or_insert_default();
    let session = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "The token of an operator's session, from POST /api/admin/v1/sessions.",
        ));
    components.add_security_scheme("session", SecurityScheme::Http(session.build()));
    for (name, header, description) in SIGNATURE {
        let key = ApiKeyValue::with_description(header, description);
        components.add_security_scheme(name, SecurityScheme::ApiKey(ApiKey::Header(key)));
    }
    let no_scopes: [&str; 0] = [];
    let signature = SIGNATURE
        .iter()
        .fold(SecurityRequirement::default(), |requirement, (name, ..)| {
            requirement.add(*name, no_scopes)
        });
    api.security = Some(vec![SecurityRequirement::new("session", no_scopes), signature]);
    api
}

/// The headers of a signed request: scheme, header, meaning.
const SIGNATURE: [(&str, &str, &str); 4] = [
    (
        "signature_client",
        "Huika-Client",
        "The id of the API client, `apc_…`.",
    ),
    (
        "signature_timestamp",
        "Huika-Timestamp",
        "Unix time in seconds, at most 300 seconds off.",
    ),
    (
        "signature_nonce",
        "Huika-Nonce",
        "16 to 64 visible ASCII characters, never used before by this client.",
    ),
    (
        "signature",
        "Huika-Signature",
        "Lower-case hexadecimal HMAC-SHA-256 under the client's secret over six lines joined by a line feed: method, \
         path, query as sent (empty without one), timestamp, nonce, lower-case hexadecimal SHA-256 of the body.",
    ),
];
