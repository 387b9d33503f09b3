//! A browser as the gateway sees it: a kept connection from an address of its own, cookies, the pages' forms.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use reqwest::header::{LOCATION, SET_COOKIE};

use crate::support::gateway::Gateway;
use crate::support::html::Form;

pub const REDIRECT: &str = "https://app.example/cb";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// One kept connection. Each visitor comes from a /24 of its own, as visitors do: the gateway shares its work among networks.
#[derive(Clone)]
pub struct Visitor {
    pub http: reqwest::Client,
    pub base: String,
}

/// A sign-in that waits for its password.
pub struct AtPassword {
    cookies: BTreeMap<String, String>,
    action: String,
    password: String,
}

/// Where a posted password led.
#[derive(Debug)]
pub enum Outcome {
    /// The redirect to the application, with its code.
    SignedIn { code: String },
    /// The password could not be checked just now.
    TryAgain,
}

impl Visitor {
    pub fn several(gateway: &Gateway, count: u8) -> Vec<Self> {
        (1..=count).map(|network| Self::new(gateway, network)).collect()
    }

    pub fn new(gateway: &Gateway, network: u8) -> Self {
        landbridge::app::tls::install_provider();
        let ca = reqwest::Certificate::from_pem(gateway.pki().ca_pem().as_bytes()).expect("a certificate");
        let http = reqwest::Client::builder()
            .tls_certs_only([ca])
            .redirect(reqwest::redirect::Policy::none())
            .resolve("localhost", ([127, 0, 0, 1], gateway.port()).into())
            .local_address(Some(Ipv4Addr::new(127, 0, network, 1).into()))
            .build()
            .expect("a client");
        Self { http, base: gateway.url() }
    }

    /// From an application's request to the password page.
    pub async fn to_password(&self, client: &str, upn: &str, password: &str) -> AtPassword {
        let pairs = [
            ("client_id", client),
            ("redirect_uri", REDIRECT),
            ("response_type", "code"),
            ("scope", "openid profile email offline_access"),
            ("state", "st"),
            ("nonce", "no"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let mut cookies = BTreeMap::new();
        let request = self.http.get(format!("{}/oauth2/authorize?{query}", self.base));
        let page = self.send(request, &mut cookies).await.1;
        let action = Form::with_field(&page, "name").action;
        let request = self.post(&action, &[("name", upn)]);
        let page = self.send(request, &mut cookies).await.1;
        let action = Form::with_field(&page, "password").action;
        AtPassword { cookies, action, password: password.to_owned() }
    }

    /// Posts the password.
    pub async fn enter(&self, mut at: AtPassword) -> Outcome {
        let request = self.post(&at.action, &[("password", &at.password)]);
        let (location, page) = self.send(request, &mut at.cookies).await;
        if page.contains("Please try again") {
            return Outcome::TryAgain;
        }
        let location = url::Url::parse(&location).unwrap_or_else(|_| panic!("not signed in: {page}"));
        let code = location.query_pairs().find(|(name, _)| name == "code");
        Outcome::SignedIn { code: code.expect("a code").1.into_owned() }
    }

    /// A token request of a public client: the answer's refresh token.
    pub async fn redeem(&self, client: &str, code: &str) -> String {
        self.token(&[
            ("grant_type", "authorization_code"),
            ("client_id", client),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ])
        .await
    }

    pub async fn refresh(&self, client: &str, token: &str) -> String {
        self.token(&[("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", token)]).await
    }

    async fn token(&self, form: &[(&str, &str)]) -> String {
        let answer = self.http.post(format!("{}/oauth2/token", self.base)).form(form).send().await.expect("an answer");
        let answer: serde_json::Value = answer.json().await.expect("JSON");
        answer["refresh_token"].as_str().unwrap_or_else(|| panic!("no refresh token: {answer}")).to_owned()
    }

    fn post(&self, action: &str, form: &[(&str, &str)]) -> reqwest::RequestBuilder {
        self.http.post(format!("{}{action}", self.base)).header("origin", &self.base).form(form)
    }

    /// The redirect's target (or nothing) and the body.
    async fn send(&self, request: reqwest::RequestBuilder, cookies: &mut BTreeMap<String, String>) -> (String, String) {
        let carried: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = request.header("cookie", carried.join("; ")).send().await.expect("an answer");
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let text = cookie.to_str().expect("ASCII");
            let (name, value) = text.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            if text.contains("Max-Age=0") {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let location = location.to_owned();
        (location, answer.text().await.expect("a body"))
    }
}
