//! Which certificate authorities a directory server's certificate may come from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// The trust anchors of a connector. Verification of chain, name and time is always on.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("the CA file {} cannot be read as PEM certificates", .path.display())]
    Read { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("the CA file {} has no certificate", .0.display())]
    NoCertificate(PathBuf),
    #[error("the CA file {} has a certificate that is no trust anchor", .path.display())]
    Anchor { path: PathBuf, source: rustls::Error },
    #[error("the system has no usable CA certificates: {0}")]
    System(String),
    #[error("the TLS settings are refused")]
    Tls(#[from] rustls::Error),
}

impl Trust {
    /// Trusts the authorities in the PEM files `ca_files`, and no others; the system's when no file is named.
    pub fn new(ca_files: &[PathBuf]) -> Result<Self, TrustError> {
        if ca_files.is_empty() {
            return Self::system();
        }
        let mut roots = RootCertStore::empty();
        for path in ca_files {
            let certificates = read_certificates(path)?;
            if certificates.is_empty() {
                return Err(TrustError::NoCertificate(path.clone()));
            }
            for certificate in certificates {
                roots.add(certificate).map_err(|source| TrustError::Anchor { path: path.clone(), source })?;
            }
        }
        Self::with_roots(roots)
    }

    /// Trusts the authorities that the operating system trusts.
    pub fn system() -> Result<Self, TrustError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _ignored) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let errors = found.errors.iter().map(ToString::to_string).collect::<Vec<_>>();
            let text = if errors.is_empty() { "none found".to_owned() } else { errors.join("; ") };
            return Err(TrustError::System(text));
        }
        Self::with_roots(roots)
    }

    fn with_roots(roots: RootCertStore) -> Result<Self, TrustError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| TrustError::Read { path: path.to_owned(), source })
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trust(..)")
    }
}
