//! The pin by which an agent knows the gateway's certification authority.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use minicbor::{Decode, Encode};

/// SHA-256 of a SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7; as in RFC 7469, section 2.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct SpkiPin(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pin is 32 bytes in base64url")]
pub struct PinError;

impl SpkiPin {
    /// The pin of a SubjectPublicKeyInfo in DER.
    pub fn of(spki: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, spki).as_ref());
        Self(bytes)
    }
}

impl FromStr for SpkiPin {
    type Err = PinError;
    fn from_str(text: &str) -> Result<Self, PinError> {
        let bytes = BASE64.decode(text).map_err(|_| PinError)?;
        bytes.try_into().map(Self).map_err(|_| PinError)
    }
}

impl fmt::Display for SpkiPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl fmt::Debug for SpkiPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
