//! `connector.remove`: takes a connector that the settings no longer name, or one type of its objects, out of the metaverse;
//! `connector.preview-removal`: what that would do.

use serde::{Deserialize, Serialize};

use super::sync_desk::{SyncDesk, refused_run};
use super::{AdminSession, Operation, OperationError, Right};
use crate::sync::removal::{Removal, RemovalPreview};
use crate::sync::run::{RunRecord, StepRecord};

pub struct ConnectorRemove;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub removal: Removal,
    /// Although the preview shows that the guard will hold the exports.
    #[serde(default)]
    pub even_if_held: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub run: RunRecord,
    pub steps: Vec<StepRecord>,
}

impl Operation for ConnectorRemove {
    const NAME: &'static str = "connector.remove";
    const RIGHT: Right = Right::ManageSync;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Response;
    type Gateway = SyncDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.removal.connector.to_string())
    }

    async fn run(desk: &SyncDesk, admin: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let (runner, by) = (desk.runner.clone(), admin.principal().to_owned());
        let removed = desk.background.spawn(async move {
            let Request { removal, even_if_held } = request;
            runner.remove(&removal, &by, even_if_held).await
        });
        match removed.await {
            Ok(ended) => ended.map(|(run, steps)| Response { run, steps }).map_err(refused_run),
            Err(error) => Err(OperationError::internal(&error)),
        }
    }
}

pub struct ConnectorPreviewRemoval;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviewRequest {
    pub removal: Removal,
}

impl Operation for ConnectorPreviewRemoval {
    const NAME: &'static str = "connector.preview-removal";
    const RIGHT: Right = Right::ManageSync;
    const CHANGES: bool = false;
    type Request = PreviewRequest;
    type Response = RemovalPreview;
    type Gateway = SyncDesk;

    fn subject(request: &PreviewRequest) -> Option<String> {
        Some(request.removal.connector.to_string())
    }

    async fn run(desk: &SyncDesk, _: &AdminSession, request: PreviewRequest) -> Result<RemovalPreview, OperationError> {
        let runner = desk.runner.clone();
        let preview = desk.background.spawn(async move { runner.preview_removal(&request.removal).await });
        match preview.await {
            Ok(preview) => preview.map_err(refused_run),
            Err(error) => Err(OperationError::internal(&error)),
        }
    }
}
