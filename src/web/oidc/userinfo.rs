//! `GET` and `POST /oauth2/userinfo` (OpenID Connect Core section 5.3, RFC 6750). The token comes in the header alone.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};

use crate::identity::causes;
use crate::web::services::Shared;

pub(in crate::web) async fn userinfo(State(services): State<Shared>, headers: HeaderMap) -> Response {
    let Some(token) = bearer(&headers) else { return challenge("Bearer realm=\"userinfo\"") };
    match services.issuer.userinfo(token).await {
        Ok(Some(info)) => Json(info).into_response(),
        Ok(None) => challenge("Bearer realm=\"userinfo\", error=\"invalid_token\""),
        Err(error) => {
            tracing::error!(error = %causes(&error), "userinfo is unavailable");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn challenge(text: &'static str) -> Response {
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, HeaderValue::from_static(text))]).into_response()
}
