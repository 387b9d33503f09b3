//! `GET /sign-in/{transaction}`: where a sign-in stands, for a reload or a return.

use axum::extract::{Path, State};
use axum::response::Response;

use super::step;
use crate::identity::TransactionId;
use crate::web::cookies::Cookies;
use crate::web::page::{self, Fault};
use crate::web::services::Shared;

pub(in crate::web) async fn show(
    State(services): State<Shared>,
    cookies: Cookies,
    Path(id): Path<TransactionId>,
) -> Response {
    let Some(open) = cookies.transaction(id) else { return page::fault(&services, Fault::TransactionLost) };
    match services.sign_in.step(&open.handle).await {
        Ok(next) => step::respond(&services, cookies, &open, next).await,
        Err(error) => step::failed(&services, error),
    }
}
