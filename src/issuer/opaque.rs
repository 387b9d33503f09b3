//! Opaque credentials: 256 random bits for the bearer, their SHA-256 for the store.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A code, refresh token or client secret as its bearer holds it. Never stored, never printed.
pub struct Opaque(Zeroizing<String>);

/// SHA-256 of an [`Opaque`], in lower-case hex. Needs no salt: what is hashed has 256 bits of entropy.
#[derive(Clone, Debug, Eq)]
pub struct OpaqueHash(String);

/// Longest text that is hashed when somebody presents one.
const MAX_PRESENTED: usize = 512;

impl Opaque {
    /// A new one from the operating system's generator.
    pub fn random() -> Self {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        aws_lc_rs::rand::fill(&mut *bytes).expect("the operating system's generator answers");
        Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)))
    }

    /// What somebody presented; `None` when it is too long to be one of ours.
    pub fn presented(text: &str) -> Option<Self> {
        (!text.is_empty() && text.len() <= MAX_PRESENTED).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    pub fn hash(&self) -> OpaqueHash {
        OpaqueHash(hex::encode(Sha256::digest(self.0.as_bytes())))
    }

    /// The text, for its bearer and nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opaque(..)")
    }
}

impl OpaqueHash {
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for OpaqueHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}
