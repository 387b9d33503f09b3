//! Federation: partners, what their assertions may claim, and whole sign-ins at two identity providers over loopback: the
//! demonstration's own and SimpleSAMLphp.

use std::collections::HashSet;
use std::sync::Arc;

use landbridge::demo::partner::{Account, PartnerIdentityProvider};
use landbridge::federation::federated_sign_in::{FederatedSignInError, Outgoing};
use landbridge::federation::partner::{AnchorEncoding, AnchorSource, Claims, MfaBehaviour, PartnerError};
use landbridge::federation::{
    FederatedSignIn, FederationRefusal, Partner, PartnerStore, PartnerStoreError, XmlWork, identify,
};
use landbridge::identity::{
    Clock, DomainName, EntityId, PlainPassword, SettableClock, SourceAnchor, SystemClock, Timestamp,
};
use landbridge::saml::certificate::CertificateError;
use landbridge::saml::key::KeyKind;
use landbridge::saml::metadata::{
    Binding, IdentityProviderMetadata, MetadataError, identity_provider_metadata, service_provider_metadata,
};
use landbridge::saml::received_request::{self, RelyingParty};
use landbridge::saml::request::{AuthnRequest, Freshness, RelayState, RequestId, ServiceProvider};
use landbridge::saml::response::{Awaited, ResponseChecker};
use landbridge::saml::{SamlRefusal, SigningCertificate, SigningKey, VerifiedAssertion, XmlSecEngine, names};
use landbridge::signin::FederatedIdentity;
use landbridge::store::federation::FederationStore;
use landbridge::store::{AuditLog, Database, DatabaseUrl, Room};
use reqwest::header;

use crate::saml::{ACS, NOW, PARTNER, SERVICE, YEAR, checker, generate, parameters, rsa_keys};
use crate::saml_table::{self, Shape, attribute};
use crate::support::html::Form;
use crate::support::postgres::Postgres;
use crate::support::simplesamlphp::SimpleSamlPhp;

const ANCHOR: &str = "kZohAy9x5Eil2r4V5t3y/Q==";
const UPN: &str = "alice@fed.example";
/// Names below `localhost` may be reached without TLS.
const PHP_HOST: &str = "idp.partner-test.localhost";

fn entity(id: &str) -> EntityId {
    id.parse().expect("an entity id")
}

fn partner_metadata() -> IdentityProviderMetadata {
    let sso = "https://idp.fed.example/sso".parse().expect("a url");
    let xml = identity_provider_metadata(&entity(PARTNER), &sso, &[rsa_keys().0.certificate()]);
    IdentityProviderMetadata::parse(&xml).expect("our own metadata can be read")
}

fn domains() -> Vec<DomainName> {
    vec!["fed.example".parse().expect("a domain")]
}

fn partner(claims: Claims) -> Partner {
    Partner::from_metadata(partner_metadata(), domains(), claims, NOW).expect("a usable partner")
}

/// An accepted assertion with this name id and these attributes.
fn assertion(name_id: &str, attributes: &str) -> VerifiedAssertion {
    let request_id = RequestId::random();
    let mut shape = Shape::new(saml_table::Parameters { name_id, ..parameters(&request_id, rsa_keys()) });
    shape.attributes = attributes.to_owned();
    verified(&shape.build(), &request_id)
}

fn verified(xml: &str, request_id: &RequestId) -> VerifiedAssertion {
    let (issuer, certificates) = (entity(PARTNER), [rsa_keys().0.certificate().clone()]);
    let awaited = Awaited { request_id, issuer: &issuer, certificates: &certificates };
    checker().check(&saml_table::field(xml.as_bytes()), awaited).expect("the response is accepted")
}

fn identity(name_id: &str, attributes: &str, claims: Claims) -> Result<FederatedIdentity, FederationRefusal> {
    identify(&assertion(name_id, attributes), &partner(claims))
}

