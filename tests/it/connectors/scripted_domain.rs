//! The LDAP connector against a domain controller that does what Samba does not (`support::scripted_ad`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use landbridge::config::Bounds;
use landbridge::connectors::ldap::{DeltaChoice, LdapConnector, LdapConnectorSettings};
use landbridge::identity::PlainPassword;
use landbridge::ldap::{Filter, ServiceAccount};
use landbridge::sync::Connector;
use landbridge::sync::attribute::Value;
use landbridge::sync::connector::{
    ConnectorError, DisabledTest, ImportMode, ImportPage, ImportRequest, Reference, Wanted, Watermark,
};

use crate::support::scripted_ad::{Controller, Domain, ROOT, guid, person_name};

struct Peer {
    controller: Controller,
    connector: LdapConnector,
}

/// What an import told.
#[derive(Debug, Default)]
struct Told {
    /// Display names by account name, of people.
    people: BTreeMap<String, String>,
    /// Members by account name, of groups.
    members: BTreeMap<String, BTreeSet<String>>,
    deleted: BTreeSet<String>,
    watermark: Option<Watermark>,
}

impl Peer {
    async fn start(domain: Domain, delta: DeltaChoice, include: &[&str]) -> Self {
        let controller = Controller::start(domain).await;
        let class = |name: &str| Filter::equal("objectClass", name);
        let connector = LdapConnector::new(LdapConnectorSettings {
            name: "corp".parse().expect("a name"),
            kind: "ad".to_owned(),
            servers: vec![controller.url.clone()],
            trust: controller.trust.clone(),
            account: ServiceAccount {
                dn: "CN=sync,DC=corp,DC=example".parse().expect("a dn"),
                password: PlainPassword::new("secret".to_owned()).expect("may be typed"),
            },
            deadline: Duration::from_secs(20),
            page_size: 7,
            root: ROOT.parse().expect("a dn"),
            include: include.iter().map(|name| name.parse().expect("a dn")).collect(),
            exclude: Vec::new(),
            anchor: "objectGUID".to_owned(),
            anchor_is_binary: true,
            container_filter: LdapConnectorSettings::usual_containers(),
            types: LdapConnectorSettings::types(class("user"), class("group")),
            disabled_when: DisabledTest::defaults(),
            delta,
            writeback: None,
            bounds: Bounds::Everywhere,
        });
        Self { controller, connector }
    }

    async fn read(&self, mode: ImportMode) -> Result<Told, ConnectorError> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect::<BTreeSet<_>>();
        let user = Wanted { attributes: names(&["displayName", "sAMAccountName"]), references: BTreeSet::new() };
        let group = Wanted { attributes: names(&["sAMAccountName"]), references: names(&["member"]) };
        let wanted = BTreeMap::from([("user".to_owned(), user), ("group".to_owned(), group)]);
        let mut stream = self.connector.import(ImportRequest { mode, bases: Vec::new(), wanted }).await?;
        let mut told = Told::default();
        while let Some(page) = stream.next_page().await? {
            told.take(page);
        }
        Ok(told)
    }

    async fn full(&self) -> Told {
        self.read(ImportMode::Full).await.expect("a full import")
    }

    async fn delta(&self, since: &Told) -> Result<Told, ConnectorError> {
        self.read(ImportMode::Delta { since: since.watermark.clone().expect("a watermark") }).await
    }
}

impl Told {
    fn take(&mut self, page: ImportPage) {
        for object in page.objects.into_iter().filter(|object| !object.container) {
            let text = |name: &str| match object.attributes.get(&name.into()).and_then(|values| values.first()) {
                Some(Value::Text(text)) => text.clone(),
                other => panic!("{name}: {other:?}"),
            };
            if object.object_type == "user" {
                self.people.insert(text("sAMAccountName"), text("displayName"));
            } else {
                let members = object.references.get(&"member".into()).into_iter().flatten();
                let named = members.map(|member| match member {
                    Reference::Dn(dn) => dn.as_str().to_owned(),
                    other => panic!("{other:?}"),
                });
                self.members.insert(text("sAMAccountName"), named.collect());
            }
        }
        self.deleted.extend(page.deleted);
        self.watermark = page.watermark.or(self.watermark.take());
    }
}

fn people(count: usize) -> Domain {
    let mut domain = Domain::new();
    (0..count).for_each(|number| domain.person(number, &format!("Person {number}")));
    domain
}

fn anchor(number: usize) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(guid(number))
}

