//! What administrators do to sign-in.

use std::sync::Arc;

use landbridge::identity::{
    AuthenticationMethod, Backup, DomainName, EntityId, FailoverMode, GroupFailover, Pin, SignInName, Timestamp,
};
use landbridge::signin::Notice;
use landbridge::signin::desk::{DeskError, FAILOVER_FORCED, FailoverEdit, Looks, MethodSet, SetMethod, SignInDesk};
use landbridge::signin::readiness::{NotReady, PartnerWatch, Readiness};
use landbridge::signin::store::StoreDown;
use landbridge::store::signin::SignInTenant;

use super::federated::PARTNER;
use super::scripted::Mood;
use super::world::*;

on_both_engines! {
    a_method_is_not_set_while_it_would_lock_people_out,
    a_method_that_everybody_is_ready_for_is_set_and_releases_the_pin,
    failover_is_forced_shown_and_released,
    a_change_of_failover_leaves_all_values_in_the_audit_log_and_no_change_leaves_none,
}

/// One partner, for `example.org`, whose certificate ends at an instant.
struct Partner(Timestamp);

#[async_trait::async_trait]
impl PartnerWatch for Partner {
    async fn usable_until(&self, partner: &EntityId) -> Result<Option<Timestamp>, StoreDown> {
        Ok((partner.as_str() == PARTNER).then_some(self.0))
    }

    async fn partner_of(&self, domain: &DomainName) -> Result<Option<EntityId>, StoreDown> {
        Ok((domain.as_str() == "example.org").then(|| PARTNER.parse().expect("an entity id")))
    }
}

pub(super) fn desk(world: &World, certificate_ends: Timestamp) -> SignInDesk {
    let tenant = SignInTenant::new(
        world.tenant.clone(),
        world.db.clone(),
        world.audit.clone(),
        landbridge::signin::BarredGroups::new(&["Vault Keepers".to_owned()]),
        Arc::new(ClockTime(world.clock.clone())),
    );
    let tenant = Arc::new(tenant);
    SignInDesk {
        sign_in: world.sign_in.clone(),
        domains: tenant.clone(),
        rollouts: tenant.clone(),
        changes: tenant.clone(),
        failover_groups: tenant.clone(),
        coverage: tenant,
        partner_outages: Arc::new(world.tables.clone()),
        synthetic: world.partner.clone(),
        looks: Looks::default(),
        time: Arc::new(ClockTime(world.clock.clone())),
        tallies: Arc::new(world.tables.clone()),
        four_eyes: false,
        readiness: Arc::new(world.tables.clone()),
        partners: Arc::new(Partner(certificate_ends)),
    }
}

fn to(method: AuthenticationMethod) -> SetMethod {
    SetMethod::new(domain("example.org"), method)
}

fn reasons(readiness: &Readiness) -> Vec<(NotReady, u64)> {
    readiness.reasons.iter().map(|count| (count.reason, count.users)).collect()
}

async fn not_ready(desk: &SignInDesk, wish: SetMethod) -> Readiness {
    match desk.set_method(wish, "operator").await {
        Err(DeskError::Refused { readiness: Some(readiness), .. }) => *readiness,
        other => panic!("{other:?}"),
    }
}

async fn method(world: &World) -> AuthenticationMethod {
    world.tenant.read_domain(&domain("example.org")).await.expect("a read").expect("a domain").method
}

