//! `failover.drill`: what the backup of a domain would hold, without touching anybody.

use serde::{Deserialize, Serialize};

use super::sign_in_desk::desk_error;
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::DomainName;
use crate::signin::desk::{Drill, SignInDesk};

pub struct FailoverDrill;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub domain: DomainName,
}

impl Operation for FailoverDrill {
    const NAME: &'static str = "failover.drill";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Drill;
    type Gateway = SignInDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.domain.to_string())
    }

    async fn run(desk: &SignInDesk, _: &AdminSession, request: Request) -> Result<Drill, OperationError> {
        desk.drill(&request.domain).await.map_err(desk_error)
    }
}
