//! The gateway's side: who asks, within which bounds, and what the tenant connector says to it.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, OriginalUri, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::bounds::Bounded;
use super::protocol::{
    Answers, Done, Export, Exported, Fault, FaultCode, Hello, ImportLine, LARGEST_BATCH, LARGEST_REQUEST, Node,
    OBJECTS_PER_LINE, OfEpoch, Questions, TakenLease, VERSION, Welcome, path,
};
use crate::agents::broker::registry::{AgentRegistry, RegistryDown};
use crate::agents::broker::{AuthenticatedSyncServer, LONGEST_NAME, NotAdmitted, PeerCertificate};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::connectors::tenant::{TenantConnector, feed_number};
use crate::identity::{AgentId, Clock, ConnectorName, DomainName, LeaseEpoch, causes, shown};
use crate::sync::connector::{
    Capabilities, Connector as _, ConnectorError, ExportResult, ImportMode, ImportRequest, ImportStream,
};
use crate::sync::lease::Turn;
use crate::tenant::{TenantExport, TenantReadBack};

/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(60);
/// A server that takes no line of an import for so long has given it up. It commits a page between two lines.
const STALLED: Duration = Duration::from_secs(300);
/// Nodes count as alive that reported within this time.
const NODE_ALIVE: Duration = Duration::from_secs(15);

/// The directory as the target of an export and the source of a confirming import.
pub trait TenantDirectory: TenantExport + TenantReadBack {}

impl<T: TenantExport + TenantReadBack> TenantDirectory for T {}

/// The engine lease as sync servers hold it, each under its own name.
#[async_trait]
pub trait EngineLeases: Send + Sync {
    /// Begins a new epoch; `None`: another server has the lease.
    async fn take(&self, server: AgentId) -> Result<Option<TakenLease>, LeasesDown>;

    /// `false`: the server does not hold the lease under this epoch.
    async fn renew(&self, server: AgentId, epoch: LeaseEpoch) -> Result<bool, LeasesDown>;

    async fn release(&self, server: AgentId, epoch: LeaseEpoch) -> Result<(), LeasesDown>;

    /// Whether the server holds the lease under this epoch now.
    async fn holds(&self, server: AgentId, epoch: LeaseEpoch) -> Result<bool, LeasesDown>;
}

#[derive(Debug, thiserror::Error)]
#[error("the engine lease cannot be read or changed")]
pub struct LeasesDown(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Where what sync servers did is recorded.
#[async_trait]
pub trait Recorder: Send + Sync {
    async fn record(&self, event: Event);
}

/// What the connector API works on.
pub struct ConnectorApi {
    pub registry: Arc<dyn AgentRegistry>,
    pub directory: Arc<dyn TenantDirectory>,
    pub leases: Arc<dyn EngineLeases>,
    pub recorder: Arc<dyn Recorder>,
    pub clock: Arc<dyn Clock>,
    /// The name of the tenant's connector.
    pub name: ConnectorName,
    /// What sync servers may bring, with the domains that each may speak for.
    pub connectors: BTreeMap<ConnectorName, Vec<DomainName>>,
}

/// The routes, for the agents' door.
pub fn router(api: Arc<ConnectorApi>) -> Router {
    Router::new()
        .route(path::HELLO, post(hello))
        .route(path::TAKE_LEASE, post(take_lease))
        .route(path::RENEW_LEASE, post(renew_lease))
        .route(path::RELEASE_LEASE, post(release_lease))
        .route(path::IMPORT, post(import))
        .route(path::EXPORT, post(export))
        .route(path::READ_BACK, post(read_back))
        .route("/connector/{*rest}", any(elsewhere))
        .with_state(api)
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, axum::Json(self)).into_response()
    }
}

impl From<NotAdmitted> for Fault {
    fn from(refusal: NotAdmitted) -> Self {
        match refusal {
            NotAdmitted::Registry(error) => error.into(),
            refusal => {
                metrics::counter!("landbridge_sync_servers_turned_away_total").increment(1);
                tracing::warn!(reason = %refusal, "a sync server was turned away");
                Self::new(FaultCode::NotAdmitted, refusal.to_string())
            }
        }
    }
}

