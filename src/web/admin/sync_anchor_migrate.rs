//! `sync.anchor-migrate`: gives the tenant's objects the source anchors that the rule files make, and activates the files.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::sync_desk::{SyncDesk, refused_rules, refused_run};
use super::{AdminSession, Operation, OperationError, Right};
use crate::sync::anchor_migration::{AnchorMigration, Migration, MigrationError, Reanchor};

/// The engine and the tenant's side of a migration.
pub struct MigrationDesk {
    pub sync: Arc<SyncDesk>,
    pub tenant: Arc<dyn Reanchor>,
    /// The connector of the tenant.
    pub target: crate::identity::ConnectorName,
}

pub struct SyncAnchorMigrate;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Tell what would change, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

impl Operation for SyncAnchorMigrate {
    const NAME: &'static str = "sync.anchor-migrate";
    const RIGHT: Right = Right::ManageTenant;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Migration;
    type Gateway = MigrationDesk;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(desk: &MigrationDesk, admin: &AdminSession, request: Request) -> Result<Migration, OperationError> {
        let sources = desk.sync.files().await?;
        let migration =
            AnchorMigration { runner: &desk.sync.runner, tenant: &*desk.tenant, sources, by: admin.principal() };
        migration.run(&desk.target, request.dry_run).await.map_err(|error| match error {
            MigrationError::Run(error) => refused_run(error),
            MigrationError::Rules(error) => refused_rules(&error),
            MigrationError::InDoubt => OperationError::refused(error.to_string()),
            MigrationError::Tenant(error) => OperationError::internal(&error),
        })
    }
}
