//! `GET` and `POST /oauth2/logout` (OpenID Connect RP-Initiated Logout 1.0).
//!
//! Without a hint that names the browser's own session, the person is asked first: a link on any page must not sign
//! people out. A hint alone ends nothing: it may be months old and in anybody's hands, and only the browser that holds
//! the session can end it.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::answer::see_other;
use crate::identity::SessionId;
use crate::identity::causes;
use crate::issuer::Params;
use crate::issuer::discovery::paths;
use crate::issuer::logout::LogoutRequest;
use crate::web::cookies::Cookies;
use crate::web::form::{Form, is_same_origin};
use crate::web::page::{self, Fault};
use crate::web::services::Shared;

#[derive(Template)]
#[template(path = "sign_in/sign_out.html")]
struct ConfirmPage<'a> {
    organisation: &'a str,
    action: &'static str,
    /// The request again, to be checked again.
    params: Vec<(&'static str, &'a str)>,
}

#[derive(Template)]
#[template(path = "sign_in/signed_out.html")]
struct SignedOutPage<'a> {
    organisation: &'a str,
}

/// What of the request travels through the confirmation page.
const CARRIED: [&str; 4] = ["id_token_hint", "client_id", "post_logout_redirect_uri", "state"];

pub(in crate::web) async fn by_query(
    State(services): State<Shared>,
    cookies: Cookies,
    RawQuery(query): RawQuery,
) -> Response {
    let params = Params::decode(query.unwrap_or_default().as_bytes());
    logout(services, cookies, params, Asked::Anywhere).await
}

pub(in crate::web) async fn by_form(
    State(services): State<Shared>,
    headers: HeaderMap,
    cookies: Cookies,
    Form(params): Form,
) -> Response {
    let confirmed = params.one("confirm").ok().flatten().is_some();
    let asked = match is_same_origin(&headers, services.issuer.url()) {
        true if confirmed => Asked::OnOurPage,
        true | false => Asked::Anywhere,
    };
    logout(services, cookies, params, asked).await
}

/// Where the request was made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// By the person, on our page that asks.
    OnOurPage,
    Anywhere,
}

async fn logout(services: Shared, cookies: Cookies, params: Params, asked: Asked) -> Response {
    let request = match services.issuer.logout(&params).await {
        Ok(request) => request,
        Err(error) => return unavailable(&services, &error),
    };
    let own = match cookies.session() {
        None => None,
        Some(secret) => match services.sign_in.session(secret).await {
            Ok(session) => session.map(|session| session.sid),
            Err(error) => return unavailable(&services, &error),
        },
    };
    match (own, request.hinted, asked) {
        (Some(own), _, Asked::OnOurPage) => end(&services, cookies, own, &request).await,
        (Some(own), Some(hinted), Asked::Anywhere) if own == hinted => end(&services, cookies, own, &request).await,
        (Some(_), _, Asked::Anywhere) => confirm(&services, &request, &params),
        // The cookie does not come along with another site's POST, but with that of the page that asks.
        (None, Some(_), Asked::Anywhere) if cookies.session().is_none() => confirm(&services, &request, &params),
        // A request that brings no cookie says nothing of the browser's: another site may have made it.
        (None, _, Asked::Anywhere) if cookies.session().is_none() => signed_out(&services, cookies, &request),
        (None, _, Asked::Anywhere | Asked::OnOurPage) => signed_out(&services, cookies.without_session(), &request),
    }
}

async fn end(services: &Shared, cookies: Cookies, sid: SessionId, request: &LogoutRequest) -> Response {
    match services.sign_in.sign_out(sid).await {
        Ok(()) => signed_out(services, cookies.without_session(), request),
        Err(error) => unavailable(services, &error),
    }
}

fn signed_out(services: &Shared, cookies: Cookies, request: &LogoutRequest) -> Response {
    let page = || page::render(StatusCode::OK, &SignedOutPage { organisation: &services.organisation }, &[]);
    (cookies, request.location().map_or_else(page, |location| see_other(&location))).into_response()
}

fn confirm(services: &Shared, request: &LogoutRequest, params: &Params) -> Response {
    let carried = CARRIED.iter().filter_map(|name| Some((*name, params.one(name).ok()??)));
    let page = ConfirmPage { organisation: &services.organisation, action: paths::LOGOUT, params: carried.collect() };
    let origin = request.destination.as_ref().map(|(uri, _)| uri.origin()).unwrap_or_default();
    page::render(StatusCode::OK, &page, &[&origin])
}

fn unavailable(services: &Shared, error: &dyn std::error::Error) -> Response {
    tracing::error!(error = %causes(error), "sign-out is unavailable");
    page::fault(services, Fault::Unavailable)
}
