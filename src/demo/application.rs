//! The sample application: a relying party that shows who signed in and how, and holds the switch of the directory.
//!
//! It takes the ID token straight from the token endpoint over verified TLS, so that its signature need not be checked
//! again (OpenID Connect Core 1.0, section 3.1.3.7, rule 6); issuer, audience and nonce are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::directory::DirectorySwitch;

/// An account to try, as the page lists it.
#[derive(Clone, Debug)]
pub struct ListedAccount {
    pub name: String,
    pub password: String,
    pub method: &'static str,
}

/// What the application needs to know.
pub struct Application {
    pub issuer: url::Url,
    pub own_url: url::Url,
    pub client_id: String,
    pub client_secret: String,
    /// Trusts the gateway's certificate.
    pub http: reqwest::Client,
    pub switch: DirectorySwitch,
    pub accounts: Vec<ListedAccount>,
}

struct App {
    application: Application,
    state: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// Sign-ins on their way: state -> (nonce, PKCE verifier).
    pending: HashMap<String, (String, String)>,
    /// Cookie -> who.
    users: HashMap<String, Vec<(String, String)>>,
    /// Cookie -> ID token, the hint for signing out.
    tokens: HashMap<String, String>,
}

/// Sign-ins on their way at the same time; a demonstration needs no more.
const MAX_PENDING: usize = 100;
const COOKIE: &str = "sample-application";

#[derive(Template)]
#[template(path = "demo/application.html")]
struct Page<'a> {
    user: Option<Vec<(String, String)>>,
    problem: Option<String>,
    cut: bool,
    accounts: &'a [ListedAccount],
}

impl Application {
    pub fn into_router(self) -> Router {
        let app = Arc::new(App { application: self, state: Mutex::default() });
        Router::new()
            .route("/", get(home))
            .route("/application.css", get(css))
            .route("/sign-in", get(sign_in))
            .route("/callback", get(callback))
            .route("/sign-out", post(sign_out))
            .route("/directory/cut", post(cut))
            .route("/directory/restore", post(restore))
            .with_state(app)
    }
}

impl App {
    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn page(&self, user: Option<Vec<(String, String)>>, problem: Option<String>) -> Response {
        let cut = self.application.switch.is_cut();
        let page = Page { user, problem, cut, accounts: &self.application.accounts };
        match page.render() {
            Ok(text) => ([(header::CACHE_CONTROL, "no-store")], Html(text)).into_response(),
            Err(error) => error.to_string().into_response(),
        }
    }

    fn endpoint(&self, path: &str) -> anyhow::Result<url::Url> {
        Ok(self.application.issuer.join(path)?)
    }

    fn redirect_uri(&self) -> anyhow::Result<String> {
        Ok(self.application.own_url.join("/callback")?.to_string())
    }
}

async fn css() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css")], include_str!("../../templates/demo/application.css"))
}

async fn home(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let user = cookie(&headers).and_then(|cookie| app.memory().users.get(&cookie).cloned());
    app.page(user, None)
}

async fn cut(State(app): State<Arc<App>>) -> Redirect {
    app.application.switch.cut();
    Redirect::to("/")
}

async fn restore(State(app): State<Arc<App>>) -> Redirect {
    app.application.switch.restore();
    Redirect::to("/")
}

async fn sign_in(State(app): State<Arc<App>>) -> Response {
    match authorize_url(&app) {
        Ok(url) => Redirect::to(url.as_str()).into_response(),
        Err(error) => app.page(None, Some(format!("{error:#}"))),
    }
}

fn authorize_url(app: &App) -> anyhow::Result<url::Url> {
    let (state, nonce, verifier) = (random(), random(), random());
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    let mut url = app.endpoint("/oauth2/authorize")?;
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &app.application.client_id)
        .append_pair("redirect_uri", &app.redirect_uri()?)
        .append_pair("scope", "openid profile email offline_access")
        .append_pair("state", &state)
        .append_pair("nonce", &nonce)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    let mut memory = app.memory();
    if memory.pending.len() >= MAX_PENDING {
        memory.pending.clear();
    }
    memory.pending.insert(state, (nonce, verifier));
    Ok(url)
}

