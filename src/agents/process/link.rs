//! One connection to a node: greeting, offers, go-aheads, probes, and an orderly end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use agent_proto::enrolment::CONNECT_PATH;
use agent_proto::{
    DeclineReason, GatewayNode, Incoming, MAX_MESSAGE, RequestId, Subject, ToAgent, ToGateway, Versions,
};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::SOFTWARE;
use super::checks::{Begun, Checks, Place};
use super::exchange::{Carrier, Exchanges};
use super::gateway_time::GatewayTime;
use super::identity::Identity;
use super::tls::{ConnectError, Dialler};
use crate::identity::{Timestamp, causes};
use crate::os;

type Socket = WebSocketStream<TlsStream<TcpStream>>;

const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// The gateway sends a heartbeat every second; without one for so long it is gone.
const SILENCE: Duration = Duration::from_secs(15);
const WRITE_DEADLINE: Duration = Duration::from_secs(10);
const OUTGOING: usize = 1024;
/// Parts of exchanges that wait to be written; few, because they are long.
const IN_TURN: usize = 2;
/// Nobody says go, nor withdraws, after so long: beyond any deadline of a check.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// After "no more offers", offers may still be under way for a moment: they are declined, not lost.
const LAST_OFFERS: Duration = Duration::from_millis(300);
/// Binds that were given up are read for half a minute.
const LONGEST_DRAIN: Duration = Duration::from_secs(35);

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("`{0}` is not the address of a node")]
    Url(String),
    #[error("the gateway refuses: {0}")]
    Refused(String),
    #[error("the connection broke")]
    Broken(#[source] Box<SocketError>),
    #[error("the gateway did not answer in time")]
    Deadline,
    #[error("the gateway closed the connection")]
    Closed,
    #[error("the gateway ends the connection: {0}")]
    Goodbye(String),
    #[error("the gateway sent what is no message")]
    Malformed(#[from] agent_proto::DecodeError),
    #[error("the gateway did not greet")]
    NoGreeting,
}

impl From<SocketError> for LinkError {
    fn from(error: SocketError) -> Self {
        match error {
            SocketError::Http(response) => {
                let body = response.body().as_deref().unwrap_or_default();
                let text = String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(300).collect();
                Self::Refused(text)
            }
            SocketError::ConnectionClosed | SocketError::AlreadyClosed => Self::Closed,
            other => Self::Broken(Box::new(other)),
        }
    }
}

/// A connection on which both have greeted.
pub struct Link {
    identity: Arc<Identity>,
    sink: SplitSink<Socket, Message>,
    stream: SplitStream<Socket>,
    time: GatewayTime,
    pub node: String,
}

impl Link {
    /// Connects to the node at `url`, and tells the nodes that it knows.
    pub async fn open(
        url: &str,
        identity: Arc<Identity>,
        (checks, carrier): (&Checks, Option<&dyn Carrier>),
        nodes: &watch::Sender<Vec<GatewayNode>>,
    ) -> Result<Self, LinkError> {
        let bad = || LinkError::Url(url.to_owned());
        let address: url::Url = url.parse().map_err(|_| bad())?;
        let stream = Dialler::of(&identity)?.connect(&address).await?;
        let host = &address[url::Position::BeforeHost..url::Position::AfterPort];
        let request = format!("wss://{host}{CONNECT_PATH}").into_client_request().map_err(|_| bad())?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE))
            .write_buffer_size(0);
        let greeting = async {
            let (socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
            let (mut sink, mut stream) = socket.split();
            let hello = ToGateway::Hello {
                versions: Versions::OURS,
                software: SOFTWARE.to_owned(),
                host: os::host_name(),
                capacity: u32::try_from(checks.capacity).unwrap_or(u32::MAX),
                carries: carrier.map(|carrier| carrier.carries().iter().map(ToString::to_string).collect()),
            };
            sink.send(Message::Binary(hello.encode().map_err(|_| LinkError::NoGreeting)?.into())).await?;
            let welcome = next(&mut stream).await?;
            Ok::<_, LinkError>((sink, stream, welcome))
        };
        let (sink, stream, welcome) =
            tokio::time::timeout(HANDSHAKE_DEADLINE, greeting).await.map_err(|_| LinkError::Deadline)??;
        match welcome {
            Incoming::Known(ToAgent::Welcome { node, time, nodes: all, .. }) => {
                let time = GatewayTime::first(Timestamp::from_millis(time), checks.clock.now(), Instant::now());
                learn(nodes, all);
                Ok(Self { identity, sink, stream, time, node })
            }
            Incoming::Known(ToAgent::Goodbye { reason }) => Err(LinkError::Goodbye(reason)),
            _ => Err(LinkError::NoGreeting),
        }
    }

    /// Serves the node until the connection ends, or until it has drained.
    pub async fn run(
        self,
        (checks, carrier): (Arc<Checks>, Option<Arc<dyn Carrier>>),
        nodes: watch::Sender<Vec<GatewayNode>>,
        drain: CancellationToken,
    ) -> Result<(), LinkError> {
        let Self { identity, sink, mut stream, time, node: _ } = self;
        let (outgoing, queue) = mpsc::channel(OUTGOING);
        let (in_turn, exchanges) = mpsc::channel(IN_TURN);
        let writer = tokio::spawn(write(sink, queue, exchanges));
        let mut work = Work {
            exchanges: Exchanges::new(identity.agent, carrier, in_turn),
            identity,
            checks,
            nodes,
            outgoing,
            time,
            accepted: HashMap::new(),
            tasks: TaskTracker::new(),
            draining: false,
        };
        let ended = work.serve(&mut stream, drain).await;
        // Those whose connection is gone end by themselves; their answers go nowhere.
        drop(work);
        if ended.is_ok() {
            // What is queued is written before the connection closes. A write that fails is the connection's end too.
            let _ = tokio::time::timeout(WRITE_DEADLINE, writer).await;
        } else {
            writer.abort();
        }
        ended
    }
}

