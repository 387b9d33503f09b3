//! A run: the steps of a profile under the engine lease, one run at a time.

mod claims;
mod cycle;
mod preview;
mod record;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

pub use preview::{Preview, PreviewChange, TargetPreview};
pub use record::{NewRun, RunEvents, RunOutcome, RunRecord, StepRecord};

use super::activation::{ActivatedRules, ActivationError, Activations};
use super::connector::{Capabilities, Connector};
use super::guard::{GuardItem, GuardSettings, Hold, MEMORY, Releases};
use super::lease::{Cancellation, EngineLease, HeldLease, LeaseError};
use super::maintenance::MaintenanceWindow;
pub use super::profile::Profile;
use super::profile::RunProfile;
use super::removal::{Removal, RemovalPreview, mark_gone, with_missing};
use super::rule::{RuleSet, RunFacts};
use super::store::{EngineStore, EngineStoreError};
use super::synchronise::{AsyncTick, Counters, Extent};
use crate::identity::{Clock, ConnectorName, LeaseEpoch};
use cycle::Cycle;
pub(super) use cycle::looked_at;

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
    #[error("{what}: there is nothing of that")]
    NothingToRemove { what: String },
    #[error("the gateway's own directory cannot be removed")]
    TenantStays,
    #[error("{connector} takes exports: it is removed as a whole")]
    TargetType { connector: ConnectorName },
    #[error(
        "the settings name {connector}: take it out of them and start again first; it keeps what it contributes meanwhile"
    )]
    StillConfigured { connector: ConnectorName },
    #[error("the guard would hold {}", .0.held())]
    WouldBeHeld(Box<Preview>),
}

/// Told while a run goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The number of the run.
    pub run: i64,
    pub step: String,
    pub connector: String,
    pub done: u64,
}

/// Who is told of progress. Called between batches; must not block.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

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
    /// Run profiles of the operator's own.
    pub profiles: Vec<RunProfile>,
    pub windows: Vec<MaintenanceWindow>,
    /// Nothing is exported, whatever the profile says.
    pub staging: bool,
    /// How long runs are remembered.
    pub retention: Duration,
    /// One run or preview at a time on this node; the lease sees to the others.
    pub(super) gate: Mutex<()>,
    rules: ActivatedRules,
}

/// How long runs are remembered where nothing else is said.
pub const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// What the connector to the gateway's own directory says it is.
pub const TENANT_KIND: &str = "tenant";

/// On whose behalf scheduled runs are.
pub const SCHEDULE: &str = "schedule";

