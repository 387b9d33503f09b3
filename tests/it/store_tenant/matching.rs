//! Objects of the cloud: made, taken over, counted.

use landbridge::store::tenant::{CloudError, CloudUser, TenantOptions};
use landbridge::tenant::soft_match::{MatchKind, MatchPolicy};
use landbridge::tenant::{ErrorCode, ExportWarning, TenantReadBack};

use super::people::*;

on_both_engines! {
    a_user_of_the_cloud_is_left_alone_by_exports,
    a_user_of_the_cloud_is_taken_over_with_its_oid_and_written_down,
    a_quota_counts_what_is_there,
}

fn cloud(upn: &str) -> CloudUser {
    CloudUser {
        upn: upn.parse().expect("a name"),
        display_name: Some("Made in the cloud".to_owned()),
        mail: Some(upn.to_owned()),
        source_anchor: None,
        privileged: false,
    }
}

fn options(soft: bool) -> TenantOptions {
    TenantOptions { matching: MatchPolicy { soft, hard: true }, ..TenantOptions::default() }
}

async fn a_user_of_the_cloud_is_left_alone_by_exports(tenant: Tenant) {
    let oid = tenant.store.add_cloud_user(cloud("ada@verified.example")).await.expect("a user").to_string();
    let again = tenant.store.add_cloud_user(cloud("ADA@verified.example")).await.expect_err("a duplicate");
    assert!(matches!(again, CloudError::Refused(error) if error.code == ErrorCode::AttributeValueMustBeUnique));
    let unverified = tenant.store.add_cloud_user(cloud("ada@later.example")).await.expect_err("not verified");
    assert!(matches!(unverified, CloudError::Refused(_)), "{unverified}");
    assert_eq!(tenant.refused(user("a1", "ada@verified.example")).await, ErrorCode::InvalidSoftMatch);
    let shown = tenant.store.find_user("ada@verified.example").await.expect("a read").expect("the user");
    assert_eq!((shown.user.oid.to_string(), shown.user.cloud_mastered), (oid.clone(), true));
    assert!(tenant.store.users_after(None, 10).await.expect("a page").is_empty(), "no import tells it");

    tenant.accepted([user("a2", "bob@verified.example")]).await;
    let synced = tenant.store.delete_cloud_user("bob@verified.example").await.expect_err("not of the cloud");
    assert!(matches!(synced, CloudError::MasteredOnPremises(..)), "{synced}");
    assert!(matches!(tenant.store.delete_cloud_user("nobody").await, Err(CloudError::Unknown(_))));
    tenant.store.delete_cloud_user(&oid).await.expect("deleted");
    tenant.accepted([user("a1", "ada@verified.example")]).await;
    assert_eq!(tenant.upns().await, ["ada@verified.example", "bob@verified.example"]);
}

async fn a_user_of_the_cloud_is_taken_over_with_its_oid_and_written_down(tenant: Tenant) {
    let tenant = tenant.with(options(true));
    let oid = tenant.store.add_cloud_user(cloud("ada@verified.example")).await.expect("a user");
    let waiting = tenant.accepted([group("g1", &["a1"])]).await;
    assert_eq!(waiting[0].members_waiting, ["a1"]);

    tenant.store.set_privileged("ada@verified.example", true).await.expect("privileged");
    assert_eq!(tenant.refused(user("a1", "ada@verified.example")).await, ErrorCode::ExistingAdminRoleConflict);
    tenant.store.set_privileged("ada@verified.example", false).await.expect("privileged no more");
    let taken = tenant.accepted([user("a1", "ada@verified.example")]).await;
    assert_eq!(taken[0].oid.to_string(), oid.to_string());
    assert!(taken[0].warnings.contains(&ExportWarning::TookOver { by: MatchKind::Name }), "{:?}", taken[0].warnings);
    let shown = tenant.store.find_user("ada@verified.example").await.expect("a read").expect("the user");
    assert!(!shown.user.cloud_mastered && shown.fetch_queued);
    assert_eq!(tenant.number("SELECT COUNT(*) FROM membership").await, 1, "the group waited for the anchor");
    let written = "SELECT subject FROM (SELECT record AS subject FROM audit WHERE kind = 'object-matched') AS found";
    let records = tenant.texts(written).await;
    assert!(records.len() == 1 && records[0].contains(&oid.to_string()), "{records:?}");

    // Deleted and restored as every other object of its connector.
    let renamed = tenant.accepted([rename("a1", taken[0].oid, "byron@verified.example")]).await;
    assert_eq!(renamed[0].oid, taken[0].oid);
}

async fn a_quota_counts_what_is_there(tenant: Tenant) {
    let tenant = tenant.with(TenantOptions { object_quota: 3, ..options(false) });
    let changes = ["a1", "a2", "a3"].map(|anchor| user(anchor, &format!("{anchor}@verified.example")));
    let added = tenant.accepted(changes).await;
    assert_eq!(tenant.store.object_usage().await.expect("a count"), (3, 3));
    assert_eq!(tenant.refused(group("g1", &[])).await, ErrorCode::DirectoryQuotaExceeded);
    let fourth = tenant.store.add_cloud_user(cloud("cyd@verified.example")).await.expect_err("full");
    assert!(matches!(fourth, CloudError::Refused(error) if error.code == ErrorCode::DirectoryQuotaExceeded));
    tenant.accepted([delete("a1")]).await;
    tenant.accepted([group("g1", &[])]).await;
    assert_eq!(tenant.refused(user("a1", "a1@verified.example")).await, ErrorCode::DirectoryQuotaExceeded);
    tenant.accepted([delete("a2")]).await;
    let restored = tenant.accepted([user("a1", "a1@verified.example")]).await;
    assert!(restored[0].restored && restored[0].oid == added[0].oid);
    assert_eq!(tenant.store.object_usage().await.expect("a count"), (3, 3));
}
