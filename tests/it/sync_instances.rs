//! A staging instance beside the active engine: real processes, a real slapd, the command line.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, binary};
use crate::support::process::output;
use crate::support::slapd::Slapd;

const DOMAIN: &str = "alpha.test";

/// Rules of the staging instance besides the shipped ones.
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

[[rule]]
name = "In from LDAP - Leavers"
direction = "inbound"
connector = "corp"
space_type = "user"
metaverse_type = "user"
link = "join"
precedence = 51
scope = [[{ attribute = "employeeType", operator = "EQUAL", value = "leaver" }]]

[[rule.flow]]
target = "cloudFiltered"
expression = "True"
"#;

struct Site {
    slapd: Slapd,
    gateway: Gateway,
    /// The rule folder of the staging instance.
    rules: tempfile::TempDir,
}

fn person(uid: &str, more: &str) -> String {
    format!(
        "dn: uid={uid},ou=people,dc=ldap,dc=example\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: {uid}\n\
         mail: {uid}@{DOMAIN}\n{more}\n"
    )
}

fn shipped_rules() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rules");
    std::fs::read_dir(folder).expect("the shipped rules").map(|entry| entry.expect("a file").path()).collect()
}

impl Site {
    fn open(store: Option<&str>) -> Self {
        let ldif = [
            person("ada", "title: Analyst\nemployeeType: contractor\n"),
            person("bob", "title: Clerk\n"),
            person("eve", "employeeType: leaver\n"),
            "dn: cn=staff,ou=groups,dc=ldap,dc=example\nobjectClass: groupOfNames\ncn: staff\n\
             member: uid=ada,ou=people,dc=ldap,dc=example\nmember: uid=eve,ou=people,dc=ldap,dc=example\n"
                .to_owned(),
        ]
        .join("\n");
        let slapd = Slapd::builder().ldif(&ldif).start();
        let rules = tempfile::tempdir().expect("a folder");
        for file in shipped_rules() {
            std::fs::copy(&file, rules.path().join(file.file_name().expect("a name"))).expect("a rule file");
        }
        std::fs::write(rules.path().join("050-own.toml"), OWN_RULES).expect("a rule file");
        let instance = format!("[[sync.instance]]\nname = \"next\"\nrules = \"{}\"\n", rules.path().display());
        let mut builder = Gateway::builder().slapd("corp", &slapd, &[DOMAIN], "").section(&instance);
        if let Some(store) = store {
            builder = builder.store(store);
        }
        let gateway = builder.start();
        gateway.cli(&["domain", "add", DOMAIN]);
        gateway.cli(&["domain", "verify", DOMAIN, "--vouch"]);
        gateway.cli(&["rules", "activate"]);
        Self { slapd, gateway, rules }
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Value {
        let answer = self.gateway.cli(&[&["sync", "run"], args].concat());
        assert_eq!(answer["run"]["outcome"], "completed", "{answer:#}");
        answer
    }

    /// What people see.
    fn text(&self, args: &[&str]) -> String {
        let mut command = std::process::Command::new(binary());
        let output = output(command.arg("--config").arg(self.gateway.settings_file()).args(args));
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn tenant(&self, diff: &Value) -> Value {
        let targets = diff["targets"].as_array().expect("targets");
        targets.iter().find(|target| target["target"] == "tenant").expect("the tenant").clone()
    }
}

/// The differing object that people call `label`.
#[track_caller]
fn object<'a>(target: &'a Value, label: &str) -> &'a Value {
    let objects = target["objects"].as_array().expect("objects");
    let found = objects.iter().find(|object| object["object"]["label"] == label);
    found.unwrap_or_else(|| panic!("no {label}: {target:#}"))
}

