//! An agent that does what a test says: the wire without the agent's own code behind it.

use std::path::Path;
use std::time::Duration;

use agent_proto::enrolment::CONNECT_PATH;
use agent_proto::{Incoming, RequestId, Subject, ToAgent, ToGateway, Versions};
use futures::{SinkExt as _, StreamExt as _};
use landbridge::agents::process::{Dialler, Identity};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::world::World;

/// How long a test waits for the gateway's next word.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct FalseAgent {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    pub identity: Identity,
}

/// An offer that was accepted, with the password that came.
pub struct Gone {
    pub request: RequestId,
    pub subject: Subject,
    pub expires_at: i64,
    pub password: agent_proto::sealed::SealedPassword,
    /// The message as it was on the wire.
    pub bytes: Vec<u8>,
}

impl FalseAgent {
    /// Connects with the identity in `folder`, and greets.
    pub async fn connect(url: &str, folder: &Path) -> Self {
        let mut agent = Self::try_connect(url, folder).await.expect("connected");
        agent.greet(Versions::OURS).await;
        assert!(matches!(agent.hear().await, Some(ToAgent::Welcome { version: 2, .. })));
        agent
    }

    /// The refusal's text when the gateway does not take the identity.
    pub async fn try_connect(url: &str, folder: &Path) -> Result<Self, String> {
        let identity = World::identity(folder);
        let address: url::Url = url.parse().expect("an address");
        let stream = Dialler::of(&identity).expect("TLS").connect(&address).await.map_err(|e| format!("{e:?}"))?;
        let request =
            format!("{}{CONNECT_PATH}", url.replace("https", "wss")).into_client_request().expect("a request");
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(Self { socket, identity }),
            Err(Error::Http(response)) => {
                Err(String::from_utf8_lossy(response.body().as_deref().unwrap_or_default()).into_owned())
            }
            Err(other) => panic!("{other}"),
        }
    }

    pub async fn greet(&mut self, versions: Versions) {
        self.greet_as(versions, None).await;
    }

    /// Greets as one that carries work of the sync engine.
    pub async fn greet_as(&mut self, versions: Versions, carries: Option<&[&str]>) {
        let carries = carries.map(|words| words.iter().map(|word| (*word).to_owned()).collect());
        let (software, host) = ("false".to_owned(), "false".to_owned());
        self.say(&ToGateway::Hello { versions, software, host, capacity: 8, carries }).await;
    }

    pub async fn say(&mut self, message: &ToGateway) {
        self.say_bytes(message.encode().expect("fits")).await;
    }

    pub async fn say_bytes(&mut self, bytes: Vec<u8>) {
        // The gateway may have hung up; what follows notices.
        let _ = self.socket.send(Message::Binary(bytes.into())).await;
    }

    /// The next message but heartbeats, which are answered; `None` when the connection has ended.
    pub async fn hear(&mut self) -> Option<ToAgent> {
        self.hear_bytes().await.map(|(message, _)| message)
    }

    async fn hear_bytes(&mut self) -> Option<(ToAgent, Vec<u8>)> {
        tokio::time::timeout(PATIENCE, self.next_bytes()).await.expect("the gateway says something or hangs up")
    }

    async fn next_bytes(&mut self) -> Option<(ToAgent, Vec<u8>)> {
        loop {
            let bytes = match self.socket.next().await?.ok()? {
                Message::Binary(bytes) => bytes.to_vec(),
                Message::Close(_) => return None,
                _ => continue,
            };
            match ToAgent::decode(&bytes).expect("a message") {
                Incoming::Known(ToAgent::Ping { sequence, .. }) => self.say(&ToGateway::Pong { sequence }).await,
                Incoming::Known(ToAgent::Nodes { .. }) => {}
                Incoming::Known(message) => return Some((message, bytes)),
                Incoming::Unknown(kind) => panic!("kind {kind}"),
            }
        }
    }

    pub async fn offer(&mut self) -> (RequestId, Subject, i64) {
        match self.hear().await {
            Some(ToAgent::Offer { request, subject, expires_at }) => (request, subject, expires_at),
            other => panic!("no offer: {other:?}"),
        }
    }

    /// Accepts the next offer and takes the password.
    pub async fn accept(&mut self) -> Gone {
        let (request, subject, expires_at) = self.offer().await;
        self.say(&ToGateway::Accept { request }).await;
        match self.hear_bytes().await {
            Some((ToAgent::Go { request: of, password, .. }, bytes)) => {
                assert_eq!(of, request);
                Gone { request, subject, expires_at, password, bytes }
            }
            other => panic!("no go-ahead: {other:?}"),
        }
    }

    /// Whether nothing but heartbeats comes for a while.
    pub async fn hears_nothing(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(700), self.hear()).await.is_err()
    }
}
