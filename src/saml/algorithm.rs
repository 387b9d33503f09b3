//! The algorithms a signature may use. What is not listed here cannot be allowed by any setting: SHA-1, HMAC and `none`
//! have no name in this file.

use super::names;

/// The kind of key that a signature algorithm needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFamily {
    /// RSA with PKCS #1 v1.5 padding.
    Rsa,
    /// ECDSA over a NIST curve.
    Ec,
}

/// A signature algorithm (RFC 9231, sections 2.3.2 and 2.3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// RSA with SHA-256.
    RsaSha256,
    /// RSA with SHA-384.
    RsaSha384,
    /// RSA with SHA-512.
    RsaSha512,
    /// ECDSA with SHA-256.
    EcdsaSha256,
    /// ECDSA with SHA-384.
    EcdsaSha384,
    /// ECDSA with SHA-512.
    EcdsaSha512,
}

impl SignatureAlgorithm {
    /// Every algorithm that may be allowed.
    pub const ALL: [Self; 6] =
        [Self::RsaSha256, Self::RsaSha384, Self::RsaSha512, Self::EcdsaSha256, Self::EcdsaSha384, Self::EcdsaSha512];

    /// The identifier used in messages.
    pub fn uri(self) -> &'static str {
        match self {
            Self::RsaSha256 => "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
            Self::RsaSha384 => "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384",
            Self::RsaSha512 => "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
            Self::EcdsaSha256 => "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
            Self::EcdsaSha384 => "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384",
            Self::EcdsaSha512 => "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512",
        }
    }

    /// The name used in settings.
    pub fn name(self) -> &'static str {
        self.uri().rsplit_once('#').map_or("", |(_, name)| name)
    }

    /// The kind of key it needs.
    pub fn family(self) -> KeyFamily {
        match self {
            Self::RsaSha256 | Self::RsaSha384 | Self::RsaSha512 => KeyFamily::Rsa,
            Self::EcdsaSha256 | Self::EcdsaSha384 | Self::EcdsaSha512 => KeyFamily::Ec,
        }
    }

    pub(super) fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.uri() == uri)
    }

    /// Reads a name from settings, for instance `rsa-sha256`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// A digest algorithm of a signature reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl DigestAlgorithm {
    /// Every digest that may be allowed.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// The identifier used in messages.
    pub fn uri(self) -> &'static str {
        match self {
            Self::Sha256 => "http://www.w3.org/2001/04/xmlenc#sha256",
            Self::Sha384 => "http://www.w3.org/2001/04/xmldsig-more#sha384",
            Self::Sha512 => "http://www.w3.org/2001/04/xmlenc#sha512",
        }
    }

    /// Length of the digest in bytes.
    pub fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    pub(super) fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.uri() == uri)
    }

    /// Reads a name from settings, for instance `sha256`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.uri().ends_with(&format!("#{name}")))
    }
}

/// A canonicalization algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canonicalization {
    /// Exclusive canonicalization without comments.
    Exclusive,
    /// Inclusive canonicalization 1.0 without comments, for partners that cannot do better.
    Inclusive,
}

impl Canonicalization {
    /// The identifier used in messages.
    pub fn uri(self) -> &'static str {
        match self {
            Self::Exclusive => names::EXCLUSIVE_C14N,
            Self::Inclusive => names::INCLUSIVE_C14N,
        }
    }

    pub(super) fn from_uri(uri: &str) -> Option<Self> {
        [Self::Exclusive, Self::Inclusive].into_iter().find(|algorithm| algorithm.uri() == uri)
    }
}

/// What a partner's signatures may use. The default refuses everything below SHA-256 and every canonicalization but the
/// exclusive one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlgorithmPolicy {
    /// Allowed signature algorithms.
    pub signatures: Vec<SignatureAlgorithm>,
    /// Allowed digest algorithms.
    pub digests: Vec<DigestAlgorithm>,
    /// Allowed canonicalization algorithms.
    pub canonicalizations: Vec<Canonicalization>,
}

impl Default for AlgorithmPolicy {
    fn default() -> Self {
        use SignatureAlgorithm::{EcdsaSha256, EcdsaSha384, RsaSha256, RsaSha384, RsaSha512};
        Self {
            signatures: vec![RsaSha256, RsaSha384, RsaSha512, EcdsaSha256, EcdsaSha384],
            digests: DigestAlgorithm::ALL.to_vec(),
            canonicalizations: vec![Canonicalization::Exclusive],
        }
    }
}
