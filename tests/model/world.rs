//! The world of one history: sources, target and an engine on a real store, and what must be true of them.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use landbridge::identity::{LeaseEpoch, SettableClock, Timestamp};
use landbridge::store::engine::SqlEngine;
use landbridge::store::{Database, DatabaseUrl, Engine, Room};
use landbridge::sync::activation::{Activation, ActivationError, Activations, digest};
use landbridge::sync::connector::Connector;
use landbridge::sync::fault;
use landbridge::sync::guard::{GuardSettings, Hold};
use landbridge::sync::lease::EngineLease;
use landbridge::sync::rule::RuleSource;
use landbridge::sync::run::{Profile, RunEvents, RunOutcome, RunRecord, Runner, RunnerParts, StepRecord};
use landbridge::sync::source_import::FULL_IMPORT_EVERY;
use landbridge::sync::store::{EngineStore, Holds};

use super::content::{Change, Kind};
use super::directory::{Directory, Source};
use super::history::{Hiccup, History, PLACES, Place, Setup, Step};
use super::reference::{self, Picture, Sources};
use super::rules::Rules;
use super::target::{Object, Target};

/// Whether an embedded store has its usual threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    Usual,
    One,
}

/// A store that one history after the other uses.
pub struct Bench {
    db: Database,
    threads: Threads,
    _dir: Option<tempfile::TempDir>,
}

impl Bench {
    pub async fn sqlite(threads: Threads) -> Self {
        // In memory where there is such a folder: nothing here outlives the test.
        let shared = std::path::Path::new("/dev/shm");
        let dir = match shared.is_dir() {
            true => tempfile::tempdir_in(shared),
            false => tempfile::tempdir(),
        };
        let dir = dir.expect("a temporary directory");
        let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
        let db = Database::open(&url, Room::Engine).await.expect("the engine's tables open");
        Self { db, threads, _dir: Some(dir) }
    }

    pub async fn postgres(url: String) -> Self {
        let url = DatabaseUrl::Postgres { url };
        let db = Database::open(&url, Room::Engine).await.expect("the engine's tables open");
        Self { db, threads: Threads::Usual, _dir: None }
    }

    /// An engine that knows nothing.
    async fn engine(&self) -> SqlEngine {
        let named = match self.db.engine() {
            Engine::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%migration%'",
            Engine::Postgres => {
                "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = 'public' \
                 AND tablename NOT LIKE '%migration%'"
            }
        };
        let tables: Vec<(String,)> = sqlx::query_as(named).fetch_all(self.db.read()).await.expect("table names");
        let mut sql = String::from("BEGIN;\n");
        for (table,) in tables.iter().filter(|(table,)| table != "engine_epoch") {
            writeln!(sql, "DELETE FROM {table};").expect("text");
        }
        sql += "UPDATE engine_epoch SET epoch = 0;\nCOMMIT";
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(self.db.read()).await.expect("the tables are emptied");
        match self.threads {
            Threads::Usual => SqlEngine::new(self.db.clone()),
            Threads::One => SqlEngine::on_one_thread(self.db.clone()).await.expect("a connection"),
        }
    }
}

struct Lease;

impl EngineLease for Lease {
    fn held(&self) -> Option<LeaseEpoch> {
        Some(LeaseEpoch::from_number(1))
    }
}

struct Silence;

#[async_trait::async_trait]
impl RunEvents for Silence {
    async fn ended(&self, _: &RunRecord, _: &[StepRecord]) {}
    async fn held(&self, _: &[Hold]) {}
    async fn released(&self, _: &Hold, _: &str) {}
}

/// The activated rules, in memory.
struct Activated(Mutex<Activation>);

impl Activated {
    fn new(rules: &Rules) -> Self {
        let sources = rules.sources();
        let at = Timestamp::from_secs(0);
        Self(Mutex::new(Activation { number: 1, digest: digest(&sources), sources, at, by: "test".to_owned() }))
    }

    fn change(&self, rules: &Rules) {
        let mut now = self.0.lock().expect("a lock");
        now.number += 1;
        now.sources = rules.sources();
        now.digest = digest(&now.sources);
    }
}

#[async_trait::async_trait]
impl Activations for Activated {
    async fn current(&self) -> Result<Option<Activation>, ActivationError> {
        Ok(Some(self.0.lock().expect("a lock").clone()))
    }

