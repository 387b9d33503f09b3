//! The open connections of all agents on this node, and which of them gets the next check.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_proto::GatewayNode;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::doubts::Doubts;
use super::link::Link;
use super::registry::AgentRegistry;
use crate::identity::{AgentId, Clock, ConnectorName, DomainName, NodeId};
use crate::pass_through::OldPasswordRule;

/// What a broker is built of.
pub struct BrokerParts {
    pub node: NodeId,
    pub registry: Arc<dyn AgentRegistry>,
    pub clock: Arc<dyn Clock>,
    /// The connectors whose live checks go through agents.
    pub connectors: HashMap<ConnectorName, Reach>,
    /// How long an agent may take to acknowledge an offer.
    pub acknowledgement: Duration,
    pub doubts: Arc<Doubts>,
}

/// A connector whose directory agents reach.
pub struct Reach {
    /// For a check as a whole.
    pub bind_deadline: Duration,
    /// For a probe by an agent of every server.
    pub probe_deadline: Duration,
    pub old_passwords: Arc<OldPasswordRule>,
}

/// The broker of one node. Cheap to clone.
#[derive(Clone)]
pub struct Broker(pub(super) Arc<Room>);

pub(super) struct Room {
    pub node: NodeId,
    pub registry: Arc<dyn AgentRegistry>,
    pub clock: Arc<dyn Clock>,
    pub connectors: HashMap<ConnectorName, Reach>,
    pub acknowledgement: Duration,
    pub doubts: Arc<Doubts>,
    /// Shared by checks and connections; held for a few comparisons, never across an await.
    links: Mutex<Vec<Arc<Link>>>,
    /// Connectors of which an agent has been here.
    met: Mutex<HashSet<ConnectorName>>,
    numbers: AtomicU64,
    /// Agents that could not be connected because of the protocol that they speak, since they were connected last.
    foreign: Mutex<HashMap<AgentId, Foreign>>,
    /// A connection came, went, or has room again.
    pub changed: Arc<Notify>,
    pub nodes: watch::Sender<Vec<GatewayNode>>,
    begun: Instant,
}

/// An enrolled agent with which this node has no language in common.
pub(super) struct Foreign {
    pub connector: ConnectorName,
    pub host: String,
    /// With what is to be done.
    pub reason: String,
}

/// Connections of one agent to this node.
const LINKS_OF_AN_AGENT: usize = 3;

/// Longest wait for answers when the node leaves: a bind that was given up is read for 30 seconds.
const LEAVING: Duration = Duration::from_secs(32);
/// For agents to be told.
const FAREWELL: Duration = Duration::from_secs(2);

/// After a start agents need a moment to find the node again; until the first of a connector is there, a check waits for it.
const START_GRACE: Duration = Duration::from_secs(5);

impl Broker {
    pub fn new(parts: BrokerParts) -> Self {
        let BrokerParts { node, registry, clock, connectors, acknowledgement, doubts } = parts;
        Self(Arc::new(Room {
            node,
            registry,
            clock,
            connectors,
            acknowledgement,
            doubts,
            links: Mutex::default(),
            met: Mutex::default(),
            numbers: AtomicU64::new(0),
            foreign: Mutex::default(),
            changed: Arc::new(Notify::new()),
            nodes: watch::Sender::new(Vec::new()),
            begun: Instant::now(),
        }))
    }

    /// Ends every connection, with the reason for the agents' logs.
    pub fn close(&self, reason: &str) {
        for link in self.0.links().iter() {
            link.close(reason);
        }
    }

