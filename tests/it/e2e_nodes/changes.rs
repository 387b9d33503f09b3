//! A change of method goes on though the node that began it is gone: it belongs to the store, not to a node.

use std::time::Duration;

use landbridge::identity::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::site::{Plan, Site};
use crate::support::directory::ALPHA;
use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;
use crate::support::wait::wait_until;

const PATIENCE: Duration = Duration::from_secs(60);

fn open() -> Site {
    let store = Postgres::start().fresh_database();
    Plan { store: &store, sections: "", sync: "", directory_locks_after: 0 }.open()
}

fn method(node: &Gateway) -> Value {
    node.cli(&["domain", "show", ALPHA])["domain"]["method"].clone()
}

/// Kills the first node, and waits until nobody is sent there.
fn lose_the_first(site: &mut Site) {
    site.nodes[0].kill();
    wait_until("the balancer to miss the node", PATIENCE, || (!site.balancer.is_ready(0)).then_some(()));
}

/// How often the method became `phs`.
fn changes(node: &Gateway) -> usize {
    let records = node.audit(1000);
    let became = |record: &&Value| {
        record["kind"] == "domain.set-method" && record["outcome"] == "success" && record["detail"]["to"] == "phs"
    };
    records.iter().filter(became).filter(|record| record["detail"]["from"] == "pta").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_switch_is_carried_out_once_though_the_node_that_took_it_dies() {
    let mut site = tokio::task::block_in_place(open);
    let person = site.at_directory(0).clone();
    site.signed_in(&person).await;
    tokio::task::block_in_place(|| {
        let due = (SystemClock.now() + Duration::from_secs(10)).rfc3339();
        let set = site.nodes[0].cli(&["domain", "set-method", ALPHA, "phs", "--at", &due, "--force"]);
        assert_eq!((&set["changed"], &set["to"]), (&json!(false), &json!("phs")));
        lose_the_first(&mut site);
        assert_eq!(method(&site.nodes[1]), "pta", "it is not due");
        wait_until("the switch", PATIENCE, || (method(&site.nodes[1]) == "phs").then_some(()));
        // The node that took it finds it done.
        site.nodes[0].start_again();
        wait_until("the balancer to see the node", PATIENCE, || site.balancer.is_ready(0).then_some(()));
        assert_eq!(method(&site.nodes[0]), "phs");
    });
    let binds = site.slapd.bind_count_of(&person.dn);
    site.signed_in_at_both(&person).await;
    assert_eq!(site.slapd.bind_count_of(&person.dn), binds, "neither node asks the directory any more");
    tokio::task::block_in_place(|| assert_eq!(changes(&site.nodes[1]), 1, "once"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_goes_on_and_is_ended_at_the_node_that_is_left() {
    let mut site = tokio::task::block_in_place(open);
    let person = site.at_directory(1).clone();
    tokio::task::block_in_place(|| {
        let canary = ["domain", "set-method", ALPHA, "phs", "--canary", "99", "--minutes", "60", "--force"];
        site.nodes[0].cli(&canary);
        lose_the_first(&mut site);
        let changes = site.nodes[1].cli(&["domain", "changes", ALPHA]);
        assert_eq!(changes[0]["state"]["is"], json!("canary"), "{changes:#}");
        assert_eq!(method(&site.nodes[1]), "pta");
    });
    // Nearly everybody signs in by the method that is tried.
    let mut by_hash = 0;
    for number in 0..4 {
        let person = site.at_directory(number);
        site.visitor.sign_in(&person.upn, &person.password).await.signed();
        by_hash += usize::from(site.slapd.bind_count_of(&person.dn) == 0);
    }
    assert!(by_hash >= 3, "{by_hash} of 4");
    tokio::task::block_in_place(|| site.nodes[1].cli(&["domain", "rollback", ALPHA]));
    let binds = site.slapd.bind_count_of(&person.dn);
    site.visitor.sign_in(&person.upn, &person.password).await.signed();
    assert_eq!(site.slapd.bind_count_of(&person.dn), binds + 1, "the directory is asked again");
}
