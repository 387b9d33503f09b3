//! `GET /.well-known/openid-configuration`.

use axum::Json;
use axum::extract::State;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL};
use axum::response::{IntoResponse, Response};

use crate::web::services::Shared;

pub(in crate::web) async fn metadata(State(services): State<Shared>) -> Response {
    let headers = [(CACHE_CONTROL, "public, max-age=300"), (ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
    (headers, Json(services.issuer.metadata())).into_response()
}
