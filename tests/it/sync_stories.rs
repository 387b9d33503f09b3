//! Sync stories on SQLite and PostgreSQL: what happens in the directory, and what the target then holds.

mod scripted;
mod world;

use landbridge::sync::attribute::Value;
use landbridge::sync::connector::{ImportedObject, Reference};
use landbridge::sync::run::{Profile, RunOutcome};
use scripted::Break;
use world::{World, stores};

const PEOPLE: &str = "ou=people,dc=example,dc=org";

fn dn(name: &str) -> String {
    format!("uid={name},{PEOPLE}")
}

fn set(object: &mut ImportedObject, name: &str, values: &[&str]) {
    object.attributes.remove(&name.into());
    if !values.is_empty() {
        object.attributes.insert(name.into(), values.iter().map(|value| Value::text(*value)).collect());
    }
}

fn members(object: &mut ImportedObject, names: &[&str]) {
    let references = names.iter().map(|name| Reference::Dn(dn(name).parse().expect("a dn"))).collect();
    object.references.insert("member".into(), references);
}

/// Three people and a group of two.
fn furnish(world: &World) {
    let directory = &world.directory;
    directory.container("c0", "dc=example,dc=org");
    directory.container("c1", PEOPLE);
    for name in ["ada", "bob", "eve"] {
        let mail = format!("{name}@example.org");
        directory.user(name, &dn(name), &[("mail", &mail), ("cn", name), ("uid", name)]);
    }
    directory.group("staff", "cn=staff,dc=example,dc=org", &[&dn("ada"), &dn("bob")]);
}

const FURNISHED: &str = "group staff [ada bob]\nuser ada ada@example.org on\nuser bob bob@example.org on\n\
                         user eve eve@example.org on";

/// One thing that happens, and what the target holds after the next run.
struct Step {
    what: &'static str,
    happens: fn(&World),
    then: &'static str,
}

const LIFE: &[Step] = &[
    Step { what: "furnished", happens: furnish, then: FURNISHED },
    Step {
        what: "renamed and moved: a rename is no new person",
        happens: |w| w.directory.change("ada", |o| o.dn = Some("uid=lovelace,ou=people,dc=example,dc=org".parse().expect("a dn"))),
        // The group still names the old DN: the directory has no referential integrity.
        then: "group staff [ada bob]\nuser ada ada@example.org on\nuser bob bob@example.org on\nuser eve eve@example.org on",
    },
    Step {
        what: "renamed back",
        happens: |w| w.directory.change("ada", |o| o.dn = Some(dn("ada").parse().expect("a dn"))),
        then: FURNISHED,
    },
    Step {
        what: "disabled",
        happens: |w| w.directory.change("ada", |o| set(o, "nsAccountLock", &["TRUE"])),
        then: "group staff [ada bob]\nuser ada ada@example.org off\nuser bob bob@example.org on\nuser eve eve@example.org on",
    },
    Step {
        what: "enabled, and a new address",
        happens: |w| {
            w.directory.change("ada", |o| {
                set(o, "nsAccountLock", &[]);
                set(o, "mail", &["ada.byron@example.org"]);
            });
        },
        then: "group staff [ada bob]\nuser ada ada.byron@example.org on\nuser bob bob@example.org on\nuser eve eve@example.org on",
    },
    Step {
        what: "group change",
        happens: |w| w.directory.change("staff", |o| members(o, &["bob", "eve"])),
        then: "group staff [bob eve]\nuser ada ada.byron@example.org on\nuser bob bob@example.org on\nuser eve eve@example.org on",
    },
    Step {
        what: "deleted",
        happens: |w| w.directory.remove("bob"),
        then: "group staff [eve]\nuser ada ada.byron@example.org on\nuser eve eve@example.org on",
    },
    Step {
        what: "back again, and its membership with it",
        happens: |w| w.directory.user("bob", &dn("bob"), &[("mail", "bob@example.org"), ("cn", "bob")]),
        then: "group staff [bob eve]\nuser ada ada.byron@example.org on\nuser bob bob@example.org on\nuser eve eve@example.org on",
    },
    Step {
        what: "two people swap their addresses",
        happens: |w| {
            w.directory.change("bob", |o| set(o, "mail", &["eve@example.org"]));
            w.directory.change("eve", |o| set(o, "mail", &["bob@example.org"]));
        },
        then: "group staff [bob eve]\nuser ada ada.byron@example.org on\nuser bob eve@example.org on\nuser eve bob@example.org on",
    },
    Step {
        what: "a group in a group",
        happens: |w| w.directory.group("all", "cn=all,dc=example,dc=org", &["cn=staff,dc=example,dc=org", &dn("ada")]),
        then: "group all [ada staff]\ngroup staff [bob eve]\nuser ada ada.byron@example.org on\nuser bob eve@example.org on\nuser eve bob@example.org on",
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn a_life_in_the_directory_arrives_at_the_target_step_by_step_and_twice_over_changes_nothing() {
    for (store, url, dir) in stores().await {
        let world = World::open(url, dir).await;
        for step in LIFE {
            (step.happens)(&world);
            assert_eq!(world.run(Profile::Cycle).await, RunOutcome::Completed, "{store}: {}", step.what);
            assert_eq!(world.target.print(), step.then, "{store}: {}", step.what);
            world.target.take_changes();
            let before = world.dump().await;
            world.run(Profile::Cycle).await;
            assert_eq!(world.dump().await, before, "{store}: {}: a second cycle", step.what);
            world.run(Profile::Full).await;
            assert_eq!(world.dump().await, before, "{store}: {}: a full cycle", step.what);
            assert_eq!(world.target.take_changes(), 0, "{store}: {}: nothing is exported twice", step.what);
        }
    }
}
