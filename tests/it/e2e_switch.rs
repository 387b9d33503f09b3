//! A domain changes its method while people are signing in: nobody is lost, each finishes as it began, unless cut.

use std::time::Duration;

use base64::Engine as _;
use futures::StreamExt as _;
use landbridge::identity::{Clock as _, EntityId, SystemClock};
use landbridge::saml::SigningKey;
use landbridge::saml::certificate::SigningCertificate;
use landbridge::saml::engine::XmlSecEngine;
use landbridge::saml::issue::{Issuer, Statement, signed_response};
use landbridge::saml::key::KeyKind;
use landbridge::saml::metadata::identity_provider_metadata;
use landbridge::saml::names;
use landbridge::saml::received_request::{self, RelyingParty};
use serde_json::Value;

use crate::support::directory::{ALPHA, BETA, Directory, People};
use crate::support::gateway::Gateway;
use crate::support::html::Form;
use crate::support::slapd::Slapd;
use crate::support::tab::{self, Page, Tab};

/// Sign-ins in each state at each switch: with a name to come, with a password or an assertion to come, and ended with a
/// code that the application has not yet redeemed.
const EACH: usize = 100;
/// Of those that wait for a password, how many have had a wrong one.
const WRONG_ONCE: usize = 5;
/// Browsers that click at the same time.
const AT_ONCE: usize = 8;

/// The partner's identity provider, as far as it matters here: it answers every request for whom it is told.
struct Partner {
    key: SigningKey,
    entity_id: EntityId,
    sso: url::Url,
    party: RelyingParty,
}

impl Partner {
    /// Makes a partner that knows the gateway, and writes its metadata into the gateway's folder.
    fn of(gateway: &Gateway) -> Self {
        const YEAR: Duration = Duration::from_secs(365 * 86_400);
        let own = gateway.cli(&["partner", "metadata"]);
        let own = own.as_str().expect("metadata").to_owned();
        let certificate = own.split("X509Certificate>").nth(1).and_then(|rest| rest.split('<').next()).expect("one");
        let base: url::Url = gateway.url().parse().expect("a url");
        let entity_id = own.split("entityID=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an id");
        let partner = Self {
            key: SigningKey::generate(KeyKind::Rsa2048, "idp.partner.test", SystemClock.now(), YEAR).expect("a key"),
            entity_id: "https://idp.partner.test/metadata".parse().expect("an entity id"),
            sso: "https://idp.partner.test/sso".parse().expect("a url"),
            party: RelyingParty {
                entity_id: entity_id.parse().expect("an entity id"),
                acs_url: base.join("/federation/acs").expect("a url"),
                certificates: vec![SigningCertificate::from_base64(certificate).expect("a certificate")],
            },
        };
        let metadata = identity_provider_metadata(&partner.entity_id, &partner.sso, &[partner.key.certificate()]);
        std::fs::write(gateway.folder().join("partner.xml"), metadata).expect("a file");
        partner
    }

    /// The form that the partner's page posts back for `person`, in answer to the page that led to it.
    fn answer(&self, page: &Page, person: &Person) -> Vec<(String, String)> {
        let asked = Form::with_field(&page.body, "SAMLRequest");
        assert_eq!(asked.action, self.sso.as_str());
        let field = asked.value("SAMLRequest").expect("just looked for");
        let now = SystemClock.now();
        let request = received_request::posted(field, &self.party, &self.sso, &XmlSecEngine, now)
            .expect("a request that verifies");
        let statement = Statement {
            name_id: person.anchor.clone(),
            attributes: vec![("IDPEmail".to_owned(), person.upn.clone())],
            authn_context: names::CONTEXT_PASSWORD_PROTECTED.to_owned(),
            authn_instant: now,
        };
        let issuer = Issuer { entity_id: &self.entity_id, key: &self.key, engine: &XmlSecEngine };
        let response = signed_response(issuer, &self.party, &request, &statement, now).expect("a signature");
        let relay = asked.value("RelayState").expect("relay state").to_owned();
        vec![
            ("SAMLResponse".to_owned(), base64::prelude::BASE64_STANDARD.encode(response)),
            ("RelayState".to_owned(), relay),
        ]
    }
}

