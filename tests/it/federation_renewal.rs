//! What partners publish about themselves: a rolled key is taken over when it is proved, and told when it is not.

use std::sync::Arc;

use landbridge::audit::Actor;
use landbridge::federation::partner::{Claims, MetadataSource};
use landbridge::federation::renewal::{
    Finding, Looked, METADATA_CHANGED, METADATA_UNREADABLE, PartnerRenewal, Unusable, judge,
};
use landbridge::federation::{Partner, PartnerStore as _};
use landbridge::identity::{EntityId, SettableClock};
use landbridge::saml::engine::{XmlSignatureEngine as _, signature_template};
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

/// A template of metadata with an empty signature by `key`, `attributes` in its root and `inside` after the signature.
fn template(id: &str, key: &SigningKey, attributes: &str, inside: &str) -> String {
    let xml = described(id, &[own().certificate(), next().certificate()]);
    let (_, root) = xml.split_once("?>").expect("a declaration");
    let (head, body) = root.trim().split_once('>').expect("a root");
    format!("{head} ID=\"_m\"{attributes}>{}{inside}{body}", signature_template("_m", key))
}

fn signed_with(key: &SigningKey, attributes: &str) -> String {
    XmlSecEngine.sign(&template(PARTNER, key, attributes, ""), key).expect("signed")
}

fn signed(key: &SigningKey) -> String {
    signed_with(key, "")
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
    assert!(matches!(judged(&pinned, &signed(own())), Finding::Unproven { .. }), "not the pinned one");
}

#[test]
fn nothing_is_taken_over_that_the_partner_has_not_signed() {
    let partner = known(None);
    let genuine = signed(own());
    let both = [own().certificate(), next().certificate()];
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
    let rows = [
        ("unsigned", described(PARTNER, &both), SamlRefusal::Unsigned),
        ("signed by somebody", signed(attacker()), SamlRefusal::SignatureInvalid),
        ("another address", genuine.replace("idp.fed.example/sso", "evil.example/sso"), SamlRefusal::SignatureInvalid),
        ("around the genuine one", wrapped("", "_w"), SamlRefusal::Unsigned),
        ("behind its signature", wrapped(&signature, "_w"), SamlRefusal::SignatureMisplaced),
        ("with its id", wrapped(&signature, "_m"), SamlRefusal::DuplicateId),
        (
            "signed twice",
            genuine.replacen("<md:IDPSSODescriptor", &format!("{signature}<md:IDPSSODescriptor"), 1),
            SamlRefusal::SignatureMisplaced,
        ),
        (
            "a comment",
            genuine.replacen("<md:IDPSSODescriptor", "<!-- --><md:IDPSSODescriptor", 1),
            SamlRefusal::CommentForbidden,
        ),
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
            Finding::Unproven { why: MetadataError::Unproven(refusal), .. } => assert_eq!(refusal, expected, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn metadata_that_is_over_or_of_another_changes_nothing() {
    let partner = known(None);
    let over = signed_with(own(), &format!(" validUntil=\"{}\"", NOW.rfc3339()));
    assert!(matches!(judged(&partner, &over), Finding::Unusable(Unusable::Metadata(MetadataError::Outdated(_)))));
    let other = XmlSecEngine.sign(&template("https://other.example/m", own(), "", ""), own()).expect("signed");
    assert!(
        matches!(judged(&partner, &other), Finding::Unusable(Unusable::Foreign(id)) if id == entity("https://other.example/m"))
    );
    let with_dtd = signed(own()).replacen("<md:EntityDescriptor", "<!DOCTYPE a><md:EntityDescriptor", 1);
    for document in ["", "<a/>", &with_dtd] {
        assert!(matches!(judged(&partner, document), Finding::Unusable(Unusable::Metadata(_))), "{document}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_change_a_partner_at_once_the_operator_is_right() {
    let dir = tempfile::tempdir().expect("a folder");
    let postgres = tokio::task::spawn_blocking(|| Postgres::start().fresh_database()).await.expect("a server");
    for url in [DatabaseUrl::Sqlite { directory: dir.path().to_owned() }, postgres.parse().expect("a database url")] {
        let Desk { store, audit, .. } = Desk::open(&url).await;
        let event = || {
            use landbridge::audit::{Event, EventKind, Outcome};
            Event::new(EventKind::PartnerRenewed, Outcome::Success, Actor::Anonymous).about(&entity(PARTNER))
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
    }
}

/// A store with what looks at partners.
struct Desk {
    store: FederationStore,
    audit: AuditLog,
    alerts: SignInTables,
    renewal: PartnerRenewal,
}

impl Desk {
    async fn open(url: &DatabaseUrl) -> Self {
        let db = Database::open(url, Room::Gateway).await.expect("the database opens");
        let clock = Arc::new(SettableClock::at(NOW));
        let audit = AuditLog::new(db.clone(), "node1".parse().expect("an id"), clock.clone());
        let store = FederationStore::new(db.clone(), audit.clone());
        let alerts = SignInTables::new(db, audit.clone());
        let renewal =
            PartnerRenewal::new(Arc::new(store.clone()), Arc::new(XmlSecEngine), Arc::new(alerts.clone()), clock);
        Self { store, audit, alerts, renewal }
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
    assert!(matches!(look().await, Looked::Unproven { .. }), "nobody has signed it");
    assert_eq!(desk.the_partner().await.certificates(), first);
    assert_eq!(desk.raised().await, [METADATA_CHANGED]);

    php.sign_metadata(Some("idp"));
    let looked = look().await;
    assert!(matches!(&looked, Looked::Renewed { changes } if changes.len() == 1), "{looked:?}");
    let announced = desk.the_partner().await;
    assert_eq!(announced.certificates().len(), 2);
    assert!(desk.raised().await.is_empty());
    assert_eq!(look().await, Looked::Same);

    // The next key is known by now, and may say that the first is gone.
    php.roll(Rolled::Done);
    php.sign_metadata(Some("next"));
    assert!(matches!(look().await, Looked::Renewed { .. }));
    let rolled = desk.the_partner().await;
    assert_eq!(rolled.certificates().len(), 1);
    assert_ne!(rolled.certificates(), first);

    drop(php);
    for raised in [0, 0, 1] {
        desk.renewal.look_at_all().await.expect("the store answers");
        assert_eq!(desk.raised().await.len(), raised);
    }
    assert_eq!(desk.raised().await, [METADATA_UNREADABLE]);
    assert_eq!(desk.the_partner().await, rolled, "an outage changes nothing");
    desk.store.remove(rolled.entity_id()).await.expect("removed");
    desk.renewal.look_at_all().await.expect("the store answers");
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
        assert_eq!(look()["is"], "unproven");
        php.sign_metadata(Some("idp"));
        let taken = look();
        assert_eq!(taken["is"], "renewed", "{taken:#}");
        let records = gateway.audit(20);
        let renewed = records.iter().find(|record| record["kind"] == "partner-renewed").expect("a record");
        assert_eq!(renewed["subject"], php.entity_id().as_str());
        assert_eq!(renewed["actor"]["kind"], "admin");
    })
    .await
    .expect("a test");
}
