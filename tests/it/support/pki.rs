//! A certificate authority for one test, as PEM files. Nothing outside the test trusts it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::Digest;
use tokio_rustls::TlsAcceptor;

pub struct Pki {
    dir: PathBuf,
    ca: CertifiedIssuer<'static, KeyPair>,
}

/// A server's certificate, followed by its authority's, and its private key, both PEM.
#[derive(Clone, Debug)]
pub struct ServerCert {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

impl ServerCert {
    /// Answers TLS with it.
    pub fn acceptor(&self) -> TlsAcceptor {
        let chain = CertificateDer::pem_file_iter(&self.cert_file).expect("certificates").collect::<Result<_, _>>();
        let key = PrivateKeyDer::from_pem_file(&self.key_file).expect("a key");
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_no_client_auth()
                .with_single_cert(chain.expect("certificates"), key)
                .expect("a server's configuration");
        TlsAcceptor::from(Arc::new(config))
    }
}

impl Pki {
    /// Makes a new authority and writes `ca.pem` into `dir`.
    pub fn new(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).expect("folder for certificates");
        let mut params = params(Vec::new(), "Landbridge test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("key")).expect("CA certificate");
        std::fs::write(dir.join("ca.pem"), ca.pem()).expect("ca.pem");
        Self { dir: dir.to_owned(), ca }
    }

    pub fn ca_file(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    pub fn ca_pem(&self) -> String {
        self.ca.pem()
    }

    /// The authority's public key as browsers pin it: base64 of SHA-256 over SubjectPublicKeyInfo.
    pub fn spki_hash(&self) -> String {
        STANDARD.encode(sha2::Sha256::digest(self.ca.key().subject_public_key_info()))
    }

    /// A certificate for `localhost`, `127.0.0.1` and the names given, in files called after `label`.
    pub fn server(&self, label: &str, names: &[&str]) -> ServerCert {
        let mut all = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        all.extend(names.iter().map(|name| (*name).to_owned()));
        self.issue(label, all)
    }

    /// A certificate for exactly these names (DNS names or addresses); for tests of a wrong name.
    pub fn server_exactly(&self, label: &str, names: &[&str]) -> ServerCert {
        self.issue(label, names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn issue(&self, label: &str, names: Vec<String>) -> ServerCert {
        let mut params = params(names, label);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().expect("key");
        let cert = params.signed_by(&key, &self.ca).expect("server certificate");
        let files = ServerCert {
            cert_file: self.dir.join(format!("{label}.pem")),
            key_file: self.dir.join(format!("{label}.key.pem")),
        };
        std::fs::write(&files.cert_file, cert.pem() + &self.ca.pem()).expect("certificate file");
        std::fs::write(&files.key_file, key.serialize_pem()).expect("key file");
        files
    }
}

fn params(names: Vec<String>, common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(names).expect("valid names");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.use_authority_key_identifier_extension = true;
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params.not_after = rcgen::date_time_ymd(2044, 1, 1);
    params
}
