//! The engine lease (design D3): one node at a time runs the engine, and its epoch is checked by every write.

use std::time::{Duration, Instant};

use crate::identity::NodeId;

/// The number of a lease. Each new holder gets a higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub i64);

/// How long a lease holds without renewal.
pub const LEASE: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("the engine lease is held by node {holder}")]
    Held { holder: String },
    #[error("the engine lease (epoch {epoch}) was lost")]
    Lost { epoch: i64 },
    /// Renewed too long ago to be sure of it: nothing is exported.
    #[error("the engine lease was last renewed {seconds} s ago")]
    Stale { seconds: u64 },
    #[error("the lease table could not be used")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The row that nodes agree on. Times are the database's own.
#[async_trait::async_trait]
pub trait Leases: Send + Sync {
    /// Takes the lease if it is free, expired, or was ours before a restart.
    async fn acquire(&self, node: &NodeId, length: Duration) -> Result<Epoch, LeaseError>;
    async fn renew(&self, epoch: Epoch, length: Duration) -> Result<(), LeaseError>;
    async fn release(&self, epoch: Epoch) -> Result<(), LeaseError>;
}

/// A held lease. Age is measured on the monotonic clock, so that a suspended machine notices.
#[derive(Clone, Debug)]
pub struct HeldLease {
    pub epoch: Epoch,
    renewed: Instant,
}

impl HeldLease {
    pub async fn acquire(leases: &dyn Leases, node: &NodeId) -> Result<Self, LeaseError> {
        let asked = Instant::now();
        let epoch = leases.acquire(node, LEASE).await?;
        Ok(Self { epoch, renewed: asked })
    }

    /// Renews when a quarter of the lease has passed.
    pub async fn keep(&mut self, leases: &dyn Leases) -> Result<(), LeaseError> {
        if self.renewed.elapsed() < LEASE / 4 {
            return Ok(());
        }
        let asked = Instant::now();
        leases.renew(self.epoch, LEASE).await?;
        self.renewed = asked;
        Ok(())
    }

    /// Refuses when the last renewal is older than half the lease.
    pub fn fit_for_export(&self) -> Result<(), LeaseError> {
        let age = self.renewed.elapsed();
        if age > LEASE / 2 { Err(LeaseError::Stale { seconds: age.as_secs() }) } else { Ok(()) }
    }
}
