//! Agents as administrators see and change them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use agent_proto::EnrolmentToken;
use agent_proto::token::SECRET;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::authority::AgentAuthority;
use super::check::probe_by;
use super::registry::{Agent, AgentRegistry, RegistryDown, StoredToken};
use super::room::Broker;
use crate::agents::Calling;
use crate::config::Carried;
use crate::identity::{AgentId, Clock, ConnectorName, DomainName, NodeId, Timestamp};

/// What admin operations on agents work on.
pub struct AgentDesk {
    pub registry: Arc<dyn AgentRegistry>,
    pub broker: Broker,
    pub authority: Arc<AgentAuthority>,
    pub clock: Arc<dyn Clock>,
    /// Where agents reach this node.
    pub url: String,
    pub node: NodeId,
    /// The connectors that agents may be enrolled for, with their domains.
    pub connectors: HashMap<ConnectorName, BTreeSet<DomainName>>,
    /// The connectors that sync servers may be enrolled for.
    pub synchronised: BTreeSet<ConnectorName>,
}

#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    #[error("connector {0} is not configured with reach = \"agents\" or \"agents-only\"")]
    NoSuchConnector(ConnectorName),
    #[error("connector {0} is not among those that [sync_servers] names")]
    NotSynchronised(ConnectorName),
    #[error("connector {connector} does not speak for the domain {domain}")]
    ForeignDomain { connector: ConnectorName, domain: DomainName },
    #[error("there is no agent {0}, or it is revoked")]
    NoSuchAgent(AgentId),
    #[error("agent {agent} is not connected to node {node}")]
    NotConnected { agent: AgentId, node: NodeId },
    #[error("no agent of connector {0} is connected to this node")]
    NobodyConnected(ConnectorName),
    #[error(transparent)]
    Registry(#[from] RegistryDown),
}

