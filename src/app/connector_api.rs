//! The connector API of a gateway whose engine runs in sync servers.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;

use super::engine;
use super::gateway::StartError;
use crate::agents::broker::registry::AgentRegistry;
use crate::config::SyncServersSettings;
use crate::identity::Clock;
use crate::store::sync_servers::SyncServerLeases;
use crate::store::tenant::TenantStore;
use crate::store::{AuditLog, Database};
use crate::sync_server::api::{self, ConnectorApi};

/// What sync servers are given.
pub struct Ground {
    pub db: Database,
    pub tenant: TenantStore,
    pub registry: Arc<dyn AgentRegistry>,
    pub audit: AuditLog,
}

/// The routes, for the agents' door. `lease`: how long a server has the engine lease without renewal.
pub fn router(
    settings: &SyncServersSettings,
    lease: Duration,
    ground: Ground,
    clock: Arc<dyn Clock>,
) -> Result<Router, StartError> {
    let Ground { db, tenant, registry, audit } = ground;
    Ok(api::router(Arc::new(ConnectorApi {
        registry,
        directory: Arc::new(tenant),
        leases: Arc::new(SyncServerLeases { db, length: lease }),
        recorder: Arc::new(audit),
        clock,
        name: engine::tenant_name()?,
        connectors: settings
            .connectors
            .iter()
            .map(|connector| (connector.name.clone(), connector.domains.clone()))
            .collect(),
    })))
}
