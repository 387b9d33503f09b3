//! Exchanges with agents about work other than checks (`agent_proto::parts`): who gets one, and what is said in it.
//!
//! Here it is bytes; what they mean, and when a piece of work may be given to a second agent, is for those who ask.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agent_proto::parts::{Cutter, Joiner, PartError, WINDOW};
use agent_proto::{DeclineReason, RequestId, ToAgent, Versions};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::link::{Heard, Link};
use super::registry::Agent;
use super::room::{Broker, Room};
use crate::agents::Calling;
use crate::config::Carried;
use crate::identity::{AgentId, ConnectorName, DomainName, Timestamp, causes};

/// For an answer, and for each further message of it: more than a directory gets for one question.
const ANSWER_DEADLINE: Duration = Duration::from_secs(150);
/// After the gateway's start agents need a moment to find it again.
const GRACE_DEADLINE: Duration = Duration::from_secs(6);

/// Why nobody does the work, or why it was not done to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Nothing was asked of anybody.
    #[error("{}", .0.told())]
    Nobody(Box<Missing>),
    /// Nothing was done.
    #[error("the agent on {agent} takes no more work: {reason}")]
    Declined { agent: String, reason: &'static str },
    #[error("the connection of the agent on {agent} has ended{}", told_reason(.reason))]
    Gone { agent: String, reason: String },
    #[error("the agent on {agent} did not answer within {} seconds", ANSWER_DEADLINE.as_secs())]
    Silent { agent: String },
    #[error("the agent on {agent} does not keep to the protocol")]
    Broken { agent: String, source: PartError },
    #[error("the question is longer than a message may be")]
    TooLong,
}

fn told_reason(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

impl ExchangeError {
    /// Whether it is certain that nothing was begun.
    pub fn is_before_all(&self) -> bool {
        matches!(self, Self::Nobody(_) | Self::Declined { .. } | Self::TooLong)
    }

    /// Whether the agent went away, so that another one may do better.
    pub fn is_of_agent(&self) -> bool {
        match self {
            Self::Declined { .. } | Self::Gone { .. } | Self::Silent { .. } => true,
            Self::Nobody(_) | Self::Broken { .. } | Self::TooLong => false,
        }
    }
}

/// What the connected agents of a connector lack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    pub connector: String,
    pub what: String,
    /// Machines whose agents are connected, by what is wrong with them.
    pub older: Vec<String>,
    pub unwilling: Vec<String>,
    pub narrower: Vec<String>,
    pub draining: Vec<String>,
    /// Machines whose agents cannot be connected, and why not.
    pub foreign: Vec<(String, String)>,
}

impl Missing {
    pub fn told(&self) -> String {
        let Self { connector, what, older, unwilling, narrower, draining, foreign } = self;
        let mut reasons = Vec::new();
        let mut tell = |hosts: &[String], reason: &str| {
            if !hosts.is_empty() {
                reasons.push(format!("{}: {reason}", hosts.join(", ")));
            }
        };
        tell(older, "the agent is of an older release that only checks passwords; upgrade it");
        tell(unwilling, &format!("the agent's settings do not say `{what}` under `carries`"));
        tell(narrower, "the agent is enrolled for some of the connector's domains alone; enrol one for all of them");
        tell(draining, "the agent is draining");
        reasons.extend(foreign.iter().map(|(host, reason)| format!("{host}: {reason}")));
        if reasons.is_empty() {
            return format!("no agent of connector {connector} is connected to this node");
        }
        format!("no agent of connector {connector} can {what} ({})", reasons.join("; "))
    }
}

/// Whose directory the work is about, and which kind of work it is.
#[derive(Clone, Copy, Debug)]
pub struct Errand<'a> {
    pub connector: &'a ConnectorName,
    /// An agent that may not answer for all of them does not speak for the whole connector.
    pub domains: &'a [DomainName],
    pub what: Carried,
}