/// A token for an operator to carry to a machine. It is not shown again.
#[derive(Debug, Serialize, Deserialize)]
pub struct IssuedToken {
    pub token: String,
    /// One for an agent, one or more for a sync server.
    pub connectors: Vec<ConnectorName>,
    pub domains: Vec<DomainName>,
    pub expires_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentState {
    /// At least one connection to this node takes checks; or the sync server was heard of lately.
    Connected,
    /// Connected, and takes no more checks.
    Draining,
    /// Not connected to this node.
    Away,
    Revoked,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct AgentSummary {
    pub id: AgentId,
    /// Of an agent.
    pub connector: Option<ConnectorName>,
    pub domains: Vec<DomainName>,
    /// Of a sync server: the connectors that it may bring.
    pub synchronises: Vec<ConnectorName>,
    pub host: String,
    pub software: String,
    pub state: AgentState,
    /// Checks that it has now from this node.
    pub busy: usize,
    /// What it does besides checks, while it is connected to this node.
    pub carries: BTreeSet<Carried>,
    /// Pieces of that work that it has now from this node.
    pub exchanges: usize,
    /// Of the protocol that its connections speak.
    pub protocol: Option<u32>,
    pub enrolled_at: Timestamp,
    pub seen_at: Option<Timestamp>,
    pub certificate_ends: Option<Timestamp>,
}

/// What a server answered to an agent's probe.
#[derive(Debug, Serialize, Deserialize)]
pub struct TestedServer {
    pub server: String,
    pub took_ms: Option<u64>,
    pub failure: Option<String>,
}

/// A sync server greets each minute.
const SYNC_SERVER_HEARD: Duration = Duration::from_secs(180);

/// Beyond what an agent itself gives its servers.
const TEST_PATIENCE: Duration = Duration::from_secs(5);

impl AgentDesk {
    /// A one-time token; `domains` empty: all of the connector's.
    pub async fn issue_token(
        &self,
        connector: ConnectorName,
        domains: Vec<DomainName>,
        lifetime: Duration,
        by: &str,
    ) -> Result<IssuedToken, DeskError> {
        let registered =
            self.connectors.get(&connector).ok_or_else(|| DeskError::NoSuchConnector(connector.clone()))?;
        if let Some(domain) = domains.iter().find(|domain| !registered.contains(domain)) {
            return Err(DeskError::ForeignDomain { connector, domain: domain.clone() });
        }
        let domains = if domains.is_empty() { registered.iter().cloned().collect() } else { domains };
        self.issue(Calling::Checks { connector, domains }, lifetime, by).await
    }

    /// A one-time token for a sync server that brings `connectors`.
    pub async fn issue_sync_token(
        &self,
        connectors: BTreeSet<ConnectorName>,
        lifetime: Duration,
        by: &str,
    ) -> Result<IssuedToken, DeskError> {
        if let Some(connector) = connectors.iter().find(|connector| !self.synchronised.contains(connector)) {
            return Err(DeskError::NotSynchronised(connector.clone()));
        }
        self.issue(Calling::Synchronise { connectors }, lifetime, by).await
    }

    async fn issue(&self, calling: Calling, lifetime: Duration, by: &str) -> Result<IssuedToken, DeskError> {
        let now = self.clock.now();
        let mut secret = Zeroizing::new([0; SECRET]);
        rand::Rng::fill_bytes(&mut rand::rng(), secret.as_mut());
        let (connector, domains, synchronised) = calling.to_wire();
        let token = EnrolmentToken {
            url: self.url.clone(),
            pin: self.authority.pin(),
            connector,
            domains,
            expires_at: (now + lifetime).millis(),
            secret: *secret,
            synchronised,
        };
        let stored = StoredToken {
            secret_hash: hex::encode(EnrolmentToken::secret_hash(&*secret)),
            calling: calling.clone(),
            created_by: by.to_owned(),
            created_at: now,
            expires_at: now + lifetime,
        };
        self.registry.add_token(stored).await?;
        let (connectors, domains) = match calling {
            Calling::Checks { connector, domains } => (vec![connector], domains),
            Calling::Synchronise { connectors } => (connectors.into_iter().collect(), Vec::new()),
        };
        Ok(IssuedToken { token: token.to_text().to_string(), connectors, domains, expires_at: now + lifetime })
    }

    pub async fn list(&self) -> Result<Vec<AgentSummary>, DeskError> {
        let agents = self.registry.agents().await?;
        Ok(agents.into_iter().map(|agent| self.summary(agent)).collect())
    }

    fn summary(&self, agent: Agent) -> AgentSummary {
        let links = self.broker.links_of_agent(agent.id);
        let heard = || agent.seen_at.is_some_and(|seen| self.clock.now().since(seen) < SYNC_SERVER_HEARD);
        let state = if agent.revoked_at.is_some() {
            AgentState::Revoked
        } else if matches!(agent.calling, Calling::Synchronise { .. }) {
            if heard() { AgentState::Connected } else { AgentState::Away }
        } else if links.is_empty() {
            AgentState::Away
        } else if agent.draining || links.iter().all(|link| link.is_draining()) {
            AgentState::Draining
        } else {
            AgentState::Connected
        };
        let (connector, domains, synchronises) = match agent.calling {
            Calling::Checks { connector, domains } => (Some(connector), domains, Vec::new()),
            Calling::Synchronise { connectors } => (None, Vec::new(), connectors.into_iter().collect()),
        };
        AgentSummary {
            id: agent.id,
            connector,
            domains,
            synchronises,
            host: agent.host,
            software: agent.software,
            state,
            busy: links.iter().map(|link| link.busy()).sum(),
            carries: links.iter().flat_map(|link| link.carries.iter().copied()).collect(),
            exchanges: links.iter().map(|link| link.exchanges()).sum(),
            protocol: links.iter().map(|link| link.version).max(),
            enrolled_at: agent.enrolled_at,
            seen_at: agent.seen_at.max(links.iter().map(|link| link.connected_at).max()),
            certificate_ends: agent.certificate_ends,
        }
    }

    /// Shuts an agent out for good, and ends its connections; those to other nodes end within a second.
    pub async fn revoke(&self, agent: AgentId) -> Result<(), DeskError> {
        if !self.registry.revoke(agent, self.clock.now()).await? {
            return Err(DeskError::NoSuchAgent(agent));
        }
        self.broker.shut_out(agent, "the agent is revoked");
        Ok(())
    }

    /// Gives an agent no more checks, or lets it have them again.
    pub async fn drain(&self, agent: AgentId, draining: bool) -> Result<(), DeskError> {
        if !self.registry.set_draining(agent, draining).await? {
            return Err(DeskError::NoSuchAgent(agent));
        }
        if draining {
            for link in self.broker.links_of_agent(agent) {
                link.drain(true);
            }
        } else {
            // The agent connects anew at once, with no memory of the draining.
            self.broker.close_agent(agent, "draining has ended");
        }
        Ok(())
    }

    /// Lets agents probe every server that they reach, without any user's input.
    pub async fn test(&self, whom: &Whom) -> Result<Vec<TestedServer>, DeskError> {
        let links: Vec<_> = match whom {
            Whom::Agent(agent) => self.broker.links_of_agent(*agent),
            Whom::Connector(connector) => {
                let links = self.broker.0.links();
                links.iter().filter(|link| link.connector == *connector).cloned().collect()
            }
        };
        if links.is_empty() {
            return Err(match whom {
                Whom::Agent(agent) => DeskError::NotConnected { agent: *agent, node: self.node.clone() },
                Whom::Connector(connector) => DeskError::NobodyConnected(connector.clone()),
            });
        }
        let probes = futures::future::join_all(links.iter().map(|link| probe_by(link, TEST_PATIENCE))).await;
        let tested = probes.into_iter().flatten().map(|probe| TestedServer {
            server: probe.server,
            took_ms: probe.outcome.as_ref().ok().map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            failure: probe.outcome.err(),
        });
        Ok(tested.collect())
    }
}

/// Which agents are tested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whom {
    Agent(AgentId),
    Connector(ConnectorName),
}
