//! A domain as a source: everything at first, then whatever happens by DirSync, and nothing when nothing happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use super::site::RIGHTS;
use crate::support::gateway::Gateway;
use crate::support::samba::{CORP, Samba};

/// In three levels of containers.
const PEOPLE: usize = 300;
const UNITS: [&str; 3] = ["OU=Staff", "OU=Berlin,OU=Staff", "OU=Lab,OU=Berlin,OU=Staff"];
const GROUPS: usize = 10;
/// A container whose people the guard lets go.
const SMALL: &str = "OU=Small,OU=Staff";

struct Domain {
    samba: Samba,
    gateway: Gateway,
    base: String,
}

impl Domain {
    fn open() -> Self {
        let samba = Samba::start(CORP, &RIGHTS);
        let base = samba.base();
        let mut ldif = String::new();
        let mut record = |text: std::fmt::Arguments<'_>| writeln!(ldif, "{text}\n").expect("a string takes it");
        for unit in UNITS.iter().skip(1).chain(&[SMALL, "OU=Outside"]) {
            record(format_args!("dn: {unit},{base}\nchangetype: add\nobjectClass: organizationalUnit"));
        }
        for number in 0..PEOPLE {
            record(format_args!("{}", person(&format!("p{number}"), UNITS[number % 3], &base)));
        }
        for group in 0..GROUPS {
            let members = (0..PEOPLE).filter(|number| group == 0 || number % GROUPS == group);
            let members = members.map(|number| format!("member: CN=p{number},{},{base}", UNITS[number % 3]));
            record(format_args!(
                "dn: CN=g{group},OU=Staff,{base}\nchangetype: add\nobjectClass: group\nsAMAccountName: g{group}\n\
                 displayName: g{group}\n{}",
                members.collect::<Vec<_>>().join("\n")
            ));
        }
        record(format_args!("{}", person("psmall", SMALL, &base)));
        record(format_args!(
            "dn: CN=g5,OU=Staff,{base}\nchangetype: modify\nadd: member\nmember: CN=psmall,{SMALL},{base}"
        ));
        samba.ldif(&ldif);
        let gateway = Gateway::builder().samba("corp", &samba).start();
        gateway.cli(&["domain", "add", CORP.realm]);
        gateway.cli(&["domain", "verify", CORP.realm, "--vouch"]);
        gateway.cli(&["rules", "activate"]);
        Self { samba, gateway, base }
    }

    /// A cycle that must complete; its steps at the domain, and how much it exported.
    #[track_caller]
    fn run(&self, profile: &str) -> (Vec<String>, i64) {
        let answer = self.gateway.cli(&["sync", "run", "--profile", profile]);
        assert_eq!(answer["run"]["outcome"], "completed", "{answer:#}");
        let steps = answer["steps"].as_array().expect("steps");
        let exports = steps.iter().filter(|step| step["kind"] == "export");
        let sent = exports.flat_map(|step| step["counters"].as_object().expect("counters").values());
        let sent = sent.filter_map(Value::as_i64).sum();
        let of_domain = steps.iter().filter(|step| step["connector"] == "corp");
        (of_domain.map(|step| step["kind"].as_str().unwrap_or_default().to_owned()).collect(), sent)
    }

    /// Changes the directory; a delta must bring it, and nothing must be left for a second one.
    #[track_caller]
    fn change(&self, what: &str, ldif: &str) {
        self.samba.ldif(&ldif.replace("BASE", &self.base));
        let (steps, sent) = self.run("delta");
        assert!(steps.iter().any(|kind| kind == "delta-import"), "{what}: {steps:?}");
        assert!(!steps.iter().any(|kind| kind == "full-import"), "{what}: {steps:?}");
        assert!(sent > 0, "{what}: nothing arrived");
        assert_eq!(self.run("delta").1, 0, "{what}: a second run is empty");
    }

    /// Display names of the users who are there, by name before the `@`.
    fn people(&self) -> BTreeMap<String, String> {
        let listed = self.gateway.cli(&["user", "list", "--domain", CORP.realm]);
        let text = |user: &Value, key: &str| user[key].as_str().unwrap_or_default().to_owned();
        let users = listed.as_array().expect("users").iter();
        users
            .map(|user| {
                let upn = text(user, "upn");
                (upn.split('@').next().unwrap_or_default().to_owned(), text(user, "display_name"))
            })
            .filter(|(name, _)| name.starts_with('p'))
            .collect()
    }

    fn groups_of(&self, person: &str) -> BTreeSet<String> {
        let shown = self.gateway.cli(&["user", "show", &format!("{person}@{}", CORP.realm)]);
        shown["groups"].as_array().expect("groups").iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
    }
}

