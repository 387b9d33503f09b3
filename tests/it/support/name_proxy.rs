//! A CONNECT proxy for servers that must reach the tests' host names: every name ends at 127.0.0.1, on the port asked for.
//! TLS passes through untouched, so certificates are verified against the real name. Nothing leaves loopback.
//! (Chromium has `--host-resolver-rules` for this, reqwest has `resolve`; glibc has only /etc/hosts, which tests leave alone.)

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A running proxy; dropping it stops it from accepting.
pub struct NameProxy {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl NameProxy {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, super::ports::free_port())).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                // A tunnel that breaks is the peers' affair, as on any network.
                std::thread::spawn(move || serve(client).ok());
            }
        });
        Self { address, stopped }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for NameProxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // Wakes the accepting thread; if the listener is gone already, so is the thread.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(client: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut answer = client.try_clone()?;
    let target = request.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let Some(port) = target.and_then(|target| target.rsplit(':').next()?.parse::<u16>().ok()) else {
        return answer.write_all(b"HTTP/1.1 405 Only CONNECT\r\nContent-Length: 0\r\n\r\n");
    };
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return answer.write_all(b"HTTP/1.1 502 Refused\r\nContent-Length: 0\r\n\r\n");
    };
    answer.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    let (server_reader, client_writer) = (server.try_clone()?, client.try_clone()?);
    let back = std::thread::spawn(move || copy(server_reader, client_writer));
    let forth = copy(reader, server);
    back.join().expect("copying does not panic").and(forth)
}

fn copy(mut from: impl Read, mut to: TcpStream) -> std::io::Result<()> {
    std::io::copy(&mut from, &mut to)?;
    to.shutdown(Shutdown::Write)
}
