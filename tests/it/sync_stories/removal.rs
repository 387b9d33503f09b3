//! Connectors that are missing from the settings, and their removal.

use std::sync::Arc;

use landbridge::sync::Connector;
use landbridge::sync::removal::Removal;
use landbridge::sync::run::{Preview, Profile, RunError, RunOutcome};
use landbridge::sync::store::{Holds as _, KnownConnectors as _, Spaces as _};

use super::scripted::{Directory, Target};
use super::world::{World, stores};
use super::{FURNISHED, dn, furnish};

const LAB: &str = "ou=lab,dc=example,dc=com";

/// A world with a second directory behind the first: people of its own, and one who is in both.
async fn two_directories(url: landbridge::store::DatabaseUrl, dir: Option<tempfile::TempDir>, own: usize) -> World {
    let mut world = World::open(url, dir).await;
    furnish(&world);
    let lab = Directory::new("lab");
    lab.container("l0", "dc=example,dc=com");
    lab.container("l1", LAB);
    for n in 0..own {
        let (name, mail) = (format!("lab{n}"), format!("lab{n}@example.com"));
        lab.user(&name, &format!("uid={name},{LAB}"), &[("mail", &mail), ("cn", &name), ("uid", &name)]);
    }
    lab.user("ada", &format!("uid=ada,{LAB}"), &[("mail", "ada@example.com"), ("telephoneNumber", "+1 7")]);
    lab.group("lab-team", &format!("cn=team,{LAB}"), &[&format!("uid=lab0,{LAB}")]);
    world.runner.connectors.insert(1, lab as Arc<dyn Connector>);
    assert_eq!(world.run(Profile::Cycle).await, RunOutcome::Completed);
    assert_eq!(world.target.values("ada", "telephoneNumber"), "+1 7", "it comes from the second directory alone");
    world
}

fn out_of_the_settings(world: &mut World, name: &str) {
    world.runner.connectors.retain(|connector| connector.name().as_str() != name);
}

fn removal(name: &str, object_type: Option<&str>) -> Removal {
    Removal { connector: name.parse().expect("a name"), object_type: object_type.map(str::to_owned) }
}

