//! Sync stories on SQLite and PostgreSQL: what happens in the directory, and what the target then holds.
//!
//! Most are data: see [`stories`]. The acceptance scenarios of the field (reference, section 4.8) have the number of their row.
//!
//! The compatibility traps of the reference's section 14, and what tests each (`NN` and `trap-NN` are stories):
//!
//! | Trap | Test |
//! |---|---|
//! | 1 operator precedence | `sync-expr`: `operators_bind_as_shipped_rules_need` |
//! | 2 ISNOTBITSET and ISBITNOTSET, numbers as numbers | `rule::tests`: `both_spellings_of_a_bit_that_is_not_set_are_one_operator`, `absent_attributes_fail_positive_tests_and_pass_their_negations` |
//! | 3 contraries on absent attributes | `rule::tests`: `absent_attributes_fail_positive_tests_and_pass_their_negations` |
//! | 4 null and authoritative null | 14; [`rule_flows`] |
//! | 5 cloudFiltered is true or nothing | 13, trap-05; `rule::shipped_tests` |
//! | 6 joined once | trap-06 |
//! | 7 projection needs a join value | trap-07 |
//! | 8 imported values | 15; `sync-expr`: `imported_values_are_those_of_the_last_import` |
//! | 9 base64 of a string and of bytes | `sync-expr`: `vectors_of_the_field` |
//! | 10 case of source anchors | trap-10 |
//! | 11 linked mailboxes contribute no anchor | 01, 02 |
//! | 12 a contact becomes a user | 04 |
//! | 13 a renamed container | edge-container; real servers: `sync_delta` |
//! | 14 placeholder names, quarantine, release | `store_tenant`: `a_duplicate_is_quarantined_and_released_with_the_value`; `tenant::unique` |
//! | 15 no obsolescence after a partial read | 20; `an_aborted_or_empty_read_obsoletes_nothing` |
//! | 16 merged values keep the target's own | [`rule_flows`]: `merged_values_come_together_and_those_of_the_target_stay` |
//! | 17 Item, ItemOrNull, Switch | `sync-expr`: `vectors_of_the_field`, `only_what_is_chosen_is_evaluated_and_every_condition` |
//! | 18 a join rule without conditions | trap-18 |
//! | 19 absent and empty | `sync-expr`: `null_is_nothing_false_and_equal_to_itself` |
//! | 20 password eligibility | trap-20, 01 |
//! | 21 several join rules | trap-21 |
//! | 22 state is no postal address | trap-22 |
//!
//! The edges of delta synchronisation (design, section 4):
//!
//! | Edge | Story |
//! |---|---|
//! | a metaverse change -> who waits for that join value | 08, 09 |
//! | a reference target joined, filtered or gone -> its referrers | edge-referrers, 02 |
//! | membership of a group named in a scope -> its members | edge-scope-group |
//! | a container -> its subtree | edge-container |
//! | a contributor lost -> the remaining contributors | 01, 04 |
//! | target facts read back | 15 |
//! | time | edge-time |
//! | rules or parameters -> full synchronisation | edge-rules, 14 |

mod doubts;
mod edges;
mod entries;
mod honest_reads;
mod rebuilt;
mod removal;
mod rule_flows;
mod runs;
mod scripted;
mod stage;
mod stories;
mod world;

