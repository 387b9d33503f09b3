//! People at the sign-in pages, played over HTTP: each sign-in is a browser of its own with its own cookies.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use serde_json::Value;

use super::gateway::Gateway;
use super::html::Form;

pub const CLIENT: &str = "app";
pub const REDIRECT: &str = "https://app.example/cb";
// The pair of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// How a sign-in ended, as the browser saw it.
#[derive(Debug)]
pub enum Outcome {
    Signed(Signed),
    /// The page that says no, with what differs between people taken out.
    Refused {
        page: String,
    },
    MustChange,
    TryAgain,
    /// Another answer than the sign-in pages give.
    Odd {
        status: u16,
        page: String,
    },
}

/// A browser that has signed in and holds a code for the application.
#[derive(Debug)]
pub struct Signed {
    browser: Browser,
    code: String,
}

/// A browser at the page that asks for the password.
pub struct AtThePassword {
    browser: Browser,
    page: Page,
    name: String,
}

/// What the application got for its code.
#[derive(Clone, Debug)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
    /// The session, as the ID token names it.
    pub sid: String,
    /// How the user signed in, as the ID token tells it.
    pub amr: Vec<String>,
}

/// Makes browsers for one gateway. Cheap to clone; connections are shared.
#[derive(Clone)]
pub struct Visitor {
    http: reqwest::Client,
    base: String,
}

#[derive(Debug)]
struct Browser {
    cookies: BTreeMap<String, String>,
}

struct Page {
    status: u16,
    location: Option<String>,
    body: String,
}

impl Tokens {
    pub fn by_backup(&self) -> bool {
        self.amr.iter().any(|method| method == "failover")
    }
}

impl Outcome {
    #[track_caller]
    pub fn signed(self) -> Signed {
        match self {
            Self::Signed(signed) => signed,
            other => panic!("not signed in: {other:?}"),
        }
    }

