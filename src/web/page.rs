//! Pages: templates, their content security policy, and the pages for what went wrong.

use askama::Template;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::services::Services;

/// Renders `template` with a policy that lets its forms lead to `destinations` beside ourselves.
pub(super) fn render(status: StatusCode, template: &impl Template, destinations: &[&str]) -> Response {
    let html = match template.render() {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (CONTENT_SECURITY_POLICY, policy(destinations)),
    ];
    (status, headers, html).into_response()
}

/// The policy of every page (design D13). Browsers apply `form-action` to the redirects that follow a form, too.
pub(super) fn policy(destinations: &[&str]) -> HeaderValue {
    // A destination that could end the directive is left out: the form then leads nowhere.
    let fits = |origin: &&&str| {
        !origin.is_empty() && origin.bytes().all(|b| b.is_ascii_alphanumeric() || b":/.-_[]+".contains(&b))
    };
    let mut action = String::from("'self'");
    for destination in destinations.iter().filter(fits) {
        action.push(' ');
        action.push_str(destination);
    }
    let text = format!(
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action {action}; \
         frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
}

/// A page that ends a sign-in without an answer to any application.
#[derive(Template)]
#[template(path = "sign_in/fault.html")]
struct FaultPage<'a> {
    organisation: &'a str,
    heading: &'a str,
    text: &'a str,
    request_id: String,
}

/// What went wrong, in words for the person who sees it. None of them tells why a sign-in was refused (design D12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    ClientMissing,
    ClientUnknown,
    RedirectMissing,
    RedirectUnknown,
    TransactionLost,
    ForeignForm,
    BadForm,
    AssertionRefused,
    TooMany,
    NotAVisit,
    Unavailable,
    Internal,
    NotFound,
    TooLong,
}

impl Fault {
    fn describe(self) -> (StatusCode, &'static str, &'static str) {
        const APPLICATION: &str = "The application cannot be opened";
        const AGAIN: &str = "Start again";
        match self {
            Self::ClientMissing => {
                (StatusCode::BAD_REQUEST, APPLICATION, "The request names no application. Tell whoever runs it.")
            }
            Self::ClientUnknown => {
                (StatusCode::BAD_REQUEST, APPLICATION, "The application is not registered here. Tell whoever runs it.")
            }
            Self::RedirectMissing => (
                StatusCode::BAD_REQUEST,
                APPLICATION,
                "The request names no address to return to. Tell whoever runs the application.",
            ),
            Self::RedirectUnknown => (
                StatusCode::BAD_REQUEST,
                APPLICATION,
                "The address to return to is not registered for the application. Tell whoever runs it.",
            ),
            Self::TransactionLost => (
                StatusCode::BAD_REQUEST,
                AGAIN,
                "This sign-in has ended or took too long. Go back to the application and sign in from there.",
            ),
            Self::ForeignForm => (
                StatusCode::FORBIDDEN,
                AGAIN,
                "This form was not sent from the sign-in page. Go back to the application and sign in from there.",
            ),
            Self::BadForm => (
                StatusCode::BAD_REQUEST,
                AGAIN,
                "The form could not be read. Go back to the application and sign in from there.",
            ),
            Self::AssertionRefused => (
                StatusCode::FORBIDDEN,
                "You are not signed in",
                "The sign-in at your organisation was not accepted here. Try again, or ask your help desk.",
            ),
            Self::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                "Please try again",
                "Too many sign-ins come from your network at the moment. Nothing was decided about you; try again in a \
                 minute.",
            ),
            Self::NotAVisit => (
                StatusCode::BAD_REQUEST,
                APPLICATION,
                "A sign-in begins with a visit of your browser to this page. Tell whoever runs the application.",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Please try again",
                "Nobody can be signed in at the moment. Nothing was decided about you; try again in a minute.",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong",
                "The sign-in was stopped. Go back to the application and sign in from there.",
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "There is no such page", "Check the address."),
            Self::TooLong => {
                (StatusCode::URI_TOO_LONG, "The address is too long", "Tell whoever runs the application.")
            }
        }
    }
}

/// The page for `fault`. The layer that numbers requests writes the number into it.
pub(super) fn fault(services: &Services, fault: Fault) -> Response {
    fault_for(&services.organisation, fault)
}

pub(super) fn fault_for(organisation: &str, fault: Fault) -> Response {
    let (status, heading, text) = fault.describe();
    let request_id = super::layers::current_request_id();
    render(status, &FaultPage { organisation, heading, text, request_id }, &[])
}
