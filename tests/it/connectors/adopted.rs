//! Accounts of targets that others made, and that rules adopted: what becomes of them when their people leave.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::whole::{Drop, example, exported, run, start};
use crate::support::gateway::Gateway;
use crate::support::process::{make_private, temp_dir};
use crate::support::scim::Scim;
use crate::support::slapd::{SUFFIX, Slapd};

const ADA: &str = "1,Ada,ada@alpha.example,active\n";
const OTHERS: &str = "id,name,mail,status\n3,Eve,eve@alpha.example,active\n";
const BOB: &str = "2,Bob,bob@alpha.example,active\n";

struct Site {
    folder: Drop,
    scim: Scim,
    pages: Slapd,
    gateway: Gateway,
    files: usize,
    _dir: tempfile::TempDir,
}

/// A rule for a directory of people alone, which adopts by `uid`.
fn pages_rules(dir: &Path, marked: bool) -> PathBuf {
    let mark = if marked { r#"{ target = "employeeNumber", direct = "sourceAnchor" },"# } else { "" };
    let file = dir.join("401-pages.toml");
    let rule = format!(
        r#"
[[rule]]
name = "Out to pages - User Join"
direction = "outbound"
connector_kind = "ldap-target"
space_type = "user"
metaverse_type = "user"
link = "provision"
precedence = 420
scope = [[{{ attribute = "sourceAnchor", operator = "ISNOTNULL" }}, {{ attribute = "displayName", operator = "ISNOTNULL" }}]]
join = [[{{ space = "uid", metaverse = "sourceAnchor" }}]]
flow = [
  {{ target = "dn", expression = '"uid=" & [sourceAnchor] & ",ou=people,{SUFFIX}"' }},
  {{ target = "uid", direct = "sourceAnchor" }},
  {{ target = "cn", direct = "displayName", first = true }},
  {{ target = "sn", direct = "displayName", first = true }},
  {mark}
]
"#
    );
    std::fs::write(&file, rule).expect("a rule file");
    file
}

/// The example for SCIM services, which adopts by `by` here.
fn scim_rules(dir: &Path, by: &str) -> PathBuf {
    let rules = std::fs::read_to_string(example("400-scim.toml")).expect("the example");
    let file = dir.join("400-scim.toml");
    let usual = r#"join = [[{ space = "externalId", metaverse = "sourceAnchor", case_sensitive = true }]]"#;
    assert!(rules.contains(usual), "{rules}");
    std::fs::write(&file, rules.replacen(usual, by, 1)).expect("a rule file");
    file
}

impl Site {
    /// Ada is in both targets before anything is synchronised; `account` is hers in the service.
    async fn open(by: &str, account: &serde_json::Value) -> Self {
        Self::with_mark(by, account, false).await
    }

    /// Rules give the entries that they add to the directory an employee number, where it is their mark.
    async fn with_mark(by: &str, account: &serde_json::Value, marked: bool) -> Self {
        let (folder, scim, pages, dir) = (Drop::new(), Scim::start(), Slapd::builder().start(), temp_dir("pages"));
        pages.ldapmodify(&format!(
            "dn: uid=1,ou=people,{SUFFIX}\nchangetype: add\nobjectClass: inetOrgPerson\nuid: 1\ncn: Made by hand\nsn: Hand\n"
        ));
        scim.make("Users", account).await;
        let secret = dir.path().join("pages.secret");
        std::fs::write(&secret, pages.admin_password()).expect("a secret file");
        make_private(&secret);
        let target = format!(
            "[[connectors]]\nkind = \"ldap-target\"\nname = \"pages\"\ndialect = \"openldap\"\nservers = [\"{}\"]\n\
             ca_file = \"{}\"\nbind_dn = \"{}\"\nbind_password_file = \"{}\"\nbases = [\"ou=people,{SUFFIX}\"]\n\
             attributes = [\"uid\", \"cn\", \"sn\", \"employeeNumber\"]\n{}",
            pages.ldaps_url(),
            pages.ca_file().display(),
            pages.admin_dn(),
            secret.display(),
            if marked { "mark_attribute = \"employeeNumber\"\n" } else { "" },
        );
        folder.put("people-0.csv", &format!("{OTHERS}{BOB}{ADA}"));
        folder.put("groups-0.csv", "id,name,members\n");
        let builder = Gateway::builder().section(&folder.settings()).section(&scim.settings("app")).section(&target);
        let builder = builder.rules(&example("300-file.toml")).rules(&scim_rules(dir.path(), by));
        let gateway = start(builder.rules(&pages_rules(dir.path(), marked)));
        Self { folder, scim, pages, gateway, files: 0, _dir: dir }
    }

    fn people(&mut self, lines: &str) {
        self.files += 1;
        self.folder.put(&format!("people-{}.csv", self.files), &format!("{OTHERS}{lines}"));
        run(&self.gateway);
    }

    /// Who is in the directory and in the service.
    async fn held(&self) -> [BTreeSet<String>; 2] {
        let entries = self.pages.entries(&format!("ou=people,{SUFFIX}"), "inetOrgPerson", &["uid"]);
        let uids = entries.iter().flatten().filter_map(|line| line.strip_prefix("uid: ").map(str::to_owned));
        let users = self.scim.resources("Users").await;
        let names = users.iter().map(|user| user["userName"].as_str().expect("a name").to_owned());
        [uids.collect(), names.map(|name| name.split('@').next().expect("a part").to_owned()).collect()]
    }

    fn lose_engine(&mut self) {
        self.gateway.stop();
        for entry in std::fs::read_dir(self.gateway.folder().join("data")).expect("the store's folder") {
            let file = entry.expect("a file").path();
            if file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("engine.db")) {
                std::fs::remove_file(file).expect("it goes");
            }
        }
        self.gateway.start_again();
        run(&self.gateway);
        run(&self.gateway);
    }

    fn kept(&self) -> usize {
        self.gateway.cli(&["sync", "status"]).to_string().matches("kept-at-target").count()
    }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_made_stays_when_its_people_leave_unless_the_settings_say_otherwise() {
    let by_name = r#"join = [[{ space = "userName", metaverse = "userPrincipalName" }]]"#;
    let mut site = Site::open(by_name, &json!({ "userName": "ada@alpha.example" })).await;
    run(&site.gateway);
    run(&site.gateway);
    assert_eq!(site.held().await, [set(&["1", "2", "3"]), set(&["ada", "bob", "eve"])], "adopted, not made again");
    assert_eq!(site.pages.values(&format!("uid=1,ou=people,{SUFFIX}"), "cn"), ["Ada"], "and brought to what rules say");

    site.people("");
    assert_eq!(site.held().await, [set(&["1", "3"]), set(&["ada", "eve"])], "Bob was made by rules and is deleted");
    assert_eq!(site.kept(), 2, "it is told of Ada, who stays");
    let steps = run(&site.gateway);
    assert_eq!((exported(&steps, "app"), exported(&steps, "pages")), (0, 0), "{steps:#?}");
    assert_eq!(site.kept(), 2);

    site.people(ADA);
    assert_eq!(site.kept(), 0, "she is back");
    site.people("");
    assert_eq!(site.held().await, [set(&["1", "3"]), set(&["ada", "eve"])], "who adopted it once more has not made it");

    site.people(ADA);
    site.gateway.reconfigure(|text| {
        let kinds = ["kind = \"scim\"\n", "kind = \"ldap-target\"\n"];
        kinds.iter().fold(text, |text, kind| text.replace(kind, &format!("{kind}adopted = \"delete\"\n")))
    });
    site.people("");
    assert_eq!(site.held().await, [set(&["3"]), set(&["eve"])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_our_identifier_is_ours_whoever_wrote_it_and_whatever_engine_asks() {
    let by_key = r#"join = [[{ space = "externalId", metaverse = "sourceAnchor", case_sensitive = true }]]"#;
    let mut site = Site::open(by_key, &json!({ "userName": "ada@alpha.example", "externalId": "1" })).await;
    run(&site.gateway);
    run(&site.gateway);
    assert_eq!(site.held().await, [set(&["1", "2", "3"]), set(&["ada", "bob", "eve"])]);
    site.people("");
    assert_eq!(site.held().await, [set(&["1", "3"]), set(&["eve"])], "the directory has no such mark");
    assert_eq!(site.kept(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_account_that_was_lost_at_its_target_and_made_anew_by_rules_is_deleted_with_its_person() {
    let by_name = r#"join = [[{ space = "userName", metaverse = "userPrincipalName" }]]"#;
    let mut site = Site::open(by_name, &json!({ "userName": "ada@alpha.example" })).await;
    run(&site.gateway);
    run(&site.gateway);
    site.pages.ldapmodify(&format!("dn: uid=1,ou=people,{SUFFIX}\nchangetype: delete\n"));
    run(&site.gateway);
    run(&site.gateway);
    assert_eq!(site.held().await[0], set(&["1", "2", "3"]), "she is wanted there");
    site.people("");
    assert_eq!(site.held().await, [set(&["3"]), set(&["ada", "eve"])], "rules made the one, and adopted the other");
    assert_eq!(site.kept(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_lost_its_store_knows_by_their_mark_what_rules_made() {
    let by_name = r#"join = [[{ space = "userName", metaverse = "userPrincipalName" }]]"#;
    let mut site = Site::with_mark(by_name, &json!({ "userName": "ada@alpha.example" }), true).await;
    run(&site.gateway);
    run(&site.gateway);
    assert_eq!(site.held().await, [set(&["1", "2", "3"]), set(&["ada", "bob", "eve"])]);
    let marks = |site: &Site, uid: &str| site.pages.values(&format!("uid={uid},ou=people,{SUFFIX}"), "employeeNumber");
    assert_eq!((marks(&site, "1"), marks(&site, "2")), (Vec::new(), vec!["2".to_owned()]), "what is adopted gets none");
    let users = site.scim.resources("Users").await;
    let ada = users.iter().find(|user| user["userName"] == "ada@alpha.example").expect("she is there");
    assert_eq!(ada["externalId"], json!(null), "{ada}");

    site.lose_engine();
    site.people("");
    assert_eq!(site.held().await, [set(&["1", "3"]), set(&["ada", "eve"])], "Bob was made by rules");
    assert_eq!(site.kept(), 2, "Ada was not");
}
