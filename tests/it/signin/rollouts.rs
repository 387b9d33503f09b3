//! Staged rollout, from the command to the sign-in.

use std::collections::{BTreeMap, BTreeSet};

use landbridge::identity::{AuthenticationMethod, FailoverMode, SignInName, UserId};
use landbridge::signin::desk::{AddRollout, DeskError, RemoveRollout, SignInDesk};
use landbridge::signin::readiness::NotReady;
use landbridge::signin::rollout::Because;
use landbridge::signin::{Notice, SignIn, SignInError, Step};
use landbridge::store::tenant::DomainChange;

use super::administration::desk;
use super::federated::{PARTNER, vouch_for};
use super::scripted::Mood;
use super::world::*;

use AuthenticationMethod::{Federated, Phs, Pta};

on_both_engines! {
    a_nested_groups_rollout_holds_on_every_node_from_the_next_sign_in_on,
    a_share_that_is_raised_moves_nobody_back_and_the_report_is_what_happens,
    a_rollout_that_would_lock_people_out_is_refused_and_says_whom,
    a_partner_answers_for_those_alone_who_walk_to_it,
    what_one_method_refuses_no_rollout_lets_in,
}

fn for_group(group: &str, method: AuthenticationMethod) -> AddRollout {
    AddRollout {
        domain: domain("example.org"),
        group: Some(group.to_owned()),
        percent: None,
        method,
        precedence: None,
        force: false,
        dry_run: false,
    }
}

fn for_share(percent: u8, method: AuthenticationMethod) -> AddRollout {
    let percent = percent.try_into().expect("a share");
    AddRollout { group: None, percent: Some(percent), ..for_group("", method) }
}

fn without(group: Option<&str>) -> RemoveRollout {
    RemoveRollout { domain: domain("example.org"), group: group.map(ToOwned::to_owned), force: false, dry_run: false }
}

/// Where a name is led to: the method of the password page, or federation.
async fn road(world: &World, node: &SignIn, typed: &str) -> AuthenticationMethod {
    let begun = node.begin(request(), &stranger(), None).await.expect("a transaction");
    match node.identify(&begun.handle, typed, &stranger()).await.expect("a step") {
        Step::AwaitAssertion { .. } => Federated,
        Step::AwaitPassword { .. } => {
            let sql = format!(
                "SELECT CAST(COUNT(*) AS BIGINT) FROM signin_transaction WHERE id = '{}' AND method = 'pta'",
                begun.handle.id
            );
            if world.number(&sql).await == 1 { Pta } else { Phs }
        }
        other => panic!("{other:?}"),
    }
}

async fn a_nested_groups_rollout_holds_on_every_node_from_the_next_sign_in_on(world: World) {
    let mut world = world;
    let desk = desk(&world, NOW + HOUR);
    let ada = world.person("ada").await;
    world.person("bob").await;
    world.nested_in(ada, "Pilots").await;
    let first = world.sign_in.clone();
    world.restart();
    let nodes = [first, world.sign_in.clone()];
    for node in &nodes {
        assert_eq!(road(&world, node, "ada@example.org").await, Phs);
    }
    let open = world.asked("ada").await;
    let planned = desk.add_rollout(AddRollout { dry_run: true, ..for_group("Pilots", Pta) }, "operator").await;
    let planned = planned.expect("a plan");
    assert_eq!((planned.changed, planned.readiness.users, planned.readiness.not_ready), (false, 1, 0));
    assert_eq!(road(&world, &nodes[1], "ada@example.org").await, Phs);
    assert!(desk.add_rollout(for_group("Pilots", Pta), "operator").await.expect("a rollout").changed);
    for node in &nodes {
        assert_eq!(road(&world, node, "ada@example.org").await, Pta);
        assert_eq!(road(&world, node, "bob@example.org").await, Phs);
    }
    assert_eq!(world.right("ada").await.session().method, Pta);
    // Who had been asked for a password before finishes as it began.
    let finished = world.type_password(&open, "ada-password", &stranger()).await;
    assert_eq!(finished.session().method, Phs);
    // Who leaves the group leaves the rollout, also through the group in between.
    world.execute("DELETE FROM membership WHERE member_kind = 'group'").await;
    assert_eq!(road(&world, &nodes[0], "ada@example.org").await, Phs);
    world
        .execute(&format!(
            "INSERT INTO membership SELECT g.oid, 'user', '{ada}' FROM tenant_group g \
                            WHERE g.display_name = 'Pilots'"
        ))
        .await;
    assert_eq!(road(&world, &nodes[0], "ada@example.org").await, Pta);
    world.execute("UPDATE tenant_group SET deleted_at = 1 WHERE display_name = 'Pilots'").await;
    assert_eq!(road(&world, &nodes[0], "ada@example.org").await, Phs);
    world.execute("UPDATE tenant_group SET deleted_at = NULL").await;
    let listed = desk.list_rollouts(None).await.expect("a list");
    let shown: Vec<_> = listed.iter().map(|row| (row.group_name.as_deref(), row.users)).collect();
    assert_eq!(shown, [(Some("Pilots"), 1)]);
    assert!(desk.remove_rollout(without(Some("Pilots")), "operator").await.expect("removed").changed);
    for node in &nodes {
        assert_eq!(road(&world, node, "ada@example.org").await, Phs);
    }
    assert!(matches!(desk.remove_rollout(without(None), "operator").await, Err(DeskError::Refused { .. })));
    assert!(matches!(desk.add_rollout(for_group("Nobody's", Pta), "operator").await, Err(DeskError::NoGroup(_))));
    for kind in ["rollout.add", "rollout.remove"] {
        assert_eq!(world.records(kind).await.len(), 1, "{kind}");
    }
}

