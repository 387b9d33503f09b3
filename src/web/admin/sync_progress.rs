//! `sync.progress`: what the scheduler of this node does at the moment.

use serde::{Deserialize, Serialize};

use super::sync_desk::SyncDesk;
use super::{AdminSession, Operation, OperationError, Right};
use crate::sync::scheduler::Activity;

pub struct SyncProgress;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {}

impl Operation for SyncProgress {
    const NAME: &'static str = "sync.progress";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Activity;
    type Gateway = SyncDesk;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(desk: &SyncDesk, _: &AdminSession, _: Request) -> Result<Activity, OperationError> {
        Ok(desk.scheduler.activity())
    }
}
