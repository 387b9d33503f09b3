//! The LDAP connector against a Samba domain: DirSync, and `uSNChanged` for an account that may not use it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use landbridge::config::Bounds;
use landbridge::connectors::ldap::{DeltaChoice, LdapConnector, LdapConnectorSettings};
use landbridge::identity::PlainPassword;
use landbridge::ldap::{Filter, ServerUrl, ServiceAccount, Trust};
use landbridge::sync::Connector;
use landbridge::sync::connector::{
    ConnectorError, DisabledTest, ImportMode, ImportPage, ImportRequest, Wanted, Watermark,
};

use super::conformance::{self, Source, State};
use crate::support::samba::{CORP, SYNC_PASSWORD, Samba};
use crate::support::scripted_ldap::{
    BIND, DONE, Door, Scripted, dir_sync_control, entry_with, message, page_control, result,
};

fn settings(server: ServerUrl, trust: Trust, delta: DeltaChoice) -> LdapConnectorSettings {
    LdapConnectorSettings {
        name: "corp".parse().expect("a name"),
        kind: "ad".to_owned(),
        servers: vec![server],
        trust,
        account: ServiceAccount {
            dn: "CN=sync,DC=corp,DC=example".parse().expect("a dn"),
            password: PlainPassword::new("secret".to_owned()).expect("may be typed"),
        },
        deadline: Duration::from_secs(20),
        page_size: 10,
        root: "DC=corp,DC=example".parse().expect("a dn"),
        include: Vec::new(),
        exclude: Vec::new(),
        anchor: "objectGUID".to_owned(),
        anchor_is_binary: true,
        container_filter: LdapConnectorSettings::usual_containers(),
        types: LdapConnectorSettings::types(Filter::any(), Filter::any()),
        disabled_when: DisabledTest::defaults(),
        delta,
        writeback: None,
        bounds: Bounds::Everywhere,
    }
}

struct Peer {
    samba: Mutex<Samba>,
    base: String,
    connector: LdapConnector,
    shown: Mutex<State>,
}

impl Peer {
    fn start(rights: &[&str], delta: DeltaChoice) -> Self {
        let samba = Samba::start(CORP, rights);
        let base = samba.base();
        samba.ldif(&format!(
            "dn: OU=People,{base}\nchangetype: add\nobjectClass: organizationalUnit\n\n\
             dn: OU=Moved,OU=People,{base}\nchangetype: add\nobjectClass: organizationalUnit\n"
        ));
        // The suite's own, and none of those that every domain has.
        let users = Filter::parse("(&(objectClass=user)(sAMAccountName=p*))").expect("a filter");
        let groups = Filter::parse("(&(objectClass=group)(sAMAccountName=g1))").expect("a filter");
        let server = format!("ldaps://{}", samba.address).parse().expect("a url");
        let trust = Trust::new(&[samba.ca_file()]).expect("a CA");
        let connector = LdapConnector::new(LdapConnectorSettings {
            account: ServiceAccount {
                dn: samba.sync_account_name().parse().expect("a dn"),
                password: PlainPassword::new(SYNC_PASSWORD.to_owned()).expect("may be typed"),
            },
            root: base.parse().expect("a dn"),
            types: LdapConnectorSettings::types(users, groups),
            ..settings(server, trust, delta)
        });
        Self { samba: Mutex::new(samba), base, connector, shown: Mutex::default() }
    }

    fn dn(&self, state: &State, key: &str) -> String {
        let unit = if state.moved.contains(key) { "OU=Moved,OU=People" } else { "OU=People" };
        format!("CN={key},{unit},{}", self.base)
    }

