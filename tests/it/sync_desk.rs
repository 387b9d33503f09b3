//! Questions about single objects, asked by the command line of a gateway that synchronises a real slapd.

use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::process::output;
use crate::support::slapd::Slapd;

const DOMAIN: &str = "alpha.test";
const ADA: &str = "uid=ada,ou=people,dc=ldap,dc=example";
const CONTRACTORS: &str = "In from LDAP - Titles of contractors";
const COMMON: &str = "In from LDAP - User Common";

/// A rule that is stronger than the shipped ones, for some.
const OWN_RULES: &str = r#"
[[rule]]
name = "In from LDAP - Titles of contractors"
direction = "inbound"
connector = "corp"
space_type = "user"
metaverse_type = "user"
link = "join"
precedence = 50
scope = [[{ attribute = "employeeType", operator = "EQUAL", value = "contractor" }]]

[[rule.flow]]
target = "title"
constant = "Contractor"
"#;

struct Site {
    slapd: Slapd,
    gateway: Gateway,
    _rules: tempfile::TempDir,
}

fn person(uid: &str, cn: &str, more: &str) -> String {
    format!(
        "dn: uid={uid},ou=people,dc=ldap,dc=example\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {cn}\nsn: {cn}\n\
         mail: {uid}@{DOMAIN}\n{more}\n"
    )
}

/// A run that learns what the target holds, and nothing else.
const LOOK: &str = "[[sync.profile]]\nname = \"look\"\nsteps = [\"confirm\"]\n";

impl Site {
    /// Three people and a group; nothing is read yet.
    fn open() -> Self {
        Self::with("")
    }

    /// The same, and more entries.
    fn with(more: &str) -> Self {
        let rules = tempfile::tempdir().expect("a folder");
        let own = rules.path().join("050-own.toml");
        std::fs::write(&own, OWN_RULES).expect("a rule file");
        let ldif = [
            person("ada", "Ada Byron", "title: Analyst\nemployeeType: staff\n"),
            person("bob", "Bob Boole", "title: Clerk\n"),
            person("eve", "Eve Cantor", ""),
            format!(
                "dn: cn=staff,ou=groups,dc=ldap,dc=example\nobjectClass: groupOfNames\ncn: staff\nmember: {ADA}\n\
                 member: uid=bob,ou=people,dc=ldap,dc=example\n"
            ),
            more.to_owned(),
        ]
        .join("\n");
        let slapd = Slapd::builder().ldif(&ldif).start();
        let gateway = Gateway::builder().slapd("corp", &slapd, &[DOMAIN], "").rules(&own).section(LOOK).start();
        gateway.cli(&["domain", "add", DOMAIN]);
        gateway.cli(&["domain", "verify", DOMAIN, "--vouch"]);
        gateway.cli(&["rules", "activate"]);
        Self { slapd, gateway, _rules: rules }
    }

    fn synchronised() -> Self {
        let site = Self::open();
        site.run("full");
        site
    }

    #[track_caller]
    fn run(&self, profile: &str) {
        let answer = self.gateway.cli(&["sync", "run", "--profile", profile]);
        assert_eq!(answer["run"]["outcome"], "completed", "{answer:#}");
    }

    fn ada() -> String {
        format!("corp:{ADA}")
    }

