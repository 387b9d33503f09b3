//! `agents.token`: a one-time enrolment token for an agent.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AdminSession, Operation, OperationError, Right};
use crate::agents::broker::AgentDesk;
use crate::agents::broker::desk::IssuedToken;
use crate::identity::{ConnectorName, DomainName};

pub struct AgentsToken;

/// Longest life of a token: long enough to carry it to a machine, short enough to be forgotten.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub connector: ConnectorName,
    /// All of the connector's when empty.
    pub domains: Vec<DomainName>,
    pub lifetime: Duration,
}

impl Operation for AgentsToken {
    const NAME: &'static str = "agents.token";
    const RIGHT: Right = Right::ManageTenant;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = IssuedToken;
    type Gateway = AgentDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.connector.to_string())
    }

    async fn run(desk: &AgentDesk, admin: &AdminSession, request: Request) -> Result<IssuedToken, OperationError> {
        let Request { connector, domains, lifetime } = request;
        if lifetime.is_zero() || lifetime > LONGEST {
            return Err(OperationError::invalid("a token lives for at least a minute and at most seven days"));
        }
        Ok(desk.issue_token(connector, domains, lifetime, admin.principal()).await?)
    }
}
