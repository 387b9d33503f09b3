//! What leads a delta synchronisation on, and what tells that something did not.

use std::sync::Arc;

use landbridge::sync::activation::activate;
use landbridge::sync::change_set::SyncBatch;
use landbridge::sync::rule::RuleSource;
use landbridge::sync::run::{Profile, RunOutcome};
use landbridge::sync::store::{Runs, Spaces, Synchronisation};
use landbridge::sync::synchronise::DELTA_MISSED;

use super::world::World;
use super::{FURNISHED, furnish, set};

#[tokio::test(flavor = "multi_thread")]
async fn other_rules_are_applied_to_everybody_by_the_next_cycle_and_once() {
    let world = World::on_sqlite().await;
    furnish(&world);
    world.run(Profile::Delta).await;
    let kinds = async || -> Vec<String> {
        let (_, steps) = world.run_steps(Profile::Delta).await;
        steps.into_iter().map(|step| step.kind).filter(|kind| kind.ends_with("-sync")).collect()
    };
    assert_eq!(kinds().await, ["delta-sync"]);
    let current = world.runner.activations.current().await.expect("a store").expect("rules are active");
    let own = RuleSource {
        file: "own.toml".to_owned(),
        text: "[[rule]]\nname = \"Own\"\ndirection = \"inbound\"\nconnector_kind = \"ldap\"\nspace_type = \"user\"\n\
               metaverse_type = \"user\"\nlink = \"join\"\nprecedence = 50\n\n[[rule.flow]]\n\
               target = \"userPrincipalName\"\nconstant = \"same@example.org\"\n"
            .to_owned(),
    };
    let sources = [current.sources, vec![own]].concat();
    activate(&*world.runner.activations, sources, "test").await.expect("the rules hold");
    assert_eq!(kinds().await, ["full-sync"]);
    assert!(world.target.print().contains("user ada same@example.org on"), "{}", world.target.print());
    assert_eq!(kinds().await, ["delta-sync"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_delta_missed_is_found_by_a_full_synchronisation_and_told_by_name() {
    let world = World::on_sqlite().await;
    furnish(&world);
    world.run(Profile::Cycle).await;
    let corp = "corp".parse().expect("a name");
    let head = world.engine.heads_by_anchor(&corp, &["ada".to_owned()]).await.expect("heads").remove(0);
    let mut ada = world.engine.objects(&[head.id]).await.expect("objects").remove(0);
    // As an edge that was not followed would leave it.
    ada.applied.clear();
    let epoch = world.lease.0.lock().expect("lock").expect("held");
    let batch = SyncBatch { updated: vec![ada], ..SyncBatch::default() };
    world.engine.commit_sync(epoch, batch, &[]).await.expect("a commit");
    assert_eq!(world.run(Profile::Cycle).await, RunOutcome::Completed);
    let (_, steps) = world.runner.run(Profile::Full, Arc::new(|_| {})).await.expect("the run ends");
    let step = steps.iter().find(|step| step.kind == "full-sync").expect("a full synchronisation");
    assert!(step.counters[DELTA_MISSED] > 0, "{step:#?}");
    assert!(step.detail.as_deref().is_some_and(|text| text.contains("corp/uid=ada (join)")), "{step:#?}");
    assert_eq!(world.target.print(), FURNISHED);
    world.run(Profile::Full).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_without_a_watermark_imports_everything() {
    let world = World::on_sqlite().await;
    furnish(&world);
    let (_, steps) = world.run_steps(Profile::Delta).await;
    // A target that is not known is looked at before anything else.
    assert_eq!([&steps[0].kind, &steps[1].kind], ["confirm", "full-import"], "{steps:#?}");
    let corp = "corp".parse().expect("a name");
    assert_eq!(world.engine.watermark(&corp).await.expect("a store"), None);
    let done = world.engine.mark("full-import:corp").await.expect("a store");
    assert!(done.is_some(), "when everything was read is kept");
    world.directory.change("ada", |o| set(o, "mail", &["delta@example.org"]));
    world.run(Profile::Delta).await;
    assert!(world.target.print().contains("delta@example.org"), "{}", world.target.print());
}
