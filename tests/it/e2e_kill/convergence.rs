//! `serve` is killed at random moments of a cycle that exports to the tenant, to a SCIM service and to an LDAP directory, while
//! people sign in: the next cycle comes to the state of a gateway that was never disturbed. Nobody is made twice, no change is lost.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng};
use serde_json::Value;

use super::{
    BETA, CHANGED, Log, PEOPLE, Round, SEED, cut_short_after, kills, latest_kill, release_what_is_held, rename_people,
};
use crate::support::directory::{ALPHA, Directory, People, line};
use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;
use crate::support::process::{make_private, temp_dir};
use crate::support::scim::Scim;
use crate::support::slapd::{SUFFIX, Slapd};
use crate::support::visitor::Visitor;

/// Kills for each store in a usual run.
const KILLS: usize = 10;
const GROUPS: usize = 6;
/// The rounds in which somebody is deleted, of each [`KILLS`]: few enough for the guard in a usual run; in a longer one it
/// holds them, and operators release them.
const DELETING: [usize; 3] = [2, 5, 8];
/// From so many kills on, every step that writes must have met one.
const MANY_KILLS: usize = 100;
/// What a step ends after which the next one writes.
const STEPS: [&str; 5] = ["", "full-import corp", "full-sync ", "export tenant", "export app"];

fn example(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/connectors/examples").join(name)
}

/// A gateway over a directory, with a service and a directory of its own to export to.
pub(super) struct Site {
    pub gateway: Gateway,
    pub scim: Scim,
    pub pages: Slapd,
    _dir: tempfile::TempDir,
}

/// What targets hold, without what differs between two gateways.
#[derive(Debug, PartialEq, Eq)]
struct State {
    /// UPN, display name and whether enabled, by source anchor.
    tenant: BTreeMap<String, String>,
    /// The attributes that rules write, by external id.
    people: BTreeMap<String, String>,
    /// External ids of members by display name.
    groups: BTreeMap<String, Vec<String>>,
    /// The entries of the directory, without their ids.
    pages: Vec<Vec<String>>,
}

/// Who is who in the targets: oids, SCIM ids and entry ids by source anchor.
type Identities = BTreeMap<String, [String; 3]>;

/// A connector to `pages`, and rules for it.
fn exports_to(pages: &Slapd, dir: &Path) -> (String, std::path::PathBuf) {
    let secret = dir.join("pages.secret");
    std::fs::write(&secret, pages.admin_password()).expect("a secret file");
    make_private(&secret);
    let section = format!(
        "[[connectors]]\nkind = \"ldap-target\"\nname = \"pages\"\ndialect = \"openldap\"\nservers = [\"{}\"]\n\
         ca_file = \"{}\"\nbind_dn = \"{}\"\nbind_password_file = \"{}\"\n\
         bases = [\"ou=people,{SUFFIX}\", \"ou=groups,{SUFFIX}\"]\n\
         attributes = [\"uid\", \"cn\", \"sn\", \"givenName\", \"mail\"]\nplaceholder_member = \"cn=nobody,{SUFFIX}\"\n",
        pages.ldaps_url(),
        pages.ca_file().display(),
        pages.admin_dn(),
        secret.display(),
    );
    let rules = std::fs::read_to_string(example("401-ldap-target.toml")).expect("the example");
    let file = dir.join("401-ldap-target.toml");
    std::fs::write(&file, rules.replace("dc=pages,dc=example", SUFFIX)).expect("a rule file");
    (section, file)
}

impl Site {
    /// `sync_line`: a line for `[sync]`.
    pub fn open(slapd: &Slapd, store: Option<&str>, sync_line: &str) -> Self {
        let (scim, pages, dir) = (Scim::start(), Slapd::builder().start(), temp_dir("pages"));
        let (section, rules) = exports_to(&pages, dir.path());
        let mut builder = Gateway::builder()
            .slapd("corp", slapd, &[ALPHA, BETA], "")
            .sync_line(sync_line)
            .section(&scim.settings("app"))
            .section(&section)
            .rules(&example("400-scim.toml"))
            .rules(&rules);
        if let Some(url) = store {
            builder = builder.store(url);
        }
        let gateway = builder.start();
        for domain in [ALPHA, BETA] {
            gateway.cli(&["domain", "add", domain]);
            gateway.cli(&["domain", "verify", domain, "--vouch"]);
            gateway.cli(&["domain", "set-method", domain, "phs", "--force"]);
        }
        gateway.cli(&["rules", "activate"]);
        let site = Self { gateway, scim, pages, _dir: dir };
        site.cycle("full");
        site.gateway.cli(&["password-sync", "run"]);
        site
    }

