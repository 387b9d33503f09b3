//! What partners publish about themselves: a rolled key is taken over when it is proved, and told when it is not.

use std::sync::Arc;
use std::time::Duration;

use landbridge::audit::Actor;
use landbridge::federation::partner::{Claims, MetadataSource};
use landbridge::federation::renewal::{
    Doubt, Finding, Looked, METADATA_CHANGED, METADATA_RENEWED, METADATA_UNREADABLE, PartnerRenewal, Unusable, judge,
};
use landbridge::federation::{Partner, PartnerStore as _};
use landbridge::identity::{EntityId, SettableClock};
use landbridge::saml::engine::{SignatureFailure, SigningFailure, XmlSignatureEngine, signature_template};
use landbridge::saml::guard::Guarded;
use landbridge::saml::metadata::{IdentityProviderMetadata, MetadataError, identity_provider_metadata};
use landbridge::saml::{SamlRefusal, SigningCertificate, SigningKey, XmlSecEngine, names};
use landbridge::signin::store::Alerts as _;
use landbridge::store::federation::FederationStore;
use landbridge::store::signin::SignInTables;
use landbridge::store::{AuditLog, Database, DatabaseUrl, Room};

use crate::saml::{NOW, PARTNER, ec_keys, rsa_keys};
use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;
use crate::support::simplesamlphp::{Rolled, SimpleSamlPhp};

fn own() -> &'static SigningKey {
    &rsa_keys().0
}

fn attacker() -> &'static SigningKey {
    &rsa_keys().1
}

/// The key that the partner rolls to.
fn next() -> &'static SigningKey {
    &ec_keys().0
}

fn entity(id: &str) -> EntityId {
    id.parse().expect("an entity id")
}

fn source(url: &str, signer: Option<&SigningKey>) -> MetadataSource {
    let signer = signer.map(|key| key.certificate().clone());
    MetadataSource { url: url.parse().expect("a url"), authorities: Vec::new(), signer }
}

fn described(id: &str, certificates: &[&SigningCertificate]) -> String {
    let sso = "https://idp.fed.example/sso".parse().expect("a url");
    identity_provider_metadata(&entity(id), &sso, certificates)
}

fn known(signer: Option<&SigningKey>) -> Partner {
    let metadata = IdentityProviderMetadata::parse(&described(PARTNER, &[own().certificate()])).expect("metadata");
    let domains = vec!["fed.example".parse().expect("a domain")];
    let partner = Partner::from_metadata(metadata, domains, Claims::default(), NOW).expect("a partner");
    partner.published_at(source("https://idp.fed.example/metadata", signer))
}

/// Metadata with an empty signature by `key`.
fn template(xml: &str, key: &SigningKey) -> String {
    let (_, root) = xml.split_once("?>").expect("a declaration");
    let (head, body) = root.trim().split_once('>').expect("a root");
    format!("{head} ID=\"_m\">{}{body}", signature_template("_m", key))
}

/// The partner with its next key beside the present one.
fn rolling() -> String {
    described(PARTNER, &[own().certificate(), next().certificate()])
}

fn sign(xml: &str, key: &SigningKey) -> String {
    XmlSecEngine.sign(&template(xml, key), key).expect("signed")
}

fn signed(key: &SigningKey) -> String {
    sign(&rolling(), key)
}

fn judged(partner: &Partner, document: &str) -> Finding {
    judge(partner, document, &XmlSecEngine, NOW)
}

#[test]
fn what_the_partner_has_signed_is_taken_over_and_what_operators_settled_stays() {
    let partner = known(None);
    assert!(
        matches!(judged(&partner, &described(PARTNER, &[own().certificate()])), Finding::Same),
        "unsigned, nothing new"
    );
    let Finding::Proved { renewed, changes } = judged(&partner, &signed(own())) else {
        panic!("signed by its own key")
    };
    assert_eq!(renewed.certificates(), [own().certificate().clone(), next().certificate().clone()]);
    assert_eq!(
        (renewed.domains(), renewed.claims(), renewed.source()),
        (partner.domains(), partner.claims(), partner.source())
    );
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].contains(&next().certificate().fingerprint()), "{changes:?}");
    // Pinned, only that key counts.
    let pinned = known(Some(&ec_keys().1));
    assert!(matches!(judged(&pinned, &signed(&ec_keys().1)), Finding::Proved { .. }));
    assert!(matches!(judged(&pinned, &signed(own())), Finding::Doubtful { .. }), "not the pinned one");
}

