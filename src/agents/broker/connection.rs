//! An agent's WebSocket, from the greeting to the end.

use std::sync::Arc;
use std::time::Duration;

use agent_proto::{Incoming, MAX_MESSAGE, ToAgent, ToGateway, Versions};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::admission::AuthenticatedAgent;
use super::exchange;
use super::link::{Greeting, Link, OUTGOING, Queues};
use super::room::{Broker, Foreign, Room};
use crate::identity::{causes, shown};

/// Between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Heartbeats without a sign of life after which an agent counts as silent, and after which its connection ends.
const BEATS_UNTIL_SILENT: u32 = 3;
const BEATS_UNTIL_CLOSED: u32 = 15;
const GREETING_DEADLINE: Duration = Duration::from_secs(5);
/// An agent that takes no bytes for so long is gone.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);
/// Most checks that an agent may ask for at once.
const MAX_CAPACITY: u32 = 4096;

/// Limits of the WebSocket.
pub fn limited(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE).write_buffer_size(0)
}

#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the agent closed the connection")]
    ByAgent,
    #[error("the connection broke")]
    Broken(#[from] axum::Error),
    #[error("the agent did not greet")]
    NoGreeting,
    #[error("{}", no_language(*.0))]
    Version(Versions),
    #[error("the agent sent what is no message")]
    Malformed(#[from] agent_proto::DecodeError),
    #[error("the agent does not keep to the protocol")]
    Violation(#[from] super::link::Violation),
    #[error("the connection was ended: {0}")]
    ByGateway(String),
}

/// Which of the two is to be upgraded.
fn no_language(agent: Versions) -> String {
    let ours = Versions::OURS;
    let remedy = if agent.oldest > ours.newest { "upgrade the gateway" } else { "upgrade the agent" };
    let Versions { oldest, newest } = agent;
    format!(
        "the agent speaks versions {oldest} to {newest} of the protocol, the gateway {} to {}: {remedy}",
        ours.oldest, ours.newest
    )
}

impl Broker {
    /// Serves a connection to its end.
    pub(super) async fn serve(&self, socket: WebSocket, agent: AuthenticatedAgent) {
        let id = agent.agent().id;
        let (mut sink, mut stream) = socket.split();
        let ended = match self.greet(&mut stream, &agent).await {
            Ok((link, outgoing)) => {
                tracing::info!(agent.id = %id, connector = %link.connector, host = link.host, software = link.software, "an agent is connected");
                self.0.add(Arc::clone(&link));
                let ended = run(&self.0, &link, sink, stream, outgoing).await;
                if let Ended::Violation(_) | Ended::Malformed(_) = &ended {
                    link.shut(&ended.to_string());
                }
                link.abandon();
                self.0.remove(&link);
                ended
            }
            Err(ended) => {
                if let Ended::Version(_) = &ended {
                    send(&mut sink, &ToAgent::Goodbye { reason: ended.to_string() }).await;
                }
                ended
            }
        };
        match &ended {
            Ended::Violation(_) | Ended::Malformed(_) => {
                metrics::counter!("landbridge_agent_violations_total").increment(1);
                tracing::error!(agent.id = %id, error = causes(&ended), "an agent's connection was ended");
            }
            Ended::Version(_) | Ended::NoGreeting => {
                tracing::warn!(agent.id = %id, error = causes(&ended), "an agent could not be connected");
            }
            Ended::ByAgent | Ended::Broken(_) | Ended::ByGateway(_) => {
                tracing::info!(agent.id = %id, error = causes(&ended), "an agent's connection has ended");
            }
        }
    }

    async fn greet(
        &self,
        stream: &mut SplitStream<WebSocket>,
        agent: &AuthenticatedAgent,
    ) -> Result<(Arc<Link>, Waiting), Ended> {
        let hello = tokio::time::timeout(GREETING_DEADLINE, next(stream)).await.map_err(|_| Ended::NoGreeting)??;
        let Incoming::Known(ToGateway::Hello { versions, software, host, capacity, carries }) = hello else {
            return Err(Ended::NoGreeting);
        };
        let room = &self.0;
        let now = room.clock.now();
        let (software, host) = (shown(&software, LONGEST_NAME), shown(&host, LONGEST_NAME));
        let Some(version) = Versions::OURS.agree(versions) else {
            let (connector, reason) = (agent.connector().clone(), no_language(versions));
            room.foreign().insert(agent.agent().id, Foreign { connector, host, reason });
            return Err(Ended::Version(versions));
        };
        let (id, fingerprint) = (agent.agent().id, &agent.certificate().fingerprint);
        if let Err(error) = room.registry.connected(id, fingerprint, &host, &software, now).await {
            // The agent is authenticated; that its connection is not noted makes it no worse.
            tracing::warn!(agent.id = %id, error = causes(&error), "an agent's connection could not be noted");
        }
        let (sender, outgoing) = mpsc::channel(OUTGOING);
        let welcome = ToAgent::Welcome {
            version,
            node: room.node.to_string(),
            time: now.millis(),
            heartbeat_ms: u32::try_from(HEARTBEAT.as_millis()).unwrap_or(u32::MAX),
            nodes: room.nodes.borrow().clone(),
        };
        // The channel is new and has room.
        let _ = sender.try_send(welcome);
        let capacity = usize::try_from(capacity.clamp(1, MAX_CAPACITY)).unwrap_or(1);
        // Words of a later release are none that this one asks for.
        let carries = carries.unwrap_or_default().iter().filter_map(|word| word.parse().ok()).collect();
        let greeting = Greeting { host, software, capacity, version, carries, connected_at: now };
        let (in_turn, exchanges) = exchange::queue();
        let queues = Queues { outgoing: sender, in_turn };
        let link = Link::new(room.next_number(), agent, greeting, queues, Arc::clone(&room.changed));
        Ok((Arc::new(link), Waiting { outgoing, exchanges }))
    }
}

/// Messages that wait to be written.
struct Waiting {
    outgoing: mpsc::Receiver<ToAgent>,
    /// Parts of exchanges: written when nothing else is to be.
    exchanges: mpsc::Receiver<ToAgent>,
}

async fn run(
    room: &Room,
    link: &Link,
    mut sink: SplitSink<WebSocket, Message>,
    mut stream: SplitStream<WebSocket>,
    Waiting { mut outgoing, mut exchanges }: Waiting,
) -> Ended {
    let read = async {
        loop {
            match next(&mut stream).await {
                Ok(Incoming::Known(message)) => {
                    if let Err(violation) = link.hear(message) {
                        return Ended::Violation(violation);
                    }
                }
                Ok(Incoming::Unknown(kind)) => {
                    tracing::debug!(agent.id = %link.agent, kind, "a message of a later release is passed over");
                }
                Err(ended) => return ended,
            }
        }
    };
    let write = async {
        let mut beats = tokio::time::interval(HEARTBEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut nodes = room.nodes.subscribe();
        let (mut sequence, mut unheard) = (0, 0);
        loop {
            let message = tokio::select! {
                biased;
                reason = link.closed() => {
                    send(&mut sink, &ToAgent::Goodbye { reason: reason.clone() }).await;
                    return Ended::ByGateway(reason);
                }
                Some(message) = outgoing.recv() => message,
                Ok(()) = nodes.changed() => ToAgent::Nodes { nodes: nodes.borrow_and_update().clone() },
                _ = beats.tick() => {
                    unheard = if link.was_heard() { 0 } else { unheard + 1 };
                    if unheard >= BEATS_UNTIL_CLOSED {
                        return Ended::ByGateway("the agent gave no sign of life".to_owned());
                    }
                    if unheard >= BEATS_UNTIL_SILENT {
                        link.mark_silent();
                    }
                    sequence += 1;
                    ToAgent::Ping { sequence, time: room.clock.now().millis() }
                }
                Some(message) = exchanges.recv() => message,
            };
            if !send(&mut sink, &message).await {
                return Ended::ByGateway("the agent takes no messages".to_owned());
            }
        }
    };
    tokio::select! {
        ended = read => ended,
        ended = write => ended,
    }
}

async fn next(stream: &mut SplitStream<WebSocket>) -> Result<Incoming<ToGateway>, Ended> {
    loop {
        match stream.next().await.ok_or(Ended::ByAgent)?? {
            Message::Binary(bytes) => return Ok(ToGateway::decode(&bytes)?),
            Message::Close(_) => return Err(Ended::ByAgent),
            Message::Ping(_) | Message::Pong(_) | Message::Text(_) => {}
        }
    }
}

/// Whether the message was taken.
async fn send(sink: &mut SplitSink<WebSocket, Message>, message: &ToAgent) -> bool {
    let bytes = match message.encode() {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::error!(%error, "a message to an agent cannot be sent");
            return true;
        }
    };
    let sent = tokio::time::timeout(WRITE_DEADLINE, sink.send(Message::Binary(bytes.into()))).await;
    matches!(sent, Ok(Ok(())))
}

/// Characters of what a machine or a release calls itself.
pub const LONGEST_NAME: usize = 100;