async fn a_method_is_not_set_while_it_would_lock_people_out(world: World) {
    use AuthenticationMethod::{Federated, Phs, Pta};
    let soon = desk(&world, NOW + HOUR);
    world.person("ada").await;
    world.known("hashless", "example.org").await;
    world.person("rogue").await;
    world.execute("UPDATE credential_source SET connector = 'rogue' WHERE anchor = 'a-rogue'").await;
    let off = world.known("off", "example.org").await;
    world.execute(&format!("UPDATE tenant_user SET account_enabled = 0 WHERE oid = '{off}'")).await;

    world.directory.become_(Mood::Down);
    let report = not_ready(&soon, to(Pta)).await;
    assert_eq!(reasons(&report), [(NotReady::NoCredentialSource, 1), (NotReady::ServersUnreachable, 2)]);
    assert_eq!((report.users, report.not_ready, report.warnings.len()), (3, 3, 1), "the disabled one is not counted");
    world.directory.become_(Mood::Up);
    assert_eq!(reasons(&not_ready(&soon, to(Pta)).await), [(NotReady::NoCredentialSource, 1)]);
    assert_eq!(method(&world).await, Phs);

    let planned = soon.set_method(SetMethod { dry_run: true, ..to(Pta) }, "operator").await.expect("a plan");
    assert_eq!((planned.changed, planned.readiness.not_ready, method(&world).await), (false, 1, Phs));
    let forced = soon.set_method(SetMethod { force: true, ..to(Pta) }, "operator").await.expect("a change");
    assert_eq!((forced.changed, method(&world).await), (true, Pta));

    let back = not_ready(&soon, to(Phs)).await;
    assert_eq!(reasons(&back), [(NotReady::NoCredentialSource, 1), (NotReady::NoHash, 1)]);
    let mut named: Vec<_> = back.named.iter().map(|user| user.upn.to_string()).collect();
    named.sort();
    assert_eq!(named, ["hashless@example.org", "rogue@example.org"]);

    let ended = desk(&world, NOW);
    assert_eq!(reasons(&not_ready(&ended, to(Federated)).await), [(NotReady::PartnerUnusable, 3)]);
    let federated = soon.set_method(to(Federated), "operator").await.expect("a change");
    assert_eq!(federated.partner.as_ref().map(EntityId::as_str), Some(PARTNER));
    assert_eq!(federated.readiness.warnings.len(), 1, "the certificate ends within a month");
    let nowhere = SetMethod { domain: domain("nowhere.example"), ..to(Phs) };
    assert!(matches!(soon.set_method(nowhere, "operator").await, Err(DeskError::NoDomain(_))));
    // The initial domain is always managed.
    let initial = SetMethod { domain: domain("tenant.example"), force: true, ..to(Federated) };
    assert!(matches!(soon.set_method(initial, "operator").await, Err(DeskError::Refused { .. })));
    assert_eq!(world.records("domain.set-method").await.len(), 2);
}

async fn a_method_that_everybody_is_ready_for_is_set_and_releases_the_pin(world: World) {
    use AuthenticationMethod::{Phs, Pta};
    let desk = desk(&world, NOW + HOUR);
    world.person("ada").await;
    world.pta(FailoverMode::Manual).await;
    world.pin(Some(Pin::Primary)).await;
    let signed_in = world.right("ada").await;
    let set: MethodSet = desk.set_method(SetMethod { cut: true, ..to(Phs) }, "operator").await.expect("a change");
    assert_eq!((set.from, set.to, set.changed, set.released_pin), (Pta, Phs, true, Some(Pin::Primary)));
    assert_eq!((set.sessions_cut, set.readiness.not_ready), (1, 0));
    assert!(world.sign_in.session(signed_in.cookie()).await.expect("a read").is_none());
    assert_eq!(world.right("ada").await.session().method, Phs);
    let again = desk.set_method(to(Phs), "operator").await.expect("nothing to do");
    assert!(!again.changed);
}

async fn a_change_of_failover_leaves_all_values_in_the_audit_log_and_no_change_leaves_none(world: World) {
    let desk = desk(&world, NOW + HOUR);
    let name = domain("example.org");
    world.pta(FailoverMode::Manual).await;
    let edit = FailoverEdit {
        mode: Some(FailoverMode::Automatic),
        max_hash_age: Some(HOUR),
        partner_outage_after: Some(2 * HOUR),
        backup: None,
    };
    desk.set_failover(&name, edit, "operator").await.expect("a change");
    let records = world.records("domain.set-failover").await;
    let detail = &records[0].detail;
    for (key, old, new) in [
        ("backup", serde_json::json!("phs"), serde_json::json!("phs")),
        ("failover", serde_json::json!("manual"), serde_json::json!("automatic")),
        ("max_hash_age_seconds", serde_json::json!(7 * 86_400), serde_json::json!(3_600)),
        ("partner_outage_seconds", serde_json::json!(600), serde_json::json!(7_200)),
    ] {
        assert_eq!((&detail[&format!("{key}_was")], &detail[key]), (&old, &new), "{key}");
    }
    let ada = world.person("ada").await;
    world.nested_in(ada, "Pilots").await;
    let set = async |failover| desk.set_group_failover(&name, "Pilots", failover, "operator").await;
    let same = |result: Result<_, DeskError>| matches!(result, Err(DeskError::Refused { .. }));
    assert!(same(set(None).await), "nothing is to be taken away");
    set(Some(GroupFailover::Barred)).await.expect("a policy");
    assert!(same(set(Some(GroupFailover::Barred)).await), "it is that already");
    set(Some(GroupFailover::Manual)).await.expect("a policy");
    set(None).await.expect("as for the domain");
    let told: Vec<_> = world.records("failover.set-group").await;
    let told: Vec<_> = told.iter().map(|record| (&record.detail["was"], &record.detail["failover"])).collect();
    let (domain, barred, manual) = ("as-domain".into(), "barred".into(), "manual".into());
    assert_eq!(told, [(&domain, &barred), (&barred, &manual), (&manual, &domain)]);
}

