//! A federation partner gives no service: who gets in by their stored hash, who decides that, and when it is over.

use std::collections::BTreeSet;
use std::time::Duration;

use landbridge::identity::{
    AccountState, AuthenticationMethod, Backup, FailoverMode, GroupFailover, Pin, PlainPassword, Timestamp,
};
use landbridge::signin::desk::{CANARY_REFUSED, DeskError, FailoverEdit, PARTNER_DOWN, SetMethod, SignInDesk};
use landbridge::signin::partner_outage::{PartnerHealth, PartnerOutages as _, Synthetic};
use landbridge::signin::store::Alerts as _;
use landbridge::signin::tally::Tallies as _;
use landbridge::signin::{Notice, Step, TransactionHandle};
use landbridge::store::tenant::DomainChange;
use landbridge::store::{AuditLog, signin::SignInTables};

use super::administration::desk;
use super::federated::{PARTNER, vouch_for};
use super::scripted::Mood;
use super::world::*;

on_both_engines! {
    a_partner_is_passed_over_once_every_node_has_found_no_service_for_the_whole_time,
    a_partner_that_answers_anything_at_all_is_not_down,
    while_the_partner_is_down_the_conditions_of_failover_hold,
    failover_of_a_partner_is_manual_until_a_domain_says_otherwise,
    a_sign_in_begun_in_the_outage_goes_to_the_partner_once_it_serves,
    names_that_nobody_has_walk_the_same_road,
    an_outage_ends_with_the_method,
    of_a_domain_some_groups_fail_over_and_others_do_not,
    a_forced_backup_of_a_partner_stays_while_it_is_down,
}

const MINUTE: Duration = Duration::from_secs(60);

fn down() -> Synthetic {
    Synthetic::NoService("connection refused".to_owned())
}

/// `example.org` federated, with stored hashes behind it.
async fn federate(world: &World, mode: FailoverMode) {
    let change = DomainChange {
        method: Some(AuthenticationMethod::Federated),
        partner: Some(Some(PARTNER.parse().expect("an entity id"))),
        backup: Some(Backup::Phs),
        failover: Some(mode),
        partner_outage_after: Some(5 * MINUTE),
        ..DomainChange::default()
    };
    world.policy(change).await;
}

/// Looks once a minute, so often.
async fn look(world: &World, desk: &SignInDesk, times: u32) {
    for _ in 0..times {
        world.clock.advance(MINUTE);
        desk.look_at_partners().await.expect("a look");
    }
}

/// A partner that served, and then for six minutes did not.
async fn outage(world: &World, desk: &SignInDesk) {
    world.partner.answers(Synthetic::SignedIn);
    look(world, desk, 1).await;
    world.partner.answers(down());
    look(world, desk, 7).await;
}

/// What somebody is shown who types a name.
async fn named(world: &World, typed: &str) -> (TransactionHandle, Step) {
    let begun = world.sign_in.begin(request(), &stranger(), None).await.expect("a transaction");
    let step = world.sign_in.identify(&begun.handle, typed, &stranger()).await.expect("a step");
    (begun.handle, step)
}

async fn to_the_partner(world: &World, typed: &str) -> bool {
    matches!(named(world, typed).await.1, Step::AwaitAssertion { .. })
}

async fn alerted(world: &World, name: &str, subject: &str) -> bool {
    world.alerts().await.iter().any(|alert| alert.name == name && alert.subject == subject)
}

/// Another node over the same store.
async fn second_node(world: &World) -> SignInDesk {
    let audit = AuditLog::new(world.db.clone(), "node-2".parse().expect("a node"), world.clock.clone());
    let tables = SignInTables::new(world.db.clone(), audit);
    SignInDesk { partner_outages: std::sync::Arc::new(tables), ..desk(world, NOW + HOUR) }
}

