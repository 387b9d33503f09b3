//! `agents.token`: a one-time enrolment token for an agent, or for a sync server.

use std::collections::BTreeSet;
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
    pub connectors: BTreeSet<ConnectorName>,
    /// Of an agent; all of the connector's when empty.
    pub domains: Vec<DomainName>,
    pub sync_server: bool,
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
        Some(request.connectors.iter().map(ConnectorName::as_str).collect::<Vec<_>>().join(" "))
    }

    async fn run(desk: &AgentDesk, admin: &AdminSession, request: Request) -> Result<IssuedToken, OperationError> {
        let Request { mut connectors, domains, sync_server, lifetime } = request;
        if lifetime.is_zero() || lifetime > LONGEST {
            return Err(OperationError::invalid("a token lives for at least a minute and at most seven days"));
        }
        let by = admin.principal();
        match (connectors.pop_first(), sync_server) {
            (None, _) => Err(OperationError::invalid("name a connector")),
            (Some(connector), false) if connectors.is_empty() => {
                Ok(desk.issue_token(connector, domains, lifetime, by).await?)
            }
            (Some(_), false) => Err(OperationError::invalid("an agent is of one connector")),
            (Some(_), true) if !domains.is_empty() => {
                Err(OperationError::invalid("the domains of a sync server are those of its connectors"))
            }
            (Some(first), true) => {
                connectors.insert(first);
                Ok(desk.issue_sync_token(connectors, lifetime, by).await?)
            }
        }
    }
}
