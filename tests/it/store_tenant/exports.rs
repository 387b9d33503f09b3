//! Adds, updates, deletes and restores, judged on the end state of their batch.

use std::time::Duration;

use landbridge::identity::{SignInName, UserId};
use landbridge::tenant::{
    Action, Edit, ErrorCode, ExportWarning, GroupPatch, ObjectId, SignInDirectory, TenantExport, TenantUnavailable,
};

use super::people::*;

on_both_engines! {
    a_thousand_people_arrive_and_a_repetition_changes_nothing,
    two_people_that_swap_names_are_both_served,
    a_duplicate_is_quarantined_and_released_with_the_value,
    a_deleted_user_comes_back_with_the_same_oid_and_no_password,
    a_disabled_user_gets_a_new_stamp,
    each_refusal_has_its_code,
    members_that_are_not_there_wait,
    a_batch_without_the_lease_changes_nothing,
}

async fn a_thousand_people_arrive_and_a_repetition_changes_nothing(tenant: Tenant) {
    let people = || (0..1000).map(|n| user(&format!("a{n:04}"), &format!("p{n:04}@verified.example")));
    let first = tenant.accepted(people()).await;
    let feed = tenant.number("SELECT value FROM counter WHERE name = 'change_feed'").await;
    let second = tenant.accepted(people()).await;
    assert_eq!(first, second);
    assert_eq!(tenant.number("SELECT COUNT(*) FROM tenant_user").await, 1000);
    assert_eq!(tenant.number("SELECT COUNT(*) FROM unique_value").await, 1000);
    assert_eq!(tenant.number("SELECT COUNT(*) FROM sign_in_name").await, 1000);
    assert_eq!(tenant.number("SELECT COUNT(*) FROM credential_fetch").await, 1000);
    assert_eq!(tenant.number("SELECT COUNT(*) FROM change_feed WHERE kind = 'user'").await, 1000);
    assert_eq!(tenant.number("SELECT value FROM counter WHERE name = 'change_feed'").await, feed);
    assert_eq!(tenant.number("SELECT MAX(number) FROM change_feed").await, feed);
}

async fn two_people_that_swap_names_are_both_served(tenant: Tenant) {
    let added = tenant.accepted([user("a1", "one@verified.example"), user("a2", "two@verified.example")]).await;
    let swapped = tenant
        .accepted([
            rename("a1", added[0].oid, "two@verified.example"),
            rename("a2", added[1].oid, "one@verified.example"),
        ])
        .await;
    assert!(swapped.iter().all(|accepted| accepted.warnings.is_empty()), "{swapped:?}");
    assert_eq!(tenant.upns().await, ["two@verified.example", "one@verified.example"]);
    // Federation matches the former names for a day.
    let found = tenant.store.by_name(&"one@verified.example".parse().expect("a name")).await.expect("a read");
    let two = found.user.expect("the second user");
    assert_eq!(ObjectId::User(two.oid), added[1].oid);
    assert!(two.answers_to("two@verified.example", NOW + Duration::from_secs(23 * 3600)));
    assert!(!two.answers_to("two@verified.example", NOW + Duration::from_secs(25 * 3600)));
}

async fn a_duplicate_is_quarantined_and_released_with_the_value(tenant: Tenant) {
    let first = tenant.accepted([user("a1", "ada@verified.example")]).await;
    let second = tenant.accepted([user("a2", "ada@verified.example")]).await;
    let expected = ExportWarning::AttributeValueMustBeUnique {
        attribute: "userPrincipalName".to_owned(),
        value: "ada@verified.example".to_owned(),
        held_by: first[0].oid.to_string(),
    };
    assert_eq!(second[0].warnings, [expected]);
    let stand_in = tenant.upns().await.remove(1);
    assert!(stand_in.starts_with("ada") && stand_in.ends_with("@tenant.example"), "{stand_in}");
    tenant.accepted([rename("a1", first[0].oid, "byron@verified.example")]).await;
    assert_eq!(tenant.upns().await, ["byron@verified.example", "ada@verified.example"]);
    assert_eq!(tenant.number("SELECT COUNT(*) FROM quarantined_value").await, 0);
    assert_eq!(tenant.number("SELECT COUNT(*) FROM unique_value").await, 2);
    assert_eq!(
        tenant.texts("SELECT folded FROM sign_in_name ORDER BY folded").await,
        ["ada@verified.example", "byron@verified.example"]
    );
}

async fn a_deleted_user_comes_back_with_the_same_oid_and_no_password(tenant: Tenant) {
    let added = tenant.accepted([user("a1", "ada@verified.example"), user("a2", "ada@verified.example")]).await;
    tenant
        .execute(
            "INSERT INTO credential (connector, anchor, stage, chain, sealed, source_stamp, version, stored_at, \
             confirmed_at) VALUES ('corp', 'a1', 'sealed', 'c', 'secret', 's', 3, 0, 0)",
        )
        .await;
    tenant.execute("DELETE FROM credential_fetch").await;
    let stamp = tenant.texts("SELECT security_stamp FROM tenant_user WHERE source_anchor = 'a1'").await;
    tenant.accepted([delete("a1")]).await;
    assert_eq!(tenant.texts("SELECT stage || sealed || source_stamp FROM credential").await, ["wiped"]);
    assert_ne!(tenant.texts("SELECT security_stamp FROM tenant_user WHERE source_anchor = 'a1'").await, stamp);
    assert_eq!(tenant.upns().await, ["ada@verified.example"], "the freed name went to its claimant");
    let name: SignInName = "ada@verified.example".parse().expect("a name");
    let found = tenant.store.by_name(&name).await.expect("a read").user.expect("the claimant");
    assert_eq!(ObjectId::User(found.oid), added[1].oid);

    let back = tenant.accepted([user("a1", "ada@verified.example")]).await;
    assert_eq!((back[0].oid, back[0].restored), (added[0].oid, true));
    assert_eq!(tenant.texts("SELECT reason FROM credential_fetch").await, ["restored"]);
    let operations = "SELECT operation FROM change_feed WHERE kind = 'user' ORDER BY number";
    assert_eq!(tenant.texts(operations).await, ["add", "add", "delete", "update", "restore"]);
}