async fn a_partner_is_passed_over_once_every_node_has_found_no_service_for_the_whole_time(world: World) {
    let (one, two) = (desk(&world, NOW + HOUR), second_node(&world).await);
    world.person("ada").await;
    federate(&world, FailoverMode::Automatic).await;
    let alive = async |at: Timestamp| {
        for desk in [&one, &two] {
            let tables = SignInTables::new(
                world.db.clone(),
                AuditLog::new(world.db.clone(), desk.partner_outages.node(), world.clock.clone()),
            );
            tables.add(std::collections::HashMap::new(), Some(60), at).await.expect("a heartbeat");
        }
    };
    for desk in [&one, &two] {
        desk.look_at_partners().await.expect("a look");
    }
    // One node loses its way to the partner; the other does not.
    let mut now = NOW;
    for _ in 0..10 {
        now = now + MINUTE;
        world.clock.advance(MINUTE);
        alive(now).await;
        world.partner.answers(down());
        one.look_at_partners().await.expect("a look");
        world.partner.answers(Synthetic::SignedIn);
        two.look_at_partners().await.expect("a look");
    }
    assert!(to_the_partner(&world, "ada@example.org").await, "one node alone decides nothing");
    // Now neither reaches it.
    world.partner.answers(down());
    for passed in 1..=6 {
        now = now + MINUTE;
        world.clock.advance(MINUTE);
        alive(now).await;
        one.look_at_partners().await.expect("a look");
        two.look_at_partners().await.expect("a look");
        assert_eq!(to_the_partner(&world, "ada@example.org").await, passed < 6, "after {passed} minutes");
    }
    assert!(world.right("ada").await.session().failover);
    let begun = world.records("failover-started").await;
    assert_eq!(begun.len(), 1, "one record, whoever confirmed it: {begun:#?}");
    assert!(alerted(&world, PARTNER_DOWN, "example.org").await);
    let status = one.failover_status(false).await.expect("a status");
    let [partner] = status.partners.as_slice() else { panic!("{:?}", status.partners) };
    assert_eq!((partner.health, partner.nodes.len()), (PartnerHealth::Down, 2));
    // One node signs in again, and again: over for all, though the other has not seen it yet.
    world.partner.answers(Synthetic::SignedIn);
    for good in 1..=2 {
        now = now + MINUTE;
        world.clock.advance(MINUTE);
        alive(now).await;
        two.look_at_partners().await.expect("a look");
        assert_eq!(to_the_partner(&world, "ada@example.org").await, good == 2, "{good} good ones");
    }
    assert!(!alerted(&world, PARTNER_DOWN, "example.org").await);
    assert_eq!(world.records("failover-ended").await.len(), 1);
}

async fn a_partner_that_answers_anything_at_all_is_not_down(world: World) {
    let desk = desk(&world, NOW + HOUR);
    world.person("ada").await;
    federate(&world, FailoverMode::Automatic).await;
    look(&world, &desk, 1).await;
    world.partner.answers(Synthetic::Otherwise("answered with status 403".to_owned()));
    look(&world, &desk, 30).await;
    assert!(to_the_partner(&world, "ada@example.org").await);
    assert!(alerted(&world, CANARY_REFUSED, PARTNER).await, "it is told all the same");
    assert!(!alerted(&world, PARTNER_DOWN, "example.org").await);
    world.partner.answers(Synthetic::SignedIn);
    look(&world, &desk, 1).await;
    assert!(world.alerts().await.is_empty());
}

async fn while_the_partner_is_down_the_conditions_of_failover_hold(world: World) {
    let desk = desk(&world, NOW + HOUR);
    world.person("ada").await;
    world.person("bob").await;
    world.person("eve").await;
    let disabled = AccountState { enabled: false, ..AccountState::unrestricted() };
    world.state("bob", &disabled, NOW).await;
    world.execute("UPDATE tenant_user SET account_enabled = 0 WHERE upn = 'eve@example.org'").await;
    world.known("fay", "example.org").await;
    federate(&world, FailoverMode::Automatic).await;
    outage(&world, &desk).await;
    let session = world.right("ada").await;
    let session = session.session();
    assert_eq!((session.method, session.failover), (AuthenticationMethod::Federated, true));
    assert_eq!(session.authority, "password-hash");
    assert!(session.amr.iter().any(|amr| amr == "failover"));
    assert_eq!(world.last_record().await.detail["failover"], true);
    for (name, reason) in
        [("bob", "failover-disabled"), ("eve", "failover-disabled-in-tenant"), ("fay", "failover-no-hash")]
    {
        assert_eq!(world.right(name).await.notice(), Some(Notice::Refused), "{name}");
        assert_eq!(world.last_reason().await, reason);
    }
    assert_eq!(world.sign_in("ada", "wrong").await.notice(), Some(Notice::Refused));
    assert_eq!(world.last_reason().await, "backup-wrong-password");
    world.clock.advance(8 * 24 * HOUR);
    look(&world, &desk, 1).await;
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
    assert_eq!(world.last_reason().await, "failover-hash-too-old");
    // No directory was asked about anybody.
    assert_eq!(world.directory.checked(), 0);
}

