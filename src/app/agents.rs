//! Agents as the settings describe them: authority, broker, listener, and what administers them.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gateway::StartError;
use super::installation::Installation;
use super::key_pair;
use crate::agents::broker::doubts::{Doubts, ONE_IN};
use crate::agents::broker::registry::AgentRegistry;
use crate::agents::broker::{
    AgentAuthority, AgentDesk, AuthorityError, Broker, BrokerParts, Gate, Listener, LiveRoutes, Reach,
};
use crate::config::{self, AgentsSettings, Settings, SyncServersSettings};
use crate::identity::Clock;
use crate::pass_through::{OLD_PASSWORD_WINDOW, OldPasswordRule, PROBE_DEADLINE, PassThrough, PassThroughSettings};
use crate::signin::store::Alerts;
use crate::signin::{HashCheck, LiveCheck};
use crate::store::AuditLog;
use crate::store::agents::AgentTables;

const AUTHORITY: &str = "agent-authority";

/// The live check of every connector, direct or through agents, and the broker of the latter.
pub fn live_check(
    settings: &Settings,
    registry: &Arc<dyn AgentRegistry>,
    hashes: &Arc<dyn HashCheck>,
    alerts: &Arc<dyn Alerts>,
    clock: &Arc<dyn Clock>,
) -> Result<(Arc<dyn LiveCheck>, Broker), StartError> {
    let (mut direct, mut reached) = (Vec::new(), HashMap::new());
    for connector in &settings.connectors {
        let live = PassThroughSettings::new(connector).map_err(StartError::part("pass-through authentication"))?;
        match connector.reach {
            config::Reach::Direct => direct.push(live),
            config::Reach::Agents | config::Reach::AgentsOnly => {
                let reach = Reach {
                    bind_deadline: live.bind_deadline,
                    probe_deadline: live.probe_deadline,
                    old_passwords: Arc::new(live.old_password_rule(Some(hashes.clone()), clock.clone())),
                };
                reached.insert(connector.name.clone(), reach);
            }
        }
    }
    for connector in &settings.agents_only {
        let reach = Reach {
            bind_deadline: connector.bind_deadline,
            probe_deadline: PROBE_DEADLINE,
            old_passwords: Arc::new(OldPasswordRule {
                connector: connector.name.clone(),
                dialect: connector.scope.dialect,
                window: OLD_PASSWORD_WINDOW,
                patience: connector.bind_deadline,
                hashes: Some(hashes.clone()),
                // The controllers are out of reach from here.
                tickets: None,
                clock: clock.clone(),
            }),
        };
        reached.insert(connector.name.clone(), reach);
    }
    let broker = Broker::new(BrokerParts {
        node: settings.gateway.node.clone(),
        registry: registry.clone(),
        clock: clock.clone(),
        connectors: reached,
        acknowledgement: settings
            .agents
            .as_ref()
            .map_or(AgentsSettings::ACKNOWLEDGEMENT, |agents| agents.acknowledgement),
        doubts: Arc::new(Doubts {
            hashes: hashes.clone(),
            alerts: alerts.clone(),
            clock: clock.clone(),
            one_in: ONE_IN,
        }),
    });
    let direct = Arc::new(PassThrough::new(direct, Some(hashes.clone()), clock.clone()));
    Ok((Arc::new(LiveRoutes { direct, agents: broker.clone() }), broker))
}

/// Who is behind the agents' door.
pub struct Door {
    pub broker: Broker,
    pub registry: Arc<dyn AgentRegistry>,
    pub clock: Arc<dyn Clock>,
    /// What is asked there besides.
    pub besides: Router,
}

/// Listens for agents until `stop`, and yields the desk of their administration.
pub async fn serve(
    settings: &Settings,
    agents: &AgentsSettings,
    installation: &Installation,
    Door { broker, registry, clock, besides }: Door,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> Result<AgentDesk, StartError> {
    const WHAT: &str = "agents' listener";
    let authority = Arc::new(authority(installation, &*clock).await?);
    let host = agents.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let listener =
        Listener::bind(agents.listen, &host, authority.clone(), clock.clone()).await.map_err(StartError::part(WHAT))?;
    let url = agents.url.as_str().trim_end_matches('/').to_owned();
    let gate = Arc::new(Gate {
        registry: registry.clone(),
        authority: authority.clone(),
        broker: broker.clone(),
        clock: clock.clone(),
        lifetime: agents.certificate_lifetime,
        grace: agents.renewal_grace,
    });
    tasks.spawn(listener.serve(gate, besides, stop.clone()));
    tasks.spawn({
        let (broker, url, stop) = (broker.clone(), url.clone(), stop.clone());
        async move { broker.watch(&url, stop).await }
    });
    let by_agents = settings.connectors.iter().filter(|connector| connector.reach != config::Reach::Direct);
    let by_agents = by_agents.map(|connector| (&connector.name, &connector.domains));
    let by_agents = by_agents.chain(settings.agents_only.iter().map(|connector| (&connector.name, &connector.domains)));
    let connectors = by_agents.map(|(name, domains)| (name.clone(), domains.iter().cloned().collect())).collect();
    let node = settings.gateway.node.clone();
    let synchronised = settings.sync_servers.iter().flat_map(SyncServersSettings::names).collect();
    Ok(AgentDesk { registry, broker, authority, clock, url, node, connectors, synchronised })
}

pub fn registry(installation: &Installation, audit: &AuditLog) -> Arc<dyn AgentRegistry> {
    Arc::new(AgentTables::new(installation.gateway.clone(), audit.clone()))
}

/// Opens the authority, or makes it at the first start.
async fn authority(installation: &Installation, clock: &dyn Clock) -> Result<AgentAuthority, StartError> {
    const WHAT: &str = "agents' certification authority";
    let part = |error: AuthorityError| StartError::part(WHAT)(error);
    let (pkcs8, certificate) = AgentAuthority::generate(clock.now()).map_err(part)?;
    let stored = installation.secret(AUTHORITY, || key_pair::pack(&pkcs8, &certificate)).await?;
    let (pkcs8, certificate) = key_pair::unpack(&stored).ok_or_else(|| StartError::part(WHAT)("it is damaged"))?;
    AgentAuthority::open(&pkcs8, certificate).map_err(part)
}
