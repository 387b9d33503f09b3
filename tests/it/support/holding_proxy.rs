//! A TCP proxy that can hold back whatever comes, as a network does that has stopped to deliver.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A running proxy; dropping it stops it from accepting.
pub struct HoldingProxy {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    way: Mutex<Way>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default)]
struct Way {
    held: bool,
    stopped: bool,
}

impl HoldingProxy {
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, super::ports::free_port())).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State::default());
        let accepting = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.way().stopped {
                    return;
                }
                // A server that is gone ends its client's connection.
                serve(client, server, &accepting).ok();
            }
        });
        Self { address, state }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Whether from now on nothing passes; what came meanwhile passes afterwards.
    pub fn hold(&self, held: bool) {
        self.state.way.lock().unwrap_or_else(PoisonError::into_inner).held = held;
        self.state.changed.notify_all();
    }
}

impl Drop for HoldingProxy {
    fn drop(&mut self) {
        self.state.way.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.state.changed.notify_all();
        // Wakes the accepting thread; if the listener is gone already, so is the thread.
        drop(TcpStream::connect(self.address));
    }
}

impl State {
    fn way(&self) -> Way {
        *self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something may pass.
    fn pass(&self) {
        let way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(way, |way| way.held && !way.stopped));
    }
}

fn serve(client: TcpStream, server: u16, state: &Arc<State>) -> std::io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    for (mut from, mut to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            let mut bytes = [0; 16 * 1024];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                state.pass();
                if to.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            // Ends with either side.
            to.shutdown(std::net::Shutdown::Both).ok();
        });
    }
    Ok(())
}