async fn failover_of_a_partner_is_manual_until_a_domain_says_otherwise(world: World) {
    let desk = desk(&world, NOW + HOUR);
    world.person("ada").await;
    federate(&world, FailoverMode::Manual).await;
    outage(&world, &desk).await;
    assert!(alerted(&world, PARTNER_DOWN, "example.org").await, "an administrator is told");
    assert!(to_the_partner(&world, "ada@example.org").await, "and nobody else decides");
    desk.force(&domain("example.org"), Pin::Backup, None, "operator").await.expect("a pin");
    assert!(world.right("ada").await.session().failover);
    // What was decided by hand holds both ways.
    let name = domain("example.org");
    let automatic = FailoverEdit { mode: Some(FailoverMode::Automatic), ..FailoverEdit::default() };
    desk.set_failover(&name, automatic, "operator").await.expect("a change");
    desk.force(&name, Pin::Primary, None, "operator").await.expect("a pin");
    assert!(to_the_partner(&world, "ada@example.org").await);
}

async fn a_sign_in_begun_in_the_outage_goes_to_the_partner_once_it_serves(world: World) {
    let desk = desk(&world, NOW + HOUR);
    world.person("ada").await;
    federate(&world, FailoverMode::Automatic).await;
    outage(&world, &desk).await;
    let handle = world.asked("ada").await;
    world.partner.answers(Synthetic::SignedIn);
    look(&world, &desk, 2).await;
    let password = PlainPassword::new("ada-password".to_owned());
    let step = world.sign_in.password(&handle, password, &stranger()).await.expect("a step");
    let Step::AwaitAssertion { request_id, .. } = step else { panic!("{step:?}") };
    assert_eq!(world.hashes.checked(), 0, "nothing was checked");
    let vouched = vouch_for("ada", "example.org", &request_id);
    let step = world.sign_in.assertion(&handle, vouched, &stranger()).await.expect("a step");
    assert!(matches!(step, Step::Complete { session, .. } if !session.failover));
}

async fn names_that_nobody_has_walk_the_same_road(world: World) {
    let desk = desk(&world, NOW + HOUR);
    world.person("ada").await;
    federate(&world, FailoverMode::Automatic).await;
    assert!(to_the_partner(&world, "nobody@example.org").await);
    outage(&world, &desk).await;
    for name in ["ada@example.org", "nobody@example.org"] {
        let handle = world.typed(name).await;
        assert_eq!(world.type_password(&handle, "wrong", &stranger()).await.notice(), Some(Notice::Refused), "{name}");
    }
    assert_eq!(world.hashes.dummies.load(std::sync::atomic::Ordering::SeqCst), 1, "nobody's hash costs as much");
}

async fn an_outage_ends_with_the_method(world: World) {
    let desk = desk(&world, NOW + HOUR);
    world.person("ada").await;
    federate(&world, FailoverMode::Automatic).await;
    outage(&world, &desk).await;
    let to_phs = SetMethod::new(domain("example.org"), AuthenticationMethod::Phs);
    let handle = world.asked("ada").await;
    desk.set_method(to_phs, "operator").await.expect("a change");
    look(&world, &desk, 1).await;
    assert!(world.tables.outages().await.expect("a read").is_empty());
    assert!(world.alerts().await.is_empty());
    // Who was asked for the password in the outage is asked for it again, and signs in by the new method.
    let password = || PlainPassword::new("ada-password".to_owned());
    let step = world.sign_in.password(&handle, password(), &stranger()).await.expect("a step");
    assert!(matches!(step, Step::AwaitPassword { notice: None, .. }), "{step:?}");
    let step = world.sign_in.password(&handle, password(), &stranger()).await.expect("a step");
    assert!(matches!(step, Step::Complete { session, .. } if session.method == AuthenticationMethod::Phs));
}

