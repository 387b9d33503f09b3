//! A real slapd with people and nested groups, synchronised by a running gateway, seen and steered by the command line.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::directory::{
    ALPHA, BETA, BIG_CONTAINER, DUPLICATE_UPN, DUPLICATED_UPN, Directory, MISSING_ANCHOR, NON_ROUTABLE, people,
};
use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;
use crate::support::slapd::{SUFFIX, Slapd};
use crate::support::tab::{self, Tab};

const ELSEWHERE: &str = "ou=elsewhere,dc=ldap,dc=example";

struct Site {
    slapd: Slapd,
    people: Directory,
    gateway: Gateway,
}

impl Site {
    /// A gateway with vouched domains and the shipped rules, people anchored by `employeeNumber`; nothing is read yet.
    fn open(count: usize, store: Option<&str>) -> Self {
        let people = people(count);
        let elsewhere = format!("dn: {ELSEWHERE}\nobjectClass: organizationalUnit\nou: elsewhere\n");
        let slapd = Slapd::builder().directory(&people).ldif(&elsewhere).start();
        let excluded = format!("excluded = [\"{ELSEWHERE}\"]");
        let builder = Gateway::builder().slapd("corp", &slapd, &[ALPHA, BETA], &excluded);
        let builder = match store {
            Some(url) => builder.store(url),
            None => builder,
        };
        let mut gateway = builder.start();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rules");
        let own = gateway.folder().join("rules");
        write_rules(&shipped, &own);
        let (shipped, own) = (shipped.display().to_string(), own.display().to_string());
        gateway.reconfigure(|text| text.replace(&shipped, &own));
        for domain in [ALPHA, BETA] {
            gateway.cli(&["domain", "add", domain]);
            gateway.cli(&["domain", "verify", domain, "--vouch"]);
        }
        gateway.cli(&["rules", "activate"]);
        Self { slapd, people, gateway }
    }

    /// Runs a cycle and returns its outcome with its steps.
    #[track_caller]
    fn run(&self) -> (String, Vec<Value>) {
        let answer = self.gateway.cli(&["sync", "run"]);
        let outcome = answer["run"]["outcome"].as_str().expect("an outcome").to_owned();
        (outcome, answer["steps"].as_array().expect("steps").clone())
    }

    #[track_caller]
    fn completes(&self) -> Vec<Value> {
        let (outcome, steps) = self.run();
        assert_eq!(outcome, "completed", "{steps:#?}");
        steps
    }

    /// Users by source anchor.
    fn users(&self) -> BTreeMap<String, Value> {
        let users = self.gateway.cli(&["user", "list"]);
        let anchor = |user: &Value| user["source_anchor"].as_str().unwrap_or_default().to_owned();
        users.as_array().expect("users").iter().map(|user| (anchor(user), user.clone())).collect()
    }

    fn user(&self, name: &str) -> Value {
        self.gateway.cli(&["user", "show", name])
    }

    /// Names of the objects with a problem, by its code.
    fn problems(&self) -> BTreeMap<String, Vec<String>> {
        let status = self.gateway.cli(&["sync", "status"]);
        let mut problems: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for problem in status["problems"].as_array().expect("problems") {
            let text = |key: &str| problem[key].as_str().expect("a text").to_owned();
            problems.entry(text("code")).or_default().push(text("name"));
        }
        problems
    }

    fn pending(&self) -> i64 {
        let status = self.gateway.cli(&["sync", "status"]);
        let kinds = ["pending_adds", "pending_updates", "pending_deletes", "pending_links"];
        let connectors = status["connectors"].as_array().expect("connectors");
        connectors.iter().flat_map(|c| kinds.map(|kind| c["figures"][kind].as_i64().expect("a number"))).sum()
    }

    fn hold(&self, target: &str, kind: &str) -> Value {
        let holds = self.gateway.cli(&["guard", "show"]);
        let found = holds.as_array().expect("holds").iter().find(|h| h["target"] == target && h["kind"] == kind);
        found.unwrap_or_else(|| panic!("no hold of {kind} at {target}: {holds:#}")).clone()
    }

    fn anchor(&self, index: usize) -> &str {
        self.people.people[index].employee_number.as_deref().expect("an anchor")
    }

    fn dn(&self, index: usize) -> &str {
        &self.people.people[index].dn
    }

    fn move_to(&self, index: usize, from: &str, to: &str) {
        let uid = &self.people.people[index].uid;
        self.slapd.ldapmodify(&format!(
            "dn: uid={uid},{from}\nchangetype: modrdn\nnewrdn: uid={uid}\ndeleteoldrdn: 1\nnewsuperior: {to}\n"
        ));
    }

