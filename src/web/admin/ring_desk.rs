//! What the operations of the key ring work on.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::OperationError;

/// The key ring of the installation, with its file. Implemented where both are known.
#[async_trait]
pub trait RingKeeping: Send + Sync {
    /// Hands a new key to every node, and begins to seal everything anew under it once all have it.
    async fn roll(&self, hand: HandOver, by: &str) -> Result<RingStatus, RingRefusal>;

    /// Lets every node forget a key that nothing is sealed with any more.
    async fn retire(&self, key: &str, by: &str) -> Result<RingStatus, RingRefusal>;

    async fn status(&self) -> Result<RingStatus, RingRefusal>;
}

/// Who is given a new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOver {
    /// Through the database, sealed under the former key.
    ToEveryNode,
    /// Whoever knows the former key is not to know this one.
    ToNobody,
}

/// Why a ring was not rolled, or a key not retired.
#[derive(Debug, thiserror::Error)]
pub enum RingRefusal {
    #[error("the key ring has no key {0} (keys ring shows them)")]
    Unknown(String),
    #[error("the key {0} seals, or is to: keys roll-ring replaces it")]
    InUse(String),
    #[error("other nodes write to this store ({}), and would not have the key: stop them first", .0.join(", "))]
    NotAlone(Vec<String>),
    #[error(
        "{rows} rows still name the key {key}: stored passwords follow by themselves, stamps with the next pass of the \
             password channel"
    )]
    StillNamed { key: String, rows: u64 },
    #[error(
        "{} may still seal with it, or did a moment ago: ask again in a quarter of a minute, with every node running",
        .0.join(", ")
    )]
    NodesBehind(Vec<String>),
    #[error("the key ring or what it seals could not be read or written")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The keys of the ring, by name.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingStatus {
    /// What seals.
    pub primary: String,
    /// What is to seal once every node has it.
    #[serde(default)]
    pub next: Option<NextKey>,
    pub older: Vec<OlderKey>,
}

/// A key on its way to all nodes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextKey {
    pub key: String,
    /// Nodes of the store that have not taken it yet.
    pub lacking: Vec<String>,
}

/// A key that only opens. Once no row names it, it can be retired.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OlderKey {
    pub key: String,
    /// Rows that are still sealed or stamped with it.
    pub rows: u64,
}

pub struct RingDesk(pub Arc<dyn RingKeeping>);

pub(super) fn ring_error(error: RingRefusal) -> OperationError {
    match error {
        refused @ (RingRefusal::Unknown(_)
        | RingRefusal::InUse(_)
        | RingRefusal::NotAlone(_)
        | RingRefusal::StillNamed { .. }
        | RingRefusal::NodesBehind(_)) => OperationError::refused(refused.to_string()),
        failed @ RingRefusal::Failed(_) => OperationError::internal(&failed),
    }
}