#[derive(Clone, Debug)]
struct Person {
    upn: String,
    password: String,
    anchor: String,
}

/// A sign-in that somebody has begun.
enum Open {
    Name(Tab, Page, Person),
    Password(Tab, Page, Person),
    Assertion(Tab, Page, Person),
}

impl Open {
    fn awaits(&self) -> &'static str {
        match self {
            Self::Name(..) => "name",
            Self::Password(..) => "password",
            Self::Assertion(..) => "assertion",
        }
    }
}

/// Does all of it, a few at a time.
async fn at_once<T>(work: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    futures::stream::iter(work).buffered(AT_ONCE).collect().await
}

struct Site {
    slapd: Slapd,
    gateway: Gateway,
    http: reqwest::Client,
    partner: Partner,
    people: Vec<Person>,
}

impl Site {
    fn open() -> Self {
        let directory: Directory = People { people: 48, groups: 4, ..People::default() }.generate();
        let slapd = Slapd::builder().directory(&directory).start();
        let gateway = Gateway::builder().slapd("corp", &slapd, &[ALPHA, BETA], "").start();
        for domain in [ALPHA, BETA] {
            gateway.cli(&["domain", "add", domain]);
            gateway.cli(&["domain", "verify", domain, "--vouch"]);
        }
        gateway.cli(&["rules", "activate"]);
        gateway.cli(&["sync", "run"]);
        gateway.cli(&["password-sync", "run"]);
        tab::register(&gateway);
        let listed = gateway.cli(&["user", "list", "--domain", ALPHA]);
        let anchor_of = |upn: &str| {
            let user = listed.as_array()?.iter().find(|user| user["upn"] == upn)?;
            user["source_anchor"].as_str().map(ToOwned::to_owned)
        };
        let people = (directory.people.iter().skip(8))
            .filter_map(|p| {
                Some(Person { anchor: anchor_of(&p.upn)?, upn: p.upn.clone(), password: p.password.clone() })
            })
            .collect();
        let partner = Partner::of(&gateway);
        let http = gateway.http();
        Self { slapd, gateway, http, partner, people }
    }

    fn person(&self, index: usize) -> &Person {
        &self.people[index % self.people.len()]
    }

    /// Opens sign-ins that have not told a name, and as many that have.
    async fn open_some(&self, each: usize) -> Vec<Open> {
        let unnamed = at_once((0..each).map(|index| self.open_unnamed(index))).await;
        let named = at_once((0..each).map(|index| self.open_named(index, index < WRONG_ONCE))).await;
        unnamed.into_iter().chain(named).collect()
    }

    async fn open_unnamed(&self, index: usize) -> Open {
        let mut tab = Tab::new(&self.gateway, &self.http);
        let page = tab.authorize(&[]).await;
        Open::Name(tab, page, self.person(index).clone())
    }

    /// A sign-in in the state to which the domain's method leads a name.
    async fn open_named(&self, index: usize, wrong_once: bool) -> Open {
        let person = self.person(index).clone();
        let mut tab = Tab::new(&self.gateway, &self.http);
        let page = tab.authorize(&[]).await;
        let page = tab.submit(&page, "name", &person.upn).await;
        if page.body.contains("SAMLRequest") {
            return Open::Assertion(tab, page, person);
        }
        if !wrong_once {
            return Open::Password(tab, page, person);
        }
        let page = tab.submit(&page, "password", "not this one").await;
        assert!(page.body.contains("You are not signed in"), "{}", page.body);
        Open::Password(tab, page, person)
    }

    /// Signs people in up to the code that their application is to redeem.
    async fn codes(&self, each: usize) -> Vec<(Tab, String)> {
        let one = async |index| {
            let (tab, page) = self.finish(self.open_named(index, false).await).await;
            let code = page.code().unwrap_or_else(|| panic!("no code: {} {}", page.status, page.body));
            (tab, code)
        };
        at_once((0..each).map(one)).await
    }

