//! `sync.preview`: what a run would export, without committing anything.

use serde::{Deserialize, Serialize};

use super::sync_desk::{SyncDesk, refused_run};
use super::{AdminSession, Operation, OperationError, Right};
use crate::sync::run::Preview;

pub struct SyncPreview;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Try the rule files as they are instead of the activated version.
    #[serde(default)]
    pub files: bool,
}

impl Operation for SyncPreview {
    const NAME: &'static str = "sync.preview";
    const RIGHT: Right = Right::ManageSync;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Preview;
    type Gateway = SyncDesk;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(desk: &SyncDesk, _: &AdminSession, request: Request) -> Result<Preview, OperationError> {
        let rules = if request.files { Some(desk.parsed_files().await?) } else { None };
        let runner = desk.runner.clone();
        match desk.background.spawn(async move { runner.preview(rules).await }).await {
            Ok(preview) => preview.map_err(refused_run),
            Err(error) => Err(OperationError::internal(&error)),
        }
    }
}
