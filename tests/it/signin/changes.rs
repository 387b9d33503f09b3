//! A change of method as a procedure: later, tried first, approved, undone; and what a drill says of the backup.

use std::sync::Arc;
use std::time::Duration;

use landbridge::audit::Actor;
use landbridge::identity::{AuthenticationMethod, Backup, DomainName, EntityId, FailoverMode, Pin, Timestamp};
use landbridge::signin::Notice;
use landbridge::signin::change::{CanaryPlan, ChangeState, MethodChange, Plan};
use landbridge::signin::desk::{
    AddRollout, CANARY_ROLLED_BACK, CHANGE_FAILED, DeskError, FAILOVER_FORCED, FAILOVER_OVERDUE, RemoveRollout,
    SetMethod, SignInDesk,
};
use landbridge::signin::readiness::PartnerWatch;
use landbridge::signin::store::{Alert, Alerts as _, StoreDown};
use landbridge::store::tenant::DomainChange;
use landbridge::store::{StoreError, Urgency};

use super::administration::desk;
use super::federated::PARTNER;
use super::scripted::Mood;
use super::world::*;

use AuthenticationMethod::{Federated, Phs, Pta};

on_both_engines! {
    a_scheduled_change_is_carried_out_once_by_whichever_node,
    a_change_that_would_lock_people_out_when_it_is_due_fails_and_says_so,
    a_canary_whose_refusals_rise_goes_back_by_itself,
    a_canary_that_holds_takes_the_domain_and_can_be_rolled_back,
    strangers_neither_end_a_canary_nor_make_it_pass,
    a_canary_that_cannot_be_carried_out_gives_its_share_back,
    the_share_of_a_canary_is_not_changed_behind_its_back,
    a_partners_sign_ins_are_not_compared_by_a_canary,
    of_changes_that_are_asked_for_at_once_one_is_taken,
    two_principals_are_needed_where_four_eyes_are_wanted,
    what_was_asked_for_with_one_partner_is_not_done_with_another,
    alerts_that_end_together_wait_for_no_other,
    a_drill_tells_whom_the_backup_would_let_in,
    a_forced_backup_ends_with_its_time_unless_nobody_could_sign_in,
    a_forced_backup_that_is_renewed_or_dropped_leaves_no_alert_behind,
}

const MINUTE: Duration = Duration::from_secs(60);

fn to(method: AuthenticationMethod) -> SetMethod {
    SetMethod::new(domain("example.org"), method)
}

async fn method(world: &World) -> AuthenticationMethod {
    world.tenant.read_domain(&domain("example.org")).await.expect("a read").expect("a domain").method
}

async fn newest(desk: &SignInDesk) -> MethodChange {
    desk.list_changes(Some(&domain("example.org")), 1).await.expect("a list").remove(0)
}

async fn alerted(world: &World, name: &str) -> bool {
    world.alerts().await.iter().any(|alert| alert.name == name && alert.subject == "example.org")
}

async fn a_scheduled_change_is_carried_out_once_by_whichever_node(world: World) {
    let mut world = world;
    let first = desk(&world, NOW + HOUR);
    world.restart();
    let second = desk(&world, NOW + HOUR);
    world.person("ada").await;
    let later = SetMethod { at: Some(NOW + HOUR), ..to(Pta) };
    let set = first.set_method(later.clone(), "operator").await.expect("a change");
    assert_eq!((set.changed, set.state), (false, Some(ChangeState::Scheduled { at: NOW + HOUR })));
    first.upkeep().await.expect("upkeep");
    assert_eq!(method(&world).await, Phs, "it is not due");
    let another = second.set_method(to(Pta), "operator").await;
    assert!(matches!(another, Err(DeskError::Refused { readiness: None, .. })), "one change at a time: {another:?}");
    let withdrawn = second.cancel(set.change.expect("an id"), "operator").await.expect("cancelled");
    assert!(matches!(withdrawn.state, ChangeState::Cancelled { .. }));
    world.clock.advance(MINUTE);
    first.set_method(later, "operator").await.expect("a change");
    world.clock.advance(HOUR);
    let (one, other) = tokio::join!(first.upkeep(), second.upkeep());
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    second.upkeep().await.expect("upkeep");
    assert_eq!(method(&world).await, Pta);
    assert!(matches!(newest(&first).await.state, ChangeState::Done { .. }));
    assert_eq!(world.records("domain.set-method").await.len(), 1, "once");
    assert!(!alerted(&world, CHANGE_FAILED).await);
}

