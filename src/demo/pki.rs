//! A certification authority of the demonstration's own, and server certificates for localhost.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

pub struct DemoPki {
    folder: PathBuf,
    ca: CertifiedIssuer<'static, KeyPair>,
}

/// Where a server finds its certificate chain and key.
#[derive(Clone, Debug)]
pub struct ServerFiles {
    pub certificate: PathBuf,
    pub private_key: PathBuf,
}

impl DemoPki {
    /// Makes a new authority and writes `ca.pem`.
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.canonicalize()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Landbridge demonstration CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        std::fs::write(folder.join("ca.pem"), ca.pem())?;
        Ok(Self { folder, ca })
    }

    /// A certificate for localhost.
    pub fn server(&self, label: &str) -> anyhow::Result<ServerFiles> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.ca)?;
        let files = ServerFiles {
            certificate: self.folder.join(format!("{label}.pem")),
            private_key: self.folder.join(format!("{label}.key")),
        };
        std::fs::write(&files.certificate, certificate.pem() + &self.ca.pem())?;
        write_private(&files.private_key, &key.serialize_pem())?;
        Ok(files)
    }

    /// The authority, for a client that trusts nothing else.
    pub fn authority(&self) -> anyhow::Result<reqwest::Certificate> {
        Ok(reqwest::Certificate::from_pem(self.ca.pem().as_bytes())?)
    }
}

/// Writes a new file that its owner alone can read.
pub(super) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    std::io::Write::write_all(&mut file, text.as_bytes())
}
