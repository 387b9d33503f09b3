//! The one-time token that an operator carries from the gateway to an agent's machine.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use minicbor::{Decode, Encode};
use zeroize::{Zeroize as _, Zeroizing};

use crate::codec;
use crate::pin::SpkiPin;

const PREFIX: &str = "lbagent1-";
/// Bytes of checksum, so that a token that was copied badly is told from one that was refused.
const CHECK: usize = 4;
/// Longest token, as text.
const MAX_TEXT: usize = 16 * 1024;
/// Bytes of secret.
pub const SECRET: usize = 32;

/// An enrolment token: where to enrol, whom to believe, what for, until when, and the secret that proves it.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct EnrolmentToken {
    /// `https://HOST:PORT` of a node.
    #[n(0)]
    pub url: String,
    /// Of the authority that signed the node's certificate.
    #[n(1)]
    pub pin: SpkiPin,
    #[n(2)]
    pub connector: String,
    #[n(3)]
    pub domains: Vec<String>,
    /// Milliseconds since 1970.
    #[n(4)]
    pub expires_at: i64,
    #[cbor(n(5), with = "minicbor::bytes")]
    pub secret: [u8; SECRET],
    /// Of a sync server: the connectors that it may bring. It names no connector and no domains of its own then.
    #[n(6)]
    pub synchronised: Option<Vec<String>>,
}

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("an enrolment token begins with {PREFIX}")]
    Prefix,
    #[error("the enrolment token is damaged; copy it again, as a whole")]
    Damaged,
    #[error("the enrolment token is of a kind that this release does not know")]
    Unknown,
}

impl EnrolmentToken {
    /// What the gateway stores of the secret.
    pub fn secret_hash(secret: &[u8]) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, secret).as_ref());
        hash
    }

    /// The token as text.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(codec::plain(self));
        let check = digest(&SHA256, &bytes);
        bytes.extend_from_slice(&check.as_ref()[..CHECK]);
        let encoded = Zeroizing::new(BASE64.encode(&bytes));
        Zeroizing::new(format!("{PREFIX}{}", *encoded))
    }
}

impl FromStr for EnrolmentToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(TokenError::Prefix)?;
        if encoded.len() > MAX_TEXT {
            return Err(TokenError::Damaged);
        }
        let bytes = Zeroizing::new(BASE64.decode(encoded).map_err(|_| TokenError::Damaged)?);
        let (token, check) = bytes.split_last_chunk::<CHECK>().ok_or(TokenError::Damaged)?;
        if digest(&SHA256, token).as_ref()[..CHECK] != *check {
            return Err(TokenError::Damaged);
        }
        codec::decode(token).map_err(|_| TokenError::Unknown)
    }
}

impl fmt::Debug for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.synchronised.as_ref().map_or_else(|| self.connector.clone(), |names| names.join(" "));
        write!(f, "EnrolmentToken({}, {names}, ..)", self.url)
    }
}

impl Drop for EnrolmentToken {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

#[cfg(test)]
mod tests;
