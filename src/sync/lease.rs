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

/// The turn of one run, for connectors: asked before every single change. A process that was frozen in the middle of a batch
/// finds its turn over when it goes on, even if its node took the lease anew meanwhile: that is another run's turn.
#[derive(Clone)]
pub struct Turn {
    /// The epoch that the run began under.
    pub epoch: LeaseEpoch,
    held: Option<HeldLease>,
}

impl Turn {
    /// The turn of the run that holds `lease`. A run that is cancelled ends between two batches, not within one.
    pub fn of(lease: &HeldLease) -> Self {
        let held = HeldLease { cancellation: Cancellation::default(), ..lease.clone() };
        Self { epoch: lease.epoch, held: Some(held) }
    }

    /// A turn that nobody ends, for checks of a connector by itself.
    pub fn unending(epoch: LeaseEpoch) -> Self {
        Self { epoch, held: None }
    }

    pub fn check(&self) -> Result<(), LeaseError> {
        self.held.as_ref().map_or(Ok(()), HeldLease::check)
    }
}