    /// The answers of the token endpoint to these codes, without repetition.
    async fn redeem(&self, codes: Vec<(Tab, String)>) -> Vec<u16> {
        let mut answers = at_once(codes.into_iter().map(async |(tab, code)| tab.redeem(&code).await)).await;
        answers.sort_unstable();
        answers.dedup();
        answers
    }

    /// Goes on with a sign-in to its end, and returns the browser with what it was shown.
    async fn finish(&self, open: Open) -> (Tab, Page) {
        match open {
            Open::Name(mut tab, page, person) => {
                let page = tab.submit(&page, "name", &person.upn).await;
                let next = if page.body.contains("SAMLRequest") {
                    Open::Assertion(tab, page, person)
                } else {
                    Open::Password(tab, page, person)
                };
                Box::pin(self.finish(next)).await
            }
            Open::Password(mut tab, page, person) => {
                let page = tab.submit(&page, "password", &person.password).await;
                (tab, page)
            }
            Open::Assertion(mut tab, page, person) => {
                let fields = self.partner.answer(&page, &person);
                let page = tab.post("/federation/acs", &fields).await;
                (tab, page)
            }
        }
    }

    /// Switches from `from` to `to` under open sign-ins, and finishes them all.
    async fn switch(&self, from: &str, to: &str) {
        let open = self.open_some(EACH).await;
        let awaiting = |fits: fn(&Open) -> bool| open.iter().filter(|one| fits(one)).count();
        let (passwords, assertions) = if from == "federated" { (0, EACH) } else { (EACH, 0) };
        assert_eq!(awaiting(|one| matches!(one, Open::Name(..))), EACH);
        assert_eq!(awaiting(|one| matches!(one, Open::Password(..))), passwords);
        assert_eq!(awaiting(|one| matches!(one, Open::Assertion(..))), assertions);
        let codes = self.codes(EACH).await;
        assert_eq!(codes.len(), EACH);
        let mark = self.mark();
        self.settle_doubts(to);
        let set = self.gateway.cli(&["domain", "set-method", ALPHA, to]);
        assert_eq!((&set["from"], &set["to"], &set["changed"]), (&from.into(), &to.into(), &true.into()));
        assert_eq!((&set["transactions_cut"], &set["sessions_cut"]), (&0.into(), &0.into()));
        let begun = self.since(mark);
        let steps: Vec<(&str, &str)> = begun
            .iter()
            .filter(|record| record["kind"] == "domain.set-method")
            .map(|record| (record["outcome"].as_str().expect("text"), record["subject"].as_str().expect("text")))
            .collect();
        assert_eq!(steps, [("begun", ALPHA), ("success", ALPHA), ("success", ALPHA)]);
        let change = begun.iter().find(|record| record["detail"]["from"].is_string()).expect("the change itself");
        assert_eq!((&change["detail"]["from"], &change["detail"]["to"]), (&from.into(), &to.into()));
        assert_eq!(change["actor"], serde_json::json!({ "kind": "admin", "id": "tester" }));

        assert_eq!(self.redeem(codes).await, [200], "{from} -> {to}: a code issued before is worth as much after");
        let mark = self.mark();
        let ends = at_once(open.into_iter().map(async |one| {
            let state = one.awaits();
            (state, self.finish(one).await.1)
        }))
        .await;
        assert_eq!(ends.len(), 2 * EACH);
        for (state, page) in ends {
            assert!(page.has_code(), "{from} -> {to}, {state}: {} {}", page.status, page.body);
        }
        // Who had not yet said a name had no method either: it is asked when the name is known.
        assert_eq!(self.signed_in_by(mark, from), EACH, "{from} -> {to}: each finishes as it began");
        assert_eq!(self.signed_in_by(mark, to), EACH, "{from} -> {to}: who comes later takes the new method");
    }

    /// A wrong password that nobody had time to compare leaves its hash in doubt until the next pass of the channel.
    fn settle_doubts(&self, to: &str) {
        if to == "phs" {
            self.gateway.cli(&["password-sync", "run"]);
        }
    }