#[test]
fn an_identity_is_read_from_name_id_and_any_default_attribute() {
    for name in ["IDPEmail", "http://schemas.xmlsoap.org/claims/UPN", "userPrincipalName"] {
        let identity = identity(ANCHOR, &attribute(name, UPN), Claims::default()).expect("accepted");
        assert_eq!(identity.source_anchor.as_str(), ANCHOR, "{name}");
        assert_eq!(identity.upn.to_string(), UPN, "{name}");
    }
}

#[test]
fn an_escaped_anchor_is_the_same_anchor() {
    let upn = attribute("IDPEmail", UPN);
    let escaped = identity("kZohAy9x5Eil2r4V5t3y.2FQ.3D.3d", &upn, Claims::default()).expect("accepted");
    assert_eq!(escaped.source_anchor.as_str(), ANCHOR);
    for malformed in ["a.2", "a.", "a.xy", "a.2é", "a.ff", "a.0a"] {
        let refusal = identity(malformed, &upn, Claims::default());
        assert_eq!(refusal, Err(FederationRefusal::AnchorMalformed), "{malformed}");
    }
    let verbatim = Claims { anchor_encoding: AnchorEncoding::Verbatim, ..Claims::default() };
    assert_eq!(identity("a.xy", &upn, verbatim).expect("accepted").source_anchor.as_str(), "a.xy");
}

#[test]
fn an_anchor_may_stand_in_an_attribute_and_must_be_one() {
    let claims = || Claims { anchor: AnchorSource::Attribute("immutableId".to_owned()), ..Claims::default() };
    let upn = attribute("IDPEmail", UPN);
    let found = identity("transient", &(upn.clone() + &attribute("immutableId", ANCHOR)), claims());
    assert_eq!(found.expect("accepted").source_anchor.as_str(), ANCHOR);
    assert_eq!(identity(ANCHOR, &upn, claims()), Err(FederationRefusal::AnchorMissing));
    let two = upn + &attribute("immutableId", ANCHOR) + &attribute("immutableId", "other");
    assert_eq!(identity(ANCHOR, &two, claims()), Err(FederationRefusal::AnchorAmbiguous));
}

#[test]
fn one_name_in_a_domain_of_the_partner_must_be_claimed() {
    for foreign in ["other.example", "sub.fed.example"] {
        let refusal = identity(ANCHOR, &attribute("IDPEmail", &format!("alice@{foreign}")), Claims::default());
        assert_eq!(refusal, Err(FederationRefusal::DomainForeign(foreign.parse().expect("a domain"))));
    }
    for malformed in ["alice@fed.example@other.example", "alice", "", " alice@fed.example"] {
        let refusal = identity(ANCHOR, &attribute("IDPEmail", malformed), Claims::default());
        assert_eq!(refusal, Err(FederationRefusal::UpnMalformed), "{malformed:?}");
    }
    assert_eq!(identity(ANCHOR, &attribute("mail", UPN), Claims::default()), Err(FederationRefusal::UpnMissing));
    let two = attribute("IDPEmail", UPN) + &attribute("userPrincipalName", "eve@fed.example");
    assert_eq!(identity(ANCHOR, &two, Claims::default()), Err(FederationRefusal::UpnAmbiguous));
    let same = attribute("IDPEmail", UPN) + &attribute("userPrincipalName", "ALICE@FED.example");
    assert!(identity(ANCHOR, &same, Claims::default()).is_ok());
}

#[test]
fn an_assertion_of_one_partner_is_no_other_s() {
    let sso = "https://idp.two.example/sso".parse().expect("a url");
    let xml = identity_provider_metadata(&entity("https://idp.two.example/m"), &sso, &[rsa_keys().0.certificate()]);
    let metadata = IdentityProviderMetadata::parse(&xml).expect("metadata");
    let other = Partner::from_metadata(metadata, domains(), Claims::default(), NOW).expect("a partner");
    let assertion = assertion(ANCHOR, &attribute("IDPEmail", UPN));
    assert_eq!(identify(&assertion, &other), Err(FederationRefusal::IssuerMismatch));
}

