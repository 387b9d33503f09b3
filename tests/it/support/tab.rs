//! A browser tab without scripts, played by hand against a gateway process: keeps its own cookies, sends `Origin` as
//! browsers do, follows nothing by itself.

use std::collections::BTreeMap;

use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};

use super::gateway::Gateway;
use super::html::Form;

/// The application of [`register`]; it runs nowhere, so codes are read from the redirect.
pub const CLIENT: &str = "web";
pub const REDIRECT: &str = "https://app.example/cb";
/// With its challenge, from RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Registers [`CLIENT`].
pub fn register(gateway: &Gateway) {
    gateway.cli(&["client", "add", CLIENT, "--public", "--redirect-uri", REDIRECT]);
}

#[derive(Clone)]
pub struct Tab {
    http: reqwest::Client,
    base: String,
    cookies: BTreeMap<String, String>,
}

#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub location: String,
    pub body: String,
}

impl Page {
    /// Whether this is the redirect to the application with a code.
    pub fn has_code(&self) -> bool {
        self.code().is_some()
    }

    /// The code of the redirect to the application.
    pub fn code(&self) -> Option<String> {
        let url = url::Url::parse(&self.location).ok().filter(|_| self.location.starts_with(REDIRECT))?;
        url.query_pairs().find(|(name, _)| name == "code").map(|(_, value)| value.into_owned())
    }
}

impl Tab {
    /// A new browser. `http` is shared for its connections.
    pub fn new(gateway: &Gateway, http: &reqwest::Client) -> Self {
        Self { http: http.clone(), base: gateway.url(), cookies: BTreeMap::new() }
    }

    /// Sends an authorization request with `extra` parameters.
    pub async fn authorize(&mut self, extra: &[(&str, &str)]) -> Page {
        let mut pairs = vec![
            ("client_id", CLIENT),
            ("redirect_uri", REDIRECT),
            ("response_type", "code"),
            ("scope", "openid profile"),
            ("state", "st"),
            ("nonce", "no"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        pairs.extend_from_slice(extra);
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        self.send(self.http.get(format!("{}/oauth2/authorize?{query}", self.base))).await
    }

    /// Fills `field` of the page's form in and sends it.
    pub async fn submit(&mut self, page: &Page, field: &str, value: &str) -> Page {
        let form = Form::with_field(&page.body, field).fill(field, value);
        self.post(&form.action.clone(), &form.fields).await
    }

    pub async fn post(&mut self, action: &str, fields: &[(String, String)]) -> Page {
        let url = if action.starts_with('/') { format!("{}{action}", self.base) } else { action.to_owned() };
        self.send(self.http.post(url).header(ORIGIN, &self.base).form(fields)).await
    }

    /// Signs in by name and password; returns what the browser was shown at the end.
    pub async fn sign_in(&mut self, name: &str, password: &str) -> Page {
        let page = self.authorize(&[]).await;
        let page = self.submit(&page, "name", name).await;
        self.submit(&page, "password", password).await
    }

    /// The status with which the token endpoint answers the application that presents `code`.
    pub async fn redeem(&self, code: &str) -> u16 {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", CLIENT),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ];
        let answer = self.http.post(format!("{}/oauth2/token", self.base)).form(&form).send().await;
        answer.expect("an answer").status().as_u16()
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Page {
        // Sent even when empty, so that the client's own cookies stay out of it.
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = request.header(COOKIE, cookies.join("; ")).send().await.expect("an answer");
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let text = cookie.to_str().expect("ASCII");
            let (name, value) = text.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            if text.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let location = answer.headers().get(LOCATION).map(|value| value.to_str().expect("ASCII").to_owned());
        Page {
            status: answer.status().as_u16(),
            location: location.unwrap_or_default(),
            body: answer.text().await.expect("a body"),
        }
    }
}
