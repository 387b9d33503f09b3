//! The engine lease and the audit log as the connector API has them.

use std::time::Duration;

use async_trait::async_trait;

use super::audit::AuditLog;
use super::database::Database;
use super::error::StoreError;
use super::lease;
use crate::audit::Event;
use crate::identity::{AgentId, LeaseEpoch, NodeId, causes};
use crate::sync_server::api::{EngineLeases, LeasesDown, Recorder};
use crate::sync_server::protocol::TakenLease;

/// The lease, given to sync servers for `length`.
pub struct SyncServerLeases {
    pub db: Database,
    pub length: Duration,
}

/// The name under which a server holds the lease.
fn holder(server: AgentId) -> NodeId {
    format!("sync-server-{server}").parse().expect("an identifier is made of hexadecimal digits and hyphens")
}

fn down(error: StoreError) -> LeasesDown {
    LeasesDown(Box::new(error))
}

#[async_trait]
impl EngineLeases for SyncServerLeases {
    async fn take(&self, server: AgentId) -> Result<Option<TakenLease>, LeasesDown> {
        let taken = lease::acquire(&self.db, &holder(server), self.length).await.map_err(down)?;
        let length_ms = u64::try_from(self.length.as_millis()).unwrap_or(u64::MAX);
        Ok(taken.map(|lease| TakenLease { epoch: lease.epoch.number(), length_ms }))
    }

    async fn renew(&self, server: AgentId, epoch: LeaseEpoch) -> Result<bool, LeasesDown> {
        lease::prolong(&self.db, &holder(server), epoch, self.length).await.map_err(down)
    }

    async fn release(&self, server: AgentId, epoch: LeaseEpoch) -> Result<(), LeasesDown> {
        lease::give_back(&self.db, &holder(server), epoch).await.map_err(down)
    }

    async fn holds(&self, server: AgentId, epoch: LeaseEpoch) -> Result<bool, LeasesDown> {
        lease::is_held(&self.db, &holder(server), epoch).await.map_err(down)
    }
}

#[async_trait]
impl Recorder for AuditLog {
    async fn record(&self, event: Event) {
        if let Err(error) = AuditLog::record(self, event).await {
            tracing::error!(error = causes(&error), "what a sync server did could not be recorded");
        }
    }
}
