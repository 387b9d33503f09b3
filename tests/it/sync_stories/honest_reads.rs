//! Entries that cannot be taken, or not without taking somebody else's place: the run goes on, and nobody is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use landbridge::identity::{Clock as _, SettableClock, Timestamp};
use landbridge::sync::connector::{Hidden, ImportedObject, Reference, RefusedEntry};
use landbridge::sync::run::StepRecord;
use landbridge::sync::source_import::outlook;
use landbridge::sync::store::Runs;

use super::scripted::{Directory, Target};
use super::*;

fn import(steps: &[StepRecord]) -> &StepRecord {
    steps.iter().find(|step| step.kind.ends_with("import")).expect("an import")
}

fn twin(world: &World, name: &str) -> ImportedObject {
    let bob = world.directory.state.lock().expect("lock").entries["bob"].clone();
    let mut twin = ImportedObject { dn: Some(dn(name).parse().expect("a dn")), ..bob };
    set(&mut twin, "mail", &[&format!("{name}@example.org")]);
    twin
}

/// Lets the directory tell another entry too, before or behind the others, in pages of so many.
fn show_beside(world: &World, twin: &ImportedObject, first: bool, page: usize) {
    let mut state = world.directory.state.lock().expect("lock");
    (state.twins, state.twins_first, state.page) = (vec![twin.clone()], first, page);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_entries_with_one_anchor_none_becomes_the_other_and_none_is_deleted() {
    for (store, url, dir) in stores().await {
        let world = World::open(url, dir).await;
        furnish(&world);
        world.run(Profile::Cycle).await;
        world.run(Profile::Cycle).await;
        let impostor = twin(&world, "impostor");
        // Whatever the order in which the directory tells them, also within one page.
        for (first, page) in [(true, 1), (false, 1), (true, 50), (false, 50), (true, 3)] {
            let story = format!("{store}: the new entry first: {first}, pages of {page}");
            show_beside(&world, &impostor, first, page);
            let (outcome, steps) = world.run_steps(Profile::Cycle).await;
            assert_eq!(outcome, RunOutcome::Completed, "{story}: {steps:#?}");
            assert_eq!(world.target.print(), FURNISHED, "{story}");
            let step = import(&steps);
            let told = step.detail.clone().unwrap_or_default();
            assert!(told.contains("uid=impostor") && told.contains("uid=bob"), "{story}: both are named: {told}");
            assert_eq!((step.counters["refused"], step.counters["obsolete"]), (1, 0), "{story}");
        }
        // Once the other one is gone it is a rename.
        world.directory.remove("bob");
        world.run(Profile::Cycle).await;
        // The group still names the one who is gone.
        let renamed = FURNISHED.replace("bob@example.org", "impostor@example.org").replace("[ada bob]", "[ada]");
        assert_eq!(world.target.print(), renamed, "{store}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_new_entries_with_one_anchor_make_one_object_that_stays_the_same() {
    let world = World::on_sqlite().await;
    furnish(&world);
    let impostor = twin(&world, "impostor");
    for first in [false, true] {
        show_beside(&world, &impostor, first, 3);
        world.run(Profile::Cycle).await;
        assert_eq!(world.target.print(), FURNISHED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stands_where_an_entry_cannot_be_read_is_left_alone() {
    let world = World::on_sqlite().await;
    furnish(&world);
    world.run(Profile::Cycle).await;
    world.directory.remove("bob");
    let refused = |hides| RefusedEntry { name: dn("bob"), reason: "it has no entryUUID".to_owned(), hides };
    let at = Hidden::At(dn("bob").parse().expect("a dn"));
    world.directory.state.lock().expect("lock").refused = vec![refused(at)];
    world.directory.remove("eve");
    world.run(Profile::Cycle).await;
    let without_eve = FURNISHED.replace("\nuser eve eve@example.org on", "");
    assert_eq!(world.target.print(), without_eve, "bob's entry is there, eve's is not");
    world.directory.state.lock().expect("lock").refused.clear();
    world.run(Profile::Cycle).await;
    assert_eq!(world.target.print(), "group staff [ada]\nuser ada ada@example.org on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_read_that_left_somebody_in_doubt_is_none_that_is_done() {
    let world = World::on_sqlite().await;
    furnish(&world);
    let doubt = RefusedEntry { name: "?".to_owned(), reason: "unreadable".to_owned(), hides: Hidden::Anybody };
    world.directory.state.lock().expect("lock").refused = vec![doubt];
    let (_, steps) = world.run_steps(Profile::Cycle).await;
    assert_eq!(world.engine.mark("full-import:corp").await.expect("a mark"), None);
    let detail = import(&steps).detail.clone().unwrap_or_default();
    assert!(detail.contains("no complete read"), "{detail}");
    world.directory.state.lock().expect("lock").refused.clear();
    world.run(Profile::Cycle).await;
    assert!(world.engine.mark("full-import:corp").await.expect("a mark").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nul_in_a_text_is_one_objects_fault_on_every_store() {
    for (store, url, dir) in stores().await {
        let world = World::open(url, dir).await;
        furnish(&world);
        world.run(Profile::Cycle).await;
        world.directory.change("bob", |bob| set(bob, "cn", &["b\0b"]));
        world.directory.change("ada", |ada| set(ada, "mail", &["ada2@example.org"]));
        world.directory.user("new\0", &dn("new"), &[("mail", "new@example.org")]);
        world.directory.user("kim", &dn("kim"), &[("mail", "k\0im@example.org")]);
        world.directory.change("staff", |staff| {
            let odd = Reference::Anchor("a\0".to_owned());
            staff.references.entry("member".into()).or_default().push(odd);
        });
        let (outcome, steps) = world.run_steps(Profile::Cycle).await;
        assert_eq!(outcome, RunOutcome::Completed, "{store}: {steps:#?}");
        let expected = FURNISHED.replace("ada@example", "ada2@example");
        assert_eq!(world.target.print(), expected, "{store}: the others go on, nobody is deleted");
        let step = import(&steps);
        assert_eq!(step.counters["refused"], 4, "{store}");
        let detail = step.detail.clone().unwrap_or_default();
        assert!(detail.contains("`cn` holds a NUL character") && detail.contains("its anchor"), "{store}: {detail}");
        world.directory.change("bob", |bob| set(bob, "cn", &["bob"]));
        world.run(Profile::Cycle).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_shown_by_another_server_than_before_is_deleted_once_replicas_have_heard_from_each_other() {
    // Also where both reads begin in one instant.
    for ((store, url, dir), apart) in stores().await.into_iter().zip([60, 0]) {
        let directory = Directory::telling("corp", "ldap", false, BTreeMap::new());
        let mut world = World::with(url, dir, directory, Target::new("tenant")).await;
        let clock = Arc::new(SettableClock::at(Timestamp::from_secs(1_800_000_000)));
        world.runner.clock = clock.clone();
        let serve = |server: &str| server.clone_into(&mut world.directory.state.lock().expect("lock").server);
        serve("ldaps://one");
        furnish(&world);
        world.run(Profile::Cycle).await;
        assert_eq!(world.target.print(), FURNISHED, "{store}");
        // What this server tells by deltas is told before, so that its deltas are silent of it.
        clock.advance(Duration::from_secs(apart));
        world.directory.remove("eve");
        serve("ldaps://two");
        for hours in [0, 1] {
            let (_, steps) = world.run_steps(Profile::Cycle).await;
            let step = import(&steps);
            let told = step.detail.clone().unwrap_or_default();
            assert!(told.contains("another server"), "{store}, {hours} h: {told}");
            assert_eq!((step.counters["obsolete"], world.target.print()), (0, FURNISHED.to_owned()), "{store}");
            clock.advance(Duration::from_secs(3600));
            let (_, steps) = world.run_steps(Profile::Delta).await;
            assert_eq!(import(&steps).kind, "delta-import", "{store}, {hours} h: nothing is to be read whole yet");
            let shown = outlook(&world.engine, &*world.directory).await.expect("an outlook");
            let due = shown.full_due.expect("everything is read once more");
            assert!(shown.another_server && due > clock.now(), "{store}, {hours} h: {shown:?}");
        }
        clock.advance(Duration::from_secs(3600));
        let (_, steps) = world.run_steps(Profile::Delta).await;
        assert_eq!((import(&steps).kind.as_str(), import(&steps).counters["obsolete"]), ("full-import", 1), "{store}");
        assert_eq!(world.target.print(), FURNISHED.replace("\nuser eve eve@example.org on", ""), "{store}");
        let shown = outlook(&world.engine, &*world.directory).await.expect("an outlook");
        assert!(!shown.another_server, "{store}: {shown:?}");
        // The same server again: nothing is doubted.
        world.directory.remove("bob");
        let (_, steps) = world.run_steps(Profile::Cycle).await;
        assert_eq!(import(&steps).counters["obsolete"], 1, "{store}");
    }
}
