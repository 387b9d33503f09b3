//! `landbridge ad check`: what an account lacks, what it has too much, and the commands that mend it.

use serde_json::Value;

use crate::support::gateway::{Builder, Gateway};
use crate::support::samba::{CORP, SYNC_ACCOUNT, Samba};

/// A connector that replicates and writes one attribute back.
fn gateway(samba: &Samba) -> Gateway {
    let export = "[connectors.export]\nattributes = [\"mS-DS-ConsistencyGuid\"]";
    Builder::default().samba("corp", samba).connector_lines(export).prepare()
}

/// What was found, and whether all of it is sound.
fn check(gateway: &Gateway) -> (Vec<Value>, bool) {
    let (reports, sound) = gateway.cli_told(&["ad", "check"]);
    let findings = reports[0]["findings"].as_array().expect("findings").clone();
    (findings, sound)
}

/// The texts of findings of a standing, with their remedies and commands.
fn told(findings: &[Value], standing: &str) -> Vec<String> {
    let text = |finding: &Value| {
        let commands = finding["commands"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let parts = [&finding["text"], &finding["remedy"]].into_iter().filter_map(Value::as_str);
        parts.chain(commands).collect::<Vec<_>>().join("\n")
    };
    findings.iter().filter(|finding| finding["standing"] == standing).map(text).collect()
}

#[track_caller]
fn one(texts: &[String], parts: &[&str]) {
    let found: Vec<_> = texts.iter().filter(|text| parts.iter().all(|part| text.contains(part))).collect();
    assert_eq!(found.len(), 1, "{parts:?} in {texts:#?}");
}

#[test]
fn the_check_tells_what_is_missing_and_its_commands_grant_it() {
    let mut samba = Samba::start(CORP, &[]);
    samba.add_users("user", &["Start-0-Pässwörd!".to_owned()]);
    let gateway = gateway(&samba);

    let (findings, sound) = check(&gateway);
    assert!(!sound);
    let missing = told(&findings, "missing");
    one(&missing, &["deleted objects cannot be seen", "ldbmodify", "LCRP"]);
    one(&missing, &["lacks Replicating Directory Changes on", "samba-tool dsacl set", "1131f6aa-"]);
    one(&missing, &["lacks Replicating Directory Changes All on", "samba-tool dsacl set", "1131f6ad-"]);
    one(&missing, &["may not replicate passwords", "grant CORP\\svc-sync both rights"]);
    one(
        &missing,
        &["may not write mS-DS-ConsistencyGuid", "samba-tool dsacl set", "23773dc2-b63a-11d2-90e1-00c04fd91ab1"],
    );
    assert_eq!(missing.len(), 5, "{missing:#?}");

    // The commands, as an administrator on the controller runs them.
    let commands = findings.iter().flat_map(|finding| finding["commands"].as_array().into_iter().flatten());
    let commands: Vec<_> = commands.filter_map(Value::as_str).collect();
    samba.as_administrator(&commands.join("\n"));
    let (findings, sound) = check(&gateway);
    assert!(sound, "{findings:#?}");
    assert_eq!(told(&findings, "warning"), Vec::<String>::new());
    one(&told(&findings, "good"), &["own hash was read"]);

    samba.join_group("Domain Admins", SYNC_ACCOUNT);
    let (findings, sound) = check(&gateway);
    let warnings = told(&findings, "warning");
    assert!(sound, "{findings:#?}");
    one(&warnings, &["a member of Domain Admins"]);
    one(&warnings, &["that nothing is configured to write"]);
    samba.stop();
}

#[test]
fn the_check_tells_wrong_passwords_closed_ports_and_directories_without_hashes() {
    let mut samba =
        Samba::start_with(CORP, &["get-changes", "get-changes-all", "deleted-objects"], "nt hash store = never");
    let gateway = Builder::default().samba("corp", &samba).prepare();
    one(&told(&check(&gateway).0, "missing"), &["the sign-in of CORP\\svc-sync was refused", "nt hash store = never"]);

    let secret = gateway.folder().join("corp.secret");
    std::fs::write(&secret, "Not-the-password-1!").expect("a secret");
    let (findings, sound) = check(&gateway);
    assert!(!sound);
    one(&told(&findings, "missing"), &["the name or the password is wrong", "bind_password_file"]);

    samba.stop();
    let (findings, sound) = check(&gateway);
    assert!(!sound);
    one(&told(&findings, "missing"), &["no connection to", "open TCP 636"]);
}