    async fn store(&self, _: Vec<RuleSource>, _: &str, _: &str) -> Result<Activation, ActivationError> {
        Err(ActivationError::None)
    }
}

/// Why a history is no good.
pub type Fault = String;

/// Runs until everything stands still, at most.
const ROUNDS: usize = 25;

struct World {
    setup: Setup,
    sources: [Arc<Directory>; 3],
    target: Arc<Target>,
    engine: SqlEngine,
    clock: Arc<SettableClock>,
    activated: Arc<Activated>,
    rules: Rules,
    guard: GuardSettings,
    /// In which order the sources are imported.
    order: [Place; 3],
    /// From one start of the engine to the next.
    runner: OnceCell<Runner>,
}

/// Plays a history on `bench` and judges it; `other` is for a second engine that sees nothing but the end.
pub async fn play(history: &History, bench: &Bench, other: &Bench) -> Result<(), Fault> {
    let mut world = World::new(&history.setup, bench).await;
    for (number, step) in history.steps.iter().enumerate() {
        world.take(*step).await.map_err(|fault| format!("at step {number}, {step:?}: {fault}"))?;
    }
    world.heal();
    let settled = world.settle(None).await.map_err(|fault| format!("at the end: {fault}"))?;
    world.stands_still(&settled).await?;
    world.shows_the_picture()?;
    world.a_full_run_finds_nothing(&settled).await?;
    world.a_new_engine_comes_to_the_same(&settled, other).await
}

impl World {
    async fn new(setup: &Setup, bench: &Bench) -> Self {
        let clock = Arc::new(SettableClock::at(Timestamp::from_secs(1_800_000_000)));
        let names = ["corp", "lab", "hr"];
        let sources = std::array::from_fn(|index| Directory::new(names[index], setup.sources[index]));
        let [.., hr]: &[Arc<Directory>; 3] = &sources;
        // A source that shows nothing at all is not believed: somebody is always there.
        hr.state().content.apply(Change::Add { kind: Kind::Person, entry: 99, name: 0, into: 0 });
        Self {
            setup: setup.clone(),
            sources,
            target: Target::new(setup.target, clock.clone()),
            engine: bench.engine().await,
            clock,
            activated: Arc::new(Activated::new(&Rules::FIRST)),
            rules: Rules::FIRST,
            guard: setup.guard(),
            order: PLACES,
            runner: OnceCell::new(),
        }
    }

    fn source(&self, place: Place) -> &Arc<Directory> {
        let index = PLACES.iter().position(|other| *other == place).expect("one of the three");
        &self.sources[index]
    }

    fn runner(&self) -> &Runner {
        self.runner.get_or_init(|| {
            let sources = self.order.iter().map(|place| {
                let source: Arc<dyn Connector> = Arc::new(Source(self.source(*place).clone()));
                source
            });
            Runner::new(RunnerParts {
                store: Arc::new(self.engine.clone()),
                lease: Arc::new(Lease),
                activations: self.activated.clone(),
                connectors: sources.chain([self.target.clone() as Arc<dyn Connector>]).collect(),
                guard: self.guard.clone(),
                clock: self.clock.clone(),
                events: Arc::new(Silence),
            })
        })
    }

    async fn take(&mut self, step: Step) -> Result<(), Fault> {
        self.clock.advance(Duration::from_secs(60));
        match step {
            Step::Happen(place, change) => self.source(place).state().content.apply(change),
            Step::Run(profile, hiccup) => self.run_with(profile, hiccup).await?,
            Step::Preview => {
                let before = self.dump().await;
                self.runner().preview(None).await.map_err(|error| format!("no preview: {error}"))?;
                differ("a preview changed something", &before, &self.dump().await)?;
            }
            Step::Release(number) => {
                let holds = self.holds().await;
                if let Some(hold) = holds.get(usize::from(number) % holds.len().max(1)) {
                    self.release(hold).await?;
                }
            }
            Step::Hours(hours) => self.clock.advance(Duration::from_secs(3600 * u64::from(hours))),
            Step::Rules(decision) => {
                self.rules = self.rules.turned(decision);
                self.activated.change(&self.rules);
            }
            Step::Drift(drift) => self.target.state().drift(drift),
            Step::Refuse(number) => {
                let anchor = format!("corp-u{number}");
                let mut state = self.target.state();
                if !state.refuse.remove(&anchor) {
                    state.refuse.insert(anchor);
                }
            }
        }
        Ok(())
    }