async fn a_share_that_is_raised_moves_nobody_back_and_the_report_is_what_happens(world: World) {
    let desk = desk(&world, NOW + HOUR);
    let mut people = BTreeMap::new();
    for number in 0..24 {
        let name = format!("p{number:02}");
        people.insert(world.person(&name).await, format!("{name}@example.org"));
    }
    let pilot = *people.keys().next().expect("somebody");
    world.nested_in(pilot, "Stays").await;
    desk.add_rollout(for_group("Stays", Phs), "operator").await.expect("a group that is held back");
    let mut before = BTreeSet::new();
    for percent in [10, 40, 75, 100] {
        let set = desk.add_rollout(for_share(percent, Pta), "operator").await.expect("a share");
        let now = moved(&world, &desk, &people).await;
        assert!(now.is_superset(&before) && !now.contains(&pilot), "{percent}");
        assert_eq!(set.readiness.users, (now.len() - before.len()) as u64, "the plan tells how many are moved");
        before = now;
    }
    assert_eq!(before.len(), people.len() - 1);
    let listed = desk.list_rollouts(Some(&domain("example.org"))).await.expect("a list");
    let users: Vec<u64> = listed.iter().map(|row| row.users).collect();
    assert_eq!(users, [1, 23], "groups first, the share last");
    let other = desk.add_rollout(for_share(20, Federated), "operator").await;
    assert!(matches!(other, Err(DeskError::Refused { readiness: None, .. })), "one share a domain: {other:?}");
}

/// Who signs in by pass-through; the report says the same of everybody.
async fn moved(world: &World, desk: &SignInDesk, people: &BTreeMap<UserId, String>) -> BTreeSet<UserId> {
    let name = domain("example.org");
    let mut report = desk.report(&name, None, None, 10).await.expect("a report");
    let mut pages = vec![report.clone()];
    while let Some(next) = report.next {
        report = desk.report(&name, None, Some(next), 10).await.expect("a report");
        pages.push(report.clone());
    }
    let users: Vec<_> = pages.into_iter().flat_map(|page| page.users).collect();
    assert_eq!(users.len(), people.len());
    let mut moved = BTreeSet::new();
    for user in users {
        let walked = road(world, &world.sign_in, &people[&user.oid]).await;
        assert_eq!((walked, user.not_ready), (user.now, None), "{}", user.upn);
        assert_eq!(matches!(user.because, Because::Share(_)), walked == Pta);
        if walked == Pta {
            moved.insert(user.oid);
        }
    }
    moved
}

