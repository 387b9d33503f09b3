//! One gateway, one slapd with three domains, one partner; each domain signs in by another method. Everything is set up by
//! the command line, as an operator would.

use std::io::Read as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::cookie::{CookieStore as _, Jar};
use reqwest::header::HeaderValue;
use serde_json::Value;

use crate::support::chromium::Chromium;
use crate::support::directory::Person;
use crate::support::gateway::Gateway;
use crate::support::html::Form;
use crate::support::passwords::Scheme;
use crate::support::simplesamlphp::SimpleSamlPhp;
use crate::support::slapd::{SUFFIX, Slapd};

/// Of another registrable domain than the partner.
pub const GATEWAY_HOST: &str = "gateway.landbridge-test.example";
/// Names below `localhost` may be reached without TLS.
const PARTNER_HOST: &str = "idp.partner-test.localhost";
const HASH: &str = "hash.example";
const LIVE: &str = "live.example";
const FEDERATED: &str = "federated.example";

/// How somebody signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Hash,
    Live,
    Federated,
}

impl Method {
    pub const ALL: [Self; 3] = [Self::Hash, Self::Live, Self::Federated];

    /// The one who signs in this way.
    pub fn uid(self) -> &'static str {
        match self {
            Self::Hash => "ada",
            Self::Live => "bob",
            Self::Federated => "carol",
        }
    }

    pub fn upn(self) -> String {
        let domain = match self {
            Self::Hash => HASH,
            Self::Live => LIVE,
            Self::Federated => FEDERATED,
        };
        format!("{}@{domain}", self.uid())
    }
}

/// Signs in by bind, but the directory wants the password changed first.
pub const EXPIRED: &str = "eve@live.example";

pub fn password(uid: &str) -> String {
    format!("Secret-{uid}!")
}

pub struct World {
    pub gateway: Gateway,
    pub slapd: Slapd,
    pub partner: SimpleSamlPhp,
}

impl World {
    pub fn start() -> Self {
        let slapd = Slapd::builder().ldif(&ldif()).start();
        slapd.expire_password(&dn("eve"));
        let gateway = Gateway::builder().host(GATEWAY_HOST).slapd("corp", &slapd, &[HASH, LIVE, FEDERATED], "").start();
        for domain in [HASH, LIVE, FEDERATED] {
            gateway.cli(&["domain", "add", domain]);
            gateway.cli(&["domain", "verify", domain, "--vouch"]);
        }
        gateway.cli(&["rules", "activate"]);
        gateway.cli(&["sync", "run", "--profile", "full"]);
        gateway.cli(&["password-sync", "run"]);

        let carol = Method::Federated;
        let partner = SimpleSamlPhp::builder()
            .host(PARTNER_HOST)
            .user(carol.uid(), &password(carol.uid()), &carol.upn(), &anchor(&slapd, carol.uid()))
            .start();
        let own_metadata = gateway.cli(&["partner", "metadata"]);
        let own_metadata = own_metadata.as_str().expect("metadata");
        let world = Self { gateway, slapd, partner };
        let certificate = between(own_metadata, "<ds:X509Certificate>", "</ds:X509Certificate>");
        world.partner.register(&world.service_entity_id(), &world.acs_url(), Some(certificate));
        let file = world.gateway.folder().join("partner.xml");
        std::fs::write(&file, world.partner.metadata()).expect("a metadata file");
        let file = file.display().to_string();
        world.gateway.cli(&["partner", "add", "--metadata", &file, "--domain", FEDERATED]);
        world.gateway.cli(&["domain", "set-method", LIVE, "pta"]);
        world.gateway.cli(&["domain", "set-method", FEDERATED, "federated"]);
        world
    }

    /// The gateway's name towards the partner.
    pub fn service_entity_id(&self) -> String {
        self.gateway.url() + landbridge::web::PARTNER_METADATA_PATH
    }

    pub fn acs_url(&self) -> String {
        self.gateway.url() + landbridge::web::ACS_PATH
    }

    pub fn metadata_url(&self) -> String {
        self.gateway.url() + "/.well-known/openid-configuration"
    }

    /// Carol's source anchor.
    pub fn federated_anchor(&self) -> String {
        anchor(&self.slapd, Method::Federated.uid())
    }