    /// What a command told, whether it came to its end or not.
    fn told(&self, args: &[&str]) -> Value {
        let output = output(
            std::process::Command::new(crate::support::gateway::binary())
                .arg("--config")
                .arg(self.gateway.settings_file())
                .arg("--json")
                .args(args),
        );
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{args:?}: {error}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// The error of a command that asks by the socket alone: its settings file may be broken.
    fn told_error(&self, args: &[&str]) -> Value {
        let output = output(
            std::process::Command::new(crate::support::gateway::binary())
                .arg("--socket")
                .arg(self.gateway.folder().join("admin.sock"))
                .arg("--json")
                .args(args),
        );
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        serde_json::from_slice::<Value>(&output.stderr).expect("JSON")["error"].clone()
    }

    /// What people see.
    fn text(&self, args: &[&str]) -> String {
        let output = output(
            std::process::Command::new(crate::support::gateway::binary())
                .arg("--config")
                .arg(self.gateway.settings_file())
                .args(args),
        );
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

/// The entry of a list whose `key` has this value.
#[track_caller]
fn one<'a>(list: &'a Value, key: &str, value: &str) -> &'a Value {
    let entries = list.as_array().unwrap_or_else(|| panic!("a list: {list:#}"));
    entries.iter().find(|entry| entry[key] == value).unwrap_or_else(|| panic!("no {key} {value}: {list:#}"))
}

fn audit_length(site: &Site) -> usize {
    site.gateway.audit(1000).len()
}

#[test]
fn a_preview_of_one_object_tells_rule_by_rule_what_would_happen_and_writes_nothing() {
    let site = Site::synchronised();
    let at_rest = site.gateway.cli(&["sync", "preview", &Site::ada()]);
    let space = &at_rest["spaces"][0];
    assert_eq!(space["object"]["name"], Site::ada());
    let scope = one(&space["rules"], "rule", CONTRACTORS);
    assert_eq!(scope["in_scope"], false);
    let failed = &scope["failed"][0][0];
    assert_eq!(
        (&failed["attribute"], &failed["operator"], &failed["wanted"], &failed["found"]),
        (&json!("employeeType"), &json!("EQUAL"), &json!("contractor"), &json!(["staff"]))
    );
    assert_eq!(space["join"][0]["decision"], "stays-joined");
    let tenant = one(&at_rest["targets"], "target", "tenant");
    assert_eq!((&tenant["decision"], &tenant["change"]), (&json!("linked"), &Value::Null), "{tenant:#}");

    site.slapd.replace(ADA, "employeeType", "contractor");
    site.run("staging");
    let staged = site.gateway.cli(&["sync", "preview", &Site::ada()]);
    let title = one(&staged["metaverse"][0]["attributes"], "attribute", "title");
    assert_eq!(title["after"], json!(["Contractor"]));
    let (winner, loser) = (&title["flows"][0], &title["flows"][1]);
    assert_eq!((&winner["rule"], &winner["fate"]), (&json!(CONTRACTORS), &json!("wins")));
    assert_eq!((&loser["rule"], &loser["fate"]), (&json!(COMMON), &json!("loses")));
    assert_eq!(loser["values"], json!(["Analyst"]), "the loser's value is told: {loser:#}");
    let change = &one(&staged["targets"], "target", "tenant")["change"];
    assert_eq!((&change["operation"], &change["already_staged"]), (&json!("update"), &json!(true)), "{change:#}");
    let of_title: Vec<&Value> = change["attributes"]
        .as_array()
        .expect("changes")
        .iter()
        .filter(|attribute| attribute["to"] == json!(["Contractor"]))
        .collect();
    assert_eq!(of_title.len(), 1, "{change:#}");
    assert_eq!(of_title[0]["from"], json!(["Analyst"]));

    let audit = audit_length(&site);
    let by_name = site.gateway.cli(&["sync", "preview", &format!("ada@{DOMAIN}")]);
    assert_eq!(by_name["targets"], staged["targets"], "a user principal name means the same object");
    let text = site.text(&["sync", "preview", &Site::ada()]);
    for line in ["loses: \"Analyst\"", "wins: \"Contractor\"", "to be changed (staged already)"] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    assert_eq!(audit_length(&site), audit, "a question leaves no record");
}

#[test]
fn an_attribute_is_explained_from_its_source_to_what_the_target_confirmed() {
    let site = Site::synchronised();
    site.slapd.replace(ADA, "employeeType", "contractor");
    site.run("staging");
    let explained = site.gateway.cli(&["sync", "explain", "title", &format!("ada@{DOMAIN}")]);
    assert_eq!(explained["present"]["rule"], CONTRACTORS);
    assert_eq!(explained["present"]["values"], json!(["Contractor"]));
    assert_eq!(explained["present"]["object"]["name"], Site::ada());
    assert_eq!(explained["next"], Value::Null);
    let fates: Vec<(&Value, &Value)> =
        explained["flows"].as_array().expect("flows").iter().map(|flow| (&flow["rule"], &flow["fate"])).collect();
    assert_eq!(fates, [(&json!(CONTRACTORS), &json!("wins")), (&json!(COMMON), &json!("loses"))]);
    let value = &one(&explained["targets"], "target", "tenant")["attributes"][0];
    assert_eq!((&value["confirmed"], &value["sent"]), (&json!(["Analyst"]), &Value::Null), "{value:#}");
    assert_eq!(value["pending"]["values"], json!(["Contractor"]), "{value:#}");

    site.run("delta");
    let explained = site.gateway.cli(&["sync", "explain", "title", &Site::ada()]);
    let value = &one(&explained["targets"], "target", "tenant")["attributes"][0];
    assert_eq!((&value["confirmed"], &value["pending"]), (&json!(["Contractor"]), &Value::Null), "{value:#}");

    let members = site.gateway.cli(&["sync", "explain", "member", "corp:cn=staff,ou=groups,dc=ldap,dc=example"]);
    assert_eq!(members["refers_to"].as_array().expect("links").len(), 2, "{members:#}");
    let references = &one(&members["targets"], "target", "tenant")["references"][0];
    assert_eq!(references["states"], json!({ "confirmed": 2 }), "{members:#}");
    let refused = site.gateway.cli_refused(&["sync", "explain", "noSuchThing", &Site::ada()]);
    assert_eq!(refused["kind"], "not-found", "{refused:#}");
}

#[test]
fn objects_are_found_by_name_attribute_and_state_and_an_ambiguous_name_is_refused_with_what_it_means() {
    let site = Site::synchronised();
    let found = site.gateway.cli(&["sync", "search", &Site::ada()]);
    assert_eq!((&found["mode"], found["hits"].as_array().map(Vec::len)), (&json!("index"), Some(1)), "{found:#}");
    let found = site.gateway.cli(&["sync", "search", "BOOLE"]);
    assert_eq!(found["mode"], "scan");
    let hits: Vec<&str> =
        found["hits"].as_array().expect("hits").iter().filter_map(|hit| hit["object"]["name"].as_str()).collect();
    assert!(hits.contains(&"corp:uid=bob,ou=people,dc=ldap,dc=example"), "{hits:?}");
    assert!(hits.iter().any(|hit| hit.starts_with("mv:")) && hits.iter().any(|hit| hit.starts_with("tenant:")));
    assert!(hits.len() == 3 && found["next"].is_null(), "{found:#}");
    for hit in hits {
        let state = site.gateway.cli(&["sync", "object", hit]);
        assert_eq!(state["spaces"].as_array().map(Vec::len), Some(2), "{hit} leads to all of it: {state:#}");
    }
    let found = site.gateway.cli(&["sync", "search", "--attribute", "title=clerk", "--connector", "corp"]);
    assert_eq!(found["hits"].as_array().map(Vec::len), Some(1), "{found:#}");
    let all = site.gateway.cli(&["sync", "search", "--connector", "corp", "--type", "user"]);
    let mut paged = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut args = vec!["sync", "search", "--connector", "corp", "--type", "user", "--limit", "2"];
        args.extend(after.iter().flat_map(|after| ["--after", after.as_str()]));
        let page = site.gateway.cli(&args);
        paged.extend(page["hits"].as_array().expect("hits").clone());
        after = page["next"].as_str().map(ToOwned::to_owned);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(Value::Array(paged), all["hits"], "pages together are the whole");

    site.slapd.replace(ADA, "employeeType", "contractor");
    site.run("staging");
    let found = site.gateway.cli(&["sync", "search", "--state", "pending-export"]);
    assert_eq!(found["hits"].as_array().map(Vec::len), Some(1), "{found:#}");
    assert_eq!(found["hits"][0]["pending_export"], "update");

    site.slapd.ldapmodify(&format!(
        "dn: uid=eve,ou=people,dc=ldap,dc=example\nchangetype: modify\nreplace: mail\nmail: bob@{DOMAIN}\n"
    ));
    site.run("delta");
    let refused = site.gateway.cli_refused(&["sync", "object", &format!("bob@{DOMAIN}")]);
    assert_eq!(refused["kind"], "refused", "{refused:#}");
    assert_eq!(refused["detail"].as_array().map(Vec::len), Some(2), "both are named: {refused:#}");
    for (object, kind) in [("nowhere:x", "invalid"), ("corp:uid=nobody", "not-found"), ("mv:x", "invalid")] {
        assert_eq!(site.gateway.cli_refused(&["sync", "object", object])["kind"], kind, "{object}");
    }
}

#[test]
fn the_states_of_an_object_are_told_apart() {
    let site = Site::synchronised();
    site.slapd.replace(ADA, "employeeType", "contractor");
    site.run("staging");
    let state = site.gateway.cli(&["sync", "object", &Site::ada()]);
    assert_eq!(state["metaverse"]["attributes"]["title"]["rule"], CONTRACTORS, "{state:#}");
    let corp = one(&state["spaces"], "connector", "corp");
    assert_eq!((&corp["imported"], &corp["staged"]), (&json!("none"), &Value::Null), "{corp:#}");
    assert_eq!(corp["shown"]["employeeType"], json!(["contractor"]));
    assert_eq!(corp["referred_to_by"], 1, "the group: {corp:#}");
    let tenant = one(&state["spaces"], "connector", "tenant");
    assert_eq!(tenant["staged"]["operation"], "update", "{tenant:#}");
    assert_eq!(tenant["sent"], Value::Null, "{tenant:#}");
    let group = site.gateway.cli(&["sync", "object", "corp:cn=staff,ou=groups,dc=ldap,dc=example"]);
    let links = &one(&group["spaces"], "connector", "tenant")["links"][0];
    assert_eq!((&links["attribute"], &links["states"]), (&json!("member"), &json!({ "confirmed": 2 })), "{group:#}");
}

/// The one step of this kind at this connector.
#[track_caller]
fn step<'a>(told: &'a Value, kind: &str, connector: &str) -> &'a Value {
    let steps = told["steps"].as_array().expect("steps");
    let mut found = steps.iter().filter(|step| step["step"] == kind && step["connector"] == connector);
    let first = found.next().unwrap_or_else(|| panic!("no step {kind} at {connector}: {told:#}"));
    assert!(found.next().is_none(), "two steps {kind} at {connector}: {told:#}");
    first
}

