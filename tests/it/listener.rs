//! The public edge on loopback, below HTTP's meaning: who gets a place, who is cut, how connections end. A second client
//! comes from another /24 of the loopback network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use landbridge::app::tls;
use landbridge::limits::{Limits, Places};
use landbridge::listener::{self, Arrival, Doors, open_files};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

use crate::support::pki::Pki;
use crate::support::process::temp_dir;
use crate::support::wait::wait_until_async;

const CROWD: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1));
/// More than any deadline of the listener, with room for a busy machine.
const LONG: Duration = Duration::from_secs(60);
/// A good deal less than the deadline of a handshake.
const AT_ONCE: Duration = Duration::from_secs(8);

struct Edge {
    address: SocketAddr,
    connector: TlsConnector,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Edge {
    async fn open(limits: Limits, balancers: &[IpAddr]) -> Self {
        Self::lingering(limits, balancers, Duration::ZERO).await
    }

    async fn lingering(limits: Limits, balancers: &[IpAddr], linger: Duration) -> Self {
        tls::install_provider();
        let dir = temp_dir("listener");
        let pki = Pki::new(dir.path());
        let certificate = pki.server("edge", &[]);
        let server = tls::server(&certificate.cert_file, &certificate.key_file).expect("a certificate");
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("bound");
        let doors = Doors {
            name: "test",
            socket,
            acceptor: TlsAcceptor::from(server),
            places: Places::new(limits),
            networks: true,
            balancers: balancers.into(),
            linger,
            drain: Duration::from_secs(30),
        };
        let where_from = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() };
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            "done"
        };
        let router = Router::new().route("/where", get(where_from)).route("/slow", get(slow));
        let answer = move |arrival: Arrival, leaving| {
            let peer = ConnectInfo(arrival.peer);
            listener::serve(arrival, router.clone(), peer, leaving)
        };
        let stop = CancellationToken::new();
        let served = tokio::spawn(doors.serve(answer, stop.clone()));
        let mut roots = rustls::RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(pki.ca_pem().as_bytes()).expect("a certificate");
        roots.add(ca).expect("an authority");
        let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Self { address, connector: TlsConnector::from(Arc::new(client)), stop, served, _dir: dir }
    }

    async fn connect(&self, from: IpAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(from, 0)).expect("a loopback address");
        socket.connect(self.address).await.expect("the kernel accepts")
    }

    async fn shake(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.connector.connect(ServerName::try_from("localhost").expect("a name"), stream).await
    }

    /// The body of `path`, if the listener answers a client at `from`.
    async fn ask(&self, from: IpAddr, path: &str) -> Option<String> {
        let tls = self.shake(self.connect(from).await).await.ok()?;
        request(tls, path).await
    }
}

