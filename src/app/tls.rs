//! The gateway's own TLS: certificate and key from PEM files, aws-lc-rs as the one provider (design D19).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the certificate file {} cannot be read", path.display())]
    Certificate { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("the certificate file {} holds no certificate", path.display())]
    NoCertificate { path: PathBuf },
    #[error("the private key file {} cannot be read", path.display())]
    PrivateKey { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("certificate and private key do not make a TLS server")]
    Unusable(#[source] rustls::Error),
}

/// Makes aws-lc-rs the provider of every TLS connection of the process. May be called more than once.
pub fn install_provider() {
    // An error says that a provider was installed before: by an earlier call of this function.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A server for `certificate` (chain, leaf first) and `private_key`, with HTTP/2 and HTTP/1.1.
pub fn server(certificate: &Path, private_key: &Path) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let refuse = |source| TlsError::Certificate { path: certificate.to_owned(), source };
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(certificate).map_err(refuse)?.collect::<Result<_, _>>().map_err(refuse)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: certificate.to_owned() });
    }
    let key = PrivateKeyDer::from_pem_file(private_key)
        .map_err(|source| TlsError::PrivateKey { path: private_key.to_owned(), source })?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
