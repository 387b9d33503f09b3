//! `failover.force`: pins a domain to its backup, or to its primary.

use std::time::Duration;

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
    /// For how long; until it is released when left out.
    #[serde(default)]
    pub seconds: Option<u64>,
}

/// What lasts longer is no emergency.
const LONGEST: Duration = Duration::from_secs(90 * 86_400);

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
        let limit = request.seconds.map(Duration::from_secs);
        if limit.is_some_and(|limit| limit.is_zero() || limit > LONGEST) {
            return Err(OperationError::invalid("a pin is limited to 1 second to 90 days"));
        }
        desk.force(&request.domain, request.pin, limit, admin.principal()).await.map_err(desk_error)
    }
}