async fn a_rollout_that_would_lock_people_out_is_refused_and_says_whom(world: World) {
    let desk = desk(&world, NOW + HOUR);
    world.pta(FailoverMode::Manual).await;
    let ready = world.person("ada").await;
    let hashless = world.known("hashless", "example.org").await;
    world.directory.person(&anchor("hashless"), "hashless-password");
    world.nested_in(ready, "Pilots").await;
    world
        .execute(&format!(
            "INSERT INTO membership SELECT g.oid, 'user', '{hashless}' FROM tenant_group g \
                            WHERE g.display_name = 'Pilots'"
        ))
        .await;
    match desk.add_rollout(for_group("Pilots", Phs), "operator").await {
        Err(DeskError::Refused { readiness: Some(readiness), .. }) => {
            assert_eq!((readiness.users, readiness.not_ready), (2, 1));
            let named: Vec<_> = readiness.named.iter().map(|user| (user.oid, user.reason)).collect();
            assert_eq!(named, [(hashless, NotReady::NoHash)]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.right("hashless").await.session().method, Pta, "nothing has changed");
    let forced = AddRollout { force: true, ..for_group("Pilots", Phs) };
    assert_eq!(desk.add_rollout(forced, "operator").await.expect("forced").readiness.not_ready, 1);
    let record = world.records("rollout.add").await.pop().expect("a record");
    assert_eq!((&record.detail["forced"], &record.detail["not_ready"]), (&true.into(), &1.into()));
    let report = desk.report(&domain("example.org"), None, None, 1000).await.expect("a report");
    let unable: Vec<_> = report.users.iter().filter_map(|user| Some((user.oid, user.not_ready?))).collect();
    assert_eq!(unable, [(hashless, NotReady::NoHash)]);
    assert_eq!(world.right("hashless").await.notice(), Some(Notice::Refused), "as the report says");
    // A method of the domain is judged together with what rollouts make of it.
    let to_pta = desk.report(&domain("example.org"), Some(Pta), None, 1000).await.expect("a report");
    assert_eq!(to_pta.users.iter().filter(|user| user.then == Phs).count(), 2);
    // Back to a directory that does not answer nobody is moved unasked either.
    world.directory.become_(Mood::Down);
    match desk.remove_rollout(without(Some("Pilots")), "operator").await {
        Err(DeskError::Refused { readiness: Some(readiness), .. }) => assert_eq!(readiness.not_ready, 2),
        other => panic!("{other:?}"),
    }
}

async fn a_partner_answers_for_those_alone_who_walk_to_it(world: World) {
    let desk = desk(&world, NOW + HOUR);
    let ada = world.person("ada").await;
    world.person("bob").await;
    world.nested_in(ada, "Federated ones").await;
    desk.add_rollout(for_group("Federated ones", Federated), "operator").await.expect("a rollout");
    let vouched = async |typed: &str, by: &str| {
        let begun = world.sign_in.begin(request(), &stranger(), None).await.expect("a transaction");
        match world.sign_in.identify(&begun.handle, typed, &stranger()).await.expect("a step") {
            Step::AwaitAssertion { request_id, partner, .. } => {
                assert_eq!(partner.as_str(), PARTNER);
                world.sign_in.assertion(&begun.handle, vouch_for(by, "example.org", &request_id), &stranger()).await
            }
            other => panic!("{other:?}"),
        }
    };
    let signed_in = vouched("ada@example.org", "ada").await;
    assert!(matches!(signed_in, Ok(Step::Complete { ref session, .. }) if session.oid == ada), "{signed_in:?}");
    // The partner was given ada, not the domain.
    let other = vouched("ada@example.org", "bob").await;
    assert!(matches!(other, Err(SignInError::AssertionRefused)), "{other:?}");
    assert_eq!(world.last_reason().await, "federation.user_not_the_partners");
    assert_eq!(world.right("bob").await.session().method, Phs);
    // A sign-in that was sent to the partner before the rollout ended ends there.
    let sent_away = async || {
        let begun = world.sign_in.begin(request(), &stranger(), None).await.expect("a transaction");
        let step = world.sign_in.identify(&begun.handle, "ada@example.org", &stranger()).await.expect("a step");
        let Step::AwaitAssertion { request_id, .. } = step else { panic!("{step:?}") };
        (begun.handle, request_id)
    };
    let ((handle, request_id), (other, request_of_other)) = (sent_away().await, sent_away().await);
    desk.remove_rollout(without(Some("Federated ones")), "operator").await.expect("removed");
    // Nor does the partner's end let it vouch for anybody else.
    let bob = world.sign_in.assertion(&other, vouch_for("bob", "example.org", &request_of_other), &stranger()).await;
    assert!(matches!(bob, Err(SignInError::AssertionRefused)), "{bob:?}");
    let late = world.sign_in.assertion(&handle, vouch_for("ada", "example.org", &request_id), &stranger()).await;
    assert!(matches!(late, Ok(Step::Complete { .. })), "{late:?}");
    assert_eq!(world.right("ada").await.session().method, Phs);

    // The other way round: the domain is the partner's, and a group is ahead of it.
    let federated = DomainChange {
        method: Some(Federated),
        partner: Some(Some(PARTNER.parse().expect("an entity id"))),
        ..DomainChange::default()
    };
    world.policy(federated).await;
    desk.add_rollout(for_group("Federated ones", Phs), "operator").await.expect("a rollout");
    assert_eq!(world.right("ada").await.session().method, Phs);
    let ahead = vouched("bob@example.org", "ada").await;
    assert!(matches!(ahead, Err(SignInError::AssertionRefused)), "ada is no longer the partner's: {ahead:?}");
    assert!(matches!(vouched("bob@example.org", "bob").await, Ok(Step::Complete { .. })));
    // A hint at the domain does not lead to the partner past who signs in otherwise.
    let mut hinted = request();
    hinted.domain_hint = Some("example.org".to_owned());
    let begun = world.sign_in.begin(hinted, &stranger(), None).await.expect("a transaction");
    assert!(matches!(begun.step, Step::AwaitIdentifier { .. }), "{:?}", begun.step);
}

async fn what_one_method_refuses_no_rollout_lets_in(world: World) {
    let desk = desk(&world, NOW + HOUR);
    let ada = world.person("ada").await;
    world.nested_in(ada, "Pilots").await;
    world.hashes.store(&anchor("ada"), "the-former-password");
    desk.add_rollout(for_group("Pilots", Pta), "operator").await.expect("a rollout");
    // The directory refuses what the stored hash would accept: that is the end.
    assert_eq!(world.sign_in("ada", "the-former-password").await.notice(), Some(Notice::Refused));
    assert_eq!(world.right("ada").await.session().method, Pta);
    let checked = world.hashes.checked();
    world.directory.become_(Mood::Down);
    assert_eq!(world.right("ada").await.notice(), Some(Notice::TryAgain), "the domain has no backup");
    assert_eq!(world.hashes.checked(), checked, "nobody asked the other method");
    let name: SignInName = "ada@example.org".parse().expect("a name");
    desk.unlock(&name).await.expect("a write");
}
