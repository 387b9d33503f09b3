//! `agents.drain`: gives an agent no more checks, or lets it have them again.

use serde::{Deserialize, Serialize};

use super::{AdminSession, Operation, OperationError, Right};
use crate::agents::broker::AgentDesk;
use crate::identity::AgentId;

pub struct AgentsDrain;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub agent: AgentId,
    pub draining: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub agent: AgentId,
    pub draining: bool,
}

impl Operation for AgentsDrain {
    const NAME: &'static str = "agents.drain";
    const RIGHT: Right = Right::ManageSignIn;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Response;
    type Gateway = AgentDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.agent.to_string())
    }

    async fn run(desk: &AgentDesk, _: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let Request { agent, draining } = request;
        desk.drain(agent, draining).await?;
        Ok(Response { agent, draining })
    }
}