fn deletes(preview: &Preview) -> i64 {
    preview.targets.iter().map(|target| target.figures.pending_deletes).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_that_is_missing_from_the_settings_keeps_what_it_contributes() {
    for (store, url, dir) in stores().await {
        let mut world = two_directories(url, dir, 3).await;
        let (before, shown) = (world.dump().await, world.target.print());
        world.target.take_changes();
        let lab = world.runner.connectors[1].clone();
        out_of_the_settings(&mut world, "lab");
        for profile in [Profile::Delta, Profile::Cycle, Profile::Full] {
            assert_eq!(world.run(profile).await, RunOutcome::Completed, "{store}: {profile:?}");
            assert_eq!(world.dump().await, before, "{store}: {profile:?}");
        }
        // The other directory goes on as if nothing were missing, ties included.
        world.directory.change("bob", |o| super::set(o, "mail", &["bobby@example.org"]));
        assert_eq!(world.run(Profile::Full).await, RunOutcome::Completed, "{store}");
        assert_eq!(world.target.print(), shown.replace("bob@example.org", "bobby@example.org"), "{store}");
        assert_eq!(world.target.take_changes(), 1, "{store}");
        world.runner.connectors.insert(1, lab);
        world.directory.change("bob", |o| super::set(o, "mail", &["bob@example.org"]));
        assert_eq!(world.run(Profile::Full).await, RunOutcome::Completed, "{store}: it is back");
        assert_eq!(world.target.print(), shown, "{store}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_connector_leaves_by_a_synchronisation_and_then_its_space_is_dropped() {
    for (store, url, dir) in stores().await {
        let mut world = two_directories(url, dir, 3).await;
        let (before, shown) = (world.dump().await, world.target.print());
        let removal = removal("lab", None);
        let preview = world.runner.preview_removal(&removal).await.expect("a preview");
        assert!(preview.configured && !preview.target, "{store}");
        assert_eq!((preview.leaving["user"], preview.leaving["group"]), (4, 1), "{store}: {:?}", preview.leaving);
        assert_eq!(deletes(&preview.preview), 4, "{store}: three people and a group");
        let refused = world.runner.remove(&removal, "tester", false).await;
        assert!(matches!(refused, Err(RunError::StillConfigured { .. })), "{store}: {refused:?}");
        assert_eq!(world.dump().await, before, "{store}: neither changes anything");

        out_of_the_settings(&mut world, "lab");
        let (run, steps) = world.runner.remove(&removal, "tester", false).await.expect("removed");
        let kinds: Vec<&str> = steps.iter().map(|step| step.kind.as_str()).collect();
        assert_eq!((run.profile.as_str(), run.by.as_str()), ("remove lab", "tester"), "{store}");
        assert_eq!(kinds, ["remove", "delta-sync", "drop-space"], "{store}");
        assert_eq!(run.outcome, RunOutcome::Completed, "{store}: {steps:#?}");
        assert_eq!(world.target.print(), shown, "{store}: nothing has left yet");
        assert_eq!(world.run(Profile::Delta).await, RunOutcome::Completed, "{store}");
        assert_eq!(world.target.print(), FURNISHED, "{store}");
        assert_eq!(world.target.values("ada", "telephoneNumber"), "-", "{store}: its contribution is recalled");
        assert!(!world.dump().await.contains("lab"), "{store}: {}", world.dump().await);
        let known = world.engine.known_connectors().await.expect("known connectors");
        let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["corp", "tenant"], "{store}");
        let refused = world.runner.remove(&removal, "tester", false).await;
        assert!(matches!(refused, Err(RunError::NothingToRemove { .. })), "{store}: {refused:?}");

        // As if it had never been there.
        let dump = world.dump().await;
        world.run(Profile::Full).await;
        assert_eq!(world.dump().await, dump, "{store}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_removal_would_destroy_stands_before_the_guard() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = landbridge::store::DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
    let mut world = two_directories(url, Some(dir), 8).await;
    let shown = world.target.print();
    out_of_the_settings(&mut world, "lab");
    let removal = removal("lab", None);
    let before = world.dump().await;
    let refused = world.runner.remove(&removal, "tester", false).await;
    let Err(RunError::WouldBeHeld(preview)) = refused else { panic!("{refused:?}") };
    assert_eq!(preview.held(), "8 delete:user");
    assert_eq!(world.dump().await, before, "it was refused before anything was done");
    world.runner.remove(&removal, "tester", true).await.expect("removed");
    assert_eq!(world.run(Profile::Delta).await, RunOutcome::Held);
    assert_eq!(world.target.print(), shown, "the guard holds what follows");
    let holds = world.engine.holds().await.expect("holds");
    assert_eq!((holds.len(), holds[0].outstanding), (1, 8));
    world.runner.release("tenant", &holds[0].digest, "tester").await.expect("released");
    assert_eq!(world.run(Profile::Delta).await, RunOutcome::Completed);
    assert_eq!(world.target.print(), FURNISHED);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_type_of_a_connectors_objects_can_go_and_comes_back_if_the_settings_still_name_it() {
    for (store, url, dir) in stores().await {
        let world = World::open(url, dir).await;
        furnish(&world);
        world.run(Profile::Cycle).await;
        let groups = removal("corp", Some("group"));
        let preview = world.runner.preview_removal(&groups).await.expect("a preview");
        assert_eq!((preview.leaving.len(), preview.leaving["group"], deletes(&preview.preview)), (1, 1, 1), "{store}");
        world.runner.remove(&groups, "tester", false).await.expect("removed");
        assert_eq!(world.engine.watermark(&groups.connector).await.expect("a read"), None, "{store}");
        world.directory.remove("staff");
        assert_eq!(world.run(Profile::Delta).await, RunOutcome::Completed, "{store}");
        let people = FURNISHED.split_once('\n').expect("a group before the people").1;
        assert_eq!(world.target.print(), people, "{store}");
        world.directory.group("staff", "cn=staff,dc=example,dc=org", &[&dn("ada"), &dn("bob")]);
        world.run(Profile::Delta).await;
        assert_eq!(world.target.print(), FURNISHED, "{store}");
        let nobody = world.runner.preview_removal(&removal("corp", Some("contact"))).await;
        assert!(matches!(nobody, Err(RunError::NothingToRemove { .. })), "{store}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_target_keeps_what_it_has_and_the_gateways_own_directory_stays() {
    for (store, url, dir) in stores().await {
        let mut world = World::open(url, dir).await;
        furnish(&world);
        let refused = world.runner.preview_removal(&removal("nobody", None)).await;
        assert!(matches!(refused, Err(RunError::NothingToRemove { .. })), "{store}");
        let other = Target::new("mirror");
        world.runner.connectors.push(other.clone());
        world.run(Profile::Cycle).await;
        assert_eq!(other.print(), FURNISHED, "{store}");
        let own = world.runner.preview_removal(&removal("tenant", None)).await;
        assert!(matches!(own, Err(RunError::TenantStays)), "{store}: {own:?}");
        // The scripted targets all say that they are the tenant; this one is told apart.
        other.call_it("scim");
        world.run(Profile::Cycle).await;
        let preview = world.runner.preview_removal(&removal("mirror", None)).await.expect("a preview");
        assert!(preview.target, "{store}");
        out_of_the_settings(&mut world, "mirror");
        other.take_changes();
        let (run, _) = world.runner.remove(&removal("mirror", None), "tester", false).await.expect("removed");
        assert_eq!(run.outcome, RunOutcome::Completed, "{store}");
        world.run(Profile::Full).await;
        assert_eq!((other.take_changes(), other.print().as_str()), (0, FURNISHED), "{store}");
        assert!(!world.dump().await.contains("mirror"), "{store}");
    }
}
