//! `GET /federation/metadata`: what a partner needs to know of us (SAML metadata).

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::web::services::Shared;

pub(in crate::web) async fn partner_metadata(State(services): State<Shared>) -> Response {
    let headers = [(CONTENT_TYPE, "application/samlmetadata+xml"), (CACHE_CONTROL, "public, max-age=300")];
    (headers, services.federation.metadata()).into_response()
}