#[test]
fn a_partner_s_second_factor_counts_only_where_settings_say_so() {
    let plain = attribute("IDPEmail", UPN);
    let by_attribute = plain.clone()
        + &attribute(
            "http://schemas.microsoft.com/claims/authnmethodsreferences",
            "http://schemas.microsoft.com/claims/multipleauthn",
        );
    let accept = || Claims { mfa: MfaBehaviour::Accept, ..Claims::default() };
    let methods = |attributes: &str, claims| identity(ANCHOR, attributes, claims).expect("accepted").amr;
    assert_eq!(methods(&by_attribute, Claims::default()), ["pwd"]);
    assert_eq!(methods(&by_attribute, accept()), ["pwd", "mfa"]);
    assert_eq!(methods(&plain, accept()), ["pwd"]);
}

#[test]
fn metadata_without_a_usable_certificate_is_refused() {
    let xml = identity_provider_metadata(
        &entity(PARTNER),
        &"https://idp.fed.example/sso".parse().expect("a url"),
        &[rsa_keys().0.certificate()],
    );
    let refusal = |xml: &str| IdentityProviderMetadata::parse(xml).expect_err("it is unusable");
    let certificate = rsa_keys().0.certificate().base64();
    assert_eq!(
        refusal(&xml.replace("use=\"signing\"", "use=\"encryption\"")),
        MetadataError::CertificateMissing(vec![])
    );
    assert_eq!(
        refusal(&xml.replace(&certificate, "AAAA")),
        MetadataError::CertificateMissing(vec![CertificateError::NotACertificate])
    );
    assert_eq!(refusal(&xml.replace("https://idp.fed.example/sso", "http://idp.fed.example/sso")), {
        MetadataError::EndpointInsecure("http://idp.fed.example/sso".to_owned())
    });
    assert_eq!(refusal(&xml.replace("https://idp.fed.example/sso", "javascript:alert(1)")), {
        MetadataError::EndpointInsecure("javascript:alert(1)".to_owned())
    });
    assert_eq!(refusal(&xml.replace(names::PROTOCOL, "urn:other")), MetadataError::NotAnIdentityProvider);
    assert_eq!(refusal(&xml.replace(":bindings:HTTP-", ":bindings:X-")), MetadataError::EndpointMissing);
    let declared = xml.replacen("?>", "?><!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>", 1);
    assert_eq!(refusal(&declared), MetadataError::Malformed(SamlRefusal::DtdForbidden));
    let found = IdentityProviderMetadata::parse(&xml).expect("usable");
    assert_eq!((found.endpoint.binding, found.unusable.len()), (Binding::Post, 0));
    assert_eq!(found.certificates, [rsa_keys().0.certificate().clone()]);
}

#[test]
fn a_short_rsa_key_is_no_certificate_of_a_partner() {
    // Made by openssl on the spot, because our own key type makes no such key.
    let key = tempfile::NamedTempFile::new().expect("a file");
    let output = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=short", "-keyout"])
        .arg(key.path())
        .output()
        .expect("openssl runs");
    let pem = String::from_utf8(output.stdout).expect("pem is text");
    assert_eq!(SigningCertificate::all_from_pem(&pem), Err(CertificateError::RsaTooShort(1024)));
}

