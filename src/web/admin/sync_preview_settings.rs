//! `sync.preview-settings`: what the settings file as it is now would bring, take and export, without writing anything.

use serde::{Deserialize, Serialize};

use super::sync_desk::{SyncDesk, refused_inspection};
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::ConnectorName;
use crate::sync::explain::{Proposal, ScopePreview};

pub struct SyncPreviewSettings;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Try the rule files as they are instead of the activated version.
    #[serde(default)]
    pub files: bool,
    /// Sources to be read; all when empty.
    #[serde(default)]
    pub connectors: Vec<ConnectorName>,
}

impl Operation for SyncPreviewSettings {
    const NAME: &'static str = "sync.preview-settings";
    const RIGHT: Right = Right::ManageSync;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = ScopePreview;
    type Gateway = SyncDesk;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(desk: &SyncDesk, _: &AdminSession, request: Request) -> Result<ScopePreview, OperationError> {
        let rules = if request.files { Some(desk.parsed_files().await?) } else { None };
        let connectors = desk.proposed.connectors().map_err(OperationError::invalid)?;
        let known = |name: &ConnectorName| connectors.iter().any(|connector| connector.name() == name);
        if let Some(unknown) = request.connectors.iter().find(|name| !known(name)) {
            return Err(OperationError::invalid(format!("the settings file names no connector {unknown}")));
        }
        let (runner, proposal) = (desk.runner.clone(), Proposal { rules, connectors, read: request.connectors });
        match desk.background.spawn(async move { runner.preview_scope(proposal).await }).await {
            Ok(preview) => preview.map_err(refused_inspection),
            Err(error) => Err(OperationError::internal(&error)),
        }
    }
}
