//! The engine by the clock: run profiles, maintenance windows, the scheduler's task, and the watch over a suspension.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::gateway::StartError;
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::config::{RunStepKind, SyncSettings, WindowHolds};
use crate::identity::causes;
use crate::signin::store::{Alert, Alerts};
use crate::store::Database;
use crate::store::engine::SqlSuspensions;
use crate::sync::maintenance::{HeldBack, MaintenanceWindow, Suspensions};
use crate::sync::profile::{RunProfile, Step, StepKind};
use crate::sync::run::Runner;
use crate::sync::scheduler::{Scheduler, SchedulerHandle, SchedulerSettings};
use crate::web::admin::AdminRoutes;
use crate::web::admin::connector_remove::{ConnectorPreviewRemoval, ConnectorRemove};
use crate::web::admin::guard_release::GuardRelease;
use crate::web::admin::guard_show::GuardShow;
use crate::web::admin::rules_activate::RulesActivate;
use crate::web::admin::sync_cancel::SyncCancel;
use crate::web::admin::sync_desk::SyncDesk;
use crate::web::admin::sync_explain::SyncExplain;
use crate::web::admin::sync_object::SyncObject;
use crate::web::admin::sync_preview::SyncPreview;
use crate::web::admin::sync_preview_object::SyncPreviewObject;
use crate::web::admin::sync_preview_settings::SyncPreviewSettings;
use crate::web::admin::sync_progress::SyncProgress;
use crate::web::admin::sync_provision::SyncProvision;
use crate::web::admin::sync_resume::SyncResume;
use crate::web::admin::sync_run::SyncRun;
use crate::web::admin::sync_runs::SyncRuns;
use crate::web::admin::sync_search::SyncSearch;
use crate::web::admin::sync_status::SyncStatus;
use crate::web::admin::sync_suspend::SyncSuspend;

/// Gives `runner` what the settings say of its runs.
pub fn equip(runner: &mut Runner, settings: &SyncSettings) -> Result<(), StartError> {
    for profile in &settings.profiles {
        let steps = profile.steps.iter().map(|step| Step { kind: kind(step.kind), connector: step.connector.clone() });
        let own = RunProfile::own(&profile.name, steps.collect(), &runner.connectors);
        runner.profiles.push(own.map_err(StartError::part("run profiles"))?);
    }
    let windows = settings.windows.iter().map(|window| MaintenanceWindow {
        name: window.name.clone(),
        holds: match window.holds {
            WindowHolds::Exports => HeldBack::Exports,
            WindowHolds::Cycles => HeldBack::Cycles,
        },
        when: window.when.clone(),
    });
    runner.windows = windows.collect();
    runner.staging = settings.staging;
    runner.retention = settings.run_retention;
    Ok(())
}

const fn kind(kind: RunStepKind) -> StepKind {
    match kind {
        RunStepKind::DeltaImport => StepKind::DeltaImport,
        RunStepKind::FullImport => StepKind::FullImport,
        RunStepKind::DeltaSync => StepKind::DeltaSync,
        RunStepKind::FullSync => StepKind::FullSync,
        RunStepKind::Export => StepKind::Export,
        RunStepKind::Confirm => StepKind::Confirm,
    }
}

/// The scheduler and what it is spoken to with.
pub fn scheduler(
    runner: &Arc<Runner>,
    settings: &SyncSettings,
    gateway: &Database,
) -> Result<(Scheduler, SchedulerHandle, Arc<dyn Suspensions>), StartError> {
    let unknown = || format!("there is no run profile {}", settings.scheduled_profile);
    let profile = runner.profile(&settings.scheduled_profile);
    let profile = profile.ok_or_else(|| StartError::part("schedule")(unknown()))?;
    let timing = SchedulerSettings { interval: settings.interval, enabled: settings.scheduled, profile };
    let suspensions: Arc<dyn Suspensions> = Arc::new(SqlSuspensions::new(gateway.clone()));
    let (scheduler, handle) = Scheduler::new(runner.clone(), suspensions.clone(), timing);
    Ok((scheduler, handle, suspensions))
}

/// Runs the scheduler until the stop.
pub async fn run(scheduler: Scheduler, stop: CancellationToken) {
    let (ended, watched) = tokio::sync::watch::channel(false);
    let relay = async {
        stop.cancelled().await;
        ended.send_replace(true);
    };
    tokio::join!(scheduler.run(watched), relay);
}

/// The operations on the engine: runs, their schedule, rules, guard.
pub fn operations(routes: AdminRoutes, desk: &Arc<SyncDesk>) -> AdminRoutes {
    routes
        .with::<SyncRun>(desk)
        .with::<SyncPreview>(desk)
        .with::<SyncPreviewObject>(desk)
        .with::<SyncPreviewSettings>(desk)
        .with::<SyncProvision>(desk)
        .with::<SyncExplain>(desk)
        .with::<SyncObject>(desk)
        .with::<SyncSearch>(desk)
        .with::<SyncStatus>(desk)
        .with::<RulesActivate>(desk)
        .with::<GuardShow>(desk)
        .with::<GuardRelease>(desk)
        .with::<SyncProgress>(desk)
        .with::<SyncCancel>(desk)
        .with::<SyncSuspend>(desk)
        .with::<SyncResume>(desk)
        .with::<SyncRuns>(desk)
        .with::<ConnectorPreviewRemoval>(desk)
        .with::<ConnectorRemove>(desk)
}

/// Between two looks at the suspension.
const LOOK: Duration = Duration::from_secs(60);
const ALERT: &str = "sync-suspended";

/// Raises an alert while the engine is suspended for longer than people mean to, on the node that would run it.
pub struct SuspensionWatch {
    pub runner: Arc<Runner>,
    pub suspensions: Arc<dyn Suspensions>,
    pub alerts: Arc<dyn Alerts>,
    pub patience: Duration,
}

impl SuspensionWatch {
    pub async fn run(self, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => {}
            }
            if self.runner.lease.held().is_some()
                && let Err(error) = self.look().await
            {
                tracing::warn!(error = causes(&*error), "the suspension of the engine could not be looked at");
            }
        }
    }

    async fn look(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let now = self.runner.clock.now();
        let actor = || Actor::System("sync".to_owned());
        let suspension = self.suspensions.suspension().await?.filter(|suspension| suspension.in_force(now));
        match suspension.filter(|suspension| now.since(suspension.since) >= self.patience) {
            Some(suspension) => {
                let reason = suspension.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                let detail = format!("suspended since {} by {}{reason}", suspension.since, suspension.by);
                let event = Event::new(EventKind::AlertRaised, Outcome::Success, actor()).about(ALERT).because(&detail);
                let alert = Alert { name: ALERT, subject: "sync".to_owned(), detail, at: now };
                self.alerts.raise(alert, vec![event]).await?;
            }
            // A row is written when there is something to clear alone.
            None if self.alerts.raised().await?.iter().any(|alert| alert.name == ALERT) => {
                let event = Event::new(EventKind::AlertCleared, Outcome::Success, actor()).about(ALERT);
                self.alerts.clear(ALERT, "sync".to_owned(), now, vec![event]).await?;
            }
            None => {}
        }
        Ok(())
    }
}
