//! What is kept of runs, and who is told when one ends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::identity::Timestamp;
use crate::sync::guard::Hold;
use crate::sync::space::codes;

codes! {
    RunOutcome {
        Running = "running",
        Completed = "completed",
        /// Something is held: a person has to look.
        Held = "held",
        /// A step failed; what the others did stands.
        Failed = "failed",
        /// Ended between two batches because somebody asked for it.
        Cancelled = "cancelled",
        /// Of a step: held back by a maintenance window or staging mode. What is staged waits.
        Deferred = "deferred",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    pub number: i64,
    pub profile: String,
    /// The activated version of the rules.
    pub rules: i64,
    /// The administrator who asked for it, or `schedule`.
    pub by: String,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub outcome: RunOutcome,
    pub detail: Option<String>,
}

/// A run that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRun {
    pub profile: String,
    /// The activated version of the rules.
    pub rules: i64,
    pub by: String,
    pub at: Timestamp,
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

/// What leaves a record: the audit log.
#[async_trait::async_trait]
pub trait RunEvents: Send + Sync {
    async fn ended(&self, run: &RunRecord, steps: &[StepRecord]);
    async fn held(&self, holds: &[Hold]);
    async fn released(&self, hold: &Hold, by: &str);
}
