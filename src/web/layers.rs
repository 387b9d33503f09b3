//! What every request passes: a number, a deadline, a catch for panics, a span without secrets, and security headers.

use std::any::Any;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use super::page::{self, Fault};
use super::services::Shared;

/// A request that takes longer is answered with "try again". Longer than any bind deadline and key derivation.
const DEADLINE: Duration = Duration::from_secs(30);
/// Longest path and query: an authorization request with the longest state fits several times.
const MAX_URI: usize = 16 * 1024;

tokio::task_local! {
    static REQUEST_ID: String;
}

/// The number of the request that is being answered; empty outside of one.
pub(super) fn current_request_id() -> String {
    REQUEST_ID.try_with(String::clone).unwrap_or_default()
}

/// Numbers, bounds and logs a request. The span has the route's pattern, never its values or its query.
pub(super) async fn observe(State(services): State<Shared>, request: Request, next: Next) -> Response {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", request.id = id, method = %request.method(), route);
    let number = HeaderValue::try_from(&id).ok();
    let answered = async move {
        if request.uri().path_and_query().is_some_and(|uri| uri.as_str().len() > MAX_URI) {
            return page::fault(&services, Fault::TooLong);
        }
        let started = tokio::time::Instant::now();
        let response = match tokio::time::timeout(DEADLINE, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                tracing::warn!("a request was given up at its deadline");
                page::fault(&services, Fault::Unavailable)
            }
        };
        let status = response.status().as_u16();
        tracing::debug!(status, took_ms = started.elapsed().as_millis(), "answered");
        metrics::counter!("landbridge_http_requests_total", "route" => route, "status" => status.to_string())
            .increment(1);
        response
    };
    let mut response = REQUEST_ID.scope(id, answered).instrument(span).await;
    if let Some(number) = number {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), number);
    }
    response
}

/// Security headers for every answer; those that a handler set stay.
pub(super) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (STRICT_TRANSPORT_SECURITY, "max-age=63072000; includeSubDomains"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        // Only our origin, never a path or query, goes to others; forms of ours keep their `Origin` header with it.
        (REFERRER_POLICY, "strict-origin"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Turns a panic into a refusal (design D18). The panic's text goes to the log alone.
pub(super) fn panicked(organisation: &str, panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
    tracing::error!(error = text, "a request panicked and was refused");
    metrics::counter!("landbridge_panics_total").increment(1);
    page::fault_for(organisation, Fault::Internal)
}
