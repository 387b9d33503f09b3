//! What sign-in reads.

use landbridge::identity::{DomainName, Refusal, SignInName, SourceAnchor, UserId};
use landbridge::tenant::{Action, Edit, ObjectId, SignInDirectory};

use super::people::*;

on_both_engines! {
    a_user_is_found_by_each_of_their_names,
    a_netbios_name_tells_the_domains_of_those_who_have_it,
    an_unknown_name_still_tells_the_number_of_the_settings,
    both_writers_of_the_account_state_are_seen,
}

async fn a_user_is_found_by_each_of_their_names(tenant: Tenant) {
    let added = tenant
        .accepted([user("a1", "Ada@Verified.example").with(|patch| {
            patch.mail = Edit::Set("ada.byron@mail.example".into());
            patch.sam = Edit::Set("CORP\\ada".into());
        })])
        .await;
    for typed in ["ada@verified.example", "Ada.Byron@mail.example", "corp\\ADA"] {
        let name: SignInName = typed.parse().expect("a sign-in name");
        let user = tenant.store.by_name(&name).await.expect("a read").user.expect(typed);
        assert_eq!(ObjectId::User(user.oid), added[0].oid, "{typed}");
        assert_eq!(
            (user.upn.to_string(), user.domain.name.as_str()),
            ("Ada@verified.example".into(), "verified.example")
        );
        let credential = user.credential.expect("a credential source");
        assert!(credential.registered && credential.eligible);
        assert_eq!(credential.source.to_string(), "corp:a1");
    }
    let anchor = SourceAnchor::from_stored("a1".into());
    assert!(tenant.store.by_source_anchor(&anchor).await.expect("a read").user.is_some());
}

async fn a_netbios_name_tells_the_domains_of_those_who_have_it(tenant: Tenant) {
    let called = |anchor: &str, upn: &str, sam: &str| {
        let sam = sam.to_owned();
        user(anchor, upn).with(move |patch| patch.sam = Edit::Set(sam))
    };
    let added = tenant
        .accepted([
            called("a1", "ada@verified.example", "CORP\\ada"),
            called("a2", "bob@elsewhere.example", "Corp\\bob"),
            called("a3", "eve@verified.example", "CORP\\ada"),
            user("a4", "zed@verified.example"),
        ])
        .await;
    let domains = async || {
        let mut found: Vec<DomainName> = Vec::new();
        while let Some(next) = tenant.store.domain_of_netbios("corp", found.last()).await.expect("a read") {
            found.push(next);
        }
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let both = domains().await;
    assert!(both.len() == 2 && both.contains(&"verified.example".to_owned()), "{both:?}");
    // Who waits for the name does not have it.
    let waiting =
        tenant.number("SELECT COUNT(*) FROM tenant_user WHERE source_anchor = 'a3' AND netbios IS NULL").await;
    assert_eq!(waiting, 1);
    // As the upgrade finds them.
    tenant.execute("UPDATE tenant_user SET netbios = NULL").await;
    assert_eq!(domains().await, [""; 0]);
    let upgrade = include_str!("../../../src/store/migrations/gateway/0025_netbios.sql");
    let from = upgrade.find("UPDATE").expect("a statement");
    tenant.execute(upgrade[from..].split(';').next().expect("a statement")).await;
    assert_eq!(domains().await, both);
    tenant.accepted([update("a2", added[1].oid, |patch| patch.sam = Edit::Clear)]).await;
    assert_eq!(domains().await, ["verified.example"]);
    tenant.accepted([change("a1", Action::DeleteUser)]).await;
    tenant.accepted([change("a3", Action::DeleteUser)]).await;
    assert_eq!(domains().await, [""; 0]);
}

async fn an_unknown_name_still_tells_the_number_of_the_settings(tenant: Tenant) {
    let name: SignInName = "nobody@verified.example".parse().expect("a sign-in name");
    let found = tenant.store.by_name(&name).await.expect("a read");
    assert!(found.user.is_none());
    assert_eq!(found.settings_version, tenant.number("SELECT value FROM counter WHERE name = 'settings'").await);
    assert!(tenant.store.by_oid(UserId::random()).await.expect("a read").user.is_none());
}

async fn both_writers_of_the_account_state_are_seen(tenant: Tenant) {
    let added = tenant.accepted([user("a1", "ada@verified.example")]).await;
    let ObjectId::User(oid) = added[0].oid else { panic!("a user has a user's oid") };
    let read = async || tenant.store.by_oid(oid).await.expect("a read").user.expect("the user");
    assert_eq!(read().await.evaluate_account(NOW), Ok(()));
    tenant
        .execute(
            "INSERT INTO directory_state (connector, anchor, state, source_version, observed_at) VALUES ('corp', 'a1', \
             '{\"enabled\":true,\"deleted\":false,\"locked_until\":null,\"account_expires\":1,\"password_expires\":null,\
             \"must_change_password\":false,\"logon_hours\":null,\"password_set\":null}', 'v1', 100)",
        )
        .await;
    assert_eq!(read().await.evaluate_account(NOW), Err(Refusal::Expired));
    tenant
        .execute("INSERT INTO account_refusal (connector, anchor, reason, at, server) VALUES ('corp', 'a1', 'disabled', 90, 's')")
        .await;
    assert_eq!(read().await.credential.expect("a source").newer_refusal, None, "the state is newer");
    tenant
        .execute("INSERT INTO account_refusal (connector, anchor, reason, at, server) VALUES ('corp', 'a1', 'locked-out', 101, 's')")
        .await;
    let refusal = read().await.credential.expect("a source").newer_refusal.expect("a newer refusal");
    assert_eq!(refusal.reason, "locked-out");
    tenant.accepted([update("a1", added[0].oid, |patch| patch.account_enabled = Edit::Set(false))]).await;
    assert_eq!(read().await.evaluate_account(NOW), Err(Refusal::Disabled));
}
