//! Stories as data: every file of `tests/data/stories` is one. What happens in the directories step by step, what the
//! target and the metaverse hold after each step, and what is left over for ever (its residue).
//!
//! Each story runs three times: with delta imports and delta synchronisation, with full imports and delta
//! synchronisation, and with both in full. After each step the same run is made once more: it stages nothing and leaves
//! exactly the residue; and a full synchronisation, which finds nothing that a delta missed. In the end the three engines
//! are in the same state.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use landbridge::store::DatabaseUrl;
use landbridge::sync::fault::{self, Fault};
use landbridge::sync::guard::GuardSettings;
use landbridge::sync::run::{Profile, RunOutcome};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::entries::happen;
use super::scripted::Break;
use super::stage::{DirectoryParts, Stage, StageParts, StagingParts};

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    /// What it tells.
    title: String,
    /// Files of `config/rules-options` that replace shipped rules.
    #[serde(default)]
    options: Vec<String>,
    /// What is written otherwise in the copies of these files.
    #[serde(default)]
    edits: BTreeMap<String, String>,
    /// Own rules beside the shipped ones.
    #[serde(default)]
    rules: String,
    /// Exports go to the real tenant directory; else to a scripted one, which takes everything.
    #[serde(default)]
    tenant: bool,
    #[serde(default)]
    guard: Guard,
    /// Runs of a step until an import has confirmed what was written back.
    #[serde(default = "one")]
    runs: usize,
    /// `then` counts the target's objects by type.
    #[serde(default)]
    counted: bool,
    /// Attributes of target objects that `then` names.
    shows: Vec<String>,
    /// Attributes of metaverse objects that `metaverse` names.
    #[serde(default)]
    tells: Vec<String>,
    /// Attributes of directories that `kept` names.
    #[serde(default)]
    keeps: Vec<String>,
    /// An engine that runs beside the active one and exports nothing.
    staging: Option<StagingTable>,
    directory: Vec<DirectoryTable>,
    step: Vec<Step>,
}

const fn one() -> usize {
    1
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Guard {
    /// As shipped.
    Usual,
    /// By count alone, not by shares.
    Count,
    #[default]
    Off,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct DirectoryTable {
    name: String,
    kind: String,
    suffix: String,
    /// Takes updates of what it shows.
    #[serde(default)]
    writes: bool,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct StagingTable {
    #[serde(default)]
    rules: String,
    #[serde(default)]
    options: Vec<String>,
    /// Directories that it does not read.
    #[serde(default)]
    without: Vec<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    what: String,
    /// Records (see `entries`) by directory.
    #[serde(default)]
    happens: BTreeMap<String, String>,
    /// Own rules that apply from now on.
    rules: Option<String>,
    /// Hours that pass before.
    #[serde(default)]
    hours: u64,
    /// Directories whose read breaks off in the middle, in every run of this step.
    #[serde(default)]
    aborts: Vec<String>,
    /// Labels of objects whose changes the scripted target refuses from now on.
    refuses: Option<Vec<String>>,
    /// Attributes that the scripted target accepts and does not keep, from now on.
    discards: Option<Vec<String>>,
    /// Targets whose holds are released before the run.
    #[serde(default)]
    releases: Vec<String>,
    #[serde(default)]
    outcome: Outcome,
    then: String,
    metaverse: Option<String>,
    /// Labels of entries of a directory whose updates it refuses from now on.
    #[serde(default)]
    refused: BTreeMap<String, Vec<String>>,
    /// What directories keep.
    #[serde(default)]
    kept: BTreeMap<String, String>,
    /// Own rules of the staging engine that apply from now on.
    staging_rules: Option<String>,
    /// How the staging engine differs from the active one.
    diff: Option<String>,
    /// What is left over, and what a repeated run does again.
    residue: Vec<String>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    #[default]
    Completed,
    Held,
    Failed,
}

impl From<Outcome> for RunOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Completed => Self::Completed,
            Outcome::Held => Self::Held,
            Outcome::Failed => Self::Failed,
        }
    }
}

impl From<Guard> for GuardSettings {
    fn from(guard: Guard) -> Self {
        match guard {
            Guard::Usual => Self::default(),
            Guard::Count => Self { percent: 100, emptied_percent: 100, members_percent: 100, ..Self::default() },
            Guard::Off => Self {
                count: i64::MAX,
                percent: 100,
                at_least: i64::MAX,
                emptied_percent: 100,
                emptied_at_least: i64::MAX,
                members_percent: 100,
                group_percent: 100,
                group_above: i64::MAX,
            },
        }
    }
}