/// What goes on over one connection.
struct Work {
    identity: Arc<Identity>,
    checks: Arc<Checks>,
    nodes: watch::Sender<Vec<GatewayNode>>,
    outgoing: mpsc::Sender<ToGateway>,
    time: GatewayTime,
    accepted: HashMap<RequestId, Accepted>,
    exchanges: Exchanges,
    tasks: TaskTracker,
    draining: bool,
}

/// A check that awaits its go-ahead.
struct Accepted {
    subject: Subject,
    expires_at: i64,
    since: Instant,
    place: Place,
}

impl Work {
    async fn serve(&mut self, stream: &mut SplitStream<Socket>, drain: CancellationToken) -> Result<(), LinkError> {
        let mut looks = tokio::time::interval(Duration::from_millis(100));
        let (mut heard, mut drained_since) = (Instant::now(), None::<Instant>);
        loop {
            tokio::select! {
                message = next(stream) => {
                    heard = Instant::now();
                    match message? {
                        Incoming::Known(message) => self.hear(message).await?,
                        Incoming::Unknown(kind) => {
                            tracing::debug!(kind, "a message of a later release is passed over");
                        }
                    }
                }
                () = drain.cancelled(), if !self.draining => {
                    self.draining = true;
                    drained_since = Some(Instant::now());
                    self.say(ToGateway::Draining).await;
                }
                _ = looks.tick() => {
                    if heard.elapsed() > SILENCE {
                        return Err(LinkError::Deadline);
                    }
                    self.accepted.retain(|_, accepted| accepted.since.elapsed() < FORGOTTEN);
                    if let Some(since) = drained_since {
                        let idle = self.accepted.is_empty() && self.tasks.is_empty() && since.elapsed() > LAST_OFFERS;
                        if idle || since.elapsed() > LONGEST_DRAIN {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    async fn hear(&mut self, message: ToAgent) -> Result<(), LinkError> {
        match message {
            ToAgent::Welcome { .. } => return Err(LinkError::NoGreeting),
            ToAgent::Goodbye { reason } => return Err(LinkError::Goodbye(reason)),
            ToAgent::Ping { sequence, time } => {
                self.time.hear(Timestamp::from_millis(time), self.checks.clock.now(), Instant::now());
                self.say(ToGateway::Pong { sequence }).await;
            }
            ToAgent::Offer { request, subject, expires_at } => {
                let said = match self.take(expires_at) {
                    Ok(place) => {
                        let accepted = Accepted { subject, expires_at, since: Instant::now(), place };
                        self.accepted.insert(request, accepted);
                        ToGateway::Accept { request }
                    }
                    Err(reason) => ToGateway::Decline { request, reason },
                };
                self.say(said).await;
            }
            ToAgent::Go { request, password, limit_ms } => {
                // One that was forgotten, or withdrawn by a gateway that then changed its mind, is not begun.
                let Some(Accepted { subject, expires_at, place, .. }) = self.accepted.remove(&request) else {
                    return Ok(());
                };
                let limit = Duration::from_millis(limit_ms.into());
                self.go(Begun { request, subject, expires_at, password, limit }, place).await;
            }
            ToAgent::Withdraw { request } => drop(self.accepted.remove(&request)),
            ToAgent::Probe { request } => {
                let (checks, outgoing) = (Arc::clone(&self.checks), self.outgoing.clone());
                self.tasks.spawn(async move {
                    let probed = checks.probe(request).await;
                    // The connection may be gone.
                    let _ = outgoing.send(ToGateway::Probed(probed)).await;
                });
            }
            ToAgent::Nodes { nodes } => learn(&self.nodes, nodes),
            ToAgent::Ask(part) => {
                let request = part.request;
                if let Err(reason) = self.exchanges.ask(part, self.draining, &self.tasks) {
                    self.say(ToGateway::Decline { request, reason }).await;
                }
            }
            ToAgent::Grant { request, parts } => self.exchanges.grant(request, parts),
            ToAgent::Abandon { request } => self.exchanges.abandon(request),
        }
        Ok(())
    }

    fn take(&self, expires_at: i64) -> Result<Place, DeclineReason> {
        if self.draining {
            return Err(DeclineReason::Draining);
        }
        if self.has_passed(expires_at) {
            return Err(DeclineReason::Expired);
        }
        self.checks.take().ok_or(DeclineReason::Full)
    }

    fn has_passed(&self, instant: i64) -> bool {
        self.time.has_passed(Timestamp::from_millis(instant), self.checks.clock.now(), Instant::now())
    }

    async fn go(&self, begun: Begun, place: Place) {
        if self.has_passed(begun.expires_at) {
            let answer = self.checks.expired(&self.identity, &begun);
            return self.say(ToGateway::Answer(answer)).await;
        }
        let (checks, identity, outgoing) =
            (Arc::clone(&self.checks), Arc::clone(&self.identity), self.outgoing.clone());
        self.tasks.spawn(async move { checks.run(&identity, begun, place, &outgoing).await });
    }

    async fn say(&self, message: ToGateway) {
        // The writer ends only with the connection, which the reader sees too.
        let _ = self.outgoing.send(message).await;
    }
}

fn learn(nodes: &watch::Sender<Vec<GatewayNode>>, all: Vec<GatewayNode>) {
    nodes.send_if_modified(|known| {
        // A node that has just started may not know itself yet.
        let changed = !all.is_empty() && *known != all;
        if changed {
            *known = all;
        }
        changed
    });
}

async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut queue: mpsc::Receiver<ToGateway>,
    mut exchanges: mpsc::Receiver<ToGateway>,
) {
    loop {
        let message = tokio::select! {
            // Nobody who signs in waits for a page of an import.
            biased;
            message = queue.recv() => match message {
                Some(message) => message,
                None => break,
            },
            Some(message) = exchanges.recv() => message,
        };
        let bytes = match message.encode() {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(%error, "a message to the gateway cannot be sent");
                continue;
            }
        };
        match tokio::time::timeout(WRITE_DEADLINE, sink.send(Message::Binary(bytes.into()))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return tracing::debug!(error = causes(&error), "a message to the gateway was not taken"),
            Err(_) => return,
        }
    }
    // The end of an orderly drain; the gateway may be gone first.
    let _ = tokio::time::timeout(WRITE_DEADLINE, sink.close()).await;
}

async fn next(stream: &mut SplitStream<Socket>) -> Result<Incoming<ToAgent>, LinkError> {
    loop {
        match stream.next().await.ok_or(LinkError::Closed)?? {
            Message::Binary(bytes) => return Ok(ToAgent::decode(&bytes)?),
            Message::Close(_) => return Err(LinkError::Closed),
            Message::Ping(_) | Message::Pong(_) | Message::Text(_) | Message::Frame(_) => {}
        }
    }
}