/// A conversation with one agent about one piece of work. Dropping it gives the work up.
pub struct Exchange {
    link: Arc<Link>,
    request: RequestId,
    heard: mpsc::Receiver<Heard>,
    cutter: Cutter,
    joiner: Joiner,
    /// Parts that were read and not granted anew.
    read: u32,
    over: bool,
}

impl Broker {
    /// What the connected agents lack for an errand; `None`: one of them can.
    pub fn lacking(&self, errand: Errand<'_>) -> Option<Missing> {
        choose(&self.0.links(), errand, &[]).err().map(|missing| self.0.with_foreign(*missing))
    }

    /// By this node's clock.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Whether one agent alone is enrolled for a connector. Nobody is believed to be alone while that cannot be read.
    pub async fn has_one_agent(&self, connector: &ConnectorName) -> bool {
        let of_connector = |agent: &Agent| {
            agent.revoked_at.is_none()
                && matches!(&agent.calling, Calling::Checks { connector: of, .. } if of == connector)
        };
        match self.0.registry.agents().await {
            Ok(agents) => agents.iter().filter(|agent| of_connector(agent)).count() == 1,
            Err(error) => {
                tracing::warn!(%connector, error = causes(&error), "it cannot be told how many agents are enrolled");
                false
            }
        }
    }

    /// An exchange with the least busy agent that carries it and is not among those `tried`.
    pub async fn engage(&self, errand: Errand<'_>, tried: &[AgentId]) -> Result<Exchange, ExchangeError> {
        let room = &self.0;
        let end = Instant::now() + GRACE_DEADLINE;
        loop {
            // Before the look at the agents, so that no change is missed.
            let changed = room.changed.notified();
            let missing = {
                let links = room.links();
                match choose(&links, errand, tried) {
                    Ok(link) => {
                        link.given(room.next_number());
                        return Ok(Exchange::open(Arc::clone(link)));
                    }
                    Err(missing) => Box::new(room.with_foreign(*missing)),
                }
            };
            // One that carries nothing may be there before another.
            let waits = room.is_starting() && tried.is_empty();
            if !waits || tokio::time::timeout_at(end, changed).await.is_err() {
                return Err(ExchangeError::Nobody(missing));
            }
        }
    }
}

fn choose<'a>(
    links: &'a [Arc<Link>],
    Errand { connector, domains, what }: Errand<'_>,
    tried: &[AgentId],
) -> Result<&'a Arc<Link>, Box<Missing>> {
    let mut missing =
        Box::new(Missing { connector: connector.to_string(), what: what.to_string(), ..Missing::default() });
    let mut best: Option<(&Arc<Link>, (bool, usize, u64))> = None;
    // INVARIANT: only agents whose certificate is of this very connector are looked at.
    for link in links.iter().filter(|link| link.connector == *connector && !link.is_closed()) {
        let lacking = if link.version < Versions::WITH_EXCHANGES {
            Some(&mut missing.older)
        } else if !link.carries.contains(&what) {
            Some(&mut missing.unwilling)
        } else if !domains.iter().all(|domain| link.domains.contains(domain)) {
            Some(&mut missing.narrower)
        } else if link.is_draining() {
            Some(&mut missing.draining)
        } else {
            None
        };
        match lacking {
            Some(list) => list.push(link.host.clone()),
            None if tried.contains(&link.agent) => {}
            None => {
                let rank = (link.is_silent(), link.exchanges(), link.last_given());
                if best.as_ref().is_none_or(|(_, other)| rank < *other) {
                    best = Some((link, rank));
                }
            }
        }
    }
    best.map(|(link, _)| link).ok_or(missing)
}

impl Room {
    fn with_foreign(&self, missing: Missing) -> Missing {
        let known = self.foreign();
        let foreign = known.values().filter(|foreign| foreign.connector.as_str() == missing.connector);
        let foreign = foreign.map(|foreign| (foreign.host.clone(), foreign.reason.clone())).collect();
        Missing { foreign, ..missing }
    }
}

fn gone(link: &Link) -> ExchangeError {
    ExchangeError::Gone { agent: link.host.clone(), reason: link.end_reason() }
}

