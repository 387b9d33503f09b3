//! `sync.provision`: one object is read, synchronised, exported and confirmed ahead of the next cycle.

use serde::{Deserialize, Serialize};

use super::sync_desk::{SyncDesk, object_name, refused_inspection};
use super::{AdminSession, Operation, OperationError, Right};
use crate::sync::provision::Provisioned;

pub struct SyncProvision;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// `connector:DN` or `connector:anchor` of an object that may be new; a user principal name or `mv:ID` of one that
    /// is known.
    pub object: String,
}

impl Operation for SyncProvision {
    const NAME: &'static str = "sync.provision";
    const RIGHT: Right = Right::ManageSync;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Provisioned;
    type Gateway = SyncDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.object.clone())
    }

    async fn run(desk: &SyncDesk, _: &AdminSession, request: Request) -> Result<Provisioned, OperationError> {
        let name = object_name(&request.object)?;
        let runner = desk.runner.clone();
        match desk.background.spawn(async move { runner.provision(&name).await }).await {
            Ok(told) => told.map_err(refused_inspection),
            Err(error) => Err(OperationError::internal(&error)),
        }
    }
}