fn stories() -> Vec<(String, Story)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/stories");
    let only = std::env::var("STORY").unwrap_or_default();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the stories").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let read = files.into_iter().filter_map(|file| {
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).expect("a story");
        let story = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        name.contains(&only).then_some((name, story))
    });
    read.collect()
}

/// Compares, and says what differs.
fn compare(what: &str, expected: &str, found: &str) -> Result<(), String> {
    let lines = |text: &str| text.trim().lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n");
    let (expected, found) = (lines(expected), lines(found));
    if expected == found { Ok(()) } else { Err(format!("{what}\nexpected:\n{expected}\nfound:\n{found}")) }
}

/// How many lines begin with each word.
fn counted(lines: &str) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for word in lines.lines().filter_map(|line| line.split(' ').next()) {
        *counts.entry(word).or_default() += 1;
    }
    counts.into_iter().map(|(word, count)| format!("{word} {count}\n")).collect()
}

/// A dump without the ids that a tenant gave its objects: no two tenants give the same.
fn without_given_ids(dump: &str) -> String {
    let mut told = dump.to_owned();
    for word in ["User_", "Group_", "Contact_", "Device_"] {
        let mut pieces = told.split(word);
        let mut rest = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let id = piece.get(..uuid::fmt::Hyphenated::LENGTH).filter(|id| uuid::Uuid::try_parse(id).is_ok());
            rest.extend([word, &piece[id.map_or(0, str::len)..]]);
        }
        told = rest;
    }
    told
}

/// The lines in which two dumps differ.
fn difference(before: &str, after: &str) -> String {
    let only = |mark: &str, of: &str, other: &str| {
        let other: std::collections::BTreeSet<&str> = other.lines().collect();
        of.lines().filter(|line| !other.contains(line)).map(|line| format!("{mark} {line}\n")).collect::<String>()
    };
    only("-", before, after) + &only("+", after, before)
}

/// Plays a story; the state in which it ends.
async fn play(story: Story, url: DatabaseUrl, profile: Profile) -> Result<String, String> {
    let directories = story.directory.iter().map(|table| DirectoryParts {
        name: table.name.clone(),
        kind: table.kind.clone(),
        suffix: table.suffix.clone(),
        writes: table.writes,
    });
    let staging = story.staging.clone().map(|StagingTable { rules, options, without }| StagingParts {
        own_rules: rules,
        options,
        without,
    });
    let stage = Stage::open(StageParts {
        url,
        directories: directories.collect(),
        tenant: story.tenant,
        options: story.options.clone(),
        edits: story.edits.clone(),
        own_rules: story.rules.clone(),
        guard: story.guard.into(),
        staging,
    })
    .await;
    for step in &story.step {
        play_step(&stage, &story, step, profile).await.map_err(|why| format!("{}: {why}", step.what))?;
    }
    Ok(without_given_ids(&stage.dump().await))
}

async fn play_step(stage: &Stage, story: &Story, step: &Step, profile: Profile) -> Result<(), String> {
    stage.clock.advance(Duration::from_secs(step.hours * 3600));
    if let Some(rules) = &step.rules {
        stage.rules(rules).await;
    }
    for (name, text) in &step.happens {
        let (kind, directory) = stage.directories.get(name).unwrap_or_else(|| panic!("there is no directory {name}"));
        happen(directory, kind, text);
    }
    {
        let mut state = stage.scripted.state.lock().expect("lock");
        if let Some(labels) = &step.refuses {
            state.refuse = labels.iter().cloned().collect();
        }
        if let Some(names) = &step.discards {
            state.discard = names.iter().map(|name| name.as_str().into()).collect();
        }
    }
    for (name, labels) in &step.refused {
        stage.directories[name].1.state.lock().expect("lock").refuse = labels.iter().cloned().collect();
    }
    if let (Some(staging), Some(rules)) = (&stage.staging, &step.staging_rules) {
        staging.rules(rules);
    }
    stage.release(&step.releases).await;
    let run = async |profile| {
        for name in &step.aborts {
            stage.directories[name].1.break_next(Break::AbortMidway);
        }
        let played = stage.run(profile).await;
        match played.missed() {
            missed if !missed.is_empty() => Err(missed.join("\n")),
            _ if played.outcome != RunOutcome::from(step.outcome) => Err(format!("{:#?}", played.steps)),
            _ => Ok(played),
        }
    };
    for _ in 0..story.runs {
        run(profile).await?;
    }
    let target = stage.print(&story.shows).await;
    compare("the target", &step.then, &if story.counted { counted(&target) } else { target })?;
    if let Some(metaverse) = &step.metaverse {
        compare("the metaverse", metaverse, &stage.metaverse(&story.tells).await)?;
    }
    for (name, kept) in &step.kept {
        compare(&format!("what {name} keeps"), kept, &stage.kept(name, &story.keeps))?;
    }
    let staged = staged(stage, step, profile).await?;
    let before = stage.dump().await;
    for profile in [profile, Profile::Full] {
        let again = run(profile).await.map_err(|why| format!("again, {}: {why}", profile.code()))?;
        let what = format!("the residue, {}", profile.code());
        compare(&what, &step.residue.join("\n"), &stage.residue(&again).await.join("\n"))?;
        let after = stage.dump().await;
        if before != after {
            return Err(format!("a repeated run, {}, changes\n{}", profile.code(), difference(&before, &after)));
        }
        let again = self::staged(stage, step, profile).await?;
        if staged != again {
            let differing = difference(&staged, &again);
            return Err(format!("a repeated run, {}, of the staging engine changes\n{differing}", profile.code()));
        }
    }
    Ok(())
}

