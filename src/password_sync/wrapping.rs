//! The background task that wraps sealed chains in Argon2id, and re-seals rows after a roll of the key ring.
//!
//! It works on permits of the hashing pool that no sign-in wants, and may stop and begin again anywhere.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::time::Instant;

use super::sealer::Sealer;
use super::store::{CredentialStoreError, Stage, StoredCredential, Upgrade, UpgradeStore};
use crate::credential::{Hardening, KeyName, PoolError};
use crate::identity::{CredentialSource, LeaseEpoch};

/// The task's work. Runs on the holder of the engine lease.
pub struct Wrapping {
    store: Arc<dyn UpgradeStore>,
    sealer: Sealer,
    /// Upgraded since the start of the process, and failed in the last round.
    done: Mutex<(u64, u64)>,
    settled: Mutex<Option<Settled>>,
}

/// A round that found nothing it could upgrade.
struct Settled {
    at: Instant,
    primary: KeyName,
    /// Rows without Argon2id that it had to leave.
    left: u64,
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
/// Batches after which the gauges follow.
const TOLD_AFTER: usize = 100;
/// All rows are read again after this time, whatever is known of them.
const AGAIN_AFTER: Duration = Duration::from_secs(600);

impl Wrapping {
    pub fn new(store: Arc<dyn UpgradeStore>, sealer: Sealer) -> Self {
        Self { store, sealer, done: Mutex::default(), settled: Mutex::default() }
    }

    /// Counts the rows. What was done is this process's alone.
    pub async fn progress(&self) -> Result<Progress, CredentialStoreError> {
        let (sealed, wrapped) = self.store.stage_counts().await?;
        let (upgraded, failed) = *self.done.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Progress { sealed, wrapped, upgraded, failed })
    }

    /// Upgrades every row that needs it, once through, if there may be any. Returns how many were. A row that cannot be
    /// upgraded is left alone and counted; a round that is given up in the middle loses one batch of work.
    pub async fn run_round(&self, epoch: LeaseEpoch) -> Result<u64, CredentialStoreError> {
        let wrap = matches!(self.sealer.hardening, Hardening::Argon2id(_));
        let (at, primary) = (Instant::now(), self.sealer.ring.primary());
        if !self.is_due(wrap, at, &primary).await? {
            return Ok(0);
        }
        let mut after: Option<CredentialSource> = None;
        let (mut total, mut failed, mut left, mut tried) = (0, 0, 0, false);
        for batch in 1.. {
            let rows = self.store.upgradable_after(&primary, wrap, after.as_ref(), BATCH).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.source.clone());
            let stages: Vec<Stage> = rows.iter().map(|row| row.stage).collect();
            let upgrades: Vec<Option<Upgrade>> =
                stream::iter(rows).map(|row| self.upgrade(row)).buffered(AT_ONCE).collect().await;
            for (stage, _) in stages.into_iter().zip(&upgrades).filter(|(_, upgrade)| upgrade.is_none()) {
                failed += 1;
                left += u64::from(stage == Stage::Sealed);
            }
            let upgrades: Vec<Upgrade> = upgrades.into_iter().flatten().collect();
            if !upgrades.is_empty() {
                tried = true;
                let upgraded = self.store.upgrade(epoch, upgrades).await?;
                total += upgraded;
                self.done.lock().unwrap_or_else(PoisonError::into_inner).0 += upgraded;
            }
            if batch % TOLD_AFTER == 0 {
                self.publish().await?;
            }
        }
        self.done.lock().unwrap_or_else(PoisonError::into_inner).1 = failed;
        self.publish().await?;
        let settled = (!tried).then_some(Settled { at, primary, left });
        *self.settled.lock().unwrap_or_else(PoisonError::into_inner) = settled;
        Ok(total)
    }

    /// Whether any row may want an upgrade. What is stored later is sealed by the primary key, and short of Argon2id at most.
    async fn is_due(&self, wrap: bool, now: Instant, primary: &KeyName) -> Result<bool, CredentialStoreError> {
        let left = match &*self.settled.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(settled) if settled.primary == *primary && now < settled.at + AGAIN_AFTER => settled.left,
            Some(_) | None => return Ok(true),
        };
        Ok(wrap && self.store.sealed_count().await? != left)
    }

    async fn publish(&self) -> Result<(), CredentialStoreError> {
        let Progress { sealed, wrapped, upgraded, failed } = self.progress().await?;
        metrics::gauge!("landbridge_credentials_sealed").set(sealed as f64);
        metrics::gauge!("landbridge_credentials_wrapped").set(wrapped as f64);
        tracing::debug!(sealed, wrapped, upgraded, failed, "stored passwords are being wrapped");
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
