//! What every request passes, in one layer: trace id and language, span, time limit, caught panics, security
//! headers, metrics.

use std::{any::Any, panic::AssertUnwindSafe, time::Duration};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
    },
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use futures::FutureExt as _;
use huika_core::{Clock, Rng};
use huika_db::audit;
use tracing::Instrument as _;

use crate::{ApiError, ClientAddress, RequestError, TrustedProxies, context::Context};

const TRACE_ID: HeaderName = HeaderName::from_static("trace-id");
/// Paths under this answer programs: nothing in them may be stored, framed or run by a browser.
const API: &str = "/api/";
/// The route of requests that met none, so that scanners cannot fill the metrics with names.
const UNMATCHED: &str = "unmatched";

/// What is decided about the HTTP side from outside.
#[derive(Clone)]
pub struct HttpOptions {
    /// Measures requests.
    pub clock: Clock,
    /// Makes trace ids.
    pub rng: Rng,
    /// How long a request may take before it is answered with 503.
    pub timeout: Duration,
    /// Whose word about the sender of a request is taken.
    pub proxies: TrustedProxies,
}

impl HttpOptions {
    /// The usual limit of 30 seconds.
    pub fn new(clock: Clock, rng: Rng) -> Self {
        Self {
            clock,
            rng,
            timeout: Duration::from_secs(30),
            proxies: TrustedProxies::default(),
        }
    }
}

/// Closes a router: Problems for unknown paths and methods, and around everything the layer of this file.
/// Called once, on the router that is served.
pub fn finish(router: Router, options: HttpOptions) -> Router {
    router
        .fallback(async || ApiError::from(RequestError::RouteUnknown))
        .method_not_allowed_fallback(async || ApiError::from(RequestError::MethodNotAllowed))
        .layer(from_fn_with_state(options, pass))
}

async fn pass(State(options): State<HttpOptions>, mut request: Request, next: Next) -> Response {
    let stopwatch = options.clock.stopwatch();
    let client = ClientAddress::of(request.extensions(), request.headers(), &options.proxies);
    request.extensions_mut().insert(client);
    let context = Context::of_request(request.headers(), &options.rng);
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(UNMATCHED, MatchedPath::as_str).to_owned();
    let is_api = request.uri().path().starts_with(API);
    let span = tracing::info_span!("request", trace_id = context.trace_id.as_str(), method, route);

    // The same id goes to the logs by the span, to Problems by the context and to the audit log.
    let handled = context.scope(answer(options.timeout, request, next));
    let mut response = audit::in_trace(context.trace_id.to_string(), handled)
        .instrument(span)
        .await;

    let headers = response.headers_mut();
    if let Ok(trace_id) = HeaderValue::from_str(context.trace_id.as_str()) {
        headers.insert(TRACE_ID, trace_id);
    }
    protect(headers, is_api);
    record(method, route, response.status(), stopwatch.elapsed());
    response
}

async fn answer(timeout: Duration, request: Request, next: Next) -> Response {
    let handled = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(timeout, handled).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            tracing::error!(panic = panic_text(&*panic), "a handler panicked");
            ApiError::from(RequestError::Panicked).into_response()
        }
        Err(_) => ApiError::from(RequestError::TimedOut).into_response(),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

/// Sets what a handler has not set itself; pages bring their own policy.
fn protect(headers: &mut HeaderMap, is_api: bool) {
    let mut default = |name, value| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    default(X_CONTENT_TYPE_OPTIONS, "nosniff");
    default(REFERRER_POLICY, "no-referrer");
    if is_api {
        default(
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        );
        default(CACHE_CONTROL, "no-store");
    }
}

fn record(method: &'static str, route: String, status: StatusCode, elapsed: Duration) {
    let status = status.as_str().to_owned();
    metrics::counter!("huika_http_requests_total", "method" => method, "route" => route.clone(), "status" => status)
        .increment(1);
    metrics::histogram!("huika_http_request_seconds", "method" => method, "route" => route)
        .record(elapsed.as_secs_f64());
}

/// The methods that we serve by name; anybody can invent others.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
