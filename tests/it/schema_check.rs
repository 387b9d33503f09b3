//! `landbridge connector check`: what real servers know of what settings and rules name.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::ds389::{self, Ds389};
use crate::support::process::{make_private, output, run};
use crate::support::slapd::{self, Slapd};

/// A server as settings name it.
struct Server {
    dialect: &'static str,
    suffix: &'static str,
    url: String,
    ca_file: String,
    bind_dn: String,
    password: &'static str,
}

/// A folder with the settings of a sync server, which need no gateway.
struct Settings {
    dir: tempfile::TempDir,
}

const OWN_RULE: &str = r#"
[[rule]]
name = "In from LDAP - Own"
direction = "inbound"
connector_kind = "ldap"
space_type = "user"
metaverse_type = "user"
link = "join"
precedence = 90

[[rule.flow]]
target = "department"
direct = "departmentNumbr"
first = true

[[rule.flow]]
target = "manager"
reference = "roomNumber"

[[rule.flow]]
target = "info"
direct = "seeAlso"
first = true
"#;

impl Settings {
    /// `source` and `target` are further lines of the two connectors.
    fn new(server: &Server, source: &str, target: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let secret = dir.path().join("bind.secret");
        std::fs::write(&secret, server.password).expect("a secret file");
        make_private(&secret);
        let rules = dir.path().join("rules");
        std::fs::create_dir(&rules).expect("a folder");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let example = root.join("docs/connectors/examples/401-ldap-target.toml");
        let shipped = std::fs::read_dir(root.join("config/rules")).expect("the rules");
        for file in shipped.map(|entry| entry.expect("a file").path()).chain([example]) {
            std::fs::copy(&file, rules.join(file.file_name().expect("a file"))).expect("a copy");
        }
        let Server { dialect, suffix, url, ca_file, bind_dn, .. } = server;
        let directory = format!(
            "dialect = \"{dialect}\"\nservers = [\"{url}\"]\nca_file = \"{ca_file}\"\nbind_dn = \"{bind_dn}\"\n\
             bind_password_file = \"bind.secret\"\n"
        );
        let text = format!(
            "[sync_server]\nstate = \"state\"\n\n[store]\nurl = \"sqlite:data\"\nkey_ring = \"key-ring\"\n\n\
             [admin]\nsocket = \"admin.sock\"\nprincipals = [{{ name = \"tester\", uid = {}, role = \"owner\" }}]\n\n\
             [[connectors]]\nname = \"corp\"\n{directory}domains = [\"alpha.example\"]\nbases = [\"{suffix}\"]\n{source}\n\n\
             [[connectors]]\nname = \"pages\"\nkind = \"ldap-target\"\n{directory}bases = [\"ou=people,{suffix}\"]\n\
             placeholder_member = \"cn=nobody,{suffix}\"\n{target}\n",
            run(Command::new("id").arg("-u")).trim(),
        );
        std::fs::write(dir.path().join("sync-server.toml"), text).expect("a settings file");
        Self { dir }
    }

    fn rule_file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("rules").join(name)
    }

    /// Whether everything fits, and what was found of both connectors: "standing text remedy" by connector.
    fn check(&self) -> (bool, Vec<String>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_landbridge"));
        command.arg("--config").arg(self.dir.path().join("sync-server.toml")).args(["--json", "connector", "check"]);
        let output = output(&command);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let reports: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {told}"));
        let mut lines = Vec::new();
        for report in reports.as_array().expect("reports") {
            for finding in report["findings"].as_array().expect("findings") {
                let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
                lines.push(format!(
                    "{}: {} {}",
                    report["connector"].as_str().expect("a name"),
                    text("standing"),
                    text("text")
                ));
            }
        }
        (output.status.success(), lines)
    }
}

const TARGET: &str = "attributes = [\"uid\", \"cn\", \"sn\", \"givenName\", \"mail\"]\n";

fn check_server(server: &Server) {
    let sound = Settings::new(server, "", TARGET);
    let (fits, lines) = sound.check();
    assert!(fits && !lines.iter().any(|line| line.contains("missing")), "{}: {lines:#?}", server.dialect);

    let source = "attributes = [\"emplyeeNumber\"]\nuser_filter = \"(&(objectClass=inetOrgPersn)(!(employeType=robot)))\"\n\
                  group_class = \"groupOfName\"\ndisabled = \"nsAcountLock=TRUE\"\n\
                  export = { attributes = [\"modifyTimestamp\", \"telephonNumber\"] }\n";
    let target = "attributes = [\"uid\", \"cn\", \"sn\", \"mail\", \"uidNumber\"]\nuser_classes = [\"inetOrgPersn\", \"person\"]\n";
    let faulty = Settings::new(server, source, target);
    std::fs::write(faulty.rule_file("090-own.toml"), OWN_RULE).expect("a rule file");
    let example = std::fs::read_to_string(faulty.rule_file("401-ldap-target.toml")).expect("the example");
    let example = example.replace("target = \"sn\"", "target = \"uidNumber\"");
    std::fs::write(faulty.rule_file("401-ldap-target.toml"), example).expect("a rule file");
    let (fits, lines) = faulty.check();
    assert!(!fits, "{}: {lines:#?}", server.dialect);
    let expected = [
        "corp: missing `attributes` names emplyeeNumber, which the server does not know: did you mean `employeeNumber`?",
        "corp: missing `user_filter` names employeType, which the server does not know: did you mean `employeeType`?",
        "corp: missing `user_filter` names the object class inetOrgPersn, which the server does not know: did you mean \
         `inetOrgPerson`?",
        "corp: missing `group_class` names the object class groupOfName, which the server does not know: did you mean \
         `groupOfNames`?",
        "corp: missing `export.attributes` names modifyTimestamp, which the server lets nobody write",
        "corp: missing `export.attributes` names telephonNumber, which the server does not know: did you mean \
         `telephoneNumber`?",
        "corp: warning the test for disabled accounts reads nsAcountLock",
        "corp: warning departmentNumbr is read by \"In from LDAP - Own\", and the server does not know it: did you mean \
         `departmentNumber`?",
        "corp: missing roomNumber is a reference for \"In from LDAP - Own\", and its values are no names of entries",
        "corp: warning seeAlso is read as text by \"In from LDAP - Own\", and its values are names of entries",
        "pages: missing `user_classes` names the object class inetOrgPersn",
        "pages: missing the object classes of `user_classes` require sn, and no rule gives it to a user",
        "pages: missing uidNumber is written by \"Out to pages - User Join\", and none of the object classes of \
         `user_classes` allows it",
    ];
    for expected in expected {
        let found = lines.iter().any(|line| line.starts_with(expected));
        assert!(found, "{}: {expected}\nnot among\n{}", server.dialect, lines.join("\n"));
    }
}

#[test]
fn slapd_is_asked_what_it_knows_of_what_is_named() {
    let slapd = Slapd::builder().start();
    check_server(&Server {
        dialect: "openldap",
        suffix: slapd::SUFFIX,
        url: slapd.ldaps_url(),
        ca_file: slapd.ca_file().display().to_string(),
        bind_dn: slapd.service_dn(),
        password: slapd.service_password(),
    });
}

#[test]
fn the_389_directory_server_is_asked_what_it_knows_of_what_is_named() {
    let server = Ds389::builder().start();
    check_server(&Server {
        dialect: "389ds",
        suffix: ds389::SUFFIX,
        url: format!("ldaps://localhost:{}", server.tls_port()),
        ca_file: server.ca_file().display().to_string(),
        bind_dn: server.service_dn(),
        password: server.service_password(),
    });
}