impl From<RegistryDown> for Fault {
    fn from(error: RegistryDown) -> Self {
        unavailable(&error)
    }
}

impl From<LeasesDown> for Fault {
    fn from(error: LeasesDown) -> Self {
        unavailable(&error)
    }
}

impl From<ConnectorError> for Fault {
    fn from(error: ConnectorError) -> Self {
        match error {
            ConnectorError::Unreachable { .. } | ConnectorError::Aborted { .. } => unavailable(&error),
            ConnectorError::StaleWatermark { reason, .. } => Self::new(FaultCode::StaleWatermark, reason),
            ConnectorError::Settings { reason, .. } | ConnectorError::Refused { reason, .. } => {
                Self::new(FaultCode::Refused, reason)
            }
            ConnectorError::Unsupported { what, .. } => Self::new(FaultCode::Unsupported, what),
        }
    }
}

/// The insides of the gateway stay in its log.
fn unavailable(error: &(dyn std::error::Error + 'static)) -> Fault {
    tracing::error!(error = causes(error), "a sync server's request could not be carried out");
    Fault::new(FaultCode::Unavailable, "the gateway cannot do it now; try again")
}

impl ConnectorApi {
    /// Who asks, as the registry says now; bound to what both its certificate and the settings name.
    async fn admit(&self, peer: &PeerCertificate) -> Result<AuthenticatedSyncServer, Fault> {
        let now = self.clock.now();
        let server = AuthenticatedSyncServer::authenticate(&*self.registry, peer.der(), now).await?;
        Ok(self.bounded(server))
    }

    fn bounded(&self, mut server: AuthenticatedSyncServer) -> AuthenticatedSyncServer {
        server.connectors.retain(|connector| self.connectors.contains_key(connector));
        server
    }

    fn connector(&self, server: &AuthenticatedSyncServer) -> TenantConnector {
        let bounded = Arc::new(Bounded { directory: self.directory.clone(), connectors: server.connectors.clone() });
        TenantConnector::new(self.name.clone(), bounded.clone(), bounded)
    }

    fn capabilities(&self, server: &AuthenticatedSyncServer) -> Capabilities {
        self.connector(server).capabilities()
    }
}

/// Admits, reads the body, and answers what `run` says. Nobody who is not admitted gets a body read.
async fn answer<Q, A>(
    api: &Arc<ConnectorApi>,
    peer: &PeerCertificate,
    body: Body,
    run: impl AsyncFnOnce(AuthenticatedSyncServer, Q) -> Result<A, Fault>,
) -> Result<Response, Fault>
where
    Q: DeserializeOwned,
    A: Serialize,
{
    let server = api.admit(peer).await?;
    let asked = read(body).await?;
    Ok(axum::Json(run(server, asked).await?).into_response())
}

async fn read<Q: DeserializeOwned>(body: Body) -> Result<Q, Fault> {
    let collected = tokio::time::timeout(BODY_DEADLINE, Limited::new(body, LARGEST_REQUEST).collect()).await;
    let too_slow = || Fault::new(FaultCode::TooSlow, "the body did not arrive in time");
    let bytes = match collected.map_err(|_| too_slow())? {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let reason = format!("the body is larger than {LARGEST_REQUEST} bytes");
            return Err(Fault::new(FaultCode::TooLarge, reason));
        }
        Err(_) => return Err(Fault::new(FaultCode::Malformed, "the body did not arrive as a whole")),
    };
    // Where it is wrong, and not what it holds.
    serde_json::from_slice(&bytes).map_err(|error| {
        let reason = format!("the body is not what is asked for here: column {}", error.column());
        Fault::new(FaultCode::Malformed, reason)
    })
}

type Api = State<Arc<ConnectorApi>>;
type Peer = Extension<PeerCertificate>;