#[test]
fn one_object_is_provisioned_before_the_first_cycle_and_the_cycle_goes_on_from_there() {
    let site = Site::open();
    let early = site.gateway.operator().run(&["sync", "provision", &Site::ada()]);
    assert_eq!(early, None, "nobody knows yet what the target holds");
    assert_eq!(site.gateway.cli(&["user", "list"]), json!([]));
    site.run("look");
    let told = site.gateway.cli(&["sync", "provision", &Site::ada()]);
    for (kind, connector) in [
        ("import", "corp"),
        ("synchronise", ""),
        ("synchronise", "tenant"),
        ("export", "tenant"),
        ("confirm", "tenant"),
    ] {
        assert_eq!(step(&told, kind, connector)["end"], "done", "{told:#}");
    }
    assert_eq!(step(&told, "import", "corp")["detail"], "read; nothing changed", "the early try had read her");
    let users = site.gateway.cli(&["user", "list"]);
    assert_eq!(users.as_array().map(Vec::len), Some(1), "nobody else came: {users:#}");
    let oid = users[0]["oid"].clone();

    let group = "corp:cn=staff,ou=groups,dc=ldap,dc=example";
    let told = site.gateway.cli(&["sync", "provision", group]);
    assert_eq!(step(&told, "export", "tenant")["detail"], "1 added, 1 links", "{told:#}");
    let waiting = told["waiting_references"].as_array().expect("references");
    assert_eq!(waiting.len(), 1, "{told:#}");
    assert_eq!(waiting[0]["name"], "corp:uid=bob,ou=people,dc=ldap,dc=example");
    let bob = site.gateway.cli(&["sync", "provision", "corp:uid=bob,ou=people,dc=ldap,dc=example"]);
    assert_eq!(step(&bob, "export", "tenant")["detail"], "1 added, 1 links", "the reference came along: {bob:#}");

    site.run("delta");
    let users = site.gateway.cli(&["user", "list"]);
    assert_eq!(users.as_array().map(Vec::len), Some(3), "{users:#}");
    assert_eq!(one(&users, "upn", &format!("ada@{DOMAIN}"))["oid"], oid, "the same oid");
    let state = site.gateway.cli(&["sync", "object", group]);
    let links = &one(&state["spaces"], "connector", "tenant")["links"][0];
    assert_eq!(links["states"], json!({ "confirmed": 2 }), "{state:#}");
    let records = site.gateway.audit(100);
    let provisioned = records.iter().filter(|record| record["kind"] == "sync.provision");
    assert_eq!(provisioned.count(), 8, "begun and ended, each");
}

