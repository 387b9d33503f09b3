//! `GET` and `POST /oauth2/authorize`: starts a sign-in, or answers at once from a live session.

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::answer::{answer, fault};
use crate::identity::causes;
use crate::issuer::answer::AuthorizeErrorCode;
use crate::issuer::{Demand, Params, Prompt};
use crate::signin::{ProofDemand, ProtocolRequest, Session, SignInRequest, Step};
use crate::web::browser::PacedCaller;
use crate::web::cookies::{Cookies, OpenTransaction};
use crate::web::form::Form;
use crate::web::page::{self, Fault};
use crate::web::services::Shared;
use crate::web::signin::step;

pub(in crate::web) async fn by_query(
    State(services): State<Shared>,
    headers: HeaderMap,
    cookies: Cookies,
    caller: PacedCaller,
    RawQuery(query): RawQuery,
) -> Response {
    if !is_visit(&headers) {
        return page::fault(&services, Fault::NotAVisit);
    }
    let params = Params::decode(query.unwrap_or_default().as_bytes());
    authorize(services, cookies, caller, params).await
}

pub(in crate::web) async fn by_form(
    State(services): State<Shared>,
    headers: HeaderMap,
    cookies: Cookies,
    caller: PacedCaller,
    Form(params): Form,
) -> Response {
    if !is_visit(&headers) {
        return page::fault(&services, Fault::NotAVisit);
    }
    authorize(services, cookies, caller, params).await
}

/// Whether the browser goes there, in a frame or a window, rather than some script or image of a page: those could begin
/// sign-ins without number. Old browsers say nothing of it.
fn is_visit(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-mode").is_none_or(|mode| mode == "navigate")
}

async fn authorize(services: Shared, cookies: Cookies, PacedCaller(browser): PacedCaller, params: Params) -> Response {
    let mut demand = match services.issuer.authorize(&params).await {
        Ok(Ok(demand)) => demand,
        Ok(Err(error)) => return answer(&services, &error),
        Err(error) => return fault(&services, error),
    };
    let silent = demand.prompt == Prompt::None;
    if silent && let Err(code) = session_fits(&services, &cookies, &demand).await {
        return answer(&services, &services.issuer.refuse(&demand.request, code));
    }
    if demand.prompt == Prompt::Default && demand.request.subject.is_some() {
        match asked_for(&services, &cookies, &demand).await {
            Ok(true) => {}
            Ok(false) => demand.prompt = Prompt::Login,
            Err(code) => return answer(&services, &services.issuer.refuse(&demand.request, code)),
        }
    }
    let request = demand.request.clone();
    let Some(sign_in) = sign_in_request(demand) else { return page::fault(&services, Fault::Internal) };
    let redirect_origin = sign_in.protocol.redirect_origin.clone();
    let begun = match services.sign_in.begin(sign_in, &browser, cookies.session()).await {
        Ok(begun) => begun,
        Err(error) => return step::failed(&services, error),
    };
    let open = OpenTransaction { handle: begun.handle, redirect_origin };
    match begun.step {
        complete @ Step::Complete { .. } => step::respond(&services, cookies, &open, complete).await,
        _ if silent => answer(&services, &services.issuer.refuse(&request, AuthorizeErrorCode::LoginRequired)),
        next => {
            let cookies = cookies.with_transaction(&open).with_device();
            step::respond(&services, cookies, &open, next).await
        }
    }
}

/// Whether the browser's session answers a request that allows no page; else what the application is told.
async fn session_fits(services: &Shared, cookies: &Cookies, demand: &Demand) -> Result<(), AuthorizeErrorCode> {
    let session = session(services, cookies).await?.ok_or(AuthorizeErrorCode::LoginRequired)?;
    let age = services.issuer.now().since(session.auth_time).as_secs();
    let fresh = demand.max_age.is_none_or(|most| age <= most);
    if fresh && is_asked_for(services, demand, &session).await? {
        Ok(())
    } else {
        Err(AuthorizeErrorCode::LoginRequired)
    }
}

/// Whether no session stands in the way of whom the application asks for.
async fn asked_for(services: &Shared, cookies: &Cookies, demand: &Demand) -> Result<bool, AuthorizeErrorCode> {
    match session(services, cookies).await? {
        Some(session) => is_asked_for(services, demand, &session).await,
        None => Ok(true),
    }
}

async fn is_asked_for(services: &Shared, demand: &Demand, session: &Session) -> Result<bool, AuthorizeErrorCode> {
    services.issuer.is_asked_for(&demand.request, session.oid).await.map_err(|error| unavailable(&error))
}

async fn session(services: &Shared, cookies: &Cookies) -> Result<Option<Session>, AuthorizeErrorCode> {
    let Some(secret) = cookies.session() else { return Ok(None) };
    services.sign_in.session(secret).await.map_err(|error| unavailable(&error))
}

fn unavailable(error: &dyn std::error::Error) -> AuthorizeErrorCode {
    tracing::error!(error = %causes(error), "a session could not be read");
    AuthorizeErrorCode::TemporarilyUnavailable
}

fn sign_in_request(demand: Demand) -> Option<SignInRequest> {
    let Demand { request, prompt, max_age, login_hint, domain_hint } = demand;
    Some(SignInRequest {
        protocol: ProtocolRequest {
            client: request.client.clone(),
            redirect_origin: request.redirect_uri.origin(),
            body: serde_json::to_value(&request).ok()?,
            proof: ProofDemand { fresh: prompt == Prompt::Login, max_age },
        },
        login_hint,
        domain_hint,
    })
}
