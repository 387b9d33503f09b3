//! The engine lease as the engine sees it (design D3): held or not, and under which epoch.
//!
//! Who keeps and renews it is none of the engine's business; every write of the engine carries the epoch and is refused
//! by the store when a newer one has written.

use std::sync::{Arc, OnceLock};

use crate::identity::LeaseEpoch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    #[error("this node does not hold the engine lease")]
    NotHeld,
    #[error("the engine lease (epoch {epoch}) was lost")]
    Lost { epoch: LeaseEpoch },
    #[error("the run was cancelled")]
    Cancelled,
}

/// The wish that a run ends between two of its batches. Clones are one wish; who asked first is kept.
#[derive(Clone, Debug, Default)]
pub struct Cancellation(Arc<OnceLock<String>>);

impl Cancellation {
    /// `false` when the run was cancelled already.
    pub fn ask(&self, by: &str) -> bool {
        self.0.set(by.to_owned()).is_ok()
    }

    pub fn asked_by(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// Who knows whether this node holds the engine lease.
pub trait EngineLease: Send + Sync {
    /// The epoch of the lease if it is held and fresh: renewed within half its length, by the monotonic clock.
    fn held(&self) -> Option<LeaseEpoch>;
}

/// The lease of one run, and whether the run may still go on.
#[derive(Clone)]
pub struct HeldLease {
    pub epoch: LeaseEpoch,
    lease: Arc<dyn EngineLease>,
    cancellation: Cancellation,
}

impl HeldLease {
    pub fn begin(lease: Arc<dyn EngineLease>) -> Result<Self, LeaseError> {
        Self::cancellable(lease, Cancellation::default())
    }

    /// Of a run that `cancellation` ends.
    pub fn cancellable(lease: Arc<dyn EngineLease>, cancellation: Cancellation) -> Result<Self, LeaseError> {
        let epoch = lease.held().ok_or(LeaseError::NotHeld)?;
        Ok(Self { epoch, lease, cancellation })
    }

    /// Asked between batches, and before anything is exported.
    pub fn check(&self) -> Result<(), LeaseError> {
        if self.lease.held() != Some(self.epoch) {
            return Err(LeaseError::Lost { epoch: self.epoch });
        }
        if self.cancellation.asked_by().is_some() { Err(LeaseError::Cancelled) } else { Ok(()) }
    }
}

/// Whose turn it is, for connectors: asked before every single change. A process that was frozen in the middle of a batch
/// finds its turn over when it goes on.
#[derive(Clone, Default)]
pub struct Turn(Option<Arc<dyn EngineLease>>);

impl Turn {
    /// Turns that `lease` grants; without one, every turn is.
    pub fn of(lease: Arc<dyn EngineLease>) -> Self {
        Self(Some(lease))
    }

    /// Before a batch.
    pub fn begin(&self) -> Result<TakenTurn, LeaseError> {
        Ok(TakenTurn(self.0.clone().map(HeldLease::begin).transpose()?))
    }
}

/// The turn of one batch.
#[derive(Default)]
pub struct TakenTurn(Option<HeldLease>);

impl TakenTurn {
    pub fn check(&self) -> Result<(), LeaseError> {
        self.0.as_ref().map_or(Ok(()), HeldLease::check)
    }
}
