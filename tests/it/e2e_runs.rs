//! Runs and connectors in the hands of an operator: queued, cancelled, suspended, remembered, removed.

use std::time::Duration;

use serde_json::Value;

use crate::support::directory::{ALPHA, BETA, People};
use crate::support::gateway::Gateway;
use crate::support::slapd::Slapd;
use crate::support::wait::wait_until;

const PEOPLE: usize = 12;

fn open() -> (Slapd, Gateway) {
    let mut directory = People { people: PEOPLE, groups: 2, ..People::default() }.generate();
    for person in &mut directory.people {
        person.upn = format!("{}@{ALPHA}", person.uid);
    }
    let slapd = Slapd::builder().directory(&directory).start();
    let gateway = Gateway::builder().slapd("corp", &slapd, &[ALPHA, BETA], "").start();
    gateway.cli(&["domain", "add", ALPHA]);
    gateway.cli(&["domain", "verify", ALPHA, "--vouch"]);
    gateway.cli(&["rules", "activate"]);
    (slapd, gateway)
}

fn runs(gateway: &Gateway) -> Vec<(i64, String)> {
    let told = gateway.cli(&["sync", "runs"]);
    let run = |run: &Value| {
        let outcome = run["run"]["outcome"].as_str().expect("an outcome").to_owned();
        (run["run"]["number"].as_i64().expect("a number"), outcome)
    };
    told.as_array().expect("runs").iter().map(run).collect()
}

fn names(gateway: &Gateway) -> Vec<String> {
    let users = gateway.cli(&["user", "list"]);
    users.as_array().expect("users").iter().map(|user| user["upn"].as_str().expect("a upn").to_owned()).collect()
}

#[test]
fn runs_are_queued_cancelled_suspended_and_remembered() {
    let (slapd, mut gateway) = open();
    slapd.freeze();
    let begun = gateway.cli(&["sync", "run", "--no-wait"]);
    assert_eq!((&begun["admission"], &begun["run"]), (&"begun".into(), &Value::Null));
    let activity = |gateway: &Gateway| gateway.cli(&["sync", "status"])["schedule"]["activity"].clone();
    wait_until("the import to begin", Duration::from_secs(10), || {
        (activity(&gateway)["running"]["progress"]["step"] == "full-import").then_some(())
    });
    let queued = gateway.cli(&["sync", "run", "--profile", "initial", "--no-wait"]);
    assert_eq!(queued["admission"]["queued"]["behind"], 1, "{queued}");
    assert_eq!(activity(&gateway)["waiting"], serde_json::json!(["full"]));
    let cancelled = gateway.cli(&["sync", "cancel"]);
    assert_eq!(cancelled["cancelled_by"], "tester", "{cancelled}");
    slapd.thaw();
    wait_until("both to end", Duration::from_secs(60), || {
        (runs(&gateway) == [(2, "completed".to_owned()), (1, "cancelled".to_owned())]).then_some(())
    });
    assert_eq!(names(&gateway).len(), PEOPLE);
    let first = gateway.cli(&["sync", "runs", "--run", "1"]);
    assert_eq!((&first[0]["run"]["by"], &first[0]["run"]["detail"]), (&"tester".into(), &"by tester".into()));
    gateway.cli_refused(&["sync", "runs", "--run", "99"]);
    gateway.cli_refused(&["sync", "cancel"]);
    gateway.cli_refused(&["sync", "run", "--profile", "nonsense"]);

    gateway.cli_refused(&["sync", "resume"]);
    let suspended = gateway.cli(&["sync", "suspend", "--reason", "the auditors are here"]);
    assert_eq!(suspended["suspension"]["by"], "tester", "{suspended}");
    gateway.stop();
    gateway.start_again();
    let refused = gateway.cli_refused(&["sync", "run"]);
    assert!(refused.to_string().contains("suspended"), "{refused}");
    let status = gateway.cli(&["sync", "status"]);
    assert_eq!(status["schedule"]["suspension"]["reason"], "the auditors are here");
    gateway.cli(&["sync", "run", "--anyway"]);
    gateway.cli(&["sync", "resume"]);
    gateway.cli(&["sync", "run"]);
    gateway.cli_refused(&["sync", "suspend", "--until", "2020-01-01T00:00:00Z"]);
}

#[test]
fn a_connector_that_left_the_settings_keeps_its_people_until_it_is_removed() {
    let (_slapd, mut gateway) = open();
    gateway.cli(&["sync", "run", "--profile", "full"]);
    let before = names(&gateway);
    assert_eq!(before.iter().filter(|name| name.ends_with(ALPHA)).count(), PEOPLE);
    let refused = gateway.cli_refused(&["connector", "remove", "corp", "--yes", "--even-if-held"]);
    assert!(refused.to_string().contains("take it out"), "{refused}");
    gateway.reconfigure(|text| text.split("[[connectors]]").next().expect("a beginning").to_owned());
    gateway.cli(&["sync", "run", "--profile", "full"]);
    assert_eq!(names(&gateway), before, "nobody's name depends on the settings");
    let status = gateway.cli(&["sync", "status"]);
    let corp = status["connectors"].as_array().expect("connectors").iter().find(|c| c["connector"] == "corp");
    assert_eq!(corp.expect("it is told")["missing"], true);

    let preview = gateway.cli(&["connector", "remove", "corp", "--preview"]);
    assert_eq!((&preview["leaving"]["user"], &preview["configured"]), (&PEOPLE.into(), &false.into()), "{preview:#}");
    let refused = gateway.cli_refused(&["connector", "remove", "corp", "--yes"]);
    assert!(refused.to_string().contains("delete:user"), "{refused}");
    let removed = gateway.cli(&["connector", "remove", "corp", "--yes", "--even-if-held"]);
    assert_eq!(removed["run"]["outcome"], "completed", "{removed:#}");
    assert_eq!(names(&gateway), before, "the guard stands before what follows");
    gateway.cli(&["sync", "run"]);
    let holds = gateway.cli(&["guard", "show"]);
    for hold in holds.as_array().expect("holds") {
        let digest = hold["digest"].as_str().expect("a digest");
        gateway.cli(&["guard", "release", "tenant", "--digest", digest]);
    }
    gateway.cli(&["sync", "run"]);
    assert_eq!(names(&gateway), Vec::<String>::new());
    gateway.cli_refused(&["connector", "remove", "corp", "--preview"]);
}
