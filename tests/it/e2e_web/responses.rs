//! The table of altered responses, posted at the running gateway. Every row answers a question that the gateway really asked
//! SimpleSAMLphp, and is signed with SimpleSAMLphp's key.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use landbridge::identity::{Clock as _, SystemClock};
use landbridge::saml::SigningKey;
use landbridge::saml::key::KeyKind;
use serde_json::Value;

use super::world::{Asked, Method, World};
use crate::saml_table::{self, Parameters, Sign};
use crate::support::simplesamlphp::SimpleSamlPhp;

const REDIRECT: &str = "https://app.example/cb";
/// Rows in a row that answer the same question: four refusals leave it open, the fifth does not. Each question costs a
/// table of its own.
const ROWS_PER_QUESTION: usize = 4;

fn der(pem_file: &std::path::Path) -> Vec<u8> {
    let pem = std::fs::read_to_string(pem_file).expect("a PEM file");
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    BASE64_STANDARD.decode(base64).expect("base64")
}

fn signing_key(partner: &SimpleSamlPhp) -> SigningKey {
    let key = der(&partner.signing_key_file()).into();
    SigningKey::from_parts(key, &der(&partner.signing_cert_file())).expect("the partner's key fits its certificate")
}

/// What a response has to fit, whatever the question.
struct Keys {
    partner: SigningKey,
    foreign: SigningKey,
    acs_url: String,
    service: String,
    partner_entity_id: String,
    anchor: String,
    upn: String,
}

impl Keys {
    fn of(world: &World) -> Self {
        let foreign =
            SigningKey::generate(KeyKind::Rsa2048, "attacker", SystemClock.now(), Duration::from_secs(86_400));
        Self {
            partner: signing_key(&world.partner),
            foreign: foreign.expect("a key"),
            acs_url: world.acs_url(),
            service: world.service_entity_id(),
            partner_entity_id: world.partner.entity_id(),
            anchor: world.federated_anchor(),
            upn: Method::Federated.upn(),
        }
    }

    fn parameters<'a>(&'a self, asked: &'a Asked) -> Parameters<'a> {
        Parameters {
            acs_url: &self.acs_url,
            service_entity_id: &self.service,
            partner_entity_id: &self.partner_entity_id,
            request_id: &asked.request_id,
            now: SystemClock.now(),
            key: &self.partner,
            foreign_key: &self.foreign,
            name_id: &self.anchor,
            upn: &self.upn,
        }
    }
}

fn authorize_url(world: &World) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("client_id", "table"), ("redirect_uri", REDIRECT), ("response_type", "code")])
        .extend_pairs([("scope", "openid"), ("state", "st"), ("nonce", "no")])
        .finish();
    format!("{}/oauth2/authorize?{query}", world.gateway.url())
}

/// The reasons of all refused sign-ins, oldest first.
fn refusals(world: &World) -> Vec<String> {
    let sign_ins = world.gateway.audit(1000).into_iter().filter(|record| record["kind"] == "sign-in");
    let refused = sign_ins.filter(|record| record["outcome"] == "refused");
    refused.map(|record| record["reason"].as_str().expect("a reason").to_owned()).collect()
}

fn successes(world: &World) -> Vec<Value> {
    let records = world.gateway.audit(1000).into_iter();
    records.filter(|record| record["kind"] == "sign-in" && record["outcome"] == "success").collect()
}

#[tokio::test]
async fn every_altered_response_is_refused_with_its_code_and_the_unaltered_one_accepted_once() {
    let world = World::start();
    world.add_client("table", REDIRECT, "https://app.example/bye");
    let (keys, authorize) = (Keys::of(&world), authorize_url(&world));
    let mut expected = Vec::new();
    let mut next = 0;
    loop {
        let visitor = world.visitor();
        let asked = visitor.ask_partner(&authorize).await;
        let rows = saml_table::altered(keys.parameters(&asked));
        for row in rows.iter().skip(next).take(ROWS_PER_QUESTION) {
            let answer = visitor.answer(&asked, &row.field).await;
            assert_eq!(answer.status(), 403, "{}", row.name);
            assert!(answer.headers().get("location").is_none(), "{}", row.name);
            let page = answer.text().await.expect("a page");
            assert!(page.contains("was not accepted here") && !page.contains("saml."), "{}: {page}", row.name);
            expected.push((row.name, row.code));
        }
        // The question is still open: what was refused on it was refused for the one thing that differs.
        let (sign, xml) = saml_table::accepted(keys.parameters(&asked)).remove(next / ROWS_PER_QUESTION % 3);
        let field = saml_table::field(xml.as_bytes());
        let accepted = visitor.answer(&asked, &field).await;
        let location = accepted.headers().get("location").map(|value| value.to_str().expect("ASCII").to_owned());
        assert!(location.is_some_and(|url| url.starts_with(REDIRECT)), "{sign:?}: {}", world.gateway.log());
        next += ROWS_PER_QUESTION;
        if next >= rows.len() {
            break;
        }
    }
    assert!(expected.len() >= 40, "{} rows", expected.len());
    let found = refusals(&world);
    assert_eq!(found.len(), expected.len());
    for ((name, code), found) in expected.iter().zip(&found) {
        assert_eq!(found, code, "{name}");
    }
    let (successes, carol) = (successes(&world), world.user(&keys.upn));
    assert_eq!(successes.len(), expected.len().div_ceil(ROWS_PER_QUESTION));
    assert!(successes.iter().all(|record| record["subject"] == carol["oid"]), "{successes:?}");
}

