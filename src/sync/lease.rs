//! The engine lease as the engine sees it (design D3): held or not, and under which epoch.
//!
//! Who keeps and renews it is none of the engine's business; every write of the engine carries the epoch and is refused
//! by the store when a newer one has written.

use std::sync::Arc;

use crate::identity::LeaseEpoch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    #[error("this node does not hold the engine lease")]
    NotHeld,
    #[error("the engine lease (epoch {epoch}) was lost")]
    Lost { epoch: LeaseEpoch },
}

/// Who knows whether this node holds the engine lease.
pub trait EngineLease: Send + Sync {
    /// The epoch of the lease if it is held and fresh: renewed within half its length, by the monotonic clock.
    fn held(&self) -> Option<LeaseEpoch>;
}

/// The lease of one run.
#[derive(Clone)]
pub struct HeldLease {
    pub epoch: LeaseEpoch,
    lease: Arc<dyn EngineLease>,
}

impl HeldLease {
    pub fn begin(lease: Arc<dyn EngineLease>) -> Result<Self, LeaseError> {
        let epoch = lease.held().ok_or(LeaseError::NotHeld)?;
        Ok(Self { epoch, lease })
    }

    /// Asked between batches, and before anything is exported.
    pub fn check(&self) -> Result<(), LeaseError> {
        if self.lease.held() == Some(self.epoch) { Ok(()) } else { Err(LeaseError::Lost { epoch: self.epoch }) }
    }
}
