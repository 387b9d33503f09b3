//! Staging instances: engines beside the active one, each with tables, connectors and rules of its own, that export
//! nothing. They read the same directories and the same targets; what they would make of these is compared with what the
//! active engine makes of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::engine::{self, Engine, EngineSettings, Ground};
use super::gateway::StartError;
use super::schedule;
use crate::config::{InstanceName, InstanceSettings, Settings};
use crate::store::Database;
use crate::sync::activation::FolderRules;
use crate::sync::guard::{GuardSettings, Hold};
use crate::sync::profile::{RunProfile, Step, StepKind};
use crate::sync::run::{RunEvents, RunOutcome, RunRecord, Runner, StepRecord};
use crate::sync::scheduler::{Scheduler, SchedulerSettings};
use crate::web::admin::AdminRoutes;
use crate::web::admin::sync_cancel::SyncCancel;
use crate::web::admin::sync_desk::{Instances, SyncDesk};
use crate::web::admin::sync_diff::SyncDiff;
use crate::web::admin::sync_explain::SyncExplain;
use crate::web::admin::sync_object::SyncObject;
use crate::web::admin::sync_preview::SyncPreview;
use crate::web::admin::sync_preview_object::SyncPreviewObject;
use crate::web::admin::sync_progress::SyncProgress;
use crate::web::admin::sync_run::SyncRun;
use crate::web::admin::sync_runs::SyncRuns;
use crate::web::admin::sync_search::SyncSearch;
use crate::web::admin::sync_status::SyncStatus;

/// The run profile of staging instances.
pub const COMPARE: &str = "compare";

/// The instances of a gateway.
#[derive(Default)]
pub struct StagingInstances {
    desks: BTreeMap<InstanceName, Arc<SyncDesk>>,
    databases: Vec<Database>,
}

impl StagingInstances {
    /// Opens the instances of the settings beside the `active` engine and starts their schedulers.
    pub async fn open(
        settings: &Settings,
        ground: &Ground<'_>,
        active: &SyncDesk,
        (tasks, stop): (&TaskTracker, &CancellationToken),
    ) -> Result<Self, StartError> {
        let mut opened = Self::default();
        for own in &settings.instances {
            let db = Database::open_staging(&settings.store.url, own.name.as_str()).await?;
            let runner = Arc::new(runner(own, ground, &db)?);
            let profile = runner.profile(COMPARE).ok_or_else(|| StartError::part("staging instance")("no profile"))?;
            let interval = own.interval.unwrap_or(settings.sync.interval);
            let timing = SchedulerSettings { interval, enabled: own.interval.is_some(), profile };
            let (scheduler, handle) = Scheduler::new(runner.clone(), active.suspensions.clone(), timing);
            tasks.spawn_on(schedule::run(scheduler, stop.clone()), &active.background);
            let desk = SyncDesk {
                proposed: EngineSettings::of_gateway(&own.settings).proposed(ground),
                runner,
                scheduler: handle,
                suspensions: active.suspensions.clone(),
                rules: own.settings.sync.rules.clone(),
                background: active.background.clone(),
            };
            opened.desks.insert(own.name.clone(), Arc::new(desk));
            opened.databases.push(db);
        }
        Ok(opened)
    }

    /// The comparison, and what can be asked of an instance and done with it.
    pub fn operations(&self, routes: AdminRoutes, active: &SyncDesk) -> AdminRoutes {
        let staging = self.desks.iter().map(|(name, desk)| (name.to_string(), desk.runner.clone()));
        let instances = Arc::new(Instances {
            active: active.runner.clone(),
            staging: staging.collect(),
            background: active.background.clone(),
        });
        self.desks.iter().fold(routes.with::<SyncDiff>(&instances).of_instances(), |routes, (name, desk)| {
            routes
                .at(name.as_str())
                .with::<SyncRun>(desk)
                .with::<SyncCancel>(desk)
                .with::<SyncProgress>(desk)
                .with::<SyncRuns>(desk)
                .with::<SyncStatus>(desk)
                .with::<SyncPreview>(desk)
                .with::<SyncPreviewObject>(desk)
                .with::<SyncExplain>(desk)
                .with::<SyncSearch>(desk)
                .with::<SyncObject>(desk)
                .at_active()
        })
    }

    pub fn into_databases(self) -> Vec<Database> {
        self.databases
    }
}

fn runner(own: &InstanceSettings, ground: &Ground<'_>, db: &Database) -> Result<Runner, StartError> {
    let engine = Engine {
        db,
        activations: Arc::new(FolderRules::new(own.settings.sync.rules.clone(), ground.clock.clone())),
        guard: GuardSettings::holding_nothing(),
        events: Arc::new(Unaudited(own.name.clone())),
    };
    let mut runner = engine::runner(&EngineSettings::of_gateway(&own.settings), ground, engine)?;
    runner.staging = true;
    // Targets are looked at before anything is staged for them: the active instance changes them all the time.
    let steps = [StepKind::DeltaImport, StepKind::Confirm, StepKind::DeltaSync].map(Step::of_all).to_vec();
    let compare = RunProfile::own(COMPARE, steps, &runner.connectors).map_err(StartError::part("run profiles"))?;
    runner.profiles.insert(0, compare);
    Ok(runner)
}

/// Runs of an instance change nothing outside its own tables: they are in its run history alone.
struct Unaudited(InstanceName);

#[async_trait::async_trait]
impl RunEvents for Unaudited {
    async fn ended(&self, run: &RunRecord, _: &[StepRecord]) {
        if run.outcome == RunOutcome::Failed {
            let detail = run.detail.as_deref().unwrap_or_default();
            tracing::warn!(instance = %self.0, run.id = run.number, detail, "a run of a staging instance failed");
        }
    }

    async fn held(&self, _: &[Hold]) {}

    async fn released(&self, _: &Hold, _: &str) {}
}
