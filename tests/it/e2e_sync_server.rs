//! Two processes: a gateway whose engine rests, and a sync server beside slapd that brings it its people.

use std::time::Duration;

use serde_json::Value;

use crate::support::directory::{ALPHA, Directory, People};
use crate::support::gateway::Gateway;
use crate::support::ports::free_port;
use crate::support::process::Signal;
use crate::support::slapd::Slapd;
use crate::support::sync_server::SyncServer;
use crate::support::wait::wait_until;

const PEOPLE: usize = 50;
/// Well beyond the lease of the test.
const TAKEN_OVER: Duration = Duration::from_secs(120);

fn users(gateway: &Gateway) -> Vec<Value> {
    let users = gateway.cli(&["user", "list"]);
    users.as_array().expect("users").iter().filter(|user| user["source_anchor"].is_string()).cloned().collect()
}

/// Runs a cycle that completes; what it exported.
#[track_caller]
fn cycle(server: &SyncServer, args: &[&str]) -> i64 {
    let answer = server.cli(&[&["sync", "run"], args].concat());
    assert_eq!(answer["run"]["outcome"], "completed", "{answer:#}\n{}", server.log());
    let steps = answer["steps"].as_array().expect("steps");
    let exports = steps.iter().filter(|step| step["kind"] == "export");
    exports.flat_map(|step| step["counters"].as_object().expect("counters").values()).filter_map(Value::as_i64).sum()
}

/// People whose names are all in one domain.
fn people() -> (Slapd, Directory) {
    let mut directory = People { people: PEOPLE, groups: 5, ..People::default() }.generate();
    for person in &mut directory.people {
        person.upn = format!("{}@{ALPHA}", person.uid);
    }
    (Slapd::builder().directory(&directory).start(), directory)
}

/// A gateway that takes what sync servers bring from `corp`.
fn open(sync_line: &str) -> Gateway {
    let port = free_port();
    let sections = format!(
        "[agents]\nlisten = \"127.0.0.1:{port}\"\nurl = \"https://localhost:{port}\"\n\n\
         [[sync_servers.connectors]]\nname = \"corp\"\ndomains = [\"{ALPHA}\"]\n"
    );
    let gateway = Gateway::builder().section(&sections).sync_line(sync_line).start();
    gateway.cli(&["domain", "add", ALPHA]);
    gateway.cli(&["domain", "verify", ALPHA, "--vouch"]);
    gateway
}

#[test]
fn a_sync_server_brings_people_and_their_changes_to_a_gateway_elsewhere() {
    let (slapd, directory) = people();
    let mut gateway = open("");
    let refused = gateway.cli_refused(&["agents", "token", "--sync-server", "--connector", "hr"]);
    assert!(refused.to_string().contains("hr"), "{refused}");

    let mut server = SyncServer::enrol(&gateway, "corp", &slapd, &[ALPHA]);
    server.start();
    server.cli(&["rules", "activate"]);
    assert!(cycle(&server, &["--profile", "full"]) >= PEOPLE as i64);
    let there = users(&gateway);
    assert_eq!(there.len(), PEOPLE);
    let ada = &directory.people[10];
    assert_eq!(there.iter().filter(|user| user["upn"] == ada.upn.as_str()).count(), 1, "{there:#?}");
    assert_eq!(cycle(&server, &[]), 0, "the second run stages nothing");
    assert_eq!(cycle(&server, &["--profile", "full"]), 0, "and neither does a full one");

    slapd.replace(&ada.dn, "displayName", "Renamed Person");
    slapd.replace(&ada.dn, "cn", "Renamed Person");
    assert_eq!(cycle(&server, &[]), 1);
    assert_eq!(gateway.cli(&["user", "show", &ada.upn])["display_name"], "Renamed Person");
    let status = server.cli(&["sync", "status"]);
    assert_eq!(status["schedule"]["engine_here"], true, "{status:#}");
    let agents = gateway.cli(&["agents", "list"]);
    assert_eq!((&agents[0]["id"], &agents[0]["state"]), (&Value::from(server.id.as_str()), &Value::from("connected")));
    assert_eq!(agents[0]["synchronises"][0], "corp");
    let taken = gateway.audit(200).into_iter().filter(|record| record["kind"] == "engine-lease-taken").count();
    assert!(taken > 0);

    // The gateway is away: a run fails, nothing is lost, and the next one goes on.
    gateway.stop();
    slapd.replace(&ada.dn, "displayName", "Renamed Again");
    slapd.replace(&ada.dn, "cn", "Renamed Again");
    let failed = server.cli_refused(&["sync", "run"]);
    assert!(!failed.is_empty());
    gateway.start_again();
    // Started anew, it takes the lease at once.
    server.end(Signal::Kill);
    server.start();
    cycle(&server, &[]);
    assert_eq!(gateway.cli(&["user", "show", &ada.upn])["display_name"], "Renamed Again");
    assert_eq!(users(&gateway).len(), PEOPLE);

    // Revoked, it changes nothing any more.
    gateway.cli(&["agents", "revoke", &server.id]);
    slapd.replace(&ada.dn, "displayName", "Too Late");
    slapd.replace(&ada.dn, "cn", "Too Late");
    let out = server.cli_refused(&["sync", "run"]);
    assert!(!out.is_empty());
    assert_eq!(gateway.cli(&["user", "show", &ada.upn])["display_name"], "Renamed Again");
}

/// One of two servers is stopped as a machine is that hangs, and continued after the other has taken over.
#[test]
fn a_frozen_sync_server_is_replaced_and_writes_nothing_when_it_comes_back() {
    let (slapd, directory) = people();
    let gateway = open("lease = \"20s\"");
    let mut first = SyncServer::enrol(&gateway, "corp", &slapd, &[ALPHA]);
    let mut second = SyncServer::enrol(&gateway, "corp", &slapd, &[ALPHA]);
    first.start();
    second.start();
    for server in [&first, &second] {
        server.cli(&["rules", "activate"]);
    }
    assert!(cycle(&first, &["--profile", "full"]) >= PEOPLE as i64);
    assert!(second.cli_refused(&["sync", "run"]).contains("lease"), "{}", second.log());

    first.signal(Signal::Stop);
    let here = |server: &SyncServer| server.cli(&["sync", "status"])["schedule"]["engine_here"] == true;
    wait_until("the second server to take over", TAKEN_OVER, || here(&second).then_some(()));
    let ada = &directory.people[10];
    slapd.replace(&ada.dn, "displayName", "Renamed Person");
    slapd.replace(&ada.dn, "cn", "Renamed Person");
    // It knows nothing of what the first one sent, and sends it again: that changes and doubles nothing.
    assert!(cycle(&second, &["--profile", "full"]) > 0);
    assert_eq!(cycle(&second, &[]), 0);
    assert_eq!(users(&gateway).len(), PEOPLE);
    assert_eq!(gateway.cli(&["user", "show", &ada.upn])["display_name"], "Renamed Person");

    first.signal(Signal::Continue);
    assert!(first.cli_refused(&["sync", "run"]).contains("lease"), "{}", first.log());
    assert_eq!(users(&gateway).len(), PEOPLE);
    assert!(here(&second));
}
