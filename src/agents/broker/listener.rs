//! The listener that agents reach: TLS 1.3 that asks for a certificate, ended here in `serve`.
//!
//! The handshake verifies that a shown certificate is of our authority and that its key is held. Whether it still counts
//! is decided per route (`admission`), because renewal takes one that has ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::FromDer as _;

use super::authority::{AgentAuthority, AuthorityError, SERVER_LIFETIME};
use super::routes::{self, Gate};
use crate::identity::{Clock, causes};
use crate::limits::{Limits, Places};
use crate::listener::{Arrival, Doors, HEAD_DEADLINE};

/// Connections at once, those that are still in their handshake among them. Agents are few; many may share a network.
const PLACES: Limits = Limits { all: 1024, per_network: 512 };

/// The certificate that the peer showed and whose key it holds.
#[derive(Clone, Debug)]
pub struct PeerCertificate(Option<CertificateDer<'static>>);

impl PeerCertificate {
    pub fn der(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    #[error("the agents' listener has no certificate")]
    Authority(#[from] AuthorityError),
    #[error("the agents' listener cannot do TLS")]
    Tls(#[from] rustls::Error),
    #[error("the agents' listener cannot verify certificates")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    #[error("the gateway cannot listen for agents on {address}")]
    Listen { address: SocketAddr, source: std::io::Error },
}

/// A bound listener.
pub struct Listener {
    socket: TcpListener,
    acceptor: TlsAcceptor,
    identity: Arc<OwnIdentity>,
    authority: Arc<AgentAuthority>,
    clock: Arc<dyn Clock>,
    host: String,
}

impl Listener {
    /// Listens on `address`; `host` is the name by which agents reach it.
    pub async fn bind(
        address: SocketAddr,
        host: &str,
        authority: Arc<AgentAuthority>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ListenerError> {
        let identity = Arc::new(OwnIdentity(ArcSwap::new(authority.server_identity(host, clock.now())?)));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = AgentVerifier::new(authority.certificate().clone(), &provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(identity.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A resumed session would carry the certificate of an earlier handshake.
        config.send_tls13_tickets = 0;
        let socket = TcpListener::bind(address).await.map_err(|source| ListenerError::Listen { address, source })?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { socket, acceptor, identity, authority, clock, host: host.to_owned() })
    }

    /// Serves agents until `stop`, and whoever the routes of `besides` are for. Returns when what agents had been asked is
    /// answered.
    pub async fn serve(self, gate: Arc<Gate>, besides: Router, stop: CancellationToken) {
        let broker = gate.broker.clone();
        let router = routes::router(gate).merge(besides);
        let Self { socket, acceptor, identity, authority, clock, host } = self;
        let doors = Doors {
            linger: Duration::ZERO,
            name: "agents",
            socket,
            acceptor,
            places: Places::new(PLACES),
            networks: true,
            balancers: Arc::new([]),
            drain: Duration::ZERO,
        };
        let served = doors.serve(move |arrival, _| answer(arrival, router.clone()), stop);
        let renewed = async {
            let mut renewal = tokio::time::interval(SERVER_LIFETIME / 2);
            loop {
                renewal.tick().await;
                match authority.server_identity(&host, clock.now()) {
                    Ok(new) => identity.0.store(new),
                    Err(error) => {
                        tracing::error!(error = causes(&error), "the certificate for agents could not be renewed");
                    }
                }
            }
        };
        tokio::select! {
            () = served => {}
            () = renewed => {}
        }
        broker.leave().await;
    }
}

async fn answer(Arrival { tls, .. }: Arrival, router: Router) {
    let shown = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let peer = PeerCertificate(shown.map(|certificate| certificate.clone().into_owned()));
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE);
    if let Err(error) = http.serve_connection(TokioIo::new(tls), service).with_upgrades().await {
        tracing::debug!(%error, "a connection at the agents' listener ended");
    }
}

/// The node's present certificate.
#[derive(Debug)]
struct OwnIdentity(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for OwnIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Verifies that a certificate is of our authority and meant for clients, at the time of its beginning: whether it has
/// ended since is not decided here.
#[derive(Debug)]
struct AgentVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl AgentVerifier {
    fn new(authority: CertificateDer<'static>, provider: &Arc<CryptoProvider>) -> Result<Self, ListenerError> {
        let mut roots = RootCertStore::empty();
        roots.add(authority)?;
        let chain =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).allow_unauthenticated();
        Ok(Self { chain: chain.build()?, algorithms: provider.signature_verification_algorithms })
    }
}

impl ClientCertVerifier for AgentVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let bad = || rustls::Error::InvalidCertificate(CertificateError::BadEncoding);
        let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(end_entity).map_err(|_| bad())?;
        let begins = u64::try_from(parsed.validity().not_before.timestamp()).map_err(|_| bad())?;
        self.chain.verify_client_cert(end_entity, &[], UnixTime::since_unix_epoch(Duration::from_secs(begins)))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