    /// Lets what agents were asked be answered, then ends every connection: the node leaves, and nobody's password is to
    /// be tried in vain. Late answers are waited for, too, as they are of directories that are asked directly.
    pub async fn leave(&self) {
        let answered = async {
            loop {
                let changed = self.0.changed.notified();
                tokio::pin!(changed);
                // From here on no change is missed.
                changed.as_mut().enable();
                if !self.0.links().iter().any(|link| link.awaits() && !link.is_closed()) {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(LEAVING, answered).await.is_err() {
            tracing::warn!("agents owe answers still; the node leaves without them");
        }
        self.close("the node leaves");
        let gone = async {
            loop {
                let changed = self.0.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.0.links().is_empty() {
                    return;
                }
                changed.await;
            }
        };
        // Whoever does not take the farewell notices that the connection is gone.
        let _ = tokio::time::timeout(FAREWELL, gone).await;
    }

    /// Ends the connections of one agent.
    pub fn close_agent(&self, agent: AgentId, reason: &str) {
        for link in self.0.links().iter().filter(|link| link.agent == agent) {
            link.close(reason);
        }
    }

    /// The same of one whose words do not count any more.
    pub fn shut_out(&self, agent: AgentId, reason: &str) {
        for link in self.0.links().iter().filter(|link| link.agent == agent) {
            link.shut(reason);
        }
    }

    pub(super) fn links_of_agent(&self, agent: AgentId) -> Vec<Arc<Link>> {
        self.0.links().iter().filter(|link| link.agent == agent).cloned().collect()
    }
}

/// Which connection gets a check.
pub(super) enum Choice {
    Take(Arc<Link>),
    /// There are agents, and all have as much as they take.
    AllFull,
    Nobody,
}

impl Room {
    pub fn links(&self) -> MutexGuard<'_, Vec<Arc<Link>>> {
        // A panic while the lock was held left the list as it was, or with one entry more or less.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn foreign(&self) -> MutexGuard<'_, HashMap<AgentId, Foreign>> {
        self.foreign.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Until when to wait for a first agent of `connector`; `None`: it is known to have none.
    pub fn first_due(&self, connector: &ConnectorName) -> Option<Instant> {
        (self.is_starting() && !self.met().contains(connector)).then_some(self.begun + START_GRACE)
    }

    pub fn is_starting(&self) -> bool {
        self.begun.elapsed() < START_GRACE
    }

    fn met(&self) -> MutexGuard<'_, HashSet<ConnectorName>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An agent has one connection to each node, and a second while it renews its certificate; of more the oldest end.
    pub fn add(&self, link: Arc<Link>) {
        let connector = link.connector.clone();
        self.met().insert(connector.clone());
        self.foreign().remove(&link.agent);
        let mut links = self.links();
        links.push(link.clone());
        let own: Vec<&Arc<Link>> =
            links.iter().filter(|other| other.agent == link.agent && !other.is_closed()).collect();
        let surplus = own.len().saturating_sub(LINKS_OF_AN_AGENT);
        if surplus > 0 {
            tracing::warn!(agent.id = %link.agent, "an agent has more connections than it needs; was its machine copied?");
        }
        own[..surplus].iter().for_each(|other| other.close("a newer connection of the agent took its place"));
        drop(links);
        self.count(&connector);
        self.changed.notify_waiters();
    }

    pub fn remove(&self, link: &Link) {
        self.links().retain(|other| other.number != link.number);
        self.count(&link.connector);
        self.changed.notify_waiters();
    }

    fn count(&self, connector: &ConnectorName) {
        let connected = self.links().iter().filter(|link| link.connector == *connector).count();
        metrics::gauge!("landbridge_agents_connected", "connector" => connector.to_string()).set(connected as f64);
    }

    /// The least busy healthy agent of `connector` for `domain`, leaving out the connections already `tried`. One that
    /// was silent lately is taken only when there is no other.
    pub fn choose(&self, connector: &ConnectorName, domain: &DomainName, tried: &[u64]) -> Choice {
        let links = self.links();
        let mut full = false;
        let mut best: Option<(&Arc<Link>, (bool, usize, u64))> = None;
        for link in links.iter() {
            let fits = link.connector == *connector && link.domains.contains(domain);
            if !fits || link.is_draining() || link.is_closed() || tried.contains(&link.number) {
                continue;
            }
            let busy = link.busy();
            if busy >= link.capacity {
                full = true;
                continue;
            }
            // Among equals the one that was given a check longest ago.
            let rank = (link.is_silent(), busy, link.last_given());
            if best.as_ref().is_none_or(|(_, other)| rank < *other) {
                best = Some((link, rank));
            }
        }
        match best {
            Some((link, _)) => {
                link.given(self.next_number());
                Choice::Take(Arc::clone(link))
            }
            None if full => Choice::AllFull,
            None => Choice::Nobody,
        }
    }
}
