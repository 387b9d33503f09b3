//! `POST /sign-in/{transaction}/start-over`: back to the name ("use another account").

use axum::extract::{Path, State};
use axum::response::Response;

use super::step;
use crate::identity::TransactionId;
use crate::web::cookies::Cookies;
use crate::web::form::OwnForm;
use crate::web::page::{self, Fault};
use crate::web::services::Shared;

pub(in crate::web) async fn start_over(
    State(services): State<Shared>,
    cookies: Cookies,
    Path(id): Path<TransactionId>,
    _: OwnForm,
) -> Response {
    let Some(open) = cookies.transaction(id) else { return page::fault(&services, Fault::TransactionLost) };
    match services.sign_in.start_over(&open.handle).await {
        Ok(next) => step::respond(&services, cookies, &open, next).await,
        Err(error) => step::failed(&services, error),
    }
}