    /// What an administrator is told of a user.
    pub fn user(&self, upn: &str) -> Value {
        self.gateway.cli(&["user", "show", upn])
    }

    /// Registers an application and returns its secret.
    pub fn add_client(&self, id: &str, redirect_uri: &str, logout_uri: &str) -> String {
        let added =
            self.gateway.cli(&["client", "add", id, "--redirect-uri", redirect_uri, "--logout-uri", logout_uri]);
        added["client_secret"].as_str().expect("a secret").to_owned()
    }

    /// Signs a user in from the gateway's first page to where the answer leads.
    pub async fn sign_in(&self, browser: &Chromium, method: Method) {
        browser.fill("#name", &method.upn()).await;
        browser.click("button[type=submit]").await;
        if method == Method::Federated {
            browser.fill("#username", method.uid()).await;
        }
        browser.fill("#password", &password(method.uid())).await;
        let submit = "#submit_button, #submit, form[action*=password] button, button[type=submit]";
        browser.click(submit).await;
    }

    /// Somebody who reads the pages without a browser.
    pub fn visitor(&self) -> Visitor<'_> {
        let jar = Arc::new(Jar::default());
        let http = self.gateway.http_builder().cookie_provider(jar.clone()).build().expect("a client");
        Visitor { world: self, http, jar }
    }
}

/// Posts forms as a browser would, and follows no redirect by itself.
pub struct Visitor<'a> {
    world: &'a World,
    http: reqwest::Client,
    jar: Arc<Jar>,
}

/// A question of the gateway that a partner has to answer.
pub struct Asked {
    pub action: String,
    pub request: String,
    pub relay_state: String,
    pub request_id: String,
}

