//! Domains and the names that hang from them.

use std::collections::BTreeSet;
use std::sync::Arc;

use landbridge::identity::{AuthenticationMethod, DomainName, LeaseEpoch, SettableClock};
use landbridge::store::tenant::{DomainChange, DomainError, NewVerification, Registered, Registrations, Withheld};
use landbridge::store::{AuditLog, StoreError};
use landbridge::tenant::ExportWarning;

use super::people::*;

on_both_engines! {
    a_verified_domain_gives_its_users_their_names_without_a_sync,
    a_change_decided_on_an_older_version_is_refused,
    the_initial_domain_is_never_federated,
    what_settings_take_away_from_many_stays_until_an_administrator_says_so,
}

async fn a_verified_domain_gives_its_users_their_names_without_a_sync(tenant: Tenant) {
    let added = tenant
        .accepted([user("a1", "Ada@Later.example"), user("a2", "bob@corp.local"), user("a3", "ada@other.example")])
        .await;
    assert_eq!(added[0].warnings, [ExportWarning::UnverifiedSuffix { upn: "Ada@Later.example".into() }]);
    assert_eq!(added[1].warnings, [ExportWarning::NonRoutableUpn { upn: "bob@corp.local".into() }]);
    assert_eq!(tenant.upns().await[..2], ["Ada@tenant.example", "bob@tenant.example"]);
    let name = "later.example".parse().expect("a domain");
    let settings = "SELECT value FROM counter WHERE name = 'settings'";
    let before = tenant.number(settings).await;
    tenant.store.mark_verified(&name, NewVerification::Dns, None).await.expect("a known domain");
    assert_eq!(tenant.number(settings).await, before + 1);
    assert_eq!(tenant.store.unfinished_recalculations().await.expect("a read"), std::slice::from_ref(&name));
    let stamps = tenant.texts("SELECT security_stamp FROM tenant_user ORDER BY source_anchor").await;
    // The stand-in of the first user's name is free for the third, whose own suffix is still unverified.
    let warnings = vec![ExportWarning::UnverifiedSuffix { upn: "ada@other.example".into() }];
    assert_eq!(tenant.store.recalculate(&name).await.expect("a recalculation"), (1, warnings));
    assert_eq!(tenant.upns().await, ["Ada@later.example", "bob@tenant.example", "ada@tenant.example"]);
    assert_eq!(tenant.texts("SELECT security_stamp FROM tenant_user ORDER BY source_anchor").await, stamps);
    assert_eq!(tenant.store.unfinished_recalculations().await.expect("a read"), []);
    assert_eq!(tenant.number("SELECT COUNT(*) FROM quarantined_value").await, 0);
}

async fn a_change_decided_on_an_older_version_is_refused(tenant: Tenant) {
    let name = "verified.example".parse().expect("a domain");
    let domain = tenant.store.read_domain(&name).await.expect("a read").expect("a domain");
    let pta = DomainChange { method: Some(AuthenticationMethod::Pta), ..DomainChange::default() };
    let changed = tenant.store.change_domain(&name, domain.version, pta.clone(), None).await.expect("a change");
    assert_eq!((changed.method, changed.version), (AuthenticationMethod::Pta, domain.version + 1));
    let again = tenant.store.change_domain(&name, domain.version, pta, None).await;
    assert!(matches!(again, Err(DomainError::Changed { .. })), "{again:?}");
    let pending = "later.example".parse().expect("a domain");
    let change = tenant.store.change_domain(&pending, 1, DomainChange::default(), None).await;
    assert!(matches!(change, Err(DomainError::NotVerified(_))), "{change:?}");
}

async fn the_initial_domain_is_never_federated(tenant: Tenant) {
    let name = "tenant.example".parse().expect("a domain");
    let federated = DomainChange {
        method: Some(AuthenticationMethod::Federated),
        partner: Some(Some("https://idp.example".parse().expect("an entity id"))),
        ..DomainChange::default()
    };
    let change = tenant.store.change_domain(&name, 1, federated, None).await;
    assert!(matches!(change, Err(DomainError::Initial(_))), "{change:?}");
    let other = tenant.store.initialise("other.example".parse().expect("a domain")).await;
    assert!(matches!(other, Err(DomainError::OtherInitial { .. })), "{other:?}");
    let again = tenant.store.add_domain("verified.example".parse().expect("a domain"), String::new()).await;
    assert!(matches!(again, Err(DomainError::Exists(_))), "{again:?}");
}

async fn what_settings_take_away_from_many_stays_until_an_administrator_says_so(tenant: Tenant) {
    let people: Vec<_> = (0..12).map(|n| user(&format!("a{n:02}"), &format!("p{n}@verified.example"))).collect();
    tenant.accepted(people).await;
    let audit = AuditLog::new(tenant.db.clone(), "node-1".parse().expect("a node"), Arc::new(SettableClock::at(NOW)));
    let (corp, verified): (_, DomainName) = (connector("corp"), "verified.example".parse().expect("a domain"));
    let none = Registrations::new();
    let limit = |users: i64| (users / 10).max(5);
    let foreign = tenant.store.register_guarded(LeaseEpoch::from_number(999), none.clone(), limit, &audit).await;
    assert!(matches!(foreign, Err(StoreError::LeaseLost { .. })), "{foreign:?}");
    let registered = tenant.store.register_guarded(tenant.epoch, none.clone(), limit, &audit).await.expect("a store");
    // Nobody depends on the other domain.
    assert_eq!(registered.changed, ["later.example".parse().expect("a domain")]);
    let withheld = Withheld { connector: corp.clone(), domain: verified.clone(), users: 12 };
    assert_eq!(registered.withheld, [withheld]);
    assert!(tenant.upns().await.iter().all(|upn| upn.ends_with("@verified.example")), "nobody lost a name");
    let records = audit.tail(None, 2).await.expect("the log");
    let kinds: Vec<&str> = records.iter().map(|record| record.kind.as_str()).collect();
    assert_eq!(kinds, ["domains-registered"; 2]);
    let wanted = Registrations::from([(corp.clone(), BTreeSet::from([verified.clone()]))]);
    let registered = tenant.store.register_guarded(tenant.epoch, wanted, limit, &audit).await.expect("a store");
    assert_eq!(registered, Registered::default(), "nothing differs");
    assert!(tenant.store.withdraw_domain(&corp, &verified).await.expect("a store"), "an administrator's word");
    assert!(tenant.upns().await.iter().all(|upn| upn.ends_with("@tenant.example")));
    assert!(!tenant.store.withdraw_domain(&corp, &verified).await.expect("a store"));
}
