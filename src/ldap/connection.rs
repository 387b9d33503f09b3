//! One verified connection to one server, doing one operation at a time.

use std::io;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::bytes::{Buf as _, BytesMut};

use super::ber::{self, BerError};
use super::entry::Entry;
use super::error::LdapError;
use super::filter::Filter;
use super::paged::PagedSearch;
use super::password_policy::PolicyResponse;
use super::request::{self, Mode, Request};
use super::response::{Message, Outcome, Response};
use super::search::{Scope, Search};
use super::server_url::{Scheme, ServerUrl};
use super::trust::Trust;
use crate::identity::{DistinguishedName, PlainPassword};

/// The gateway's own account in a directory.
#[derive(Clone)]
pub struct ServiceAccount {
    pub dn: DistinguishedName,
    pub password: PlainPassword,
}

impl std::fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServiceAccount({})", self.dn.as_str())
    }
}

/// What a directory answered to a bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindAnswer {
    /// The LDAP result code (RFC 4511, appendix A); 0 is success.
    pub code: u32,
    pub diagnostic: String,
    /// The password-policy response, when the server sent one.
    pub policy: Option<PolicyResponse>,
}

/// A connection. Dropping it closes it. An operation that is given up, by its deadline or by dropping its future,
/// leaves the connection closed: its late answer could be taken for another's.
pub struct Connection {
    server: ServerUrl,
    stream: TlsStream<TcpStream>,
    buffer: BytesMut,
    last_id: u32,
    deadline: Duration,
    opened: Instant,
    usable: bool,
}

/// Largest message accepted: a group of 100,000 members with long names fits.
const MAX_MESSAGE: usize = 32 << 20;
/// Largest message accepted before TLS and for a bind or extended response, which carry a text at most.
const MAX_RESULT: usize = 64 << 10;
/// Most entries that an unpaged search collects.
const MAX_ENTRIES: usize = 10_000;
/// Most bytes of entries held at once, in a page or an unpaged search.
const MAX_COLLECTED: usize = 128 << 20;

/// Messages that are passed over while the answer to a bind is awaited.
const MAX_STRAY: usize = 8;

/// RFC 4511, appendix A.
const NO_SUCH_OBJECT: u32 = 32;
/// RFC 4511, appendix A: an error that no other result names.
const OTHER: u32 = 80;

/// The entries of one search request and how it ended.
#[derive(Default)]
pub(super) struct Collected {
    pub entries: Vec<Entry>,
    /// Names that are no distinguished names.
    pub unreadable: Vec<String>,
    pub cookie: Option<Vec<u8>>,
}

impl Connection {
    /// Connects, verifies the server, and sets `deadline` for every later call. The whole of name resolution,
    /// connecting and handshake must fit in `deadline` too.
    pub async fn open(server: &ServerUrl, trust: &Trust, deadline: Duration) -> Result<Self, LdapError> {
        let opening = Self::open_unbounded(server, trust, deadline);
        match tokio::time::timeout(deadline, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(LdapError::Deadline { server: server.clone(), doing: "connection attempt" }),
        }
    }

    async fn open_unbounded(server: &ServerUrl, trust: &Trust, deadline: Duration) -> Result<Self, LdapError> {
        let mut tcp = connect(server).await?;
        if server.scheme() == Scheme::StartTls {
            start_tls(server, &mut tcp).await?;
        }
        let stream = TlsConnector::from(trust.config())
            .connect(server.certificate_name(), tcp)
            .await
            .map_err(|source| LdapError::Tls { server: server.clone(), source })?;
        Ok(Self {
            server: server.clone(),
            stream,
            buffer: BytesMut::new(),
            last_id: 1,
            deadline,
            opened: Instant::now(),
            usable: true,
        })
    }

    pub fn server(&self) -> &ServerUrl {
        &self.server
    }

