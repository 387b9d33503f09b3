//! What an export leaves is read back as it was sent.

use landbridge::identity::SourceAnchor;
use landbridge::tenant::{ChangeOperation, ChangedThing, Edit, ObjectId, ShadowLink, ShadowObject, TenantReadBack};

use super::people::*;

on_both_engines! {
    users_come_in_pages_with_the_values_that_were_exported,
    links_come_in_pages_waiting_ones_too,
    the_feed_tells_each_change_once_in_order,
}

fn anchor(text: &str) -> SourceAnchor {
    SourceAnchor::from_stored(text.to_owned())
}

fn anchors(objects: &[ShadowObject]) -> Vec<String> {
    let anchor = |object: &ShadowObject| match object {
        ShadowObject::User(user) => user.source_anchor.to_string(),
        ShadowObject::Group(group) => group.source_anchor.to_string(),
        ShadowObject::Plain(plain) => plain.source_anchor.to_string(),
    };
    objects.iter().map(anchor).collect()
}

async fn users_come_in_pages_with_the_values_that_were_exported(tenant: Tenant) {
    let people = (0..5).map(|n| {
        user(&format!("a{n}"), "same@corp.local").with(|patch| patch.mail = Edit::Set("same@mail.example".into()))
    });
    let added = tenant.accepted(people).await;
    let first = tenant.store.users_after(None, 3).await.expect("a read");
    assert_eq!(anchors(&first), ["a0", "a1", "a2"]);
    let second = tenant.store.users_after(Some(&anchor("a2")), 3).await.expect("a read");
    assert_eq!(anchors(&second), ["a3", "a4"]);
    // The effective values differ, and the quarantined mail is not the users'; what was exported is confirmed.
    for object in first.iter().chain(&second) {
        let ShadowObject::User(user) = object else { panic!("a user") };
        assert_eq!(user.on_premises_upn.as_deref(), Some("same@corp.local"));
        assert_eq!(user.mail.as_deref(), Some("same@mail.example"));
        assert!(user.account_enabled && user.credential_source.as_ref().is_some_and(|link| link.eligible));
    }
    assert_eq!(tenant.number("SELECT COUNT(*) FROM tenant_user WHERE mail IS NOT NULL").await, 1);
    tenant.accepted([delete("a1")]).await;
    let oids: Vec<ObjectId> = added.iter().map(|accepted| accepted.oid).collect();
    assert_eq!(tenant.store.objects(&oids[..2]).await.expect("a read").len(), 1);
}

async fn links_come_in_pages_waiting_ones_too(tenant: Tenant) {
    tenant
        .accepted([
            user("a1", "one@verified.example"),
            user("a2", "two@verified.example"),
            group("g1", &["a1", "a2", "a9"]),
            group("g2", &["g1"]),
        ])
        .await;
    let (mut links, mut position) = (Vec::new(), None);
    loop {
        let page = tenant.store.links_after(position.as_ref(), 1).await.expect("a page");
        links.extend(page.links.into_iter().map(|link| format!("{}>{}", link.group, link.member)));
        position = page.next;
        if position.is_none() {
            break;
        }
    }
    links.sort();
    assert_eq!(links, ["g1>a1", "g1>a2", "g1>a9", "g2>g1"]);
}

async fn the_feed_tells_each_change_once_in_order(tenant: Tenant) {
    let start = tenant.store.newest_change().await.expect("a number");
    let added = tenant.accepted([user("a1", "one@verified.example"), group("g1", &["a1"])]).await;
    tenant.accepted([delete("a1")]).await;
    let page = tenant.store.changes_after(start, 100).await.expect("a page").expect("it goes on");
    let object = |oid, text| ChangedThing::Object { oid, source_anchor: Some(anchor(text)) };
    let told: Vec<_> = page.changes.iter().map(|change| (change.what.clone(), change.operation)).collect();
    assert_eq!(
        told,
        [
            (object(added[0].oid, "a1"), ChangeOperation::Add),
            (object(added[1].oid, "g1"), ChangeOperation::Add),
            (ChangedThing::Link(ShadowLink { group: anchor("g1"), member: anchor("a1") }), ChangeOperation::Add),
            (object(added[0].oid, "a1"), ChangeOperation::Delete),
        ]
    );
    assert_eq!(page.upto, tenant.store.newest_change().await.expect("a number"));
    let numbers: Vec<i64> = page.changes.iter().map(|change| change.number).collect();
    assert_eq!(numbers, (start.number + 1..=start.number + 4).collect::<Vec<_>>());
    let rest = tenant.store.changes_after(page.upto, 100).await.expect("a page").expect("it goes on");
    assert_eq!((rest.changes.len(), rest.upto), (0, page.upto));
}
