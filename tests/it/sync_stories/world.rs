//! A small world: one scripted directory, one scripted target, the engine on a real store.

use std::sync::{Arc, Mutex};

use landbridge::identity::{Clock, LeaseEpoch, SettableClock, Timestamp};
use landbridge::store::engine::{SqlActivations, SqlEngine};
use landbridge::store::{Database, DatabaseUrl, Room};
use landbridge::sync::Connector;
use landbridge::sync::activation::{activate, read_folder};
use landbridge::sync::guard::{GuardSettings, Hold};
use landbridge::sync::lease::EngineLease;
use landbridge::sync::rule::RuleSource;
use landbridge::sync::run::{Profile, RunEvents, RunOutcome, RunRecord, Runner, RunnerParts, StepRecord};
use landbridge::sync::store::EngineStore;
use landbridge::sync::synchronise::DELTA_MISSED;

use super::scripted::{Directory, Target};

pub struct World {
    pub directory: Arc<Directory>,
    pub target: Arc<Target>,
    pub engine: SqlEngine,
    pub runner: Runner,
    pub lease: Arc<TestLease>,
    pub events: Arc<Events>,
    _dir: Option<tempfile::TempDir>,
}

/// A lease that tests can take away.
pub struct TestLease(pub Mutex<Option<LeaseEpoch>>);

impl EngineLease for TestLease {
    fn held(&self) -> Option<LeaseEpoch> {
        *self.0.lock().expect("lock")
    }
}

#[derive(Default)]
pub struct Events {
    pub held: Mutex<Vec<Hold>>,
    pub released: Mutex<Vec<String>>,
}

#[async_trait::async_trait]
impl RunEvents for Events {
    async fn ended(&self, _: &RunRecord, _: &[StepRecord]) {}

    async fn held(&self, holds: &[Hold]) {
        self.held.lock().expect("lock").extend_from_slice(holds);
    }

    async fn released(&self, hold: &Hold, _: &str) {
        self.released.lock().expect("lock").push(hold.digest.clone());
    }
}

/// The stores that every story runs on.
pub async fn stores() -> Vec<(&'static str, DatabaseUrl, Option<tempfile::TempDir>)> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let sqlite = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
    let url = crate::support::postgres::Postgres::start().fresh_database();
    vec![("sqlite", sqlite, Some(dir)), ("postgres", DatabaseUrl::Postgres { url }, None)]
}

impl World {
    pub async fn on_sqlite() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self::open(DatabaseUrl::Sqlite { directory: dir.path().to_owned() }, Some(dir)).await
    }

    pub async fn open(url: DatabaseUrl, dir: Option<tempfile::TempDir>) -> Self {
        Self::with(url, dir, Directory::new("corp"), Target::new("tenant")).await
    }

    /// With rules of one's own beside the shipped ones.
    pub async fn ruled(own: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
        let own = RuleSource { file: "own.toml".to_owned(), text: own.to_owned() };
        Self::build(url, Some(dir), Directory::new("corp"), Target::new("tenant"), vec![own]).await
    }

    /// A new engine over systems that exist already.
    pub async fn with(
        url: DatabaseUrl,
        dir: Option<tempfile::TempDir>,
        directory: Arc<Directory>,
        target: Arc<Target>,
    ) -> Self {
        Self::build(url, dir, directory, target, Vec::new()).await
    }

    async fn build(
        url: DatabaseUrl,
        dir: Option<tempfile::TempDir>,
        directory: Arc<Directory>,
        target: Arc<Target>,
        own: Vec<RuleSource>,
    ) -> Self {
        let gateway = Database::open(&url, Room::Gateway).await.expect("the gateway's tables open");
        let engine = SqlEngine::new(Database::open(&url, Room::Engine).await.expect("the engine's tables open"));
        let clock = Arc::new(SettableClock::at(Timestamp::from_secs(1_800_000_000)));
        let activations = Arc::new(SqlActivations::new(gateway, clock.clone() as Arc<dyn Clock>));
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rules");
        let sources = [read_folder(&folder).expect("the rules"), own].concat();
        activate(&*activations, sources, "test").await.expect("the rules hold");
        let lease = Arc::new(TestLease(Mutex::new(Some(LeaseEpoch::from_number(1)))));
        let events = Arc::new(Events::default());
        let runner = Runner::new(RunnerParts {
            store: Arc::new(engine.clone()),
            lease: lease.clone(),
            activations,
            connectors: vec![directory.clone() as Arc<dyn Connector>, target.clone()],
            guard: GuardSettings::default(),
            clock,
            events: events.clone(),
        });
        Self { directory, target, engine, runner, lease, events, _dir: dir }
    }

    /// Without limits, for changes that are wild on purpose.
    pub fn unguarded(mut self) -> Self {
        let none = i64::MAX;
        self.runner.guard = GuardSettings {
            count: none,
            percent: 100,
            at_least: none,
            emptied_percent: 100,
            emptied_at_least: none,
            members_percent: 100,
            group_percent: 100,
            group_above: none,
        };
        self
    }

    pub async fn run(&self, profile: Profile) -> RunOutcome {
        self.run_steps(profile).await.0
    }

    /// In every story a full synchronisation finds nothing that delta synchronisations should have found.
    pub async fn run_steps(&self, profile: Profile) -> (RunOutcome, Vec<StepRecord>) {
        let (run, steps) = self.runner.run(profile, Arc::new(|_| {})).await.expect("the run ends");
        let missed: Vec<&StepRecord> =
            steps.iter().filter(|step| step.counters.get(DELTA_MISSED).is_some_and(|missed| *missed > 0)).collect();
        assert!(missed.is_empty(), "{missed:#?}");
        (run.outcome, steps)
    }

    pub async fn dump(&self) -> String {
        self.engine.dump().await.expect("a dump")
    }

    /// Problems as `name code`.
    pub async fn problems(&self) -> Vec<String> {
        use landbridge::sync::store::Runs;
        let problems = self.engine.all_problems(100).await.expect("problems");
        problems.into_iter().map(|p| format!("{} {}", p.name, p.problem.code.code())).collect()
    }
}