    /// What people without the attribute, with a duplicate or with a foreign suffix come to; everybody else as they are.
    fn expect_first_import(&self) {
        let users = self.users();
        assert_eq!(users.len(), self.people.people.len() - 1);
        let names: BTreeMap<String, String> = users
            .iter()
            .map(|(anchor, user)| (anchor.clone(), user["upn"].as_str().expect("a upn").to_owned()))
            .collect();
        let mut replaced = 0;
        for (index, person) in self.people.people.iter().enumerate().filter(|(index, _)| *index != MISSING_ANCHOR) {
            let effective = &names[self.anchor(index)];
            if person.upn.ends_with(NON_ROUTABLE) {
                assert_eq!(effective, &format!("{}@initial.test", person.uid));
                replaced += 1;
            } else if ![DUPLICATE_UPN, DUPLICATED_UPN].contains(&index) {
                assert_eq!(effective, &person.upn);
            }
        }
        assert_eq!(replaced, self.people.people.len() / 100);
        let (first, second) = (&names[self.anchor(DUPLICATED_UPN)], &names[self.anchor(DUPLICATE_UPN)]);
        let wanted = &self.people.people[DUPLICATED_UPN].upn;
        assert!(first != second && [first, second].contains(&wanted), "one holds {wanted}: {first}, {second}");
    }

    fn expect_problems(&self) {
        let problems = self.problems();
        let missing = format!("uid={}", self.people.people[MISSING_ANCHOR].uid);
        assert_eq!(problems["missing-anchor"].len(), 1, "{problems:#?}");
        assert!(problems["missing-anchor"][0].starts_with(&missing), "{problems:#?}");
        assert_eq!(problems["invalid-upn"].len(), self.people.people.len() / 100, "{problems:#?}");
        assert!(problems["invalid-upn"].iter().any(|name| name.starts_with("uid=p00003")), "{problems:#?}");
        assert!(!problems["export-warning"].is_empty(), "the duplicate name is told: {problems:#?}");
    }

    fn expect_nothing_staged_again(&self) {
        let steps = self.completes();
        let exports = steps.iter().filter(|step| step["kind"] == "export");
        let counted: i64 = exports
            .flat_map(|step| step["counters"].as_object().expect("counters").values())
            .filter_map(Value::as_i64)
            .sum();
        assert_eq!(counted, 0, "{steps:#?}");
        assert_eq!(self.pending(), 0);
    }

    /// Rename, disable, delete, move out of scope and back, a group change.
    fn expect_changes_to_follow(&self) {
        let oid = self.users()[self.anchor(20)]["oid"].clone();
        let home = self.dn(20).split_once(',').expect("a parent").1.to_owned();
        self.slapd.ldapmodify(&format!(
            "dn: {}\nchangetype: modify\nreplace: cn\ncn: Renamed Person\n-\nreplace: mail\nmail: renamed@{ALPHA}\n",
            self.dn(10)
        ));
        self.slapd
            .ldapmodify(&format!("dn: {}\nchangetype: modrdn\nnewrdn: uid=renamed\ndeleteoldrdn: 1\n", self.dn(10)));
        self.slapd.replace(self.dn(11), "pwdAccountLockedTime", "000001010000Z");
        self.slapd.ldapmodify(&format!("dn: {}\nchangetype: delete\n", self.dn(12)));
        self.move_to(20, &home, ELSEWHERE);
        let group = &self.people.groups[3];
        let joins = self
            .people
            .people
            .iter()
            .position(|p| !group.member_people.iter().any(|m| self.people.people[*m].dn == p.dn));
        let joins = joins.expect("not everybody is in the group");
        self.slapd.ldapmodify(&format!(
            "dn: {}\nchangetype: modify\nadd: member\nmember: {}\n",
            group.dn,
            self.dn(joins)
        ));
        self.completes();
        let users = self.users();
        assert_eq!(users[self.anchor(10)]["upn"], format!("renamed@{ALPHA}"));
        assert_eq!(users[self.anchor(10)]["display_name"], "Renamed Person");
        assert_eq!(users[self.anchor(11)]["account_enabled"], false);
        assert!(!users.contains_key(self.anchor(12)), "deleted");
        assert!(!users.contains_key(self.anchor(20)), "out of scope");
        let member = self.user(users[self.anchor(joins)]["oid"].as_str().expect("an oid"));
        let groups: Vec<&str> = member["groups"].as_array().expect("groups").iter().filter_map(Value::as_str).collect();
        // Group 3 is a member of group 0.
        assert!(groups.contains(&"group03") && groups.contains(&"group00"), "{groups:?}");
        self.move_to(20, ELSEWHERE, &home);
        self.completes();
        assert_eq!(self.users()[self.anchor(20)]["oid"], oid, "the same oid");
    }
}