    /// A run that must come to its end; what it exported. What the guard holds after many rounds is released.
    fn cycle(&self, profile: &str) -> i64 {
        let mut answer = self.gateway.cli(&["sync", "run", "--profile", profile]);
        if answer["run"]["outcome"] == "held" {
            release_what_is_held(&self.gateway.operator());
            answer = self.gateway.cli(&["sync", "run", "--profile", profile]);
        }
        assert_eq!(answer["run"]["outcome"], "completed", "{answer:#}");
        let steps = answer["steps"].as_array().expect("steps").iter();
        let exports = steps.filter(|step| step["kind"] == "export");
        exports
            .flat_map(|step| step["counters"].as_object().expect("counters").values())
            .filter_map(Value::as_i64)
            .sum()
    }

    /// What the directory holds; its ids go to `identities`.
    fn entries(&self, identities: &mut Identities) -> Vec<Vec<String>> {
        let people = self.pages.entries(
            &format!("ou=people,{SUFFIX}"),
            "inetOrgPerson",
            &["uid", "cn", "sn", "givenName", "mail", "entryUUID"],
        );
        let groups = self.pages.entries(&format!("ou=groups,{SUFFIX}"), "groupOfNames", &["cn", "member"]);
        let mut entries = groups;
        for mut entry in people {
            let value = |lines: &[String], name: &str| {
                let line = lines.iter().find_map(|line| line.strip_prefix(name));
                line.expect("every entry has one").trim().to_owned()
            };
            let (uid, id) = (value(&entry, "uid:"), value(&entry, "entryUUID:"));
            identities.entry(uid).or_default()[2] = id;
            entry.retain(|line| !line.starts_with("entryUUID:"));
            entries.push(entry);
        }
        entries.sort();
        entries
    }

    async fn state(&self) -> (State, Identities) {
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let (mut tenant, mut identities) = (BTreeMap::new(), Identities::new());
        let users = tokio::task::block_in_place(|| self.gateway.cli(&["user", "list"]));
        for user in users.as_array().expect("users") {
            let (anchor, oid) = (text(user, "source_anchor"), text(user, "oid"));
            let told = format!("{} {} {}", text(user, "upn"), text(user, "display_name"), user["account_enabled"]);
            assert_eq!(tenant.insert(anchor.clone(), told), None, "{anchor} is in the tenant twice");
            identities.entry(anchor).or_default()[0] = oid;
        }
        let (mut people, mut keys) = (BTreeMap::new(), BTreeMap::new());
        for user in self.scim.resources("Users").await {
            let (key, id) = (text(&user, "externalId"), text(&user, "id"));
            let mut told = user.clone();
            for own in ["id", "meta", "groups", "schemas"] {
                told.as_object_mut().expect("a resource").remove(own);
            }
            assert_eq!(people.insert(key.clone(), told.to_string()), None, "{key} is at the service twice");
            identities.entry(key.clone()).or_default()[1].clone_from(&id);
            keys.insert(id, key);
        }
        let mut groups = BTreeMap::new();
        let resources = self.scim.resources("Groups").await;
        let names: BTreeMap<String, String> =
            resources.iter().map(|group| (text(group, "id"), text(group, "displayName"))).collect();
        for group in &resources {
            let members = group["members"].as_array().cloned().unwrap_or_default();
            // This service keeps the ids of deleted people in its groups; they name nobody.
            let name_of = |member: &Value| {
                let id = text(member, "value");
                keys.get(&id).or_else(|| names.get(&id)).cloned()
            };
            let mut members: Vec<String> = members.iter().filter_map(name_of).collect();
            members.sort();
            let name = text(group, "displayName");
            assert_eq!(groups.insert(name.clone(), members), None, "{name} is at the service twice");
        }
        let pages = tokio::task::block_in_place(|| self.entries(&mut identities));
        (State { tenant, people, groups, pages }, identities)
    }
}