#[test]
fn a_change_is_provisioned_on_demand_and_the_next_cycle_finds_nothing_to_do() {
    let site = Site::synchronised();
    site.slapd.replace(ADA, "title", "Countess");
    site.slapd.replace("uid=bob,ou=people,dc=ldap,dc=example", "title", "Other");
    let told = site.gateway.cli(&["sync", "provision", &format!("ada@{DOMAIN}")]);
    assert_eq!(step(&told, "export", "tenant")["detail"], "1 changed", "{told:#}");
    let confirmed = |name: &str| {
        let explained = site.gateway.cli(&["sync", "explain", "title", &format!("{name}@{DOMAIN}")]);
        one(&explained["targets"], "target", "tenant")["attributes"][0]["confirmed"].clone()
    };
    assert_eq!(confirmed("ada"), json!(["Countess"]));
    assert_eq!(confirmed("bob"), json!(["Clerk"]), "nobody else was touched");
    let answer = site.gateway.cli(&["sync", "run"]);
    let export = one(&answer["steps"], "kind", "export");
    assert_eq!(export["counters"]["updates"], 1, "bob's alone: {answer:#}");
    assert_eq!(confirmed("bob"), json!(["Other"]));

    for (object, end) in
        [("corp:uid=nobody,ou=people,dc=ldap,dc=example", "refused"), ("corp:no-such-anchor", "refused")]
    {
        let output = site.told(&["sync", "provision", object]);
        assert_eq!(step(&output, "import", "corp")["end"], end, "{object}");
    }
    let elsewhere = site.told(&["sync", "provision", "corp:cn=default,ou=policies,dc=ldap,dc=example"]);
    assert!(
        step(&elsewhere, "import", "corp")["detail"].as_str().is_some_and(|text| text.contains("no object type")),
        "{elsewhere:#}"
    );
}