    /// Switches with `--cut`: what rests on the former method ends, be it open sign-ins, sessions or their codes.
    async fn cut(&self, from: &str, to: &str) {
        let (mut signed_in, page) = self.finish(self.open_named(0, false).await).await;
        assert!(page.has_code());
        let silent = signed_in.authorize(&[("prompt", "none")]).await;
        assert!(silent.has_code(), "the session answers: {}", silent.location);
        let open = self.open_some(EACH).await;
        let codes = self.codes(EACH).await;
        self.settle_doubts(to);
        let mark = self.mark();
        let set = self.gateway.cli(&["domain", "set-method", ALPHA, to, "--cut"]);
        assert!(set["transactions_cut"].as_u64().expect("a number") as usize >= EACH, "{set:#}");
        assert!(set["sessions_cut"].as_u64().expect("a number") as usize > EACH, "{set:#}");
        let cut = self.since(mark);
        assert!(cut.iter().any(|record| record["reason"] == "cut"), "{cut:#?}");
        let silent = signed_in.authorize(&[("prompt", "none")]).await;
        assert!(silent.location.contains("error=login_required"), "the session has ended: {}", silent.location);
        assert_eq!(self.redeem(codes).await, [400], "{from} -> {to}: the codes of ended sessions are worth nothing");
        let mark = self.mark();
        let ends = at_once(open.into_iter().map(async |one| (one.awaits(), self.finish(one).await.1))).await;
        assert_eq!(ends.len(), 2 * EACH);
        for (state, page) in ends {
            // Who had not told a name has nothing that could be cut.
            let lives = state == "name";
            assert_eq!(page.has_code(), lives, "{from} -> {to}, {state}: {} {}", page.status, page.body);
        }
        assert_eq!((self.signed_in_by(mark, from), self.signed_in_by(mark, to)), (0, EACH));
    }

    /// The number of the newest audit record.
    fn mark(&self) -> i64 {
        self.gateway.audit(1)[0]["number"].as_i64().expect("a number")
    }

    fn since(&self, mark: i64) -> Vec<Value> {
        let mut records = self.gateway.audit(1000);
        records.retain(|record| record["number"].as_i64().expect("a number") > mark);
        records
    }

    fn signed_in_by(&self, mark: i64, method: &str) -> usize {
        let fits = |r: &&Value| r["kind"] == "sign-in" && r["outcome"] == "success" && r["detail"]["method"] == method;
        self.since(mark).iter().filter(fits).count()
    }

    fn method(&self) -> Value {
        self.gateway.cli(&["domain", "show", ALPHA])["domain"]["method"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_changes_its_method_under_a_hundred_sign_ins_in_each_state_and_none_is_lost() {
    let mut site = Site::open();

    let refused = site.gateway.cli_refused(&["domain", "set-method", ALPHA, "federated"]);
    assert_eq!(refused["kind"], "refused", "{refused:#}");
    assert_eq!(refused["detail"]["not_ready"], refused["detail"]["users"], "nobody could sign in: {refused:#}");
    assert_eq!(refused["detail"]["reasons"][0]["reason"], "partner-unusable", "{refused:#}");
    assert_eq!(site.method(), "phs");
    let file = site.gateway.folder().join("partner.xml").display().to_string();
    site.gateway.cli(&["partner", "add", "--metadata", &file, "--domain", ALPHA]);

    for (from, to) in [("phs", "pta"), ("pta", "federated"), ("federated", "phs")] {
        site.switch(from, to).await;
    }

    site.cut("phs", "pta").await;
    site.gateway.cli(&["domain", "set-method", ALPHA, "federated"]);
    site.cut("federated", "phs").await;

    // Nobody is locked out without being told to.
    assert_eq!(site.method(), "phs");
    site.slapd.stop();
    let refused = site.gateway.cli_refused(&["domain", "set-method", ALPHA, "pta"]);
    assert_eq!(refused["detail"]["reasons"][0]["reason"], "servers-unreachable", "{refused:#}");
    assert_eq!(site.method(), "phs");
    let set = site.gateway.cli(&["domain", "set-method", ALPHA, "pta", "--force"]);
    assert_eq!(set["changed"], true);
    assert_eq!(site.method(), "pta");
}
