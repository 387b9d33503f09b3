//! `agents.list`: the enrolled agents.

use serde::{Deserialize, Serialize};

use super::{AdminSession, Operation, OperationError, Right};
use crate::agents::broker::AgentDesk;
use crate::agents::broker::desk::AgentSummary;

pub struct AgentsList;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {}

impl Operation for AgentsList {
    const NAME: &'static str = "agents.list";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Vec<AgentSummary>;
    type Gateway = AgentDesk;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(desk: &AgentDesk, _: &AdminSession, _: Request) -> Result<Vec<AgentSummary>, OperationError> {
        Ok(desk.list().await?)
    }
}