async fn of_a_domain_some_groups_fail_over_and_others_do_not(world: World) {
    let desk = desk(&world, NOW + HOUR);
    let (ada, _) = (world.person("ada").await, world.person("bob").await);
    world.nested_in(ada, "Pilots").await;
    let name = domain("example.org");
    let set = async |group: &str, failover| desk.set_group_failover(&name, group, failover, "operator").await;
    assert!(matches!(set("Nobody's", Some(GroupFailover::Manual)).await, Err(DeskError::NoGroup(_))));
    world.pta(FailoverMode::Automatic).await;
    world.directory.become_(Mood::Down);
    assert!(world.right("ada").await.session().failover && world.right("bob").await.session().failover);
    // Stricter than the domain, through the group in between.
    set("Pilots", Some(GroupFailover::Manual)).await.expect("a policy");
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
    assert_eq!(world.last_reason().await, "failover-not-forced");
    assert!(world.right("bob").await.session().failover);
    world.pin(Some(Pin::Backup)).await;
    assert!(world.right("ada").await.session().failover, "forced, it holds for them too");
    set("Pilots", Some(GroupFailover::Barred)).await.expect("a policy");
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
    assert_eq!(world.last_reason().await, "failover-barred-group");
    let drill = desk.drill(&name).await.expect("a drill");
    assert_eq!((drill.users, drill.covered, drill.by_itself), (2, 1, 1));
    // Of several groups the strictest.
    set("Inner", Some(GroupFailover::Automatic)).await.expect("a policy");
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
    world.pin(None).await;
    // Laxer than the domain: the others are refused alike, so that nobody can tell who is in the group.
    world.pta(FailoverMode::Manual).await;
    set("Pilots", None).await.expect("as for the domain");
    assert!(world.right("ada").await.session().failover);
    assert_eq!(world.right("bob").await.notice(), Some(Notice::Refused));
    assert_eq!(world.last_reason().await, "failover-not-forced");
    assert_eq!(world.sign_in("nobody", "x").await.notice(), Some(Notice::Refused));
    let drill = desk.drill(&name).await.expect("a drill");
    assert_eq!((drill.covered, drill.by_itself), (2, 1));
    set("Inner", None).await.expect("as for the domain");
    assert_eq!(world.right("ada").await.notice(), Some(Notice::TryAgain), "nobody can be asked without a word");
    assert!(matches!(set("Inner", None).await, Err(DeskError::Refused { .. })), "it is so already");
    let records = world.records("failover.set-group").await;
    let said: BTreeSet<_> = records.iter().filter_map(|record| record.detail["failover"].as_str()).collect();
    assert_eq!(said, BTreeSet::from(["as-domain", "automatic", "barred", "manual"]));
}

async fn a_forced_backup_of_a_partner_stays_while_it_is_down(world: World) {
    let desk = desk(&world, NOW + HOUR);
    world.person("ada").await;
    federate(&world, FailoverMode::Manual).await;
    outage(&world, &desk).await;
    let name = domain("example.org");
    desk.force(&name, Pin::Backup, Some(10 * MINUTE), "operator").await.expect("a pin");
    assert!(matches!(desk.release(&name, false, "operator").await, Err(DeskError::StillDown { .. })));
    world.clock.advance(11 * MINUTE);
    look(&world, &desk, 1).await;
    desk.upkeep().await.expect("upkeep");
    assert!(world.right("ada").await.session().failover, "its time is over, and it stays");
    world.partner.answers(Synthetic::SignedIn);
    look(&world, &desk, 2).await;
    desk.upkeep().await.expect("upkeep");
    assert!(to_the_partner(&world, "ada@example.org").await);
    assert!(world.tables.raised().await.expect("the alerts").is_empty());
}
