//! The engine lease: one holder, fenced by its epoch; and which nodes there are.

use std::sync::Arc;
use std::time::Duration;

use landbridge::audit::{Actor, Event, EventKind, Outcome};
use landbridge::identity::{Clock as _, NodeId, SettableClock, SystemClock};
use landbridge::store::sealed_values::SealedValues;
use landbridge::store::{AuditLog, StoreError, lease};

use super::people::*;

on_both_engines! {
    one_node_at_a_time_has_the_lease,
    a_lease_that_was_not_renewed_for_half_its_length_lets_nothing_be_sent,
    other_nodes_are_those_that_wrote_lately_and_did_not_stop,
}

fn node(name: &str) -> NodeId {
    name.parse().expect("a node's name")
}

async fn one_node_at_a_time_has_the_lease(tenant: Tenant) {
    let minute = Duration::from_secs(60);
    let other = lease::acquire(&tenant.db, &node("node-2"), minute).await.expect("a database");
    assert!(other.is_none(), "node-1 has it");
    let mut again =
        lease::acquire(&tenant.db, &node("node-1"), minute).await.expect("a database").expect("its own lease");
    assert_eq!(again.epoch.number(), tenant.epoch.number() + 1);
    lease::renew(&tenant.db, &mut again).await.expect("a renewal");
    assert!(again.is_fresh());
    let (lost, epoch) = (again.clone(), again.epoch);
    lease::release(&tenant.db, again).await.expect("a release");
    let mut other =
        lease::acquire(&tenant.db, &node("node-2"), Duration::ZERO).await.expect("a database").expect("free");
    assert_eq!(other.epoch.number(), epoch.number() + 1);
    assert!(!other.is_fresh(), "a lease without length is never fresh");
    let mut lost = lost;
    let renewed = lease::renew(&tenant.db, &mut lost).await;
    assert!(matches!(renewed, Err(StoreError::LeaseLost { .. })), "{renewed:?}");
    lease::renew(&tenant.db, &mut other).await.expect("nobody took it");
    // It has run out by the database's clock: the next one may take it, and the release of the old holder is harmless.
    let third = lease::acquire(&tenant.db, &node("node-3"), minute).await.expect("a database").expect("it ran out");
    lease::release(&tenant.db, other).await.expect("a release");
    let fourth = lease::acquire(&tenant.db, &node("node-4"), minute).await.expect("a database");
    assert!(fourth.is_none(), "node-3 has it, epoch {}", third.epoch);
}

async fn a_lease_that_was_not_renewed_for_half_its_length_lets_nothing_be_sent(tenant: Tenant) {
    let length = Duration::from_millis(400);
    let lease = lease::acquire(&tenant.db, &node("node-1"), length).await.expect("a database").expect("its own lease");
    tokio::time::sleep(length / 2).await;
    assert!(!lease.is_fresh(), "another node may have it before what is sent now has arrived");
}

/// The key ring is rolled only when no other node would be left without the new key.
async fn other_nodes_are_those_that_wrote_lately_and_did_not_stop(tenant: Tenant) {
    const DAY: Duration = Duration::from_secs(86_400);
    // The database's own time counts.
    let now = SystemClock.now();
    let log = |name: &str, at| AuditLog::new(tenant.db.clone(), node(name), Arc::new(SettableClock::at(at)));
    for (name, at, kinds) in [
        ("own", now, vec![EventKind::Started]),
        ("killed", now - DAY * 29, vec![EventKind::Started]),
        ("stopped", now, vec![EventKind::Started, EventKind::Stopped]),
        ("back", now, vec![EventKind::Started, EventKind::Stopped, EventKind::Started]),
        ("retired", now - DAY * 31, vec![EventKind::Started]),
    ] {
        for kind in kinds {
            let event = Event::new(kind, Outcome::Success, Actor::System("a test".to_owned()));
            log(name, at).record(event).await.expect("a record");
        }
    }
    let values = SealedValues::new(tenant.db.clone(), log("own", now));
    assert_eq!(values.other_nodes(&node("own")).await.expect("a list"), ["back", "killed"]);
}