fn person(name: &str, unit: &str, base: &str) -> String {
    format!(
        "dn: CN={name},{unit},{base}\nchangetype: add\nobjectClass: user\nsAMAccountName: {name}\n\
         userPrincipalName: {name}@{}\ndisplayName: Person {name}\nmail: {name}@{}\nuserAccountControl: 544",
        CORP.realm, CORP.realm
    )
}

fn names(groups: &[&str]) -> BTreeSet<String> {
    groups.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn whatever_happens_in_a_domain_arrives_by_dir_sync() {
    let domain = Domain::open();
    assert!(domain.run("full").1 > 0);
    assert_eq!(domain.people().len(), PEOPLE + 1);
    assert_eq!(domain.groups_of("p7"), names(&["g0", "g7"]));
    assert_eq!(domain.run("delta").1, 0, "a second run is empty");

    domain.change("a person is added", &person("pnew", "OU=Berlin,OU=Staff", "BASE"));
    assert!(domain.people().contains_key("pnew"));
    domain.change(
        "a name changes",
        "dn: CN=pnew,OU=Berlin,OU=Staff,BASE\nchangetype: modify\nreplace: displayName\ndisplayName: Somebody Else\n",
    );
    assert_eq!(domain.people()["pnew"], "Somebody Else");
    domain.change(
        "members come and go",
        "dn: CN=g1,OU=Staff,BASE\nchangetype: modify\nadd: member\nmember: CN=pnew,OU=Berlin,OU=Staff,BASE\n-\n\
         delete: member\nmember: CN=p1,OU=Berlin,OU=Staff,BASE\n",
    );
    assert_eq!((domain.groups_of("pnew"), domain.groups_of("p1")), (names(&["g1"]), names(&["g0"])));
    // A rename alone changes nothing that the tenant knows; what is changed by the new name is.
    domain.change(
        "a person is renamed and moved",
        "dn: CN=pnew,OU=Berlin,OU=Staff,BASE\nchangetype: modrdn\nnewrdn: CN=pnewer\ndeleteoldrdn: 1\n\
         newsuperior: OU=Staff,BASE\n\n\
         dn: CN=pnewer,OU=Staff,BASE\nchangetype: modify\nreplace: displayName\ndisplayName: Moved\n",
    );
    assert_eq!((domain.people()["pnew"].as_str(), domain.groups_of("pnew")), ("Moved", names(&["g1"])));
    domain.change(
        "a person leaves the scope",
        "dn: CN=p4,OU=Berlin,OU=Staff,BASE\nchangetype: modrdn\nnewrdn: CN=p4\ndeleteoldrdn: 1\nnewsuperior: OU=Outside,BASE\n",
    );
    assert!(!domain.people().contains_key("p4"));
    domain.change(
        "and comes back",
        "dn: CN=p4,OU=Outside,BASE\nchangetype: modrdn\nnewrdn: CN=p4\ndeleteoldrdn: 1\nnewsuperior: OU=Berlin,OU=Staff,BASE\n",
    );
    assert_eq!(domain.groups_of("p4"), names(&["g0", "g4"]));
    domain.change(
        "a container leaves the scope",
        "dn: OU=Small,OU=Staff,BASE\nchangetype: modrdn\nnewrdn: OU=Small\ndeleteoldrdn: 1\nnewsuperior: OU=Outside,BASE\n",
    );
    assert!(!domain.people().contains_key("psmall"));
    domain.run("full");
    domain.change(
        "and comes back to another place",
        "dn: OU=Small,OU=Outside,BASE\nchangetype: modrdn\nnewrdn: OU=Small\ndeleteoldrdn: 1\n\
         newsuperior: OU=Berlin,OU=Staff,BASE\n",
    );
    assert_eq!(domain.groups_of("psmall"), names(&["g5"]));
    domain.change("a person is deleted", "dn: CN=p3,OU=Staff,BASE\nchangetype: delete\n");
    assert!(!domain.people().contains_key("p3"));
    domain.change("a group is deleted", "dn: CN=g2,OU=Staff,BASE\nchangetype: delete\n");
    assert_eq!(domain.groups_of("p2"), names(&["g0"]));
    domain.change(
        "an account is disabled",
        "dn: CN=p6,OU=Staff,BASE\nchangetype: modify\nreplace: userAccountControl\nuserAccountControl: 546\n",
    );
    let shown = domain.gateway.cli(&["user", "show", &format!("p6@{}", CORP.realm)]);
    assert_eq!(shown["account_enabled"], false);
    assert_eq!(domain.run("full").1, 0, "a full run finds nothing that the deltas did not");
}
