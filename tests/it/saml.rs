//! The service provider side of SAML: every rule of the gate, the engine and the validator, against responses made from one
//! accepted response. A second, independent XML signature implementation is the oracle for every verdict on a signature.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bergshamra::{DsigContext, KeysManager};
use landbridge::identity::{EntityId, SettableClock, Timestamp};
use landbridge::saml::algorithm::{AlgorithmPolicy, Canonicalization};
use landbridge::saml::key::KeyKind;
use landbridge::saml::request::{RequestId, ServiceProvider};
use landbridge::saml::response::{Awaited, ClockSkew, ResponseChecker};
use landbridge::saml::{
    SamlRefusal, SigningCertificate, SigningKey, VerifiedAssertion, XmlSecEngine, XmlSignatureEngine, engine, guard,
    names,
};
use proptest::prelude::*;

use crate::saml_table::{self, Parameters, Shape, Sign};

pub const ACS: &str = "https://gateway.example/saml/acs";
pub const SERVICE: &str = "https://gateway.example/saml/metadata";
pub const PARTNER: &str = "https://idp.fed.example/metadata";
pub const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
pub const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

pub fn generate(kind: KeyKind, name: &str) -> SigningKey {
    SigningKey::generate(kind, name, NOW, YEAR).expect("a key can be generated")
}

/// The partner's key and one that nobody was told about, made once for all tests.
pub fn rsa_keys() -> &'static (SigningKey, SigningKey) {
    static KEYS: OnceLock<(SigningKey, SigningKey)> = OnceLock::new();
    KEYS.get_or_init(|| (generate(KeyKind::Rsa2048, "partner"), generate(KeyKind::Rsa2048, "attacker")))
}

pub fn ec_keys() -> &'static (SigningKey, SigningKey) {
    static KEYS: OnceLock<(SigningKey, SigningKey)> = OnceLock::new();
    KEYS.get_or_init(|| (generate(KeyKind::EcP256, "partner"), generate(KeyKind::EcP256, "attacker")))
}

pub fn parameters<'a>(request_id: &'a RequestId, keys: &'a (SigningKey, SigningKey)) -> Parameters<'a> {
    Parameters {
        acs_url: ACS,
        service_entity_id: SERVICE,
        partner_entity_id: PARTNER,
        request_id: request_id.as_str(),
        now: NOW,
        key: &keys.0,
        foreign_key: &keys.1,
        name_id: "kZohAy9x5Eil2r4V5t3y/Q==",
        upn: "alice@fed.example",
    }
}

pub fn checker() -> ResponseChecker {
    ResponseChecker {
        service: ServiceProvider {
            entity_id: SERVICE.parse().expect("an entity id"),
            acs_url: ACS.parse().expect("a url"),
        },
        algorithms: AlgorithmPolicy::default(),
        skew: ClockSkew::default(),
        engine: Arc::new(XmlSecEngine),
        clock: Arc::new(SettableClock::at(NOW)),
    }
}

fn check(
    checker: &ResponseChecker,
    xml: &str,
    request_id: &RequestId,
    certificates: &[SigningCertificate],
) -> Result<VerifiedAssertion, SamlRefusal> {
    let issuer: EntityId = PARTNER.parse().expect("an entity id");
    let field = saml_table::field(xml.as_bytes());
    checker.check(&field, Awaited { request_id, issuer: &issuer, certificates })
}

/// The verdict of one response, as its audit code.
fn code(checker: &ResponseChecker, xml: &str, id: &RequestId, certificates: &[SigningCertificate]) -> &'static str {
    check(checker, xml, id, certificates).map_or_else(|refusal| refusal.code(), |_| "accepted")
}

