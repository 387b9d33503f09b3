//! The background task that wraps sealed chains in Argon2id, and re-seals rows after a roll of the key ring.
//!
//! It works on permits of the hashing pool that no sign-in wants, and may stop and begin again anywhere.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use tokio::sync::watch;

use super::sealer::Sealer;
use super::store::{CredentialStoreError, StoredCredential, Upgrade, UpgradeStore};
use crate::credential::{Hardening, PoolError};
use crate::identity::{CredentialSource, LeaseEpoch};

/// The task's work. Runs on the holder of the engine lease.
pub struct Wrapping {
    store: Arc<dyn UpgradeStore>,
    sealer: Sealer,
    progress: watch::Sender<Progress>,
}

/// How far the wrapping is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// Rows whose Argon2id is still to come.
    pub sealed: u64,
    pub wrapped: u64,
    /// Rows upgraded since the start of the process.
    pub upgraded: u64,
    /// Rows of the last round that could not be opened or derived; they stay as they are.
    pub failed: u64,
}

/// Rows read, and written in one transaction, at once.
const BATCH: u32 = 32;
/// Derivations that wait for a permit at once; the pool decides how many run.
const AT_ONCE: usize = 8;

impl Wrapping {
    pub fn new(store: Arc<dyn UpgradeStore>, sealer: Sealer) -> Self {
        Self { store, sealer, progress: watch::Sender::new(Progress::default()) }
    }

    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Upgrades every row that needs it, once through. Returns how many were. A row that cannot be upgraded is left
    /// alone and counted; a round that is given up in the middle loses one batch of work.
    pub async fn run_round(&self, epoch: LeaseEpoch) -> Result<u64, CredentialStoreError> {
        let wrap = matches!(self.sealer.hardening, Hardening::Argon2id(_));
        let mut after: Option<CredentialSource> = None;
        let (mut total, mut failed) = (0, 0);
        loop {
            let rows = self.store.upgradable_after(&self.sealer.ring.primary(), wrap, after.as_ref(), BATCH).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.source.clone());
            let count = rows.len() as u64;
            let upgrades: Vec<Option<Upgrade>> =
                stream::iter(rows).map(|row| self.upgrade(row)).buffered(AT_ONCE).collect().await;
            let upgrades: Vec<Upgrade> = upgrades.into_iter().flatten().collect();
            failed += count - upgrades.len() as u64;
            if !upgrades.is_empty() {
                total += self.store.upgrade(epoch, upgrades).await?;
            }
            self.publish(total, failed).await?;
        }
        self.publish(total, failed).await?;
        self.progress.send_modify(|progress| progress.upgraded += total);
        Ok(total)
    }

    async fn publish(&self, upgraded: u64, failed: u64) -> Result<(), CredentialStoreError> {
        let (sealed, wrapped) = self.store.stage_counts().await?;
        metrics::gauge!("landbridge_credentials_sealed").set(sealed as f64);
        metrics::gauge!("landbridge_credentials_wrapped").set(wrapped as f64);
        tracing::debug!(sealed, wrapped, upgraded, failed, "stored passwords are being wrapped");
        self.progress.send_modify(|progress| {
            (progress.sealed, progress.wrapped, progress.failed) = (sealed, wrapped, failed);
        });
        Ok(())
    }

    async fn upgrade(&self, row: StoredCredential) -> Option<Upgrade> {
        let opened = match self.sealer.open(&row.source, &row.chain, &row.sealed) {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!(source = %row.source, error = ?error, "a stored credential does not open");
                return None;
            }
        };
        let derived = match self.sealer.hardening {
            Hardening::Argon2id(cost) if !opened.chain.is_wrapped() => {
                let wrapped = self.sealer.background(move || opened.wrap(cost, &mut rand::rng())).await;
                match wrapped {
                    Ok(Ok(derived)) => derived,
                    Ok(Err(error)) => {
                        tracing::error!(source = %row.source, error = %error, "a stored credential cannot be wrapped");
                        return None;
                    }
                    // The next round tries again.
                    Err(PoolError::Overloaded) => return None,
                    Err(error @ PoolError::Failed(_)) => {
                        tracing::error!(source = %row.source, error = ?error, "a wrapping ended abnormally");
                        return None;
                    }
                }
            }
            Hardening::Argon2id(_) | Hardening::Sealed => opened,
        };
        match self.sealer.seal(&row.source, &derived) {
            Ok(new) => Some(Upgrade { source: row.source, version: row.version, was: row.sealed, new }),
            Err(error) => {
                tracing::error!(source = %row.source, error = %error, "a stored credential cannot be sealed");
                None
            }
        }
    }
}
