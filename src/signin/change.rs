//! A change of a domain's method as a procedure: proposed, approved, scheduled, tried on a share of the users, carried
//! out, undone. Each step is one transaction over the version that the change had, so that a step is taken once, whichever
//! node takes it.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::desk::{AddRollout, RemoveRollout};
use super::rollout::Rollout;
use super::store::{Alert, CutOff, DomainEdit, StoreDown};
use super::tally::Count;
use crate::audit::Event;
use crate::identity::{AuthenticationMethod, ChangeId, DomainName, EntityId, Percent, RolloutId, Timestamp};

/// A change, from the wish to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodChange {
    pub id: ChangeId,
    pub domain: DomainName,
    pub plan: Plan,
    /// The partner who was to answer when the change was asked for: what was approved is not carried out with another.
    #[serde(default)]
    pub partner: Option<EntityId>,
    pub state: ChangeState,
    pub asked_by: String,
    pub asked_at: Timestamp,
    #[serde(default)]
    pub approved_by: Option<String>,
    /// How the domain signed in before, of a change that was carried out.
    #[serde(default)]
    pub former: Option<Former>,
    /// Grows with each step.
    pub version: i64,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Plan {
    SetMethod {
        method: AuthenticationMethod,
        #[serde(default)]
        cut: bool,
        #[serde(default)]
        force: bool,
        /// When; at once when there is none.
        #[serde(default)]
        at: Option<Timestamp>,
        #[serde(default)]
        canary: Option<CanaryPlan>,
    },
    AddRollout(AddRollout),
    RemoveRollout(RemoveRollout),
}

/// How a change is tried on a share of the users first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryPlan {
    pub percent: Percent,
    pub seconds: u64,
    /// By how many percent points the rate of refusals may rise above the one before.
    pub margin: u8,
    /// Tries that must have been seen before anything is concluded.
    pub least: u32,
}

/// How a domain signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    pub method: AuthenticationMethod,
    pub partner: Option<EntityId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum ChangeState {
    /// Waits for another principal to approve it.
    Proposed {
        until: Timestamp,
    },
    Scheduled {
        at: Timestamp,
    },
    /// Tried on a share.
    Canary {
        since: Timestamp,
        rollout: RolloutId,
        /// How tries ended in the day before, under the method that the domain had.
        before: Count,
    },
    Done {
        at: Timestamp,
    },
    Cancelled {
        at: Timestamp,
        by: String,
    },
    Expired {
        at: Timestamp,
    },
    Failed {
        at: Timestamp,
        why: String,
    },
    RolledBack {
        at: Timestamp,
        why: String,
    },
}

impl ChangeState {
    /// The stable word for the store and for lists.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Proposed { .. } => "proposed",
            Self::Scheduled { .. } => "scheduled",
            Self::Canary { .. } => "canary",
            Self::Done { .. } => "done",
            Self::Cancelled { .. } => "cancelled",
            Self::Expired { .. } => "expired",
            Self::Failed { .. } => "failed",
            Self::RolledBack { .. } => "rolled-back",
        }
    }

    /// Something is still to come of it.
    pub const fn is_open(&self) -> bool {
        match self {
            Self::Proposed { .. } | Self::Scheduled { .. } | Self::Canary { .. } => true,
            Self::Done { .. }
            | Self::Cancelled { .. }
            | Self::Expired { .. }
            | Self::Failed { .. }
            | Self::RolledBack { .. } => false,
        }
    }
}

/// What becomes of a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryVerdict {
    /// Its time is not over, or too few have tried.
    GoOn,
    /// The method takes the whole domain.
    Complete,
    /// The share goes back: rates of refusals in thousandths.
    RollBack { before: u64, during: u64 },
}