use landbridge::sync::attribute::Value;
use landbridge::sync::connector::{ImportedObject, Reference};
use landbridge::sync::profile::StepKind;
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
        happens: |w| {
            w.directory
                .change("ada", |o| o.dn = Some("uid=lovelace,ou=people,dc=example,dc=org".parse().expect("a dn")))
        },
        // The group still names the old DN, where nobody is: the directory has no referential integrity.
        then: "group staff [bob]\nuser ada ada@example.org on\nuser bob bob@example.org on\nuser eve eve@example.org on",
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

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_or_empty_read_obsoletes_nothing() {
    let world = World::on_sqlite().await;
    furnish(&world);
    world.run(Profile::Cycle).await;
    for how in [Break::AbortMidway, Break::Empty] {
        world.directory.break_next(how);
        let (outcome, steps) = world.run_steps(Profile::Cycle).await;
        assert_eq!(outcome, RunOutcome::Failed, "{how:?}");
        assert_eq!(steps[0].outcome, RunOutcome::Failed, "{how:?}");
        assert_eq!(world.target.print(), FURNISHED, "{how:?}");
    }
    assert_eq!(world.run(Profile::Cycle).await, RunOutcome::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_entries_are_reported_by_name_and_stop_nobody_else() {
    let world = World::on_sqlite().await;
    furnish(&world);
    let directory = &world.directory;
    directory.user("noanchor", &dn("noanchor"), &[("mail", "n@example.org")]);
    directory.change("noanchor", |o| set(o, "entryUUID", &[]));
    directory.user("twin", &dn("twin"), &[("mail", "twin@example.org")]);
    directory.change("twin", |o| set(o, "entryUUID", &["ada"]));
    directory.user("lan", &dn("lan"), &[("mail", "lan@corp.local")]);
    directory.user("odd", &dn("odd"), &[("mail", "o d@example.org")]);
    assert_eq!(world.run(Profile::Cycle).await, RunOutcome::Completed);
    let mut problems = world.problems().await;
    problems.sort();
    assert_eq!(
        problems,
        ["uid=lan invalid-upn", "uid=noanchor missing-anchor", "uid=odd invalid-upn", "uid=twin duplicate-anchor"]
    );
    let held = "group staff [ada bob]\nuser ada ada@example.org on\nuser bob bob@example.org on\n\
                user eve eve@example.org on\nuser lan lan@corp.local on\nuser odd o d@example.org on";
    assert_eq!(world.target.print(), held);
    // Who waited for the value gets it when its holder goes.
    directory.remove("ada");
    directory.change("noanchor", |o| set(o, "entryUUID", &["late"]));
    world.run(Profile::Cycle).await;
    let mut problems = world.problems().await;
    problems.sort();
    assert_eq!(problems, ["uid=lan invalid-upn", "uid=odd invalid-upn"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_source_anchor_freezes_the_object_until_it_returns() {
    let world = World::on_sqlite().await;
    furnish(&world);
    world.run(Profile::Cycle).await;
    world.directory.change("ada", |o| {
        set(o, "entryUUID", &["other"]);
        set(o, "mail", &["new@example.org"]);
    });
    world.run(Profile::Cycle).await;
    assert_eq!(world.target.print(), FURNISHED);
    assert_eq!(world.problems().await, ["uid=ada source-anchor-changed"]);
    world.directory.change("ada", |o| set(o, "entryUUID", &["ada"]));
    world.run(Profile::Cycle).await;
    assert!(world.target.print().contains("user ada new@example.org on"), "{}", world.target.print());
    assert!(world.problems().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_whose_answer_was_lost_is_read_back_before_anything_is_resent() {
    for (store, url, dir) in stores().await {
        let world = World::open(url, dir).await;
        furnish(&world);
        for (how, resent) in [(Break::LoseAnswer, 0), (Break::LoseBatch, 1)] {
            world.run(Profile::Cycle).await;
            world.target.take_changes();
            let mail = format!("{how:?}@example.org").to_lowercase();
            world.directory.change("ada", |o| set(o, "mail", &[&mail]));
            world.target.break_next(how);
            assert_eq!(world.run(Profile::Cycle).await, RunOutcome::Failed, "{store}: {how:?}");
            world.target.take_changes();
            assert_eq!(world.run(Profile::Cycle).await, RunOutcome::Completed, "{store}: {how:?}");
            assert_eq!(world.target.take_changes(), resent, "{store}: {how:?}");
            assert!(world.target.print().contains(&format!("user ada {mail} on")), "{store}: {how:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_add_whose_answer_was_lost_makes_no_second_object() {
    let world = World::on_sqlite().await;
    furnish(&world);
    world.target.break_next(Break::LoseAnswer);
    assert_eq!(world.run(Profile::Cycle).await, RunOutcome::Failed);
    let id = world.target.id_of("ada");
    assert_eq!(world.run(Profile::Cycle).await, RunOutcome::Completed);
    assert_eq!(world.target.print(), FURNISHED);
    assert_eq!(world.target.id_of("ada"), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_change_is_reported_and_tried_again_while_the_others_pass() {
    let world = World::on_sqlite().await;
    furnish(&world);
    world.target.state.lock().expect("lock").refuse.insert("bob".to_owned());
    let told = async || {
        let steps = world.run_steps(Profile::Cycle).await.1;
        let exports = steps.into_iter().filter(|step| step.kind == StepKind::Export.code());
        exports.filter_map(|step| step.detail).collect::<Vec<String>>()
    };
    assert_eq!(told().await, ["1 not accepted: see `sync status`"]);
    assert_eq!(world.problems().await, ["bob@example.org export-refused"]);
    assert_eq!(world.target.print(), "group staff [ada]\nuser ada ada@example.org on\nuser eve eve@example.org on");
    world.target.state.lock().expect("lock").refuse.clear();
    assert!(told().await.is_empty());
    assert_eq!(world.target.print(), FURNISHED);
    assert!(world.problems().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_lease_refuses_every_write_of_the_older() {
    use landbridge::identity::LeaseEpoch;
    let world = World::on_sqlite().await;
    furnish(&world);
    *world.lease.0.lock().expect("lock") = Some(LeaseEpoch::from_number(5));
    world.run(Profile::Cycle).await;
    *world.lease.0.lock().expect("lock") = Some(LeaseEpoch::from_number(4));
    let refused = world.runner.run(Profile::Cycle, std::sync::Arc::new(|_| {})).await;
    assert!(matches!(
        refused,
        Err(landbridge::sync::run::RunError::Store(landbridge::sync::store::EngineStoreError::LeaseLost { .. }))
    ));
    *world.lease.0.lock().expect("lock") = None;
    let refused = world.runner.run(Profile::Cycle, std::sync::Arc::new(|_| {})).await;
    assert!(matches!(refused, Err(landbridge::sync::run::RunError::Lease(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_deletes_are_held_at_import_and_at_export_until_each_is_released() {
    use landbridge::sync::store::Holds;
    for (store, url, dir) in stores().await {
        let world = World::open(url, dir).await;
        for n in 0..40 {
            let name = format!("p{n:02}");
            let mail = format!("{name}@example.org");
            world.directory.user(&name, &dn(&name), &[("mail", &mail)]);
        }
        world.run(Profile::Cycle).await;
        let full = world.target.print();
        (0..12).for_each(|n| world.directory.remove(&format!("p{n:02}")));
        for stage in ["import:corp", "tenant"] {
            assert_eq!(world.run(Profile::Cycle).await, RunOutcome::Held, "{store}: {stage}");
            assert_eq!(world.target.print(), full, "{store}: {stage}: nothing left");
            let holds = world.engine.holds().await.expect("holds");
            assert_eq!(holds.len(), 1, "{store}: {stage}");
            assert_eq!((holds[0].target.as_str(), holds[0].outstanding, holds[0].limit), (stage, 12, 5), "{store}");
            assert!(world.runner.release(stage, "0000000000000000", "admin").await.is_err(), "{store}: {stage}");
            world.runner.release(stage, &holds[0].digest, "admin").await.expect("the release names the digest");
        }
        assert_eq!(world.run(Profile::Cycle).await, RunOutcome::Completed, "{store}");
        assert_eq!(world.target.print().lines().count(), 28, "{store}");
        assert_eq!(world.events.held.lock().expect("lock").len(), 2, "{store}");
        // The release was for those alone.
        (12..18).for_each(|n| world.directory.remove(&format!("p{n:02}")));
        assert_eq!(world.run(Profile::Cycle).await, RunOutcome::Held, "{store}: a second wave");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_tells_what_would_leave_and_commits_nothing() {
    for (store, url, dir) in stores().await {
        let world = World::open(url, dir).await;
        furnish(&world);
        world.run(Profile::Cycle).await;
        world.directory.change("ada", |o| set(o, "mail", &["a2@example.org"]));
        world.directory.user("new", &dn("new"), &[("mail", "new@example.org")]);
        let target = &world.target;
        target.break_next(Break::LoseBatch);
        world.run(Profile::Staging).await;
        let before = world.dump().await;
        let preview = world.runner.preview(None).await.expect("a preview");
        let figures = &preview.targets[0].figures;
        assert_eq!((figures.pending_adds, figures.pending_updates, figures.pending_deletes), (1, 1, 0), "{store}");
        assert_eq!(world.dump().await, before, "{store}");
        target.break_next(Break::Nothing);
        assert_eq!(world.run(Profile::Cycle).await, RunOutcome::Completed, "{store}");
    }
}

/// A thousand objects more, with five thousand links, each time.
#[tokio::test(flavor = "multi_thread")]
async fn the_statements_of_a_batch_do_not_depend_on_the_size_of_the_directory() {
    for (kind, ..) in stores().await {
        let mut statements = Vec::new();
        for thousands in 1..=3 {
            let (_, url, dir) =
                stores().await.into_iter().find(|(name, ..)| *name == kind).expect("the same stores every time");
            let world = World::open(url, dir).await.unguarded();
            world.directory.state.lock().expect("lock").page = 500;
            world.directory.container("c0", "dc=example,dc=org");
            world.directory.container("c1", PEOPLE);
            let names: Vec<String> = (0..950 * thousands).map(|index| format!("p{index:05}")).collect();
            for name in &names {
                let mail = format!("{name}@example.org");
                world.directory.user(name, &dn(name), &[("mail", &mail), ("cn", name), ("uid", name)]);
            }
            for group in 0..50 * thousands {
                let members: Vec<String> =
                    (0..100).map(|member| dn(&names[(group * 19 + member) % names.len()])).collect();
                let members: Vec<&str> = members.iter().map(String::as_str).collect();
                let name = format!("g{group:05}");
                world.directory.group(&name, &format!("cn={name},dc=example,dc=org"), &members);
            }
            assert_eq!(world.run(Profile::Cycle).await, RunOutcome::Completed, "{kind}");
            statements.push(world.engine.statements() as f64);
        }
        let (second, third) = (statements[1] - statements[0], statements[2] - statements[1]);
        assert!((third / second - 1.0).abs() < 0.05, "{kind}: batches cost more in a larger directory: {statements:?}");
        assert!(third < 2_500.0, "{kind}: {third} statements for 1,000 objects and 5,000 links");
    }
}

mod random {
    //! Whatever happens in the directory: an engine that followed it step by step ends in the state of a fresh one.

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Change {
        Put(u8, u8),
        Disable(u8, bool),
        Remove(u8),
        Group(u8, Vec<u8>),
        RemoveGroup(u8),
        Move(u8, bool),
        Run,
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            (0u8..6, 0u8..4).prop_map(|(n, mail)| Change::Put(n, mail)),
            (0u8..6, any::<bool>()).prop_map(|(n, on)| Change::Disable(n, on)),
            (0u8..6).prop_map(Change::Remove),
            (0u8..3, prop::collection::vec(0u8..9, 0..5)).prop_map(|(n, members)| Change::Group(n, members)),
            (0u8..3).prop_map(Change::RemoveGroup),
            (0u8..6, any::<bool>()).prop_map(|(n, there)| Change::Move(n, there)),
            Just(Change::Run),
        ]
    }

    fn person_dn(n: u8, elsewhere: bool) -> String {
        format!("uid=p{n},ou={},dc=example,dc=org", if elsewhere { "elsewhere" } else { "people" })
    }

    fn member_dn(n: u8) -> String {
        if n < 6 { person_dn(n, false) } else { format!("cn=g{},dc=example,dc=org", n - 6) }
    }

    fn apply(world: &World, change: &Change) {
        let directory = &world.directory;
        let knows = |anchor: &str| directory.state.lock().expect("lock").entries.contains_key(anchor);
        match change {
            Change::Put(n, mail) => {
                directory.user(&format!("p{n}"), &person_dn(*n, false), &[("mail", &format!("m{mail}@example.org"))]);
            }
            Change::Disable(n, on) if knows(&format!("p{n}")) => {
                let value: &[&str] = if *on { &[] } else { &["TRUE"] };
                directory.change(&format!("p{n}"), |o| set(o, "nsAccountLock", value));
            }
            Change::Remove(n) => directory.remove(&format!("p{n}")),
            Change::Group(n, members) => {
                let members: Vec<String> = members.iter().map(|n| member_dn(*n)).collect();
                let members: Vec<&str> = members.iter().map(String::as_str).collect();
                directory.group(&format!("g{n}"), &format!("cn=g{n},dc=example,dc=org"), &members);
            }
            Change::RemoveGroup(n) => directory.remove(&format!("g{n}")),
            Change::Move(n, elsewhere) if knows(&format!("p{n}")) => {
                directory.change(&format!("p{n}"), |o| o.dn = Some(person_dn(*n, *elsewhere).parse().expect("a dn")));
            }
            Change::Disable(..) | Change::Move(..) | Change::Run => {}
        }
    }

    fn converges(changes: Vec<Change>) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let world = World::on_sqlite().await;
            // Changes here are wild; the guard has stories of its own.
            let world = world.unguarded();
            // A directory that shows nothing at all is not believed; here it always shows its root.
            world.directory.container("c0", "dc=example,dc=org");
            for change in &changes {
                apply(&world, change);
                if matches!(change, Change::Run) {
                    world.run(Profile::Cycle).await;
                }
            }
            world.run(Profile::Cycle).await;
            world.run(Profile::Cycle).await;
            let incremental = world.dump().await;
            world.run(Profile::Full).await;
            assert_eq!(incremental, world.dump().await, "a full synchronisation finds nothing");
            let dir = tempfile::tempdir().expect("a temporary directory");
            let url = landbridge::store::DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
            let fresh = World::with(url, Some(dir), world.directory.clone(), scripted::Target::new("tenant")).await;
            let fresh = fresh.unguarded();
            fresh.run(Profile::Full).await;
            fresh.run(Profile::Cycle).await;
            assert_eq!(incremental, fresh.dump().await, "a fresh engine comes to the same");
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, ..ProptestConfig::default() })]
        #[test]
        fn an_engine_that_followed_all_changes_equals_a_fresh_one(changes in prop::collection::vec(change(), 1..40)) {
            converges(changes);
        }
    }
}
