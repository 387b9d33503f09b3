//! The scheduler: a cycle every so often and at once on request, never two at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::run::{Profile, RunError, RunOutcome, Runner};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulerSettings {
    /// From the end of one cycle to the start of the next.
    pub interval: Duration,
    /// Off: cycles run on request alone.
    pub enabled: bool,
}

impl Default for SchedulerSettings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(120), enabled: true }
    }
}

/// How the last cycle ended, for health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleStatus {
    NotRunYet,
    Ended(RunOutcome),
    /// Another node runs the engine.
    Elsewhere,
    Failed(String),
}

pub struct Scheduler {
    runner: Arc<Runner>,
    settings: SchedulerSettings,
    wake: Arc<Notify>,
    status: watch::Sender<ScheduleStatus>,
}

impl Scheduler {
    pub fn new(runner: Arc<Runner>, settings: SchedulerSettings) -> Self {
        Self { runner, settings, wake: Arc::new(Notify::new()), status: watch::Sender::new(ScheduleStatus::NotRunYet) }
    }

    /// Wakes the scheduler at once; several calls before it runs are one.
    pub fn trigger(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    pub fn status(&self) -> watch::Receiver<ScheduleStatus> {
        self.status.subscribe()
    }

    /// Runs until `stop` turns true. A cycle under way is finished: dropping it would leave exports in doubt.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            tokio::select! {
                () = tokio::time::sleep(self.settings.interval), if self.settings.enabled => {}
                () = self.wake.notified() => {}
                changed = stop.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    continue;
                }
            }
            self.cycle().await;
        }
    }

    async fn cycle(&self) {
        let status = match self.runner.run(Profile::Delta, Arc::new(|_| {})).await {
            Ok((run, _)) => ScheduleStatus::Ended(run.outcome),
            // Somebody asked for a run by hand; the next tick comes.
            Err(RunError::Busy) => return,
            Err(RunError::Lease(super::lease::LeaseError::NotHeld)) => ScheduleStatus::Elsewhere,
            Err(error) => {
                tracing::warn!(error = %error, "a scheduled sync cycle failed");
                ScheduleStatus::Failed(error.to_string())
            }
        };
        self.status.send_replace(status);
    }
}
