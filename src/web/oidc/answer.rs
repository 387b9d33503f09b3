//! An answer on its way to an application through the browser.

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::response::{IntoResponse, Response};

use crate::identity::causes;
use crate::issuer::provider::AuthorizeError;
use crate::issuer::{AuthorizationAnswer, AuthorizeFault, ResponseMode};
use crate::web::page::{self, Fault};
use crate::web::services::Services;

#[derive(Template)]
#[template(path = "sign_in/form_post.html")]
struct FormPostPage<'a> {
    organisation: &'a str,
    action: &'a str,
    params: &'a [(&'static str, String)],
}

/// Redirects, or renders the form that posts itself (Form Post Response Mode).
pub(in crate::web) fn answer(services: &Services, answer: &AuthorizationAnswer) -> Response {
    match answer.mode {
        ResponseMode::Query => see_other(&answer.location()),
        ResponseMode::FormPost => {
            let page = FormPostPage {
                organisation: &services.organisation,
                action: answer.redirect_uri.as_str(),
                params: &answer.params,
            };
            page::render(StatusCode::OK, &page, &[&answer.redirect_uri.origin()])
        }
    }
}

/// A redirect that is followed with GET, whatever the request was: a password must not be posted on.
pub(in crate::web) fn see_other(location: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, location), (CACHE_CONTROL, "no-store")]).into_response()
}

/// A request that is answered to nobody but the person.
pub(in crate::web) fn fault(services: &Services, error: AuthorizeError) -> Response {
    let fault = match error {
        AuthorizeError::Fault(fault) => {
            tracing::info!(reason = %fault, "an authorization request was refused");
            match fault {
                AuthorizeFault::ClientMissing => Fault::ClientMissing,
                AuthorizeFault::ClientUnknown => Fault::ClientUnknown,
                AuthorizeFault::RedirectMissing => Fault::RedirectMissing,
                AuthorizeFault::RedirectUnknown => Fault::RedirectUnknown,
            }
        }
        AuthorizeError::Unavailable(error) => {
            tracing::error!(error = %causes(&error), "the issuer is unavailable");
            Fault::Unavailable
        }
    };
    page::fault(services, fault)
}
