//! A small SAML identity provider: the federation partner of the demonstration. It verifies requests, asks for name and
//! password on a page of its own, and posts a signed response back. It keeps no session: every request is asked for anew.
//!
//! Accounts are given in the clear and tries are not counted, so it is fit for a demonstration on loopback alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::{Form, RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use url::Url;

use crate::identity::{Clock, EntityId, PlainPassword, SourceAnchor, Timestamp, Upn};
use crate::saml::engine::{SigningFailure, XmlSignatureEngine};
use crate::saml::issue::{Issuer, Statement, signed_response};
use crate::saml::metadata::identity_provider_metadata;
use crate::saml::received_request::{self, RelyingParty, VerifiedAuthnRequest};
use crate::saml::request::RequestId;
use crate::saml::{SamlRefusal, SigningKey, names};

/// How long a sign-in page may stay open.
const PENDING_FOR: Duration = Duration::from_secs(10 * 60);
/// Requests that wait for a password at the same time; more are refused.
const MAX_PENDING: usize = 1000;
const MAX_RELAY_STATE_BYTES: usize = 80;

/// Somebody who can sign in at the partner.
#[derive(Debug, Clone)]
pub struct Account {
    /// The user principal name; also the name to sign in with.
    pub upn: Upn,
    /// The password.
    pub password: PlainPassword,
    /// The immutable id that the gateway's tenant knows the user by.
    pub source_anchor: SourceAnchor,
}

