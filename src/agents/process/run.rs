//! `landbridge agent run`: a connection to every node, kept until the process is asked to end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_proto::GatewayNode;
use rand::RngExt as _;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::super::{Calling, SOFTWARE};
use super::checks::Checks;
use super::exchange::Carrier;
use super::identity::{Identity, IdentityError};
use super::link::{Link, LinkError};
use super::nodes;
use super::renewal::Renewal;
use super::status::{NodeState, NodeStatus, Status};
use crate::config::AgentSettings;
use crate::identity::{Clock, ConnectorName, causes};
use crate::os;
use crate::pass_through::{AgentCheck, PassThroughSettings, SettingsError};

/// The first pause after a connection that failed; each further one is up to twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A connection that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(5);
const STATUS: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the directory's settings are refused")]
    Settings(#[from] SettingsError),
    #[error("this machine is enrolled as {enrolled}, the settings are of connector {settings}")]
    OtherConnector { enrolled: Calling, settings: ConnectorName },
    #[error("the state folder {} cannot be used", path.display())]
    State { path: PathBuf, source: std::io::Error },
}

/// What all connections share.
struct Shared {
    connector: ConnectorName,
    checks: Arc<Checks>,
    carrier: Option<Arc<dyn Carrier>>,
    identity: watch::Sender<Arc<Identity>>,
    nodes: watch::Sender<Vec<GatewayNode>>,
    /// Written by connections, read for the status; held for an assignment.
    states: Mutex<BTreeMap<String, NodeStatus>>,
}

/// Runs the agent until `stop`; then what it accepted is answered first. `carrier` does what it does besides checks.
pub async fn run(
    settings: AgentSettings,
    carrier: Option<Arc<dyn Carrier>>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> Result<(), AgentError> {
    let AgentSettings { state, capacity, carries: _, connector } = settings;
    os::make_private_folder(&state).map_err(|source| AgentError::State { path: state.clone(), source })?;
    let identity = Identity::load(&state)?;
    if identity.connector() != Some(&connector.name) {
        return Err(AgentError::OtherConnector { enrolled: identity.calling, settings: connector.name });
    }
    let name = connector.name.clone();
    let check = AgentCheck::new(PassThroughSettings::new(&connector)?, clock.clone());
    let known = nodes::load(&state);
    let shared = Arc::new(Shared {
        connector: name.clone(),
        checks: Arc::new(Checks::new(name, check, clock.clone(), capacity)),
        carrier,
        identity: watch::Sender::new(Arc::new(identity)),
        nodes: watch::Sender::new(known),
        states: Mutex::default(),
    });
    let renewal =
        Renewal { state: state.clone(), clock, identity: shared.identity.clone(), nodes: shared.nodes.subscribe() };
    let _renewal = AbortOnDropHandle::new(tokio::spawn(renewal.run()));
    let tasks = TaskTracker::new();
    let mut kept: BTreeMap<String, CancellationToken> = BTreeMap::new();
    let mut nodes = shared.nodes.subscribe();
    let mut status = tokio::time::interval(STATUS);
    loop {
        let list = nodes.borrow_and_update().clone();
        let mut urls: Vec<String> = list.into_iter().map(|node| node.url).collect();
        if urls.is_empty() {
            urls.push(shared.identity.borrow().first_url.clone());
        }
        kept.retain(|url, end| {
            let stays = urls.contains(url);
            if !stays {
                end.cancel();
            }
            stays
        });
        for url in urls {
            kept.entry(url).or_insert_with_key(|url| {
                let end = stop.child_token();
                tasks.spawn(keep(shared.clone(), url.clone(), end.clone()));
                end
            });
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    tracing::info!("the agent stops; what it accepted is answered first");
                    tasks.close();
                    tasks.wait().await;
                    shared.status().save(&state);
                    return Ok(());
                }
                changed = nodes.changed() => {
                    if changed.is_ok() {
                        nodes::save(&state, &nodes.borrow());
                    }
                    break;
                }
                _ = status.tick() => shared.status().save(&state),
            }
        }
    }
}