async fn request(mut tls: TlsStream<TcpStream>, path: &str) -> Option<String> {
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    tls.write_all(head.as_bytes()).await.ok()?;
    let mut answer = String::new();
    timeout(LONG, tls.read_to_string(&mut answer)).await.expect("an answer or an end").ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

/// Resolves when the peer has closed the connection.
async fn closed(stream: &mut (impl tokio::io::AsyncRead + Unpin)) {
    let mut bytes = [0; 1024];
    while matches!(stream.read(&mut bytes).await, Ok(1..)) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_silent_connections_of_one_network_keep_nobody_else_out_and_are_cut() {
    assert!(open_files::raise() > 3 * 2_000, "the system lets a test open too few files");
    let edge = Edge::open(Limits { all: 1_000, per_network: 250 }, &[]).await;
    let mut crowd = Vec::new();
    for _ in 0..2_000 {
        crowd.push(edge.connect(CROWD).await);
    }
    let other = timeout(AT_ONCE, edge.ask(OTHER, "/where")).await.expect("at once");
    assert_eq!(other.as_deref(), Some("127.0.1.1"));
    // Whoever shares the network with them waits until the silent ones are cut, though they never leave by themselves.
    let answered = wait_until_async("a place of the network", LONG, async || edge.ask(CROWD, "/where").await).await;
    assert_eq!(answered, "127.0.0.1");
    for mut stream in crowd {
        timeout(LONG, closed(&mut stream)).await.expect("cut");
    }
}

#[tokio::test]
async fn a_client_that_drips_its_request_or_idles_is_cut() {
    let edge = Edge::open(Limits { all: 10, per_network: 10 }, &[]).await;
    let mut dripping = edge.shake(edge.connect(CROWD).await).await.expect("a handshake");
    let mut idle = edge.shake(edge.connect(CROWD).await).await.expect("a handshake");
    dripping.write_all(b"GET /where HTTP/1.1\r\nhost: localhost\r\n").await.expect("sent");
    let dripped = async {
        for _ in 0..LONG.as_secs() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if dripping.write_all(b"x: y\r\n").await.is_err() {
                return true;
            }
        }
        false
    };
    let (cut, idled) = tokio::join!(dripped, timeout(LONG, closed(&mut idle)));
    assert!(cut && idled.is_ok());
}

#[tokio::test]
async fn the_stop_finishes_what_is_asked_and_takes_nothing_more() {
    let edge = Edge::open(Limits { all: 10, per_network: 10 }, &[]).await;
    let mut idle = edge.shake(edge.connect(CROWD).await).await.expect("a handshake");
    let slow = edge.shake(edge.connect(CROWD).await).await.expect("a handshake");
    let stop = async {
        // The request is on its way, and takes two seconds.
        tokio::time::sleep(Duration::from_millis(500)).await;
        edge.stop.cancel();
    };
    let (answered, ()) = tokio::join!(request(slow, "/slow"), stop);
    assert_eq!(answered.as_deref(), Some("done"));
    timeout(LONG, closed(&mut idle)).await.expect("idle connections end");
    timeout(LONG, edge.served).await.expect("it ends").expect("in order");
    assert!(TcpStream::connect(edge.address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn who_comes_while_balancers_do_not_know_of_the_stop_is_answered_once() {
    let linger = Duration::from_secs(3);
    let edge = Edge::lingering(Limits { all: 10, per_network: 10 }, &[], linger).await;
    let waiting = edge.shake(edge.connect(CROWD).await).await.expect("a handshake");
    let mut idle = edge.shake(edge.connect(CROWD).await).await.expect("a handshake");
    edge.stop.cancel();
    assert_eq!(edge.ask(CROWD, "/where").await.as_deref(), Some("127.0.0.1"), "let in after the stop");
    assert_eq!(request(waiting, "/where").await.as_deref(), Some("127.0.0.1"), "open since before it");
    idle.write_all(b"GET /where HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    timeout(LONG, idle.read_to_string(&mut answer)).await.expect("closed after the answer").expect("an answer");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "told to ask elsewhere: {answer}");
    timeout(LONG, edge.served).await.expect("it ends").expect("in order");
    assert!(TcpStream::connect(edge.address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn http2_is_spoken_where_it_is_agreed_and_carries_many_requests() {
    let edge = Edge::open(Limits { all: 10, per_network: 10 }, &[]).await;
    let mut config = (**edge.connector.config()).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").expect("a name");
    let tls = connector.connect(name, edge.connect(OTHER).await).await.expect("a handshake");
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls));
    let (sender, connection) = handshake.await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let asked = (0..20).map(|_| {
        let mut sender = sender.clone();
        async move {
            let request = http::Request::get("https://localhost/where").body(String::new()).expect("a request");
            let answer = sender.send_request(request).await.expect("an answer");
            answer.into_body().collect().await.expect("a body").to_bytes()
        }
    });
    for body in futures::future::join_all(asked).await {
        assert_eq!(&body[..], b"127.0.1.1");
    }
    edge.stop.cancel();
    timeout(LONG, connection).await.expect("told to go away").expect("a task").expect("in order");
    timeout(LONG, edge.served).await.expect("it ends").expect("in order");
}

#[tokio::test]
async fn a_balancer_says_whom_it_speaks_for_and_nobody_else_may() {
    let edge = Edge::open(Limits { all: 10, per_network: 1 }, &[CROWD]).await;
    let header = |third: u8| {
        let addresses = [192, 0, third, 7, 127, 0, 0, 1, 0xc0, 0x01, 0x01, 0xbb];
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &addresses].concat()
    };
    let through = async |third| {
        let mut stream = edge.connect(CROWD).await;
        stream.write_all(&header(third)).await.expect("sent");
        edge.shake(stream).await
    };
    let held = through(2).await.expect("a handshake");
    assert!(through(2).await.is_err(), "the network behind the balancer has its share");
    let other = through(3).await.expect("another network behind it");
    assert_eq!(request(other, "/where").await.as_deref(), Some("192.0.3.7"));
    assert_eq!(request(held, "/where").await.as_deref(), Some("192.0.2.7"));
    assert!(edge.ask(CROWD, "/where").await.is_none(), "a balancer without a header");
    assert_eq!(edge.ask(OTHER, "/where").await.as_deref(), Some("127.0.1.1"), "a client that is none");
    let mut forged = edge.connect(OTHER).await;
    forged.write_all(&header(4)).await.expect("sent");
    assert!(edge.shake(forged).await.is_err(), "a header of somebody who is no balancer");
}