fn write_rules(shipped: &Path, own: &Path) {
    std::fs::create_dir_all(own).expect("a folder");
    for entry in std::fs::read_dir(shipped).expect("the shipped rules") {
        let path = entry.expect("a file").path();
        let mut text = std::fs::read_to_string(&path).expect("a rule file");
        if let Some((people, groups)) = text.split_once("name = \"In from LDAP - Group Join\"") {
            let people = people.replace("entryUUID", "employeeNumber");
            text = format!("{people}name = \"In from LDAP - Group Join\"{groups}");
        }
        std::fs::write(own.join(path.file_name().expect("a name")), text).expect("a rule file");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_people_follow_their_directory_and_an_unticked_container_is_held() {
    let mut site = Site::open(1_000, None);
    site.completes();
    site.expect_first_import();
    site.expect_problems();
    site.expect_nothing_staged_again();
    site.expect_changes_to_follow();

    site.gateway.cli(&["password-sync", "run"]);
    tab::register(&site.gateway);
    let http = site.gateway.http();
    let in_container: Vec<String> = (site.people.people.iter())
        .filter(|person| person.container == BIG_CONTAINER && person.employee_number.is_some())
        .map(|person| person.employee_number.clone().expect("an anchor"))
        .collect();
    let before = site.users();
    let in_container: Vec<&String> = in_container.iter().filter(|anchor| before.contains_key(*anchor)).collect();
    let has_hash = |user: &Value| ["sealed", "wrapped"].contains(&user["credential"].as_str().unwrap_or_default());
    assert!(in_container.iter().all(|anchor| has_hash(&before[*anchor])), "everybody has a credential");

    let unticked = format!("\"{ELSEWHERE}\", \"ou={BIG_CONTAINER},ou=people,{SUFFIX}\"");
    site.gateway.reconfigure(|text| text.replace(&format!("\"{ELSEWHERE}\""), &unticked));
    let (outcome, steps) = site.run();
    assert_eq!(outcome, "held", "{steps:#?}");
    site.gateway.cli(&["password-sync", "run"]);
    let during = site.users();
    assert_eq!(during.len(), before.len());
    assert!(in_container.iter().all(|anchor| has_hash(&during[*anchor])), "no hash is wiped");
    let person = (site.people.people.iter().enumerate())
        .find(|(index, p)| *index > 20 && p.container == BIG_CONTAINER && p.upn.ends_with(ALPHA))
        .expect("somebody of the container")
        .1;
    let page = Tab::new(&site.gateway, &http).sign_in(&person.upn, &person.password).await;
    assert!(page.has_code(), "people of the container still sign in: {} {}", page.status, page.body);

    let held = site.hold("import:corp", "obsolete:user");
    let outstanding = held["outstanding"].as_u64().expect("a number") as usize;
    // The person without an anchor is in the connector space, and no user.
    let without = usize::from(site.people.people[MISSING_ANCHOR].container == BIG_CONTAINER);
    assert_eq!(outstanding, in_container.len() + without);
    let digest = held["digest"].as_str().expect("a digest");
    let wrong = digest.replace(|c: char| c.is_ascii_digit(), "f") + "0";
    site.gateway.cli_refused(&["guard", "release", "import:corp", "--digest", &wrong]);
    site.gateway.cli(&["guard", "release", "import:corp", "--digest", digest]);
    let (outcome, steps) = site.run();
    assert_eq!(outcome, "held", "the tenant's own guard stands behind: {steps:#?}");
    assert_eq!(site.users().len(), before.len());
    let held = site.hold("tenant", "delete:user");
    assert_eq!(held["outstanding"].as_u64().expect("a number") as usize, in_container.len());
    let digest = held["digest"].as_str().expect("a digest");
    site.gateway.cli(&["guard", "release", "tenant", "--digest", digest]);
    let (outcome, steps) = site.run();
    let after = site.users();
    assert!(
        in_container.iter().all(|anchor| !after.contains_key(*anchor)),
        "{outcome} {steps:#?} {:#}",
        site.gateway.cli(&["guard", "show"])
    );
    assert_eq!(after.len(), before.len() - in_container.len(), "exactly those");
    let page = Tab::new(&site.gateway, &http).sign_in(&person.upn, &person.password).await;
    assert!(!page.has_code(), "who was deleted is out");
    let oid = before[person.employee_number.as_deref().expect("an anchor")]["oid"].as_str().expect("an oid");
    let gone = site.user(oid);
    assert!(gone["deleted_at"].is_number(), "deleted softly: {gone:#}");
    assert!(!["sealed", "wrapped"].contains(&gone["credential"]["stage"].as_str().unwrap_or_default()), "{gone:#}");
}

#[test]
fn people_follow_their_directory_into_postgresql() {
    let store = Postgres::start().fresh_database();
    let site = Site::open(200, Some(&store));
    site.completes();
    site.expect_first_import();
    site.expect_problems();
    site.expect_nothing_staged_again();
    site.expect_changes_to_follow();
}