    /// How long the connection has been open.
    pub fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// The deadline of each call, from sending to the last byte of the answer (of a paged search: of a page).
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// Whether the connection can no longer be used: failed, given up in the middle, closed by the server, or with
    /// something unasked for in it (a notice of disconnection).
    pub fn is_closed(&mut self) -> bool {
        if self.usable {
            let mut byte = [0; 1];
            let mut peeked = ReadBuf::new(&mut byte);
            let poll =
                std::pin::Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut peeked);
            self.usable = poll.is_pending() && self.buffer.is_empty();
        }
        !self.usable
    }

    /// Binds as the service account.
    pub async fn bind(&mut self, account: &ServiceAccount) -> Result<(), LdapError> {
        let answer = self.bind_with(&account.dn, &account.password, false, "service bind").await?;
        if answer.code == 0 {
            return Ok(());
        }
        Err(LdapError::ServiceBind { server: self.server.clone(), code: answer.code, diagnostic: answer.diagnostic })
    }

    /// Tries `dn` with `password` and asks for the password-policy response.
    pub async fn simple_bind(
        &mut self,
        dn: &DistinguishedName,
        password: &PlainPassword,
    ) -> Result<BindAnswer, LdapError> {
        self.bind_with(dn, password, true, "bind").await
    }

    async fn bind_with(
        &mut self,
        dn: &DistinguishedName,
        password: &PlainPassword,
        ask_policy: bool,
        doing: &'static str,
    ) -> Result<BindAnswer, LdapError> {
        // INVARIANT: no bind without a name and a password leaves: the server would take it for an anonymous or an
        // unauthenticated one and answer success (RFC 4513, section 5.1). `PlainPassword` is never empty.
        if dn.is_root() || password.expose().is_empty() {
            return Err(LdapError::Closed { server: self.server.clone() });
        }
        let id = self.next_id();
        let request = request::simple_bind(id, dn.as_str(), password.expose(), ask_policy);
        let answered = self.bounded(doing, async |connection| {
            connection.send(request, doing).await?;
            for _ in 0..=MAX_STRAY {
                let message = connection.receive(id, MAX_RESULT, doing).await?;
                match message.response {
                    Response::Bind(Outcome { code, diagnostic }) => {
                        return Ok(BindAnswer { code, diagnostic, policy: PolicyResponse::find(&message.controls) });
                    }
                    // slapd's overlay retcode lets an entry of its own look-up slip out before the answer.
                    Response::Entry(_) | Response::Reference | Response::Intermediate { .. } => {}
                    Response::SearchDone(_) | Response::Written(_) | Response::Extended(_) => break,
                }
            }
            Err(connection.malformed(doing, BerError("not the answer to a bind")))
        });
        match answered.await {
            // The server answered. What it said may have been a no, and a no that cannot be read must not become an outage
            // that a backup stands in for (design D4); the connection stays closed.
            Err(LdapError::Malformed { source, .. }) => {
                Ok(BindAnswer { code: OTHER, diagnostic: source.to_string(), policy: None })
            }
            answered => answered,
        }
    }

    /// Searches without paging, up to 10,000 entries; a result other than 0 is an error, also for a base that does
    /// not exist.
    pub async fn search(&mut self, search: Search) -> Result<Vec<Entry>, LdapError> {
        let collected = self.collect(&search, MAX_ENTRIES, Mode::Plain).await?;
        if collected.unreadable.is_empty() {
            return Ok(collected.entries);
        }
        Err(self.malformed("search", BerError("an entry whose name is no distinguished name")))
    }

    /// Reads one entry; `None` when it does not exist.
    pub async fn read(&mut self, dn: &DistinguishedName, attributes: Vec<String>) -> Result<Option<Entry>, LdapError> {
        let search = Search { base: dn.clone(), scope: Scope::Base, filter: Filter::any(), attributes };
        match self.search(search).await {
            Ok(entries) => Ok(entries.into_iter().next()),
            Err(LdapError::SearchRefused { code: NO_SUCH_OBJECT, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Searches in pages of at most `page_size` entries (RFC 2696).
    pub fn search_paged(&mut self, search: Search, page_size: u32) -> PagedSearch<'_> {
        PagedSearch::new(self, search, page_size)
    }

    /// One search request and all that answers it.
    pub(super) async fn collect(
        &mut self,
        search: &Search,
        max_entries: usize,
        mode: Mode<'_>,
    ) -> Result<Collected, LdapError> {
        const DOING: &str = "search";
        let id = self.next_id();
        let request = request::search(id, search, 0, mode);
        self.bounded(DOING, async |connection| {
            connection.send(request, DOING).await?;
            let mut collected = Collected::default();
            let mut bytes = 0;
            let mut reference = false;
            loop {
                let (message, size) = connection.receive_sized(id, MAX_MESSAGE, DOING).await?;
                let cookie = message.page_cookie();
                match message.response {
                    Response::Entry(entry) => {
                        bytes += size;
                        if collected.entries.len() + collected.unreadable.len() == max_entries {
                            return Err(connection.too_much(DOING, "entries"));
                        }
                        if bytes > MAX_COLLECTED {
                            return Err(connection.too_much(DOING, "bytes"));
                        }
                        match entry {
                            Ok(entry) => collected.entries.push(entry),
                            Err(name) => collected.unreadable.push(name),
                        }
                    }
                    Response::Reference => reference = true,
                    Response::SearchDone(outcome) => {
                        connection.judge(outcome, reference)?;
                        collected.cookie = cookie.map_err(|error| connection.malformed(DOING, error))?;
                        return Ok(collected);
                    }
                    Response::Intermediate { .. } => {}
                    Response::Bind(_) | Response::Written(_) | Response::Extended(_) => {
                        return Err(connection.malformed(DOING, BerError("not the answer to a search")));
                    }
                }
            }
        })
        .await
    }

    /// Sends what changes an entry, and reads the answer, whatever it says.
    pub(super) async fn written(
        &mut self,
        request: impl FnOnce(u32) -> Request,
        doing: &'static str,
    ) -> Result<Outcome, LdapError> {
        let id = self.next_id();
        let request = request(id);
        self.bounded(doing, async |connection| {
            connection.send(request, doing).await?;
            let message = connection.receive(id, MAX_RESULT, doing).await?;
            match message.response {
                Response::Written(outcome) => Ok(outcome),
                Response::Bind(_)
                | Response::Entry(_)
                | Response::Reference
                | Response::SearchDone(_)
                | Response::Extended(_)
                | Response::Intermediate { .. } => {
                    Err(connection.malformed(doing, BerError("not the answer to a change")))
                }
            }
        })
        .await
    }

    /// Begins an operation whose answer comes in many messages, read by [`Self::proceed`]. Until [`Self::finish`] the
    /// connection counts as given up.
    pub(super) async fn begin(
        &mut self,
        request: impl FnOnce(u32) -> Request,
        doing: &'static str,
    ) -> Result<u32, LdapError> {
        let id = self.next_id();
        let request = request(id);
        self.bounded(doing, async |connection| connection.send(request, doing).await).await?;
        self.usable = false;
        Ok(id)
    }

    /// The next message of the operation begun as `id`, within the deadline.
    pub(super) async fn proceed(&mut self, id: u32, doing: &'static str) -> Result<Message, LdapError> {
        match tokio::time::timeout(self.deadline, self.receive(id, MAX_MESSAGE, doing)).await {
            Ok(received) => received,
            Err(_) => Err(LdapError::Deadline { server: self.server.clone(), doing }),
        }
    }

    /// The operation has ended by its last message.
    pub(super) fn finish(&mut self) {
        self.usable = true;
    }

    /// Whether a finished search was read to its end.
    pub(super) fn judge(&self, outcome: Outcome, reference: bool) -> Result<(), LdapError> {
        let server = self.server.clone();
        let aborted = |code, why| Err(LdapError::Aborted { server: server.clone(), code, why });
        match outcome.code {
            0 if reference => aborted(0, "part of the answer lies on another server (continuation reference)"),
            0 => Ok(()),
            3 => aborted(3, "its time limit is reached"),
            4 => aborted(4, "its size limit is reached"),
            10 => aborted(10, "it refers to another server"),
            11 => aborted(11, "its administrative limit is reached"),
            code => Err(LdapError::SearchRefused { server, code, diagnostic: outcome.diagnostic }),
        }
    }

    fn next_id(&mut self) -> u32 {
        self.last_id = if self.last_id >= i32::MAX as u32 { 1 } else { self.last_id + 1 };
        self.last_id
    }

    /// Runs one operation within the deadline. The connection is usable again only when the operation has ended by
    /// an answer; an error of the wire, an expired deadline and a dropped future all leave it closed.
    async fn bounded<T>(
        &mut self,
        doing: &'static str,
        operation: impl AsyncFnOnce(&mut Self) -> Result<T, LdapError>,
    ) -> Result<T, LdapError> {
        if !self.usable {
            return Err(LdapError::Closed { server: self.server.clone() });
        }
        self.usable = false;
        let deadline = self.deadline;
        let done = match tokio::time::timeout(deadline, operation(self)).await {
            Ok(done) => done,
            Err(_) => return Err(LdapError::Deadline { server: self.server.clone(), doing }),
        };
        self.usable = matches!(done, Ok(_) | Err(LdapError::SearchRefused { .. } | LdapError::Aborted { .. }));
        done
    }

    async fn send(&mut self, request: Request, doing: &'static str) -> Result<(), LdapError> {
        let sent = async {
            self.stream.write_all(&request).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|source| self.lost(doing, Some(source)))
    }

    async fn receive(&mut self, id: u32, limit: usize, doing: &'static str) -> Result<Message, LdapError> {
        self.receive_sized(id, limit, doing).await.map(|(message, _)| message)
    }

    /// The next message for request `id`, and its size in bytes.
    async fn receive_sized(
        &mut self,
        id: u32,
        limit: usize,
        doing: &'static str,
    ) -> Result<(Message, usize), LdapError> {
        let (message, size) = match receive(&mut self.stream, &mut self.buffer, limit).await {
            Ok(received) => received,
            Err(Broken::Io(source)) => return Err(self.lost(doing, Some(source))),
            Err(Broken::End) => return Err(self.lost(doing, None)),
            Err(Broken::Ber(source)) => return Err(self.malformed(doing, source)),
        };
        match message.id {
            // A notice of disconnection (RFC 4511, section 4.4.1), the only notification there is.
            0 => Err(self.lost(doing, None)),
            found if found == id => Ok((message, size)),
            _ => Err(self.malformed(doing, BerError("an answer to another request"))),
        }
    }

    fn lost(&self, doing: &'static str, source: Option<io::Error>) -> LdapError {
        LdapError::ConnectionLost { server: self.server.clone(), doing, source }
    }

    pub(super) fn malformed(&self, doing: &'static str, source: BerError) -> LdapError {
        LdapError::Malformed { server: self.server.clone(), doing, source }
    }

    fn too_much(&self, doing: &'static str, what: &'static str) -> LdapError {
        LdapError::TooMuch { server: self.server.clone(), doing, what }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("server", &self.server).field("usable", &self.usable).finish_non_exhaustive()
    }
}

enum Broken {
    Io(io::Error),
    End,
    Ber(BerError),
}

/// Reads one message; `buffer` keeps what follows it.
async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    limit: usize,
) -> Result<(Message, usize), Broken> {
    loop {
        if let Some(size) = ber::message_size(buffer, limit).map_err(Broken::Ber)?
            && buffer.len() >= size
        {
            let message = Message::read(&buffer[..size]).map_err(Broken::Ber)?;
            buffer.advance(size);
            return Ok((message, size));
        }
        match stream.read_buf(buffer).await {
            Ok(0) => return Err(Broken::End),
            Ok(_) => {}
            Err(source) => return Err(Broken::Io(source)),
        }
    }
}

async fn connect(server: &ServerUrl) -> Result<TcpStream, LdapError> {
    let unresolved = |source| LdapError::NameResolution { server: server.clone(), source };
    let addresses = tokio::net::lookup_host((server.host(), server.port())).await.map_err(unresolved)?;
    let mut refused = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // One small request and its answer at a time: waiting to fill packets only adds delay.
                stream.set_nodelay(true).map_err(|source| LdapError::Connect { server: server.clone(), source })?;
                return Ok(stream);
            }
            Err(source) => refused = Some(source),
        }
    }
    Err(match refused {
        Some(source) => LdapError::Connect { server: server.clone(), source },
        None => unresolved(io::Error::new(io::ErrorKind::NotFound, "no address")),
    })
}

