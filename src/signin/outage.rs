//! Watches the live authorities: confirms outages by probes, keeps a breaker per connector, and sees outages end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::authority::{LiveCheck, ServerProbe};
use super::breaker::{Breaker, Moved};
use super::failover::ProbeOutcome;
use super::settings::Settings;
use super::store::{Alert, SignInStore, StoreDown};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{Clock, ConnectorName};

/// The alert of a connector none of whose servers answers.
pub const AUTHORITY_DOWN: &str = "authority-down";

/// The outages of all connectors, as this node sees them.
pub struct Outages {
    live: Arc<dyn LiveCheck>,
    store: Arc<dyn SignInStore>,
    clock: Arc<dyn Clock>,
    settings: Arc<Settings>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Shared by sign-ins and probe tasks; held for a few assignments, never across an await.
    connectors: Mutex<HashMap<ConnectorName, Watched>>,
}

#[derive(Default)]
struct Watched {
    breaker: Breaker,
    running: Option<RunningProbe>,
    last: Vec<ServerProbe>,
    watching: bool,
}

/// A probe under way; as many as like may wait for it.
pub(super) type RunningProbe = Shared<BoxFuture<'static, ProbeOutcome>>;

/// What `failover status` shows of a connector on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutageStatus {
    pub connector: ConnectorName,
    pub breaker: Breaker,
    pub last_probes: Vec<ServerProbe>,
}

