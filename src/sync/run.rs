//! A run: import, synchronise, guard, export, confirm as one cycle under the engine lease.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::activation::{self, ActivationError, Activations};
use super::confirm::{ConfirmCounters, Confirmer};
use super::connector::{Connector, ConnectorError, ImportMode, ImportRequest};
use super::export::{ExportCounters, ExportError, Exporter, Part, settle_doubt};
use super::guard::{GuardItem, GuardSettings, Hold, MEMORY};
use super::lease::{EngineLease, HeldLease, LeaseError};
use super::rule::{RuleSet, RunFacts};
use super::source_import::{Imported, SourceImport, Start, import_target};
use super::space::{ExportKind, codes};
use super::store::{EngineStore, EngineStoreError, Figures};
use super::synchronise::{self, AsyncTick, Counters, Extent};
use crate::identity::{Clock, ConnectorName, Timestamp};

codes! {
    RunOutcome {
        Running = "running",
        Completed = "completed",
        /// Something is held: a person has to look.
        Held = "held",
        /// A step failed; what the others did stands.
        Failed = "failed",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    pub number: i64,
    pub profile: String,
    /// The activated version of the rules.
    pub rules: i64,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub outcome: RunOutcome,
    pub detail: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    pub ordinal: i64,
    pub connector: String,
    pub kind: String,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub outcome: RunOutcome,
    pub counters: BTreeMap<String, i64>,
    pub detail: Option<String>,
}

/// Which steps a run takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Delta import of every source that tells its changes, full import of the others; synchronisation of what is due,
    /// export, confirmation.
    Delta,
    /// The same with a full import of every source.
    Cycle,
    /// The same with a full synchronisation: after a change of rules, and to repair.
    Full,
    /// Full import and synchronisation; nothing is exported.
    Staging,
}

impl Profile {
    pub const fn code(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::Cycle => "cycle",
            Self::Full => "full",
            Self::Staging => "staging",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("a run is under way")]
    Busy,
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Rules(#[from] ActivationError),
    #[error(transparent)]
    Store(#[from] EngineStoreError),
    #[error("no such hold, or its changes are others by now")]
    NoSuchHold,
}

/// Told while a run goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub step: String,
    pub connector: String,
    pub done: u64,
}

/// Who is told of progress. Called between batches; must not block.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// What leaves a record: the audit log.
#[async_trait::async_trait]
pub trait RunEvents: Send + Sync {
    async fn ended(&self, run: &RunRecord, steps: &[StepRecord]);
    async fn held(&self, holds: &[Hold]);
    async fn released(&self, hold: &Hold, by: &str);
}

/// What a preview found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    pub targets: Vec<TargetPreview>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetPreview {
    pub target: String,
    pub figures: Figures,
    pub changes: Vec<PreviewChange>,
    pub more: bool,
    pub holds: Vec<Hold>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewChange {
    pub object_type: String,
    pub name: String,
    pub operation: String,
    pub attributes: Vec<String>,
}

/// The mark that keeps the version of the rules by which every object was synchronised.
const SYNCHRONISED_BY: &str = "synchronised-by";

/// Changes that a preview lists at most; the figures count all.
const LISTED: usize = 500;

/// The engine with everything it works on.
pub struct Runner {
    pub store: Arc<dyn EngineStore>,
    pub lease: Arc<dyn EngineLease>,
    pub activations: Arc<dyn Activations>,
    /// In the order of the settings: sources first come, first served in ties.
    pub connectors: Vec<Arc<dyn Connector>>,
    pub guard: GuardSettings,
    pub clock: Arc<dyn Clock>,
    pub events: Arc<dyn RunEvents>,
    /// One run at a time on this node; the lease sees to the others.
    gate: Mutex<()>,
}

/// What a runner is made of.
pub struct RunnerParts {
    pub store: Arc<dyn EngineStore>,
    pub lease: Arc<dyn EngineLease>,
    pub activations: Arc<dyn Activations>,
    pub connectors: Vec<Arc<dyn Connector>>,
    pub guard: GuardSettings,
    pub clock: Arc<dyn Clock>,
    pub events: Arc<dyn RunEvents>,
}

impl Runner {
    pub fn new(parts: RunnerParts) -> Self {
        let RunnerParts { store, lease, activations, connectors, guard, clock, events } = parts;
        Self { store, lease, activations, connectors, guard, clock, events, gate: Mutex::new(()) }
    }