impl Exchange {
    fn open(link: Arc<Link>) -> Self {
        let request = RequestId::new(uuid::Uuid::new_v4().into_bytes());
        let heard = link.begin_exchange(request);
        Self { link, request, heard, cutter: Cutter::new(request), joiner: Joiner::default(), read: 0, over: false }
    }

    pub fn agent(&self) -> AgentId {
        self.link.agent
    }

    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The agent's machine, for operators.
    pub fn host(&self) -> &str {
        &self.link.host
    }

    /// Says something to the agent, as fast as the connection takes it.
    pub async fn ask(&mut self, word: &[u8]) -> Result<(), ExchangeError> {
        let link = Arc::clone(&self.link);
        for part in self.cutter.cut(word).ok_or(ExchangeError::TooLong)? {
            match tokio::time::timeout(ANSWER_DEADLINE, link.say_in_turn(ToAgent::Ask(part))).await {
                Ok(true) => {}
                Ok(false) => return Err(gone(&link)),
                Err(_) => return Err(ExchangeError::Silent { agent: link.host.clone() }),
            }
        }
        Ok(())
    }

    /// The next message of the agent.
    pub async fn told(&mut self) -> Result<Vec<u8>, ExchangeError> {
        match tokio::time::timeout(ANSWER_DEADLINE, self.told_at_last()).await {
            Ok(told) => told,
            Err(_) => Err(ExchangeError::Silent { agent: self.link.host.clone() }),
        }
    }

    /// Nothing is lost when it is given up while it waits.
    async fn told_at_last(&mut self) -> Result<Vec<u8>, ExchangeError> {
        loop {
            if self.read >= WINDOW / 2 {
                let grant = ToAgent::Grant { request: self.request, parts: self.read };
                // On a connection that ends nothing more comes, and what came is heard.
                self.link.say_in_turn(grant).await;
                self.read = 0;
            }
            let heard = tokio::select! {
                biased;
                // What it said before is not heard any more.
                () = self.link.shut_out() => None,
                heard = self.heard.recv() => heard,
            };
            let part = match heard {
                Some(Heard::Part(part)) => part,
                Some(Heard::Declined(reason)) => {
                    self.over = true;
                    let reason = match reason {
                        DeclineReason::Full => "it has as much as it takes",
                        DeclineReason::Draining => "it is draining",
                        DeclineReason::Expired => "it came too late",
                    };
                    return Err(ExchangeError::Declined { agent: self.link.host.clone(), reason });
                }
                None => {
                    self.over = true;
                    return Err(gone(&self.link));
                }
            };
            let word = self
                .joiner
                .take(part)
                .map_err(|source| ExchangeError::Broken { agent: self.link.host.clone(), source })?;
            self.read += 1;
            if let Some(word) = word {
                return Ok(word);
            }
        }
    }

    /// Everything was said: there is nothing to give up.
    pub fn close(mut self) {
        self.over = true;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.link.end_exchange(self.request, !self.over);
    }
}

impl Link {
    pub fn exchanges(&self) -> usize {
        self.engaged.load(Ordering::Relaxed)
    }
}

/// How a connection's queue for exchanges is made: short, because parts are long.
pub(super) fn queue() -> (mpsc::Sender<ToAgent>, mpsc::Receiver<ToAgent>) {
    mpsc::channel(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_by_machine_and_remedy() {
        let nobody = Missing { connector: "corp".to_owned(), what: "import".to_owned(), ..Missing::default() };
        assert_eq!(nobody.told(), "no agent of connector corp is connected to this node");
        let missing =
            Missing { older: vec!["dc1".to_owned()], unwilling: vec!["dc2".to_owned(), "dc3".to_owned()], ..nobody };
        let told = missing.told();
        assert!(told.contains("dc1: the agent is of an older release"), "{told}");
        assert!(told.contains("dc2, dc3: the agent's settings do not say `import` under `carries`"), "{told}");
    }
}
