//! `guard.release`: lets the changes listed under a digest pass, once.

use serde::{Deserialize, Serialize};

use super::sync_desk::{SyncDesk, refused_run};
use super::{AdminSession, Operation, OperationError, Right};
use crate::sync::guard::Hold;

pub struct GuardRelease;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// As `guard.show` tells it: a target connector, or `import:CONNECTOR`.
    pub target: String,
    /// Of the listed changes; other changes than those stay held.
    pub digest: String,
}

impl Operation for GuardRelease {
    const NAME: &'static str = "guard.release";
    const RIGHT: Right = Right::ManageSync;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Hold;
    type Gateway = SyncDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(format!("{} {}", request.target, request.digest))
    }

    async fn run(desk: &SyncDesk, admin: &AdminSession, request: Request) -> Result<Hold, OperationError> {
        desk.runner.release(&request.target, &request.digest, admin.principal()).await.map_err(refused_run)
    }
}
