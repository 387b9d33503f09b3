//! A relay between a client and its server that notes how long the server took: what a client would wait that does nothing
//! but receive the same replies.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A relay of one connection, in which each request waits for its reply.
pub struct Relay {
    port: u16,
    serving: JoinHandle<Duration>,
}

/// The exchange under way, and all before it.
struct Exchanges {
    asked: Instant,
    answered: Option<Instant>,
    waited: Duration,
}

const CHUNK: usize = 64 << 10;

impl Relay {
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let serving = std::thread::spawn(move || {
            let (client, _) = listener.accept().expect("a client");
            serve(client, TcpStream::connect(server).expect("the server listens"))
        });
        Self { port, serving }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From the last byte of each request to the last byte of its reply, all together; once the client has hung up.
    pub fn waited(self) -> Duration {
        self.serving.join().expect("no panic")
    }
}

fn serve(client: TcpStream, server: TcpStream) -> Duration {
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a connected stream");
    }
    let started = Exchanges { asked: Instant::now(), answered: None, waited: Duration::ZERO };
    let exchanges = Arc::new(Mutex::new(started));
    // What the client does with a reply does not hold up the server, which may go on with it.
    let (sender, replies) = mpsc::channel::<Vec<u8>>();
    let mut to_client = client.try_clone().expect("a stream");
    let writing = std::thread::spawn(move || replies.into_iter().try_for_each(|reply| to_client.write_all(&reply)));
    let (mut from_server, noted) = (server.try_clone().expect("a stream"), exchanges.clone());
    let reading = std::thread::spawn(move || {
        each_chunk(&mut from_server, |chunk| {
            noted.lock().expect("no panic").answered = Some(Instant::now());
            sender.send(chunk.to_vec()).is_ok()
        });
    });
    let (mut from_client, mut to_server) = (client, server);
    each_chunk(&mut from_client, |chunk| {
        let sent = to_server.write_all(chunk).is_ok();
        let mut exchanges = exchanges.lock().expect("no panic");
        exchanges.end();
        exchanges.asked = Instant::now();
        sent
    });
    to_server.shutdown(std::net::Shutdown::Both).ok();
    reading.join().expect("no panic");
    // The client has what it wanted, or hung up before.
    writing.join().expect("no panic").ok();
    let mut exchanges = exchanges.lock().expect("no panic");
    exchanges.end();
    exchanges.waited
}

fn each_chunk(stream: &mut TcpStream, mut take: impl FnMut(&[u8]) -> bool) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(length @ 1..) = stream.read(&mut chunk) {
        if !take(&chunk[..length]) {
            return;
        }
    }
}

impl Exchanges {
    fn end(&mut self) {
        if let Some(answered) = self.answered.take() {
            self.waited += answered.saturating_duration_since(self.asked);
        }
    }
}
