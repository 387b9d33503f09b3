//! Holds the engine lease for this node, as long as it can (design D3). Engine and password channel ask it for the epoch.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Settings;
use crate::identity::{LeaseEpoch, NodeId};
use crate::password_sync::EngineEpoch;
use crate::store::Database;
use crate::store::lease::{self, Lease};

/// Renewals, or tries to take the lease, within its length: half of them may fail before exports stop.
const RENEWALS: u32 = 6;

/// The keeper; its task ends with `run`.
pub struct LeaseKeeper {
    db: Database,
    node: NodeId,
    length: Duration,
    held: watch::Sender<Option<Lease>>,
}

impl LeaseKeeper {
    /// `length`: how long the lease holds without renewal; after a node's death another takes over within this time.
    pub fn new(db: Database, node: NodeId, length: Duration) -> Arc<Self> {
        Arc::new(Self { db, node, length, held: watch::Sender::new(None) })
    }

    /// The keeper of a gateway, which has tried once, and its task.
    pub async fn start(
        db: &Database,
        settings: &Settings,
        (tasks, stop): (&TaskTracker, &CancellationToken),
    ) -> Arc<Self> {
        let keeper = Self::new(db.clone(), settings.gateway.node.clone(), settings.sync.lease);
        keeper.renew().await;
        tasks.spawn({
            let (keeper, stop) = (keeper.clone(), stop.clone());
            async move { keeper.run(stop).await }
        });
        keeper
    }

    /// The lease as it is held now; stale ones count as lost.
    pub fn lease(&self) -> Option<Lease> {
        self.held.borrow().clone().filter(Lease::is_fresh)
    }

    /// Takes the lease if it can be had. Called once before the start is reported, then by [`run`](Self::run).
    pub async fn renew(&self) {
        let present = self.held.borrow().clone();
        let outcome = match present {
            Some(mut lease) => match lease::renew(&self.db, &mut lease).await {
                Ok(()) => Ok(Some(lease)),
                Err(error) => {
                    self.held.send_replace(None);
                    Err(error)
                }
            },
            None => lease::acquire(&self.db, &self.node, self.length).await,
        };
        match outcome {
            Ok(lease) => {
                self.held.send_replace(lease);
            }
            Err(error) => tracing::warn!(%error, "the engine lease could not be renewed"),
        }
    }

    /// Keeps the lease until `stop`, then gives it back.
    pub async fn run(&self, stop: CancellationToken) {
        let mut renewal = tokio::time::interval(self.length / RENEWALS);
        renewal.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = renewal.tick() => self.renew().await,
            }
        }
        if let Some(lease) = self.held.send_replace(None)
            && let Err(error) = lease::release(&self.db, lease).await
        {
            tracing::warn!(%error, "the engine lease could not be given back; it runs out by itself");
        }
    }
}

#[async_trait]
impl EngineEpoch for LeaseKeeper {
    async fn current(&self) -> Option<LeaseEpoch> {
        self.lease().map(|lease| lease.epoch)
    }
}

impl crate::sync::lease::EngineLease for LeaseKeeper {
    fn held(&self) -> Option<LeaseEpoch> {
        self.lease().map(|lease| lease.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{DatabaseUrl, Room};
    use crate::sync::lease::{EngineLease as _, HeldLease, LeaseError};

    #[tokio::test]
    async fn a_run_ends_when_its_lease_was_not_renewed_for_half_its_length() {
        let dir = tempfile::tempdir().expect("a folder");
        let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
        let db = Database::open(&url, Room::Gateway).await.expect("it opens");
        let length = Duration::from_secs(4);
        let keeper = LeaseKeeper::new(db, "node1".parse().expect("a node"), length);
        keeper.renew().await;
        let run = HeldLease::begin(keeper.clone()).expect("it is held");
        keeper.renew().await;
        assert_eq!(run.check(), Ok(()), "a renewal keeps the epoch");
        tokio::time::sleep(length / 2).await;
        assert_eq!(keeper.held(), None);
        assert_eq!(run.check(), Err(LeaseError::Lost { epoch: run.epoch }));
        keeper.renew().await;
        assert!(keeper.held().is_some(), "nobody else took it");
    }
}
