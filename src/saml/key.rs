//! Our own signing key with its self-signed certificate, as service provider or identity provider.

use std::fmt;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData as _, RsaKeySize};
use zeroize::Zeroizing;

use super::algorithm::SignatureAlgorithm;
use super::certificate::{CertificateError, SigningCertificate};
use crate::identity::Timestamp;

/// What kind of key to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA with 2048 bits: understood by every partner.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// NIST P-256.
    EcP256,
    /// NIST P-384.
    EcP384,
}

/// A private key and the certificate that partners know it by.
pub struct SigningKey {
    pkcs8: Zeroizing<Vec<u8>>,
    kind: KeyKind,
    certificate: SigningCertificate,
}

/// Why a key could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    #[error("cannot generate a signing key")]
    Generate(#[source] rcgen::Error),
    #[error("cannot read the signing key")]
    Read(#[source] rcgen::Error),
    #[error("cannot use the certificate of the signing key")]
    Certificate(#[source] CertificateError),
    #[error("signing key is not of a supported kind")]
    KeyUnsupported,
    #[error("certificate does not belong to the signing key")]
    CertificateMismatch,
}

impl SigningKey {
    /// Generates a key and a self-signed certificate valid from a day before `now` for `lifetime`.
    pub fn generate(
        kind: KeyKind,
        common_name: &str,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Self, SigningKeyError> {
        let pair = match kind {
            KeyKind::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
            KeyKind::Rsa3072 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_3072),
            KeyKind::EcP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            KeyKind::EcP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        }
        .map_err(SigningKeyError::Generate)?;
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, common_name);
        parameters.not_before = system_time(now - DAY).into();
        parameters.not_after = system_time(now + lifetime).into();
        let certificate = parameters.self_signed(&pair).map_err(SigningKeyError::Generate)?;
        Ok(Self {
            pkcs8: Zeroizing::new(pair.serialize_der()),
            kind,
            certificate: SigningCertificate::from_der(certificate.der()).map_err(SigningKeyError::Certificate)?,
        })
    }

    /// Takes up a stored key. Refuses a certificate of another key.
    pub fn from_parts(pkcs8: Zeroizing<Vec<u8>>, certificate_der: &[u8]) -> Result<Self, SigningKeyError> {
        let pair = KeyPair::try_from(pkcs8.as_slice()).map_err(SigningKeyError::Read)?;
        let certificate = SigningCertificate::from_der(certificate_der).map_err(SigningKeyError::Certificate)?;
        if pair.der_bytes() != certificate.public_key() {
            return Err(SigningKeyError::CertificateMismatch);
        }
        let algorithm = pair.algorithm();
        let kind = if algorithm == &rcgen::PKCS_ECDSA_P256_SHA256 {
            KeyKind::EcP256
        } else if algorithm == &rcgen::PKCS_ECDSA_P384_SHA384 {
            KeyKind::EcP384
        } else if algorithm == &rcgen::PKCS_RSA_SHA256 {
            // 2048 bits make 270 bytes of public key, 3072 make 398.
            if certificate.public_key().len() > 300 { KeyKind::Rsa3072 } else { KeyKind::Rsa2048 }
        } else {
            return Err(SigningKeyError::KeyUnsupported);
        };
        Ok(Self { pkcs8, kind, certificate })
    }

    /// The private key as PKCS #8, to be sealed before it is stored.
    pub fn pkcs8(&self) -> &Zeroizing<Vec<u8>> {
        &self.pkcs8
    }

    /// The certificate that partners are given.
    pub fn certificate(&self) -> &SigningCertificate {
        &self.certificate
    }

    /// The algorithm it signs with.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        match self.kind {
            KeyKind::Rsa2048 | KeyKind::Rsa3072 => SignatureAlgorithm::RsaSha256,
            KeyKind::EcP256 => SignatureAlgorithm::EcdsaSha256,
            KeyKind::EcP384 => SignatureAlgorithm::EcdsaSha384,
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({:?}, {:?})", self.kind, self.certificate)
    }
}

fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(at.secs()).unwrap_or(0))
}