/// The partner's settings.
#[derive(Debug)]
pub struct PartnerIdentityProvider {
    /// Where browsers reach it, without a path. Entity id and endpoints are made from it.
    pub base_url: Url,
    /// Signs responses.
    pub key: SigningKey,
    /// Who can sign in.
    pub accounts: Vec<Account>,
    /// The gateway, as its metadata describes it: requests from others are refused.
    pub party: RelyingParty,
    /// Signature engine.
    pub engine: Arc<dyn XmlSignatureEngine>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl PartnerIdentityProvider {
    /// Its entity id: the URL of its metadata.
    pub fn entity_id(&self) -> EntityId {
        self.path("/metadata").as_str().parse().expect("a url is an entity id")
    }

    /// Its metadata, as it also serves it.
    pub fn metadata(&self) -> String {
        identity_provider_metadata(&self.entity_id(), &self.path("/sso"), &[self.key.certificate()])
    }

    /// The application, to be served at the base URL.
    pub fn into_router(self) -> Router {
        let app = Arc::new(App { provider: self, pending: Mutex::default() });
        Router::new()
            .route("/metadata", get(metadata))
            .route("/sso", get(redirected).post(posted))
            .route("/sign-in", post(sign_in))
            .route("/continue.js", get(script))
            .route("/partner.css", get(style))
            .with_state(app)
    }

    fn path(&self, path: &str) -> Url {
        let mut url = self.base_url.clone();
        url.set_path(path);
        url
    }
}

struct App {
    provider: PartnerIdentityProvider,
    pending: Mutex<HashMap<String, Pending>>,
}

/// A request whose user is being asked.
#[derive(Clone)]
struct Pending {
    request: VerifiedAuthnRequest,
    relay_state: Option<String>,
    expires: Timestamp,
}

/// Why the partner answers with an error page.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the request was refused: {0}")]
    Request(#[source] SamlRefusal),
    #[error("relay state is longer than {MAX_RELAY_STATE_BYTES} bytes")]
    RelayStateTooLong,
    #[error("this page is no longer valid; start again at the application")]
    Lost,
    #[error("too many sign-ins are waiting")]
    Busy,
    #[error("the response could not be signed")]
    Signing(#[source] SigningFailure),
}

impl App {
    fn open(&self, request: VerifiedAuthnRequest, relay_state: Option<String>) -> Result<Response, Failure> {
        if relay_state.as_ref().is_some_and(|state| state.len() > MAX_RELAY_STATE_BYTES) {
            return Err(Failure::RelayStateTooLong);
        }
        let now = self.provider.clock.now();
        let ticket = RequestId::random().to_string();
        let mut pending = self.pending();
        pending.retain(|_, waiting| now < waiting.expires);
        if pending.len() >= MAX_PENDING {
            return Err(Failure::Busy);
        }
        pending.insert(ticket.clone(), Pending { request, relay_state, expires: now + PENDING_FOR });
        drop(pending);
        Ok(self.page(StatusCode::OK, &SignInPage { ticket: &ticket, name: "", refused: false }))
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, HashMap<String, Pending>> {
        self.pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn waiting(&self, ticket: &str) -> Result<Pending, Failure> {
        let now = self.provider.clock.now();
        self.pending().get(ticket).filter(|waiting| now < waiting.expires).cloned().ok_or(Failure::Lost)
    }

    fn account(&self, name: &str, password: &str) -> Option<&Account> {
        let upn: Upn = name.trim().parse().ok()?;
        let account = self.provider.accounts.iter().find(|account| account.upn == upn)?;
        bool::from(account.password.expose().as_bytes().ct_eq(password.as_bytes())).then_some(account)
    }

    fn answer(&self, account: &Account, waiting: &Pending) -> Result<Response, Failure> {
        let now = self.provider.clock.now();
        let statement = Statement {
            name_id: account.source_anchor.as_str().to_owned(),
            attributes: vec![("IDPEmail".to_owned(), account.upn.to_string())],
            authn_context: names::CONTEXT_PASSWORD_PROTECTED.to_owned(),
            authn_instant: now,
        };
        let entity_id = self.provider.entity_id();
        let issuer = Issuer { entity_id: &entity_id, key: &self.provider.key, engine: &*self.provider.engine };
        let response = signed_response(issuer, &self.provider.party, &waiting.request, &statement, now);
        let page = ContinuePage {
            action: self.provider.party.acs_url.as_str(),
            saml_response: &BASE64_STANDARD.encode(response.map_err(Failure::Signing)?),
            relay_state: waiting.relay_state.as_deref(),
        };
        Ok(self.page(StatusCode::OK, &page))
    }

    /// A page with a policy that lets it load its own two files and post to itself and to the gateway.
    fn page(&self, status: StatusCode, template: &impl Template) -> Response {
        let policy = format!(
            "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self' {}; base-uri 'none'; frame-ancestors 'none'",
            self.provider.party.acs_url.origin().ascii_serialization()
        );
        let body = template.render().unwrap_or_else(|_| "the page could not be written".to_owned());
        let mut response = (status, Html(body)).into_response();
        let headers = response.headers_mut();
        if let Ok(policy) = HeaderValue::try_from(policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    fn show(&self, result: Result<Response, Failure>) -> Response {
        result.unwrap_or_else(|failure| {
            tracing::warn!(error = %failure, "demonstration partner refuses");
            let status = match failure {
                Failure::Request(_) | Failure::RelayStateTooLong | Failure::Lost => StatusCode::BAD_REQUEST,
                Failure::Busy => StatusCode::SERVICE_UNAVAILABLE,
                Failure::Signing(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            self.page(status, &FailurePage { text: &failure.to_string() })
        })
    }
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in at the partner</title>
<link rel="stylesheet" href="/partner.css">
</head>
<body>
<main>
<h1>Partner sign-in</h1>
{% if refused %}<p role="alert" class="refused">Name or password is wrong.</p>{% endif %}
<form method="post" action="/sign-in">
<input type="hidden" name="ticket" value="{{ ticket }}">
<label for="name">User name</label>
<input id="name" name="name" value="{{ name }}" autocomplete="username" autocapitalize="none" spellcheck="false" required>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button type="submit">Sign in</button>
</form>
</main>
</body>
</html>
"#
)]
struct SignInPage<'a> {
    ticket: &'a str,
    name: &'a str,
    refused: bool,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Back to the application</title>
<link rel="stylesheet" href="/partner.css">
<script src="/continue.js" defer></script>
</head>
<body>
<main>
<h1>You are signed in</h1>
<form id="continue" method="post" action="{{ action }}">
<input type="hidden" name="SAMLResponse" value="{{ saml_response }}">
{% if let Some(state) = relay_state %}<input type="hidden" name="RelayState" value="{{ state }}">{% endif %}
<button type="submit">Continue</button>
</form>
</main>
</body>
</html>
"#
)]
struct ContinuePage<'a> {
    action: &'a str,
    saml_response: &'a str,
    relay_state: Option<&'a str>,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign-in failed</title>
<link rel="stylesheet" href="/partner.css">
</head>
<body>
<main>
<h1>Sign-in failed</h1>
<p role="alert">{{ text }}</p>
</main>
</body>
</html>
"#
)]
struct FailurePage<'a> {
    text: &'a str,
}

const SCRIPT: &str = "document.getElementById('continue').submit();\n";

const STYLE: &str = "\
:root { color-scheme: light; font-family: system-ui, sans-serif; }
body { margin: 0; background: #e8f3ee; color: #10241c; }
main { max-width: 22rem; margin: 12vh auto 0; padding: 2rem; background: #fff; border-top: 4px solid #0b6b4a; border-radius: 6px; }
h1 { font-size: 1.4rem; margin: 0 0 1.5rem; }
label { display: block; margin: 1rem 0 .3rem; font-weight: 600; }
input:not([type=hidden]) { width: 100%; box-sizing: border-box; padding: .6rem; font: inherit; border: 1px solid #5b7268; border-radius: 4px; }
button { margin-top: 1.5rem; width: 100%; padding: .7rem; font: inherit; color: #fff; background: #0b6b4a; border: 0; border-radius: 4px; }
input:focus-visible, button:focus-visible { outline: 3px solid #1c4fd6; outline-offset: 2px; }
.refused { color: #9b1c1c; }
@media (max-width: 30rem) { main { margin-top: 0; border-radius: 0; } }
";

async fn metadata(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "application/samlmetadata+xml")], app.provider.metadata()).into_response()
}

async fn script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT).into_response()
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

#[derive(Deserialize)]
struct PostedRequest {
    #[serde(rename = "SAMLRequest")]
    saml_request: String,
    #[serde(rename = "RelayState")]
    relay_state: Option<String>,
}

async fn posted(State(app): State<Arc<App>>, Form(form): Form<PostedRequest>) -> Response {
    let provider = &app.provider;
    let request = received_request::posted(
        &form.saml_request,
        &provider.party,
        &provider.path("/sso"),
        &*provider.engine,
        provider.clock.now(),
    );
    app.show(request.map_err(Failure::Request).and_then(|request| app.open(request, form.relay_state)))
}

async fn redirected(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let provider = &app.provider;
    let request = received_request::redirected(
        query.as_deref().unwrap_or_default(),
        &provider.party,
        &provider.path("/sso"),
        provider.clock.now(),
    );
    app.show(request.map_err(Failure::Request).and_then(|(request, relay_state)| app.open(request, relay_state)))
}

#[derive(Deserialize)]
struct SignInForm {
    ticket: String,
    name: String,
    password: String,
}

async fn sign_in(State(app): State<Arc<App>>, Form(form): Form<SignInForm>) -> Response {
    let waiting = match app.waiting(&form.ticket) {
        Ok(waiting) => waiting,
        Err(failure) => return app.show(Err(failure)),
    };
    let Some(account) = app.account(&form.name, &form.password) else {
        let page = SignInPage { ticket: &form.ticket, name: &form.name, refused: true };
        return app.page(StatusCode::UNAUTHORIZED, &page);
    };
    if app.pending().remove(&form.ticket).is_none() {
        return app.show(Err(Failure::Lost));
    }
    app.show(app.answer(account, &waiting))
}