    /// The change records that lead from one state to another.
    fn changes(&self, before: &State, after: &State) -> String {
        let mut ldif = String::new();
        let mut record = |text: std::fmt::Arguments<'_>| writeln!(ldif, "{text}\n").expect("a string takes it");
        for (key, name) in &after.people {
            let dn = self.dn(before, key);
            match before.people.get(key) {
                None => record(format_args!(
                    "dn: {}\nchangetype: add\nobjectClass: user\nsAMAccountName: {key}\ndisplayName: {name}",
                    self.dn(after, key)
                )),
                Some(old) if old != name => {
                    record(format_args!("dn: {dn}\nchangetype: modify\nreplace: displayName\ndisplayName: {name}\n-"));
                }
                Some(_) => {}
            }
            if after.moved.contains(key) && !before.moved.contains(key) && before.people.contains_key(key) {
                record(format_args!(
                    "dn: {dn}\nchangetype: modrdn\nnewrdn: CN={key}\ndeleteoldrdn: 1\nnewsuperior: OU=Moved,OU=People,{}",
                    self.base
                ));
            }
        }
        for (key, members) in &after.groups {
            let dn = format!("CN={key},OU=People,{}", self.base);
            let lines: Vec<String> =
                members.iter().map(|member| format!("member: {}", self.dn(after, member))).collect();
            let lines = lines.join("\n");
            match before.groups.get(key) {
                None => record(format_args!(
                    "dn: {dn}\nchangetype: add\nobjectClass: group\nsAMAccountName: {key}\n{lines}"
                )),
                Some(old) if old != members => {
                    record(format_args!("dn: {dn}\nchangetype: modify\nreplace: member\n{lines}\n-"));
                }
                Some(_) => {}
            }
        }
        for key in before.people.keys().filter(|key| !after.people.contains_key(*key)) {
            record(format_args!("dn: {}\nchangetype: delete", self.dn(before, key)));
        }
        ldif
    }

    /// Reads an import to its end.
    async fn read(&self, mode: ImportMode) -> Result<Vec<ImportPage>, ConnectorError> {
        let request = ImportRequest { mode, bases: Vec::new(), wanted: self.wanted() };
        let mut stream = self.connector.import(request).await?;
        let mut pages = Vec::new();
        while let Some(page) = stream.next_page().await? {
            pages.push(page);
        }
        Ok(pages)
    }

    async fn full(&self) -> Watermark {
        let pages = self.read(ImportMode::Full).await.expect("a read");
        pages.into_iter().find_map(|page| page.watermark).expect("a watermark")
    }
}

#[async_trait::async_trait]
impl Source for Peer {
    fn connector(&self) -> &dyn Connector {
        &self.connector
    }