#[test]
fn what_the_guard_holds_is_staged_and_not_exported_on_demand_either() {
    let people: Vec<String> = (0..15).map(|n| person(&format!("p{n}"), &format!("Person {n}"), "")).collect();
    let site = Site::with(&people.join("\n"));
    site.run("full");
    for n in 0..7 {
        site.slapd.replace(&format!("uid=p{n},ou=people,dc=ldap,dc=example"), "pwdAccountLockedTime", "000001010000Z");
    }
    let held = site.gateway.cli(&["sync", "run"]);
    assert_eq!(held["run"]["outcome"], "held", "{held:#}");
    site.slapd.ldapmodify(&add(&person("new", "New Person", "")));
    let new = "corp:uid=new,ou=people,dc=ldap,dc=example";
    let told = site.told(&["sync", "provision", new]);
    assert_eq!(step(&told, "export", "tenant")["end"], "held", "{told:#}");
    let preview = site.gateway.cli(&["sync", "preview", new]);
    let tenant = one(&preview["targets"], "target", "tenant");
    assert_eq!(tenant["change"]["operation"], "add", "{tenant:#}");
    assert_eq!(tenant["holds"][0]["kind"], "disable:user", "{tenant:#}");
    assert_eq!(site.gateway.cli(&["user", "list"]).as_array().map(Vec::len), Some(15 + 3));
}

/// The change record that adds an entry.
fn add(entry: &str) -> String {
    let (dn, rest) = entry.split_once('\n').expect("an entry");
    format!("{dn}\nchangetype: add\n{rest}")
}

