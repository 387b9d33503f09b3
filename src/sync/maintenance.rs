//! What holds a run back by the clock or by hand: maintenance windows, and the suspension that all nodes see.

use serde::{Deserialize, Serialize};

use super::store::StoreResult;
use crate::calendar::WeeklyWindow;
use crate::identity::Timestamp;

/// What a maintenance window holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldBack {
    /// Imports and synchronisation go on; what they stage waits.
    Exports,
    /// No run begins by itself.
    Cycles,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenanceWindow {
    pub name: String,
    pub holds: HeldBack,
    pub when: WeeklyWindow,
}

/// A window that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenWindow {
    pub name: String,
    pub holds: HeldBack,
    pub until: Timestamp,
}

/// The open windows of `windows`, those that close last first.
pub fn open_windows(windows: &[MaintenanceWindow], now: Timestamp) -> Vec<OpenWindow> {
    let mut open: Vec<OpenWindow> = windows
        .iter()
        .filter_map(|window| {
            let until = window.when.open_until(now)?;
            Some(OpenWindow { name: window.name.clone(), holds: window.holds, until })
        })
        .collect();
    open.sort_by_key(|window| std::cmp::Reverse(window.until));
    open
}

/// Somebody stopped the engine from running by itself, on all nodes and across restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    pub since: Timestamp,
    /// It ends by itself then; by `sync resume` alone when absent.
    pub until: Option<Timestamp>,
    pub reason: Option<String>,
    pub by: String,
}

impl Suspension {
    pub fn in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// The one suspension of a gateway. It needs no lease: whoever may suspend can do so on any node.
#[async_trait::async_trait]
pub trait Suspensions: Send + Sync {
    /// As it was written last, whether it is in force or over.
    async fn suspension(&self) -> StoreResult<Option<Suspension>>;
    /// Replaces what was there; one that goes on keeps the time at which it began.
    async fn suspend(&self, suspension: Suspension) -> StoreResult<()>;
    /// Returns the one that ends.
    async fn resume(&self) -> StoreResult<Option<Suspension>>;
}