#[test]
fn a_partner_whose_certificates_have_all_expired_is_refused_when_configured() {
    let late = NOW + 2 * YEAR;
    let refusal = Partner::from_metadata(partner_metadata(), domains(), Claims::default(), late).expect_err("expired");
    assert!(matches!(refusal, PartnerError::CertificatesExpired { .. }), "{refusal:?}");
    let refusal = Partner::from_metadata(partner_metadata(), vec![], Claims::default(), NOW).expect_err("no domain");
    assert_eq!(refusal, PartnerError::NoDomain(entity(PARTNER)));
    let nameless = Claims { upn_attributes: vec![], ..Claims::default() };
    let refusal = Partner::from_metadata(partner_metadata(), domains(), nameless, NOW).expect_err("no attribute");
    assert_eq!(refusal, PartnerError::NoUpnAttribute(entity(PARTNER)));
    assert_eq!(partner(Claims::default()).last_certificate_expiry(), rsa_keys().0.certificate().not_after());
}

#[test]
fn a_signing_key_survives_storage_and_refuses_a_foreign_certificate() {
    for kind in [KeyKind::Rsa2048, KeyKind::EcP256, KeyKind::EcP384] {
        let key = generate(kind, "kept");
        let again = SigningKey::from_parts(key.pkcs8().clone(), key.certificate().der()).expect("it is the same key");
        assert_eq!((again.algorithm(), again.certificate()), (key.algorithm(), key.certificate()), "{kind:?}");
        let foreign = SigningKey::from_parts(key.pkcs8().clone(), rsa_keys().0.certificate().der());
        assert!(foreign.is_err(), "{kind:?}");
    }
}

// Requests.

fn service() -> ServiceProvider {
    ServiceProvider { entity_id: entity(SERVICE), acs_url: ACS.parse().expect("a url") }
}

fn party(certificate: &SigningCertificate) -> RelyingParty {
    RelyingParty {
        entity_id: entity(SERVICE),
        acs_url: ACS.parse().expect("a url"),
        certificates: vec![certificate.clone()],
    }
}

fn relay_state() -> RelayState {
    "state-1.a&b=c".parse().expect("relay state")
}

#[test]
fn request_ids_are_long_and_never_the_same() {
    let ids: HashSet<_> = (0..1000).map(|_| RequestId::random()).collect();
    assert_eq!(ids.len(), 1000);
    assert!(ids.iter().all(|id| id.as_str().len() == 41 && id.as_str().parse::<RequestId>().as_ref() == Ok(id)));
    for text in ["", "_", "_0123", "0123456789abcdef0123456789abcdef", "_0123456789abcdef0123456789abcde\"/"] {
        assert!(text.parse::<RequestId>().is_err(), "{text}");
    }
    assert!("x".repeat(81).parse::<RelayState>().is_err());
}

#[test]
fn a_posted_request_is_verified_and_every_change_is_refused() {
    let endpoint = "https://idp.fed.example/sso".parse().expect("a url");
    let (key, foreign) = rsa_keys();
    let request = AuthnRequest::new(&service(), &endpoint, RequestId::random(), Freshness::Forced, NOW);
    let form = request.post_form(relay_state(), key, &XmlSecEngine).expect("it can be signed");
    assert_eq!((form.action.as_str(), form.relay_state.as_str()), (endpoint.as_str(), "state-1.a&b=c"));
    let receive =
        |field: &str, party: &RelyingParty| received_request::posted(field, party, &endpoint, &XmlSecEngine, NOW);
    let received = receive(&form.saml_request, &party(key.certificate())).expect("it is ours");
    assert_eq!((received.id(), received.freshness()), (request.id().as_str(), Freshness::Forced));

    let stranger = RelyingParty { entity_id: entity("https://other.example/sp"), ..party(key.certificate()) };
    let elsewhere =
        RelyingParty { acs_url: "https://other.example/acs".parse().expect("a url"), ..party(key.certificate()) };
    assert_eq!(receive(&form.saml_request, &stranger), Err(SamlRefusal::IssuerMismatch));
    assert_eq!(receive(&form.saml_request, &elsewhere), Err(SamlRefusal::ConsumerServiceMismatch));
    assert_eq!(receive(&form.saml_request, &party(foreign.certificate())), Err(SamlRefusal::SignatureInvalid));
    let other = "https://idp.fed.example/other".parse().expect("a url");
    let misrouted = received_request::posted(&form.saml_request, &party(key.certificate()), &other, &XmlSecEngine, NOW);
    assert_eq!(misrouted, Err(SamlRefusal::DestinationMismatch));

    use base64::Engine as _;
    let xml = base64::prelude::BASE64_STANDARD.decode(&form.saml_request).expect("base64");
    let xml = String::from_utf8(xml).expect("utf-8");
    let altered = |from: &str, to: &str| {
        assert!(xml.contains(from), "{from}");
        receive(&saml_table::field(xml.replacen(from, to, 1).as_bytes()), &party(key.certificate()))
    };
    assert_eq!(altered("ForceAuthn=\"true\" ", ""), Err(SamlRefusal::SignatureInvalid));
    assert_eq!(altered("AllowCreate", "<!-- -->AllowCreate"), Err(SamlRefusal::Malformed));
    let start = xml.find("<ds:Signature ").expect("signed");
    let end = xml.find("</ds:Signature>").expect("signed") + "</ds:Signature>".len();
    assert_eq!(altered(&xml[start..end], ""), Err(SamlRefusal::Unsigned));
}