#[tokio::test(flavor = "multi_thread")]
async fn dir_sync_is_asked_until_the_server_has_no_more_with_the_cookie_of_its_last_answer() {
    let peer = Peer::start(Domain { dir_sync_page: 4, ..people(25) }, DeltaChoice::DirSync, &[]).await;
    let full = peer.full().await;
    assert_eq!(full.people.len(), 25);
    let cookies = |asked: Vec<crate::support::scripted_ad::Asked>| -> Vec<Vec<u8>> {
        asked.into_iter().filter_map(|asked| asked.cookie).collect()
    };
    // 26 objects with the head of the domain, four at a time.
    assert_eq!(cookies(peer.controller.take_asked()).len(), 7);

    peer.controller.change(|domain| {
        (5..15).for_each(|number| domain.person(number, &format!("Changed {number}")));
        (20..23).for_each(|number| domain.delete(number));
    });
    let delta = peer.delta(&full).await.expect("a delta");
    let changed: BTreeMap<String, String> =
        (5..15).map(|number| (format!("p{number}"), format!("Changed {number}"))).collect();
    assert_eq!((delta.people.clone(), delta.deleted.clone()), (changed, (20..23).map(anchor).collect()));
    let asked = cookies(peer.controller.take_asked());
    assert_eq!(asked.len(), 4, "13 changes, four at a time: {asked:?}");
    assert!(asked.is_sorted() && asked.windows(2).all(|two| two[0] != two[1]), "{asked:?}");
    let empty = peer.delta(&delta).await.expect("a delta");
    assert!(empty.people.is_empty() && empty.deleted.is_empty(), "{empty:?}");
    assert_eq!(cookies(peer.controller.take_asked()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_beyond_the_range_of_a_server_are_asked_for_until_the_last() {
    let members: Vec<String> = (0..35).map(person_name).collect();
    let mut domain = Domain { value_range: 10, ..people(35) };
    domain.group(1, &members);
    domain.group(2, &members[..10]);
    let peer = Peer::start(domain, DeltaChoice::DirSync, &[]).await;
    let full = peer.full().await;
    assert_eq!(full.members["g1"], members.iter().cloned().collect());
    assert_eq!(full.members["g2"].len(), 10);
    let ranges: Vec<String> = peer.controller.take_asked().into_iter().flat_map(|asked| asked.attributes).collect();
    for range in ["member;range=10-*", "member;range=20-*", "member;range=30-*"] {
        assert!(ranges.iter().any(|asked| asked == range), "{range} in {ranges:?}");
    }
    peer.controller.change(|domain| domain.group(1, &members[3..]));
    let delta = peer.delta(&full).await.expect("a delta");
    assert_eq!(delta.members, BTreeMap::from([("g1".to_owned(), members[3..].iter().cloned().collect())]));
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_told_whole_and_links_that_are_told_by_value_come_to_the_same() {
    let members: Vec<String> = (0..6).map(person_name).collect();
    for legacy_links in [true, false] {
        let mut domain = Domain { legacy_links, ..people(6) };
        domain.group(1, &members[..4]);
        let peer = Peer::start(domain, DeltaChoice::DirSync, &[]).await;
        let full = peer.full().await;
        peer.controller.change(|domain| domain.group(1, &members[2..]));
        let delta = peer.delta(&full).await.expect("a delta");
        let expected = members[2..].iter().cloned().collect();
        assert_eq!(delta.members, BTreeMap::from([("g1".to_owned(), expected)]), "legacy: {legacy_links}");
        assert!(delta.people.is_empty() && delta.deleted.is_empty(), "legacy: {legacy_links}: {delta:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_domain_is_not_read_by_way_of_its_parent_and_nothing_is_concluded_from_its_references() {
    let child = Some((format!("DC=child,{ROOT}"), "ldap://child.corp.example".to_owned()));
    let peer = Peer::start(Domain { child: child.clone(), ..people(9) }, DeltaChoice::DirSync, &[]).await;
    assert_eq!(peer.full().await.people.len(), 9);
    let asked = peer.controller.take_asked();
    let searches =
        asked.iter().filter(|asked| asked.base == ROOT && asked.cookie.is_none() && asked.attributes.len() > 1);
    assert!(searches.clone().count() > 2 && searches.clone().all(|asked| asked.domain_scope), "{asked:?}");

    // References all the same: what was read is not taken for the whole.
    peer.controller.change(|domain| domain.always_refers = true);
    let error = peer.read(ImportMode::Full).await.expect_err("it is not the whole").to_string();
    assert!(error.contains("broke the read off") && error.contains("localhost"), "{error}");
    // A container of the child's is another server's: that is said, too.
    let domain = Domain { child, ..people(2) };
    let base = format!("OU=Staff,DC=child,{ROOT}");
    let peer = Peer::start(domain, DeltaChoice::DirSync, &[&base]).await;
    let error = peer.read(ImportMode::Full).await.expect_err("it is elsewhere").to_string();
    assert!(error.contains(&base), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_invocation_id_or_a_forest_that_forgot_sends_back_to_a_full_import() {
    for delta in [DeltaChoice::DirSync, DeltaChoice::Usn] {
        let peer = Peer::start(people(3), delta, &[]).await;
        let full = peer.full().await;
        peer.controller.change(|domain| domain.invocation_id = *b"other-invocation");
        let stale = peer.delta(&full).await.expect_err("a restored database");
        let told = stale.to_string();
        assert!(
            matches!(stale, ConnectorError::StaleWatermark { .. }) && told.contains("restored"),
            "{delta:?}: {told}"
        );
        let full = peer.full().await;
        peer.delta(&full).await.expect("goes on in the new one");

        // A week without a read: of no matter, unless the forest keeps deleted objects for less.
        peer.controller.change(|domain| domain.now = "20261130120000.0Z".to_owned());
        peer.delta(&full).await.expect("60 days are usual");
        peer.controller.change(|domain| domain.tombstone_lifetime = Some(7));
        let stale = peer.delta(&full).await.expect_err("deleted objects may be gone");
        let told = stale.to_string();
        assert!(
            matches!(stale, ConnectorError::StaleWatermark { .. }) && told.contains("so long ago"),
            "{delta:?}: {told}"
        );
    }
}
