//! What the engine or the tenant forgot: a lost `engine.db`, a `gateway.db` restored from a backup.

use std::collections::BTreeMap;
use std::path::Path;

use landbridge::store::DatabaseUrl;
use landbridge::sync::guard::GuardSettings;
use landbridge::sync::run::{Profile, RunOutcome, StepRecord};
use sqlx::Executor as _;

use super::scripted::Break;
use super::stage::{DirectoryParts, Stage, StageParts};

const TREES: [(&str, &str); 2] = [("alpha", "DC=alpha,DC=example"), ("beta", "DC=beta,DC=example")];

async fn stage(dir: &Path) -> Stage {
    let directories = TREES.map(|(name, suffix)| DirectoryParts {
        name: name.to_owned(),
        kind: "ldap".to_owned(),
        suffix: suffix.to_owned(),
        writes: false,
    });
    Stage::open(StageParts {
        url: DatabaseUrl::Sqlite { directory: dir.to_owned() },
        directories: directories.into(),
        tenant: true,
        options: Vec::new(),
        edits: BTreeMap::new(),
        own_rules: String::new(),
        guard: GuardSettings::default(),
        staging: None,
    })
    .await
}

fn person(stage: &Stage, of: &str, name: &str) {
    let mail = format!("{name}@{of}.example");
    let directory = &stage.directories[of].1;
    directory.user(name, &dn(of, name), &[("mail", &mail), ("cn", name), ("uid", name)]);
}

fn dn(of: &str, name: &str) -> String {
    format!("uid={name},dc={of},dc=example")
}

fn team(stage: &Stage, members: &[&str]) {
    let names: Vec<String> = members.iter().map(|name| dn("alpha", name)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    stage.directories["alpha"].1.group("team", "cn=team,dc=alpha,dc=example", &names);
}

async fn held(stage: &Stage) -> String {
    stage.print(&["userPrincipalName".to_owned()]).await
}

fn sent(steps: &[StepRecord]) -> i64 {
    let exports = steps.iter().filter(|step| step.kind == "export");
    exports.flat_map(|step| step.counters.values()).sum()
}

async fn settled(stage: &Stage) {
    for _ in 0..3 {
        if sent(&stage.run(Profile::Cycle).await.steps) == 0 {
            return;
        }
    }
    panic!("it does not come to rest: {:#?}", stage.run(Profile::Cycle).await.steps);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_engine_takes_nothing_away_while_a_source_is_unread_and_then_ends_who_left_meanwhile() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut stage = stage(dir.path()).await;
    for name in ["ada", "eve", "kim", "lea"] {
        person(&stage, "alpha", name);
    }
    person(&stage, "beta", "bob");
    team(&stage, &["ada", "kim"]);
    settled(&stage).await;
    let before = held(&stage).await;
    assert!(before.contains("userPrincipalName=bob@beta.example") && before.contains("eve"), "{before}");

    let fresh = tempfile::tempdir().expect("a temporary directory");
    stage.engine_lost(&DatabaseUrl::Sqlite { directory: fresh.path().to_owned() }).await;
    stage.directories["alpha"].1.remove("eve");
    stage.directories["alpha"].1.change("ada", |ada| super::set(ada, "mail", &["ada2@alpha.example"]));
    for how in [Break::AbortMidway, Break::Empty] {
        stage.directories["beta"].1.break_next(how);
        let played = stage.run(Profile::Cycle).await;
        assert_eq!(held(&stage).await, before, "{how:?}: nothing left: {:#?}", played.steps);
        let deferred = played.steps.iter().find(|step| step.outcome == RunOutcome::Deferred);
        let reason = deferred.and_then(|step| step.detail.clone()).unwrap_or_default();
        assert!(reason.contains("full import of beta"), "{how:?}: {:#?}", played.steps);
    }
    stage.run(Profile::Cycle).await;
    settled(&stage).await;
    let after = before.replace("ada@alpha", "ada2@alpha");
    let after: Vec<&str> = after.lines().filter(|line| !line.contains("eve")).collect();
    assert_eq!(held(&stage).await, after.join("\n"), "who left meanwhile is gone, the others are who they were");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_with_somebody_in_doubt_has_nobody_ended_who_may_be_that_one() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut stage = stage(dir.path()).await;
    person(&stage, "alpha", "ada");
    person(&stage, "beta", "bob");
    settled(&stage).await;
    let before = held(&stage).await;
    let fresh = tempfile::tempdir().expect("a temporary directory");
    stage.engine_lost(&DatabaseUrl::Sqlite { directory: fresh.path().to_owned() }).await;
    // He is there, and cannot be taken.
    stage.directories["beta"].1.change("bob", |bob| super::set(bob, "cn", &["b\0b"]));
    stage.run(Profile::Cycle).await;
    settled(&stage).await;
    assert_eq!(held(&stage).await, before);
    assert!(stage.problems().await.iter().any(|code| code == "unclaimed-object"), "{:?}", stage.problems().await);
    stage.directories["beta"].1.change("bob", |bob| super::set(bob, "cn", &["bob"]));
    settled(&stage).await;
    assert_eq!(held(&stage).await, before);
    assert_eq!(stage.problems().await, [""; 0], "he is claimed again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_tenant_is_noticed_whatever_was_numbered_since_and_brought_to_the_present() {
    for numbered_since in [false, true] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut stage = stage(dir.path()).await;
        for name in ["ada", "eve", "kim", "lea"] {
            person(&stage, "alpha", name);
        }
        team(&stage, &["ada", "kim"]);
        settled(&stage).await;
        let backup = tempfile::tempdir().expect("a temporary directory");
        snapshot(dir.path(), backup.path()).await;

        person(&stage, "beta", "bob");
        stage.directories["alpha"].1.remove("eve");
        stage.directories["alpha"].1.change("ada", |ada| super::set(ada, "mail", &["ada2@alpha.example"]));
        team(&stage, &["ada", "lea"]);
        settled(&stage).await;
        let present = held(&stage).await;
        assert!(present.contains("[ada lea]") && present.contains("ada2@") && !present.contains("eve"), "{present}");

        let restored = stage.gateway_restored(&DatabaseUrl::Sqlite { directory: backup.path().to_owned() }).await;
        assert_ne!(held(&stage).await, present, "an older state");
        if numbered_since {
            // The restored directory gives out the same numbers again.
            for n in 0..60 {
                let name = format!("other{n}.example").parse().expect("a domain");
                restored.add_domain(name, "challenge".to_owned()).await.expect("a new domain");
            }
        }
        let played = stage.run(Profile::Cycle).await;
        let noticed = |step: &&StepRecord| step.detail.as_deref().is_some_and(|text| text.contains("restored"));
        assert!(played.steps.iter().any(|step| noticed(&step)), "{:#?}", played.steps);
        settled(&stage).await;
        assert_eq!(held(&stage).await, present, "numbers given out since: {numbered_since}");
    }
}

/// Copies `gateway.db` while it is open.
async fn snapshot(from: &Path, to: &Path) {
    let url = format!("sqlite://{}", from.join("gateway.db").display());
    let pool = sqlx::AnyPool::connect(&url).await.expect("the store opens");
    let copy = format!("VACUUM INTO '{}'", to.join("gateway.db").display());
    pool.execute(sqlx::AssertSqlSafe(copy)).await.expect("a copy");
    pool.close().await;
}