pub(super) fn directory() -> Directory {
    let mut directory = People { people: PEOPLE, groups: GROUPS, ..People::default() }.generate();
    for (index, person) in directory.people.iter_mut().enumerate() {
        person.upn = format!("{}@{}", person.uid, if index.is_multiple_of(2) { ALPHA } else { BETA });
    }
    directory
}

/// A container and a group that have another name in each round, the container with people of the group.
fn moving_container(round: usize) -> String {
    format!("ou=moving {round},ou=people,{SUFFIX}")
}

fn renamed_group(round: usize) -> String {
    format!("renamed {round}")
}

fn moving() -> String {
    let mut ldif = format!("dn: {}\nobjectClass: organizationalUnit\nou: moving 0\n\n", moving_container(0));
    let mut members = String::new();
    for name in ["m0", "m1", "m2"] {
        let dn = format!("uid={name},{}", moving_container(0));
        write!(
            ldif,
            "dn: {dn}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: Mover {name}\nsn: Mover\ndisplayName: Mover {name}\n\
             mail: {name}@{ALPHA}\n\n"
        )
        .expect("text");
        writeln!(members, "member: {dn}").expect("text");
    }
    let group = renamed_group(0);
    write!(ldif, "dn: cn={group},ou=groups,{SUFFIX}\nobjectClass: groupOfNames\ncn: {group}\n{members}\n")
        .expect("text");
    ldif
}

/// The other names of a round, the group before or after its members.
fn rename_containers(slapd: &Slapd, round: usize) {
    let change = |dn: &str, rdn: &str| format!("dn: {dn}\nchangetype: modrdn\nnewrdn: {rdn}\ndeleteoldrdn: 1\n\n");
    let container = change(&moving_container(round), &format!("ou=moving {}", round + 1));
    let group =
        change(&format!("cn={},ou=groups,{SUFFIX}", renamed_group(round)), &format!("cn={}", renamed_group(round + 1)));
    let changes = if round.is_multiple_of(2) { [container, group] } else { [group, container] };
    slapd.ldapmodify(&changes.concat());
}

/// What a round changes besides names: somebody comes, into one group and out of it again; sometimes somebody goes.
fn churn(slapd: &Slapd, directory: &Directory, round: usize) {
    let people = format!("ou=people,{}", SUFFIX);
    let (group, other) = (&directory.groups[round % GROUPS], &directory.groups[(round + 1) % GROUPS]);
    let newcomer = |round: usize| format!("uid=k{round},{people}");
    let mut ldif = String::new();
    write!(
        ldif,
        "dn: {0}\nchangetype: add\nobjectClass: inetOrgPerson\nuid: k{round}\ncn: Newcomer {round}\nsn: {round}\n\
         displayName: Newcomer {round}\ngivenName: New\nmail: k{round}@{ALPHA}\n\n\
         dn: {1}\nchangetype: modify\nadd: member\nmember: {0}\n\n",
        newcomer(round),
        group.dn,
    )
    .expect("text");
    if round > 0 {
        // The one of the round before moves on to the next group.
        let former = &directory.groups[(round - 1) % GROUPS];
        let earlier = newcomer(round - 1);
        for (dn, change) in [(&former.dn, "delete"), (&other.dn, "add")] {
            ldif += &format!("{}changetype: modify\n{change}: member\nmember: {earlier}\n\n", line("dn", dn));
        }
    }
    if let Some(nth) = DELETING.iter().position(|deleting| *deleting == round % KILLS) {
        // Later on those go who came two rounds before.
        let gone = if round < KILLS { directory.people[PEOPLE - 1 - nth].dn.clone() } else { newcomer(round - 2) };
        ldif += &format!("{}changetype: delete\n\n", line("dn", &gone));
    }
    slapd.ldapmodify(&ldif);
}

