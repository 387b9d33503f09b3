//! The accept loop that every TLS listener shares.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::http::{HEAD_DEADLINE, Leaving};
use super::proxy_header;
use crate::identity::Network;
use crate::limits::{Full, Place, Places, Seldom};

/// A pause after a connection could not be accepted, such as for want of open files: some will be closed meanwhile.
const BREATH: Duration = Duration::from_millis(100);
/// How often a log line tells that connections are turned away. Each one is counted.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// A connection whose handshake is done.
pub struct Arrival {
    pub tls: TlsStream<TcpStream>,
    pub peer: SocketAddr,
}

/// A bound listener and whom it lets in.
pub struct Doors {
    /// In logs and metrics.
    pub name: &'static str,
    pub socket: TcpListener,
    pub acceptor: TlsAcceptor,
    pub places: Places,
    /// Whether a peer's address says which network it is in.
    pub networks: bool,
    /// Balancers, which tell by the PROXY protocol whom they speak for.
    pub balancers: Arc<[IpAddr]>,
    /// How long connections are still let in after the stop, so that nobody is refused before the balancers know of it.
    pub linger: Duration,
    /// How long connections may take to end after that.
    pub drain: Duration,
}

/// How one connection is let in.
#[derive(Clone)]
struct Door {
    name: &'static str,
    acceptor: TlsAcceptor,
    networks: bool,
    balancers: Arc<[IpAddr]>,
    /// Tells the log that connections are turned away.
    told: Arc<Seldom>,
}

impl Doors {
    /// Gives each connection to `answer`, until `stop` and as long after it as `linger` says. What answers is told of the
    /// stop, and is cut off when the time for it is over.
    pub async fn serve<A, F>(self, answer: A, stop: CancellationToken)
    where
        A: Fn(Arrival, Leaving) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { name, socket, acceptor, places, networks, balancers, linger, drain } = self;
        let door = Door { name, acceptor, networks, balancers, told: Arc::new(Seldom::new(TELL_EVERY)) };
        let (connections, closed, cut) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        let leaving = Leaving { stop: stop.clone(), linger };
        let mut close = pin!(async {
            stop.cancelled().await;
            tokio::time::sleep(linger).await;
        });
        loop {
            let accepted = tokio::select! {
                () = close.as_mut() => break,
                accepted = socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, listener = name, "a connection could not be accepted");
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            };
            let place = match places.take(door.network(peer)) {
                Ok(place) => place,
                Err(full) => {
                    door.turned_away(full, peer);
                    continue;
                }
            };
            let (door, answer, leaving) = (door.clone(), answer.clone(), leaving.clone());
            let (closed, cut) = (closed.clone(), cut.clone());
            connections.spawn(async move {
                let knocked = tokio::select! {
                    knocked = tokio::time::timeout(HEAD_DEADLINE, door.knock(stream, peer, place)) => knocked,
                    () = closed.cancelled() => return,
                };
                let Ok(Some((arrival, _place))) = knocked else { return };
                tokio::select! {
                    () = answer(arrival, leaving) => {}
                    () = cut.cancelled() => {}
                }
            });
        }
        drop(socket);
        // Handshakes that are under way have had the time to end.
        closed.cancel();
        connections.close();
        if tokio::time::timeout(drain, connections.wait()).await.is_err() {
            cut.cancel();
            connections.wait().await;
        }
    }
}

impl Door {
    /// The network that the connection counts for, as far as its address tells.
    fn network(&self, peer: SocketAddr) -> Option<Network> {
        (self.networks && !self.is_balancer(peer)).then(|| Network::of(peer.ip()))
    }

    fn is_balancer(&self, peer: SocketAddr) -> bool {
        self.balancers.contains(&peer.ip().to_canonical())
    }

    async fn knock(&self, mut stream: TcpStream, peer: SocketAddr, mut place: Place) -> Option<(Arrival, Place)> {
        // Small messages that somebody waits for; a socket that refuses the option works all the same.
        let _ = stream.set_nodelay(true);
        let mut from = peer;
        if self.is_balancer(peer) {
            match proxy_header::read(&mut stream).await {
                Ok(source) => from = source.unwrap_or(peer),
                Err(error) => {
                    if self.told.now(Instant::now()) {
                        tracing::warn!(%error, listener = self.name, %peer, "a balancer's connection was refused");
                    }
                    return None;
                }
            }
            if self.networks
                && from != peer
                && let Err(full) = place.count_for(Network::of(from.ip()))
            {
                self.turned_away(full, from);
                return None;
            }
        }
        match self.acceptor.accept(stream).await {
            Ok(tls) => Some((Arrival { tls, peer: from }, place)),
            Err(error) => {
                tracing::debug!(%error, listener = self.name, "a handshake failed");
                None
            }
        }
    }

    fn turned_away(&self, full: Full, peer: SocketAddr) {
        metrics::counter!("landbridge_connections_refused_total", "listener" => self.name, "limit" => full.code())
            .increment(1);
        if self.told.now(Instant::now()) {
            let network = Network::of(peer.ip());
            tracing::warn!(listener = self.name, %network, reason = %full, "connections are turned away");
        }
    }
}
