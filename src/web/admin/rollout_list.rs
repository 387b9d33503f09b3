//! `rollout.list`: the staged rollouts, in the order in which they count.

use serde::{Deserialize, Serialize};

use super::sign_in_desk::desk_error;
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::DomainName;
use crate::signin::desk::{RolloutSummary, SignInDesk};

pub struct RolloutList;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// All domains when left out.
    #[serde(default)]
    pub domain: Option<DomainName>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub rollouts: Vec<RolloutSummary>,
}

impl Operation for RolloutList {
    const NAME: &'static str = "rollout.list";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Response;
    type Gateway = SignInDesk;

    fn subject(request: &Request) -> Option<String> {
        request.domain.as_ref().map(ToString::to_string)
    }

    async fn run(desk: &SignInDesk, _: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let rollouts = desk.list_rollouts(request.domain.as_ref()).await.map_err(desk_error)?;
        Ok(Response { rollouts })
    }
}
