//! What sign-in reads.

use landbridge::identity::{Refusal, SignInName, SourceAnchor, UserId};
use landbridge::tenant::{Edit, ObjectId, SignInDirectory};

use super::people::*;

on_both_engines! {
    a_user_is_found_by_each_of_their_names,
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
