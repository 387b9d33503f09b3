//! The wire side of the demonstration directory.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use ldap3_proto::LdapCodec;
use ldap3_proto::control::LdapControl;
use ldap3_proto::proto::{
    LdapBindCred, LdapBindResponse, LdapExtendedResponse, LdapMsg, LdapOp, LdapPartialAttribute, LdapResult,
    LdapResultCode, LdapSearchRequest, LdapSearchResultEntry, LdapSearchScope,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::codec::Framed;

use super::entries::{Entries, Entry};
use super::filter;
use crate::identity::DistinguishedName;

/// The running directory. Ends when dropped.
pub struct Directory {
    address: SocketAddr,
    switch: DirectorySwitch,
    task: tokio::task::JoinHandle<()>,
}

/// Cuts the directory off and puts it back: a cut one refuses connections and drops those that are open.
#[derive(Clone, Debug)]
pub struct DirectorySwitch(Arc<watch::Sender<bool>>);

impl DirectorySwitch {
    pub fn cut(&self) {
        self.0.send_replace(true);
    }

    pub fn restore(&self) {
        self.0.send_replace(false);
    }

    pub fn is_cut(&self) -> bool {
        *self.0.borrow()
    }
}

impl Directory {
    /// Listens on loopback with TLS.
    pub async fn start(entries: Entries, port: u16, tls: Arc<rustls::ServerConfig>) -> std::io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (sender, state) = watch::channel(false);
        let switch = DirectorySwitch(Arc::new(sender));
        let task = tokio::spawn(listen(listener, address, TlsAcceptor::from(tls), Arc::new(entries), state));
        Ok(Self { address, switch, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn switch(&self) -> DirectorySwitch {
        self.switch.clone()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(
    listener: TcpListener,
    address: SocketAddr,
    tls: TlsAcceptor,
    entries: Arc<Entries>,
    mut cut: watch::Receiver<bool>,
) {
    let mut open = Some(listener);
    loop {
        let Some(listener) = &open else {
            // Cut: nobody listens, so that a client sees what a dead server shows.
            if cut.wait_for(|cut| !cut).await.is_err() {
                return;
            }
            match TcpListener::bind(address).await {
                Ok(listener) => open = Some(listener),
                Err(error) => {
                    tracing::warn!(%error, "the demonstration directory cannot listen again yet");
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
            }
            continue;
        };
        let mut closing = cut.clone();
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                let (tls, entries, mut cut) = (tls.clone(), entries.clone(), cut.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = cut.wait_for(|cut| *cut) => {}
                        _ = converse(stream, tls, &entries) => {}
                    }
                });
            },
            waited = closing.wait_for(|cut| *cut) => {
                if waited.is_err() {
                    return;
                }
                open = None;
            }
        }
    }
}

async fn converse(stream: TcpStream, tls: TlsAcceptor, entries: &Entries) -> std::io::Result<()> {
    let stream = tls.accept(stream).await?;
    let mut wire = Framed::new(stream, LdapCodec::default());
    let mut who: Option<DistinguishedName> = None;
    while let Some(message) = wire.next().await {
        let LdapMsg { msgid, op, ctrl } = message?;
        let mut answers = Vec::new();
        match op {
            LdapOp::UnbindRequest => break,
            LdapOp::BindRequest(request) => {
                let code = bind(entries, &request.dn, &request.cred, &mut who);
                let op = LdapOp::BindResponse(LdapBindResponse { res: result(code), saslcreds: None });
                answers.push(LdapMsg { msgid, op, ctrl: Vec::new() });
            }
            LdapOp::SearchRequest(request) => answers = search(entries, msgid, &request, &ctrl, who.as_ref()),
            LdapOp::ExtendedRequest(request) if request.name == "1.3.6.1.4.1.4203.1.11.3" => {
                let name = who.as_ref().map_or_else(String::new, |dn| format!("dn:{dn}"));
                let res = result(LdapResultCode::Success);
                let op = LdapOp::ExtendedResponse(LdapExtendedResponse { res, name: None, value: Some(name.into()) });
                answers.push(LdapMsg { msgid, op, ctrl: Vec::new() });
            }
            LdapOp::AbandonRequest(_) => {}
            _ => {
                let res = result(LdapResultCode::UnwillingToPerform);
                let op = LdapOp::ExtendedResponse(LdapExtendedResponse { res, name: None, value: None });
                answers.push(LdapMsg { msgid, op, ctrl: Vec::new() });
            }
        }
        for answer in answers {
            wire.send(answer).await?;
        }
    }
    Ok(())
}

fn bind(entries: &Entries, dn: &str, credential: &LdapBindCred, who: &mut Option<DistinguishedName>) -> LdapResultCode {
    *who = None;
    let LdapBindCred::Simple(password) = credential else { return LdapResultCode::AuthMethodNotSupported };
    let Ok(dn) = dn.parse::<DistinguishedName>() else { return LdapResultCode::InvalidDNSyntax };
    match (dn.is_root(), password.is_empty()) {
        (true, true) => LdapResultCode::Success,
        // RFC 4513, section 5.1.2: an unauthenticated bind is refused, not taken for a success.
        (_, true) => LdapResultCode::UnwillingToPerform,
        (_, false) if entries.verify(&dn, password) => {
            *who = Some(dn);
            LdapResultCode::Success
        }
        (_, false) => LdapResultCode::InvalidCredentials,
    }
}

fn search(
    entries: &Entries,
    msgid: i32,
    request: &LdapSearchRequest,
    controls: &[LdapControl],
    who: Option<&DistinguishedName>,
) -> Vec<LdapMsg> {
    let done = |code, ctrl| LdapMsg { msgid, op: LdapOp::SearchResultDone(result(code)), ctrl };
    if who != Some(entries.service()) {
        return vec![done(LdapResultCode::InsufficentAccessRights, Vec::new())];
    }
    let Ok(base) = request.base.parse::<DistinguishedName>() else {
        return vec![done(LdapResultCode::InvalidDNSyntax, Vec::new())];
    };
    let in_scope = |entry: &&Entry| match request.scope {
        LdapSearchScope::Base => entry.dn == base,
        LdapSearchScope::OneLevel => entry.dn.parent().is_some_and(|parent| parent == base),
        LdapSearchScope::Subtree => entry.dn.is_within(&base),
        LdapSearchScope::Children => entry.dn.is_within(&base) && entry.dn != base,
    };
    let found: Vec<&Entry> =
        entries.iter().filter(in_scope).filter(|entry| filter::matches(&request.filter, entry)).collect();
    let page = controls.iter().find_map(|control| match control {
        LdapControl::SimplePagedResults { size, cookie } => Some((usize::try_from(*size).unwrap_or(0), cookie)),
        _ => None,
    });
    let (slice, ctrl) = match page {
        Some((size, cookie)) if size > 0 => {
            let from = std::str::from_utf8(cookie).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
            let slice: Vec<&Entry> = found.iter().skip(from).take(size).copied().collect();
            let next = from + slice.len();
            let cookie = if next < found.len() { next.to_string().into_bytes() } else { Vec::new() };
            (slice, vec![LdapControl::SimplePagedResults { size: 0, cookie }])
        }
        _ => (found, Vec::new()),
    };
    let mut answers: Vec<LdapMsg> = slice
        .into_iter()
        .map(|entry| LdapMsg { msgid, op: LdapOp::SearchResultEntry(select(entry, &request.attrs)), ctrl: Vec::new() })
        .collect();
    answers.push(done(LdapResultCode::Success, ctrl));
    answers
}

fn select(entry: &Entry, asked: &[String]) -> LdapSearchResultEntry {
    let all = asked.is_empty() || asked.iter().any(|name| name == "*");
    let wanted = |name: &str| all || asked.iter().any(|asked| asked.eq_ignore_ascii_case(name));
    let attributes = entry
        .attributes
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, values)| LdapPartialAttribute { atype: name.clone(), vals: values.clone() })
        .collect();
    LdapSearchResultEntry { dn: entry.dn.as_str().to_owned(), attributes }
}

fn result(code: LdapResultCode) -> LdapResult {
    LdapResult { code, matcheddn: String::new(), message: String::new(), referral: Vec::new() }
}
