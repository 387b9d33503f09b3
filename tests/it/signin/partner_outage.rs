//! A federation partner gives no service: who gets in by their stored hash, who decides that, and when it is over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use landbridge::identity::{
    AccountState, AuthenticationMethod, Backup, Clock as _, FailoverMode, GroupFailover, Pin, PlainPassword,
    SettableClock, Timestamp,
};
use landbridge::signin::desk::{
    CANARY_REFUSED, DeskError, FAILOVER_GROUP_GONE, FailoverEdit, PARTNER_DOWN, SetMethod, SignInDesk,
};
use landbridge::signin::partner_outage::{PartnerHealth, PartnerOutages as _, Synthetic, SyntheticKind};
use landbridge::signin::shared_time::SharedTime as _;
use landbridge::signin::store::Alerts as _;
use landbridge::signin::tally::Tallies as _;
use landbridge::signin::{Notice, SignInError, Step, TransactionHandle, TransactionLost};
use landbridge::store::signin::{DatabaseTime, SignInTables};
use landbridge::store::tenant::DomainChange;
use landbridge::store::{AuditLog, Engine};

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
    who_only_looks_changes_nothing,
    no_partner_is_down_before_its_nodes_could_look_several_times,
    nodes_whose_clocks_differ_find_an_outage_together,
    an_outage_from_before_a_standstill_does_not_count,
    while_a_group_is_gone_that_a_domain_is_stricter_for_nobody_gets_in_without_an_administrator,
    a_cut_to_the_partner_ends_what_the_hash_let_in,
    all_nodes_go_by_the_time_of_the_database,
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
    look(&world, &desk, 7).await;
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

async fn who_only_looks_changes_nothing(world: World) {
    let desk = desk(&world, NOW + HOUR);
    world.person("ada").await;
    federate(&world, FailoverMode::Automatic).await;
    let partner = PARTNER.parse().expect("an entity id");
    let state = async || {
        let views = world.tables.views(&partner).await.expect("a read");
        (views, world.tables.outages().await.expect("a read"), world.alerts().await)
    };
    // Long enough without service, but for one look.
    world.partner.answers(Synthetic::SignedIn);
    look(&world, &desk, 1).await;
    world.partner.answers(down());
    look(&world, &desk, 5).await;
    world.clock.advance(MINUTE);
    let before = state().await;
    let records = world.records("failover-started").await.len();
    let status = desk.failover_status(true).await.expect("a status");
    let looked = status.partners[0].looked.clone().expect("a look");
    assert_eq!((looked.found, looked.detail.as_deref()), (SyntheticKind::NoService, Some("connection refused")));
    assert_eq!(state().await, before, "no view, no outage, no alert");
    assert!(desk.failover_status(false).await.expect("a status").partners[0].looked.is_none());
    desk.look_at_partners().await.expect("a look");
    // Nor does it end one.
    world.partner.answers(Synthetic::SignedIn);
    let before = state().await;
    assert_eq!(before.1.len(), 1);
    for _ in 0..5 {
        desk.failover_status(true).await.expect("a status");
    }
    assert_eq!((state().await, world.records("failover-started").await.len()), (before, records + 1));
    // Of a directory no more than of a partner: its breaker opens and closes by what sign-ins meet.
    world.pta(FailoverMode::Automatic).await;
    world.directory.become_(Mood::Down);
    let status = desk.failover_status(true).await.expect("a status");
    assert_eq!(status.connectors.len(), 1);
    assert!(status.connectors[0].open_since.is_none() && !status.connectors[0].servers[0].answers);
    assert!(world.alerts().await.iter().all(|alert| alert.name != "authority-down"));
}