async fn a_change_that_would_lock_people_out_when_it_is_due_fails_and_says_so(world: World) {
    let desk = desk(&world, NOW + HOUR);
    world.person("ada").await;
    desk.set_method(SetMethod { at: Some(NOW + HOUR), ..to(Pta) }, "operator").await.expect("a change");
    world.directory.become_(Mood::Down);
    world.clock.advance(HOUR);
    desk.upkeep().await.expect("upkeep");
    assert_eq!(method(&world).await, Phs);
    assert!(matches!(newest(&desk).await.state, ChangeState::Failed { .. }));
    assert!(alerted(&world, CHANGE_FAILED).await);
    world.directory.become_(Mood::Up);
    eventually("the breaker closes", async || {
        world.sign_in.outages().status().iter().all(|status| !status.breaker.is_open())
    })
    .await;
    desk.set_method(to(Pta), "operator").await.expect("a change");
    assert!(!alerted(&world, CHANGE_FAILED).await, "it is over");
}

fn canary() -> SetMethod {
    let plan = CanaryPlan { percent: 100.try_into().expect("a share"), seconds: 600, margin: 10, least: 5 };
    SetMethod { canary: Some(plan), ..to(Pta) }
}

/// Eight people, each with a device.
async fn people(world: &World) {
    for number in 0..8 {
        world.person(&format!("p{number}")).await;
    }
    tries(world, 8, 0).await;
}

/// Signs `right` people in on their devices and lets `wrong` be refused there.
async fn tries(world: &World, right: u32, wrong: u32) {
    for number in 0..right {
        let name = format!("p{number}");
        world.sign_in_from(&name, &format!("{name}-password"), &device(&name)).await.session();
    }
    for number in 0..wrong {
        let name = format!("p{number}");
        let refused = world.sign_in_from(&name, "not this one", &device(&name)).await;
        assert_eq!(refused.notice(), Some(Notice::Refused));
    }
}

async fn a_canary_whose_refusals_rise_goes_back_by_itself(world: World) {
    let desk = desk(&world, NOW + HOUR);
    people(&world).await;
    tries(&world, 8, 0).await;
    desk.upkeep().await.expect("upkeep");
    let set = desk.set_method(canary(), "operator").await.expect("a canary");
    assert!(matches!(set.state, Some(ChangeState::Canary { before, .. }) if before.admitted == 8), "{:?}", set.state);
    assert_eq!(method(&world).await, Phs, "the domain waits");
    assert_eq!(world.right("p0").await.session().method, Pta);
    tries(&world, 2, 1).await;
    desk.upkeep().await.expect("upkeep");
    assert!(matches!(newest(&desk).await.state, ChangeState::Canary { .. }), "too few to say anything");
    tries(&world, 0, 3).await;
    desk.upkeep().await.expect("upkeep");
    assert!(matches!(newest(&desk).await.state, ChangeState::RolledBack { .. }));
    assert!(alerted(&world, CANARY_ROLLED_BACK).await);
    assert_eq!(world.right("p7").await.session().method, Phs);
    assert!(desk.list_rollouts(None).await.expect("a list").is_empty());
}

async fn a_canary_that_holds_takes_the_domain_and_can_be_rolled_back(world: World) {
    let desk = desk(&world, NOW + HOUR);
    people(&world).await;
    desk.set_method(canary(), "operator").await.expect("a canary");
    world.clock.advance(11 * MINUTE);
    desk.upkeep().await.expect("upkeep");
    assert!(matches!(newest(&desk).await.state, ChangeState::Canary { .. }), "nobody has tried yet");
    tries(&world, 6, 0).await;
    desk.upkeep().await.expect("upkeep");
    assert_eq!(method(&world).await, Pta);
    assert!(matches!(newest(&desk).await.state, ChangeState::Done { .. }));
    assert!(desk.list_rollouts(None).await.expect("a list").is_empty(), "the share is gone with the trial");
    let back = desk.rollback(&domain("example.org"), false, "operator").await.expect("a rollback");
    assert_eq!((back.from, back.to, back.changed), (Pta, Phs, true));
    assert_eq!(world.right("p0").await.session().method, Phs);
    let again = desk.rollback(&domain("example.org"), false, "operator").await;
    assert!(matches!(again, Err(DeskError::Refused { readiness: None, .. })), "nothing is known before: {again:?}");
    // A trial that runs is undone by the same command.
    desk.set_method(canary(), "operator").await.expect("a canary");
    desk.rollback(&domain("example.org"), false, "operator").await.expect("a rollback");
    assert!(matches!(newest(&desk).await.state, ChangeState::RolledBack { .. }));
    assert!(desk.list_rollouts(None).await.expect("a list").is_empty());
}

