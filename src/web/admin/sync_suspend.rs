//! `sync.suspend`: no run begins by itself any more, on any node, until it is resumed.

use serde::{Deserialize, Serialize};

use super::sync_desk::SyncDesk;
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::Timestamp;
use crate::sync::maintenance::Suspension;
use crate::sync::scheduler::Running;

/// The longest reason, in bytes.
const LONGEST_REASON: usize = 1000;

pub struct SyncSuspend;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// When it ends by itself.
    #[serde(default)]
    pub until: Option<Timestamp>,
    #[serde(default)]
    pub reason: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub suspension: Suspension,
    /// A run of this node that is under way and goes on to its end.
    pub running: Option<Running>,
}

impl Operation for SyncSuspend {
    const NAME: &'static str = "sync.suspend";
    const RIGHT: Right = Right::ManageSync;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Response;
    type Gateway = SyncDesk;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(desk: &SyncDesk, admin: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let now = desk.runner.clock.now();
        if let Some(until) = request.until.filter(|until| *until <= now) {
            return Err(OperationError::invalid(format!("{until} is over already")));
        }
        if request.reason.as_ref().is_some_and(|reason| reason.len() > LONGEST_REASON) {
            return Err(OperationError::invalid(format!("the reason is longer than {LONGEST_REASON} bytes")));
        }
        let by = admin.principal().to_owned();
        let new = Suspension { since: now, until: request.until, reason: request.reason, by };
        let internal = |error| OperationError::internal(&error);
        desk.suspensions.suspend(new.clone()).await.map_err(internal)?;
        let suspension = desk.suspensions.suspension().await.map_err(internal)?.unwrap_or(new);
        Ok(Response { suspension, running: desk.scheduler.activity().running })
    }
}