#[test]
fn a_changed_scope_is_read_into_an_overlay_and_told_before_it_takes_anybody_out() {
    let people: Vec<String> = (0..6).map(|n| person(&format!("p{n}"), &format!("Person {n}"), "")).collect();
    let site = Site::with(&people.join("\n"));
    site.run("full");
    let file = site.gateway.settings_file();
    let settings = std::fs::read_to_string(&file).expect("the settings");
    let excluded = settings.replace(
        "bases = [\"dc=ldap,dc=example\"]",
        "bases = [\"dc=ldap,dc=example\"]\nexcluded = [\"ou=people,dc=ldap,dc=example\"]",
    );
    assert_ne!(settings, excluded);
    std::fs::write(&file, &excluded).expect("the settings");
    let preview = site.gateway.cli(&["sync", "preview", "--settings"]);
    let corp = one(&preview["sources"], "connector", "corp");
    assert_eq!((&corp["obsolete"]["count"], &corp["added"]["count"]), (&json!(9), &json!(0)), "{corp:#}");
    assert!(corp["obsolete"]["names"].as_array().expect("names").iter().any(|named| named["name"] == Site::ada()));
    assert_eq!(corp["holds"][0]["kind"], "obsolete:user", "the guard would hold it: {corp:#}");
    let tenant = one(&preview["preview"]["targets"], "target", "tenant");
    assert_eq!(tenant["figures"]["pending_deletes"], 9, "{tenant:#}");
    assert_eq!(tenant["holds"][0]["kind"], "delete:user", "{tenant:#}");

    std::fs::write(&file, settings.replace("bases = [", "bases = [\"ou=nowhere,dc=ldap,dc=example\", "))
        .expect("settings");
    let preview = site.gateway.cli(&["sync", "preview", "--settings", "--connector", "corp"]);
    let corp = one(&preview["sources"], "connector", "corp");
    assert!(corp["error"].as_str().is_some_and(|error| error.contains("ou=nowhere")), "{corp:#}");
    assert_eq!(corp["obsolete"]["count"], 0, "who cannot be read stays: {corp:#}");
    std::fs::write(&file, "nonsense = true").expect("the settings");
    let refused = site.told_error(&["sync", "preview", "--settings"]);
    assert_eq!(refused["kind"], "invalid", "{refused:#}");
    std::fs::write(&file, settings).expect("the settings");

    let status = site.gateway.cli(&["sync", "status"]);
    for connector in status["connectors"].as_array().expect("connectors") {
        assert_eq!(connector["figures"]["pending_deletes"], 0, "nothing was written: {connector:#}");
    }
    let at_rest = site.gateway.cli(&["sync", "run"]);
    assert_eq!(one(&at_rest["steps"], "kind", "export")["counters"]["deletes"], 0, "{at_rest:#}");
}

#[test]
fn a_preview_that_imports_first_stages_the_import_and_nothing_else() {
    let site = Site::synchronised();
    site.slapd.replace(ADA, "employeeType", "contractor");
    let before = site.gateway.cli(&["sync", "preview", &Site::ada()]);
    assert_eq!(one(&before["targets"], "target", "tenant")["change"], Value::Null, "not read yet: {before:#}");
    let preview = site.gateway.cli(&["sync", "preview", "--import", &Site::ada()]);
    let space = &preview["spaces"][0];
    assert_eq!(space["pending_import"], "update", "{space:#}");
    assert_eq!(one(&space["rules"], "rule", CONTRACTORS)["in_scope"], true, "{space:#}");
    let change = &one(&preview["targets"], "target", "tenant")["change"];
    assert_eq!((&change["operation"], &change["already_staged"]), (&json!("update"), &json!(false)), "{change:#}");
    let state = site.gateway.cli(&["sync", "object", &Site::ada()]);
    assert_eq!(one(&state["spaces"], "connector", "corp")["imported"], "update", "the import stays: {state:#}");
    assert_eq!(one(&state["spaces"], "connector", "tenant")["staged"], Value::Null, "nothing else does: {state:#}");
    assert_eq!(state["metaverse"]["attributes"]["title"]["rule"], COMMON, "{state:#}");
    let explained = site.gateway.cli(&["sync", "explain", "title", &Site::ada()]);
    assert_eq!(explained["present"]["values"], json!(["Analyst"]), "{explained:#}");
    assert_eq!(explained["next"], json!(["Contractor"]), "{explained:#}");
    let found = site.gateway.cli(&["sync", "search", "--state", "pending-import"]);
    assert_eq!(found["hits"][0]["object"]["name"], Site::ada(), "{found:#}");
}
