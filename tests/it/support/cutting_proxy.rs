//! A TCP proxy that cuts a connection behind so many TLS records of the server: for LDAP over TLS, behind about as many
//! messages.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A running proxy; dropping it stops it from accepting.
pub struct CuttingProxy {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    stopped: AtomicBool,
    /// Records that pass before each connection is cut; 0: never.
    cut_behind: AtomicUsize,
    cuts: AtomicUsize,
}

impl CuttingProxy {
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, super::ports::free_port())).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State::default());
        let accepting = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.stopped.load(Ordering::Acquire) {
                    return;
                }
                let state = accepting.clone();
                // A connection that breaks is what this is for.
                std::thread::spawn(move || serve(client, server, &state).ok());
            }
        });
        Self { address, state }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on new connections are cut behind so many records of the server; 0: never.
    pub fn cut_behind(&self, records: usize) {
        self.state.cut_behind.store(records, Ordering::Release);
    }

    pub fn cuts(&self) -> usize {
        self.state.cuts.load(Ordering::Acquire)
    }
}

impl Drop for CuttingProxy {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Release);
        // Wakes the accepting thread; if the listener is gone already, so is the thread.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(client: TcpStream, server: u16, state: &State) -> std::io::Result<()> {
    let limit = state.cut_behind.load(Ordering::Acquire);
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        // Ends with either side.
        std::io::copy(&mut from_client, &mut to_server).ok();
        to_server.shutdown(Shutdown::Write).ok();
    });
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    let mut first = [0];
    from_server.peek(&mut first)?;
    if first == *b"S" {
        // PostgreSQL agrees to TLS with one letter before it.
        from_server.read_exact(&mut first)?;
        to_client.write_all(&first)?;
    }
    let mut records = 0;
    let ended = loop {
        let mut header = [0; 5];
        if let Err(error) = from_server.read_exact(&mut header) {
            break Err(error);
        }
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        from_server.read_exact(&mut body)?;
        if limit > 0 && records == limit {
            state.cuts.fetch_add(1, Ordering::AcqRel);
            break Ok(());
        }
        records += 1;
        to_client.write_all(&header)?;
        to_client.write_all(&body)?;
    };
    client.shutdown(Shutdown::Both).ok();
    server.shutdown(Shutdown::Both).ok();
    ended
}
