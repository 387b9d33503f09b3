//! `sync.preview-object`: what a synchronisation would make of one object, and why, without committing anything.

use serde::{Deserialize, Serialize};

use super::sync_desk::{SyncDesk, object_name, refused_inspection};
use super::{AdminSession, Operation, OperationError, Right};
use crate::sync::explain::ObjectPreview;

pub struct SyncPreviewObject;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// `connector:DN`, `connector:anchor`, a user principal name, or `mv:ID`.
    pub object: String,
    /// Try the rule files as they are instead of the activated version.
    #[serde(default)]
    pub files: bool,
}

impl Operation for SyncPreviewObject {
    const NAME: &'static str = "sync.preview-object";
    const RIGHT: Right = Right::ManageSync;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = ObjectPreview;
    type Gateway = SyncDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.object.clone())
    }

    async fn run(desk: &SyncDesk, _: &AdminSession, request: Request) -> Result<ObjectPreview, OperationError> {
        let name = object_name(&request.object)?;
        let rules = if request.files { Some(desk.parsed_files().await?) } else { None };
        let runner = desk.runner.clone();
        match desk.background.spawn(async move { runner.preview_object(rules, &name).await }).await {
            Ok(preview) => preview.map_err(refused_inspection),
            Err(error) => Err(OperationError::internal(&error)),
        }
    }
}
