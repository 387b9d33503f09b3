//! `POST /federation/acs`: the assertion consumer service (SAML bindings, section 3.5).
//!
//! Comes from the partner's page, so no origin check: the transaction cookie binds the answer to the browser that asked,
//! and the request id to the question.

use axum::extract::{Request, State};
use axum::response::Response;

use super::gate::GateError;
use super::step;
use crate::identity::TransactionId;
use crate::signin::{SignInError, Step, TransactionLost};
use crate::web::browser::PacedCaller;
use crate::web::cookies::Cookies;
use crate::web::form::{self, FormFault};
use crate::web::page::{self, Fault};
use crate::web::services::Shared;

/// Largest posted answer: what the gate of `saml` looks at (768 KiB in base64), with room for the form's escapes.
const ANSWER_LIMIT: usize = 1024 * 1024;
/// The audit code of an answer above it; the gate of `saml` says the same of one within the form.
const TOO_LARGE: &str = "saml.too_large";
/// The audit code of an answer to a question that is settled: posted again, or after the sign-in went another way.
const NOT_AWAITED: &str = "federation.not_awaited";

pub(in crate::web) async fn acs(
    State(services): State<Shared>,
    cookies: Cookies,
    PacedCaller(browser): PacedCaller,
    request: Request,
) -> Response {
    let form = match form::read(request, ANSWER_LIMIT).await {
        Ok(form) => form,
        Err(FormFault::NotAForm) => return page::fault(&services, Fault::BadForm),
        // Not read, so that nobody knows which question it answers.
        Err(FormFault::TooLarge) => {
            metrics::counter!("landbridge_oversized_answers_total").increment(1);
            if !services.pace.records_oversized() {
                return page::fault(&services, Fault::BadForm);
            }
            return match services.sign_in.refuse_assertion(None, TOO_LARGE, &browser).await {
                Ok(()) => page::fault(&services, Fault::BadForm),
                Err(down) => step::failed(&services, SignInError::Unavailable(down)),
            };
        }
    };
    let (Ok(Some(response)), Ok(Some(relay))) = (form.one("SAMLResponse"), form.short("RelayState", 80)) else {
        return page::fault(&services, Fault::BadForm);
    };
    let open = relay.parse::<TransactionId>().ok().and_then(|id| cookies.transaction(id));
    let Some(open) = open else { return page::fault(&services, Fault::TransactionLost) };
    let (partner, request_id) = match services.sign_in.step(&open.handle).await {
        Ok(Step::AwaitAssertion { partner, request_id, .. }) => (partner, request_id),
        Ok(_) | Err(SignInError::Lost(TransactionLost::OtherState)) => {
            let refused = services.sign_in.refuse_assertion(Some(&open.handle), NOT_AWAITED, &browser).await;
            return match refused {
                Ok(()) => page::fault(&services, Fault::TransactionLost),
                Err(down) => step::failed(&services, SignInError::Unavailable(down)),
            };
        }
        Err(error) => return step::failed(&services, error),
    };
    let identity = match services.federation.accept(response, &partner, &request_id, browser.network).await {
        Ok(identity) => identity,
        Err(error) => {
            if matches!(error, GateError::Refused { last: true, .. })
                && let Err(error) = services.sign_in.start_over(&open.handle).await
            {
                return step::failed(&services, error);
            }
            return step::gate_failed(&services, error);
        }
    };
    match services.sign_in.assertion(&open.handle, identity, &browser).await {
        Ok(next) => step::respond(&services, cookies, &open, next).await,
        Err(error) => step::failed(&services, error),
    }
}