#[test]
fn a_redirected_request_is_verified_over_the_raw_query() {
    let endpoint: url::Url = "https://idp.fed.example/sso?tenant=a%20b".parse().expect("a url");
    let (key, foreign) = rsa_keys();
    let request = AuthnRequest::new(&service(), &endpoint, RequestId::random(), Freshness::SessionAllowed, NOW);
    let url = request.redirect_url(&relay_state(), key).expect("it can be signed");
    let query = url.query().expect("a query");
    assert!(query.starts_with("tenant=a%20b&SAMLRequest="), "{query}");
    let receive = |query: &str, certificate: &SigningCertificate| {
        received_request::redirected(query, &party(certificate), &endpoint, NOW)
    };
    let (received, state) = receive(query, key.certificate()).expect("it is ours");
    assert_eq!((received.id(), state.as_deref()), (request.id().as_str(), Some("state-1.a&b=c")));

    let refusal = |query: String| receive(&query, key.certificate()).expect_err("it was altered");
    assert_eq!(receive(query, foreign.certificate()), Err(SamlRefusal::SignatureInvalid));
    assert_eq!(refusal(query.replace("RelayState=state-1", "RelayState=state-2")), SamlRefusal::SignatureInvalid);
    assert_eq!(refusal(query.replace("RelayState=state-1.a%26b%3Dc&", "")), SamlRefusal::SignatureInvalid);
    assert_eq!(refusal(format!("{query}&RelayState=x")), SamlRefusal::QueryMalformed);
    assert_eq!(refusal(format!("SAMLRequest=x&{query}")), SamlRefusal::QueryMalformed);
    assert_eq!(refusal(query.replace("rsa-sha256", "rsa-sha1")), SamlRefusal::SignatureAlgorithmForbidden);
    let (unsigned, _) = query.split_once("&Signature=").expect("signed");
    assert_eq!(refusal(unsigned.to_owned()), SamlRefusal::Unsigned);
    assert!(request.redirect_url(&relay_state(), &crate::saml::ec_keys().0).is_err(), "the binding is for rsa keys");
}

#[test]
fn our_metadata_names_key_and_endpoint() {
    let xml = service_provider_metadata(&service(), &[rsa_keys().0.certificate(), rsa_keys().1.certificate()]);
    let document = roxmltree::Document::parse(&xml).expect("well-formed");
    let certificates = document.descendants().filter(|node| node.tag_name().name() == "X509Certificate").count();
    let acs = document.descendants().find(|node| node.tag_name().name() == "AssertionConsumerService").expect("one");
    assert_eq!((certificates, acs.attribute("Location")), (2, Some(ACS)));
    assert_eq!(document.root_element().attribute("entityID"), Some(SERVICE));
}