impl Outages {
    pub(super) fn new(
        live: Arc<dyn LiveCheck>,
        store: Arc<dyn SignInStore>,
        clock: Arc<dyn Clock>,
        settings: Arc<Settings>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self { live, store, clock, settings, tasks, stop, connectors: Mutex::default() })
    }

    pub fn is_open(&self, connector: &ConnectorName) -> bool {
        self.lock().get(connector).is_some_and(|watched| watched.breaker.is_open())
    }

    pub fn status(&self) -> Vec<OutageStatus> {
        let connectors = self.lock();
        let status = |(connector, watched): (&ConnectorName, &Watched)| OutageStatus {
            connector: connector.clone(),
            breaker: watched.breaker,
            last_probes: watched.last.clone(),
        };
        let mut all: Vec<_> = connectors.iter().map(status).collect();
        all.sort_by(|a, b| a.connector.cmp(&b.connector));
        all
    }

    /// Starts a probe of every server of `connector`, or joins the one that runs. It moves the breaker, whether or not
    /// anybody waits for the answer.
    pub(super) fn probe(self: &Arc<Self>, connector: &ConnectorName) -> RunningProbe {
        let mut connectors = self.lock();
        let watched = connectors.entry(connector.clone()).or_default();
        if let Some(running) = &watched.running {
            return running.clone();
        }
        let (outages, connector) = (Arc::clone(self), connector.clone());
        let probe = self.tasks.spawn(async move { outages.run_probe(connector).await });
        // A probe that panicked or was aborted has confirmed nothing.
        let running = async move { probe.await.unwrap_or(ProbeOutcome::SomeServerAnswers) }.boxed().shared();
        watched.running = Some(running.clone());
        running
    }

    /// Probes every server of `connector`, and draws no conclusion from it.
    pub(super) async fn look(&self, connector: &ConnectorName) -> Vec<ServerProbe> {
        self.live.probe(connector).await
    }

    /// After a start: alerts that an earlier run left raised are confirmed or cleared by a probe.
    pub(super) async fn resume(self: &Arc<Self>) -> Result<(), StoreDown> {
        for alert in self.store.raised().await? {
            if alert.name != AUTHORITY_DOWN {
                continue;
            }
            let Ok(connector) = alert.subject.parse::<ConnectorName>() else { continue };
            if self.probe(&connector).await == ProbeOutcome::SomeServerAnswers {
                self.recovered(&connector).await;
            }
        }
        Ok(())
    }

    async fn run_probe(self: Arc<Self>, connector: ConnectorName) -> ProbeOutcome {
        let probes = self.live.probe(&connector).await;
        let outcome = outcome_of(&probes);
        let moved = {
            let mut connectors = self.lock();
            let watched = connectors.entry(connector.clone()).or_default();
            let now = self.clock.now();
            let (breaker, moved) = watched.breaker.after_probe(outcome, now, self.settings.good_probes);
            watched.breaker = breaker;
            watched.last = probes;
            watched.running = None;
            let watch = breaker.is_open() && !watched.watching;
            watched.watching |= watch;
            if watch {
                let (outages, connector) = (Arc::clone(&self), connector.clone());
                self.tasks.spawn(async move { outages.watch(connector).await });
            }
            moved
        };
        match moved {
            Moved::No => {}
            // Sign-ins do not wait for the alert to be written.
            Moved::Opened => {
                let (outages, connector) = (Arc::clone(&self), connector);
                self.tasks.spawn(async move { outages.raise(&connector).await });
            }
            Moved::Closed { .. } => self.recovered(&connector).await,
        }
        outcome
    }

    /// Probes while the breaker is open.
    async fn watch(self: Arc<Self>, connector: ConnectorName) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(self.settings.probe_interval) => {}
            }
            self.probe(&connector).await;
            {
                let mut connectors = self.lock();
                let watched = connectors.entry(connector.clone()).or_default();
                if !watched.breaker.is_open() {
                    watched.watching = false;
                    return;
                }
            }
            // Another node, for which the outage is over, may have cleared the alert.
            if self.must_raise(&connector).await {
                self.raise(&connector).await;
                if !self.is_open(&connector) {
                    // The outage ended meanwhile.
                    self.recovered(&connector).await;
                }
            }
        }
    }

    async fn must_raise(&self, connector: &ConnectorName) -> bool {
        let subject = connector.to_string();
        match self.store.raised().await {
            Ok(raised) => !raised.iter().any(|alert| alert.name == AUTHORITY_DOWN && alert.subject == subject),
            // The next round asks again.
            Err(_) => false,
        }
    }

    async fn raise(&self, connector: &ConnectorName) {
        let detail = {
            let connectors = self.lock();
            let probes = connectors.get(connector).map(|watched| watched.last.as_slice()).unwrap_or_default();
            probes.iter().filter_map(failure).collect::<Vec<_>>().join("; ")
        };
        tracing::error!(connector = %connector, servers = detail, "no server of the connector answers: failover begins");
        let by = || Actor::System("failover".to_owned());
        let events = vec![
            Event::new(EventKind::FailoverStarted, Outcome::Success, by()).about(connector).because("outage-confirmed"),
            Event::new(EventKind::AlertRaised, Outcome::Success, by()).about(connector).because(AUTHORITY_DOWN),
        ];
        let alert = Alert { name: AUTHORITY_DOWN, subject: connector.to_string(), detail, at: self.clock.now() };
        if let Err(error) = self.store.raise(alert, events).await {
            tracing::error!(connector = %connector, error = ?error, "the alert of an outage could not be written yet");
        }
    }

    async fn recovered(&self, connector: &ConnectorName) {
        tracing::warn!(connector = %connector, "the connector answers again: failover ends");
        let by = || Actor::System("failover".to_owned());
        let events = vec![
            Event::new(EventKind::FailoverEnded, Outcome::Success, by()).about(connector).because("probes-succeed"),
            Event::new(EventKind::AlertCleared, Outcome::Success, by()).about(connector).because(AUTHORITY_DOWN),
        ];
        let cleared = self.store.clear(AUTHORITY_DOWN, connector.to_string(), self.clock.now(), events).await;
        if let Err(error) = cleared {
            tracing::error!(connector = %connector, error = ?error, "the end of an outage could not be written");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectorName, Watched>> {
        // A panic while the lock was held left plain values behind, never half of one.
        self.connectors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connector without servers proves nothing.
fn outcome_of(probes: &[ServerProbe]) -> ProbeOutcome {
    if !probes.is_empty() && probes.iter().all(|probe| probe.outcome.is_err()) {
        ProbeOutcome::EveryServerFailed
    } else {
        ProbeOutcome::SomeServerAnswers
    }
}

fn failure(probe: &ServerProbe) -> Option<String> {
    probe.outcome.as_ref().err().map(|what| format!("{}: {what}", probe.server))
}
