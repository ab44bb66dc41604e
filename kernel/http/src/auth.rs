//! Who asks: credentials are checked before any handler, over the bytes that the handler will read. What the
//! headers show is checked before the body is read, so that a stranger cannot make us hold megabytes.

use std::sync::Arc;

use async_trait::async_trait;
use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, Method, request::Parts},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use huika_core::{Actor, Refusal};
use utoipa_axum::router::OpenApiRouter;

use crate::{ApiError, BodyLimit, RequestError, body};

/// What a signature can cover: a request as it was sent.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path, percent-encoded as sent.
    pub path: &'a str,
    /// What stands after the question mark, as sent; empty without one.
    pub query: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The whole body; empty in [`Authenticator::screen`].
    pub body: &'a [u8],
}

/// Finds out who sent a request. Runs on every request, so it answers from memory where it can.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Refuses a request whose headers show already that it will not be let in. The body is read after this.
    ///
    /// # Errors
    /// When the credentials are missing, or cannot hold whatever the body is.
    async fn screen(&self, head: &SignedRequest<'_>) -> Result<(), Box<dyn Refusal>>;

    /// The sender, or why the request is not let in: without any credentials [`RequestError::Unauthenticated`].
    ///
    /// # Errors
    /// When the credentials are missing or do not hold.
    async fn authenticate(&self, request: &SignedRequest<'_>) -> Result<Actor, Box<dyn Refusal>>;
}

/// What authentication leaves in the request's extensions.
#[derive(Clone)]
pub(crate) struct Authenticated {
    actor: Actor,
    /// The body was read within this limit and may be read again within it.
    pub(crate) limit: BodyLimit,
}

#[derive(Clone)]
struct Gate {
    authenticator: Arc<dyn Authenticator>,
    limit: BodyLimit,
}

/// Lets only authenticated requests through to the routes of this router. Unknown paths and methods keep their
/// own answers. Bulk routes stand in a router of their own with a larger limit, because a signature covers the
/// body and the body is therefore read here.
pub fn authenticated(
    router: OpenApiRouter,
    authenticator: Arc<dyn Authenticator>,
    limit: BodyLimit,
) -> OpenApiRouter {
    router.route_layer(from_fn_with_state(Gate { authenticator, limit }, pass))
}

async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    match admit(&gate, request).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn admit(gate: &Gate, request: Request) -> Result<Request, ApiError> {
    let (mut parts, body) = request.into_parts();
    let head = SignedRequest {
        method: &parts.method,
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body: &[],
    };
    let authenticator = &gate.authenticator;
    authenticator.screen(&head).await.map_err(ApiError::from_boxed)?;
    let body = body::read(body, gate.limit).await?;
    let signed = SignedRequest { body: &body, ..head };
    let actor = authenticator
        .authenticate(&signed)
        .await
        .map_err(ApiError::from_boxed)?;
    parts.extensions.insert(Authenticated {
        actor,
        limit: gate.limit,
    });
    Ok(Request::from_parts(parts, axum::body::Body::from(body)))
}

/// Who sent the request. On a route that is not behind [`authenticated`] nobody passes.
#[derive(Debug, Clone)]
pub struct Caller(pub Actor);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let authenticated = parts.extensions.get::<Authenticated>();
        let actor = authenticated.map(|authenticated| authenticated.actor.clone());
        actor
            .map(Self)
            .ok_or_else(|| RequestError::Unauthenticated.into())
    }
}