// The store.

async fn on_every_database(test: impl AsyncFn(FederationStore)) {
    let dir = tempfile::tempdir().expect("a folder");
    let urls = [
        DatabaseUrl::Sqlite { directory: dir.path().to_owned() },
        Postgres::start().fresh_database().parse().expect("a database url"),
    ];
    for url in urls {
        let db = Database::open(&url, Room::Gateway).await.expect("the database opens");
        test(FederationStore::new(db.clone(), audit_of(&db))).await;
        db.close().await;
    }
}

#[tokio::test]
async fn partners_are_kept_and_a_domain_has_one() {
    on_every_database(async |store| {
        let claims =
            Claims { mfa: MfaBehaviour::Accept, anchor: AnchorSource::Attribute("x".to_owned()), ..Claims::default() };
        let saved = partner(claims);
        store.save(&saved, NOW).await.expect("saved");
        store.save(&saved, NOW).await.expect("saved again");
        assert_eq!(store.partner(&entity(PARTNER)).await.expect("read"), Some(saved.clone()));
        assert_eq!(store.partner(&entity("https://two.example/m")).await.expect("read"), None);
        let changed = partner(Claims::default());
        store.save(&changed, NOW).await.expect("replaced");
        assert_eq!(store.partner_of(&domains()[0]).await.expect("read"), Some(changed.clone()));
        assert_eq!(store.partner_of(&"a.fed.example".parse().expect("a domain")).await.expect("read"), None);
        let sso = "https://idp.two.example/sso".parse().expect("a url");
        let xml = identity_provider_metadata(&entity("https://two.example/m"), &sso, &[rsa_keys().0.certificate()]);
        let metadata = IdentityProviderMetadata::parse(&xml).expect("metadata");
        let second = Partner::from_metadata(metadata, domains(), Claims::default(), NOW).expect("a partner");
        let taken = store.save(&second, NOW).await.expect_err("the domain is taken");
        assert!(matches!(&taken, PartnerStoreError::DomainTaken { by, .. } if *by == entity(PARTNER)), "{taken:?}");
        assert_eq!(store.partners().await.expect("read"), [changed]);
        assert!(store.remove(&entity(PARTNER)).await.expect("removed"));
        assert!(!store.remove(&entity(PARTNER)).await.expect("nothing to remove"));
        store.save(&second, NOW).await.expect("the domain is free");
    })
    .await;
}

#[tokio::test]
async fn a_domain_has_one_partner_however_many_are_saved_at_once() {
    on_every_database(async |store| {
        let saves = (0..8).map(|number| {
            let id = entity(&format!("https://idp{number}.example/m"));
            let sso = "https://idp.example/sso".parse().expect("a url");
            let xml = identity_provider_metadata(&id, &sso, &[rsa_keys().0.certificate()]);
            let metadata = IdentityProviderMetadata::parse(&xml).expect("metadata");
            let partner = Partner::from_metadata(metadata, domains(), Claims::default(), NOW).expect("a partner");
            let store = store.clone();
            tokio::spawn(async move { store.save(&partner, NOW).await })
        });
        let mut saved = 0;
        for save in saves.collect::<Vec<_>>() {
            match save.await.expect("no panic") {
                Ok(()) => saved += 1,
                Err(error) => assert!(matches!(error, PartnerStoreError::DomainTaken { .. }), "{error:?}"),
            }
        }
        assert_eq!((saved, store.partners().await.expect("read").len()), (1, 1));
    })
    .await;
}

// Whole sign-ins.

/// A browser without scripts, for which these names are this machine.
fn browser(names: &[(&str, u16)]) -> reqwest::Client {
    // Another test may have installed it before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut builder = reqwest::Client::builder().timeout(std::time::Duration::from_secs(60)).cookie_store(true);
    for (name, port) in names {
        builder = builder.resolve(name, std::net::SocketAddr::from(([127, 0, 0, 1], *port)));
    }
    builder.build().expect("a client")
}