    #[track_caller]
    pub fn refused(self) -> String {
        match self {
            Self::Refused { page } => page,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[track_caller]
    pub fn try_again(self) {
        assert!(matches!(self, Self::TryAgain), "not told to try again: {self:?}");
    }
}

impl Visitor {
    /// Registers the application, once per gateway, and returns its visitors.
    pub fn register(gateway: &Gateway) -> Self {
        let add = ["client", "add", CLIENT, "--public", "--redirect-uri", REDIRECT, "--algorithm", "ES256"];
        gateway.cli(&add);
        Self { http: gateway.http_without_cookies(), base: gateway.url() }
    }

    /// Visitors of a gateway whose application is registered, with a client of their own.
    pub fn over(gateway: &Gateway, http: reqwest::Client) -> Self {
        Self { http, base: gateway.url() }
    }

    pub async fn sign_in(&self, name: &str, password: &str) -> Outcome {
        self.try_sign_in(name, password).await.expect("the gateway answers")
    }

    /// The walk through the pages; an error when the gateway went away meanwhile.
    pub async fn try_sign_in(&self, name: &str, password: &str) -> Result<Outcome, reqwest::Error> {
        let mut browser = Browser { cookies: BTreeMap::new() };
        let page = self.send(&mut browser, self.http.get(self.authorize_url(&[]))).await?;
        if page.status != 200 {
            return Ok(page.odd());
        }
        let page = self.submit(&mut browser, Form::with_field(&page.body, "name").fill("name", name)).await?;
        self.try_password(browser, page, name, password).await
    }

    /// Signs in again on the device of an earlier sign-in, whose session the browser has forgotten.
    pub async fn sign_in_on_device(&self, earlier: &Signed, name: &str, password: &str) -> Outcome {
        let device = earlier.browser.cookies.iter().filter(|(name, _)| name.ends_with("-device"));
        let mut browser = Browser { cookies: device.map(|(name, value)| (name.clone(), value.clone())).collect() };
        let asked = self.http.get(self.authorize_url(&[("login_hint", name)]));
        let page = self.send(&mut browser, asked).await.expect("the gateway answers");
        self.try_password(browser, page, name, password).await.expect("the gateway answers")
    }

    /// A browser at the page that asks for the password of `name`.
    pub async fn at_the_password(&self, name: &str) -> AtThePassword {
        let mut browser = Browser { cookies: BTreeMap::new() };
        let asked = self.http.get(self.authorize_url(&[("login_hint", name)]));
        let page = self.send(&mut browser, asked).await.expect("the gateway answers");
        AtThePassword { browser, page, name: name.to_owned() }
    }

    /// Types a password on the page that asks for it.
    pub async fn type_password(&self, at: AtThePassword, password: &str) -> Outcome {
        self.try_password(at.browser, at.page, &at.name, password).await.expect("the gateway answers")
    }

    /// Signs the browser out.
    pub async fn sign_out(&self, signed: &mut Signed) {
        let form = Form { action: "/oauth2/logout".to_owned(), fields: vec![("confirm".to_owned(), "yes".to_owned())] };
        let page = self.submit(&mut signed.browser, form).await.expect("the gateway answers");
        assert!(page.status < 400, "not signed out: {} {}", page.status, page.body);
    }

    /// Like [`sign_in`](Self::sign_in), for an application that knows the name: the first page asks for the password.
    pub async fn sign_in_hinted(&self, name: &str, password: &str) -> Outcome {
        let mut browser = Browser { cookies: BTreeMap::new() };
        let asked = self.http.get(self.authorize_url(&[("login_hint", name)]));
        let page = self.send(&mut browser, asked).await.expect("the gateway answers");
        self.try_password(browser, page, name, password).await.expect("the gateway answers")
    }

    async fn try_password(
        &self,
        mut browser: Browser,
        page: Page,
        name: &str,
        password: &str,
    ) -> Result<Outcome, reqwest::Error> {
        if page.status != 200 {
            return Ok(page.odd());
        }
        let form = Form::with_field(&page.body, "password").fill("password", password);
        let action = form.action.clone();
        let page = self.submit(&mut browser, form).await?;
        if let Some(code) = page.param("code") {
            return Ok(Outcome::Signed(Signed { browser, code }));
        }
        let body = page.body.replace(name, "NAME");
        let transaction = action.split('/').nth(2).unwrap_or_default();
        Ok(match page.status {
            200 if body.contains("You are not signed in") => {
                Outcome::Refused { page: body.replace(transaction, "TRANSACTION") }
            }
            200 if body.contains("Your password must be changed") => Outcome::MustChange,
            200 if body.contains("Please try again") => Outcome::TryAgain,
            _ => page.odd(),
        })
    }

    pub async fn tokens(&self, signed: &Signed) -> Tokens {
        self.try_tokens(signed).await.expect("the gateway answers").expect("a fresh code is good")
    }

    /// Redeems the code; `None` when the gateway refuses it.
    pub async fn try_tokens(&self, signed: &Signed) -> Result<Option<Tokens>, reqwest::Error> {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", CLIENT),
            ("code", &signed.code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ];
        self.token(&form).await
    }

    /// New tokens for a refresh token; `None` when the gateway refuses it.
    pub async fn refresh(&self, refresh: &str) -> Result<Option<Tokens>, reqwest::Error> {
        self.token(&[("grant_type", "refresh_token"), ("client_id", CLIENT), ("refresh_token", refresh)]).await
    }

    /// Whether the gateway still tells the application about the user.
    pub async fn userinfo_answers(&self, access: &str) -> bool {
        let request = self.http.get(format!("{}/oauth2/userinfo", self.base)).bearer_auth(access);
        request.send().await.expect("the gateway answers").status() == 200
    }

    /// Whether the browser's session still signs it in without a password.
    pub async fn is_still_signed_in(&self, signed: &mut Signed) -> bool {
        let page = self.send(&mut signed.browser, self.http.get(self.authorize_url(&[]))).await;
        page.expect("the gateway answers").param("code").is_some()
    }

    async fn token(&self, form: &[(&str, &str)]) -> Result<Option<Tokens>, reqwest::Error> {
        let answer = self.http.post(format!("{}/oauth2/token", self.base)).form(form).send().await?;
        if answer.status() != 200 {
            return Ok(None);
        }
        let answer: Value = answer.json().await?;
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        let claims = claims(&text("id_token"));
        let words = claims["amr"].as_array().into_iter().flatten();
        Ok(Some(Tokens {
            access: text("access_token"),
            refresh: text("refresh_token"),
            sid: claims["sid"].as_str().unwrap_or_default().to_owned(),
            amr: words.filter_map(|word| word.as_str().map(str::to_owned)).collect(),
        }))
    }

    fn authorize_url(&self, extra: &[(&str, &str)]) -> String {
        let mut pairs = vec![
            ("client_id", CLIENT),
            ("redirect_uri", REDIRECT),
            ("response_type", "code"),
            ("scope", "openid profile offline_access"),
            ("state", "st"),
            ("nonce", "no"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        pairs.extend_from_slice(extra);
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        format!("{}/oauth2/authorize?{query}", self.base)
    }

    /// Posts a form as a browser does from a page of the gateway.
    async fn submit(&self, browser: &mut Browser, form: Form) -> Result<Page, reqwest::Error> {
        let request = self.http.post(format!("{}{}", self.base, form.action)).header("origin", &self.base);
        self.send(browser, request.form(&form.fields)).await
    }

    async fn send(&self, browser: &mut Browser, request: reqwest::RequestBuilder) -> Result<Page, reqwest::Error> {
        let cookies: Vec<_> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = request.header("cookie", cookies.join("; ")).send().await?;
        browser.keep(answer.headers());
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Page { status: answer.status().as_u16(), location, body: answer.text().await? })
    }
}

impl Browser {
    fn keep(&mut self, headers: &HeaderMap) {
        for cookie in headers.get_all(SET_COOKIE) {
            let text = cookie.to_str().expect("cookies are ASCII");
            let (name, value) = text.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            if text.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

impl Page {
    fn param(&self, name: &str) -> Option<String> {
        let url = url::Url::parse(self.location.as_deref()?).ok()?;
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    fn odd(self) -> Outcome {
        Outcome::Odd { status: self.status, page: self.body }
    }
}

/// The claims of a token, unverified: the issuer's own tests check signatures.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap_or_default();
    let bytes = URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}