    /// Runs one cycle. Refuses when another run of this node is under way.
    pub async fn run(
        &self,
        profile: Profile,
        progress: ProgressSink,
    ) -> Result<(RunRecord, Vec<StepRecord>), RunError> {
        let _gate = self.gate.try_lock().map_err(|_| RunError::Busy)?;
        let (activation, rules) = self.rules().await?;
        let lease = HeldLease::begin(self.lease.clone())?;
        let started = self.clock.now();
        let number = self.store.begin_run(lease.epoch, profile.code(), activation, started).await?;
        let mut cycle = Cycle {
            runner: self,
            rules: &rules,
            lease,
            run: number,
            activation,
            steps: Vec::new(),
            exported: 0,
            progress,
        };
        let ended = cycle.run(profile).await;
        let outcome = match &ended {
            Ok(outcome) => *outcome,
            Err(_) => RunOutcome::Failed,
        };
        let Cycle { lease, steps, .. } = cycle;
        let record = RunRecord {
            number,
            profile: profile.code().to_owned(),
            rules: activation,
            started_at: started,
            ended_at: Some(self.clock.now()),
            outcome,
            detail: ended.as_ref().err().map(ToString::to_string),
        };
        self.events.ended(&record, &steps).await;
        // A failed run is ended too; its own error is the one to tell.
        let written = self.store.end_run(lease.epoch, &record).await;
        ended?;
        written?;
        Ok((record, steps))
    }

    /// What a run would export, without committing anything. `rules` are those to try; none: the activated ones.
    pub async fn preview(&self, rules: Option<RuleSet>) -> Result<Preview, RunError> {
        let _gate = self.gate.try_lock().map_err(|_| RunError::Busy)?;
        let rules = match rules {
            Some(rules) => self.bind(rules),
            None => self.rules().await?.1,
        };
        let lease = HeldLease::begin(self.lease.clone())?;
        let scratch = self.store.scratch().await?;
        let mut tick = Tick { lease: &lease, progress: None };
        synchronise::run::<RunError>(&*scratch, &rules, lease.epoch, Extent::Full, &mut tick).await?;
        let mut preview = Preview::default();
        for target in rules.targets() {
            preview.targets.push(self.preview_of(&*scratch, target).await?);
        }
        drop(scratch);
        Ok(preview)
    }

    async fn preview_of(&self, store: &dyn EngineStore, target: &ConnectorName) -> Result<TargetPreview, RunError> {
        let pending = store.pending(target, ExportKind::ALL, super::space::ObjectId(0), LISTED + 1).await?;
        let ids: Vec<_> = pending.iter().map(|export| export.object).collect();
        let objects: BTreeMap<_, _> = store.objects(&ids).await?.into_iter().map(|o| (o.id, o)).collect();
        let changes = pending.iter().take(LISTED).map(|export| PreviewChange {
            object_type: objects.get(&export.object).map(|o| o.object_type.clone()).unwrap_or_default(),
            name: objects.get(&export.object).map(|o| o.rdn.clone()).unwrap_or_default(),
            operation: export.kind.code().to_owned(),
            attributes: export.changes.keys().map(ToString::to_string).collect(),
        });
        Ok(TargetPreview {
            target: target.to_string(),
            figures: store.figures(target).await?,
            changes: changes.collect(),
            more: pending.len() > LISTED,
            holds: self.judge(store, target).await?.0,
        })
    }

    /// Lets the changes listed under `digest` pass, once. They leave with the next run.
    pub async fn release(&self, target: &str, digest: &str, by: &str) -> Result<Hold, RunError> {
        let _gate = self.gate.try_lock().map_err(|_| RunError::Busy)?;
        let hold = self.store.holds().await?.into_iter().find(|hold| hold.target == target && hold.digest == digest);
        let hold = hold.ok_or(RunError::NoSuchHold)?;
        let lease = HeldLease::begin(self.lease.clone())?;
        let items = hold.items.iter().map(|item| GuardItem { kind: hold.kind.clone(), item: item.clone() }).collect();
        self.store.release(lease.epoch, target, items, by, self.clock.now()).await?;
        let kept =
            self.store.holds().await?.into_iter().filter(|other| other.target == target && other.kind != hold.kind);
        self.store.put_holds(lease.epoch, target, kept.collect()).await?;
        self.events.released(&hold, by).await;
        Ok(hold)
    }

    /// The activated rules, bound to the connectors, with their version.
    pub async fn rules(&self) -> Result<(i64, RuleSet), RunError> {
        let (activation, rules) = activation::activated(&*self.activations).await?;
        Ok((activation.number, self.bind(rules)))
    }