async fn sqlite_store() -> (tempfile::TempDir, FederationStore) {
    let dir = tempfile::tempdir().expect("a folder");
    let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
    let db = Database::open(&url, Room::Gateway).await.expect("the database opens");
    let audit = audit_of(&db);
    (dir, FederationStore::new(db, audit))
}

fn audit_of(db: &Database) -> AuditLog {
    AuditLog::new(db.clone(), "node1".parse().expect("an id"), Arc::new(SettableClock::at(NOW)))
}

fn sign_in_with(store: FederationStore, clock: Arc<dyn Clock>, key: SigningKey) -> FederatedSignIn {
    let checker = ResponseChecker { clock, ..checker() };
    FederatedSignIn { checker, partners: Arc::new(store), key: Arc::new(key), work: XmlWork::new(2) }
}

async fn send(client: &reqwest::Client, outgoing: &Outgoing) -> reqwest::Response {
    let request = match outgoing {
        Outgoing::Redirect(url) => client.get(url.as_str()),
        Outgoing::Form(form) => client
            .post(form.action.as_str())
            .form(&[("SAMLRequest", form.saml_request.as_str()), ("RelayState", form.relay_state.as_str())]),
    };
    request.send().await.expect("the partner answers")
}

fn check_identity(identity: &FederatedIdentity, partner: &Partner, request_id: &RequestId) {
    assert_eq!((identity.source_anchor.as_str(), identity.upn.to_string().as_str()), (ANCHOR, UPN));
    assert_eq!((&identity.partner, identity.request_id.as_str()), (partner.entity_id(), request_id.as_str()));
    assert_eq!(identity.amr, ["pwd"]);
}

#[tokio::test]
async fn the_demonstration_partner_signs_its_people_in() {
    let clock: Arc<dyn Clock> = Arc::new(SettableClock::at(NOW));
    let key = generate(KeyKind::Rsa2048, "gateway");
    let (_dir, store) = sqlite_store().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base_url: url::Url = format!("http://{}", listener.local_addr().expect("an address")).parse().expect("a url");
    let provider = PartnerIdentityProvider {
        base_url: base_url.clone(),
        key: generate(KeyKind::EcP256, "partner"),
        accounts: vec![Account {
            upn: UPN.parse().expect("a upn"),
            password: PlainPassword::new("Partner-1!".to_owned()).expect("a password"),
            source_anchor: SourceAnchor::from_stored(ANCHOR.to_owned()),
        }],
        party: party(key.certificate()),
        engine: Arc::new(XmlSecEngine),
        clock: clock.clone(),
    };
    let router = provider.into_router();
    let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    let client = browser(&[]);
    let metadata = client.get(base_url.join("/metadata").expect("a url").as_str()).send().await.expect("metadata");
    let metadata = IdentityProviderMetadata::parse(&metadata.text().await.expect("text")).expect("metadata");
    let sign_in = sign_in_with(store, clock, key);
    for binding in [Binding::Post, Binding::Redirect] {
        let mut metadata = metadata.clone();
        metadata.endpoint.binding = binding;
        let partner = Partner::from_metadata(metadata, domains(), Claims::default(), NOW).expect("a partner");
        sign_in.partners.save(&partner, NOW).await.expect("saved");
        let request_id = RequestId::random();
        let begin = sign_in.begin(partner.entity_id(), request_id.clone(), relay_state(), Freshness::SessionAllowed);
        let page = send(&client, &begin.await.expect("a request")).await;
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("text").to_owned();
        assert!(policy.contains("script-src 'self'; form-action 'self' https://gateway.example;"), "{policy}");
        let form = Form::with_field(&page.text().await.expect("text"), "password").fill("name", UPN);
        let submit = |form: Form| {
            let url = base_url.join(&form.action).expect("a url");
            client.post(url.as_str()).form(&form.fields).send()
        };
        let refused = submit(form.clone().fill("password", "wrong")).await.expect("an answer");
        assert_eq!(refused.status(), 401);
        let page = submit(form.clone().fill("password", "Partner-1!")).await.expect("an answer");
        let answer = Form::with_field(&page.text().await.expect("text"), "SAMLResponse");
        assert_eq!((answer.action.as_str(), answer.value("RelayState")), (ACS, Some("state-1.a&b=c")));
        let response = answer.value("SAMLResponse").expect("a response");
        let finish =
            async |request_id: &RequestId| sign_in.finish(response, partner.entity_id(), request_id, None).await;
        let other = finish(&RequestId::random()).await.expect_err("another request");
        assert_eq!(other.refusal_code(), Some("saml.in_response_to_mismatch"));
        check_identity(&finish(&request_id).await.expect("signed in"), &partner, &request_id);
        let stale = submit(form.fill("password", "Partner-1!")).await.expect("an answer");
        assert_eq!(stale.status(), 400, "a sign-in page works once");
    }
    let unknown = sign_in.finish("", &entity("https://nobody.example"), &RequestId::random(), None).await;
    assert!(matches!(unknown, Err(FederatedSignInError::PartnerUnknown(_))), "{unknown:?}");
    server.abort();
}

