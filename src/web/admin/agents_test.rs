//! `agents.test`: lets connected agents probe the directory servers that they reach.

use serde::{Deserialize, Serialize};

use super::{AdminSession, Operation, OperationError, Right};
use crate::agents::broker::AgentDesk;
use crate::agents::broker::desk::{TestedServer, Whom};

pub struct AgentsTest;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub whom: Whom,
}

impl Operation for AgentsTest {
    const NAME: &'static str = "agents.test";
    const RIGHT: Right = Right::ManageSignIn;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Vec<TestedServer>;
    type Gateway = AgentDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(match &request.whom {
            Whom::Agent(agent) => agent.to_string(),
            Whom::Connector(connector) => connector.to_string(),
        })
    }

    async fn run(desk: &AgentDesk, _: &AdminSession, request: Request) -> Result<Vec<TestedServer>, OperationError> {
        Ok(desk.test(&request.whom).await?)
    }
}