async fn hello(State(api): Api, Extension(peer): Peer, body: Body) -> Result<Response, Fault> {
    answer(&api, &peer, body, async |server: AuthenticatedSyncServer, hello: Hello| {
        let now = api.clock.now();
        let Hello { host, software } = hello;
        let (host, software) = (shown(&host, LONGEST_NAME), shown(&software, LONGEST_NAME));
        api.registry.connected(server.id, &server.fingerprint, &host, &software, now).await?;
        let nodes = api.registry.notices(now - NODE_ALIVE).await?.nodes;
        let bound = |(name, domains): (&ConnectorName, &Vec<DomainName>)| {
            server.connectors.contains(name).then(|| (name.clone(), domains.clone()))
        };
        Ok(Welcome {
            server: server.id,
            connectors: api.connectors.iter().filter_map(bound).collect(),
            tenant: api.capabilities(&server),
            nodes: nodes.into_iter().map(|node| Node { name: node.name, url: node.url }).collect(),
        })
    })
    .await
}

async fn take_lease(State(api): Api, Extension(peer): Peer, body: Body) -> Result<Response, Fault> {
    answer(&api, &peer, body, async |server: AuthenticatedSyncServer, Done {}| {
        let held = || Fault::new(FaultCode::LeaseHeld, "another sync server holds the engine lease");
        let taken = api.leases.take(server.id).await?.ok_or_else(held)?;
        let event = event(EventKind::EngineLeaseTaken, server.id).with("epoch", taken.epoch);
        api.recorder.record(event).await;
        Ok(taken)
    })
    .await
}

async fn renew_lease(State(api): Api, Extension(peer): Peer, body: Body) -> Result<Response, Fault> {
    answer(&api, &peer, body, async |server: AuthenticatedSyncServer, OfEpoch { epoch }| {
        match api.leases.renew(server.id, LeaseEpoch::from_number(epoch)).await? {
            true => Ok(Done {}),
            false => Err(lost(epoch)),
        }
    })
    .await
}

async fn release_lease(State(api): Api, Extension(peer): Peer, body: Body) -> Result<Response, Fault> {
    answer(&api, &peer, body, async |server: AuthenticatedSyncServer, OfEpoch { epoch }| {
        api.leases.release(server.id, LeaseEpoch::from_number(epoch)).await?;
        Ok(Done {})
    })
    .await
}

async fn export(State(api): Api, Extension(peer): Peer, body: Body) -> Result<Response, Fault> {
    answer(&api, &peer, body, async |server: AuthenticatedSyncServer, Export { epoch, changes }| {
        if changes.len() > LARGEST_BATCH {
            let reason = format!("a batch has at most {LARGEST_BATCH} changes, this one {}", changes.len());
            return Err(Fault::new(FaultCode::TooLarge, reason));
        }
        let (number, epoch) = (epoch, LeaseEpoch::from_number(epoch));
        // INVARIANT: an epoch is of one server for ever, so that comparing it within the transactions is enough from here.
        if !api.leases.holds(server.id, epoch).await? {
            return Err(lost(number));
        }
        let results = api.connector(&server).export(changes, &Turn::unending(epoch)).await?;
        let refused: BTreeSet<&str> = results
            .iter()
            .filter_map(|result| match result {
                ExportResult::Refused { code, .. } => Some(code.as_str()),
                ExportResult::Accepted { .. } | ExportResult::Unknown { .. } => None,
            })
            .collect();
        let accepted = results.iter().filter(|result| matches!(result, ExportResult::Accepted { .. })).count();
        let event = event(EventKind::SyncExport, server.id)
            .with("epoch", number)
            .with("changes", results.len())
            .with("accepted", accepted)
            .with("refusals", refused.into_iter().collect::<Vec<_>>());
        api.recorder.record(event).await;
        Ok(Exported { results })
    })
    .await
}