#[tokio::test]
async fn simplesamlphp_verifies_our_requests_and_signs_its_people_in() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let now: Timestamp = clock.now();
    let key = SigningKey::generate(KeyKind::Rsa2048, "gateway", now, YEAR).expect("a key");
    let php = SimpleSamlPhp::builder().host(PHP_HOST).user("alice", "Start123!x", UPN, ANCHOR).start();
    php.register(SERVICE, ACS, Some(&key.certificate().base64()));
    let client = || browser(&[(PHP_HOST, php.port())]);
    let metadata = IdentityProviderMetadata::parse(&php.metadata()).expect("metadata");
    assert_eq!(metadata.entity_id.as_str(), php.entity_id());
    let (_dir, store) = sqlite_store().await;
    let foreign = sign_in_with(store.clone(), clock.clone(), generate(KeyKind::Rsa2048, "stranger"));
    let sign_in = sign_in_with(store, clock, key);
    for binding in [Binding::Post, Binding::Redirect] {
        let mut metadata = metadata.clone();
        metadata.endpoint.binding = binding;
        let partner = Partner::from_metadata(metadata, domains(), Claims::default(), now).expect("a partner");
        sign_in.partners.save(&partner, now).await.expect("saved");

        let forged = foreign.begin(partner.entity_id(), RequestId::random(), relay_state(), Freshness::Forced).await;
        let page = send(&client(), &forged.expect("a request")).await.text().await.expect("text");
        assert!(!page.contains("name=\"password\""), "a request by another key is refused: {page}");

        let request_id = RequestId::random();
        let begin = sign_in.begin(partner.entity_id(), request_id.clone(), relay_state(), Freshness::Forced);
        let client = client();
        let page = send(&client, &begin.await.expect("a request")).await;
        let url = page.url().clone();
        let form = Form::with_field(&page.text().await.expect("text"), "password")
            .fill("username", "alice")
            .fill("password", "Start123!x");
        let target = url.join(&form.action).expect("a url");
        let page = client.post(target.as_str()).form(&form.fields).send().await.expect("an answer");
        let answer = Form::with_field(&page.text().await.expect("text"), "SAMLResponse");
        assert_eq!((answer.action.as_str(), answer.value("RelayState")), (ACS, Some("state-1.a&b=c")));
        let response = answer.value("SAMLResponse").expect("a response");
        let identity = sign_in.finish(response, partner.entity_id(), &request_id, None).await;
        let identity = identity.unwrap_or_else(|error| panic!("{binding:?}: {error:?}"));
        check_identity(&identity, &partner, &request_id);
    }
}