/// Judges a canary that has run for `elapsed`. It goes back as soon as enough have tried and too many of them in vain.
pub fn judge_canary(plan: &CanaryPlan, before: Count, during: Count, elapsed: Duration) -> CanaryVerdict {
    if during.tries() < u64::from(plan.least) {
        return CanaryVerdict::GoOn;
    }
    let (was, is) = (before.refused_per_mille(), during.refused_per_mille());
    if is > was + u64::from(plan.margin) * 10 {
        return CanaryVerdict::RollBack { before: was, during: is };
    }
    if elapsed < Duration::from_secs(plan.seconds) { CanaryVerdict::GoOn } else { CanaryVerdict::Complete }
}

/// One step of a change, all or nothing.
#[derive(Clone, Debug)]
pub struct ChangeStep {
    /// The change as it becomes; its version is that of the row before.
    pub change: MethodChange,
    /// There is no row yet.
    pub new: bool,
    /// What becomes of the domain, if it still has this version.
    pub domain: Option<(i64, DomainEdit)>,
    /// What becomes of a rollout: the domain's version is checked with it.
    pub rollout: Option<(i64, RolloutEdit)>,
    /// Ends what rests on another method than this one, and says so.
    pub cut: Option<(AuthenticationMethod, Event)>,
    pub alerts: Vec<AlertEdit>,
    pub event: Event,
}

impl ChangeStep {
    /// A step of a change that is known, which touches nothing else.
    pub const fn of(change: MethodChange, event: Event) -> Self {
        Self { change, new: false, domain: None, rollout: None, cut: None, alerts: Vec::new(), event }
    }
}

/// What becomes of an alert of the domain; the record is written if it was not so before.
#[derive(Clone, Debug)]
pub enum AlertEdit {
    Raise(Alert, Event),
    Clear(&'static str, Event),
}

#[derive(Clone, Debug)]
pub enum RolloutEdit {
    Put(Rollout),
    Remove(RolloutId),
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// With what was cut.
    Done(CutOff),
    /// Somebody else took a step first: nothing was done.
    Left,
    /// The domain has another version: what was decided on it is to be decided anew.
    Outdated,
    /// As things stand it cannot be; the text is for the operator.
    Refused(String),
}

/// Changes of methods, and how tries at passwords end.
#[async_trait]
pub trait MethodChanges: Send + Sync {
    async fn change_by_id(&self, id: ChangeId) -> Result<Option<MethodChange>, StoreDown>;

    /// The changes of a domain, or of all, newest first.
    async fn changes(&self, domain: Option<&DomainName>, limit: u32) -> Result<Vec<MethodChange>, StoreDown>;

    /// Of all domains, those of which something is still to come.
    async fn open_changes(&self) -> Result<Vec<MethodChange>, StoreDown>;

    async fn step(&self, step: ChangeStep) -> Result<Stepped, StoreDown>;
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: fn() -> CanaryPlan =
        || CanaryPlan { percent: 10.try_into().expect("a share"), seconds: 600, margin: 5, least: 20 };

    fn count(admitted: u64, refused: u64) -> Count {
        Count { admitted, refused, unknown: 0 }
    }

    #[test]
    fn a_canary_goes_back_when_enough_were_refused_and_not_before() {
        let before = count(95, 5);
        let late = Duration::from_secs(600);
        let rows = [
            (count(0, 19), late, CanaryVerdict::GoOn),
            (count(0, 20), Duration::ZERO, CanaryVerdict::RollBack { before: 50, during: 1000 }),
            // Up to the margin above the rate before nothing is wrong.
            (count(90, 10), late, CanaryVerdict::Complete),
            (count(89, 11), late, CanaryVerdict::RollBack { before: 50, during: 110 }),
            (count(100, 0), Duration::from_secs(599), CanaryVerdict::GoOn),
            (count(100, 0), late, CanaryVerdict::Complete),
        ];
        for (during, elapsed, expected) in rows {
            assert_eq!(judge_canary(&PLAN(), before, during, elapsed), expected, "{during:?} after {elapsed:?}");
        }
        // Nobody had tried before: only the margin is allowed.
        assert_eq!(
            judge_canary(&PLAN(), Count::default(), count(18, 2), late),
            CanaryVerdict::RollBack { before: 0, during: 100 }
        );
    }
}