/// Keeps a connection to the node at `url` until `end`, and then drains it.
async fn keep(shared: Arc<Shared>, url: String, end: CancellationToken) {
    let mut identity = shared.identity.subscribe();
    let mut pause = FIRST_PAUSE;
    // A connection that a renewed certificate replaces serves on until its successor is there.
    let mut old: Option<Running> = None;
    while !end.is_cancelled() {
        let mine = identity.borrow_and_update().clone();
        if mine.has_ended(shared.checks.clock.now()) {
            shared.note(&url, NodeState::Away { reason: "the certificate has ended; renewing".to_owned() });
            tokio::select! {
                () = end.cancelled() => {}
                _ = identity.changed() => {}
            }
            continue;
        }
        shared.note(&url, NodeState::Connecting);
        let opened = tokio::select! {
            () = end.cancelled() => break,
            opened = Link::open(&url, mine, (&shared.checks, shared.carrier.as_deref()), &shared.nodes) => opened,
        };
        match opened {
            Ok(link) => {
                tracing::info!(url, node = link.node, "connected to the gateway");
                shared.note(&url, NodeState::Connected { node: link.node.clone() });
                let mut running = Running::start(link, &shared);
                if let Some(old) = old.take() {
                    tokio::spawn(old.finish());
                }
                let begun = Instant::now();
                tokio::select! {
                    () = end.cancelled() => {
                        old = Some(running);
                        break;
                    }
                    _ = identity.changed() => {
                        old = Some(running);
                        continue;
                    }
                    ended = running.ended() => {
                        shared.note_end(&url, &ended);
                        if begun.elapsed() > GOOD {
                            pause = FIRST_PAUSE;
                        }
                    }
                }
            }
            Err(error) => shared.note_end(&url, &error),
        }
        let jittered = rand::rng().random_range(pause / 2..=pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
        tokio::select! {
            () = end.cancelled() => {}
            () = tokio::time::sleep(jittered) => {}
        }
    }
    if let Some(running) = old {
        running.finish().await;
    }
    shared.note(&url, NodeState::Away { reason: "the agent has stopped, or the node has gone".to_owned() });
}

/// A connection that serves.
struct Running {
    task: AbortOnDropHandle<Result<(), LinkError>>,
    drain: CancellationToken,
}

impl Running {
    fn start(link: Link, shared: &Shared) -> Self {
        let drain = CancellationToken::new();
        let work = (shared.checks.clone(), shared.carrier.clone());
        let running = link.run(work, shared.nodes.clone(), drain.clone());
        Self { task: AbortOnDropHandle::new(tokio::spawn(running)), drain }
    }

    async fn ended(&mut self) -> LinkError {
        match (&mut self.task).await {
            Ok(Err(error)) => error,
            // It drained though nobody asked, or panicked: either way there is no connection any more.
            Ok(Ok(())) | Err(_) => LinkError::Closed,
        }
    }

    async fn finish(mut self) {
        self.drain.cancel();
        if let Ok(Err(error)) = (&mut self.task).await {
            tracing::debug!(error = causes(&error), "a connection ended while it drained");
        }
    }
}

impl Shared {
    fn note(&self, url: &str, state: NodeState) {
        let since = self.checks.clock.now();
        let status = NodeStatus { url: url.to_owned(), state, since };
        self.states.lock().unwrap_or_else(PoisonError::into_inner).insert(url.to_owned(), status);
    }

    fn note_end(&self, url: &str, error: &LinkError) {
        let reason = causes(error);
        tracing::warn!(url, error = reason, "there is no connection to a node of the gateway");
        self.note(url, NodeState::Away { reason });
    }

    fn status(&self) -> Status {
        let identity = self.identity.borrow().clone();
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        Status {
            agent: identity.id(),
            connector: self.connector.clone(),
            software: SOFTWARE.to_owned(),
            pid: std::process::id(),
            at: self.checks.clock.now(),
            certificate_ends: identity.ends,
            busy: self.checks.busy(),
            answered: self.checks.answered(),
            nodes: states.values().cloned().collect(),
        }
    }
}