#[test]
fn nothing_is_taken_over_that_the_partner_has_not_signed() {
    let partner = known(None);
    let genuine = signed(own());
    let (signature, _) = genuine
        .split_once("<ds:Signature")
        .map(|(_, rest)| rest.split_once("</ds:Signature>").expect("an end"))
        .expect("a signature");
    let signature = format!("<ds:Signature{signature}</ds:Signature>");
    // The attacker's own entity around the genuine one, with and without the genuine signature in front.
    let wrapped = |front: &str, id: &str| {
        let evil = described(PARTNER, &[attacker().certificate()]);
        let (_, root) = evil.split_once("?>").expect("a declaration");
        let (head, body) = root.trim().split_once('>').expect("a root");
        format!("{head} ID=\"{id}\">{front}<md:Extensions>{genuine}</md:Extensions>{body}")
    };
    let with = |what: &str, before: &str| genuine.replacen(before, &format!("{what}{before}"), 1);
    let role = "<md:IDPSSODescriptor";
    let rows = [
        ("unsigned", rolling(), SamlRefusal::Unsigned),
        ("signed by somebody", signed(attacker()), SamlRefusal::SignatureInvalid),
        (
            "another address",
            genuine.replace("idp.fed.example/sso", "idp.fed.example/evil"),
            SamlRefusal::SignatureInvalid,
        ),
        ("around the genuine one", wrapped("", "_w"), SamlRefusal::Unsigned),
        ("behind its signature", wrapped(&signature, "_w"), SamlRefusal::SignatureMisplaced),
        ("with its id", wrapped(&signature, "_m"), SamlRefusal::SignatureMisplaced),
        ("an id twice", genuine.replacen(role, &format!("{role} ID=\"_m\""), 1), SamlRefusal::DuplicateId),
        ("signed twice", with(&signature, role), SamlRefusal::SignatureMisplaced),
        ("signed in a key", with(&signature, "<ds:X509Data><ds:X509Certificate>"), SamlRefusal::SignatureMisplaced),
        ("a stray reference", with("<ds:Reference URI=\"#_m\"/>", role), SamlRefusal::SignatureMisplaced),
        ("an object", with("<ds:Object/>", role), SamlRefusal::ObjectForbidden),
        ("a comment", with("<!-- -->", role), SamlRefusal::CommentForbidden),
        (
            "weaker",
            genuine.replace("xmldsig-more#rsa-sha256", "xmldsig-more#rsa-md5"),
            SamlRefusal::SignatureAlgorithmForbidden,
        ),
        (
            "another canonical form",
            genuine.replace(names::EXCLUSIVE_C14N, names::INCLUSIVE_C14N),
            SamlRefusal::CanonicalizationForbidden,
        ),
        ("everything", genuine.replace("URI=\"#_m\"", "URI=\"\""), SamlRefusal::ReferenceForeign),
    ];
    for (what, document, expected) in rows {
        match judged(&partner, &document) {
            Finding::Doubtful { why: Doubt::Unproven(MetadataError::Unproven(refusal)), .. } => {
                assert_eq!(refusal, expected, "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

/// Says that something else was signed than what it was shown.
#[derive(Debug)]
struct Elsewhere(String);

impl XmlSignatureEngine for Elsewhere {
    fn verify(&self, _: &Guarded, _: &SigningCertificate) -> Result<String, SignatureFailure> {
        Ok(self.0.clone())
    }

    fn sign(&self, _: &str, _: &SigningKey) -> Result<String, SigningFailure> {
        unreachable!("nothing is signed here")
    }
}

#[test]
fn only_what_was_signed_is_read() {
    let partner = known(None);
    let other = described(PARTNER, &[own().certificate(), ec_keys().1.certificate()]);
    let covered = Elsewhere(template(&other, own()));
    let Finding::Proved { renewed, .. } = judge(&partner, &signed(own()), &covered, NOW) else { panic!("proved") };
    assert_eq!(renewed.certificates(), [own().certificate().clone(), ec_keys().1.certificate().clone()]);
    let foreign = Elsewhere(template(&described("https://other.example/m", &[own().certificate()]), own()));
    assert!(matches!(judge(&partner, &signed(own()), &foreign, NOW), Finding::Unusable(Unusable::Foreign(_))));
}

#[test]
fn an_old_document_brings_nothing_back_and_sends_nobody_elsewhere() {
    let partner = known(None);
    let old = signed(own());
    let Finding::Proved { renewed, .. } = judged(&partner, &old) else { panic!("proved") };
    let without = sign(&described(PARTNER, &[next().certificate()]), next());
    let Finding::Proved { renewed: rolled, .. } = judged(&renewed, &without) else { panic!("proved") };
    let replayed = sign(&rolling(), next());
    assert!(matches!(judged(&rolled, &replayed), Finding::Doubtful { why: Doubt::GivenUp(_), .. }));
    let stored = Partner::from_stored(rolled.entity_id().clone(), rolled.to_stored()).expect("read again");
    assert!(matches!(judged(&stored, &replayed), Finding::Doubtful { why: Doubt::GivenUp(_), .. }), "kept");
    let moved = rolling().replace("idp.fed.example/sso", "idp2.fed.example/sso");
    assert!(matches!(judged(&partner, &sign(&moved, own())), Finding::Doubtful { why: Doubt::Moved, .. }));
    let renamed = rolling().replace("idp.fed.example/sso", "idp.fed.example/saml");
    assert!(matches!(judged(&partner, &sign(&renamed, own())), Finding::Proved { .. }), "the same host");
}

#[test]
fn metadata_that_is_over_too_rich_or_of_another_changes_nothing() {
    let partner = known(None);
    let present = described(PARTNER, &[own().certificate()]);
    let over = format!(" validUntil=\"{}\"", NOW.rfc3339());
    for part in ["<md:EntityDescriptor", "<md:IDPSSODescriptor"] {
        for document in [&present, &rolling()] {
            let document = document.replacen(part, &format!("{part}{over}"), 1);
            for document in [sign(&document, own()), document] {
                let finding = judged(&partner, &document);
                assert!(
                    matches!(finding, Finding::Unusable(Unusable::Metadata(MetadataError::Outdated(_)))),
                    "{finding:?}"
                );
            }
        }
    }
    let other = sign(&described("https://other.example/m", &[own().certificate()]), own());
    let foreign = judged(&partner, &other);
    assert!(matches!(&foreign, Finding::Unusable(Unusable::Foreign(id)) if *id == entity("https://other.example/m")));
    let with_dtd = present.replacen("<md:EntityDescriptor", "<!DOCTYPE a><md:EntityDescriptor", 1);
    // What a tree would be built from for hours.
    let names: String = (0..10_000).map(|number| format!(" xmlns:a{number}=\"b\"")).collect();
    let rich = format!("<a{names}>{}</a>", "<a xmlns:b=\"c\"/>".repeat(10_000));
    for document in ["", "<a/>", &with_dtd, &rich, &"<a>".repeat(100)] {
        let finding = judged(&partner, document);
        assert!(matches!(finding, Finding::Unusable(Unusable::Metadata(_))), "{finding:?}");
    }
    let commented = present.replacen("<md:IDPSSODescriptor", "<!-- > --><md:IDPSSODescriptor", 1);
    assert!(matches!(judged(&partner, &commented), Finding::Same), "in what is not signed a comment does no harm");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_change_a_partner_at_once_the_operator_is_right() {
    let dir = tempfile::tempdir().expect("a folder");
    let postgres = tokio::task::spawn_blocking(|| Postgres::start().fresh_database()).await.expect("a server");
    for url in [DatabaseUrl::Sqlite { directory: dir.path().to_owned() }, postgres.parse().expect("a database url")] {
        let Desk { store, audit, .. } = Desk::open(&url).await;
        let event = || {
            use landbridge::audit::{Event, EventKind, Outcome};
            Event::new(EventKind::PartnerRenewed, Outcome::Success, Actor::Anonymous).about(entity(PARTNER))
        };
        let former = known(None);
        store.save(&former, NOW).await.expect("saved");
        let Finding::Proved { renewed, .. } = judged(&former, &signed(own())) else { panic!("proved") };
        let meanwhile = known(Some(&ec_keys().1));
        store.save(&meanwhile, NOW).await.expect("saved");
        assert!(!store.renew(&former, &renewed, NOW, event()).await.expect("the store answers"));
        assert_eq!(store.partner(&entity(PARTNER)).await.expect("a read"), Some(meanwhile.clone()));
        assert!(audit.tail(None, 10).await.expect("the log").is_empty(), "nothing has happened");
        assert!(store.renew(&meanwhile, &renewed, NOW, event()).await.expect("the store answers"));
        assert_eq!(store.partner(&entity(PARTNER)).await.expect("a read"), Some(*renewed));
        assert_eq!(audit.tail(None, 10).await.expect("the log").len(), 1);
        // One node looks, and the others count with it.
        let hour = Duration::from_secs(3600);
        let claim = async |now| store.claim_look(&entity(PARTNER), now - hour, now).await.expect("the store answers");
        assert_eq!((claim(NOW).await, claim(NOW).await, claim(NOW + hour).await), (true, false, true));
        let count = async |failed| store.count_look(&entity(PARTNER), failed).await.expect("the store answers");
        assert_eq!((count(true).await, count(true).await, count(false).await, count(true).await), (1, 2, 0, 1));
    }
}

/// A store with what looks at partners.
struct Desk {
    store: FederationStore,
    audit: AuditLog,
    alerts: SignInTables,
    clock: Arc<SettableClock>,
    renewal: PartnerRenewal,
}

impl Desk {
    async fn open(url: &DatabaseUrl) -> Self {
        let db = Database::open(url, Room::Gateway).await.expect("the database opens");
        let clock = Arc::new(SettableClock::at(NOW));
        let audit = AuditLog::new(db.clone(), "node1".parse().expect("an id"), clock.clone());
        let store = FederationStore::new(db.clone(), audit.clone());
        let alerts = SignInTables::new(db, audit.clone());
        let renewal = PartnerRenewal {
            partners: Arc::new(store.clone()),
            engine: Arc::new(XmlSecEngine),
            alerts: Arc::new(alerts.clone()),
            clock: clock.clone(),
        };
        Self { store, audit, alerts, clock, renewal }
    }

    /// The names of the alerts that are raised.
    async fn raised(&self) -> Vec<String> {
        self.alerts.raised().await.expect("the alerts").into_iter().map(|alert| alert.name).collect()
    }

    async fn the_partner(&self) -> Partner {
        self.store.partners().await.expect("a read").remove(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_providers_rolled_key_is_taken_over_once_it_is_signed_and_an_outage_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let desk = Desk::open(&DatabaseUrl::Sqlite { directory: dir.path().to_owned() }).await;
    let (php, metadata) = tokio::task::spawn_blocking(|| {
        let php = SimpleSamlPhp::builder().host("127.0.0.1").start();
        let metadata = php.metadata();
        (php, metadata)
    })
    .await
    .expect("a provider");
    let metadata = IdentityProviderMetadata::parse(&metadata).expect("metadata");
    let domains = vec!["fed.example".parse().expect("a domain")];
    let partner = Partner::from_metadata(metadata, domains, Claims::default(), NOW).expect("a partner");
    let first = partner.certificates().to_vec();
    desk.store.save(&partner.published_at(source(&php.metadata_url(), None)), NOW).await.expect("saved");
    let look = async || {
        let partner = desk.the_partner().await;
        desk.renewal.look(&partner, Actor::System("test".to_owned())).await.expect("the store answers")
    };

    assert_eq!(look().await, Looked::Same);
    php.roll(Rolled::Announced);
    assert!(matches!(look().await, Looked::Doubtful { .. }), "nobody has signed it");
    assert_eq!(desk.the_partner().await.certificates(), first);
    assert_eq!(desk.raised().await, [METADATA_CHANGED]);

    php.sign_metadata(Some("idp"));
    let looked = look().await;
    assert!(matches!(&looked, Looked::Renewed { changes } if changes.len() == 1), "{looked:?}");
    let announced = desk.the_partner().await;
    assert_eq!(announced.certificates().len(), 2);
    assert_eq!(desk.raised().await, [METADATA_RENEWED], "people are told");
    assert_eq!(look().await, Looked::Same);
    assert!(desk.raised().await.is_empty());

    // The next key is known by now, and may say that the first is gone.
    php.roll(Rolled::Done);
    php.sign_metadata(Some("next"));
    assert!(matches!(look().await, Looked::Renewed { .. }));
    let rolled = desk.the_partner().await;
    assert_eq!(rolled.certificates().len(), 1);
    assert_ne!(rolled.certificates(), first);

    let due = async || desk.renewal.look_at_due().await.expect("the store answers");
    due().await;
    assert!(desk.raised().await.is_empty(), "nothing new");
    tokio::task::spawn_blocking(move || drop(php)).await.expect("ended");
    due().await;
    for raised in [0, 0, 1] {
        desk.clock.advance(Duration::from_secs(3600));
        due().await;
        assert_eq!(desk.raised().await.len(), raised, "one look an hour, and three of them");
    }
    assert_eq!(desk.raised().await, [METADATA_UNREADABLE]);
    assert_eq!(desk.the_partner().await, rolled, "an outage changes nothing");
    desk.store.remove(rolled.entity_id()).await.expect("removed");
    due().await;
    assert!(desk.raised().await.is_empty(), "of a partner that is no longer one nothing is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_says_where_a_partner_publishes_and_looks_at_once() {
    tokio::task::spawn_blocking(|| {
        let php = SimpleSamlPhp::builder().host("127.0.0.1").start();
        let gateway = Gateway::builder().start();
        let file = |name: &str, text: String| {
            let file = gateway.folder().join(name);
            std::fs::write(&file, text).expect("a file");
            file.display().to_string()
        };
        let certificate = std::fs::read_to_string(php.signing_cert_file()).expect("a certificate");
        let (metadata, signer) = (file("partner.xml", php.metadata()), file("signer.pem", certificate));
        let add = ["partner", "add", "--metadata", &metadata, "--domain", "fed.example"];
        gateway.cli(&add);
        let refused = gateway.cli_refused(&["partner", "refresh"]);
        assert!(refused.to_string().contains("--metadata-url"), "{refused:#}");
        let no_tls = gateway.cli_refused(&[&add[..], &["--metadata-url", "http://idp.fed.example/metadata"]].concat());
        assert!(no_tls.to_string().contains("https"), "{no_tls:#}");
        let url = php.metadata_url();
        gateway.cli(&[&add[..], &["--metadata-url", &url, "--metadata-signer", &signer]].concat());
        assert_eq!(gateway.cli(&["partner", "list"])[0]["metadata_url"], url.as_str());
        let look = || gateway.cli(&["partner", "refresh"])[0][1].clone();
        assert_eq!(look()["is"], "same");
        php.roll(Rolled::Announced);
        assert_eq!(look()["is"], "doubtful");
        php.sign_metadata(Some("idp"));
        let taken = look();
        assert_eq!(taken["is"], "renewed", "{taken:#}");
        let records = gateway.audit(20);
        let renewed = records.iter().find(|record| record["kind"] == "partner-renewed").expect("a record");
        assert_eq!(renewed["subject"], php.entity_id().as_str());
        assert_eq!(renewed["actor"]["kind"], "admin");
        // What is not said anew stays as it was, until it is said to be over.
        gateway.cli(&add);
        let partner = gateway.cli(&["partner", "list"])[0].clone();
        assert_eq!((&partner["metadata_url"], partner["metadata_signer"].is_string()), (&url.as_str().into(), true));
        // Whom TLS rests on: the address answers, with the metadata of no identity provider.
        let own = gateway.url() + landbridge::web::PARTNER_METADATA_PATH;
        let ca = gateway.pki().ca_file().display().to_string();
        gateway.cli(&[&add[..], &["--metadata-url", &own]].concat());
        assert!(look()["why"].to_string().contains("does not answer"), "nobody vouches for it");
        gateway.cli(&[&add[..], &["--metadata-url", &own, "--metadata-ca", &ca]].concat());
        assert!(look()["why"].to_string().contains("not a saml 2.0 identity provider"), "{:#}", look());
        gateway.cli(&[&add[..], &["--no-metadata-url"]].concat());
        assert!(gateway.cli(&["partner", "list"])[0]["metadata_url"].is_null());
    })
    .await
    .expect("a test");
}

/// Answers each connection with these bytes, again and again if they are to be endless.
async fn answering(head: &'static str, endless: bool) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/metadata?token=s3cret", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(head.as_bytes()).await;
            // Bounded: far more than anybody should take.
            for _ in 0..if endless { 4096 } else { 0 } {
                if stream.write_all(&[b' '; 4096]).await.is_err() {
                    break;
                }
            }
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_answers_strangely_is_told_without_its_query() {
    let dir = tempfile::tempdir().expect("a folder");
    let desk = Desk::open(&DatabaseUrl::Sqlite { directory: dir.path().to_owned() }).await;
    let elsewhere = "HTTP/1.1 302 Found\r\nlocation: https://evil.example/\r\ncontent-length: 0\r\n\r\n";
    let rows = [
        (answering(elsewhere, false).await, "302"),
        (answering("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", false).await, "500"),
        (answering("HTTP/1.1 200 OK\r\n\r\n", true).await, "512 KiB"),
        (answering("no HTTP at all\r\n\r\n", false).await, "does not answer"),
        ("http://127.0.0.1:1/metadata?token=s3cret".to_owned(), "does not answer"),
    ];
    for (url, expected) in rows {
        let partner = known(None).published_at(source(&url, None));
        let looked = desk.renewal.look(&partner, Actor::Anonymous).await.expect("the store answers");
        let Looked::Failed { why } = &looked else { panic!("{url}: {looked:?}") };
        assert!(why.contains(expected) && !why.contains("s3cret"), "{url}: {why}");
    }
}
