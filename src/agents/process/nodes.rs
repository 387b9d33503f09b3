//! The nodes of the gateway, as last heard of, kept over restarts.

use std::path::{Path, PathBuf};

use agent_proto::GatewayNode;
use serde::{Deserialize, Serialize};

use crate::os;

#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    url: String,
}

fn file(state: &Path) -> PathBuf {
    state.join("nodes.json")
}

/// What was last heard; nothing when nothing was, or it cannot be read: the node of the enrolment knows the others.
pub fn load(state: &Path) -> Vec<GatewayNode> {
    let Ok(text) = std::fs::read(file(state)) else { return Vec::new() };
    match serde_json::from_slice::<Vec<Stored>>(&text) {
        Ok(stored) => stored.into_iter().map(|Stored { name, url }| GatewayNode { name, url }).collect(),
        Err(error) => {
            tracing::warn!(%error, "the list of nodes is damaged and will be asked for");
            Vec::new()
        }
    }
}

/// Remembers the nodes for the next start.
pub fn save(state: &Path, nodes: &[GatewayNode]) {
    let stored: Vec<_> = nodes.iter().map(|node| Stored { name: node.name.clone(), url: node.url.clone() }).collect();
    let written = serde_json::to_vec(&stored)
        .map_err(std::io::Error::from)
        .and_then(|text| os::write_private(&file(state), &text));
    if let Err(error) = written {
        tracing::warn!(%error, "the list of nodes could not be remembered");
    }
}