/// A run to be carried out.
pub struct RunRequest {
    pub profile: RunProfile,
    /// The administrator who asked for it, or [`SCHEDULE`].
    pub by: String,
    /// Exports go out although a maintenance window holds them back.
    pub anyway: bool,
    pub cancellation: Cancellation,
    pub progress: ProgressSink,
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
        Self {
            store,
            lease,
            activations,
            connectors,
            guard,
            clock,
            events,
            profiles: Vec::new(),
            windows: Vec::new(),
            staging: false,
            retention: RETENTION,
            gate: Mutex::new(()),
            rules: ActivatedRules::default(),
        }
    }

    /// The run profile of that name, shipped or own.
    pub fn profile(&self, name: &str) -> Option<RunProfile> {
        RunProfile::shipped(name).or_else(|| self.profiles.iter().find(|profile| profile.name() == name).cloned())
    }

    /// Runs a profile on nobody's behalf and to its end.
    pub async fn run(
        &self,
        profile: impl Into<RunProfile>,
        progress: ProgressSink,
    ) -> Result<(RunRecord, Vec<StepRecord>), RunError> {
        let profile = profile.into();
        let request = RunRequest {
            profile,
            by: SCHEDULE.to_owned(),
            anyway: false,
            cancellation: Cancellation::default(),
            progress,
        };
        self.carry_out(request).await
    }

    /// Runs a profile, after the run or preview of this node that is under way.
    ///
    /// A cancelled run ends with [`RunOutcome::Cancelled`]: what its batches did stands, and the next run goes on from there.
    pub async fn carry_out(&self, request: RunRequest) -> Result<(RunRecord, Vec<StepRecord>), RunError> {
        let _gate = self.gate.lock().await;
        let RunRequest { profile, by, anyway, cancellation, progress } = request;
        self.record(Work::Profile { profile: &profile, anyway }, by, cancellation, progress).await
    }

    async fn record(
        &self,
        work: Work<'_>,
        by: String,
        cancellation: Cancellation,
        progress: ProgressSink,
    ) -> Result<(RunRecord, Vec<StepRecord>), RunError> {
        let lease = HeldLease::cancellable(self.lease.clone(), cancellation.clone())?;
        self.remember_connectors(&lease).await?;
        let (activation, rules) = self.rules().await?;
        let started_at = self.clock.now();
        let new = NewRun { profile: work.name(), rules: activation, by, at: started_at };
        let number = self.store.begin_run(lease.epoch, &new).await?;
        self.store.purge_runs(lease.epoch, started_at - self.retention).await?;
        let progress: ProgressSink = Arc::new(move |told: Progress| progress(Progress { run: number, ..told }));
        let mut cycle = Cycle::new(self, &rules, lease.clone(), number, activation, progress);
        let ended = cycle.run(work).await;
        let (outcome, detail) = match &ended {
            Ok(outcome) => (*outcome, None),
            Err(RunError::Lease(LeaseError::Cancelled)) => {
                (RunOutcome::Cancelled, cancellation.asked_by().map(|by| format!("by {by}")))
            }
            Err(error) => (RunOutcome::Failed, Some(error.to_string())),
        };
        let steps = cycle.into_steps();
        let record = RunRecord {
            number,
            profile: new.profile,
            rules: activation,
            by: new.by,
            started_at,
            ended_at: Some(self.clock.now()),
            outcome,
            detail,
        };
        self.events.ended(&record, &steps).await;
        // A failed run is ended too; its own error is the one to tell.
        let written = self.store.end_run(lease.epoch, &record).await;
        match ended {
            Ok(_) | Err(RunError::Lease(LeaseError::Cancelled)) => written?,
            Err(error) => return Err(error),
        }
        Ok((record, steps))
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

    /// What a removal would do, without committing anything.
    pub async fn preview_removal(&self, removal: &Removal) -> Result<RemovalPreview, RunError> {
        let _gate = self.gate.try_lock().map_err(|_| RunError::Busy)?;
        self.removal_preview(removal).await
    }

    async fn removal_preview(&self, removal: &Removal) -> Result<RemovalPreview, RunError> {
        let outlook = removal.outlook(self).await?;
        if outlook.target {
            return Ok(outlook);
        }
        let lease = HeldLease::begin(self.lease.clone())?;
        let (_, rules) = self.rules().await?;
        let scratch = self.store.scratch().await?;
        mark_gone(&*scratch, &lease, removal).await?;
        let preview = self.preview_on(&*scratch, &rules, &lease, Extent::Delta).await?;
        Ok(RemovalPreview { preview, ..outlook })
    }

    /// Takes a connector that the settings no longer name, or one type of its objects, out of the metaverse. What follows
    /// from it leaves with the next runs.
    pub async fn remove(
        &self,
        removal: &Removal,
        by: &str,
        even_if_held: bool,
    ) -> Result<(RunRecord, Vec<StepRecord>), RunError> {
        let _gate = self.gate.lock().await;
        let RemovalPreview { configured, preview, target, .. } = self.removal_preview(removal).await?;
        if configured && removal.object_type.is_none() {
            return Err(RunError::StillConfigured { connector: removal.connector.clone() });
        }
        if !even_if_held && !preview.held().is_empty() {
            return Err(RunError::WouldBeHeld(Box::new(preview)));
        }
        let work = Work::Removal { removal, target };
        self.record(work, by.to_owned(), Cancellation::default(), Arc::new(|_| {})).await
    }

    /// No run of this node begins, and no other node's, while this is held.
    pub fn hold_still(&self) -> Result<Still<'_>, RunError> {
        let gate = self.gate.try_lock().map_err(|_| RunError::Busy)?;
        Ok(Still { _gate: gate, lease: HeldLease::begin(self.lease.clone())? })
    }

    /// The activated rules, bound to the connectors, with their version.
    pub async fn rules(&self) -> Result<(i64, RuleSet), RunError> {
        let (activation, rules) = self.rules.current(&*self.activations).await?;
        Ok((activation.number, self.bind(rules).await?))
    }

    /// `rules` for the connectors of the settings, and for those that are missing there and keep what they contribute.
    pub async fn bind(&self, rules: RuleSet) -> Result<RuleSet, RunError> {
        let facts = RunFacts::new(self.clock.now(), StdRng::from_rng(&mut rand::rng()));
        let connectors = with_missing(self.configured(), &self.store.known_connectors().await?);
        Ok(rules.for_connectors(connectors).for_run(facts))
    }

    fn configured(&self) -> Vec<(ConnectorName, Capabilities)> {
        self.connectors.iter().map(|connector| (connector.name().clone(), connector.capabilities())).collect()
    }

    async fn remember_connectors(&self, lease: &HeldLease) -> Result<(), RunError> {
        let known = self.store.known_connectors().await?;
        let all = with_missing(self.configured(), &known);
        if all != known {
            self.store.put_known_connectors(lease.epoch, &all).await?;
        }
        Ok(())
    }

    pub(super) async fn judge(
        &self,
        store: &dyn EngineStore,
        target: &ConnectorName,
    ) -> Result<(Vec<Hold>, Releases), RunError> {
        let now = self.clock.now();
        let mut tally = store.tally(target, now - MEMORY).await?;
        let releases = Releases::of(store.released(target.as_str()).await?, &tally, now);
        let populations = store.populations(target, &self.guard.shares_of(&tally, &releases.standing)).await?;
        tally.population.extend(populations);
        Ok((self.guard.judge(target.as_str(), &tally, &releases.standing, now), releases))
    }
}

/// An engine that rests.
pub struct Still<'a> {
    _gate: tokio::sync::MutexGuard<'a, ()>,
    lease: HeldLease,
}

impl Still<'_> {
    pub fn epoch(&self) -> LeaseEpoch {
        self.lease.epoch
    }
}

/// What a run does.
#[derive(Clone, Copy)]
enum Work<'a> {
    Profile { profile: &'a RunProfile, anyway: bool },
    Removal { removal: &'a Removal, target: bool },
}

impl Work<'_> {
    /// What it is remembered as.
    fn name(&self) -> String {
        match self {
            Self::Profile { profile, .. } => profile.name().to_owned(),
            Self::Removal { removal, .. } => removal.run_name(),
        }
    }
}

struct Tick<'a> {
    lease: &'a HeldLease,
    step: &'static str,
    progress: Option<ProgressSink>,
}

#[async_trait::async_trait]
impl AsyncTick<RunError> for Tick<'_> {
    async fn tick(&mut self, counters: &Counters) -> Result<(), RunError> {
        if let Some(progress) = &self.progress {
            let done = counters.objects + counters.links;
            progress(Progress { run: 0, step: self.step.into(), connector: String::new(), done });
        }
        Ok(self.lease.check()?)
    }
}
