//! `GET /oauth2/jwks`: the keys that tokens may be signed with now and soon.

use axum::Json;
use axum::extract::State;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL};
use axum::response::{IntoResponse, Response};

use crate::web::services::Shared;

/// Shorter than the announcement of a new key, so that no cache outlives it.
const CACHE: &str = "public, max-age=120";

pub(in crate::web) async fn jwks(State(services): State<Shared>) -> Response {
    let headers = [(CACHE_CONTROL, CACHE), (ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
    (headers, Json(services.issuer.public_keys())).into_response()
}
