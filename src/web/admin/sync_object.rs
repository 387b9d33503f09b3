//! `sync.object`: where one object stands in connector spaces and the metaverse.

use serde::{Deserialize, Serialize};

use super::sync_desk::{SyncDesk, object_name, refused_inspection};
use super::{AdminSession, Operation, OperationError, Right};
use crate::sync::explain::ObjectState;

pub struct SyncObject;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// `connector:DN`, `connector:anchor`, a user principal name, or `mv:ID`.
    pub object: String,
}

impl Operation for SyncObject {
    const NAME: &'static str = "sync.object";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = ObjectState;
    type Gateway = SyncDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.object.clone())
    }

    async fn run(desk: &SyncDesk, _: &AdminSession, request: Request) -> Result<ObjectState, OperationError> {
        let name = object_name(&request.object)?;
        desk.runner.object_state(&name).await.map_err(refused_inspection)
    }
}
