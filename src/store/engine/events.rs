//! Runs and holds in the audit log.

use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::store::audit::AuditLog;
use crate::sync::guard::Hold;
use crate::sync::run::{RunEvents, RunOutcome, RunRecord, StepRecord};
use crate::sync::synchronise::DELTA_MISSED;

/// Writes what the engine did to the audit log.
#[derive(Clone, Debug)]
pub struct AuditedRuns {
    audit: AuditLog,
}

impl AuditedRuns {
    pub fn new(audit: AuditLog) -> Self {
        Self { audit }
    }

    async fn record(&self, event: Event) {
        // The run itself is in the engine's own tables; a failing audit log shows in health and stops sign-ins.
        if let Err(error) = self.audit.record(event).await {
            tracing::error!(error = %error, "a sync event could not be recorded");
        }
    }
}

fn system() -> Actor {
    Actor::System("sync".to_owned())
}

#[async_trait::async_trait]
impl RunEvents for AuditedRuns {
    async fn ended(&self, run: &RunRecord, steps: &[StepRecord]) {
        let sum = |kind: &str| -> i64 {
            steps.iter().filter(|step| step.kind == kind).flat_map(|step| step.counters.values()).sum()
        };
        let exported = sum("export");
        // A cycle that changed nothing every two minutes would bury everything else.
        let missed: i64 = steps.iter().filter_map(|step| step.counters.get(DELTA_MISSED)).sum();
        let idle = run.outcome == RunOutcome::Completed && exported == 0 && missed == 0;
        if idle {
            return;
        }
        let outcome = match run.outcome {
            RunOutcome::Completed | RunOutcome::Running | RunOutcome::Deferred => Outcome::Success,
            RunOutcome::Held | RunOutcome::Cancelled => Outcome::Refused,
            RunOutcome::Failed => Outcome::Failed,
        };
        let mut event = Event::new(EventKind::SyncRun, outcome, system())
            .about(run.number)
            .with("profile", run.profile.as_str())
            .with("rules", run.rules)
            .with("by", run.by.as_str())
            .with("exported", exported);
        if missed > 0 {
            event = event.with("delta_missed", missed);
        }
        if let Some(detail) = &run.detail {
            event = event.because(detail.clone());
        }
        self.record(event).await;
    }

    async fn held(&self, holds: &[Hold]) {
        for hold in holds {
            let event = Event::new(EventKind::GuardHeld, Outcome::Refused, system())
                .about(&hold.target)
                .because(hold.kind.clone())
                .with("outstanding", hold.outstanding)
                .with("exported", hold.exported)
                .with("limit", hold.limit)
                .with("digest", hold.digest.as_str());
            self.record(event).await;
        }
    }

    async fn released(&self, hold: &Hold, by: &str) {
        let event = Event::new(EventKind::GuardHeld, Outcome::Success, Actor::Admin(by.to_owned()))
            .about(&hold.target)
            .because("released")
            .with("kind", hold.kind.as_str())
            .with("outstanding", hold.outstanding)
            .with("digest", hold.digest.as_str());
        self.record(event).await;
    }
}