    async fn run_with(&mut self, profile: Profile, hiccup: Option<Hiccup>) -> Result<(), Fault> {
        match hiccup {
            None => {}
            Some(Hiccup::Source(place, how)) => self.source(place).state().next = Some(how),
            Some(Hiccup::Target(how)) => self.target.state().next = Some(how),
            Some(Hiccup::Crash { transaction, committed }) => fault::crash_at(transaction, committed),
            Some(Hiccup::Meanwhile(place, after, change)) => {
                self.source(place).state().meanwhile = Some((after, change));
            }
        }
        let ended = self.run(profile).await;
        let crashed = fault::reopen();
        if crashed {
            self.runner.take();
        }
        self.sources.iter().for_each(|source| source.calm());
        self.target.state().next = None;
        match ended {
            Err(_) if crashed => Ok(()),
            Ok(_) | Err(_) => ended.map(drop),
        }
    }

    /// One run, and what is true of each.
    async fn run(&self, profile: Profile) -> Result<RunOutcome, Fault> {
        let arrived = self.target.state().arrived;
        let ended = self.runner().run(profile, Arc::new(|_| {})).await;
        let state = self.target.state();
        let exported = state.arrived - arrived;
        if let Some(violation) = state.violations.first() {
            return Err(violation.clone());
        }
        drop(state);
        if profile == Profile::Staging && exported > 0 {
            return Err(format!("a staging run exported {exported} changes"));
        }
        if matches!(&ended, Ok((run, _)) if run.outcome == RunOutcome::Held) && exported > 0 {
            return Err(format!("a held run exported {exported} changes"));
        }
        for (kind, count) in self.target.destroyed() {
            let limit = if kind.starts_with("emptied:") { self.setup.emptied_limit } else { self.setup.limit };
            if count as i64 > limit && self.guard == self.setup.guard() {
                return Err(format!("{count} of {kind} within a day, unreleased; the limit is {limit}"));
            }
        }
        let (run, _) = ended.map_err(|error| landbridge::identity::causes(&error))?;
        Ok(run.outcome)
    }

    async fn dump(&self) -> String {
        self.engine.dump().await.expect("a dump")
    }

    async fn holds(&self) -> Vec<Hold> {
        self.engine.holds().await.expect("holds")
    }

    async fn release(&self, hold: &Hold) -> Result<(), Fault> {
        let released = self.runner().release(&hold.target, &hold.digest, "admin").await;
        released.map_err(|error| format!("{} of {} cannot be released: {error}", hold.kind, hold.target))?;
        if !hold.target.starts_with("import:") {
            let items = hold.items.iter().map(|item| (hold.kind.clone(), item.clone()));
            self.target.state().released.extend(items);
        }
        Ok(())
    }

    /// Nothing breaks any more. A day goes by, in which sources that do not tell everything are read in full.
    fn heal(&self) {
        self.target.state().refuse.clear();
        self.clock.advance(FULL_IMPORT_EVERY + Duration::from_secs(60));
    }

    /// Runs until nothing moves, or until the engine is in a state that is known; returns its state then.
    async fn settle(&self, known: Option<&str>) -> Result<String, Fault> {
        let mut before = String::new();
        for _ in 0..ROUNDS {
            self.clock.advance(Duration::from_secs(60));
            let arrived = self.target.state().arrived;
            let outcome = self.run(Profile::Delta).await?;
            for hold in self.holds().await {
                self.release(&hold).await?;
            }
            let now = self.dump().await;
            let moved = outcome != RunOutcome::Completed || self.target.state().arrived != arrived;
            if !moved && (now == before || known == Some(now.as_str())) {
                return Ok(now);
            }
            before = now;
        }
        Err(format!("no rest after {ROUNDS} runs; the engine holds\n{before}"))
    }

