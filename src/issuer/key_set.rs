//! The signing keys: which signs, which are published, and how one follows another.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use zeroize::Zeroizing;

use super::error::IssuerError;
use super::jwk::{PublicJwk, PublicKeys};
use super::signing_key::{Algorithm, SigningKey};
use super::store::{SigningKeys, StoredKey};
use crate::identity::{Clock, Timestamp};

/// Seals private keys under the key ring outside the store (design D7). Implemented over the credential key ring.
pub trait KeySealer: Send + Sync {
    /// Text that only this ring opens again, and only for the same `purpose`.
    fn seal(&self, purpose: &str, plain: &[u8]) -> Result<String, SealFault>;
    fn open(&self, purpose: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealFault>;
}

/// The key ring could not seal or open something.
#[derive(Debug, thiserror::Error)]
#[error("the key ring could not seal or open a secret")]
pub struct SealFault(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Tokens signed shortly before a key retired are still read for this time beyond their life: clocks differ.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// The keys of all nodes, as this node last read them. Opened once; a reload replaces the list whole.
pub struct KeySet {
    store: Arc<dyn SigningKeys>,
    sealer: Arc<dyn KeySealer>,
    clock: Arc<dyn Clock>,
    /// Longest life of anything signed.
    token_lifetime: Duration,
    /// How long a new key is published before it signs, so that applications and other nodes know it by then.
    announcement: Duration,
    keys: ArcSwap<Vec<Arc<SigningKey>>>,
}

impl KeySet {
    /// Reads the keys, and makes the first one of each algorithm.
    pub async fn open(
        store: Arc<dyn SigningKeys>,
        sealer: Arc<dyn KeySealer>,
        clock: Arc<dyn Clock>,
        token_lifetime: Duration,
        announcement: Duration,
    ) -> Result<Self, IssuerError> {
        let set = Self { store, sealer, clock, token_lifetime, announcement, keys: ArcSwap::default() };
        set.reload().await?;
        for algorithm in Algorithm::ALL {
            let now = set.clock.now();
            if !set.keys.load().iter().any(|key| key.jwk.alg == algorithm && key.is_active(now)) {
                let key = set.make(algorithm, now).await?;
                set.store.add_first_key(key).await?;
            }
        }
        set.reload().await?;
        Ok(set)
    }

    /// Reads the keys again: other nodes rotate too. Keys already open are kept as they are.
    pub async fn reload(&self) -> Result<(), IssuerError> {
        let known = self.keys.load_full();
        let mut keys = Vec::new();
        for stored in self.store.keys().await? {
            if !is_published(stored.retired_at, self.published_since()) {
                continue;
            }
            let open = known.iter().find(|key| key.jwk == stored.jwk && key.retired_at == stored.retired_at);
            keys.push(match open {
                Some(key) => key.clone(),
                None => Arc::new(self.unseal(stored)?),
            });
        }
        self.keys.store(Arc::new(keys));
        Ok(())
    }

    /// Announces a new key for `algorithm`; the present one signs until the new one does, and stays published until
    /// its last token has expired. Returns the new key's id and when it begins to sign.
    pub async fn rotate(&self, algorithm: Algorithm) -> Result<(String, Timestamp), IssuerError> {
        let from = self.clock.now() + self.announcement;
        let key = self.make(algorithm, from).await?;
        let kid = key.jwk.kid.clone();
        self.store.add_key(key).await?;
        self.reload().await?;
        Ok((kid, from))
    }

    /// The key that signs now.
    pub fn signer(&self, algorithm: Algorithm) -> Result<Arc<SigningKey>, IssuerError> {
        let now = self.clock.now();
        let keys = self.keys.load();
        let active = keys.iter().filter(|key| key.jwk.alg == algorithm && key.is_active(now));
        let newest = active.max_by(|a, b| a.active_from.cmp(&b.active_from).then_with(|| a.jwk.kid.cmp(&b.jwk.kid)));
        newest.cloned().ok_or(IssuerError::NoSigningKey(algorithm.as_str()))
    }

    /// Everything that may be used to check a token now, or soon.
    pub fn published(&self) -> PublicKeys {
        let since = self.published_since();
        let keys = self.keys.load();
        let published = keys.iter().filter(|key| is_published(key.retired_at, since));
        PublicKeys { keys: published.map(|key| key.jwk.clone()).collect() }
    }

    /// The published key named `kid`.
    pub fn by_id(&self, kid: &str) -> Option<PublicJwk> {
        let since = self.published_since();
        let keys = self.keys.load();
        let key = keys.iter().find(|key| key.jwk.kid == kid && is_published(key.retired_at, since));
        key.map(|key| key.jwk.clone())
    }

    fn published_since(&self) -> Timestamp {
        self.clock.now() - (self.token_lifetime + CLOCK_SKEW)
    }

    /// A new key, sealed.
    async fn make(&self, algorithm: Algorithm, active_from: Timestamp) -> Result<StoredKey, IssuerError> {
        // RSA generation takes a tenth of a second or more: off the async threads.
        let generated = tokio::task::spawn_blocking(move || SigningKey::generate(algorithm, active_from)).await;
        let (key, pkcs8) = generated.map_err(|_| IssuerError::KeyGeneration)??;
        let kid = key.jwk.kid.clone();
        let sealed_key = self
            .sealer
            .seal(&sealing_purpose(&kid), &pkcs8)
            .map_err(|source| IssuerError::SealedKey { kid: kid.clone(), source })?;
        Ok(StoredKey { jwk: key.jwk, sealed_key, created_at: self.clock.now(), active_from, retired_at: None })
    }

    fn unseal(&self, stored: StoredKey) -> Result<SigningKey, IssuerError> {
        let kid = stored.jwk.kid.clone();
        let pkcs8 = self
            .sealer
            .open(&sealing_purpose(&kid), &stored.sealed_key)
            .map_err(|source| IssuerError::SealedKey { kid: kid.clone(), source })?;
        SigningKey::open(stored.jwk, &pkcs8, stored.active_from, stored.retired_at)
            .ok_or(IssuerError::BrokenKey { kid })
    }
}

/// The purpose under which the private key `kid` is sealed.
pub fn sealing_purpose(kid: &str) -> String {
    format!("signing-key:{kid}")
}

fn is_published(retired_at: Option<Timestamp>, since: Timestamp) -> bool {
    retired_at.is_none_or(|retired| retired > since)
}
