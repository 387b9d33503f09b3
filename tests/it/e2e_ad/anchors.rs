//! Source anchors kept in `mS-DS-ConsistencyGuid`: written back by the gateway, and what people are found by when everything
//! else about them is new.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::site::{RIGHTS, password};
use crate::support::gateway::Gateway;
use crate::support::samba::{CORP, Samba};

const PEOPLE: usize = 4;

/// `oid` and source anchor by user principal name.
fn people(gateway: &Gateway) -> BTreeMap<String, (String, String)> {
    let listed = gateway.cli(&["user", "list", "--domain", CORP.realm]);
    let text = |user: &Value, key: &str| user[key].as_str().unwrap_or_default().to_owned();
    let users = listed.as_array().expect("users").iter();
    users.map(|user| (text(user, "upn"), (text(user, "oid"), text(user, "source_anchor")))).collect()
}

#[track_caller]
fn run(gateway: &Gateway) {
    let answer = gateway.cli(&["sync", "run", "--profile", "full"]);
    assert_eq!(answer["run"]["outcome"], "completed", "{answer:#}");
}

#[test]
fn anchors_are_written_back_and_people_keep_their_identity_without_the_engine() {
    let samba = Samba::start(CORP, &RIGHTS);
    samba.add_users("user", &(0..PEOPLE).map(password).collect::<Vec<_>>());
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rules-options/anchor-in-consistency-guid.toml");
    let export = "[connectors.export]\nattributes = [\"mS-DS-ConsistencyGuid\"]";
    let mut gateway = Gateway::builder().samba("corp", &samba).connector_lines(export).rules(&rules).start();
    // The rights to write are granted as `ad check` says.
    let (reports, sound) = gateway.cli_told(&["ad", "check"]);
    assert!(!sound, "{reports:#}");
    let findings = reports[0]["findings"].as_array().expect("findings").iter();
    let commands = findings.flat_map(|finding| finding["commands"].as_array().into_iter().flatten());
    samba.as_administrator(&commands.filter_map(Value::as_str).collect::<Vec<_>>().join("\n"));

    gateway.cli(&["domain", "add", CORP.realm]);
    gateway.cli(&["domain", "verify", CORP.realm, "--vouch"]);
    gateway.cli(&["rules", "activate"]);
    // An anchor is in the directory before its owner is in the tenant.
    for _ in 0..3 {
        run(&gateway);
    }
    let before = people(&gateway);
    for user in 0..PEOPLE {
        let held = samba.attribute(&format!("user{user}"), "mS-DS-ConsistencyGuid");
        assert_eq!(held.as_deref(), Some(before[&format!("user{user}@{}", CORP.realm)].1.as_str()), "user{user}");
        assert_eq!(held, samba.attribute(&format!("user{user}"), "objectGUID"), "user{user}");
    }

    gateway.stop();
    for entry in std::fs::read_dir(gateway.folder().join("data")).expect("the store's folder") {
        let file = entry.expect("a file").path();
        if file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("engine.db")) {
            std::fs::remove_file(file).expect("it goes");
        }
    }
    gateway.start_again();
    for _ in 0..2 {
        run(&gateway);
    }
    assert_eq!(people(&gateway), before);
}
