//! Nodes that stop, die and come back while people sign in and the engine works.

use std::time::{Duration, Instant};

use super::site::{Load, Plan, Site, holds_lease};
use crate::support::directory::line;
use crate::support::postgres::Postgres;
use crate::support::wait::{wait_until, wait_until_async};

/// People who sign in at once.
const CROWD: usize = 4;
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon another node has the engine after the death of the one that had it.
const TAKEOVER: Duration = Duration::from_secs(15);

fn open() -> Site {
    let store = Postgres::start().fresh_database();
    // The lease is as long as it is by default.
    Plan { store: &store, sections: "", sync: "", directory_locks_after: 0 }.open()
}

impl Site {
    /// Half of the crowd opens a connection for each request, the others keep theirs.
    fn crowd(&self) -> Load {
        let people = (0..CROWD).map(|index| self.people[10 + index].clone()).collect();
        let keeping = self.keeping_connections();
        Load::start(people, &[self.visitor.clone(), keeping.clone(), keeping, self.visitor.clone()])
    }
}

/// Waits until the crowd has signed in so many times more.
async fn some_more(load: &Load, what: &str) {
    let so_far = load.signed();
    wait_until_async(what, PATIENCE, async || (load.signed() >= so_far + 2 * CROWD).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_restarted_one_after_another_fail_no_sign_in() {
    let mut site = open();
    let load = site.crowd();
    some_more(&load, "sign-ins").await;
    for index in [0, 1] {
        let before = site.balancer.given();
        tokio::task::block_in_place(|| site.nodes[index].drain());
        some_more(&load, "sign-ins at the other node").await;
        assert!(site.balancer.given()[1 - index] > before[1 - index]);
        assert!(!site.balancer.is_ready(index), "the balancer knows that the node is gone");
        tokio::task::block_in_place(|| site.nodes[index].start_again());
        wait_until_async("the balancer to see the node", PATIENCE, async || {
            site.balancer.is_ready(index).then_some(())
        })
        .await;
        let before = site.balancer.given()[index];
        wait_until_async("the node to be used", PATIENCE, async || {
            (site.balancer.given()[index] > before).then_some(())
        })
        .await;
    }
    some_more(&load, "sign-ins at both nodes").await;
    let log = load.stop().await;
    println!("{} sign-ins during a rolling restart", log.signed.len());
    assert!(
        log.failed.is_empty(),
        "no sign-in fails: {:?}",
        log.failed.iter().map(|(_, told)| told).collect::<Vec<_>>()
    );
    site.audit_holds();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_loses_what_is_in_flight_and_another_takes_the_engine_over() {
    let mut site = open();
    let holder = usize::from(!holds_lease(&site.nodes[0]));
    let load = site.crowd();
    some_more(&load, "sign-ins").await;

    // The run that the dying node carries out.
    tokio::task::block_in_place(|| rename(&site, "Killed"));
    let operator = site.nodes[holder].operator();
    let run = std::thread::spawn(move || operator.run(&["sync", "run", "--profile", "full"]));
    tokio::time::sleep(Duration::from_millis(150)).await;
    let killed = Instant::now();
    tokio::task::block_in_place(|| site.nodes[holder].kill());
    let told = run.join().expect("the operator does not panic");

    some_more(&load, "sign-ins at the other node").await;
    let other = &site.nodes[1 - holder];
    wait_until("the other node to hold the engine", PATIENCE, || holds_lease(other).then_some(()));
    let taken = killed.elapsed();
    println!(
        "the engine was taken over after {} ms; the run had {}",
        taken.as_millis(),
        if told.is_some() { "ended" } else { "not ended" }
    );
    assert!(taken < TAKEOVER, "{taken:?}");
    other.cli(&["sync", "run", "--profile", "full"]);
    let preview = other.cli(&["sync", "preview"]);
    for target in preview["targets"].as_array().expect("targets") {
        assert_eq!(target["changes"], serde_json::json!([]), "nothing is left to export: {preview}");
    }
    for person in &site.people {
        let user = other.cli(&["user", "show", &person.upn]);
        assert!(user.to_string().contains("Killed"), "{} has the last name: {user}", person.upn);
    }

    let log = load.stop().await;
    // Each of the crowd had one request in flight, of which the dead node had some.
    println!(
        "{} sign-ins, {} failed: {:?}",
        log.signed.len(),
        log.failed.len(),
        log.failed.iter().map(|(_, told)| told).collect::<Vec<_>>()
    );
    // Somebody who was refused may be back before the system has closed the dead node's sockets.
    let at_once = log.failed.iter().filter(|(at, _)| *at - killed < Duration::from_secs(1)).count();
    assert!(log.failed.len() <= CROWD.max(at_once) && at_once <= 2 * CROWD, "no more than what was in flight");
    for (at, told) in &log.failed {
        assert!(*at >= killed && *at - killed < Duration::from_secs(15), "{told}");
    }
    // Whatever was answered is true at the node that is left.
    for (_, signed, tokens) in log.signed.into_iter().rev().take(40) {
        assert!(site.visitor.userinfo_answers(&tokens.access).await, "the access token of {} is good", tokens.sid);
        drop(signed);
    }
    // A sign-in that stands at the page for the password goes on at the other node.
    let person = site.by_hash(0).clone();
    tokio::task::block_in_place(|| site.nodes[holder].start_again());
    wait_until_async("the balancer to see the node", PATIENCE, async || site.balancer.is_ready(holder).then_some(()))
        .await;
    let mut at_the_page = Vec::new();
    for _ in 0..2 {
        at_the_page.push(site.visitor.at_the_password(&person.upn).await);
    }
    tokio::task::block_in_place(|| site.nodes[1 - holder].kill());
    for page in at_the_page {
        site.visitor.type_password(page, &person.password).await.signed();
    }
    tokio::task::block_in_place(|| site.nodes[1 - holder].start_again());
    site.audit_holds();
}

/// Gives everybody another given name at the directory.
fn rename(site: &Site, name: &str) {
    let change =
        |dn: &str| line("dn", dn) + "changetype: modify\nreplace: givenName\n" + &line("givenName", name) + "\n";
    let changes: String = site.people.iter().map(|person| change(&person.dn)).collect();
    site.slapd.ldapmodify(&changes);
}
