//! The same people and attributes from one directory into another, by several engines.

use std::time::Instant;

use landbridge::ldap::{Filter, Scope, Search};

use crate::landscape::Landscape;
use crate::limits::connect;
use crate::load::{cpu_time, memory_mib};
use crate::lsc::Lsc;
use crate::support::directory::{ALPHA, BETA, line};
use crate::support::gateway::Gateway;
use crate::support::process::make_private;
use crate::support::slapd::{SUFFIX, Slapd};
use crate::table::{Budget, Row, Table};

/// What every engine writes, besides the object class.
pub const ATTRIBUTES: [&str; 10] =
    ["uid", "cn", "sn", "givenName", "mail", "telephoneNumber", "mobile", "title", "departmentNumber", "description"];
const RULES: &str = include_str!("people-to-directory.toml");
const PAGE_SIZE: u32 = 500;

/// What one run of an engine took.
pub struct Cost {
    pub seconds: f64,
    /// Processor time of the engine's process.
    pub cpu: f64,
    pub peak_mib: f64,
}

/// Landbridge between two directories.
struct Landbridge {
    gateway: Gateway,
    _folder: tempfile::TempDir,
}

impl Landbridge {
    fn between(source: &Slapd, target: &Slapd) -> Self {
        let folder = crate::support::process::temp_dir("engines");
        std::fs::create_dir(folder.path().join("rules")).expect("a folder");
        std::fs::write(folder.path().join("rules/people.toml"), RULES).expect("a rule file");
        let secret = folder.path().join("pages.secret");
        std::fs::write(&secret, target.admin_password()).expect("a secret file");
        make_private(&secret);
        let section = format!(
            "[[connectors]]\nkind = \"ldap-target\"\nname = \"pages\"\ndialect = \"openldap\"\nservers = [\"{}\"]\n\
             ca_file = \"{}\"\nbind_dn = \"{}\"\nbind_password_file = \"{}\"\nbases = [\"{}\"]\nattributes = {ATTRIBUTES:?}\n",
            target.ldaps_url(),
            target.ca_file().display(),
            target.admin_dn(),
            secret.display(),
            target.people_base(),
        );
        let source_lines = "group_filter = \"(cn=none)\"";
        let builder = Gateway::builder().hardening("sealed").section(&section);
        let mut gateway = builder.slapd("corp", source, &[ALPHA, BETA], source_lines).start();
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config/rules");
        let own = folder.path().join("rules").display().to_string();
        gateway.reconfigure(|settings| settings.replace(shipped, &own));
        gateway.cli(&["rules", "activate"]);
        Self { gateway, _folder: folder }
    }

    fn run(&self, profile: &str) -> Cost {
        let pid = self.gateway.pid();
        let (before, started) = (cpu_time(pid), Instant::now());
        let answer = self.gateway.cli(&["sync", "run", "--profile", profile]);
        let seconds = started.elapsed().as_secs_f64();
        assert_eq!(answer["run"]["outcome"], "completed", "{answer:#}");
        let cpu = (cpu_time(pid) - before).as_secs_f64();
        Cost { seconds, cpu, peak_mib: memory_mib(pid, "VmHWM") }
    }
}

