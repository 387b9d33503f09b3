//! What is removed once in a while: each minute on every node, each hour on the node that holds the engine lease.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::upkeep::FeedReaders;
use crate::identity::{Clock, causes};
use crate::issuer::Issuer;
use crate::password_sync::EngineEpoch;
use crate::signin::SignIn;
use crate::store::AuditLog;
use crate::store::signin::SignInTables;
use crate::store::tenant::TenantStore;

/// Between two sweeps of what has expired.
const SWEEP: Duration = Duration::from_secs(60);
/// Between two rounds.
const INTERVAL: Duration = Duration::from_secs(3600);

/// How long an expired session is kept: longer than a code of it can be redeemed.
const SESSION_KEPT: Duration = Duration::from_secs(3600);

/// Judges addresses that an older version exported, purges what was deleted long ago, removes expired sessions, and trims the change feed.
pub struct Housekeeping {
    pub sign_in: Arc<SignInTables>,
    pub clock: Arc<dyn Clock>,
    pub tenant: TenantStore,
    pub audit: AuditLog,
    pub epoch: Arc<dyn EngineEpoch>,
    pub feed_readers: Arc<dyn FeedReaders>,
}

impl Housekeeping {
    pub async fn run(self, stop: CancellationToken) {
        let mut rounds = tokio::time::interval(INTERVAL);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = rounds.tick() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.round() => {}
            }
        }
    }

    async fn round(&self) {
        let Some(epoch) = self.epoch.current().await else { return };
        match self.tenant.judge_addresses(epoch).await {
            Ok(0) => {}
            Ok(judged) => tracing::info!(judged, "addresses that were exported before they were unique were judged"),
            Err(error) => tracing::warn!(error = causes(&error), "addresses could not be judged"),
        }
        match self.tenant.purge_deleted(epoch, &self.audit).await {
            Ok(0) => {}
            Ok(purged) => tracing::info!(purged, "objects deleted 30 days ago were purged"),
            Err(error) => tracing::warn!(error = causes(&error), "deleted objects could not be purged"),
        }
        match self.tenant.forget_sources(epoch).await {
            Ok(0) => {}
            Ok(forgotten) => tracing::info!(forgotten, "what was kept of accounts that are nobody's was removed"),
            Err(error) => tracing::warn!(error = causes(&error), "accounts that are nobody's could not be forgotten"),
        }
        match self.sign_in.purge_sessions(self.clock.now() - SESSION_KEPT).await {
            Ok(purged) => tracing::debug!(purged, "expired sessions were removed"),
            Err(error) => tracing::warn!(error = causes(&error), "expired sessions could not be removed"),
        }
        // What the engine has not read yet stays, however old it is.
        let read = match self.feed_readers.read_up_to().await {
            Ok(read) => read,
            Err(error) => {
                return tracing::warn!(error = causes(&*error), "how far the change feed was read is not known");
            }
        };
        let Some(read) = read else { return };
        match self.tenant.trim_feed(epoch, read).await {
            Ok(0) => {}
            Ok(trimmed) => tracing::info!(trimmed, "old changes were dropped from the change feed"),
            Err(error) => tracing::warn!(error = causes(&error), "the change feed could not be trimmed"),
        }
    }
}

/// Removes what has expired, and follows other nodes' key rotations.
pub async fn sweep(sign_in: SignIn, issuer: Arc<Issuer>, stop: CancellationToken) {
    let mut interval = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = interval.tick() => {}
        }
        if let Err(error) = sign_in.sweep().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "expired sign-ins could not be removed");
        }
        if let Err(error) = issuer.purge().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "expired grants could not be removed");
        }
        if let Err(error) = issuer.keys().reload().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "signing keys could not be read again");
        }
    }
}