async fn strangers_neither_end_a_canary_nor_make_it_pass(world: World) {
    let desk = desk(&world, NOW + HOUR);
    people(&world).await;
    desk.set_method(canary(), "operator").await.expect("a canary");
    for number in 0..8 {
        let refused = world.sign_in(&format!("p{number}"), "guessed").await;
        assert_eq!(refused.notice(), Some(Notice::Refused));
    }
    for number in 0..6 {
        world.right(&format!("p{number}")).await.session();
    }
    world.clock.advance(11 * MINUTE);
    desk.upkeep().await.expect("upkeep");
    assert!(matches!(newest(&desk).await.state, ChangeState::Canary { .. }), "{:?}", newest(&desk).await.state);
    tries(&world, 6, 0).await;
    desk.upkeep().await.expect("upkeep");
    assert!(matches!(newest(&desk).await.state, ChangeState::Done { .. }), "{:?}", newest(&desk).await.state);
}

async fn a_canary_that_cannot_be_carried_out_gives_its_share_back(world: World) {
    let desk = desk(&world, NOW + HOUR);
    people(&world).await;
    desk.set_method(canary(), "operator").await.expect("a canary");
    tries(&world, 6, 0).await;
    world.directory.become_(Mood::Down);
    world.clock.advance(11 * MINUTE);
    desk.upkeep().await.expect("upkeep");
    assert!(matches!(newest(&desk).await.state, ChangeState::Failed { .. }), "nobody could sign in");
    assert!(alerted(&world, CHANGE_FAILED).await);
    assert!(desk.list_rollouts(None).await.expect("a list").is_empty(), "the share went back with it");
    assert_eq!(method(&world).await, Phs);
    assert_eq!(world.right("p0").await.session().method, Phs);
}

async fn the_share_of_a_canary_is_not_changed_behind_its_back(world: World) {
    let desk = desk(&world, NOW + HOUR);
    for number in 0..8 {
        world.person(&format!("p{number}")).await;
    }
    desk.set_method(canary(), "operator").await.expect("a canary");
    let removal = RemoveRollout { domain: domain("example.org"), group: None, force: true, dry_run: false };
    let removed = desk.remove_rollout(removal, "operator").await;
    assert!(matches!(removed, Err(DeskError::Refused { readiness: None, .. })), "{removed:?}");
    let larger = AddRollout {
        domain: domain("example.org"),
        group: None,
        percent: Some(50.try_into().expect("a share")),
        method: Pta,
        precedence: None,
        force: true,
        dry_run: false,
    };
    let added = desk.add_rollout(larger, "operator").await;
    assert!(matches!(added, Err(DeskError::Refused { readiness: None, .. })), "{added:?}");
    assert!(matches!(newest(&desk).await.state, ChangeState::Canary { .. }));
    // Should the share be gone all the same, the domain does not follow.
    tries(&world, 6, 0).await;
    world.execute("DELETE FROM method_rollout").await;
    world.clock.advance(11 * MINUTE);
    desk.upkeep().await.expect("upkeep");
    assert_eq!(method(&world).await, Phs);
    assert!(matches!(newest(&desk).await.state, ChangeState::Failed { .. }));
}