async fn read_back(State(api): Api, Extension(peer): Peer, body: Body) -> Result<Response, Fault> {
    answer(&api, &peer, body, async |server: AuthenticatedSyncServer, Questions { objects }| {
        if objects.len() > LARGEST_BATCH {
            return Err(Fault::new(
                FaultCode::TooLarge,
                format!("at most {LARGEST_BATCH} objects are asked for at once"),
            ));
        }
        let objects = api.connector(&server).read_back(objects).await?;
        Ok(Answers { objects })
    })
    .await
}

async fn import(State(api): Api, Extension(peer): Peer, body: Body) -> Result<Response, Fault> {
    let server = api.admit(&peer).await?;
    let request: ImportRequest = read(body).await?;
    if let ImportMode::Delta { since } = &request.mode
        && let Some(number) = feed_number(since)
    {
        api.registry.note_feed_read(server.id, number).await?;
    }
    let stream = api.connector(&server).import(request).await?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let reading = Reading { api, server, sender };
        reading.run(stream).await;
    });
    let lines = futures::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|line: Bytes| (Ok::<_, Infallible>(line), receiver))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// A read under way: one page in hand, one line on its way, and nothing else in memory.
struct Reading {
    api: Arc<ConnectorApi>,
    server: AuthenticatedSyncServer,
    sender: mpsc::Sender<Bytes>,
}

/// Nobody takes the lines any more.
struct GivenUp;

impl Reading {
    async fn run(self, mut stream: Box<dyn ImportStream>) {
        // Whoever gave the read up needs no word of it.
        let _ = self.tell_all(&mut *stream).await;
    }

    async fn tell_all(&self, stream: &mut dyn ImportStream) -> Result<(), GivenUp> {
        loop {
            let next = stream.next_page().await;
            // A server that was revoked meanwhile gets no further page.
            let now = self.api.clock.now();
            let known = AuthenticatedSyncServer::known(&*self.api.registry, &self.server.fingerprint, now).await;
            let page = match (known, next) {
                (Err(refusal), _) => return self.tell(&ImportLine::Fault(refusal.into())).await,
                (Ok(_), Err(error)) => return self.tell(&ImportLine::Fault(error.into())).await,
                (Ok(_), Ok(None)) => return self.tell(&ImportLine::End(true)).await,
                (Ok(_), Ok(Some(page))) => page,
            };
            for piece in page.pieces(OBJECTS_PER_LINE) {
                self.tell(&ImportLine::Page(Box::new(piece))).await?;
            }
        }
    }

    async fn tell(&self, line: &ImportLine) -> Result<(), GivenUp> {
        let mut text = serde_json::to_vec(line).map_err(|error| {
            tracing::error!(%error, "a page of the tenant directory cannot be told");
            GivenUp
        })?;
        text.push(b'\n');
        self.sender.send_timeout(text.into(), STALLED).await.map_err(|_| GivenUp)
    }
}

/// Paths of other versions, and of none.
async fn elsewhere(State(api): Api, Extension(peer): Peer, OriginalUri(uri): OriginalUri) -> Result<Response, Fault> {
    api.admit(&peer).await?;
    let below = uri.path().strip_prefix(path::ROOT).unwrap_or_default();
    let version = below.split('/').next().and_then(|word| word.strip_prefix('v')?.parse::<u32>().ok());
    Err(match version {
        Some(version) if version != VERSION => Fault {
            versions: vec![VERSION],
            ..Fault::new(
                FaultCode::UnsupportedVersion,
                format!(
                    "this gateway speaks version {VERSION} of the connector API, not {version}: upgrade the older side"
                ),
            )
        },
        Some(_) | None => Fault::new(FaultCode::UnknownPath, "there is nothing here"),
    })
}

fn lost(epoch: i64) -> Fault {
    Fault::new(FaultCode::LeaseLost, format!("this server does not hold the engine lease under epoch {epoch}"))
}

fn event(kind: EventKind, server: AgentId) -> Event {
    Event::new(kind, Outcome::Success, Actor::System("sync-server".to_owned())).about(server)
}