#[derive(Deserialize)]
struct Callback {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

async fn callback(State(app): State<Arc<App>>, Query(callback): Query<Callback>) -> Response {
    match finish(&app, callback).await {
        Ok(cookie) => {
            let cookie = format!("{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Lax");
            ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
        }
        Err(error) => app.page(None, Some(format!("The sign-in did not succeed: {error:#}."))),
    }
}

#[derive(Deserialize)]
struct Tokens {
    access_token: String,
    id_token: String,
}

async fn finish(app: &App, callback: Callback) -> anyhow::Result<String> {
    if let Some(error) = callback.error {
        bail!("{error}: {}", callback.error_description.unwrap_or_default());
    }
    let state = callback.state.context("the answer carries no state")?;
    let (nonce, verifier) = app.memory().pending.remove(&state).context("the answer belongs to no sign-in")?;
    let code = callback.code.context("the answer carries no code")?;
    let application = &app.application;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", &app.redirect_uri()?),
        ("code_verifier", &verifier),
    ];
    let response = application
        .http
        .post(app.endpoint("/oauth2/token")?)
        .basic_auth(&application.client_id, Some(&application.client_secret))
        .form(&form)
        .send()
        .await
        .context("the token endpoint does not answer")?;
    if !response.status().is_success() {
        bail!("the token endpoint answered {}", response.text().await.unwrap_or_default());
    }
    let tokens: Tokens = response.json().await.context("the token response is not as expected")?;
    let claims = claims(&tokens.id_token)?;
    let issuer = application.issuer.as_str().trim_end_matches('/');
    let text = |name: &str| claims.get(name).and_then(|value| value.as_str()).unwrap_or_default();
    if text("iss") != issuer || text("aud") != application.client_id || text("nonce") != nonce {
        bail!("the ID token is not for this sign-in");
    }
    let userinfo: serde_json::Map<String, serde_json::Value> = application
        .http
        .get(app.endpoint("/oauth2/userinfo")?)
        .bearer_auth(&tokens.access_token)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    let cookie = random();
    let mut memory = app.memory();
    memory.users.insert(cookie.clone(), describe(&claims, &userinfo));
    memory.tokens.insert(cookie.clone(), tokens.id_token);
    Ok(cookie)
}

fn claims(id_token: &str) -> anyhow::Result<serde_json::Map<String, serde_json::Value>> {
    let body = id_token.split('.').nth(1).context("the ID token is no JWT")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body)?)?)
}

type Claims = serde_json::Map<String, serde_json::Value>;

fn describe(claims: &Claims, userinfo: &Claims) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let shown = ["name", "upn", "preferred_username", "email", "oid", "amr", "acr", "auth_time", "sid"];
    let extra =
        claims.keys().filter(|key| key.contains("failover") || key.contains("method") || key.contains("authority"));
    for name in shown.into_iter().chain(extra.map(String::as_str)) {
        if let Some(value) = claims.get(name).or_else(|| userinfo.get(name)) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            lines.push((name.to_owned(), text));
        }
    }
    lines
}

#[derive(Deserialize)]
struct Empty {}

async fn sign_out(State(app): State<Arc<App>>, headers: HeaderMap, Form(_): Form<Empty>) -> Response {
    let token = cookie(&headers).and_then(|cookie| {
        let mut memory = app.memory();
        memory.users.remove(&cookie);
        memory.tokens.remove(&cookie)
    });
    let url = app.endpoint("/oauth2/logout").map(|mut url| {
        url.query_pairs_mut().append_pair("post_logout_redirect_uri", app.application.own_url.as_str());
        if let Some(token) = token {
            url.query_pairs_mut().append_pair("id_token_hint", &token);
        }
        url
    });
    match url {
        Ok(url) => Redirect::to(url.as_str()).into_response(),
        Err(error) => app.page(None, Some(format!("{error:#}"))),
    }
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::COOKIE)?.to_str().ok()?;
    text.split("; ").find_map(|pair| pair.strip_prefix(COOKIE)?.strip_prefix('=')).map(str::to_owned)
}

fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}
