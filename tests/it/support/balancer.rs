//! A plain TCP balancer, as it stands before several nodes: it ends no TLS, gives connections to the nodes in turn, and begins
//! each with a header of the PROXY protocol, version 2. It asks every node for `/readyz`, and goes to another one when a
//! node takes no connection.
//!
//! Clients that come to another address of the loopback network are told to the nodes as another network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Where the balancer's own connections come from: what belongs into `gateway.proxy_protocol_from`.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const CHECK_EVERY: Duration = Duration::from_millis(100);
const CHECK_DEADLINE: Duration = Duration::from_secs(3);

/// A running balancer; dropping it ends it.
pub struct Balancer {
    port: u16,
    nodes: Arc<Nodes>,
    runtime: Option<tokio::runtime::Runtime>,
}

struct Nodes {
    all: Vec<Node>,
    next: AtomicUsize,
}

struct Node {
    port: u16,
    ready: AtomicBool,
    given: AtomicUsize,
}

/// The loopback address by which clients of the network number `network` reach a balancer.
pub const fn door(network: u8) -> [u8; 4] {
    [127, 0, 0, 10 + network]
}

/// The network that the nodes see clients of [`door`] come from.
pub fn network(number: u8) -> String {
    format!("203.0.{}.0/24", 10 + number)
}

impl Balancer {
    /// Balances between nodes that listen on `ports`, and asks them with `http` whether they are ready. `host` is the
    /// name in their certificate, `networks` how many networks of clients there are besides that of 127.0.0.1.
    pub fn start(port: u16, ports: &[u16], host: &str, http: reqwest::Client, networks: u8) -> Self {
        let node = |port: &u16| Node { port: *port, ready: AtomicBool::new(true), given: AtomicUsize::new(0) };
        let nodes = Arc::new(Nodes { all: ports.iter().map(node).collect(), next: AtomicUsize::new(0) });
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
        let doors = (1..=networks).map(door).chain([[127, 0, 0, 1]]);
        for address in doors {
            let bound = std::net::TcpListener::bind(SocketAddr::from((address, port))).expect("a loopback address");
            bound.set_nonblocking(true).expect("own socket");
            runtime.spawn(accept(bound, nodes.clone()));
        }
        for index in 0..nodes.all.len() {
            let url = format!("https://{host}:{}/readyz", nodes.all[index].port);
            runtime.spawn(check(nodes.clone(), index, url, http.clone()));
        }
        Self { port, nodes, runtime: Some(runtime) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections each node was given.
    pub fn given(&self) -> Vec<usize> {
        self.nodes.all.iter().map(|node| node.given.load(Ordering::Acquire)).collect()
    }

    /// Whether the balancer sends people to the node.
    pub fn is_ready(&self, node: usize) -> bool {
        self.nodes.all[node].ready.load(Ordering::Acquire)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // Tests drop it where nothing may block.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn check(nodes: Arc<Nodes>, index: usize, url: String, http: reqwest::Client) {
    loop {
        let answer = tokio::time::timeout(CHECK_DEADLINE, http.get(&url).send()).await;
        let ready = matches!(answer, Ok(Ok(answer)) if answer.status() == 200);
        nodes.all[index].ready.store(ready, Ordering::Release);
        tokio::time::sleep(CHECK_EVERY).await;
    }
}

async fn accept(listener: std::net::TcpListener, nodes: Arc<Nodes>) {
    let listener = TcpListener::from_std(listener).expect("own socket");
    loop {
        let Ok((client, peer)) = listener.accept().await else { continue };
        // A connection that breaks is its client's concern.
        tokio::spawn({
            let nodes = nodes.clone();
            async move { carry(client, peer, &nodes).await.ok() }
        });
    }
}

async fn carry(mut client: TcpStream, peer: SocketAddr, nodes: &Nodes) -> std::io::Result<()> {
    let IpAddr::V4(door) = client.local_addr()?.ip() else { return Ok(()) };
    client.set_nodelay(true)?;
    let mut server = nodes.connect().await?;
    server.set_nodelay(true)?;
    let [_, _, _, last] = door.octets();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([203, 0, last, 7]);
    header.extend(ADDRESS.octets());
    header.extend(peer.port().to_be_bytes());
    header.extend(443_u16.to_be_bytes());
    server.write_all(&header).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

impl Nodes {
    /// A connection to the node whose turn it is; those that are not ready have none, unless no other takes one.
    async fn connect(&self) -> std::io::Result<TcpStream> {
        let turn = self.next.fetch_add(1, Ordering::AcqRel);
        let in_turn = || (0..self.all.len()).map(|step| &self.all[(turn + step) % self.all.len()]);
        let (ready, others): (Vec<_>, Vec<_>) = in_turn().partition(|node| node.ready.load(Ordering::Acquire));
        let mut last = std::io::Error::other("there is no node");
        for node in ready.into_iter().chain(others) {
            match connect_from_own_address(node.port).await {
                Ok(connection) => {
                    node.given.fetch_add(1, Ordering::AcqRel);
                    return Ok(connection);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

async fn connect_from_own_address(port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((ADDRESS, 0).into())?;
    socket.connect((Ipv4Addr::LOCALHOST, port).into()).await
}