/// Asks for TLS (RFC 4511, section 4.14). Nothing that came in the clear behind the answer is kept: it could be an
/// intruder's answer to what will be asked under TLS.
async fn start_tls(server: &ServerUrl, tcp: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), LdapError> {
    const DOING: &str = "StartTLS request";
    let lost = |source| LdapError::ConnectionLost { server: server.clone(), doing: DOING, source };
    let malformed = |source| LdapError::Malformed { server: server.clone(), doing: DOING, source };
    tcp.write_all(&request::start_tls(1)).await.map_err(|source| lost(Some(source)))?;
    let mut buffer = BytesMut::new();
    let (message, _) = match receive(tcp, &mut buffer, MAX_RESULT).await {
        Ok(received) => received,
        Err(Broken::Io(source)) => return Err(lost(Some(source))),
        Err(Broken::End) => return Err(lost(None)),
        Err(Broken::Ber(source)) => return Err(malformed(source)),
    };
    match message.response {
        Response::Extended(Outcome { code: 0, .. }) if message.id == 1 && buffer.is_empty() => Ok(()),
        Response::Extended(Outcome { code: 0, .. }) => Err(malformed(BerError("more than an answer before TLS"))),
        Response::Extended(Outcome { code, diagnostic }) => {
            Err(LdapError::StartTlsRefused { server: server.clone(), code, diagnostic })
        }
        _ => Err(malformed(BerError("not the answer to StartTLS"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>(_: T) {}

    /// A server with verified TLS that answers whatever comes with `answer`, and a connection to it.
    async fn answering(answer: &'static [u8]) -> (tempfile::TempDir, Connection) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, made.cert.pem()).expect("the certificate is written");
        let key = rustls_pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .expect("a server");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.expect("a client");
            let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
            let mut tls = acceptor.accept(tcp).await.expect("a handshake");
            let mut request = [0; 1024];
            let _ = tls.read(&mut request).await.expect("a request");
            tls.write_all(answer).await.expect("an answer is sent");
            tls.flush().await.expect("an answer is sent");
            // Open until the client goes: only what was answered counts.
            let _ = tls.read(&mut request).await;
        });
        let server = format!("ldaps://localhost:{port}").parse().expect("an address");
        let trust = Trust::new(&[ca]).expect("a trust");
        let connection = Connection::open(&server, &trust, Duration::from_secs(5)).await.expect("verified TLS");
        (folder, connection)
    }

    #[tokio::test]
    async fn an_answer_to_a_bind_that_cannot_be_read_is_a_refusal_and_no_outage() {
        let answers: [&'static [u8]; 5] = [
            // Result 49 with an octet behind the last field of the message.
            &[0x30, 0x0e, 2, 1, 2, 0x61, 7, 0x0a, 1, 49, 4, 0, 4, 0, 5, 0],
            // A result code below zero.
            &[0x30, 0x0c, 2, 1, 2, 0x61, 7, 0x0a, 1, 0xff, 4, 0, 4, 0],
            // The answer to another request.
            &[0x30, 0x0c, 2, 1, 7, 0x61, 7, 0x0a, 1, 0, 4, 0, 4, 0],
            // The answer to another kind of request.
            &[0x30, 0x0c, 2, 1, 2, 0x65, 7, 0x0a, 1, 0, 4, 0, 4, 0],
            // Not LDAP.
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
        ];
        let dn = "uid=ada,dc=example".parse().expect("a name");
        let password = PlainPassword::new("right".to_owned()).expect("fits");
        for answer in answers {
            let (_folder, mut connection) = answering(answer).await;
            let answered = connection.simple_bind(&dn, &password).await.expect("an answer");
            assert_eq!((answered.code, answered.policy), (80, None), "{answer:02x?}");
            assert!(connection.is_closed());
        }
        // Fewer octets than a message has are no answer.
        let (_folder, mut connection) = answering(&[0x30]).await;
        connection.set_deadline(Duration::from_millis(100));
        assert!(matches!(connection.simple_bind(&dn, &password).await, Err(LdapError::Deadline { .. })));
    }

    #[test]
    fn operations_can_run_on_any_thread() {
        // Never run, only type-checked: tasks own connections.
        let _ = |mut connection: Connection, account: ServiceAccount, search: Search| {
            is_send(async move {
                connection.bind(&account).await?;
                connection.simple_bind(&account.dn, &account.password).await?;
                connection.search(search.clone()).await?;
                connection.search_paged(search, 10).next_page().await
            });
        };
    }
}