    fn wanted(&self) -> BTreeMap<String, Wanted> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect::<BTreeSet<_>>();
        let user = Wanted { attributes: names(&["displayName", "sAMAccountName"]), references: BTreeSet::new() };
        let group = Wanted { attributes: names(&["sAMAccountName"]), references: names(&["member"]) };
        BTreeMap::from([("user".to_owned(), user), ("group".to_owned(), group)])
    }

    fn name_attribute(&self) -> &'static str {
        "displayName"
    }

    async fn show(&self, state: &State) {
        let mut shown = self.shown.lock().expect("lock");
        self.samba.lock().expect("lock").ldif(&self.changes(&shown, state));
        *shown = state.clone();
    }

    async fn cut(&self) -> bool {
        self.samba.lock().expect("lock").stop();
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_conforms_by_dir_sync() {
    conformance::source(&Peer::start(&["get-changes", "deleted-objects"], DeltaChoice::DirSync)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_replicate_a_domain_conforms_by_its_update_numbers() {
    let peer = Peer::start(&["deleted-objects"], DeltaChoice::Auto);
    conformance::source(&peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_is_refused_leads_to_a_full_import_and_unseen_deletes_are_not_promised() {
    let peer = Peer::start(&["get-changes"], DeltaChoice::Auto);
    let since = peer.full().await;
    assert!(since.value.contains("\"method\":\"dir-sync\""), "{}", since.value);
    let reports = peer.connector.delta_since(&since).expect("a watermark of its own");
    assert!(!reports.deletes && reports.moves && reports.filter_exits);

    let (before, after) = since.value.split_once("\"cookie\":\"").expect("a cookie");
    let (_, after) = after.split_once('"').expect("its end");
    let value = format!("{before}\"cookie\":\"bm9uc2Vuc2U=\"{after}");
    let mode = ImportMode::Delta { since: Watermark { value, ..since.clone() } };
    let refused = peer.read(mode).await.expect_err("Samba takes no such cookie");
    assert!(matches!(refused, ConnectorError::StaleWatermark { .. }), "{refused}");

    peer.samba.lock().expect("lock").grant("svc-sync", &["deleted-objects"]);
    // What was deleted before is told by no delta.
    let granted = peer.read(ImportMode::Delta { since: since.clone() }).await.expect_err("a full import is due");
    assert!(matches!(granted, ConnectorError::StaleWatermark { .. }), "{granted}");
    let since = peer.full().await;
    assert!(peer.connector.delta_since(&since).expect("its own").deletes, "seen from now on");

    // Another incarnation of the database counts anew.
    {
        let mut samba = peer.samba.lock().expect("lock");
        samba.stop();
        samba.set_invocation_id("7b1a4c8e-2222-4222-8333-0123456789ab");
        samba.start_again();
    }
    let restored = peer.read(ImportMode::Delta { since }).await.expect_err("a restored database");
    assert!(matches!(restored, ConnectorError::StaleWatermark { .. }), "{restored}");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_update_numbers_deletes_are_told_from_the_recycle_bin_and_beyond() {
    let peer = Peer::start(&["deleted-objects"], DeltaChoice::Usn);
    peer.samba.lock().expect("lock").enable_recycle_bin();
    let people = ["p1", "p2", "p3"].map(|key| (key.to_owned(), format!("Person {key}")));
    peer.show(&State { people: BTreeMap::from(people), ..State::default() }).await;
    let pages = peer.read(ImportMode::Full).await.expect("a read");
    let anchor = |key: &str| {
        let objects = pages.iter().flat_map(|page| &page.objects);
        let found = objects.into_iter().find(|object| object.dn.as_ref().is_some_and(|dn| dn.rdn() == Some(key)));
        found.expect("it is shown").anchor.clone()
    };
    let (gone, untouched) = (BTreeSet::from([anchor("CN=p1"), anchor("CN=p2")]), anchor("CN=p3"));
    let since = pages.iter().find_map(|page| page.watermark.clone()).expect("a watermark");
    {
        let samba = peer.samba.lock().expect("lock");
        samba.delete("p1");
        samba.recycle("p2");
    }
    let pages = peer.read(ImportMode::Delta { since }).await.expect("a delta");
    let told: BTreeSet<String> = pages.iter().flat_map(|page| page.deleted.iter().cloned()).collect();
    assert!(told.is_superset(&gone), "{told:?} lacks some of {gone:?}");
    assert!(!told.contains(&untouched), "{told:?}");
}

/// A controller whose every DirSync answer announces another one.
async fn always_more(cookie: &'static [u8]) -> ConnectorError {
    const DSE: &[(&str, &[u8])] = &[
        ("supportedCapabilities", b"1.2.840.113556.1.4.800"),
        ("supportedControl", b"1.2.840.113556.1.4.841"),
        ("dsServiceName", b"CN=NTDS Settings,CN=DC1,DC=corp,DC=example"),
        ("currentTime", b"20261122120000.0Z"),
    ];
    let server = Scripted::start(Door::Ldaps, Vec::new(), move |id, nth| {
        let one = |name: &str, attributes: &[(&str, &[u8])]| message(id, &[entry_with(name, attributes)]);
        let done = message(id, &[result(DONE, 0)]);
        match nth {
            0 => message(id, &[result(BIND, 0)]),
            1 => [one("", DSE), done].concat(),
            2 => [one("CN=NTDS Settings,CN=DC1,DC=corp,DC=example", &[("invocationId", &[7; 16])]), done].concat(),
            3 => {
                let end = message(id, &[result(DONE, 0), page_control(b"")]);
                [one("CN=Deleted Objects,DC=corp,DC=example", &[("isDeleted", b"TRUE")]), end].concat()
            }
            _ => {
                let end = message(id, &[result(DONE, 0), dir_sync_control(true, cookie)]);
                [one("CN=p1,DC=corp,DC=example", &[("objectGUID", &[1; 16])]), end].concat()
            }
        }
    })
    .await;
    let connector = LdapConnector::new(settings(server.url.clone(), server.trust.clone(), DeltaChoice::DirSync));
    let request = ImportRequest { mode: ImportMode::Full, bases: Vec::new(), wanted: BTreeMap::new() };
    let mut stream = connector.import(request).await.expect("it begins");
    loop {
        match stream.next_page().await {
            Ok(page) => assert!(page.is_some(), "no end was told"),
            Err(error) => return error,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_announces_more_and_stands_still_is_refused() {
    let error = always_more(b"again").await.to_string();
    assert!(error.contains("it has more to tell, and its cookie stays as it was"), "{error}");
}