async fn failover_is_forced_shown_and_released(world: World) {
    let desk = desk(&world, NOW + HOUR);
    let name = domain("example.org");
    let refused = |result: Result<_, DeskError>| matches!(result, Err(DeskError::Refused { readiness: None, .. }));
    assert!(refused(desk.force(&name, Pin::Backup, None, "operator").await), "hash sync has no backup");
    world.pta(FailoverMode::Manual).await;
    let backup = |backup| FailoverEdit { backup: Some(backup), ..FailoverEdit::default() };
    desk.set_failover(&name, backup(Backup::None), "operator").await.expect("a change");
    assert!(refused(desk.force(&name, Pin::Backup, None, "operator").await), "the domain has no backup");
    let edit = FailoverEdit { max_hash_age: Some(HOUR), ..backup(Backup::Phs) };
    desk.set_failover(&name, edit, "operator").await.expect("a change");
    world.person("ada").await;
    world.directory.become_(Mood::Down);
    assert_eq!(world.right("ada").await.notice(), Some(Notice::TryAgain));
    desk.force(&name, Pin::Backup, None, "operator").await.expect("a pin");
    assert!(world.right("ada").await.session().failover);
    let status = desk.failover_status(true).await.expect("a status");
    let shown = status.domains.iter().find(|status| status.domain == name).expect("the domain");
    assert_eq!((shown.pin.as_ref().map(|mark| mark.pin), shown.max_hash_age_seconds), (Some(Pin::Backup), 3600));
    assert!(status.connectors[0].open_since.is_some() && !status.connectors[0].servers[0].answers);
    assert!(status.alerts.iter().any(|alert| alert.name == FAILOVER_FORCED && alert.subject == "example.org"));
    assert!(refused(desk.set_failover(&name, backup(Backup::None), "operator").await), "it is pinned to it");
    // While the primary is down, releasing a forced failover would let nobody in.
    assert!(matches!(desk.release(&name, false, "operator").await, Err(DeskError::StillDown { .. })));
    assert!(world.right("ada").await.session().failover, "it stays on");
    world.directory.become_(Mood::Up);
    desk.release(&name, false, "operator").await.expect("a release");
    assert!(refused(desk.release(&name, false, "operator").await), "nothing is pinned any more");
    eventually("the breaker closes", async || {
        world.sign_in.outages().status().iter().all(|status| !status.breaker.is_open())
    })
    .await;
    assert!(!world.right("ada").await.session().failover);
    eventually("the alerts are cleared", async || world.alerts().await.is_empty()).await;
}

#[tokio::test]
async fn a_locked_user_is_unlocked_by_name() {
    let world = on_sqlite().await;
    let desk = desk(&world, NOW + HOUR);
    let oid = world.person("ada").await;
    for number in 0..5 {
        world.sign_in("ada", &format!("guess {number}")).await;
    }
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
    let name = |text: &str| text.parse::<SignInName>().expect("a name");
    assert_eq!(desk.unlock(&name("Ada@example.org")).await.expect("a write"), (oid, true));
    world.right("ada").await.session();
    assert!(matches!(desk.unlock(&name("ghost@example.org")).await, Err(DeskError::NoUser(_))));
}
