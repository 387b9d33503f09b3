//! PostgreSQL itself is restarted, and killed, while people sign in and the engine works. No hand helps.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::site::{Load, Plan, holds_lease};
use crate::support::postgres::{End, Postgres};
use crate::support::wait::{wait_until, wait_until_async};

const CROWD: usize = 4;
const PATIENCE: Duration = Duration::from_secs(40);
/// How long the database is gone.
const GONE: Duration = Duration::from_secs(2);

async fn some_more(load: &Load, what: &str) {
    let so_far = load.signed();
    wait_until_async(what, PATIENCE, async || (load.signed() >= so_far + 2 * CROWD).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_ins_outlive_a_restart_and_a_kill_of_the_database() {
    let mut postgres = tokio::task::block_in_place(Postgres::alone);
    let store = postgres.fresh_database();
    let site =
        tokio::task::block_in_place(|| Plan { store: &store, sections: "", sync: "", directory_locks_after: 0 }.open());
    let crowd = (0..CROWD).map(|index| site.people[10 + index].clone()).collect();
    let load = Load::start(crowd, &[site.visitor.clone(), site.keeping_connections()]);
    some_more(&load, "sign-ins").await;
    for how in [End::Fast, End::Immediate] {
        let operator = site.nodes.iter().find(|node| holds_lease(node)).expect("a holder of the engine").operator();
        let run = std::thread::spawn(move || operator.run(&["sync", "run", "--profile", "full"]));
        tokio::time::sleep(Duration::from_millis(100)).await;
        let failed = load.failed();
        tokio::task::block_in_place(|| postgres.end(how));
        tokio::time::sleep(GONE).await;
        tokio::task::block_in_place(|| postgres.start_again());
        let back = Instant::now();
        some_more(&load, "sign-ins after the database is back").await;
        println!(
            "{how:?}: {} sign-ins were told that there is no answer; the next ones ended {} ms after the return",
            load.failed() - failed,
            back.elapsed().as_millis()
        );
        run.join().expect("the operator does not panic");
        wait_until("a node to hold the engine", PATIENCE, || site.nodes.iter().any(holds_lease).then_some(()));
        for index in [0, 1] {
            wait_until_async("the node to be ready", PATIENCE, async || site.balancer.is_ready(index).then_some(()))
                .await;
        }
    }
    let log = load.stop().await;
    println!("{} sign-ins, {} without an answer", log.signed.len(), log.failed.len());
    for (_, told) in &log.failed {
        assert!(is_clean(told), "a sign-in that fails says so: {told}");
    }

    // The engine works again by itself, at whichever node.
    let engine = site.nodes.iter().find(|node| holds_lease(node)).expect("a holder of the engine");
    let ran = engine.cli(&["sync", "run", "--profile", "full"]);
    assert_eq!(ran["run"]["outcome"], "completed", "{ran:#}");
    engine.cli(&["password-sync", "run"]);
    site.audit_holds();

    // Nothing that was answered is lost, and nothing is doubled: a session for each, recorded once as a success.
    let mut recorded: BTreeMap<String, usize> = BTreeMap::new();
    let told = "SELECT record FROM audit WHERE kind = 'sign-in' AND outcome = 'success'";
    for record in postgres.query(&store, told).lines() {
        let record: serde_json::Value = serde_json::from_str(record).expect("a record");
        *recorded.entry(record["detail"]["sid"].as_str().expect("a session").to_owned()).or_default() += 1;
    }
    assert!(recorded.values().all(|times| *times == 1), "no session is recorded twice");
    let kept: std::collections::BTreeSet<String> =
        postgres.query(&store, "SELECT sid FROM session").lines().map(str::to_owned).collect();
    assert_eq!(kept, recorded.keys().cloned().collect(), "sessions and their records go together");
    for (index, (_, mut signed, tokens)) in log.signed.into_iter().enumerate() {
        assert!(recorded.contains_key(&tokens.sid), "the session {} is there", tokens.sid);
        if index % 8 == 0 {
            assert!(site.visitor.userinfo_answers(&tokens.access).await, "the access token of {} is good", tokens.sid);
            assert!(site.visitor.is_still_signed_in(&mut signed).await, "the session of {} lives", tokens.sid);
        }
    }
    let twice =
        "SELECT COUNT(*) FROM (SELECT code_hash FROM authorization_code GROUP BY code_hash HAVING COUNT(*) > 1) d";
    assert_eq!(postgres.query(&store, twice), "0");
    // Tries that nobody will settle are given back: the counters hold nobody for long.
    assert_eq!(
        postgres.query(&store, "SELECT COUNT(*) FROM lockout WHERE failed > 0"),
        "0",
        "no outage is a wrong password"
    );
}

/// Whether somebody is told to try again, or their connection ended.
fn is_clean(told: &str) -> bool {
    told.contains("TryAgain")
        || told.contains("status: 503")
        || told.contains("the code is refused")
        || told.contains("reqwest::Error")
}