async fn no_partner_is_down_before_its_nodes_could_look_several_times(world: World) {
    let desk = desk(&world, NOW + HOUR);
    world.person("ada").await;
    federate(&world, FailoverMode::Automatic).await;
    let at_once =
        |seconds| FailoverEdit { partner_outage_after: Some(Duration::from_secs(seconds)), ..FailoverEdit::default() };
    for seconds in [1, 119] {
        let refused = desk.set_failover(&domain("example.org"), at_once(seconds), "operator").await;
        assert!(matches!(refused, Err(DeskError::Refused { .. })), "{seconds}: {refused:?}");
    }
    desk.set_failover(&domain("example.org"), at_once(120), "operator").await.expect("four times half a minute");
    // Nor by what was stored before there was a bound.
    let policy = DomainChange { partner_outage_after: Some(Duration::from_secs(1)), ..DomainChange::default() };
    world.policy(policy).await;
    world.partner.answers(Synthetic::SignedIn);
    look(&world, &desk, 1).await;
    world.partner.answers(down());
    for passed in [0, 40, 80, 119] {
        world.clock.set(NOW + 2 * MINUTE + Duration::from_secs(passed));
        desk.look_at_partners().await.expect("a look");
        assert!(to_the_partner(&world, "ada@example.org").await, "after {passed} seconds");
    }
    world.clock.set(NOW + 4 * MINUTE);
    desk.look_at_partners().await.expect("a look");
    assert!(!to_the_partner(&world, "ada@example.org").await);
}

async fn nodes_whose_clocks_differ_find_an_outage_together(world: World) {
    let slow = Arc::new(SettableClock::at(NOW - HOUR));
    let one = desk(&world, NOW + HOUR);
    let two = SignInDesk { sign_in: world.beside(slow.clone()), ..second_node(&world).await };
    world.person("ada").await;
    federate(&world, FailoverMode::Automatic).await;
    for found in std::iter::once(Synthetic::SignedIn).chain(std::iter::repeat_n(down(), 7)) {
        world.partner.answers(found);
        world.clock.advance(MINUTE);
        slow.advance(MINUTE);
        for desk in [&one, &two] {
            let audit = AuditLog::new(world.db.clone(), desk.partner_outages.node(), world.clock.clone());
            let heard = SignInTables::new(world.db.clone(), audit);
            let now = desk.time.now().await.expect("a time");
            heard.add(std::collections::HashMap::new(), Some(60), now).await.expect("a heartbeat");
            desk.look_at_partners().await.expect("a look");
        }
    }
    let status = one.failover_status(false).await.expect("a status");
    assert_eq!((status.partners[0].health, status.partners[0].nodes.len()), (PartnerHealth::Down, 2));
    assert!(world.right("ada").await.session().failover);
}

async fn all_nodes_go_by_the_time_of_the_database(world: World) {
    let own = Arc::new(SettableClock::at(NOW));
    let found = DatabaseTime::new(world.db.clone(), own).now().await.expect("a time");
    let system = landbridge::identity::SystemClock.now();
    match world.db.engine() {
        // The tests' server runs on this machine.
        Engine::Postgres => assert!(system.since(found) < MINUTE && found.since(system) < MINUTE, "{found}, {system}"),
        Engine::Sqlite => assert_eq!(found, NOW),
    }
}

async fn an_outage_from_before_a_standstill_does_not_count(world: World) {
    let desk = desk(&world, NOW + HOUR);
    world.person("ada").await;
    federate(&world, FailoverMode::Automatic).await;
    outage(&world, &desk).await;
    // As long as somebody looks, it holds.
    look(&world, &desk, 30).await;
    assert!(!to_the_partner(&world, "ada@example.org").await);
    // Nobody looks for an hour.
    world.clock.advance(HOUR);
    assert!(to_the_partner(&world, "ada@example.org").await, "before anybody has looked again");
    assert!(desk.failover_status(false).await.expect("a status").partners[0].outage_since.is_none());
    look(&world, &desk, 1).await;
    assert!(to_the_partner(&world, "ada@example.org").await, "one look confirms nothing");
    let ended = world.records("failover-ended").await;
    assert_eq!(ended.last().and_then(|record| record.reason.clone()).as_deref(), Some("nobody-looked"));
    look(&world, &desk, 6).await;
    assert!(!to_the_partner(&world, "ada@example.org").await, "it is found out anew");
}

