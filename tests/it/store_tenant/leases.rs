//! The engine lease: one holder, fenced by its epoch.

use std::time::Duration;

use landbridge::identity::NodeId;
use landbridge::store::{StoreError, lease};

use super::people::*;

on_both_engines! {
    one_node_at_a_time_has_the_lease,
}

async fn one_node_at_a_time_has_the_lease(tenant: Tenant) {
    let node = |name: &str| name.parse::<NodeId>().expect("a node's name");
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
