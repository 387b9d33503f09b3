//! A password for one agent: HPKE base mode (RFC 9180) with X25519, HKDF-SHA256 and AES-256-GCM.
//!
//! The ciphertext is bound to request, agent, subject and expiry, so that none of them can be exchanged; and its length
//! tells only how many blocks of 128 bytes the password takes.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use minicbor::{Decode, Encode};
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke as _, HpkePrivateKey, HpkePublicKey};
use zeroize::Zeroizing;

use crate::codec::plain;
use crate::ids::{AgentId, RequestId};
use crate::message::Subject;

const INFO: &[u8] = b"landbridge agent password v1";
const PAGE_INFO: &[u8] = b"landbridge agent accounts v1";
/// Passwords are padded to a multiple of this.
const BLOCK: usize = 128;
/// Longest password that is sealed, in bytes.
pub const MAX_PASSWORD: usize = 1024;
/// Length of a key on the wire.
pub const KEY_LENGTH: usize = 32;

/// What a sealed password is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
pub struct Binding<'a> {
    #[n(0)]
    pub request: RequestId,
    #[n(1)]
    pub agent: AgentId,
    #[n(2)]
    pub subject: &'a Subject,
    /// Milliseconds since 1970.
    #[n(3)]
    pub expires_at: i64,
}

/// What a page of accounts that an agent seals to the gateway is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
pub struct PageBinding<'a> {
    /// Of the exchange.
    #[n(0)]
    pub request: RequestId,
    /// Who sealed it.
    #[n(1)]
    pub agent: AgentId,
    #[n(2)]
    pub connector: &'a str,
    /// Counts the pages of the exchange, from zero.
    #[n(3)]
    pub number: u64,
}

/// A password that one agent can open.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct SealedPassword {
    #[cbor(n(0), with = "minicbor::bytes")]
    encapsulated: Vec<u8>,
    #[cbor(n(1), with = "minicbor::bytes")]
    ciphertext: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the agent's key cannot be used")]
    Key,
    #[error("the password is too long")]
    TooLong,
}

/// It was not sealed to this key, or not for this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed password cannot be opened")]
pub struct OpenError;

/// The key that passwords are sealed to.
#[derive(Clone, PartialEq, Eq)]
pub struct SealingKey(Vec<u8>);

impl SealingKey {
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        if bytes.len() == KEY_LENGTH { Ok(Self(bytes.to_vec())) } else { Err(SealError::Key) }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn seal(&self, password: &str, binding: &Binding<'_>) -> Result<SealedPassword, SealError> {
        let padded = pad(password.as_bytes())?;
        let key = HpkePublicKey(self.0.clone());
        let (encapsulated, ciphertext) =
            SUITE.seal(INFO, &plain(binding), &padded, &key).map_err(|_| SealError::Key)?;
        Ok(SealedPassword { encapsulated: encapsulated.0, ciphertext })
    }

    /// Seals a page of accounts: the encapsulated key, and the ciphertext behind it.
    pub fn seal_page(&self, page: &[u8], binding: &PageBinding<'_>) -> Result<Vec<u8>, SealError> {
        let key = HpkePublicKey(self.0.clone());
        let (encapsulated, ciphertext) =
            SUITE.seal(PAGE_INFO, &plain(binding), page, &key).map_err(|_| SealError::Key)?;
        Ok([encapsulated.0, ciphertext].concat())
    }
}

/// An agent's private key.
pub struct OpeningKey {
    private: HpkePrivateKey,
    public: SealingKey,
}

impl OpeningKey {
    pub fn generate() -> Result<Self, SealError> {
        let (public, private) = SUITE.generate_key_pair().map_err(|_| SealError::Key)?;
        Ok(Self { private, public: SealingKey(public.0) })
    }

    /// Takes up a stored pair: private and public key.
    pub fn from_parts(private: Zeroizing<Vec<u8>>, public: &[u8]) -> Result<Self, SealError> {
        if private.len() != KEY_LENGTH {
            return Err(SealError::Key);
        }
        Ok(Self { private: HpkePrivateKey::from(private.to_vec()), public: SealingKey::from_bytes(public)? })
    }

    pub fn private_bytes(&self) -> &[u8] {
        self.private.secret_bytes()
    }

    pub fn public(&self) -> &SealingKey {
        &self.public
    }

    pub fn open(&self, sealed: &SealedPassword, binding: &Binding<'_>) -> Result<Zeroizing<String>, OpenError> {
        let encapsulated = EncapsulatedSecret(sealed.encapsulated.clone());
        let padded = SUITE
            .open(&encapsulated, INFO, &plain(binding), &sealed.ciphertext, &self.private)
            .map(Zeroizing::new)
            .map_err(|_| OpenError)?;
        let text = std::str::from_utf8(unpad(&padded).ok_or(OpenError)?).map_err(|_| OpenError)?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// Opens what [`SealingKey::seal_page`] sealed.
    pub fn open_page(&self, sealed: &[u8], binding: &PageBinding<'_>) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (encapsulated, ciphertext) = sealed.split_at_checked(KEY_LENGTH).ok_or(OpenError)?;
        let encapsulated = EncapsulatedSecret(encapsulated.to_vec());
        let opened = SUITE.open(&encapsulated, PAGE_INFO, &plain(binding), ciphertext, &self.private);
        opened.map(Zeroizing::new).map_err(|_| OpenError)
    }
}

impl SealedPassword {
    /// What an answer is signed over.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &plain(self)).as_ref());
        hash
    }
}

/// Two bytes of length (big-endian), the password, zeros.
fn pad(password: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let length = u16::try_from(password.len()).ok().filter(|_| password.len() <= MAX_PASSWORD);
    let length = length.ok_or(SealError::TooLong)?;
    let whole = (2 + password.len()).next_multiple_of(BLOCK);
    let mut padded = Zeroizing::new(Vec::with_capacity(whole));
    padded.extend_from_slice(&length.to_be_bytes());
    padded.extend_from_slice(password);
    padded.resize(whole, 0);
    Ok(padded)
}

fn unpad(padded: &[u8]) -> Option<&[u8]> {
    let (length, rest) = padded.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

impl fmt::Debug for SealedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedPassword({} bytes)", self.ciphertext.len())
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

impl fmt::Debug for OpeningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpeningKey(..)")
    }
}

#[cfg(test)]
mod tests;
