//! The key ring: named AES-256-GCM keys, kept outside the store, under which stored secrets are sealed.
//!
//! One key is primary and seals; all open. Rolling means adding a primary, re-sealing the rows that name an older key,
//! and removing that key when none is left.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use rand::CryptoRng;
use zeroize::Zeroizing;

use super::output::ChainOutput;
use super::seal::{AssociatedData, Sealed};

/// The name of a key: 1 to 32 letters, digits, `-`, `_` or `.`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyName(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key name has 1 to 32 letters, digits, `-`, `_` or `.`")]
pub struct KeyNameError;

/// Keys by name, one of them primary. Shared by all that seals; a roll changes it for all of them at once.
pub struct KeyRing(ArcSwap<Keys>);

/// The primary first. At least one.
pub(super) struct Keys(Vec<RingKey>);

/// Why a ring cannot be made of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    #[error("the key ring has no primary key")]
    NoPrimary,
    #[error("the key ring names the key `{0}` twice")]
    Duplicate(KeyName),
    #[error("the cryptographic library refused a key")]
    Library,
}

/// Why a value cannot be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library could not seal a value")]
pub struct SealError;

/// Why a sealed value does not open. Never a wrong password: the caller answers *unavailable*, with an alarm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The ring lacks the key: a ring of another installation, or a key removed too early.
    #[error("the key ring has no key `{0}`")]
    UnknownKey(KeyName),
    /// The value, or what it is bound to, is not what was sealed.
    #[error("the value sealed with key `{0}` was altered, moved, or sealed with another key of that name")]
    Altered(KeyName),
}

/// Bytes of a ring key.
pub const KEY_BYTES: usize = 32;

pub(super) struct RingKey {
    pub name: KeyName,
    pub secret: Zeroizing<[u8; KEY_BYTES]>,
    /// The library erases its copies when they are freed.
    aead: RandomizedNonceKey,
    pub stamp: hmac::Key,
}

impl KeyRing {
    /// A ring of keys, the primary first.
    pub fn new(keys: Vec<(KeyName, Zeroizing<[u8; KEY_BYTES]>)>) -> Result<Self, KeyRingError> {
        let mut ring: Vec<RingKey> = Vec::with_capacity(keys.len());
        for (name, secret) in keys {
            if ring.iter().any(|key| key.name == name) {
                return Err(KeyRingError::Duplicate(name));
            }
            ring.push(RingKey::new(name, secret)?);
        }
        if ring.is_empty() { Err(KeyRingError::NoPrimary) } else { Ok(Self(ArcSwap::from_pointee(Keys(ring)))) }
    }

