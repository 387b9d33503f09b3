//! Requests to the gateway: one connection each, outbound, to whichever node answers.
//!
//! A connection of its own per request costs one handshake for up to 500 changes, and leaves no doubt about what was sent
//! on a connection that its peer had already closed.

use std::sync::Arc;
use std::time::Duration;

use agent_proto::GatewayNode;
use arc_swap::ArcSwapOption;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::protocol::{Fault, LARGEST_LINE};
use crate::agents::process::{Dialler, Identity};
use crate::identity::causes;

/// For an answer, and for each line of an import.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// How the gateway is reached. Cheap to clone.
#[derive(Clone)]
pub struct GatewayLink {
    identity: watch::Receiver<Arc<Identity>>,
    nodes: Arc<watch::Sender<Vec<GatewayNode>>>,
    /// The node that answered last: nobody waits for a dead one twice.
    last: Arc<ArcSwapOption<String>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nothing was sent.
    #[error("no node of the gateway can be reached: {0}")]
    NotSent(String),
    /// It was sent; whether it was carried out is not known.
    #[error("the gateway's answer was lost: {0}")]
    Lost(String),
    /// The gateway says why it was not done.
    #[error("the gateway says: {}", .0.reason)]
    Told(Fault),
    #[error("the request cannot be put into words")]
    Unwritten(#[from] serde_json::Error),
}

impl GatewayLink {
    /// With the identity as it is renewed, and the nodes that are known.
    pub fn new(identity: watch::Receiver<Arc<Identity>>, nodes: Vec<GatewayNode>) -> Self {
        Self { identity, nodes: Arc::new(watch::Sender::new(nodes)), last: Arc::default() }
    }

    /// The nodes of the gateway, from now on.
    pub fn set_nodes(&self, nodes: Vec<GatewayNode>) {
        self.nodes.send_if_modified(|known| {
            let differ = !nodes.is_empty() && *known != nodes;
            if differ {
                *known = nodes;
            }
            differ
        });
    }

    pub fn nodes(&self) -> watch::Receiver<Vec<GatewayNode>> {
        self.nodes.subscribe()
    }

    /// Sends `question` to `path` and reads the answer.
    pub async fn ask<Q: Serialize, A: DeserializeOwned>(&self, path: &str, question: &Q) -> Result<A, CallError> {
        self.ask_in(path, serde_json::to_vec(question)?).await
    }

    /// The same with a body that is JSON already.
    pub async fn ask_in<A: DeserializeOwned>(&self, path: &str, body: Vec<u8>) -> Result<A, CallError> {
        let asked = async {
            let Answering { response, _connection } = self.send(path, body).await?;
            let bytes = Limited::new(response.into_body(), LARGEST_LINE).collect().await;
            bytes.map(|bytes| bytes.to_bytes()).map_err(|error| CallError::Lost(causes(&*error)))
        };
        let bytes = within(asked).await?;
        serde_json::from_slice(&bytes).map_err(|error| CallError::Lost(format!("it is not understood: {error}")))
    }

    /// Sends `question` to `path` and reads the answer line by line, as fast as the lines are taken.
    pub async fn read<Q: Serialize>(&self, path: &str, question: &Q) -> Result<Lines, CallError> {
        let answering = within(self.send(path, serde_json::to_vec(question)?)).await?;
        Ok(Lines { answering, buffer: Vec::new(), searched: 0 })
    }

    /// An answer's head; that of a refusal is read whole.
    async fn send(&self, path: &str, body: Vec<u8>) -> Result<Answering, CallError> {
        let (mut sender, connection, host) = self.connect().await?;
        let request = http::Request::post(path)
            .header(http::header::HOST, host)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| CallError::NotSent(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(|error| CallError::Lost(causes(&error)))?;
        if response.status().is_success() {
            return Ok(Answering { response, _connection: connection });
        }
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST_LINE).collect().await;
        let body = body.map_err(|error| CallError::Lost(causes(&*error)))?.to_bytes();
        match serde_json::from_slice(&body) {
            Ok(fault) => Err(CallError::Told(fault)),
            // A gateway without the connector API, or of a release that has other words.
            Err(_) => Err(CallError::Lost(format!("it answered {status} to {path}"))),
        }
    }

    async fn connect(&self) -> Result<(SendRequest<Full<Bytes>>, Connection, String), CallError> {
        let identity = self.identity.borrow().clone();
        let not_sent = |error: &(dyn std::error::Error + 'static)| CallError::NotSent(causes(error));
        let dialler = Dialler::of(&identity).map_err(|error| not_sent(&error))?;
        let mut urls: Vec<String> = self.nodes.borrow().iter().map(|node| node.url.clone()).collect();
        if !urls.contains(&identity.first_url) {
            urls.push(identity.first_url.clone());
        }
        let last = self.last.load_full();
        urls.sort_by_key(|url| last.as_deref() != Some(url));
        let mut failure = CallError::NotSent("no address is known".to_owned());
        for url in urls {
            let Ok(address) = url.parse::<url::Url>() else { continue };
            let stream = match dialler.connect(&address).await {
                Ok(stream) => stream,
                Err(error) => {
                    failure = not_sent(&error);
                    continue;
                }
            };
            match hyper::client::conn::http1::handshake(TokioIo::new(stream)).await {
                Ok((sender, connection)) => {
                    self.last.store(Some(Arc::new(url)));
                    let connection = AbortOnDropHandle::new(tokio::spawn(connection));
                    return Ok((sender, connection, address.host_str().unwrap_or_default().to_owned()));
                }
                Err(error) => failure = not_sent(&error),
            }
        }
        Err(failure)
    }
}

async fn within<T>(asked: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
    match tokio::time::timeout(ANSWER_DEADLINE, asked).await {
        Ok(answered) => answered,
        Err(_) => Err(CallError::Lost("it did not come in time".to_owned())),
    }
}

type Connection = AbortOnDropHandle<Result<(), hyper::Error>>;

struct Answering {
    response: http::Response<Incoming>,
    /// Ends with this.
    _connection: Connection,
}

/// The lines of an answer.
pub struct Lines {
    answering: Answering,
    buffer: Vec<u8>,
    /// How much of the buffer has no end of a line.
    searched: usize,
}

impl Lines {
    /// The next line, without its end; `None` when the answer ended behind a line.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, CallError> {
        within(self.next_in_time()).await
    }

    async fn next_in_time(&mut self) -> Result<Option<Vec<u8>>, CallError> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(self.searched + end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.searched > LARGEST_LINE {
                return Err(CallError::Lost(format!("a line is longer than {LARGEST_LINE} bytes")));
            }
            match self.answering.response.body_mut().frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.buffer.extend_from_slice(&bytes);
                    }
                }
                Some(Err(error)) => return Err(CallError::Lost(causes(&error))),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(CallError::Lost("the answer ended within a line".to_owned())),
            }
        }
    }
}
