//! `failover.status`: breakers, probes, pins and alerts.

use serde::{Deserialize, Serialize};

use super::sign_in_desk::desk_error;
use super::{AdminSession, Operation, OperationError, Right};
use crate::signin::desk::{FailoverStatus, SignInDesk};

pub struct ShowFailover;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Looks at every server of the pass-through domains, and every federation partner, now. Changes nothing.
    #[serde(default)]
    pub probe: bool,
}

impl Operation for ShowFailover {
    const NAME: &'static str = "failover.status";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = FailoverStatus;
    type Gateway = SignInDesk;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(desk: &SignInDesk, _: &AdminSession, request: Request) -> Result<FailoverStatus, OperationError> {
        desk.failover_status(request.probe).await.map_err(desk_error)
    }
}
