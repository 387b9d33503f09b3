//! The tenant directory as a target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use landbridge::connectors::tenant::TenantConnector;
use landbridge::identity::{NodeId, SettableClock, Timestamp};
use landbridge::store::tenant::{NewVerification, TenantOptions, TenantStore};
use landbridge::store::{Database, DatabaseUrl, Room, lease};
use landbridge::sync::Connector;
use landbridge::sync::attribute::{Attributes, Value};
use landbridge::sync::connector::{
    ConnectorError, ExportChange, ExportOperation, ExportResult, ImportMode, ImportPage, ImportRequest, LinkTarget,
    ReadBack, Watermark,
};
use landbridge::sync::lease::Turn;
use landbridge::sync::space::ObjectId;

use super::conformance::{self, Target};
use super::turn;
use crate::support::postgres::Postgres;

struct Peer(TenantConnector, Database);

impl Peer {
    async fn open(url: &DatabaseUrl) -> Self {
        let db = Database::open(url, Room::Gateway).await.expect("a fresh store opens");
        let tenant = furnished(&db, &["corp"]).await;
        let node: NodeId = "node-1".parse().expect("a node");
        let held = lease::acquire(&db, &node, Duration::from_secs(3600)).await.expect("a store").expect("free");
        assert_eq!(held.epoch, turn().epoch);
        let name = "tenant".parse().expect("a name");
        let tenant = Arc::new(tenant);
        Self(TenantConnector::new(name, tenant.clone(), tenant), db)
    }
}

/// A tenant directory with a verified domain, for which the connectors may speak.
pub async fn furnished(db: &Database, connectors: &[&str]) -> TenantStore {
    let clock = Arc::new(SettableClock::at(Timestamp::from_secs(1_800_000_000)));
    let tenant = TenantStore::new(db.clone(), clock, TenantOptions::default());
    tenant.initialise("tenant.example".parse().expect("a domain")).await.expect("an initial domain");
    let domain: landbridge::identity::DomainName = "verified.example".parse().expect("a domain");
    tenant.add_domain(domain.clone(), "challenge".to_owned()).await.expect("a new domain");
    tenant.mark_verified(&domain, NewVerification::Operator, None).await.expect("verified");
    let registered =
        connectors.iter().map(|name| (name.parse().expect("a name"), BTreeSet::from([domain.clone()]))).collect();
    tenant.register_connectors(registered).await.expect("a registration");
    tenant
}

/// What rules give a person or a group of a connector.
pub fn exported(connector: &str, object_type: &str, key: &str, name: &str) -> Attributes {
    let mut attributes = Attributes::new();
    let mut put = |name: &str, value: &str| attributes.insert(name.into(), vec![Value::text(value)]);
    put("sourceAnchor", key);
    put("anchorConnector", connector);
    put("displayName", name);
    put("mail", &format!("{key}@verified.example"));
    if object_type == "user" {
        put("userPrincipalName", &format!("{key}@verified.example"));
        put("upnConnector", connector);
        put("accountEnabled", "TRUE");
    }
    attributes
}

impl Target for Peer {
    fn connector(&self) -> &dyn Connector {
        &self.0
    }

    fn attributes(&self, object_type: &str, key: &str, name: &str) -> Attributes {
        exported("corp", object_type, key, name)
    }