/// Each engine into an empty directory of its own: everybody, then nothing new, then some changes.
pub async fn rows(table: &mut Table, landscape: &Landscape) {
    let users = landscape.users as f64;
    let limit = users / added_directly(landscape);
    table.add(Row::figure("engines: one ldapmodify adds the same entries", limit, "users/s", Budget::None));
    let initial = |table: &mut Table, engine: &str, cost: &Cost| {
        let rate = users / cost.seconds;
        table.add(Row::ratio(format!("engines: {engine}, everybody"), rate, "users/s", limit, Budget::None));
        let path = format!("engines: {engine}, everybody, processor time");
        table.add(Row::figure(path, cost.cpu, "s", Budget::None));
        table.add(Row::figure(format!("engines: {engine}, peak RSS"), cost.peak_mib, "MiB", Budget::None));
    };
    let later = |table: &mut Table, engine: &str, what: &str, cost: &Cost| {
        table.add(Row::figure(format!("engines: {engine}, {what}"), cost.seconds, "s", Budget::None));
        let path = format!("engines: {engine}, {what}, processor time");
        table.add(Row::figure(path, cost.cpu, "s", Budget::None));
    };

    let target = Slapd::builder().start();
    let landbridge = Landbridge::between(&landscape.slapd, &target);
    initial(table, "Landbridge", &landbridge.run("cycle"));
    arrived(landscape, &target).await;
    later(table, "Landbridge", "nothing new, all read", &landbridge.run("cycle"));
    later(table, "Landbridge", "nothing new, by delta", &landbridge.run("delta"));

    let lsc_target = Slapd::builder().start();
    let lsc = Lsc::between(&landscape.slapd, &lsc_target);
    if let Some(lsc) = &lsc {
        initial(table, lsc.name(), &lsc.run());
        arrived(landscape, &lsc_target).await;
        later(table, lsc.name(), "nothing new, all read", &lsc.run());
    } else {
        eprintln!("         LSC_HOME names no LSC: Landbridge alone");
    }

    let changed = landscape.users / 20;
    change(landscape, changed, "+49 89 1");
    later(table, "Landbridge", "5 % changed, by delta", &landbridge.run("delta"));
    changes_arrived(landscape, &target, changed);
    if let Some(lsc) = &lsc {
        later(table, lsc.name(), "5 % changed, all read", &lsc.run());
        changes_arrived(landscape, &lsc_target, changed);
    }
    change(landscape, changed, "+49 89 2");
    later(table, "Landbridge", "5 % changed, all read", &landbridge.run("cycle"));
    changes_arrived(landscape, &target, changed);
}

/// Where an engine puts a person.
fn place(uid: &str) -> String {
    format!("uid={uid},ou=people,{SUFFIX}")
}

/// The entries by one client that knows them all: seconds.
fn added_directly(landscape: &Landscape) -> f64 {
    let target = Slapd::builder().start();
    let mut ldif = String::new();
    for index in 0..landscape.users {
        ldif += &line("dn", &place(&landscape.person(index).uid));
        ldif += "changetype: add\nobjectClass: inetOrgPerson\n";
        for text in landscape.entry(index).lines() {
            if text.split_once(':').is_some_and(|(name, _)| ATTRIBUTES.contains(&name)) {
                ldif += text;
                ldif += "\n";
            }
        }
        ldif += "\n";
    }
    let started = Instant::now();
    target.ldapmodify(&ldif);
    started.elapsed().as_secs_f64()
}

/// Gives the last people another number.
fn change(landscape: &Landscape, count: usize, number: &str) {
    let mut ldif = String::new();
    for index in landscape.users - count..landscape.users {
        ldif += &line("dn", &landscape.person(index).dn);
        ldif += &format!("changetype: modify\nreplace: telephoneNumber\ntelephoneNumber: {number}{index:07}\n\n");
    }
    landscape.slapd.ldapmodify(&ldif);
}

/// Everybody is there, with the values of the source.
async fn arrived(landscape: &Landscape, target: &Slapd) {
    let mut connection = connect(target, true).await;
    let search = Search {
        base: target.people_base().parse().expect("a name"),
        scope: Scope::Subtree,
        filter: Filter::equal("objectClass", "inetOrgPerson"),
        attributes: vec!["uid".to_owned()],
    };
    let (mut pages, mut people) = (connection.search_paged(search, PAGE_SIZE), 0);
    while let Some(page) = pages.next_page().await.expect("a page") {
        people += page.entries.len();
    }
    assert_eq!(people, landscape.users, "people in the target");
    for index in [0, landscape.users / 2, landscape.users - 1] {
        same(landscape, target, index, &ATTRIBUTES);
    }
}

fn changes_arrived(landscape: &Landscape, target: &Slapd, changed: usize) {
    for index in [landscape.users - changed, landscape.users - 1] {
        same(landscape, target, index, &["telephoneNumber"]);
    }
}

fn same(landscape: &Landscape, target: &Slapd, index: usize, attributes: &[&str]) {
    let person = landscape.person(index);
    for attribute in attributes {
        let source = landscape.slapd.values(&person.dn, attribute);
        assert_eq!(target.values(&place(&person.uid), attribute), source, "{attribute} of {}", person.uid);
    }
}