async fn a_partners_sign_ins_are_not_compared_by_a_canary(world: World) {
    let desk = desk(&world, NOW + HOUR);
    world.person("ada").await;
    let from_managed = desk.set_method(SetMethod { method: Federated, ..canary() }, "operator").await;
    assert!(matches!(from_managed, Err(DeskError::Refused { readiness: None, .. })), "{from_managed:?}");
    // A canary that is due when the domain has become the partner's is none either.
    desk.set_method(SetMethod { at: Some(NOW + HOUR), ..canary() }, "operator").await.expect("a change");
    let federated = DomainChange {
        method: Some(Federated),
        partner: Some(Some(PARTNER.parse().expect("an entity id"))),
        ..DomainChange::default()
    };
    world.policy(federated).await;
    let from_partner = desk.set_method(SetMethod { dry_run: true, ..canary() }, "operator").await;
    assert!(matches!(from_partner, Err(DeskError::Refused { readiness: None, .. })), "{from_partner:?}");
    world.clock.advance(HOUR);
    desk.upkeep().await.expect("upkeep");
    assert!(matches!(newest(&desk).await.state, ChangeState::Failed { .. }));
    assert!(desk.list_rollouts(None).await.expect("a list").is_empty());
}

async fn of_changes_that_are_asked_for_at_once_one_is_taken(world: World) {
    let mut world = world;
    world.person("ada").await;
    let first = desk(&world, NOW + HOUR);
    world.restart();
    let second = desk(&world, NOW + HOUR);
    let later = SetMethod { at: Some(NOW + HOUR), ..to(Pta) };
    let asked = tokio::join!(
        first.set_method(later.clone(), "operator"),
        second.set_method(later.clone(), "operator"),
        first.set_method(later.clone(), "operator"),
        second.set_method(later, "operator"),
    );
    let asked = [asked.0, asked.1, asked.2, asked.3];
    assert_eq!(asked.iter().filter(|answer| answer.is_ok()).count(), 1, "{asked:?}");
    let refused = |answer: &&Result<_, _>| matches!(answer, Err(DeskError::Refused { readiness: None, .. }));
    assert_eq!(asked.iter().filter(refused).count(), 3, "{asked:?}");
    // Whoever goes round the question is stopped by the store.
    let changes = "INSERT INTO method_change SELECT 'other', domain, state, body, asked_at, version FROM method_change";
    let written: Result<(), StoreError> = world
        .db
        .write(Urgency::Waited, move |conn| {
            Box::pin(async move {
                sqlx::query(changes).execute(conn).await.map_err(StoreError::doing("writing another change"))?;
                Ok(())
            })
        })
        .await;
    assert!(written.is_err_and(|error| error.is_duplicate()));
}

async fn two_principals_are_needed_where_four_eyes_are_wanted(world: World) {
    let desk = SignInDesk { four_eyes: true, ..desk(&world, NOW + HOUR) };
    let ada = world.person("ada").await;
    world.nested_in(ada, "Pilots").await;
    let set = desk.set_method(to(Pta), "first").await.expect("a proposal");
    let id = set.change.expect("an id");
    assert!(matches!(set.state, Some(ChangeState::Proposed { .. })) && !set.changed);
    assert_eq!(method(&world).await, Phs);
    assert!(matches!(desk.approve(id, "first").await, Err(DeskError::Refused { .. })), "not by whoever proposed it");
    let done = desk.approve(id, "second").await.expect("approved");
    assert!(matches!(done.state, ChangeState::Done { .. }));
    assert_eq!((done.asked_by.as_str(), done.approved_by.as_deref()), ("first", Some("second")));
    assert_eq!(method(&world).await, Pta);
    assert!(matches!(desk.approve(id, "second").await, Err(DeskError::Refused { .. })), "once");
    // Rollouts are no way around it.
    let wish = AddRollout {
        domain: domain("example.org"),
        group: Some("Pilots".to_owned()),
        percent: None,
        method: Phs,
        precedence: None,
        force: false,
        dry_run: false,
    };
    let proposed = desk.add_rollout(wish.clone(), "first").await.expect("a proposal");
    assert!(!proposed.changed && desk.list_rollouts(None).await.expect("a list").is_empty());
    // Whichever group is called so meanwhile.
    world.execute("UPDATE tenant_group SET display_name = 'Former' WHERE display_name = 'Pilots'").await;
    world.execute("UPDATE tenant_group SET display_name = 'Pilots' WHERE display_name = 'Inner'").await;
    let approved = desk.approve(proposed.proposed.expect("an id"), "second").await.expect("approved");
    assert_eq!(world.right("ada").await.session().method, Phs);
    assert!(matches!(&approved.plan, Plan::AddRollout(wish) if wish.group.as_deref() != Some("Pilots")));
    let record = world.records("rollout.add").await.pop().expect("a record");
    assert_eq!(record.actor, Actor::Admin("second".to_owned()));
    // What nobody approves in time expires.
    world.clock.advance(MINUTE);
    let late = desk.set_method(to(Phs), "first").await.expect("a proposal").change.expect("an id");
    world.clock.advance(25 * HOUR);
    assert!(matches!(desk.approve(late, "second").await, Err(DeskError::Refused { .. })));
    desk.upkeep().await.expect("upkeep");
    assert!(matches!(newest(&desk).await.state, ChangeState::Expired { .. }));
    // Undoing needs one pair: it leads back to what two had approved.
    desk.rollback(&domain("example.org"), true, "first").await.expect("a rollback");
    assert_eq!(method(&world).await, Phs);
}