async fn while_a_group_is_gone_that_a_domain_is_stricter_for_nobody_gets_in_without_an_administrator(world: World) {
    let desk = desk(&world, NOW + HOUR);
    let ada = world.person("ada").await;
    world.person("bob").await;
    world.nested_in(ada, "Pilots").await;
    let name = domain("example.org");
    desk.set_group_failover(&name, "Pilots", Some(GroupFailover::Barred), "operator").await.expect("a policy");
    desk.set_group_failover(&name, "Inner", Some(GroupFailover::Automatic), "operator").await.expect("a policy");
    world.pta(FailoverMode::Automatic).await;
    world.directory.become_(Mood::Down);
    assert!(world.right("bob").await.session().failover);
    assert_eq!(world.right("ada").await.notice(), Some(Notice::Refused));
    desk.upkeep().await.expect("upkeep");
    assert!(!alerted(&world, FAILOVER_GROUP_GONE, "example.org").await);
    // The group is deleted: ada's bar is nowhere written any more.
    world.execute("UPDATE tenant_group SET deleted_at = 1 WHERE display_name = 'Pilots'").await;
    for person in ["ada", "bob"] {
        assert_eq!(world.right(person).await.notice(), Some(Notice::Refused), "{person}");
        assert_eq!(world.last_reason().await, "failover-not-forced");
    }
    desk.upkeep().await.expect("upkeep");
    assert!(alerted(&world, FAILOVER_GROUP_GONE, "example.org").await);
    let drill = desk.drill(&name).await.expect("a drill");
    assert_eq!((drill.by_itself, drill.warnings.len()), (0, 1), "{:?}", drill.warnings);
    // An administrator decides: by force, or by taking the group out.
    world.pin(Some(Pin::Backup)).await;
    assert!(world.right("bob").await.session().failover);
    world.pin(None).await;
    let groups = desk.failover_status(false).await.expect("a status").groups;
    let gone = groups.iter().find(|policy| policy.name.is_none()).expect("it is shown");
    desk.set_group_failover(&name, &gone.group.to_string(), None, "operator").await.expect("as for the domain");
    assert!(world.right("bob").await.session().failover);
    desk.upkeep().await.expect("upkeep");
    assert!(!alerted(&world, FAILOVER_GROUP_GONE, "example.org").await);
}

async fn a_cut_to_the_partner_ends_what_the_hash_let_in(world: World) {
    let desk = desk(&world, NOW + HOUR);
    world.person("ada").await;
    world.person("bob").await;
    federate(&world, FailoverMode::Automatic).await;
    let begun = named(&world, "bob@example.org").await;
    let Step::AwaitAssertion { request_id, .. } = begun.1 else { panic!("{:?}", begun.1) };
    let vouched = vouch_for("bob", "example.org", &request_id);
    let by_partner = world.sign_in.assertion(&begun.0, vouched, &stranger()).await.expect("a step");
    outage(&world, &desk).await;
    let by_hash = world.right("ada").await;
    assert_eq!(by_hash.session().method, AuthenticationMethod::Federated);
    let awaiting = world.asked("bob").await;
    world.partner.answers(Synthetic::SignedIn);
    look(&world, &desk, 3).await;
    let again = SetMethod { cut: true, ..SetMethod::new(domain("example.org"), AuthenticationMethod::Federated) };
    let cut = desk.set_method(again, "operator").await.expect("a cut");
    assert_eq!((cut.changed, cut.sessions_cut), (false, 1));
    assert!(world.sign_in.session(by_hash.cookie()).await.expect("a read").is_none());
    let lost = world.type_password(&awaiting, "bob-password", &stranger()).await;
    assert!(matches!(lost, Outcome::Error(SignInError::Lost(TransactionLost::OtherState))), "asked for a password");
    let Step::Complete { cookie: Some(cookie), .. } = by_partner else { panic!("{by_partner:?}") };
    assert!(world.sign_in.session(&cookie).await.expect("a read").is_some(), "what the partner vouched for stays");
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
