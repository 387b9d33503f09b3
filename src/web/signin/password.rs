//! `POST /sign-in/{transaction}/password`: takes the password.

use axum::extract::{Path, State};
use axum::response::Response;

use super::step;
use crate::identity::{PlainPassword, TransactionId};
use crate::signin::{SignInError, TransactionLost};
use crate::web::browser::PacedCaller;
use crate::web::cookies::Cookies;
use crate::web::form::OwnForm;
use crate::web::page::{self, Fault};
use crate::web::services::Shared;

pub(in crate::web) async fn password(
    State(services): State<Shared>,
    cookies: Cookies,
    PacedCaller(browser): PacedCaller,
    Path(id): Path<TransactionId>,
    OwnForm(form): OwnForm,
) -> Response {
    let Some(open) = cookies.transaction(id) else { return page::fault(&services, Fault::TransactionLost) };
    let Ok(typed) = form.one("password") else { return page::fault(&services, Fault::BadForm) };
    let password = PlainPassword::new(typed.unwrap_or_default().to_owned());
    let next = match services.sign_in.password(&open.handle, password, &browser).await {
        // The form was sent twice, or from a page that the browser kept: shows where the sign-in stands.
        Err(SignInError::Lost(TransactionLost::OtherState)) => services.sign_in.step(&open.handle).await,
        next => next,
    };
    match next {
        Ok(next) => step::respond(&services, cookies, &open, next).await,
        Err(error) => step::failed(&services, error),
    }
}
