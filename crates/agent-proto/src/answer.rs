//! An agent's answer to a check, signed (Ed25519, RFC 8032) over the request and the ciphertext that it answers.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use crate::codec::plain;
use crate::ids::RequestId;
use crate::message::Subject;

const PURPOSE: &str = "landbridge agent answer v1";

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    #[n(0)]
    Verified,
    #[n(1)]
    Refused {
        /// A stable word such as `wrong-password`.
        #[n(0)]
        code: String,
        /// The directory's own number, of a refusal that the agent does not know.
        #[n(1)]
        number: Option<u32>,
    },
    #[n(2)]
    Unavailable {
        /// A stable word such as `connect`.
        #[n(0)]
        cause: String,
        /// Whether the password may have reached the directory.
        #[n(1)]
        sent: bool,
        /// The bind is still read to its end, and a second answer may follow.
        #[n(2)]
        late_follows: bool,
    },
}

/// What the agent says. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Claims {
    #[n(0)]
    pub outcome: Outcome,
    /// The directory server that decided, or was asked last.
    #[n(1)]
    pub server: Option<String>,
    /// When the directory says the present password was set.
    #[n(2)]
    pub password_set: Option<i64>,
    #[n(3)]
    pub at: i64,
    /// The verdict of a bind that an earlier answer gave up.
    #[n(4)]
    pub late: bool,
}

/// An answer on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Answer {
    #[n(0)]
    pub request: RequestId,
    #[n(1)]
    claims: Claims,
    #[cbor(n(2), with = "minicbor::bytes")]
    signature: Vec<u8>,
}

/// The check that an answer must be about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub request: RequestId,
    pub subject: Subject,
    /// Of [`SealedPassword::hash`](crate::sealed::SealedPassword::hash).
    pub password_hash: [u8; 32],
}

/// An answer is not what its agent signed for this check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not signed by the agent for this check")]
pub struct NotSigned;

#[derive(Encode)]
struct Statement<'a> {
    #[n(0)]
    purpose: &'a str,
    #[n(1)]
    request: RequestId,
    #[n(2)]
    subject: &'a Subject,
    #[cbor(n(3), with = "minicbor::bytes")]
    password_hash: [u8; 32],
    #[n(4)]
    claims: &'a Claims,
}

impl Asked {
    fn statement(&self, claims: &Claims) -> Vec<u8> {
        plain(&Statement {
            purpose: PURPOSE,
            request: self.request,
            subject: &self.subject,
            password_hash: self.password_hash,
            claims,
        })
    }
}

impl Answer {
    /// The claims, when `key` signed them for `asked`.
    pub fn verify(&self, key: &VerifyingKey, asked: &Asked) -> Result<&Claims, NotSigned> {
        if self.request != asked.request {
            return Err(NotSigned);
        }
        let key = UnparsedPublicKey::new(&ED25519, &key.0);
        key.verify(&asked.statement(&self.claims), &self.signature).map_err(|_| NotSigned)?;
        Ok(&self.claims)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signing key cannot be used")]
pub struct KeyError;

/// The public key of an agent's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        bytes.try_into().map(Self).map_err(|_| KeyError)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this key signed `message` for a purpose of the caller's.
    pub fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

/// An agent's signing key.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl SigningKey {
    pub fn generate() -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| KeyError)?;
        let pkcs8 = pair.to_pkcs8().map_err(|_| KeyError)?;
        Ok(Self { pair, pkcs8: Zeroizing::new(pkcs8.as_ref().to_vec()) })
    }

    pub fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| KeyError)?;
        Ok(Self { pair, pkcs8 })
    }

    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    pub fn public(&self) -> VerifyingKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        VerifyingKey(bytes)
    }

    /// Signs an answer to `asked`.
    pub fn answer(&self, asked: &Asked, claims: Claims) -> Answer {
        let signature = self.sign(&asked.statement(&claims));
        Answer { request: asked.request, claims, signature }
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

#[cfg(test)]
mod tests;