async fn survives_kills(store: &str, url: Option<String>) {
    let directory = directory();
    let slapd = Slapd::builder().directory(&directory).ldif(&moving()).lockout_after(0).start();
    let mut site = Site::open(&slapd, url.as_deref(), "");
    let visitor = Visitor::register(&site.gateway);
    let (operator, log) = (site.gateway.operator(), Log::default());
    let mut rng = StdRng::seed_from_u64(SEED);
    let (_, mut known) = site.state().await;
    let mut latest = latest_kill(|| _ = site.cycle("full"));
    let (kills, mut cut_short, mut signed) = (kills(KILLS), BTreeMap::<String, usize>::new(), 0);
    // Those who are deleted neither sign in nor change.
    let staying = &directory.people[..PEOPLE - DELETING.len()];
    for round in 0..kills {
        tokio::task::block_in_place(|| {
            rename_people(&slapd, staying, round);
            churn(&slapd, &directory, round);
            rename_containers(&slapd, round);
        });
        let working = Round::start(staying, &visitor, &operator, &log, round);
        // Under sign-ins a run takes longer than by itself, and its exports come last.
        tokio::time::sleep(rng.random_range(Duration::ZERO..2 * latest)).await;
        site.gateway.kill();
        working.stop().await;
        signed += std::mem::take(&mut *log.lock().expect("the log")).sessions.len();
        site.gateway.start_again();
        if let Some(step) = cut_short_after(&site.gateway) {
            *cut_short.entry(step).or_default() += 1;
        }
        latest = latest_kill(|| _ = site.cycle(if round % 2 == 0 { "delta" } else { "full" }));
        let (state, identities) = site.state().await;
        for (anchor, identity) in &identities {
            let before = known.entry(anchor.clone()).or_insert_with(|| identity.clone());
            assert_eq!(before, identity, "{store}, round {round}: {anchor} is who it was");
        }
        let changed = (0..CHANGED).map(|index| &staying[(round * CHANGED + index) % staying.len()]);
        let at_pages = state.pages.iter().filter(|entry| entry.contains(&format!("givenName: Round {round}"))).count();
        let renamed = state.people.values().filter(|person| person.contains(&format!("\"Round {round}\""))).count();
        let expected = changed.count();
        assert_eq!(
            (renamed, at_pages),
            (expected, expected),
            "{store}, round {round}: changes have arrived: {state:#?}"
        );
        let named: Vec<&String> = state.groups.keys().filter(|name| name.starts_with("renamed ")).collect();
        assert_eq!(named, [&renamed_group(round + 1)], "{store}, round {round}: the group has one name");
        let newcomer = state.groups.get(&directory.groups[round % GROUPS].cn).expect("the group").len();
        assert!(newcomer > 0, "{store}, round {round}");
    }
    assert_eq!(tokio::task::block_in_place(|| site.cycle("full")), 0, "{store}: a full cycle finds nothing to export");
    let (state, _) = site.state().await;
    let undisturbed = Site::open(&slapd, None, "");
    let (expected, _) = undisturbed.state().await;
    assert_eq!(state, expected, "{store}: as if nothing had been");
    let met: usize = cut_short.values().sum();
    println!(
        "{store}: {kills} kills (seed {SEED}) under {signed} sign-ins, {met} of them in a run; \
         by the last step that had ended before: {cut_short:?}"
    );
    assert!(met > 0 && signed > 0, "{store}: some kill met a run, and people signed in");
    if kills >= MANY_KILLS {
        let unmet: Vec<&str> = STEPS.into_iter().filter(|step| !cut_short.contains_key(*step)).collect();
        assert!(unmet.is_empty(), "{store}: no kill came after {unmet:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_that_was_killed_anywhere_is_made_up_for_by_the_next_on_sqlite() {
    survives_kills("sqlite", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_that_was_killed_anywhere_is_made_up_for_by_the_next_on_postgresql() {
    survives_kills("postgresql", Some(Postgres::start().fresh_database())).await;
}
