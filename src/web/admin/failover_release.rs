//! `failover.release`: lets the gateway decide again.

use serde::{Deserialize, Serialize};

use super::sign_in_desk::desk_error;
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::DomainName;
use crate::signin::desk::{DomainStatus, SignInDesk};

pub struct FailoverRelease;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub domain: DomainName,
    /// Even if the primary is still down and failover is manual, so that nobody could sign in.
    #[serde(default)]
    pub anyway: bool,
}

impl Operation for FailoverRelease {
    const NAME: &'static str = "failover.release";
    const RIGHT: Right = Right::ManageSignIn;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = DomainStatus;
    type Gateway = SignInDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.domain.to_string())
    }

    async fn run(desk: &SignInDesk, admin: &AdminSession, request: Request) -> Result<DomainStatus, OperationError> {
        desk.release(&request.domain, request.anyway, admin.principal()).await.map_err(desk_error)
    }
}