    fn name_attribute(&self) -> &'static str {
        "displayName"
    }

    fn emptied_attribute(&self) -> &'static str {
        "mail"
    }

    fn member_attribute(&self) -> &'static str {
        "member"
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenant_directory_conforms_on_sqlite() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
    conformance::target(&Peer::open(&url).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenant_directory_conforms_on_postgresql() {
    let url = DatabaseUrl::Postgres { url: Postgres::start().fresh_database() };
    conformance::target(&Peer::open(&url).await).await;
}

/// Contacts and devices beside people: added, changed, members of a group, deleted, each with its own type.
async fn contacts_and_devices(url: &DatabaseUrl) {
    let peer = Peer::open(url).await;
    let connector = peer.connector();
    let attributes = |key: &str, mail: Option<&str>| {
        let mut attributes = Attributes::new();
        let mut put = |name: &str, value: &str| attributes.insert(name.into(), vec![Value::text(value)]);
        put("sourceAnchor", key);
        put("anchorConnector", "corp");
        put("displayName", key);
        put("company", "Engines");
        if let Some(mail) = mail {
            put("mail", mail);
        }
        attributes
    };
    let change = |object_type: &str, key: &str, operation: ExportOperation| ExportChange {
        object: ObjectId(1),
        object_type: object_type.to_owned(),
        identity: attributes(key, None),
        operation,
    };
    let add = |object_type: &str, key: &str, mail: Option<&str>| {
        change(object_type, key, ExportOperation::Add { attributes: attributes(key, mail) })
    };
    let accepted = |result: &ExportResult| match result {
        ExportResult::Accepted { anchor, warning } => (anchor.clone().expect("an oid"), warning.clone()),
        refused => panic!("{refused:?}"),
    };
    let batch = vec![
        add("contact", "c1", Some("ada@elsewhere.example")),
        add("device", "d1", None),
        add("group", "g1", Some("team@verified.example")),
        add("contact", "c2", Some("team@verified.example")),
    ];
    let results = connector.export(batch, &turn()).await.expect("answers");
    let told: Vec<(String, Option<String>)> = results.iter().map(accepted).collect();
    let [contact, device, group, second] = [0, 1, 2, 3].map(|index| told[index].0.clone());
    let duplicate = |index: &usize| told[*index].1.as_ref().is_some_and(|text| text.contains("team@verified.example"));
    assert_eq!([2, 3].iter().filter(|index| duplicate(index)).count(), 1, "one address, one holder: {told:?}");
    let links = ExportOperation::Links {
        anchor: group.clone(),
        attribute: "member".into(),
        add: ["c1", "d1"]
            .map(|key| LinkTarget { object_type: "contact".into(), anchor: String::new(), key: key.into() })
            .to_vec(),
        remove: Vec::new(),
    };
    accepted(&connector.export(vec![change("group", "g1", links)], &turn()).await.expect("answers")[0]);

    let request = ImportRequest { mode: ImportMode::Full, bases: Vec::new(), wanted: Default::default() };
    let mut stream = connector.import(request).await.expect("a stream");
    let (mut told, mut links, mut since) = (BTreeMap::new(), BTreeSet::new(), None);
    while let Some(page) = stream.next_page().await.expect("a page") {
        told.extend(page.objects.into_iter().map(|object| (object.anchor.clone(), object)));
        links.extend(page.links.into_iter().map(|link| (link.owner, link.target)));
        since = page.watermark.or(since);
    }
    let types: Vec<&str> =
        [&contact, &device, &group, &second].map(|anchor| told[anchor].object_type.as_str()).to_vec();
    assert_eq!(types, ["contact", "device", "group", "contact"]);
    assert_eq!(told[&contact].attributes[&"company".into()], [Value::text("Engines")]);
    assert_eq!(links.len(), 2, "{links:?}");

    let ask =
        |object_type: &str, value: &str| ReadBack::ByAddKey { object_type: object_type.into(), value: value.into() };
    let found = connector.read_back(vec![ask("contact", "c1"), ask("device", "c1"), ask("device", "d1")]).await;
    let found: Vec<Option<String>> = found.expect("answers").into_iter().map(|o| o.map(|o| o.anchor)).collect();
    assert_eq!(found, [Some(contact.clone()), None, Some(device.clone())]);

    let wrong = connector.export(vec![add("device", "c1", None)], &turn()).await.expect("answers");
    assert!(matches!(&wrong[0], ExportResult::Refused { code, .. } if code == "ObjectTypeMismatch"), "{wrong:?}");
    let changes = Attributes::from([("company".into(), vec![])]);
    let batch = vec![
        change("contact", "c1", ExportOperation::Update { anchor: contact.clone(), changes }),
        change("device", "d1", ExportOperation::Delete { anchor: device.clone() }),
    ];
    connector.export(batch, &turn()).await.expect("answers").iter().for_each(|result| drop(accepted(result)));
    let mode = ImportMode::Delta { since: since.expect("a watermark") };
    let request = ImportRequest { mode, bases: Vec::new(), wanted: Default::default() };
    let mut stream = connector.import(request).await.expect("a stream");
    let (mut changed, mut deleted) = (BTreeMap::new(), Vec::new());
    while let Some(page) = stream.next_page().await.expect("a page") {
        changed.extend(page.objects.into_iter().map(|object| (object.anchor.clone(), object)));
        deleted.extend(page.deleted);
    }
    assert_eq!(deleted, [device]);
    assert_eq!(changed[&contact].attributes.get(&"company".into()), None);
    assert_eq!(changed[&contact].attributes[&"cloudAnchor".into()], [Value::text(format!("Contact_{contact}"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenant_directory_holds_contacts_and_devices() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    contacts_and_devices(&DatabaseUrl::Sqlite { directory: dir.path().to_owned() }).await;
    contacts_and_devices(&DatabaseUrl::Postgres { url: Postgres::start().fresh_database() }).await;
}

async fn told(connector: &dyn Connector, mode: ImportMode) -> Result<Vec<ImportPage>, ConnectorError> {
    let request = ImportRequest { mode, bases: Vec::new(), wanted: Default::default() };
    let mut stream = connector.import(request).await?;
    let mut pages = Vec::new();
    while let Some(page) = stream.next_page().await? {
        pages.push(page);
    }
    Ok(pages)
}

fn add(peer: &Peer, key: &str) -> ExportChange {
    let attributes = peer.attributes("user", key, key);
    ExportChange {
        object: ObjectId(1),
        object_type: "user".to_owned(),
        identity: attributes.clone(),
        operation: ExportOperation::Add { attributes },
    }
}

/// One history of the directory under the numbers of another.
async fn another_history(one: &DatabaseUrl, other: &DatabaseUrl, empty: &DatabaseUrl) {
    let (one, other, empty) = (Peer::open(one).await, Peer::open(other).await, Peer::open(empty).await);
    for peer in [&one, &other] {
        peer.0.export(vec![add(peer, "a1"), add(peer, "a2")], &turn()).await.expect("answers");
    }
    let pages = told(&one.0, ImportMode::Full).await.expect("a full read");
    let since = pages.into_iter().find_map(|page| page.watermark).expect("a watermark");
    let delta = || ImportMode::Delta { since: since.clone() };
    let present = told(&one.0, delta()).await.expect("it goes on in its own history");
    assert!(present.iter().all(|page| page.objects.is_empty() && page.deleted.is_empty()));
    for elsewhere in [&other, &empty] {
        let refused = told(&elsewhere.0, delta()).await.expect_err("other changes under the same numbers, or none");
        assert!(matches!(refused, ConnectorError::StaleWatermark { .. }), "{refused}");
    }
    // As earlier releases kept it.
    let bare = Watermark { incarnation: String::new(), ..since.clone() };
    let refused = told(&one.0, ImportMode::Delta { since: bare }).await.expect_err("a number alone proves nothing");
    assert!(matches!(refused, ConnectorError::StaleWatermark { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watermark_of_another_history_of_the_directory_is_stale() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().expect("a temporary directory"));
    let [one, other, empty] = dirs.each_ref().map(|dir| DatabaseUrl::Sqlite { directory: dir.path().to_owned() });
    another_history(&one, &other, &empty).await;
    let server = Postgres::start();
    let [one, other, empty] = [(); 3].map(|()| DatabaseUrl::Postgres { url: server.fresh_database() });
    another_history(&one, &other, &empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_node_took_the_lease_anew_meanwhile_writes_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let peer = Peer::open(&DatabaseUrl::Sqlite { directory: dir.path().to_owned() }).await;
    let node: NodeId = "node-1".parse().expect("a node");
    let newer = lease::acquire(&peer.1, &node, Duration::from_secs(3600)).await.expect("a store").expect("ours");
    assert!(newer.epoch > turn().epoch);
    let refused = peer.0.export(vec![add(&peer, "a1")], &turn()).await;
    assert!(refused.is_err(), "{refused:?}");
    let found = told(&peer.0, ImportMode::Full).await.expect("a full read");
    assert!(found.iter().all(|page| page.objects.is_empty()));
    peer.0.export(vec![add(&peer, "a1")], &Turn::unending(newer.epoch)).await.expect("the present run writes");
}
