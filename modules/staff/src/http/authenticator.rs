//! Credentials out of a request: a session's token, or a signature in four headers.

use async_trait::async_trait;
use axum::http::{HeaderMap, header::AUTHORIZATION};
use huika_core::{Actor, Refusal};
use huika_http::{Authenticator, RequestError, SignedRequest};

use crate::{ApiClientId, SignedText, Staff, StaffError, domain::signature::Signature};

const CLIENT: &str = "Huika-Client";
const TIMESTAMP: &str = "Huika-Timestamp";
const NONCE: &str = "Huika-Nonce";
const SIGNATURE: &str = "Huika-Signature";

#[async_trait]
impl Authenticator for Staff {
    async fn screen(&self, head: &SignedRequest<'_>) -> Result<(), Box<dyn Refusal>> {
        if head.headers.contains_key(AUTHORIZATION) {
            // Whole: a session does not depend on the body.
            return self.authenticate(head).await.map(drop);
        }
        if !head.headers.contains_key(SIGNATURE) && !head.headers.contains_key(CLIENT) {
            return Err(Box::new(RequestError::Unauthenticated));
        }
        let Signed {
            client, timestamp_s, ..
        } = Signed::of(head).map_err(boxed)?;
        self.screen_signature(client, timestamp_s).await.map_err(boxed)
    }

    /// A session goes before a signature: a request that carries both is the operator's.
    async fn authenticate(&self, request: &SignedRequest<'_>) -> Result<Actor, Box<dyn Refusal>> {
        if request.headers.contains_key(AUTHORIZATION) {
            let token = bearer_token(request.headers)
                .ok_or(StaffError::SessionInvalid)
                .map_err(boxed)?;
            return self.authenticate_session(token).await.map_err(boxed);
        }
        if !request.headers.contains_key(SIGNATURE) && !request.headers.contains_key(CLIENT) {
            return Err(Box::new(RequestError::Unauthenticated));
        }
        let signed = Signed::of(request).map_err(boxed)?;
        let Signed {
            client,
            text,
            timestamp_s,
            signature,
        } = &signed;
        self.authenticate_signature(*client, text, *timestamp_s, signature)
            .await
            .map_err(boxed)
    }
}

fn boxed(error: StaffError) -> Box<dyn Refusal> {
    Box::new(error)
}

/// The token of `Authorization: Bearer …`.
pub(super) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

struct Signed<'a> {
    client: ApiClientId,
    text: SignedText<'a>,
    timestamp_s: i64,
    signature: Signature,
}

impl<'a> Signed<'a> {
    fn of(request: &SignedRequest<'a>) -> Result<Self, StaffError> {
        let incomplete = |header| StaffError::SignatureIncomplete { header };
        let text_of = |header| {
            let value = request.headers.get(header).and_then(|value| value.to_str().ok());
            value.ok_or(incomplete(header))
        };
        let text = SignedText {
            method: request.method.as_str(),
            path: request.path,
            query: request.query,
            timestamp: text_of(TIMESTAMP)?,
            nonce: text_of(NONCE)?,
            body: request.body,
        };
        if !text.has_proper_nonce() {
            return Err(incomplete(NONCE));
        }
        Ok(Self {
            client: text_of(CLIENT)?.parse().map_err(|_| incomplete(CLIENT))?,
            timestamp_s: text.timestamp_s().ok_or(incomplete(TIMESTAMP))?,
            signature: Signature::parse(text_of(SIGNATURE)?).ok_or(incomplete(SIGNATURE))?,
            text,
        })
    }
}
