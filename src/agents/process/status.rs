//! What the agent tells of itself: a file in the state folder that `landbridge agent status` reads.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::identity::{AgentId, ConnectorName, Timestamp};
use crate::os;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub agent: AgentId,
    pub connector: ConnectorName,
    pub software: String,
    pub pid: u32,
    pub at: Timestamp,
    pub certificate_ends: Timestamp,
    /// Checks under way, and checks answered since the start.
    pub busy: usize,
    pub answered: u64,
    pub nodes: Vec<NodeStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    pub url: String,
    #[serde(flatten)]
    pub state: NodeState,
    pub since: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum NodeState {
    Connecting,
    Connected { node: String },
    Away { reason: String },
}

impl Status {
    fn file(state: &Path) -> PathBuf {
        state.join("status.json")
    }

    pub(super) fn save(&self, state: &Path) {
        let written = serde_json::to_vec(self)
            .map_err(std::io::Error::from)
            .and_then(|text| os::write_private(&Self::file(state), &text));
        if let Err(error) = written {
            tracing::warn!(%error, "the agent's status could not be written");
        }
    }

    /// What an agent that runs, or ran, wrote last.
    pub fn load(state: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(Self::file(state)).ok()?).ok()
    }
}
