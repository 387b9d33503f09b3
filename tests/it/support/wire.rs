//! A wire to a server on loopback that can be cut and mended: while it is cut, bytes vanish and nobody is told, as when a cable
//! is pulled. What was cut ends when it is mended.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a relay looks whether it is cut.
const LOOK: Duration = Duration::from_millis(20);

/// A running wire; dropping it ends it.
pub struct Wire {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    stopped: AtomicBool,
    cut: AtomicBool,
}

impl State {
    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }
}

impl Wire {
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
                std::thread::spawn(move || connect(client, server, &state).ok());
            }
        });
        Self { address, state }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn cut(&self) {
        self.state.cut.store(true, Ordering::Release);
    }

    pub fn mend(&self) {
        self.state.cut.store(false, Ordering::Release);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Release);
        // Wakes the accepting thread; if the listener is gone already, so is the thread.
        drop(TcpStream::connect(self.address));
    }
}

fn connect(client: TcpStream, server: u16, state: &Arc<State>) -> std::io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    for end in [&client, &server] {
        end.set_nodelay(true)?;
        end.set_read_timeout(Some(LOOK))?;
    }
    let (from, to, other) = (client.try_clone()?, server.try_clone()?, state.clone());
    std::thread::spawn(move || relay(from, to, &other));
    relay(server, client, state);
    Ok(())
}

/// Carries bytes until one end is gone, or a cut is mended.
fn relay(mut from: TcpStream, mut to: TcpStream, state: &State) {
    let (mut buffer, mut was_cut) = ([0; 16_384], false);
    while !state.stopped.load(Ordering::Acquire) {
        if state.is_cut() {
            was_cut = true;
            std::thread::sleep(LOOK);
            continue;
        }
        if was_cut {
            break;
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            // What arrives in the very moment of a cut is lost with it.
            Ok(_) if state.is_cut() => {}
            Ok(read) if to.write_all(&buffer[..read]).is_ok() => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(_) | Err(_) => break,
        }
    }
    // Either may be gone already.
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}
