//! `agents.revoke`: shuts an agent out for good.

use serde::{Deserialize, Serialize};

use super::{AdminSession, Operation, OperationError, Right};
use crate::agents::broker::AgentDesk;
use crate::identity::AgentId;

pub struct AgentsRevoke;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub agent: AgentId,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub agent: AgentId,
}

impl Operation for AgentsRevoke {
    const NAME: &'static str = "agents.revoke";
    const RIGHT: Right = Right::ManageTenant;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Response;
    type Gateway = AgentDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.agent.to_string())
    }

    async fn run(desk: &AgentDesk, _: &AdminSession, request: Request) -> Result<Response, OperationError> {
        desk.revoke(request.agent).await?;
        Ok(Response { agent: request.agent })
    }
}
