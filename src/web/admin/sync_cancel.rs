//! `sync.cancel`: asks the run under way to end between two of its batches.

use serde::{Deserialize, Serialize};

use super::sync_desk::{SyncDesk, refused_order};
use super::{AdminSession, Operation, OperationError, Right};
use crate::sync::scheduler::Running;

pub struct SyncCancel;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {}

impl Operation for SyncCancel {
    const NAME: &'static str = "sync.cancel";
    const RIGHT: Right = Right::ManageSync;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Running;
    type Gateway = SyncDesk;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(desk: &SyncDesk, admin: &AdminSession, _: Request) -> Result<Running, OperationError> {
        let running = desk.scheduler.cancel(admin.principal()).await.map_err(|refusal| refused_order(&refusal))?;
        running.ok_or_else(|| OperationError::refused("no run of this node is under way"))
    }
}
