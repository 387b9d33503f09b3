//! The domains that connectors speak for, as the settings say: applied by the node that holds the engine lease.
//!
//! Nodes whose files differ do not take turns in silence: a node that does not hold the lease changes nothing and says in
//! what its file differs.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::identity::causes;
use crate::password_sync::EngineEpoch;
use crate::store::tenant::{Registrations, TenantStore};
use crate::store::{AuditLog, StoreError};
use crate::sync::guard::{GuardSettings, kind};

/// Between two looks at whether the lease is ours by now.
const AGAIN: Duration = Duration::from_secs(2);

/// Registrations that wait for the lease.
pub struct Waiting {
    pub wanted: Registrations,
    pub tenant: TenantStore,
    pub audit: AuditLog,
    /// Of the engine's turn, as far as this node has it.
    pub epoch: Arc<dyn EngineEpoch>,
}

impl Waiting {
    /// Applies them if this node holds the lease; `false` when another one does.
    pub async fn apply(&self) -> Result<bool, StoreError> {
        let Some(epoch) = self.epoch.current().await else { return Ok(false) };
        // Losing a name is counted like being disabled.
        let limit = |users| GuardSettings::default().limit(&kind::disable("user"), users);
        let wanted = self.wanted.clone();
        let registered = match self.tenant.register_guarded(epoch, wanted, limit, &self.audit).await {
            Err(StoreError::LeaseLost { .. }) => return Ok(false),
            registered => registered?,
        };
        for domain in registered.changed {
            tracing::info!(%domain, "the connectors of a domain changed");
        }
        for held in registered.withheld {
            tracing::error!(
                connector = %held.connector, domain = %held.domain, users = held.users,
                "the settings take a domain away from a connector on which too many users' names or passwords depend; it \
                 keeps it until an administrator runs `landbridge domain withdraw`, or the settings name it again"
            );
        }
        Ok(true)
    }

    /// Says in what the file differs from what is registered.
    pub async fn tell_difference(&self) -> Result<(), StoreError> {
        let present = self.tenant.registered_connectors().await?;
        if present != self.wanted {
            tracing::warn!(
                ?present, wanted = ?self.wanted,
                "this node's settings name other domains of connectors than are registered; they count when this node \
                 takes over the engine lease"
            );
        }
        Ok(())
    }

    /// Waits for the lease, and applies them once.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
            match self.apply().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::warn!(error = causes(&error), "the connectors' domains could not be registered"),
            }
        }
    }
}