async fn a_disabled_user_gets_a_new_stamp(tenant: Tenant) {
    let added = tenant.accepted([user("a1", "ada@verified.example")]).await;
    let stamps = "SELECT security_stamp FROM tenant_user";
    let before = tenant.texts(stamps).await;
    tenant.accepted([update("a1", added[0].oid, |patch| patch.display_name = Edit::Set("Ada".into()))]).await;
    assert_eq!(tenant.texts(stamps).await, before);
    tenant.accepted([update("a1", added[0].oid, |patch| patch.account_enabled = Edit::Set(false))]).await;
    assert_ne!(tenant.texts(stamps).await, before);
}

async fn each_refusal_has_its_code(tenant: Tenant) {
    let added = tenant.accepted([user("a1", "ada@verified.example"), group("g1", &[])]).await;
    let mut foreign = user("a1", "ada@verified.example");
    foreign.anchor_connector = connector("other");
    let mut moved = rename("a9", added[0].oid, "ada@verified.example");
    moved.object.source_anchor = "a9".to_owned();
    let nobody = ObjectId::User(UserId::random());
    let rows = [
        (user("a_b", "x@verified.example"), ErrorCode::InvalidSourceAnchor),
        (user("", "x@verified.example"), ErrorCode::InvalidSourceAnchor),
        (moved, ErrorCode::SourceAnchorChanged),
        (user("g1", "x@verified.example"), ErrorCode::ObjectTypeMismatch),
        (group("a1", &[]), ErrorCode::ObjectTypeMismatch),
        (foreign, ErrorCode::ObjectOwnedElsewhere),
        (rename("a1", nobody, "x@verified.example"), ErrorCode::ObjectNotFound),
        (delete("a7"), ErrorCode::ObjectNotFound),
        (user("a2", " "), ErrorCode::IdentityDataValidationFailed),
        (
            user("a2", "x@verified.example").with(|patch| patch.upn_connector = Edit::Set(connector("other"))),
            ErrorCode::DomainNotRegisteredForConnector,
        ),
        (
            user("a2", "x@verified.example").with(|patch| {
                if let Edit::Set(link) = &mut patch.credential_source {
                    link.source.anchor = landbridge::identity::SourceAnchor::from_stored("a1".to_owned());
                }
            }),
            ErrorCode::CredentialSourceTaken,
        ),
        (
            user("a2", "x@verified.example").with(|patch| patch.display_name = Edit::Set("x".repeat(257))),
            ErrorCode::ExceededAllowedLength,
        ),
    ];
    for (change, code) in rows {
        assert_eq!(tenant.refused(change.clone()).await, code, "{change:?}");
    }
    let results = tenant.export([user("a3", "y@verified.example"), user("a3", "z@verified.example")]).await;
    assert!(results[0].is_ok());
    assert_eq!(results[1].as_ref().expect_err("twice").code, ErrorCode::ObjectTwiceInBatch);
    assert_eq!(tenant.upns().await, ["ada@verified.example", "y@verified.example"]);
}

async fn members_that_are_not_there_wait(tenant: Tenant) {
    let added = tenant.accepted([group("g1", &["a1", "g2"]), group("g2", &["a2"]), user("a1", "a@verified.example")]);
    let added = added.await;
    assert_eq!(added[0].members_waiting, Vec::<String>::new());
    assert_eq!(added[1].members_waiting, ["a2"]);
    let counts = "SELECT CAST(member_count AS TEXT) FROM tenant_group ORDER BY source_anchor";
    assert_eq!(tenant.texts(counts).await, ["2", "0"]);
    let second = tenant.accepted([user("a2", "b@verified.example")]).await;
    assert_eq!(tenant.texts(counts).await, ["2", "1"]);
    let ObjectId::User(oid) = second[0].oid else { panic!("a user has a user's oid") };
    let groups = tenant.store.groups_of(oid).await.expect("a read");
    let mut names: Vec<_> = groups.into_iter().filter_map(|group| group.display_name).collect();
    names.sort();
    assert_eq!(names, ["g1", "g2"]);
    let patch = GroupPatch { members_removed: vec!["a2".into(), "a7".into()], ..GroupPatch::default() };
    let mut remove = change("g2", Action::PutGroup(Box::new(patch)));
    remove.object.oid = Some(added[1].oid);
    tenant.accepted([remove]).await;
    assert_eq!(tenant.texts(counts).await, ["2", "0"]);
    assert_eq!(tenant.store.groups_of(oid).await.expect("a read"), []);
}

async fn a_batch_without_the_lease_changes_nothing(tenant: Tenant) {
    let stale = landbridge::identity::LeaseEpoch::from_number(tenant.epoch.number() - 1);
    let result = tenant.store.apply_batch(stale, vec![user("a1", "ada@verified.example")]).await;
    assert!(matches!(result, Err(TenantUnavailable::LeaseLost { .. })), "{result:?}");
    assert_eq!(tenant.number("SELECT COUNT(*) FROM tenant_user").await, 0);
}
