//! `POST /sign-in/{transaction}/name`: takes the sign-in name.

use axum::extract::{Path, State};
use axum::response::Response;

use super::step;
use crate::identity::TransactionId;
use crate::signin::{SignInError, TransactionLost};
use crate::web::browser::PacedCaller;
use crate::web::cookies::Cookies;
use crate::web::form::OwnForm;
use crate::web::page::{self, Fault};
use crate::web::services::Shared;

pub(in crate::web) async fn name(
    State(services): State<Shared>,
    cookies: Cookies,
    PacedCaller(browser): PacedCaller,
    Path(id): Path<TransactionId>,
    OwnForm(form): OwnForm,
) -> Response {
    let Some(open) = cookies.transaction(id) else { return page::fault(&services, Fault::TransactionLost) };
    let Ok(typed) = form.one("name") else { return page::fault(&services, Fault::BadForm) };
    let typed = typed.unwrap_or_default();
    let mut next = services.sign_in.identify(&open.handle, typed, &browser).await;
    if matches!(next, Err(SignInError::Lost(TransactionLost::OtherState))) {
        // The browser's back button: the page with the name is shown again, while the transaction is further.
        next = match services.sign_in.start_over(&open.handle).await {
            Ok(_) => services.sign_in.identify(&open.handle, typed, &browser).await,
            Err(error) => Err(error),
        };
    }
    match next {
        Ok(next) => step::respond(&services, cookies, &open, next).await,
        Err(error) => step::failed(&services, error),
    }
}
