//! `failover.force`: pins a domain to its backup, or to its primary.

use serde::{Deserialize, Serialize};

use super::sign_in_desk::desk_error;
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::{DomainName, Pin};
use crate::signin::desk::{DomainStatus, SignInDesk};

pub struct FailoverForce;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub domain: DomainName,
    pub pin: Pin,
}

impl Operation for FailoverForce {
    const NAME: &'static str = "failover.force";
    const RIGHT: Right = Right::ManageSignIn;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = DomainStatus;
    type Gateway = SignInDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.domain.to_string())
    }

    async fn run(desk: &SignInDesk, admin: &AdminSession, request: Request) -> Result<DomainStatus, OperationError> {
        desk.force(&request.domain, request.pin, admin.principal()).await.map_err(desk_error)
    }
}
