//! Free loopback ports.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::Mutex;

/// Below Linux's range of ephemeral ports, so that no outgoing connection takes a port while its server is down.
const FIRST: u16 = 10_000;
const COUNT: u32 = 22_000;

static HANDED_OUT: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A TCP port of 127.0.0.1 that nobody listens on and that this process hands out once, so a server may return to it.
/// Processes start searching at different places.
pub fn free_port() -> u16 {
    let mut guard = HANDED_OUT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let taken = guard.get_or_insert_default();
    let start = std::process::id().wrapping_mul(7919) % COUNT;
    for step in 0..COUNT {
        let port = FIRST + u16::try_from((start + step) % COUNT).expect("below 22,000");
        if !taken.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            taken.insert(port);
            return port;
        }
    }
    panic!("no free port on 127.0.0.1");
}