/// Another metadata document than the one that was looked at.
struct AnotherPartner;

#[async_trait::async_trait]
impl PartnerWatch for AnotherPartner {
    async fn usable_until(&self, _: &EntityId) -> Result<Option<Timestamp>, StoreDown> {
        Ok(Some(NOW + 365 * 24 * HOUR))
    }

    async fn partner_of(&self, _: &DomainName) -> Result<Option<EntityId>, StoreDown> {
        Ok(Some("https://other.partner.example/metadata".parse().expect("an entity id")))
    }
}

async fn what_was_asked_for_with_one_partner_is_not_done_with_another(world: World) {
    world.person("ada").await;
    let asked = SignInDesk { four_eyes: true, ..desk(&world, NOW + 30 * 24 * HOUR) };
    let later = SignInDesk { four_eyes: true, partners: Arc::new(AnotherPartner), ..desk(&world, NOW + HOUR) };
    let wish = SetMethod { force: true, ..to(Federated) };
    let id = asked.set_method(wish, "first").await.expect("a proposal").change.expect("an id");
    let refused = later.approve(id, "second").await;
    assert!(matches!(&refused, Err(DeskError::Refused { text, .. }) if text.contains("other.partner")), "{refused:?}");
    assert_eq!(method(&world).await, Phs);
    asked.approve(id, "second").await.expect("approved");
    assert_eq!(method(&world).await, Federated);
}

async fn alerts_that_end_together_wait_for_no_other(world: World) {
    world.person("ada").await;
    let desk = desk(&world, NOW + HOUR);
    let raise = |name: &'static str| Alert {
        name,
        subject: "example.org".to_owned(),
        detail: "of another node".to_owned(),
        at: NOW,
    };
    let other = async {
        for _ in 0..30 {
            for name in [FAILOVER_FORCED, CHANGE_FAILED, CANARY_ROLLED_BACK, FAILOVER_OVERDUE] {
                world.tables.raise(raise(name), Vec::new()).await.expect("raised");
            }
        }
    };
    let changes = async {
        for round in 0..30 {
            desk.set_method(to(if round % 2 == 0 { Pta } else { Phs }), "operator").await.expect("a change");
        }
    };
    tokio::join!(other, changes);
}