fn run_table(keys: &(SigningKey, SigningKey)) -> usize {
    let request_id = RequestId::random();
    let p = parameters(&request_id, keys);
    let certificates = [keys.0.certificate().clone()];
    let checker = checker();
    let mut wrong = Vec::new();
    for (sign, xml) in saml_table::accepted(p) {
        let assertion = check(&checker, &xml, &request_id, &certificates);
        let assertion = assertion.unwrap_or_else(|error| panic!("{sign:?} is accepted, not {error:?}"));
        assert_eq!(assertion.name_id().value, p.name_id);
        assert_eq!(assertion.values("http://schemas.xmlsoap.org/claims/UPN").collect::<Vec<_>>(), [p.upn]);
    }
    let rows = saml_table::altered(p);
    let issuer: EntityId = PARTNER.parse().expect("an entity id");
    for row in &rows {
        let awaited = Awaited { request_id: &request_id, issuer: &issuer, certificates: &certificates };
        let code = checker.check(&row.field, awaited).map_or_else(|refusal| refusal.code(), |_| "accepted");
        if code != row.code {
            wrong.push(format!("{}: {code}, expected {}", row.name, row.code));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    rows.len()
}

#[test]
fn every_altered_response_is_refused_for_its_own_reason() {
    assert!(run_table(rsa_keys()) >= 40);
}

#[test]
fn elliptic_curve_partners_meet_the_same_table() {
    assert!(run_table(ec_keys()) >= 40);
}

#[test]
fn every_row_has_a_name_of_its_own() {
    let request_id = RequestId::random();
    let rows = saml_table::altered(parameters(&request_id, rsa_keys()));
    let names: HashSet<_> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len());
}

/// The verdict of the second implementation on all signatures of a message.
fn oracle_accepts(xml: &str, certificate: &SigningCertificate) -> bool {
    let mut keys = KeysManager::new();
    let Ok(key) = bergshamra::keys::loader::load_x509_cert_der(certificate.der()) else { return false };
    keys.add_key(key);
    let context = DsigContext::new(keys);
    bergshamra::verify_all(&context, xml)
        .is_ok_and(|results| !results.is_empty() && results.iter().all(|result| result.is_valid()))
}

#[test]
fn both_engines_agree_on_every_message_that_passes_the_guard() {
    for keys in [rsa_keys(), ec_keys()] {
        let request_id = RequestId::random();
        let p = parameters(&request_id, keys);
        let rows =
            saml_table::altered(p).into_iter().filter_map(|row| Some((row.name, String::from_utf8(row.bytes).ok()?)));
        let accepted = saml_table::accepted(p).into_iter().map(|(_, xml)| ("accepted", xml));
        let mut compared = 0;
        for (name, xml) in rows.chain(accepted) {
            let Ok(message) = guard::response(xml.clone(), &AlgorithmPolicy::default()) else { continue };
            let ours = XmlSecEngine.verify(&message, keys.0.certificate()).is_ok();
            assert_eq!(ours, oracle_accepts(&xml, keys.0.certificate()), "{name}");
            compared += 1;
        }
        assert!(compared >= 40, "{compared} messages reach the engines");
    }
}

#[test]
fn a_partner_may_roll_its_key_and_mix_key_families() {
    let request_id = RequestId::random();
    let certificates: Vec<_> =
        [&rsa_keys().1, &rsa_keys().0, &ec_keys().1, &ec_keys().0].map(|key| key.certificate().clone()).into();
    for keys in [rsa_keys(), ec_keys()] {
        let xml = Shape::new(parameters(&request_id, keys)).build();
        assert_eq!(code(&checker(), &xml, &request_id, &certificates), "accepted");
    }
}

#[test]
fn without_a_certificate_nothing_is_accepted() {
    let request_id = RequestId::random();
    let p = parameters(&request_id, rsa_keys());
    let unsigned = Shape { sign: Sign::Nothing, ..Shape::new(p) }.build();
    assert_eq!(code(&checker(), &unsigned, &request_id, &[]), "saml.unsigned");
    assert_eq!(code(&checker(), &Shape::new(p).build(), &request_id, &[]), "saml.no_matching_certificate");
}

#[test]
fn an_expired_certificate_verifies_nothing() {
    let old = SigningKey::generate(KeyKind::EcP256, "old", NOW - 2 * YEAR, YEAR).expect("a key can be generated");
    let keys = (old, generate(KeyKind::EcP256, "other"));
    let request_id = RequestId::random();
    let xml = Shape::new(parameters(&request_id, &keys)).build();
    let certificates = [keys.0.certificate().clone()];
    assert_eq!(code(&checker(), &xml, &request_id, &certificates), "saml.certificate_expired");
}

#[test]
fn inclusive_canonicalization_is_a_choice_of_the_operator() {
    let request_id = RequestId::random();
    let mut shape = Shape::new(parameters(&request_id, rsa_keys()));
    shape.canonicalization = names::INCLUSIVE_C14N;
    shape.transforms = shape.transforms.replace(names::EXCLUSIVE_C14N, names::INCLUSIVE_C14N);
    shape.sign = Sign::Response;
    let xml = shape.build();
    let certificates = [rsa_keys().0.certificate().clone()];
    assert_eq!(code(&checker(), &xml, &request_id, &certificates), "saml.canonicalization_forbidden");
    let mut permissive = checker();
    permissive.algorithms.canonicalizations.push(Canonicalization::Inclusive);
    assert_eq!(code(&permissive, &xml, &request_id, &certificates), "accepted");
}

#[test]
fn a_prefix_list_as_shibboleth_writes_it_is_accepted() {
    let request_id = RequestId::random();
    let mut shape = Shape::new(parameters(&request_id, rsa_keys()));
    let plain = format!("<ds:Transform Algorithm=\"{}\"/>", names::EXCLUSIVE_C14N);
    let listed = |prefixes: &str| {
        format!(
            "<ds:Transform Algorithm=\"{0}\"><ec:InclusiveNamespaces xmlns:ec=\"{0}\" PrefixList=\"{prefixes}\"/></ds:Transform>",
            names::EXCLUSIVE_C14N
        )
    };
    let transforms = shape.transforms.clone();
    shape.transforms = transforms.replace(&plain, &listed("xs"));
    let certificates = [rsa_keys().0.certificate().clone()];
    assert_eq!(code(&checker(), &shape.build(), &request_id, &certificates), "accepted");
    shape.transforms = transforms.replace(&plain, &listed("a b c d e f g h i j k l m n o p q r"));
    assert_eq!(code(&checker(), &shape.build(), &request_id, &certificates), "saml.canonicalization_forbidden");
}

#[test]
fn skew_is_tolerated_to_the_millisecond_and_no_further() {
    let request_id = RequestId::random();
    let p = parameters(&request_id, rsa_keys());
    let certificates = [rsa_keys().0.certificate().clone()];
    let skew = Duration::from_secs(60);
    let tick = Duration::from_millis(1);
    let with_end = |end: Timestamp| Shape { not_on_or_after: end, ..Shape::new(p) }.build();
    let with_start = |start: Timestamp| Shape { not_before: start, ..Shape::new(p) }.build();
    assert_eq!(code(&checker(), &with_end(NOW - skew + tick), &request_id, &certificates), "accepted");
    assert_eq!(code(&checker(), &with_end(NOW - skew), &request_id, &certificates), "saml.expired");
    assert_eq!(code(&checker(), &with_start(NOW + skew), &request_id, &certificates), "accepted");
    assert_eq!(code(&checker(), &with_start(NOW + skew + tick), &request_id, &certificates), "saml.not_yet_valid");
}

#[test]
fn a_response_to_one_request_answers_no_other() {
    let (first, second) = (RequestId::random(), RequestId::random());
    let xml = Shape::new(parameters(&first, rsa_keys())).build();
    let certificates = [rsa_keys().0.certificate().clone()];
    assert_eq!(code(&checker(), &xml, &second, &certificates), "saml.in_response_to_mismatch");
}

#[test]
fn an_assertion_is_known_again_as_long_as_it_could_be_used() {
    let request_id = RequestId::random();
    let p = parameters(&request_id, rsa_keys());
    let certificates = [rsa_keys().0.certificate().clone()];
    let xml = Shape::new(p).build();
    let accepted = |xml: &str| check(&checker(), xml, &request_id, &certificates).expect("accepted");
    let (once, again, other) = (accepted(&xml), accepted(&xml), accepted(&Shape::new(p).build()));
    assert_eq!(once.fingerprint(), again.fingerprint());
    assert_ne!(once.fingerprint(), other.fingerprint());
    assert_eq!(once.fingerprint().len(), 64);
    assert_eq!(once.usable_until(), NOW + Duration::from_secs(5 * 60 + 60));
    let last = ResponseChecker { clock: Arc::new(SettableClock::at(once.usable_until())), ..checker() };
    assert_eq!(code(&last, &xml, &request_id, &certificates), "saml.expired");
    let earlier = Shape { not_on_or_after: NOW + Duration::from_secs(60), ..Shape::new(p) }.build();
    assert_eq!(accepted(&earlier).usable_until(), NOW + Duration::from_secs(120));
}

#[test]
fn an_assertion_with_several_confirmations_is_remembered_as_long_as_the_last_one_holds() {
    let request_id = RequestId::random();
    let p = parameters(&request_id, rsa_keys());
    let certificates = [rsa_keys().0.certificate().clone()];
    let short = (NOW + Duration::from_secs(60)).rfc3339();
    let mut shape = Shape::new(p);
    let first = shape.confirmation.replacen(&(NOW + Duration::from_secs(5 * 60)).rfc3339(), &short, 1);
    shape.confirmation = format!(
        "{first}/></saml:SubjectConfirmation><saml:SubjectConfirmation Method=\"{}\"><saml:SubjectConfirmationData {}",
        names::BEARER,
        shape.confirmation
    );
    let xml = shape.build();
    let remembered = check(&checker(), &xml, &request_id, &certificates).expect("accepted").usable_until();
    let later = ResponseChecker { clock: Arc::new(SettableClock::at(NOW + Duration::from_secs(180))), ..checker() };
    assert_eq!(code(&later, &xml, &request_id, &certificates), "accepted");
    assert_eq!(remembered, NOW + Duration::from_secs(5 * 60 + 60));
}

#[test]
fn outside_a_signed_assertion_the_response_can_only_add_reasons_to_refuse() {
    let request_id = RequestId::random();
    let p = parameters(&request_id, rsa_keys());
    let certificates = [rsa_keys().0.certificate().clone()];
    let shape = Shape { sign: Sign::Assertion, ..Shape::new(p) };
    let xml = shape.build();
    let bare = Shape { destination: None, response_issuer: None, ..shape }.build();
    assert_eq!(code(&checker(), &bare, &request_id, &certificates), "accepted");
    let failed = xml.replacen(":status:Success", ":status:Responder", 1);
    assert_eq!(code(&checker(), &failed, &request_id, &certificates), "saml.status_not_success");
    let foreign = xml.replacen(&format!("Destination=\"{ACS}\""), "Destination=\"https://other.example/acs\"", 1);
    assert_eq!(code(&checker(), &foreign, &request_id, &certificates), "saml.destination_mismatch");
}

#[test]
fn the_partner_s_error_reaches_the_audit_record_without_control_characters() {
    let request_id = RequestId::random();
    let p = parameters(&request_id, rsa_keys());
    let mut shape = Shape { sign: Sign::Nothing, ..Shape::new(p) };
    shape.status =
        "<samlp:Status><samlp:StatusCode Value=\"urn:x:Responder\"><samlp:StatusCode Value=\"urn:x:No&#10;Passive\"/>\
                    </samlp:StatusCode></samlp:Status>"
            .to_owned();
    let error = check(&checker(), &shape.response("_r1", ""), &request_id, &[]).expect_err("it is a failure");
    assert!(
        matches!(&error, SamlRefusal::StatusNotSuccess(told) if told == "urn:x:Responder urn:x:NoPassive"),
        "{error:?}"
    );
}

/// How to damage a message at one place.
#[derive(Debug, Clone)]
enum Damage {
    Replace(u8),
    Insert(u8),
    Remove(usize),
    Repeat(usize),
    Swap(usize),
}

fn damage() -> impl Strategy<Value = (prop::sample::Index, Damage)> {
    let interesting = prop::sample::select(b"<>/&;#\"'=!?- \n\0:ID_a0\xff]x".to_vec());
    let kind = prop_oneof![
        interesting.clone().prop_map(Damage::Replace),
        interesting.prop_map(Damage::Insert),
        (1usize..200).prop_map(Damage::Remove),
        (1usize..400).prop_map(Damage::Repeat),
        (1usize..400).prop_map(Damage::Swap),
    ];
    (any::<prop::sample::Index>(), kind)
}

fn damaged(xml: &str, damages: &[(prop::sample::Index, Damage)]) -> Vec<u8> {
    let mut bytes = xml.as_bytes().to_vec();
    for (place, damage) in damages {
        let at = place.index(bytes.len());
        match damage {
            Damage::Replace(byte) => bytes[at] = *byte,
            Damage::Insert(byte) => bytes.insert(at, *byte),
            Damage::Remove(length) => drop(bytes.drain(at..(at + length).min(bytes.len() - 1).max(at))),
            Damage::Repeat(length) => {
                let part = bytes[at..(at + length).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
            Damage::Swap(length) => {
                let end = (at + 2 * length).min(bytes.len());
                let half = (end - at) / 2;
                bytes[at..end].rotate_left(half);
            }
        }
    }
    bytes
}

fn sample() -> &'static (String, String) {
    static SAMPLE: OnceLock<(String, String)> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let request_id = RequestId::random();
        let xml = Shape { sign: Sign::Assertion, ..Shape::new(parameters(&request_id, rsa_keys())) }.build();
        let message = guard::response(xml.clone(), &AlgorithmPolicy::default()).expect("the sample passes");
        let verified = XmlSecEngine.verify(&message, rsa_keys().0.certificate()).expect("the sample verifies");
        (xml, verified)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to a message, the guard returns; and if the engine still verifies it, it yields the very octets of the
    /// undamaged one.
    #[test]
    fn no_damage_panics_the_guard_or_changes_what_is_verified(damages in prop::collection::vec(damage(), 1..4)) {
        let (xml, verified) = sample();
        let Ok(text) = String::from_utf8(damaged(xml, &damages)) else { return Ok(()) };
        if let Ok(message) = guard::response(text, &AlgorithmPolicy::default())
            && let Ok(octets) = XmlSecEngine.verify(&message, rsa_keys().0.certificate())
        {
            prop_assert_eq!(&octets, verified);
        }
    }

    #[test]
    fn no_field_panics_the_guard(field in "\\PC{0,400}") {
        prop_assert!(guard::posted_response(&field, &AlgorithmPolicy::default()).is_err());
    }
}

#[test]
fn verification_refuses_what_is_not_the_element_that_was_seen_signed() {
    #[derive(Debug)]
    struct Liar;
    impl XmlSignatureEngine for Liar {
        fn verify(&self, _: &guard::Guarded, _: &SigningCertificate) -> Result<String, engine::SignatureFailure> {
            Ok("<saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"_evil\"/>".to_owned())
        }
        fn sign(&self, template: &str, _: &SigningKey) -> Result<String, engine::SigningFailure> {
            Ok(template.to_owned())
        }
    }
    let message = guard::response(sample().0.clone(), &AlgorithmPolicy::default()).expect("the sample passes");
    let certificates = [rsa_keys().0.certificate().clone()];
    let refusal = engine::verify(&Liar, &message, &certificates, NOW).map(|_| ()).expect_err("the id differs");
    assert_eq!(refusal, SamlRefusal::VerifiedPartMismatch);
}
