//! The gateway as a process: it starts, answers, keeps its audit chain over restarts, and refuses a foreign key ring.

use crate::support::gateway::Gateway;
use crate::support::slapd::Slapd;

#[tokio::test]
async fn a_new_installation_serves_discovery_and_keeps_an_unbroken_audit_chain() {
    let slapd = Slapd::builder().start();
    let mut gateway = Gateway::builder().slapd("corp", &slapd, &["ldap.example"], "").start();
    let http = gateway.http();
    let metadata: serde_json::Value = http
        .get(format!("{}/.well-known/openid-configuration", gateway.url()))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("metadata");
    assert_eq!(metadata["issuer"], gateway.url());
    let ready = http.get(format!("{}/readyz", gateway.url())).send().await.expect("an answer");
    assert_eq!(ready.status(), 200);
    gateway.stop();
    gateway.start_again();
    gateway.kill();
    gateway.start_again();
    let kinds: Vec<String> =
        gateway.audit(20).iter().map(|record| record["kind"].as_str().unwrap_or_default().to_owned()).collect();
    let kinds: Vec<&String> = kinds.iter().filter(|kind| ["started", "stopped"].contains(&kind.as_str())).collect();
    assert_eq!(kinds, ["started", "stopped", "started", "started"]);
    let verified = gateway.cli(&["audit", "verify"]);
    assert_eq!(verified["breaks"], serde_json::json!([]));
}

#[test]
fn a_gateway_does_not_start_on_the_store_of_another_key_ring() {
    let slapd = Slapd::builder().start();
    let mut gateway = Gateway::builder().slapd("corp", &slapd, &["ldap.example"], "").start();
    gateway.stop();
    std::fs::remove_file(gateway.folder().join("key-ring")).expect("a key ring");
    let refused = gateway.cli_refused(&["init"]);
    let text = refused["message"].as_str().unwrap_or_default().to_owned();
    assert!(text.contains("the store was initialised with a key ring that is not at"), "{text}");
    assert!(!gateway.folder().join("key-ring").exists(), "no other ring was made");
    std::fs::write(gateway.folder().join("landbridge-other.toml"), other_store(&gateway)).expect("settings");
    let other = std::process::Command::new(env!("CARGO_BIN_EXE_landbridge"))
        .arg("--config")
        .arg(gateway.folder().join("landbridge-other.toml"))
        .arg("init")
        .status();
    assert!(other.expect("the command runs").success(), "another store makes another ring");
    let refused = gateway.cli_refused(&["init"]);
    let text = refused["message"].as_str().unwrap_or_default().to_owned();
    assert!(text.contains("the key ring does not belong to this store"), "{text}");
}

/// The same settings, with the store in another folder and the key ring in the same place.
fn other_store(gateway: &Gateway) -> String {
    let settings = std::fs::read_to_string(gateway.settings_file()).expect("settings");
    settings.replace("sqlite:data", "sqlite:other-data")
}
