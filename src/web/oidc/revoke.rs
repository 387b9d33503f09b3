//! `POST /oauth2/revoke` (RFC 7009).

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::{IntoResponse, Response};

use super::token::{caller, refuse};
use crate::web::form::{Form, FormFault};
use crate::web::services::Shared;

pub(in crate::web) async fn revoke(
    State(services): State<Shared>,
    headers: HeaderMap,
    form: Result<Form, FormFault>,
) -> Response {
    let answered = async {
        let (caller, form) = caller(&headers, form)?;
        services.issuer.revoke(&caller, &form).await
    };
    match answered.await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => refuse(error),
    }
}
