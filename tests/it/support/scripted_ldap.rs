//! An LDAP server that answers by a script, for what no real one does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use landbridge::ldap::{Connection, LdapError, ServerUrl, Trust};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::pki::Pki;
use super::process::temp_dir;

/// How a misbehaving server meets a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Ldaps,
    StartTls,
}

/// A server that answers the n-th request of a connection with whatever a function makes of its id and n.
pub struct Scripted {
    pub url: ServerUrl,
    pub trust: Trust,
    pub requests: Arc<AtomicUsize>,
}

type Script = Arc<dyn Fn(u8, usize) -> Vec<u8> + Send + Sync>;

impl Scripted {
    /// `before_tls` is the answer to StartTLS.
    pub async fn start(
        door: Door,
        before_tls: Vec<u8>,
        script: impl Fn(u8, usize) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let dir = temp_dir("scripted");
        let pki = Pki::new(dir.path());
        let acceptor = pki.server("scripted", &[]).acceptor();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (script, requests): (Script, _) = (Arc::new(script), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                let (acceptor, script, count, before_tls) =
                    (acceptor.clone(), Arc::clone(&script), Arc::clone(&count), before_tls.clone());
                tokio::spawn(async move {
                    if door == Door::StartTls {
                        let mut request = [0; 512];
                        if tcp.read(&mut request).await.is_err() || tcp.write_all(&before_tls).await.is_err() {
                            return;
                        }
                    }
                    if let Ok(tls) = acceptor.accept(tcp).await {
                        serve(tls, script, count).await;
                    }
                });
            }
        });
        let scheme = if door == Door::Ldaps { "ldaps" } else { "ldap" };
        let url = format!("{scheme}://localhost:{port}").parse().expect("an address");
        Self { url, trust: Trust::new(&[pki.ca_file()]).expect("the test CA"), requests }
    }

    pub async fn open(&self) -> Result<Connection, LdapError> {
        Connection::open(&self.url, &self.trust, Duration::from_secs(2)).await
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, script: Script, count: Arc<AtomicUsize>) {
    let mut request = vec![0; 65536];
    let mut nth = 0;
    while let Ok(1..) = stream.read(&mut request).await {
        // SEQUENCE header, then the id as an INTEGER of one octet.
        let header = if request[1] < 0x80 { 2 } else { 2 + usize::from(request[1] & 0x7f) };
        let answer = script(request[header + 2], nth);
        nth += 1;
        count.fetch_add(1, Ordering::SeqCst);
        if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag, 0x84];
    out.extend(u32::try_from(content.len()).expect("short").to_be_bytes());
    out.extend(content);
    out
}

pub fn message(id: u8, rest: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, &[vec![2, 1, id], rest.concat()].concat())
}

pub fn result(tag: u8, code: u8) -> Vec<u8> {
    element(tag, &[0x0a, 1, code, 4, 0, 4, 0])
}

pub fn entry(dn: &str) -> Vec<u8> {
    element(0x64, &[element(4, dn.as_bytes()), element(0x30, &[])].concat())
}

/// An entry with attributes of one value each.
pub fn entry_with(dn: &str, attributes: &[(&str, &[u8])]) -> Vec<u8> {
    let attribute = |(name, value): &(&str, &[u8])| {
        element(0x30, &[element(4, name.as_bytes()), element(0x31, &element(4, value))].concat())
    };
    let attributes: Vec<u8> = attributes.iter().flat_map(attribute).collect();
    element(0x64, &[element(4, dn.as_bytes()), element(0x30, &attributes)].concat())
}

/// The answer's control of DirSync (MS-ADTS, section 3.1.1.3.4.1.3).
pub fn dir_sync_control(more: bool, cookie: &[u8]) -> Vec<u8> {
    let value = element(0x30, &[vec![2, 1, u8::from(more), 2, 1, 0], element(4, cookie)].concat());
    element(0xa0, &element(0x30, &[element(4, b"1.2.840.113556.1.4.841"), element(4, &value)].concat()))
}

pub fn page_control(cookie: &[u8]) -> Vec<u8> {
    let value = element(0x30, &[vec![2, 1, 0], element(4, cookie)].concat());
    element(0xa0, &element(0x30, &[element(4, b"1.2.840.113556.1.4.319"), element(4, &value)].concat()))
}

pub const BIND: u8 = 0x61;
pub const DONE: u8 = 0x65;
pub const EXTENDED: u8 = 0x78;
