//! What administrators read and count.

use landbridge::identity::{DomainName, Timestamp};
use landbridge::store::tenant::DomainReadiness;
use landbridge::tenant::Edit;
use landbridge::tenant::unique::UniqueKind;

use super::people::*;

on_both_engines! {
    users_are_listed_by_name_and_domain,
    a_user_is_shown_with_what_is_held_back,
    readiness_counts_who_could_sign_in,
    members_of_nested_groups_are_counted_once,
}

fn verified() -> DomainName {
    "verified.example".parse().expect("a domain")
}

async fn users_are_listed_by_name_and_domain(tenant: Tenant) {
    let names = ["b@verified.example", "a@verified.example", "c@corp.local"];
    tenant.accepted(names.iter().enumerate().map(|(n, name)| user(&format!("a{n}"), name))).await;
    let listed = async |domain: Option<&DomainName>, after: &str| -> Vec<String> {
        let users = tenant.store.list_users(domain, after, 2).await.expect("a list");
        users.into_iter().map(|user| user.upn.to_string()).collect()
    };
    assert_eq!(listed(None, "").await, ["a@verified.example", "b@verified.example"]);
    assert_eq!(listed(None, "b@verified.example").await, ["c@tenant.example"]);
    assert_eq!(listed(Some(&verified()), "a@verified.example").await, ["b@verified.example"]);
}

async fn a_user_is_shown_with_what_is_held_back(tenant: Tenant) {
    let added = tenant.accepted([user("a1", "ada@verified.example"), user("a2", "ada@verified.example")]).await;
    let shown = tenant.store.find_user(&added[1].oid.to_string()).await.expect("a read").expect("the user");
    let name = (UniqueKind::Upn, "ada@verified.example".to_owned());
    assert_eq!(shown.user.quarantined[&name].held_by, added[0].oid.to_string());
    assert!(shown.fetch_queued && shown.credential_stage.is_none());
    let shown = tenant.store.find_user("ADA@verified.example").await.expect("a read").expect("the user");
    assert_eq!(shown.user.id(), added[0].oid);
    assert!(tenant.store.find_user("nobody").await.expect("a read").is_none());
}

async fn readiness_counts_who_could_sign_in(tenant: Tenant) {
    tenant
        .accepted([
            user("a1", "a1@verified.example"),
            user("a2", "a2@verified.example"),
            user("a3", "a3@verified.example"),
            user("a4", "a4@verified.example").with(|patch| patch.credential_source = Edit::Keep),
            user("a5", "a5@verified.example").with(|patch| patch.account_enabled = Edit::Set(false)),
            user("a6", "a1@verified.example"),
        ])
        .await;
    tenant
        .execute(
            "INSERT INTO credential (connector, anchor, stage, chain, sealed, source_stamp, version, outdated_at, \
             stored_at, confirmed_at) VALUES ('corp', 'a1', 'sealed', 'c', 's', 's', 1, NULL, 0, 0), \
             ('corp', 'a2', 'wrapped', 'c', 's', 's', 1, 5, 0, 0), ('corp', 'a3', 'quarantined', '', '', 's', 1, NULL, 0, 0)",
        )
        .await;
    let expected = DomainReadiness {
        users: 5,
        enabled: 4,
        without_source: 1,
        without_hash: 2,
        quarantined: 1,
        outdated: 1,
        stale: 2,
        waiting_for_a_name: 0,
    };
    let since = |millis| Timestamp::from_millis(millis);
    assert_eq!(tenant.store.readiness(&verified(), since(100)).await.expect("counts"), expected);
    tenant.execute("INSERT INTO connector_pass (connector, started_at, completed_at) VALUES ('corp', 90, 100)").await;
    let fresh = DomainReadiness { stale: 0, ..expected };
    assert_eq!(tenant.store.readiness(&verified(), since(100)).await.expect("counts"), fresh);
    assert_eq!(tenant.store.readiness(&verified(), since(101)).await.expect("counts"), expected);
    let initial = "tenant.example".parse().expect("a domain");
    assert_eq!(tenant.store.readiness(&initial, since(100)).await.expect("counts").waiting_for_a_name, 1);
    let without = tenant.store.users_without_hash(&verified(), 10).await.expect("a list");
    let without: Vec<String> = without.into_iter().map(|user| user.upn.to_string()).collect();
    assert_eq!(without, ["a3@verified.example", "a4@verified.example"]);
}

async fn members_of_nested_groups_are_counted_once(tenant: Tenant) {
    tenant
        .accepted([
            user("a1", "one@verified.example"),
            user("a2", "two@verified.example"),
            user("a3", "three@corp.local"),
            group("g1", &["a1", "g2"]),
            group("g2", &["a1", "a2", "a3", "g1"]),
            group("g3", &["a2"]),
        ])
        .await;
    let count = async |name: &str| {
        let meant = |_: Option<&str>, anchor: Option<&str>, _: Option<&str>| anchor == Some(name);
        tenant.store.count_members(&verified(), meant).await.expect("a count")
    };
    assert_eq!((count("g1").await, count("g3").await, count("g9").await), (2, 1, 0));
}
