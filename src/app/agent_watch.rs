//! Whether agents that are connected here reach the directories that nobody else does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::agents::broker::{Broker, Errand};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::config::{AgentsOnlySettings, Carried};
use crate::identity::{Clock, ConnectorName, DomainName, causes};
use crate::password_sync::EngineEpoch;
use crate::signin::store::{Alert, Alerts, StoreDown};

const ALERT: &str = "agents-missing";
/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// Looks in a row that find nobody before people are told: an agent that is upgraded is back sooner.
const MISSES: u32 = 5;

/// Looks on the node that holds the engine lease: the engine asks agents that are connected there.
pub struct AgentWatch {
    pub broker: Broker,
    pub alerts: Arc<dyn Alerts>,
    pub epoch: Arc<dyn EngineEpoch>,
    pub clock: Arc<dyn Clock>,
    pub connectors: Vec<Watched>,
}

/// A connector, and what its agents have to do.
pub struct Watched {
    name: ConnectorName,
    domains: Vec<DomainName>,
    work: Vec<Carried>,
}

impl Watched {
    pub fn of(settings: &AgentsOnlySettings) -> Self {
        let mut work = vec![Carried::Import];
        work.extend(settings.scope.export.as_ref().map(|_| Carried::Export));
        work.extend(settings.password_sync.then_some(Carried::Passwords));
        Self { name: settings.name.clone(), domains: settings.domains.clone(), work }
    }

    /// What no connected agent does, and why not.
    fn lacking(&self, broker: &Broker) -> Option<String> {
        let errand = |what| Errand { connector: &self.name, domains: &self.domains, what };
        self.work.iter().find_map(|what| broker.lacking(errand(*what))).map(|missing| missing.told())
    }
}

impl AgentWatch {
    pub async fn run(self, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut misses: BTreeMap<&ConnectorName, u32> = BTreeMap::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => {}
            }
            if self.epoch.current().await.is_none() {
                misses.clear();
                continue;
            }
            if let Err(error) = self.look(&mut misses).await {
                tracing::warn!(error = causes(&error), "alerts about agents could not be written");
            }
        }
    }

    async fn look<'a>(&'a self, misses: &mut BTreeMap<&'a ConnectorName, u32>) -> Result<(), StoreDown> {
        let now = self.clock.now();
        for watched in &self.connectors {
            let Some(detail) = watched.lacking(&self.broker) else {
                misses.remove(&watched.name);
                continue;
            };
            let missed = misses.entry(&watched.name).or_default();
            *missed = missed.saturating_add(1);
            // Raised once; until it is over, nothing is to be said again.
            if *missed == MISSES {
                let subject = watched.name.to_string();
                let events = vec![event(EventKind::AlertRaised, &subject)];
                self.alerts.raise(Alert { name: ALERT, subject, detail, at: now }, events).await?;
            }
        }
        for raised in self.alerts.raised().await?.into_iter().filter(|raised| raised.name == ALERT) {
            let is_missing = misses.keys().any(|name| name.as_str() == raised.subject);
            if !is_missing {
                let events = vec![event(EventKind::AlertCleared, &raised.subject)];
                self.alerts.clear(ALERT, raised.subject, now, events).await?;
            }
        }
        Ok(())
    }
}

fn event(kind: EventKind, subject: &str) -> Event {
    Event::new(kind, Outcome::Success, Actor::System("agents".to_owned())).about(subject).because(ALERT)
}
