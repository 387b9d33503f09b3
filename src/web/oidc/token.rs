//! `POST /oauth2/token` (RFC 6749 section 3.2).

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderValue, PRAGMA, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::identity::causes;
use crate::issuer::token::Caller;
use crate::issuer::{Params, TokenError};
use crate::web::form::{Form, FormFault};
use crate::web::services::Shared;

pub(in crate::web) async fn token(
    State(services): State<Shared>,
    headers: HeaderMap,
    form: Result<Form, FormFault>,
) -> Response {
    let answered = async {
        let (caller, form) = caller(&headers, form)?;
        services.issuer.token(&caller, &form).await
    };
    match answered.await {
        Ok(answer) => (no_store(), Json(answer)).into_response(),
        Err(error) => refuse(error),
    }
}

/// Who calls a back-channel endpoint, with its form.
pub(super) fn caller(headers: &HeaderMap, form: Result<Form, FormFault>) -> Result<(Caller, Params), TokenError> {
    let bad_form = |_| TokenError::InvalidRequest("the body must be a form of at most 64 KiB".to_owned());
    let Form(form) = form.map_err(bad_form)?;
    let authorization = match headers.get(AUTHORIZATION).map(HeaderValue::to_str) {
        None => None,
        Some(Ok(text)) => Some(text),
        Some(Err(_)) => return Err(TokenError::InvalidClient { basic: true }),
    };
    Ok((Caller::read(authorization, &form)?, form))
}

/// The error body of RFC 6749 section 5.2.
pub(super) fn refuse(error: TokenError) -> Response {
    #[derive(Serialize)]
    struct Body {
        error: &'static str,
        error_description: String,
    }
    let status = match &error {
        TokenError::InvalidClient { .. } => StatusCode::UNAUTHORIZED,
        TokenError::Unavailable(cause) => {
            tracing::error!(error = %causes(cause), "the issuer is unavailable");
            StatusCode::SERVICE_UNAVAILABLE
        }
        TokenError::InvalidRequest(_)
        | TokenError::InvalidGrant
        | TokenError::InvalidScope
        | TokenError::UnsupportedGrantType => StatusCode::BAD_REQUEST,
    };
    let body = Body { error: error.code(), error_description: error.to_string() };
    let mut response = (status, no_store(), Json(body)).into_response();
    if matches!(error, TokenError::InvalidClient { basic: true }) {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"token\""));
    }
    response
}

fn no_store() -> [(axum::http::HeaderName, &'static str); 2] {
    [(CACHE_CONTROL, "no-store"), (PRAGMA, "no-cache")]
}