fn beside_an_active_one(site: &Site) {
    site.run(&["--profile", "full"]);
    let refused = site.gateway.cli_refused(&["sync", "diff", "other"]);
    assert_eq!(refused["kind"], "not-found", "{refused:#}");
    let users = site.gateway.cli(&["user", "list"]);
    assert_eq!(users.as_array().map(Vec::len), Some(3));

    let staged = site.run(&["--instance", "next"]);
    assert_eq!(staged["run"]["profile"], "compare");
    let kinds: Vec<&str> =
        staged["steps"].as_array().expect("steps").iter().filter_map(|step| step["kind"].as_str()).collect();
    assert!(!kinds.contains(&"export"), "{staged:#}");

    let diff = site.gateway.cli(&["sync", "diff", "next"]);
    assert_eq!(diff["instance"], "next");
    assert_eq!((&diff["active"]["outcome"], &diff["staging"]["outcome"]), (&json!("completed"), &json!("completed")));
    let tenant = site.tenant(&diff);
    let counts = ["alike", "differing", "only_active", "only_staging"].map(|name| tenant[name].as_u64());
    assert_eq!(counts, [Some(1), Some(2), Some(1), Some(0)], "{tenant:#}");
    let ada = object(&tenant, &format!("ada@{DOMAIN}"));
    assert_eq!(
        ada["attributes"],
        json!([{ "attribute": "title", "active": ["Analyst"], "staging": ["Contractor"] }]),
        "{ada:#}"
    );
    let eve = object(&tenant, &format!("eve@{DOMAIN}"));
    assert_eq!(eve["difference"], "only-active", "{eve:#}");
    let staff = object(&tenant, "staff");
    assert_eq!(staff["links"][0]["attribute"], "member");
    assert_eq!(staff["links"][0]["only_active"].as_array().map(Vec::len), Some(1), "{staff:#}");
    assert_eq!(staff["links"][0]["only_staging"], json!([]));

    let text = site.text(&["sync", "diff"]);
    for part in ["tenant: 1 alike, 2 differ, 1 in the active instance alone", "\"Contractor\"", "not kept by next"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let one = site.gateway.cli(&["sync", "diff", "next", "--limit", "1"]);
    assert_eq!(site.tenant(&one)["objects"].as_array().map(Vec::len), Some(1));
    assert_eq!(site.tenant(&one)["differing"], 2, "all are counted");

    let why = site.gateway.cli(&["sync", "explain", "title", &format!("ada@{DOMAIN}"), "--instance", "next"]);
    assert_eq!(why["present"]["rule"], "In from LDAP - Titles of contractors", "{why:#}");
    let why = site.gateway.cli(&["sync", "explain", "title", &format!("ada@{DOMAIN}")]);
    assert_eq!(why["present"]["values"], json!(["Analyst"]), "the active one is another");
}

#[test]
fn a_staging_instance_exports_nothing_and_tells_what_it_would_make_of_the_tenant() {
    let site = Site::open(None);
    beside_an_active_one(&site);

    // No profile makes it export; the tenant stays what the active one made of it.
    let answer = site.gateway.cli(&["sync", "run", "--instance", "next", "--profile", "full"]);
    let steps = answer["steps"].as_array().expect("steps");
    let exports: Vec<&Value> = steps.iter().filter(|step| step["kind"] == "export").collect();
    assert!(!exports.is_empty() && exports.iter().all(|step| step["outcome"] == "deferred"), "{answer:#}");
    let status = site.gateway.cli(&["sync", "status", "--instance", "next"]);
    assert_eq!(status["schedule"]["staging"], true);
    let ada = site.gateway.cli(&["user", "show", &format!("ada@{DOMAIN}")]);
    assert!(ada.to_string().contains("Analyst") && !ada.to_string().contains("Contractor"), "{ada:#}");

    // What the directory tells both is no difference; other rules of the instance are taken by its next run.
    site.slapd.replace("uid=bob,ou=people,dc=ldap,dc=example", "title", "Chief");
    site.run(&[]);
    site.run(&["--instance", "next"]);
    let tenant = site.tenant(&site.gateway.cli(&["sync", "diff"]));
    assert_eq!(tenant["alike"], 1, "{tenant:#}");
    std::fs::remove_file(site.rules.path().join("050-own.toml")).expect("its own rules go");
    let answer = site.run(&["--instance", "next"]);
    assert!(answer["steps"].as_array().expect("steps").iter().any(|step| step["kind"] == "full-sync"), "{answer:#}");
    let tenant = site.tenant(&site.gateway.cli(&["sync", "diff"]));
    assert_eq!((&tenant["alike"], &tenant["objects"]), (&json!(4), &json!([])), "the rules are the same: {tenant:#}");

    for args in [["sync", "provision", "corp:x"].as_slice(), &["sync", "suspend"]] {
        let refused = site.gateway.cli_refused(&[args, &["--instance", "next"]].concat());
        assert_eq!(refused["kind"], "not-found", "{args:?}: {refused:#}");
    }
    let refused = site.gateway.cli_refused(&["sync", "status", "--instance", "nobody"]);
    assert_eq!(refused["kind"], "not-found", "{refused:#}");
    let records = site.gateway.audit(200);
    let ran = records.iter().filter(|record| record["kind"] == "sync.run" && record["detail"]["instance"] == "next");
    assert_eq!(ran.count(), 8, "begun and ended, each: the audit log names the instance");
}

#[test]
fn a_staging_instance_has_tables_of_its_own_on_postgresql_too() {
    let url = crate::support::postgres::Postgres::start().fresh_database();
    let mut site = Site::open(Some(&url));
    beside_an_active_one(&site);
    site.gateway.stop();
    site.gateway.start_again();
    let tenant = site.tenant(&site.gateway.cli(&["sync", "diff"]));
    assert_eq!(tenant["differing"], 2, "it is kept: {tenant:#}");
}

#[test]
fn the_settings_of_instances_are_checked_with_the_file_that_names_them() {
    let site = Site::open(None);
    let file = site.gateway.settings_file();
    let settings = std::fs::read_to_string(&file).expect("the settings");
    let own = file.with_file_name("next.toml");
    let named = settings.replace("name = \"next\"\n", "name = \"next\"\nsettings = \"next.toml\"\n");
    std::fs::write(&file, &named).expect("the settings");
    let check = || {
        let mut command = std::process::Command::new(binary());
        command.arg("--config").arg(&file).arg("check-config").output().expect("it runs")
    };
    let error = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let missing = check();
    assert!(!missing.status.success() && error(&missing).contains("next.toml"), "{}", error(&missing));
    std::fs::write(&own, settings.replace("bases = [", "baases = [")).expect("its settings");
    let wrong = check();
    let told = error(&wrong);
    assert!(!wrong.status.success() && told.contains("next.toml:") && told.contains("baases"), "{told}");
    std::fs::write(&own, &settings).expect("its settings");
    let right = check();
    assert!(right.status.success(), "{}", error(&right));
    for (from, to, key) in [
        ("name = \"next\"\n", "name = \"../next\"\n", "sync.instance[0].name"),
        ("[[sync.instance]]", "[[sync.instance]]\nname = \"bare\"\n[[sync.instance]]", "sync.instance[0].name"),
    ] {
        std::fs::write(&file, settings.replacen(from, to, 1)).expect("the settings");
        let told = error(&check());
        assert!(told.contains(key), "{to}: {told}");
    }
}