    /// No pending export, nothing due, nothing unconfirmed.
    async fn stands_still(&self, settled: &str) -> Result<(), Fault> {
        let moving = |line: &&str| {
            line.starts_with("export ")
                || [" due=1", " staged-", " sent-", " gone=1", " removed due="].iter().any(|word| line.contains(word))
                || line.starts_with("object ")
                    && (!line.contains(" pending=none ") || !line.ends_with(" unconfirmed=-"))
        };
        let left: Vec<&str> = settled.lines().filter(moving).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("at rest, and yet:\n{}", left.join("\n"))) }
    }

    /// What the target holds is what the directories and the rules say.
    fn shows_the_picture(&self) -> Result<(), Fault> {
        let [corp, lab, hr] = self.sources.each_ref().map(|source| source.state().content.clone());
        let sources = Sources { directories: vec![("corp", &corp), ("lab", &lab)], hr: &hr };
        let expected = reference::picture(&sources, &self.rules);
        let state = self.target.state();
        let mut seen = BTreeSet::new();
        if let Some(twice) = state.held.objects.values().find(|object| !seen.insert(object.key())) {
            return Err(format!("{} is there twice", twice.key()));
        }
        let held = &state.held.objects;
        let foreign = |object: &&Object| object.foreign && !expected.contains_key(&object.key());
        let held: BTreeMap<&String, &Object> = held.iter().filter(|(_, object)| !foreign(object)).collect();
        let keys: BTreeMap<&str, String> = held.iter().map(|(id, object)| (id.as_str(), object.key())).collect();
        let shown: BTreeMap<String, String> = held
            .values()
            .map(|object| {
                let values: BTreeMap<_, _> = object
                    .attributes
                    .iter()
                    .map(|(name, v)| {
                        let values: BTreeSet<_> = v.iter().map(|value| value.as_text().to_owned()).collect();
                        (name.to_string(), values)
                    })
                    .collect();
                let mut links = object.links.clone();
                links.retain(|_, targets| {
                    *targets = targets.iter().filter_map(|id| keys.get(id.as_str()).cloned()).collect();
                    !targets.is_empty()
                });
                (object.key(), line(&object.object_type, &values, &links))
            })
            .collect();
        differ("the target does not hold what it should", &print(&expected), &lines(&shown))
    }

    async fn a_full_run_finds_nothing(&self, settled: &str) -> Result<(), Fault> {
        let arrived = self.target.state().arrived;
        self.run(Profile::Full).await?;
        differ("a full run found something", settled, &self.dump().await)?;
        match self.target.state().arrived - arrived {
            0 => Ok(()),
            changes => Err(format!("a full run exported {changes} changes")),
        }
    }

    /// A new engine reads the same sources in another order, and meets a target that holds everything already.
    async fn a_new_engine_comes_to_the_same(&self, settled: &str, bench: &Bench) -> Result<(), Fault> {
        for source in &self.sources {
            let mut state = source.state();
            state.manner.order = !state.manner.order;
            state.manner.containers_first = !state.manner.containers_first;
            state.manner.page = 7;
        }
        let none = i64::MAX;
        let fresh = Self {
            setup: self.setup.clone(),
            sources: self.sources.clone(),
            target: self.target.twin(),
            engine: bench.engine().await,
            clock: self.clock.clone(),
            activated: self.activated.clone(),
            rules: self.rules,
            guard: GuardSettings { count: none, at_least: none, emptied_at_least: none, ..self.guard.clone() },
            order: [Place::Hr, Place::Lab, Place::Corp],
            runner: OnceCell::new(),
        };
        let found = fresh.settle(Some(settled)).await.map_err(|fault| format!("a new engine: {fault}"))?;
        differ("a new engine comes to something else", settled, &found)?;
        fresh.shows_the_picture().map_err(|fault| format!("a new engine: {fault}"))
    }
}

fn line(
    object_type: &str,
    values: &BTreeMap<String, BTreeSet<String>>,
    links: &BTreeMap<String, BTreeSet<String>>,
) -> String {
    format!("{object_type} {values:?} {links:?}")
}

fn lines(objects: &BTreeMap<String, String>) -> String {
    objects.iter().map(|(key, text)| format!("{key}: {text}")).collect::<Vec<_>>().join("\n")
}

fn print(picture: &Picture) -> String {
    let text = |object: &reference::Expected| line(object.object_type, &object.attributes, &object.links);
    lines(&picture.iter().map(|(key, object)| (key.clone(), text(object))).collect())
}

/// Tells the lines in which two texts differ.
fn differ(what: &str, expected: &str, found: &str) -> Result<(), Fault> {
    if expected == found {
        return Ok(());
    }
    let (left, right): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let missing = left.iter().filter(|line| !right.contains(line)).map(|line| format!("- {line}"));
    let more = right.iter().filter(|line| !left.contains(line)).map(|line| format!("+ {line}"));
    Err(format!("{what}:\n{}", missing.chain(more).collect::<Vec<_>>().join("\n")))
}