async fn a_drill_tells_whom_the_backup_would_let_in(world: World) {
    let desk = desk(&world, NOW + HOUR);
    world.pta(FailoverMode::Automatic).await;
    for name in ["ada", "bob", "outdated", "refused"] {
        world.person(name).await;
    }
    world.known("hashless", "example.org").await;
    let keeper = world.person("keeper").await;
    world.nested_in(keeper, "Vault Keepers").await;
    world.execute("UPDATE credential SET outdated_at = 1 WHERE anchor = 'a-outdated'").await;
    world
        .execute(&format!(
            "INSERT INTO account_refusal (connector, anchor, reason, server, at) \
             VALUES ('corp', 'a-refused', 'disabled', 'dir-1', {})",
            (NOW + MINUTE).millis()
        ))
        .await;
    let before = world.records("sign-in").await.len();
    let drill = desk.drill(&domain("example.org")).await.expect("a drill");
    assert_eq!((drill.users, drill.covered, drill.backup), (6, 2, Backup::Phs));
    let reasons: Vec<_> = drill.reasons.iter().map(|count| (count.reason.as_str(), count.users)).collect();
    assert_eq!(
        reasons,
        [
            ("failover-barred-group", 1),
            ("failover-hash-outdated", 1),
            ("failover-no-hash", 1),
            ("failover-refused-before-disabled", 1)
        ]
    );
    assert_eq!(drill.findings.len(), 1, "{:?}", drill.findings);
    assert_eq!(drill.passes[0].age_seconds, Some(0));
    assert_eq!(world.records("sign-in").await.len(), before, "nobody was touched");
    // It says what happens.
    world.directory.become_(Mood::Down);
    for (name, covered) in [("ada", true), ("bob", true), ("outdated", false), ("refused", false), ("keeper", false)] {
        let outcome = world.right(name).await;
        assert_eq!(matches!(outcome, Outcome::In { .. }), covered, "{name}: {outcome:?}");
    }
    world.clock.advance(8 * 24 * HOUR);
    let stale = desk.drill(&domain("example.org")).await.expect("a drill");
    assert_eq!(stale.covered, 0);
    assert!(stale.reasons.iter().any(|count| count.reason == "failover-hash-too-old" && count.users == 4));
}

async fn a_forced_backup_ends_with_its_time_unless_nobody_could_sign_in(world: World) {
    let desk = desk(&world, NOW + HOUR);
    let name = domain("example.org");
    world.pta(FailoverMode::Manual).await;
    world.person("ada").await;
    world.directory.become_(Mood::Down);
    desk.force(&name, Pin::Backup, Some(HOUR), "operator").await.expect("a pin");
    assert!(world.right("ada").await.session().failover);
    desk.upkeep().await.expect("upkeep");
    world.clock.advance(HOUR);
    desk.upkeep().await.expect("upkeep");
    assert!(world.right("ada").await.session().failover, "the directory is still down: it stays on");
    assert!(alerted(&world, FAILOVER_OVERDUE).await);
    world.directory.become_(Mood::Up);
    eventually("it is released by itself", async || {
        desk.upkeep().await.expect("upkeep");
        world.tenant.read_domain(&name).await.expect("a read").expect("a domain").pin.is_none()
    })
    .await;
    assert!(world.sign_in.outages().status().iter().all(|status| !status.breaker.is_open()), "not before it recovered");
    assert!(!alerted(&world, FAILOVER_OVERDUE).await && !alerted(&world, FAILOVER_FORCED).await);
}

async fn a_forced_backup_that_is_renewed_or_dropped_leaves_no_alert_behind(world: World) {
    let desk = desk(&world, NOW + HOUR);
    let name = domain("example.org");
    world.pta(FailoverMode::Manual).await;
    world.person("ada").await;
    world.directory.become_(Mood::Down);
    desk.force(&name, Pin::Backup, Some(HOUR), "operator").await.expect("a pin");
    let record = world.records("failover.force").await.pop().expect("a record");
    assert_eq!(record.detail["until"], (NOW + HOUR).rfc3339());
    assert!(world.right("ada").await.session().failover);
    world.clock.advance(HOUR);
    desk.upkeep().await.expect("upkeep");
    assert!(alerted(&world, FAILOVER_OVERDUE).await);
    desk.force(&name, Pin::Backup, Some(HOUR), "operator").await.expect("a pin");
    assert!(alerted(&world, FAILOVER_FORCED).await && !alerted(&world, FAILOVER_OVERDUE).await, "it is renewed");
    desk.upkeep().await.expect("upkeep");
    assert!(world.right("ada").await.session().failover, "and holds");
    // A change of the method drops the pin, and what was said of it.
    let dropped = desk.set_method(SetMethod { cut: true, ..to(Phs) }, "operator").await.expect("a change");
    assert_eq!((dropped.released_pin, dropped.sessions_cut), (Some(Pin::Backup), 2));
    assert!(!alerted(&world, FAILOVER_FORCED).await && !alerted(&world, FAILOVER_OVERDUE).await);
    let cut = world.records("domain.set-method").await.pop().expect("a record");
    assert_eq!((cut.reason.as_deref(), &cut.detail["sessions"]), (Some("cut"), &2.into()));
}
