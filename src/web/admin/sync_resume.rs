//! `sync.resume`: runs begin by themselves again.

use serde::{Deserialize, Serialize};

use super::sync_desk::SyncDesk;
use super::{AdminSession, Operation, OperationError, Right};
use crate::sync::maintenance::Suspension;

pub struct SyncResume;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {}

impl Operation for SyncResume {
    const NAME: &'static str = "sync.resume";
    const RIGHT: Right = Right::ManageSync;
    const CHANGES: bool = true;
    type Request = Request;
    /// The suspension that ended.
    type Response = Suspension;
    type Gateway = SyncDesk;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(desk: &SyncDesk, _: &AdminSession, _: Request) -> Result<Suspension, OperationError> {
        let ended = desk.suspensions.resume().await.map_err(|error| OperationError::internal(&error))?;
        let in_force = ended.filter(|suspension| suspension.in_force(desk.runner.clock.now()));
        in_force.ok_or_else(|| OperationError::refused("synchronisation is not suspended"))
    }
}