impl Visitor<'_> {
    /// What would be sent to the gateway now.
    pub fn cookies(&self) -> HeaderValue {
        let url = url::Url::parse(&self.world.gateway.url()).expect("a url");
        self.jar.cookies(&url).expect("the gateway has set cookies")
    }

    pub async fn get(&self, url: &str) -> reqwest::Response {
        self.http.get(url).send().await.expect("the gateway answers")
    }

    pub async fn post(&self, form: &Form) -> reqwest::Response {
        let origin = self.world.gateway.url();
        let url = url::Url::parse(&origin).expect("a url").join(&form.action).expect("a url");
        let request = self.http.post(url.as_str()).header("origin", origin).form(&form.fields);
        request.send().await.expect("the gateway answers")
    }

    /// Opens an authorization request and types the name; returns the page after it.
    pub async fn identify(&self, url: &str, upn: &str) -> String {
        let page = self.get(url).await.text().await.expect("a page");
        let page = self.post(&Form::with_field(&page, "name").fill("name", upn)).await;
        assert_eq!(page.status(), 200);
        page.text().await.expect("a page")
    }

    /// Opens an authorization request as a federated user, up to the gateway's question to the partner.
    pub async fn ask_partner(&self, url: &str) -> Asked {
        let page = self.identify(url, &Method::Federated.upn()).await;
        if let Some((_, link)) = page.split_once("class=\"button\" href=\"") {
            let link = link.split('"').next().expect("a link").replace("&#38;", "&").replace("&amp;", "&");
            let url = url::Url::parse(&link).expect("a url");
            let value = |name: &str| {
                let found = url.query_pairs().find(|(key, _)| key == name);
                found.unwrap_or_else(|| panic!("no {name} in {url}")).1.into_owned()
            };
            let packed = BASE64_STANDARD.decode(value("SAMLRequest")).expect("base64");
            let mut request = String::new();
            flate2::read::DeflateDecoder::new(packed.as_slice()).read_to_string(&mut request).expect("deflated");
            let request_id = between(&request, " ID=\"", "\"").to_owned();
            return Asked { relay_state: value("RelayState"), action: link, request, request_id };
        }
        let form = Form::with_field(&page, "SAMLRequest");
        let packed = form.value("SAMLRequest").expect("a request").to_owned();
        let request = String::from_utf8(BASE64_STANDARD.decode(&packed).expect("base64")).expect("UTF-8");
        let request_id = between(&request, " ID=\"", "\"").to_owned();
        let relay_state = form.value("RelayState").expect("a relay state").to_owned();
        Asked { action: form.action, request: packed, relay_state, request_id }
    }

    /// Answers the gateway's question with this `SAMLResponse` field.
    pub async fn answer(&self, asked: &Asked, response: &str) -> reqwest::Response {
        let form = [("SAMLResponse", response), ("RelayState", asked.relay_state.as_str())];
        let request = self.http.post(self.world.acs_url()).header("origin", "null").form(&form);
        request.send().await.expect("the gateway answers")
    }

    /// The same as [`Visitor::answer`], from a browser that has these cookies and no others.
    pub async fn answer_with_cookies(&self, asked: &Asked, response: &str, cookies: &HeaderValue) -> reqwest::Response {
        let http = self.world.gateway.http_builder().cookie_store(false).build().expect("a client");
        let form = [("SAMLResponse", response), ("RelayState", asked.relay_state.as_str())];
        let request = http.post(self.world.acs_url()).header("cookie", cookies).form(&form);
        request.send().await.expect("the gateway answers")
    }

    /// Signs in by pages alone and returns where the gateway sends the browser in the end.
    pub async fn sign_in(&self, url: &str, method: Method) -> url::Url {
        let password = password(method.uid());
        let end = if method == Method::Federated {
            let asked = self.ask_partner(url).await;
            let response = self.partner_s_answer(&asked, method.uid(), &password).await;
            self.answer(&asked, &response).await
        } else {
            let page = self.identify(url, &method.upn()).await;
            self.post(&Form::with_field(&page, "password").fill("password", &password)).await
        };
        let location = end.headers().get("location").map(|value| value.to_str().expect("ASCII").to_owned());
        let status = end.status();
        let Some(location) = location else { panic!("{status}: {}", end.text().await.expect("a page")) };
        url::Url::parse(&location).expect("a url")
    }

    /// Goes to the partner with the question, and returns its signed response.
    async fn partner_s_answer(&self, asked: &Asked, name: &str, password: &str) -> String {
        let partner = &self.world.partner;
        let address = ([127, 0, 0, 1], partner.port()).into();
        let http = reqwest::Client::builder()
            .timeout(std::time::Duration::from_secs(60))
            .cookie_store(true)
            .resolve(partner.host(), address);
        let http = http.build().expect("a client");
        let page = match asked.action.contains("SAMLRequest=") {
            true => http.get(&asked.action),
            false => http
                .post(&asked.action)
                .form(&[("SAMLRequest", asked.request.as_str()), ("RelayState", asked.relay_state.as_str())]),
        };
        let page = page.send().await.expect("the partner answers");
        let url = page.url().clone();
        let form = Form::with_field(&page.text().await.expect("a page"), "password");
        let form = form.fill("username", name).fill("password", password);
        let url = url.join(&form.action).expect("a url");
        let page = http.post(url.as_str()).form(&form.fields).send().await.expect("the partner answers");
        let form = Form::with_field(&page.text().await.expect("a page"), "SAMLResponse");
        assert_eq!(form.action, self.world.acs_url());
        assert_eq!(form.value("RelayState"), Some(asked.relay_state.as_str()));
        form.value("SAMLResponse").expect("a response").to_owned()
    }
}

fn dn(uid: &str) -> String {
    format!("uid={uid},ou=people,{SUFFIX}")
}

fn anchor(slapd: &Slapd, uid: &str) -> String {
    slapd.values(&dn(uid), "entryUUID").remove(0)
}

fn ldif() -> String {
    let upns = Method::ALL.map(Method::upn).into_iter().chain([EXPIRED.to_owned()]);
    upns.map(|upn| person(&upn).ldif("")).collect()
}

fn person(upn: &str) -> Person {
    let uid = upn.split('@').next().expect("a name");
    Person {
        uid: uid.to_owned(),
        dn: dn(uid),
        given_name: uid.to_uppercase(),
        surname: "Müller".to_owned(),
        upn: upn.to_owned(),
        employee_number: Some(format!("E-{uid}")),
        container: "people",
        password: password(uid),
        scheme: Scheme::Ssha,
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("no {start} in {text}"));
    rest.split(end).next().expect("splitting gives a part")
}
