//! TLS to the gateway: its authority is known by the pin of the enrolment token, and by nothing else.

use std::sync::Arc;

use agent_proto::SpkiPin;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::FromDer as _;

use super::identity::Identity;

/// For name, connection and handshake together.
const CONNECT_DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("`{0}` is not the https address of a node")]
    Url(String),
    #[error("{0} cannot be reached")]
    Reach(String, #[source] std::io::Error),
    #[error("{0} did not answer in time")]
    Deadline(String),
    #[error("TLS cannot be set up")]
    Tls(#[from] Error),
}

/// How connections to the gateway are made.
#[derive(Clone)]
pub struct Dialler(TlsConnector);

impl Dialler {
    /// Without a certificate of its own: for enrolment.
    pub fn anonymous(pin: SpkiPin) -> Result<Self, ConnectError> {
        Ok(Self::with(builder(pin)?.with_no_client_auth()))
    }

    pub fn of(identity: &Identity) -> Result<Self, ConnectError> {
        let chain = vec![identity.certificate.clone()];
        Ok(Self::with(builder(identity.pin)?.with_client_auth_cert(chain, identity.keys.tls())?))
    }

    fn with(mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Self(TlsConnector::from(Arc::new(config)))
    }

    pub async fn connect(&self, address: &url::Url) -> Result<TlsStream<TcpStream>, ConnectError> {
        let bad = || ConnectError::Url(address.to_string());
        let host = address.host_str().filter(|_| address.scheme() == "https").ok_or_else(bad)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = address.port_or_known_default().ok_or_else(bad)?;
        let name = ServerName::try_from(host.clone()).map_err(|_| bad())?;
        let connecting = async {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            self.0.connect(name, stream).await
        };
        match tokio::time::timeout(CONNECT_DEADLINE, connecting).await {
            Ok(connected) => connected.map_err(|source| ConnectError::Reach(address.to_string(), source)),
            Err(_) => Err(ConnectError::Deadline(address.to_string())),
        }
    }
}

fn builder(pin: SpkiPin) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, ConnectError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = PinnedAuthority { pin, provider: provider.clone() };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier)))
}

/// Chain, name and time are verified as ever; the one trust anchor is the certificate with the pinned key that the
/// server sends along.
#[derive(Debug)]
struct PinnedAuthority {
    pin: SpkiPin,
    provider: Arc<CryptoProvider>,
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the gateway's authority is not the one that the agent was enrolled with")]
struct OtherAuthority;

impl PinnedAuthority {
    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        let parsed = x509_parser::certificate::X509Certificate::from_der(certificate);
        parsed.is_ok_and(|(_, parsed)| SpkiPin::of(parsed.public_key().raw) == self.pin)
    }
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let unknown = || Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(OtherAuthority))));
        let authority = intermediates.iter().find(|certificate| self.is_pinned(certificate)).ok_or_else(unknown)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|_| unknown())?;
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
