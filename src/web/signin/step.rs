//! From a step to what the browser is shown.

use std::time::Duration;

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};

use super::gate::{GateError, Outgoing};
use super::paths;
use crate::identity::causes;
use crate::identity::{EntityId, TransactionId};
use crate::signin::{Notice, SignInError, Step};
use crate::web::cookies::{Cookies, OpenTransaction};
use crate::web::oidc::answer::{answer, fault};
use crate::web::page::{self, Fault};
use crate::web::services::Services;

#[derive(Template)]
#[template(path = "sign_in/name.html")]
struct NamePage<'a> {
    organisation: &'a str,
    action: String,
    hint: &'a str,
    refused: bool,
}

#[derive(Template)]
#[template(path = "sign_in/password.html")]
struct PasswordPage<'a> {
    organisation: &'a str,
    action: String,
    start_over: String,
    name: &'a str,
    notice: Option<Message>,
}

#[derive(Template)]
#[template(path = "sign_in/partner.html")]
struct PartnerPage<'a> {
    organisation: &'a str,
    partner: &'a str,
    outgoing: &'a Outgoing,
}

/// What a password page says above the field.
struct Message {
    /// Whether what was typed is the reason.
    invalid: bool,
    heading: &'static str,
    text: &'static str,
}

/// The answer to `step`, with the cookies it sets.
pub(in crate::web) async fn respond(
    services: &Services,
    cookies: Cookies,
    open: &OpenTransaction,
    step: Step,
) -> Response {
    let (organisation, id) = (services.organisation.as_str(), open.handle.id);
    let destinations = [open.redirect_origin.as_str()];
    let response = match step {
        Step::AwaitIdentifier { hint, refused } => {
            let hint = hint.unwrap_or_default();
            let page = NamePage { organisation, action: paths::of(paths::NAME, id), hint: &hint, refused };
            page::render(StatusCode::OK, &page, &destinations)
        }
        Step::AwaitPassword { name, notice } => {
            let page = PasswordPage {
                organisation,
                action: paths::of(paths::PASSWORD, id),
                start_over: paths::of(paths::START_OVER, id),
                name: &name,
                notice: notice.map(message),
            };
            page::render(StatusCode::OK, &page, &destinations)
        }
        Step::AwaitAssertion { partner, request_id, name: _, force } => {
            to_partner(services, &partner, &request_id, id, force).await
        }
        Step::Complete { session, cookie, protocol } => {
            let request = match services.issuer.stored_request(protocol.body) {
                Ok(request) => request,
                Err(error) => return fault(services, error.into()),
            };
            let answered = match services.issuer.issue_code(&session, request).await {
                Ok(answered) => answered,
                Err(error) => return fault(services, error),
            };
            let cookies = cookies.without_transaction(id);
            let cookies = cookie.into_iter().fold(cookies, Cookies::with_session);
            return (cookies, answer(services, &answered)).into_response();
        }
    };
    (cookies, response).into_response()
}

/// The page for a sign-in that gave no step.
pub(in crate::web) fn failed(services: &Services, error: SignInError) -> Response {
    let fault = match error {
        SignInError::Lost(lost) => {
            tracing::debug!(reason = %lost, "a sign-in transaction was lost");
            Fault::TransactionLost
        }
        SignInError::Unavailable(error) => {
            tracing::error!(error = %causes(&error), "sign-in is unavailable");
            Fault::Unavailable
        }
        SignInError::AssertionRefused => Fault::AssertionRefused,
        SignInError::Slowed { wait } => return too_many(services, wait),
    };
    page::fault(services, fault)
}

/// The page for whose network asks too much.
pub(in crate::web) fn too_many(services: &Services, wait: Duration) -> Response {
    metrics::counter!("landbridge_requests_refused_total", "limit" => "network").increment(1);
    let seconds = wait.as_secs().max(1).to_string();
    ([(RETRY_AFTER, seconds)], page::fault(services, Fault::TooMany)).into_response()
}

/// The page for what the gate would not do.
pub(super) fn gate_failed(services: &Services, error: GateError) -> Response {
    let fault = match error {
        GateError::Refused { code, last: _ } => {
            tracing::info!(reason = code, "a partner's answer was refused");
            Fault::AssertionRefused
        }
        GateError::Unavailable(_) => {
            tracing::error!(error = %causes(&error), "a federation partner cannot be used");
            Fault::Unavailable
        }
    };
    page::fault(services, fault)
}

async fn to_partner(
    services: &Services,
    partner: &EntityId,
    request_id: &str,
    relay: TransactionId,
    force: bool,
) -> Response {
    let outgoing = match services.federation.start(partner, request_id, relay, force).await {
        Ok(outgoing) => outgoing,
        Err(error) => return gate_failed(services, error),
    };
    let target = match &outgoing {
        Outgoing::Form { action, .. } => action,
        Outgoing::Redirect { url } => url,
    };
    let target = url::Url::parse(target).ok();
    let origin = target.as_ref().map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    let host = target.as_ref().and_then(|url| url.host_str()).unwrap_or("your organisation");
    let page = PartnerPage { organisation: &services.organisation, partner: host, outgoing: &outgoing };
    page::render(StatusCode::OK, &page, &[&origin])
}

fn message(notice: Notice) -> Message {
    match notice {
        Notice::Refused => Message {
            invalid: true,
            heading: "You are not signed in",
            text: "The password is not right for this account, or the account cannot be used now. \
                   Try again, or ask your help desk.",
        },
        Notice::MustChange => Message {
            invalid: false,
            heading: "Your password must be changed",
            text: "It is right, but it has expired or must be replaced. Change it where you usually do, such as on a \
                   computer of your organisation, then sign in here.",
        },
        Notice::TryAgain => Message {
            invalid: false,
            heading: "Please try again",
            text: "Your password could not be checked just now. It was not refused. Try again in a moment.",
        },
    }
}
