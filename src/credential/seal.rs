//! What a sealed value looks like, and what its seal is bound to.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::chain::Chain;
use super::key_ring::KeyName;
use crate::identity::CredentialSource;

/// A value under authenticated encryption: the key's name, and nonce, ciphertext and tag. Its text form is
/// `key-name:base64`.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    pub(super) key: KeyName,
    /// Nonce (12 bytes), ciphertext, tag (16 bytes).
    pub(super) bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is not a sealed value")]
pub struct SealedSyntax;

/// Longest sealed text that is looked at: a private key of 8192 bits fits.
const MAX_TEXT_BYTES: usize = 16 * 1024;

impl Sealed {
    /// The key that opens it, so that key rolls find what is still under an older one.
    pub fn key(&self) -> &KeyName {
        &self.key
    }
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key, STANDARD_NO_PAD.encode(&self.bytes))
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({}, {} bytes)", self.key, self.bytes.len())
    }
}

impl FromStr for Sealed {
    type Err = SealedSyntax;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(SealedSyntax);
        }
        let (key, bytes) = text.split_once(':').ok_or(SealedSyntax)?;
        let key = key.parse().map_err(|_| SealedSyntax)?;
        let bytes = STANDARD_NO_PAD.decode(bytes).map_err(|_| SealedSyntax)?;
        Ok(Self { key, bytes })
    }
}

/// What a seal is bound to besides its key: a value moved to another row does not open there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssociatedData(Vec<u8>);

impl AssociatedData {
    /// A purpose and its fields. Each is written with its length in front, so that no two lists of fields collide.
    pub fn new(purpose: &str, fields: &[&[u8]]) -> Self {
        let mut bytes = Vec::new();
        for field in std::iter::once(purpose.as_bytes()).chain(fields.iter().copied()) {
            append(&mut bytes, field);
        }
        Self(bytes)
    }

    /// A stored password: the tenant, the account it belongs to, and the chain that leads to it.
    pub fn credential(tenant: &str, source: &CredentialSource, chain: &Chain) -> Self {
        let chain = chain.to_string();
        Self::new(
            "credential",
            &[
                tenant.as_bytes(),
                source.connector.as_str().as_bytes(),
                source.anchor.as_str().as_bytes(),
                chain.as_bytes(),
            ],
        )
    }

    /// The value by which a store knows its ring.
    pub fn canary() -> Self {
        Self::new("canary", &[])
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Appends a field behind its length.
pub(super) fn append(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
    bytes.extend_from_slice(field);
}