/// Runs the staging engine, if the story has one, and compares it with the active one; the state that it is in.
async fn staged(stage: &Stage, step: &Step, profile: Profile) -> Result<String, String> {
    let Some(staging) = &stage.staging else { return Ok(String::new()) };
    let outcome = staging.run(profile).await;
    if outcome != RunOutcome::Completed {
        return Err(format!("a run of the staging engine is {}", outcome.code()));
    }
    if let Some(diff) = &step.diff {
        compare("the comparison", diff, &staging.differences(&stage.runner).await)?;
    }
    Ok(staging.dump().await)
}

const PROFILES: [Profile; 3] = [Profile::Delta, Profile::Cycle, Profile::Full];

/// One story in all profiles on SQLite.
async fn on_sqlite(story: Story) -> Vec<String> {
    let (mut faults, mut ends) = (Vec::new(), Vec::new());
    for profile in PROFILES {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
        match play(story.clone(), url, profile).await {
            Ok(end) => ends.push((profile, end)),
            Err(why) => faults.push(format!("{}: {why}", profile.code())),
        }
    }
    for pair in ends.windows(2) {
        if pair[0].1 != pair[1].1 {
            let (one, other) = (pair[0].0.code(), pair[1].0.code());
            faults.push(format!("{one} and {other} differ\n{}", difference(&pair[0].1, &pair[1].1)));
        }
    }
    faults
}

/// Stories that are played at a time: each has connections of its own to the database.
const AT_ONCE: usize = 4;

async fn all<F: Future<Output = Vec<String>> + Send + 'static>(of: impl Fn(Story) -> F) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let plays: Vec<_> = stories()
        .into_iter()
        .map(|(name, story)| {
            let (title, room, play) = (story.title.clone(), room.clone(), of(story));
            let play = async move {
                let _permit = room.acquire_owned().await.expect("it is never closed");
                play.await
            };
            (format!("{name} ({title})"), tokio::spawn(play))
        })
        .collect();
    let mut faults = Vec::new();
    for (name, play) in plays {
        match play.await {
            Ok(why) => faults.extend(why.into_iter().map(|why| format!("== {name}: {why}"))),
            Err(error) => faults.push(format!("== {name}: {error}")),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_story_comes_out_by_delta_in_full_and_twice_over() {
    all(on_sqlite).await;
}

/// Deltas, object by object, each of them evaluated before the one in front of it is committed.
async fn hastily(story: Story) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
    play(story, url, Profile::Delta).await.err().into_iter().collect()
}

#[tokio::test]
async fn every_story_comes_out_whatever_is_evaluated_ahead() {
    fault::hasten(Some(1));
    all(hastily).await;
}

/// What evaluation ahead would do without a look at what was committed meanwhile.
#[tokio::test]
async fn a_batch_that_went_stale_would_be_noticed() {
    fault::hasten(Some(1));
    fault::plant(Some(Fault::StaleBatches));
    let mut stories = stories().into_iter().filter(|(name, _)| name.starts_with("08"));
    let (_, two_of_one_forest) = stories.next().expect("the story");
    let faults = hastily(two_of_one_forest).await;
    assert!(faults.iter().any(|fault| fault.contains("the target")), "{faults:?}");
}

async fn on_postgresql(story: Story) -> Vec<String> {
    let url = DatabaseUrl::Postgres { url: crate::support::postgres::Postgres::start().fresh_database() };
    play(story, url, Profile::Delta).await.err().into_iter().collect()
}

/// By delta alone: what differs between the profiles is not the database's business.
#[tokio::test(flavor = "multi_thread")]
async fn every_story_comes_out_on_postgresql_too() {
    all(on_postgresql).await;
}
