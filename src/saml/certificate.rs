//! Signing certificates. SAML trusts the key that was configured, so a certificate here is a container for a key with a
//! strength, an end date and a fingerprint; its issuer and its extensions say nothing.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::algorithm::KeyFamily;
use crate::identity::Timestamp;

/// RSA keys below this are refused (NIST SP 800-131A).
pub const MIN_RSA_BITS: usize = 2048;

/// A certificate whose key is fit to verify signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningCertificate {
    der: Vec<u8>,
    family: KeyFamily,
    public_key: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// Why a certificate cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("not base64")]
    NotBase64,
    #[error("not an x.509 certificate")]
    NotACertificate,
    #[error("rsa key of {0} bits is too short, at least {MIN_RSA_BITS} are needed")]
    RsaTooShort(usize),
    #[error("key is neither rsa nor on the curves p-256, p-384 or p-521")]
    KeyUnsupported,
}

impl SigningCertificate {
    /// Reads a DER certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateError::NotACertificate)?;
        if !rest.is_empty() {
            return Err(CertificateError::NotACertificate);
        }
        let key = certificate.public_key();
        let family = match key.parsed() {
            Ok(PublicKey::RSA(rsa)) if rsa.key_size() < MIN_RSA_BITS => {
                return Err(CertificateError::RsaTooShort(rsa.key_size()));
            }
            Ok(PublicKey::RSA(_)) => KeyFamily::Rsa,
            Ok(PublicKey::EC(_)) if has_supported_curve(key) => KeyFamily::Ec,
            _ => return Err(CertificateError::KeyUnsupported),
        };
        Ok(Self {
            der: der.to_vec(),
            family,
            public_key: key.subject_public_key.data.to_vec(),
            not_before: Timestamp::from_secs(certificate.validity().not_before.timestamp()),
            not_after: Timestamp::from_secs(certificate.validity().not_after.timestamp()),
        })
    }

    /// Reads the text of a `ds:X509Certificate` element or the body of a PEM file: base64 with white space.
    pub fn from_base64(text: &str) -> Result<Self, CertificateError> {
        let compact: String = text.chars().filter(|character| !character.is_ascii_whitespace()).collect();
        Self::from_der(&BASE64_STANDARD.decode(compact).map_err(|_| CertificateError::NotBase64)?)
    }

    /// Reads every certificate of a PEM file.
    pub fn all_from_pem(pem: &str) -> Result<Vec<Self>, CertificateError> {
        let mut certificates = Vec::new();
        let mut rest = pem;
        while let Some((_, after)) = rest.split_once("-----BEGIN CERTIFICATE-----") {
            let (body, after) =
                after.split_once("-----END CERTIFICATE-----").ok_or(CertificateError::NotACertificate)?;
            certificates.push(Self::from_base64(body)?);
            rest = after;
        }
        Ok(certificates)
    }

    /// The certificate as DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate as base64 without line breaks.
    pub fn base64(&self) -> String {
        BASE64_STANDARD.encode(&self.der)
    }

    /// The kind of its key.
    pub fn family(&self) -> KeyFamily {
        self.family
    }

    /// The subject public key, as in the certificate (PKCS #1 for RSA, a curve point for EC).
    pub(super) fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The last instant at which signatures made with it are accepted.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The first instant of its validity. Signatures are accepted before it, because partners publish the next certificate
    /// ahead of time and clocks differ.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Whether its validity has ended.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        now > self.not_after
    }

    /// SHA-256 of the certificate in hex, as administration tools show it.
    pub fn fingerprint(&self) -> String {
        hex::encode(digest::digest(&digest::SHA256, &self.der))
    }
}

impl fmt::Debug for SigningCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "SigningCertificate({:?}, sha256 {}, until {})",
            self.family,
            self.fingerprint(),
            self.not_after
        )
    }
}

fn has_supported_curve(key: &x509_parser::x509::SubjectPublicKeyInfo<'_>) -> bool {
    const CURVES: [&str; 3] = ["1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"];
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    curve.is_some_and(|curve| CURVES.contains(&curve.to_id_string().as_str()))
}