    pub fn bind(&self, rules: RuleSet) -> RuleSet {
        let facts = RunFacts::new(self.clock.now(), StdRng::from_rng(&mut rand::rng()));
        let connectors = self.connectors.iter().map(|c| (c.name().clone(), c.capabilities()));
        rules.for_connectors(connectors).for_run(facts)
    }

    async fn judge(
        &self,
        store: &dyn EngineStore,
        target: &ConnectorName,
    ) -> Result<(Vec<Hold>, BTreeSet<GuardItem>), RunError> {
        let now = self.clock.now();
        let tally = store.tally(target, now - MEMORY).await?;
        let released = store.released(target.as_str()).await?;
        Ok((self.guard.judge(target.as_str(), &tally, &released, now), released))
    }
}

struct Cycle<'a> {
    runner: &'a Runner,
    rules: &'a RuleSet,
    lease: HeldLease,
    run: i64,
    /// The version of the rules.
    activation: i64,
    steps: Vec<StepRecord>,
    /// Updates that were accepted so far.
    exported: i64,
    progress: ProgressSink,
}

impl Cycle<'_> {
    async fn run(&mut self, profile: Profile) -> Result<RunOutcome, RunError> {
        let runner = self.runner;
        let (targets, sources): (Vec<_>, Vec<_>) = runner.connectors.iter().partition(|c| c.capabilities().exports);
        let mut outcome = RunOutcome::Completed;
        let written_back: Vec<_> = sources.iter().filter(|source| source.capabilities().writes_back).collect();
        for target in targets.iter().chain(written_back.iter().copied()) {
            self.settle(target.as_ref(), &mut outcome).await?;
        }
        for source in &sources {
            worse(&mut outcome, self.import(source.as_ref(), profile == Profile::Delta).await?);
        }
        for target in &targets {
            if self.is_unknown(target.as_ref()).await? {
                worse(&mut outcome, self.confirm(target.as_ref()).await?);
            }
        }
        if outcome == RunOutcome::Held {
            // A directory that lost too much is looked at before anything is concluded from it.
            return Ok(outcome);
        }
        let extent = self.extent(profile).await?;
        self.synchronise(extent).await?;
        runner.store.set_mark(self.lease.epoch, SYNCHRONISED_BY, self.activation).await?;
        if profile == Profile::Staging {
            return Ok(outcome);
        }
        // Targets wait for source anchors that are kept in the source itself.
        let mut anchored = false;
        for source in &written_back {
            let part = Part::Touching(self.rules.anchor_attributes(source.name()));
            let before = self.exported;
            worse(&mut outcome, self.export(source.as_ref(), part).await?);
            anchored |= self.exported > before;
        }
        if anchored {
            self.synchronise(Extent::Delta).await?;
        }
        for target in &targets {
            if self.is_unknown(target.as_ref()).await? {
                continue;
            }
            let exported = self.export(target.as_ref(), Part::All).await?;
            worse(&mut outcome, exported);
            // What is in doubt is read back first, by the next run.
            if exported != RunOutcome::Failed {
                worse(&mut outcome, self.confirm(target.as_ref()).await?);
            }
        }
        // Imports confirm these.
        for source in &written_back {
            worse(&mut outcome, self.export(source.as_ref(), Part::All).await?);
        }
        Ok(outcome)
    }

    /// A target of which no import came to its end yet: what it holds must be adopted, not added again. One that tells its
    /// changes finds its objects by itself.
    async fn is_unknown(&self, target: &dyn Connector) -> Result<bool, RunError> {
        let follows = target.capabilities().delta.is_some();
        Ok(!follows && self.runner.store.mark(&looked_at(target.name())).await?.is_none())
    }

    /// Other rules than those of the last synchronisation concern every object.
    async fn extent(&self, profile: Profile) -> Result<Extent, RunError> {
        let by = self.runner.store.mark(SYNCHRONISED_BY).await?;
        let same = by.is_none_or(|by| by == self.activation);
        Ok(if profile == Profile::Full || !same { Extent::Full } else { Extent::Delta })
    }

    async fn settle(&mut self, target: &dyn Connector, outcome: &mut RunOutcome) -> Result<(), RunError> {
        let started = self.runner.clock.now();
        match settle_doubt(&*self.runner.store, target, &self.lease).await {
            Ok(0) => Ok(()),
            Ok(settled) => {
                let counters = [("settled", settled as i64)];
                self.step(target.name(), "read-back", started, RunOutcome::Completed, &counters, None).await
            }
            Err(error) => {
                let failed = self.failed(target.name(), "read-back", started, error).await?;
                worse(outcome, failed);
                Ok(())
            }
        }
    }

    async fn import(&mut self, source: &dyn Connector, delta: bool) -> Result<RunOutcome, RunError> {
        let runner = self.runner;
        let (lease, progress) = (self.lease.clone(), self.progress.clone());
        let import = SourceImport { runner, rules: self.rules, lease: &lease, progress: &progress, source };
        let start = if delta { import.start().await? } else { Start::Full };
        let began = runner.clock.now();
        if let Start::Delta(since) = start {
            match import.run(Start::Delta(since)).await {
                Err(ExportError::Connector(ConnectorError::StaleWatermark { reason, .. })) => {
                    let detail = Some(format!("{reason}; a full import follows"));
                    self.step(source.name(), "delta-import", began, RunOutcome::Completed, &[], detail).await?;
                }
                ended => return self.imported(source.name(), "delta-import", began, ended).await,
            }
        }
        let began = runner.clock.now();
        let ended = import.run(Start::Full).await;
        self.imported(source.name(), "full-import", began, ended).await
    }

    async fn imported(
        &mut self,
        name: &ConnectorName,
        kind: &str,
        began: Timestamp,
        ended: Result<Imported, ExportError>,
    ) -> Result<RunOutcome, RunError> {
        let Imported { counters, holds, detail } = match ended {
            Ok(imported) => imported,
            Err(error) => return self.failed(name, kind, began, error).await,
        };
        let outcome = if holds.is_empty() { RunOutcome::Completed } else { RunOutcome::Held };
        self.hold(&import_target(name), holds).await?;
        self.step(name, kind, began, outcome, &counters, detail).await?;
        Ok(outcome)
    }

    async fn synchronise(&mut self, extent: Extent) -> Result<(), RunError> {
        let runner = self.runner;
        let started = runner.clock.now();
        let mut tick = Tick { lease: &self.lease, progress: Some(self.progress.clone()) };
        let counters =
            synchronise::run::<RunError>(&*runner.store, self.rules, self.lease.epoch, extent, &mut tick).await?;
        let kind = if extent == Extent::Full { "full-sync" } else { "delta-sync" };
        let counters = [
            ("objects", counters.objects as i64),
            ("links", counters.links as i64),
            ("batches", counters.batches as i64),
            ("committed", counters.committed as i64),
        ];
        // Synchronise walks all sources; it is no connector's step.
        self.record("", kind, started, RunOutcome::Completed, &counters, None).await
    }

    async fn export(&mut self, target: &dyn Connector, part: Part) -> Result<RunOutcome, RunError> {
        let runner = self.runner;
        let (name, started) = (target.name(), runner.clock.now());
        let (holds, released) = runner.judge(&*runner.store, name).await?;
        let held = holds
            .iter()
            .map(|hold| format!("{} {} over {}", hold.outstanding, hold.kind, hold.limit))
            .collect::<Vec<_>>();
        self.hold(name.as_str(), holds).await?;
        if !held.is_empty() {
            let detail = Some(held.join(", "));
            self.step(name, "export", started, RunOutcome::Held, &[], detail).await?;
            return Ok(RunOutcome::Held);
        }
        self.lease.check()?;
        let mut exporter = Exporter {
            store: &*runner.store,
            connector: target,
            lease: &self.lease,
            clock: &*runner.clock,
            part,
            released,
            counters: ExportCounters::default(),
        };
        let exported = exporter.run().await;
        let c = exporter.counters;
        self.exported += c.updates;
        if let Err(error) = exported {
            return self.failed(name, "export", started, error).await;
        }
        let counters = [
            ("adds", c.adds),
            ("updates", c.updates),
            ("deletes", c.deletes),
            ("links", c.links),
            ("failed", c.failed),
        ];
        self.step(name, "export", started, RunOutcome::Completed, &counters, None).await?;
        Ok(RunOutcome::Completed)
    }

    async fn confirm(&mut self, target: &dyn Connector) -> Result<RunOutcome, RunError> {
        let runner = self.runner;
        let (name, started) = (target.name(), runner.clock.now());
        let since = runner.store.watermark(name).await?.filter(|_| target.capabilities().delta.is_some());
        let full = since.is_none();
        let mode = since.map_or(ImportMode::Full, |since| ImportMode::Delta { since });
        let mut confirmer = Confirmer {
            store: &*runner.store,
            rules: self.rules,
            connector: name.clone(),
            epoch: self.lease.epoch,
            seen: Default::default(),
            counters: ConfirmCounters::default(),
        };
        let read: Result<(), ExportError> = async {
            let mut stream =
                target.import(ImportRequest { mode, bases: Vec::new(), wanted: self.rules.wanted(name) }).await?;
            while let Some(page) = stream.next_page().await? {
                confirmer.page(page).await?;
                self.lease.check()?;
            }
            if full {
                confirmer.finish().await?;
            }
            Ok(())
        }
        .await;
        let c = confirmer.counters.clone();
        if let Err(error) = read {
            return self.failed(name, "confirm", started, error).await;
        }
        if full {
            runner.store.set_mark(self.lease.epoch, &looked_at(name), started.millis()).await?;
        }
        let counters = [("read", c.read), ("confirmed", c.confirmed), ("differing", c.differing), ("gone", c.gone)];
        self.step(name, "confirm", started, RunOutcome::Completed, &counters, None).await?;
        Ok(RunOutcome::Completed)
    }

    /// Keeps the time of a hold that goes on, and tells of new ones.
    async fn hold(&mut self, target: &str, mut holds: Vec<Hold>) -> Result<(), RunError> {
        let before: Vec<Hold> = self.runner.store.holds().await?.into_iter().filter(|h| h.target == target).collect();
        if before.is_empty() && holds.is_empty() {
            return Ok(());
        }
        for hold in &mut holds {
            if let Some(earlier) = before.iter().find(|earlier| earlier.kind == hold.kind) {
                hold.since = earlier.since;
            }
        }
        let new: Vec<Hold> =
            holds.iter().filter(|hold| !before.iter().any(|b| b.digest == hold.digest)).cloned().collect();
        self.runner.store.put_holds(self.lease.epoch, target, holds).await?;
        if !new.is_empty() {
            self.runner.events.held(&new).await;
        }
        Ok(())
    }

    /// A step that failed for the connector's sake ends alone; one that failed for ours ends the run.
    async fn failed(
        &mut self,
        connector: &ConnectorName,
        kind: &str,
        started: Timestamp,
        error: ExportError,
    ) -> Result<RunOutcome, RunError> {
        match error {
            ExportError::Lease(error) => Err(error.into()),
            ExportError::Store(error) => Err(error.into()),
            ExportError::Connector(error) => {
                self.step(connector, kind, started, RunOutcome::Failed, &[], Some(error.to_string())).await?;
                Ok(RunOutcome::Failed)
            }
        }
    }

    async fn step(
        &mut self,
        connector: &ConnectorName,
        kind: &str,
        started: Timestamp,
        outcome: RunOutcome,
        counters: &[(&str, i64)],
        detail: Option<String>,
    ) -> Result<(), RunError> {
        self.record(connector.as_str(), kind, started, outcome, counters, detail).await
    }

    async fn record(
        &mut self,
        connector: &str,
        kind: &str,
        started_at: Timestamp,
        outcome: RunOutcome,
        counters: &[(&str, i64)],
        detail: Option<String>,
    ) -> Result<(), RunError> {
        let step = StepRecord {
            ordinal: self.steps.len() as i64 + 1,
            connector: connector.to_owned(),
            kind: kind.to_owned(),
            started_at,
            ended_at: self.runner.clock.now(),
            outcome,
            counters: counters.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            detail,
        };
        self.runner.store.record_step(self.lease.epoch, self.run, &step).await?;
        self.steps.push(step);
        Ok(())
    }
}

/// The mark of a target's first import.
fn looked_at(target: &ConnectorName) -> String {
    format!("full-import:{target}")
}

/// Held outranks failed outranks completed.
fn worse(outcome: &mut RunOutcome, other: RunOutcome) {
    if *outcome != RunOutcome::Held && other != RunOutcome::Completed {
        *outcome = other;
    }
}

struct Tick<'a> {
    lease: &'a HeldLease,
    progress: Option<ProgressSink>,
}

#[async_trait::async_trait]
impl AsyncTick<RunError> for Tick<'_> {
    async fn tick(&mut self, counters: &Counters) -> Result<(), RunError> {
        if let Some(progress) = &self.progress {
            let done = counters.objects + counters.links;
            progress(Progress { step: "synchronise".into(), connector: String::new(), done });
        }
        Ok(self.lease.check()?)
    }
}
