//! `GET` and `POST /oauth2/authorize`: starts a sign-in, or answers at once from a live session.

use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::answer::{answer, fault};
use crate::identity::causes;
use crate::issuer::answer::AuthorizeErrorCode;
use crate::issuer::{Demand, Params, Prompt};
use crate::signin::{ProofDemand, ProtocolRequest, SignInRequest, Step};
use crate::web::browser::Caller;
use crate::web::cookies::{Cookies, OpenTransaction};
use crate::web::form::Form;
use crate::web::page::{self, Fault};
use crate::web::services::Shared;
use crate::web::signin::step;

pub(in crate::web) async fn by_query(
    State(services): State<Shared>,
    cookies: Cookies,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Response {
    let params = Params::decode(query.unwrap_or_default().as_bytes());
    authorize(services, cookies, caller, params).await
}

pub(in crate::web) async fn by_form(
    State(services): State<Shared>,
    cookies: Cookies,
    caller: Caller,
    Form(params): Form,
) -> Response {
    authorize(services, cookies, caller, params).await
}

async fn authorize(services: Shared, cookies: Cookies, Caller(browser): Caller, params: Params) -> Response {
    let demand = match services.issuer.authorize(&params).await {
        Ok(Ok(demand)) => demand,
        Ok(Err(error)) => return answer(&services, &error),
        Err(error) => return fault(&services, error),
    };
    let silent = demand.prompt == Prompt::None;
    if silent && let Err(code) = session_fits(&services, &cookies, &demand).await {
        return answer(&services, &services.issuer.refuse(&demand.request, code));
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
    let secret = cookies.session().ok_or(AuthorizeErrorCode::LoginRequired)?;
    match services.sign_in.session(secret).await {
        Ok(Some(session)) => {
            let age = services.issuer.now().since(session.auth_time).as_secs();
            let fits = demand.max_age.is_none_or(|most| age <= most);
            if fits { Ok(()) } else { Err(AuthorizeErrorCode::LoginRequired) }
        }
        Ok(None) => Err(AuthorizeErrorCode::LoginRequired),
        Err(error) => {
            tracing::error!(error = %causes(&error), "a session could not be read");
            Err(AuthorizeErrorCode::TemporarilyUnavailable)
        }
    }
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