#[tokio::test]
async fn a_response_counts_once_and_only_for_whom_the_partner_answers() {
    let world = World::start();
    world.add_client("table", REDIRECT, "https://app.example/bye");
    let (keys, authorize) = (Keys::of(&world), authorize_url(&world));
    replayed(&world, &keys, &authorize).await;
    let ada = world.user(&Method::Hash.upn());
    let ada = ada["source_anchor"].as_str().expect("an anchor");
    let (carol, upn) = (keys.anchor.as_str(), keys.upn.as_str());
    for (anchor, upn, code) in [
        ("nobody-s-anchor", upn, "federation.unknown_anchor"),
        (carol, "dave@federated.example", "federation.upn_mismatch"),
        (ada, upn, "federation.upn_mismatch"),
        (ada, &Method::Hash.upn(), "federation.domain_foreign"),
    ] {
        let visitor = world.visitor();
        let asked = visitor.ask_partner(&authorize).await;
        let parameters = Parameters { name_id: anchor, upn, ..keys.parameters(&asked) };
        let (_, xml) = saml_table::accepted(parameters).remove(0);
        let answer = visitor.answer(&asked, &saml_table::field(xml.as_bytes())).await;
        assert_eq!(answer.status(), 403, "{anchor} {upn}");
        assert_eq!(refusals(&world).pop().as_deref(), Some(code), "{anchor} {upn}");
    }
    assert_eq!(successes(&world).len(), 1);
}

/// An accepted response posted again: by its browser, by a thief of its cookies, on another question.
async fn replayed(world: &World, keys: &Keys, authorize: &str) {
    let (visitor, other) = (world.visitor(), world.visitor());
    let asked = visitor.ask_partner(authorize).await;
    let cookies = visitor.cookies();
    let (sign, xml) = saml_table::accepted(keys.parameters(&asked)).remove(0);
    assert_eq!(sign, Sign::Both);
    let field = saml_table::field(xml.as_bytes());
    assert_eq!(visitor.answer(&asked, &field).await.status(), 303);

    // By the same browser, which has forgotten the sign-in.
    assert_eq!(visitor.answer(&asked, &field).await.status(), 400);
    // By somebody who took the cookies and the response.
    let stolen = visitor.answer_with_cookies(&asked, &field, &cookies).await;
    assert_eq!(stolen.status(), 400);
    assert_eq!(refusals(world), ["federation.not_awaited"]);
    // On another question.
    let asked = other.ask_partner(authorize).await;
    assert_eq!(other.answer(&asked, &field).await.status(), 403);
    assert_eq!(refusals(world), ["federation.not_awaited", "saml.in_response_to_mismatch"]);
    assert_eq!(successes(world).len(), 1);
}

#[tokio::test]
async fn a_question_is_signed_once_and_ends_with_the_fifth_refused_answer() {
    let world = World::start();
    world.add_client("table", REDIRECT, "https://app.example/bye");
    let (keys, authorize) = (Keys::of(&world), authorize_url(&world));
    let visitor = world.visitor();
    let asked = visitor.ask_partner(&authorize).await;
    let again = visitor.get(&format!("{}/sign-in/{}", world.gateway.url(), asked.relay_state)).await;
    let again = again.text().await.expect("a page").replace("&#38;", "&").replace("&amp;", "&");
    let sent = if asked.action.contains("SAMLRequest=") { &asked.action } else { &asked.request };
    assert!(again.contains(sent.as_str()), "the same request, with the same signature: {again}");

    let (_, xml) = saml_table::accepted(keys.parameters(&asked)).remove(0);
    let good = saml_table::field(xml.as_bytes());
    let bad = saml_table::altered(keys.parameters(&asked)).remove(0).field;
    for _ in 0..5 {
        assert_eq!(visitor.answer(&asked, &bad).await.status(), 403);
    }
    assert_eq!(visitor.answer(&asked, &good).await.status(), 400, "the gateway waits for it no longer");
    assert!(successes(&world).is_empty());
}