    /// A ring of one new key.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Result<Self, KeyRingError> {
        Self::new(vec![new_key(rng)])
    }

    /// This ring with a new primary; the present keys stay, to open.
    pub fn with_new_primary<R: CryptoRng + ?Sized>(&self, rng: &mut R) -> Result<Self, KeyRingError> {
        let keys = self.keys();
        let present = keys.iter().map(|key| (key.name.clone(), key.secret.clone()));
        Self::new(std::iter::once(new_key(rng)).chain(present).collect())
    }

    /// A new key, in a ring that also opens what it seals, and does not seal with it.
    pub(super) fn with_next<R: CryptoRng + ?Sized>(&self, rng: &mut R) -> Result<(Self, KeyName), KeyRingError> {
        let (name, secret) = new_key(rng);
        Ok((self.with_older(name.clone(), secret)?, name))
    }

    /// This ring with one more key, to open.
    pub(super) fn with_older(&self, name: KeyName, secret: Zeroizing<[u8; KEY_BYTES]>) -> Result<Self, KeyRingError> {
        Self::new(self.secrets().chain(std::iter::once((name, secret))).collect())
    }

    /// This ring, sealing with another of its keys; `None` when it has no such key.
    pub(super) fn with_primary(&self, name: &KeyName) -> Option<Result<Self, KeyRingError>> {
        let (first, rest): (Vec<_>, Vec<_>) = self.secrets().partition(|(key, _)| key == name);
        (!first.is_empty()).then(|| Self::new(first.into_iter().chain(rest).collect()))
    }

    /// This ring without one of the keys that only open.
    pub(super) fn without(&self, name: &KeyName) -> Result<Self, KeyRingError> {
        let primary = self.primary();
        Self::new(self.secrets().filter(|(key, _)| key == &primary || key != name).collect())
    }

    fn secrets(&self) -> impl Iterator<Item = (KeyName, Zeroizing<[u8; KEY_BYTES]>)> + use<> {
        let keys: Vec<_> = self.keys().iter().map(|key| (key.name.clone(), key.secret.clone())).collect();
        keys.into_iter()
    }

    pub fn has(&self, name: &KeyName) -> bool {
        self.keys().named(name).is_some()
    }

    /// The secret of a key, sealed for those who have the key that seals now; `None` when the ring has no such key.
    pub fn handed_over(&self, name: &KeyName, bound_to: &AssociatedData) -> Option<Result<Sealed, SealError>> {
        let keys = self.keys();
        let key = keys.named(name)?;
        Some(self.seal(key.secret.as_slice(), bound_to))
    }

    /// Becomes `ring`, for everybody who shares this one.
    pub(super) fn become_ring(&self, ring: &Self) {
        self.0.store(ring.keys());
    }

    /// The name of the key that seals.
    pub fn primary(&self) -> KeyName {
        self.keys().primary().name.clone()
    }

    /// The names of the keys that only open.
    pub fn older(&self) -> Vec<KeyName> {
        self.keys().iter().skip(1).map(|key| key.name.clone()).collect()
    }

    pub fn seal(&self, secret: &[u8], bound_to: &AssociatedData) -> Result<Sealed, SealError> {
        let keys = self.keys();
        let key = keys.primary();
        // Sealed in place: what was the secret is the ciphertext afterwards, and an error erases it.
        let mut in_out = Zeroizing::new(Vec::with_capacity(secret.len() + AES_256_GCM.tag_len()));
        in_out.extend_from_slice(secret);
        let nonce =
            key.aead.seal_in_place_append_tag(Aad::from(bound_to.as_bytes()), &mut *in_out).map_err(|_| SealError)?;
        let mut bytes = Vec::with_capacity(NONCE_LEN + in_out.len());
        bytes.extend_from_slice(nonce.as_ref());
        bytes.extend_from_slice(&in_out);
        Ok(Sealed { key: key.name.clone(), bytes })
    }

    pub fn open(&self, sealed: &Sealed, bound_to: &AssociatedData) -> Result<ChainOutput, OpenError> {
        let keys = self.keys();
        let key = keys.named(&sealed.key).ok_or_else(|| OpenError::UnknownKey(sealed.key.clone()))?;
        let altered = || OpenError::Altered(sealed.key.clone());
        let (nonce, ciphertext) = sealed.bytes.split_at_checked(NONCE_LEN).ok_or_else(altered)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| altered())?;
        let mut in_out = Zeroizing::new(ciphertext.to_vec());
        let secret = key
            .aead
            .open_in_place(nonce, Aad::from(bound_to.as_bytes()), in_out.as_mut_slice())
            .map_err(|_| altered())?;
        Ok(ChainOutput::new(secret.to_vec()))
    }

    /// A value to keep in the store, by which a later start sees that its ring is this one.
    pub fn canary(&self) -> Result<Sealed, SealError> {
        self.seal(CANARY, &AssociatedData::canary())
    }

    /// Whether this ring is the one that sealed the store's canary.
    pub fn opens_canary(&self, canary: &Sealed) -> Result<(), OpenError> {
        let found = self.open(canary, &AssociatedData::canary())?;
        if found.expose() == CANARY { Ok(()) } else { Err(OpenError::Altered(canary.key.clone())) }
    }

    pub(super) fn keys(&self) -> Arc<Keys> {
        self.0.load_full()
    }
}

impl Keys {
    pub fn iter(&self) -> impl Iterator<Item = &RingKey> {
        self.0.iter()
    }

    pub fn primary(&self) -> &RingKey {
        self.0.first().expect("a ring has at least one key")
    }

    pub fn named(&self, name: &KeyName) -> Option<&RingKey> {
        self.0.iter().find(|key| key.name == *name)
    }
}

const CANARY: &[u8] = b"landbridge key ring";

impl RingKey {
    fn new(name: KeyName, secret: Zeroizing<[u8; KEY_BYTES]>) -> Result<Self, KeyRingError> {
        let aead = RandomizedNonceKey::new(&AES_256_GCM, secret.as_slice()).map_err(|_| KeyRingError::Library)?;
        // One secret, two uses: the stamps have a key of their own, derived from it.
        let parent = hmac::Key::new(hmac::HMAC_SHA256, secret.as_slice());
        let stamp = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&parent, b"landbridge source stamp 1").as_ref());
        Ok(Self { name, secret, aead, stamp })
    }
}

fn new_key<R: CryptoRng + ?Sized>(rng: &mut R) -> (KeyName, Zeroizing<[u8; KEY_BYTES]>) {
    let mut id = [0; 4];
    rng.fill_bytes(&mut id);
    let mut secret = Zeroizing::new([0; KEY_BYTES]);
    rng.fill_bytes(secret.as_mut_slice());
    (KeyName(format!("k-{}", hex::encode(id))), secret)
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing(primary {}, {} keys)", self.primary(), self.keys().0.len())
    }
}

impl KeyName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = KeyNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.is_empty() || text.len() > 32 || !text.chars().all(fits) {
            return Err(KeyNameError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
