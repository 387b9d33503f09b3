//! What ends for good, and when.

use std::sync::Arc;

use landbridge::identity::{LeaseEpoch, SettableClock};
use landbridge::store::{AuditLog, StoreError};
use landbridge::tenant::{ChangeMark, ChangeOperation, ChangedThing, TenantReadBack};

use super::people::*;

on_both_engines! {
    what_was_deleted_thirty_days_ago_is_gone_for_good,
    old_changes_leave_the_feed_once_they_were_read,
    a_wipe_that_an_export_brings_is_written_down,
}

// The tests' clock is years behind the database's; what is recent to the database lies in the year 2100.

fn audit(tenant: &Tenant) -> AuditLog {
    let node = "node-1".parse().expect("a node");
    AuditLog::new(tenant.db.clone(), node, Arc::new(SettableClock::at(NOW)))
}

async fn what_was_deleted_thirty_days_ago_is_gone_for_good(tenant: Tenant) {
    let added = tenant
        .accepted([
            user("a1", "one@verified.example"),
            user("a2", "two@verified.example"),
            user("a3", "three@verified.example"),
            group("g1", &["a1", "a2", "a3"]),
            group("g2", &["a1"]),
        ])
        .await;
    tenant
        .execute(
            "INSERT INTO credential (connector, anchor, stage, chain, sealed, source_stamp, version, stored_at, \
             confirmed_at) VALUES ('corp', 'a1', 'wiped', '', '', '', 1, 0, 0), \
             ('corp', 'a2', 'wiped', '', '', '', 1, 0, 4102444800000), ('corp', 'a3', 'wiped', '', '', '', 1, 0, 0)",
        )
        .await;
    let delete_group = change("g2", landbridge::tenant::Action::DeleteGroup);
    tenant.accepted([delete("a1"), delete("a2"), delete_group]).await;
    tenant.execute("UPDATE tenant_user SET deleted_at = 4102444800000 WHERE source_anchor = 'a2'").await;
    let (audit, before) = (audit(&tenant), tenant.store.newest_change().await.expect("a number"));

    let foreign = tenant.store.purge_deleted(LeaseEpoch::from_number(999), &audit).await;
    assert!(matches!(foreign, Err(StoreError::LeaseLost { .. })), "{foreign:?}");
    assert_eq!(tenant.store.purge_deleted(tenant.epoch, &audit).await.expect("a purge"), 2);
    assert_eq!(tenant.texts("SELECT source_anchor FROM tenant_user ORDER BY 1").await, ["a2", "a3"]);
    assert_eq!(tenant.texts("SELECT source_anchor FROM tenant_group ORDER BY 1").await, ["g1"]);
    let credentials = "SELECT anchor FROM credential ORDER BY 1";
    assert_eq!(tenant.texts(credentials).await, ["a1", "a2", "a3"]);
    assert_eq!(tenant.store.forget_sources(tenant.epoch).await.expect("a purge"), 1);
    assert_eq!(tenant.texts(credentials).await, ["a2", "a3"], "a2 can be restored for a while, a3 is somebody's");
    assert_eq!(tenant.number("SELECT COUNT(*) FROM membership").await, 2);
    assert_eq!(tenant.number("SELECT member_count FROM tenant_group").await, 2);
    // Whoever follows the feed hears that the memberships are over.
    let page = tenant.store.changes_after(before, 100).await.expect("a page").expect("it goes on");
    let told: Vec<_> = page.changes.iter().map(|change| (&change.what, change.operation)).collect();
    assert!(
        told.iter().any(|(what, operation)| {
            matches!(what, ChangedThing::Link(link) if link.group.as_str() == "g1" && link.member.as_str() == "a1")
                && *operation == ChangeOperation::Delete
        }),
        "{told:?}"
    );
    let record = audit.tail(None, 1).await.expect("the log").remove(0);
    assert_eq!(record.kind, "directory-purged");
    assert_eq!(record.detail["users"], serde_json::json!([added[0].oid.to_string()]));
    assert_eq!(record.detail["groups"], serde_json::json!([added[4].oid.to_string()]));
    assert_eq!(tenant.store.purge_deleted(tenant.epoch, &audit).await.expect("a purge"), 0);

    let again = tenant.accepted([user("a1", "one@verified.example"), user("a2", "two@verified.example")]).await;
    assert_ne!(again[0].oid, added[0].oid, "who was purged is somebody else");
    assert_eq!(again[1].oid, added[1].oid, "who was not is restored");
}

async fn a_wipe_that_an_export_brings_is_written_down(tenant: Tenant) {
    let tenant = tenant.with(landbridge::store::tenant::TenantOptions::default());
    tenant.accepted([user("a1", "one@verified.example"), user("a2", "two@verified.example")]).await;
    tenant
        .execute(
            "INSERT INTO credential (connector, anchor, stage, chain, sealed, source_stamp, version, stored_at, \
             confirmed_at) VALUES ('corp', 'a1', 'sealed', 'c', 's', 't', 1, 0, 0)",
        )
        .await;
    tenant.accepted([delete("a1"), delete("a2")]).await;
    assert_eq!(tenant.texts("SELECT stage FROM credential").await, ["wiped"]);
    let records = audit(&tenant).tail(None, 10).await.expect("the log");
    let wiped: Vec<_> = records.iter().filter(|record| record.kind == "credential-wiped").collect();
    assert_eq!(wiped.len(), 1, "{records:?}");
    assert_eq!(wiped[0].detail["sources"], serde_json::json!(["corp/a1"]), "who had none lost none");
}

async fn old_changes_leave_the_feed_once_they_were_read(tenant: Tenant) {
    tenant.accepted((0..5).map(|n| user(&format!("a{n}"), &format!("u{n}@verified.example")))).await;
    let newest = tenant.store.newest_change().await.expect("a number");
    let third_last =
        "UPDATE change_feed SET at = 4102444800000 WHERE number = (SELECT MAX(number) - 2 FROM change_feed)";
    tenant.execute(third_last).await;
    let kept = "SELECT CAST(number AS TEXT) FROM change_feed ORDER BY number";
    let start = tenant.store.newest_change().await.expect("a mark");
    assert!(tenant.store.trim_feed(tenant.epoch, newest.number).await.expect("a trim") > 0);
    let numbers = [newest.number - 2, newest.number];
    assert_eq!(tenant.texts(kept).await, numbers.map(|number| number.to_string()), "the last one read is kept");
    assert!(tenant.store.changes_after(start, 1).await.expect("a page").is_some());
    let trimmed = ChangeMark { number: newest.number - 3, witness: newest.witness };
    assert_eq!(tenant.store.changes_after(trimmed, 1).await.expect("a page"), None, "what follows is not whole");
    assert_eq!(tenant.store.newest_change().await.expect("a number"), newest, "numbers go on");
}
