//! The LDAP connector against a real slapd.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use landbridge::connectors::ldap::{DeltaChoice, LdapConnector, LdapConnectorSettings};
use landbridge::identity::PlainPassword;
use landbridge::ldap::{ServiceAccount, Trust};
use landbridge::sync::Connector;
use landbridge::sync::connector::{DisabledTest, Wanted};

use super::conformance::{self, Source, State};
use crate::support::slapd::{SUFFIX, Slapd};

struct Peer {
    slapd: Mutex<Slapd>,
    connector: LdapConnector,
    shown: Mutex<State>,
}

impl Peer {
    fn start() -> Self {
        let moved = format!("dn: ou=moved,{SUFFIX}\nobjectClass: organizationalUnit\nou: moved\n");
        let slapd = Slapd::builder().ldif(&moved).start();
        let connector = LdapConnector::new(LdapConnectorSettings {
            name: "corp".parse().expect("a name"),
            kind: "ldap".to_owned(),
            servers: vec![slapd.ldaps_url().parse().expect("a url")],
            trust: Trust::new(&[slapd.ca_file()]).expect("a CA"),
            account: ServiceAccount {
                dn: slapd.service_dn().parse().expect("a dn"),
                password: PlainPassword::new(slapd.service_password().to_owned()).expect("may be typed"),
            },
            deadline: Duration::from_secs(20),
            page_size: 10,
            root: SUFFIX.parse().expect("a dn"),
            include: Vec::new(),
            exclude: Vec::new(),
            anchor: "entryUUID".to_owned(),
            anchor_is_binary: false,
            container_filter: LdapConnectorSettings::usual_containers(),
            types: LdapConnectorSettings::usual_types(),
            disabled_when: DisabledTest::defaults(),
            delta: DeltaChoice::Auto,
            writeback: None,
        });
        Self { slapd: Mutex::new(slapd), connector, shown: Mutex::default() }
    }

    fn dn(state: &State, key: &str) -> String {
        let unit = if state.moved.contains(key) { "moved" } else { "people" };
        format!("uid={key},ou={unit},{SUFFIX}")
    }
}

/// The change records that lead from one state to another.
fn changes(before: &State, after: &State) -> String {
    let mut ldif = String::new();
    let mut record = |text: std::fmt::Arguments<'_>| writeln!(ldif, "{text}\n").expect("a string takes it");
    for (key, name) in &after.people {
        match before.people.get(key) {
            None => record(format_args!(
                "dn: {}\nchangetype: add\nobjectClass: inetOrgPerson\nuid: {key}\nsn: {key}\ncn: {name}",
                Peer::dn(after, key)
            )),
            Some(old) if old != name => {
                let dn = Peer::dn(before, key);
                record(format_args!("dn: {dn}\nchangetype: modify\nreplace: cn\ncn: {name}\n-"));
            }
            Some(_) => {}
        }
        if after.moved.contains(key) && !before.moved.contains(key) && before.people.contains_key(key) {
            record(format_args!(
                "dn: {}\nchangetype: modrdn\nnewrdn: uid={key}\ndeleteoldrdn: 1\nnewsuperior: ou=moved,{SUFFIX}",
                Peer::dn(before, key)
            ));
        }
    }
    for (key, members) in &after.groups {
        let dn = format!("cn={key},ou=groups,{SUFFIX}");
        let lines: Vec<String> = members.iter().map(|member| format!("member: {}", Peer::dn(after, member))).collect();
        match before.groups.get(key) {
            None => record(format_args!(
                "dn: {dn}\nchangetype: add\nobjectClass: groupOfNames\ncn: {key}\n{}",
                lines.join("\n")
            )),
            Some(old) if old != members => {
                record(format_args!("dn: {dn}\nchangetype: modify\nreplace: member\n{}\n-", lines.join("\n")));
            }
            Some(_) => {}
        }
    }
    for key in before.people.keys().filter(|key| !after.people.contains_key(*key)) {
        record(format_args!("dn: {}\nchangetype: delete", Peer::dn(before, key)));
    }
    ldif
}

#[async_trait::async_trait]
impl Source for Peer {
    fn connector(&self) -> &dyn Connector {
        &self.connector
    }

    fn wanted(&self) -> BTreeMap<String, Wanted> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect::<BTreeSet<_>>();
        let user = Wanted { attributes: names(&["cn", "uid"]), references: BTreeSet::new() };
        let group = Wanted { attributes: names(&["cn"]), references: names(&["member"]) };
        BTreeMap::from([("user".to_owned(), user), ("group".to_owned(), group)])
    }

    fn name_attribute(&self) -> &'static str {
        "cn"
    }

    async fn show(&self, state: &State) {
        let mut shown = self.shown.lock().expect("lock");
        self.slapd.lock().expect("lock").ldapmodify(&changes(&shown, state));
        *shown = state.clone();
    }

    async fn cut(&self) -> bool {
        self.slapd.lock().expect("lock").stop();
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_conforms() {
    conformance::source(&Peer::start()).await;
}
