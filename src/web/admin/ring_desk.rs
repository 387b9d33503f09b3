//! What the operations of the key ring work on.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::OperationError;

/// The key ring of the installation, with its file. Implemented where both are known.
#[async_trait]
pub trait RingKeeping: Send + Sync {
    /// Adds a new primary key and begins to seal everything anew under it.
    async fn roll(&self, by: &str) -> Result<RingStatus, RingRefusal>;

    async fn status(&self) -> Result<RingStatus, RingRefusal>;
}

/// Why a ring was not rolled.
#[derive(Debug, thiserror::Error)]
pub enum RingRefusal {
    #[error(
        "other nodes write to this store ({}), and their key rings would lack the new key: with several nodes, add the \
         key to every node's file and restart them one by one",
        .0.join(", ")
    )]
    OtherNodes(Vec<String>),
    #[error("the key ring or what it seals could not be read or written")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The keys of the ring, by name.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingStatus {
    /// What seals.
    pub primary: String,
    pub older: Vec<OlderKey>,
}

/// A key that only opens. Once no row names it, it may be taken out of the file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OlderKey {
    pub key: String,
    /// Rows that are still sealed or stamped with it.
    pub rows: u64,
}

pub struct RingDesk(pub Arc<dyn RingKeeping>);

pub(super) fn ring_error(error: RingRefusal) -> OperationError {
    match error {
        refused @ RingRefusal::OtherNodes(_) => OperationError::refused(refused.to_string()),
        failed @ RingRefusal::Failed(_) => OperationError::internal(&failed),
    }
}
