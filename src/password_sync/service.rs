//! All channels of the gateway: passes on time or on request, single reads in between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::channel::{Channel, ChannelError, Depth};
use super::report::PassReport;
use super::wrapping::Wrapping;
use crate::identity::{ConnectorName, LeaseEpoch, causes};

/// Whether this node may write, and under which epoch. `None` while another node holds the engine lease.
#[async_trait]
pub trait EngineEpoch: Send + Sync {
    async fn current(&self) -> Option<LeaseEpoch>;
}

/// The channels, one per connector.
pub struct PasswordSync {
    channels: BTreeMap<ConnectorName, Running>,
    epoch: Arc<dyn EngineEpoch>,
    wrapping: Wrapping,
    interval: Duration,
}

struct Running {
    channel: Channel,
    /// A pass and a round of single reads take turns.
    turn: tokio::sync::Mutex<()>,
    /// Asks for a look at the single reads now.
    asked: Notify,
}

#[derive(Debug, thiserror::Error)]
pub enum PasswordSyncError {
    #[error("another node holds the engine lease; its password channel runs")]
    NotHolder,
    #[error("there is no connector {0}")]
    UnknownConnector(ConnectorName),
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

/// Between two looks for users that wait for a single read.
const FETCH_INTERVAL: Duration = Duration::from_secs(2);
/// Between two looks for sealed rows that are to be wrapped.
const WRAPPING_INTERVAL: Duration = Duration::from_secs(5);

impl PasswordSync {
    pub fn new(
        channels: impl IntoIterator<Item = Channel>,
        epoch: Arc<dyn EngineEpoch>,
        wrapping: Wrapping,
        interval: Duration,
    ) -> Self {
        let running = |channel: Channel| {
            let name = channel.connector.clone();
            (name, Running { channel, turn: tokio::sync::Mutex::default(), asked: Notify::new() })
        };
        let channels = channels.into_iter().map(running).collect();
        Self { channels, epoch, wrapping, interval }
    }

    pub fn connectors(&self) -> impl Iterator<Item = &ConnectorName> {
        self.channels.keys()
    }

    pub fn wrapping(&self) -> &Wrapping {
        &self.wrapping
    }

    /// Runs a pass over `connector` now and waits for its end.
    pub async fn run_pass(&self, connector: &ConnectorName, depth: Depth) -> Result<PassReport, PasswordSyncError> {
        let running =
            self.channels.get(connector).ok_or_else(|| PasswordSyncError::UnknownConnector(connector.clone()))?;
        let epoch = self.epoch.current().await.ok_or(PasswordSyncError::NotHolder)?;
        let _turn = running.turn.lock().await;
        let report = running.channel.run_pass(epoch, depth).await?;
        running.asked.notify_one();
        Ok(report)
    }

    /// Looks for single reads at once: something was provisioned.
    pub fn wake(&self) {
        self.channels.values().for_each(|running| running.asked.notify_one());
    }

    /// Runs the channels until `stop`. Errors are logged here; the next round tries again.
    pub async fn run(&self, scheduled: bool, stop: CancellationToken) {
        tokio::join!(self.run_channels(scheduled, &stop), self.run_wrapping(&stop));
    }

    /// Each at its own pace: a directory that is slow, or hangs, holds up its own channel and no other.
    async fn run_channels(&self, scheduled: bool, stop: &CancellationToken) {
        let loops = self.channels.iter().map(|(name, running)| self.run_channel(name, running, scheduled, stop));
        futures::future::join_all(loops).await;
    }

    async fn run_channel(&self, name: &ConnectorName, running: &Running, scheduled: bool, stop: &CancellationToken) {
        let mut passes = every(self.interval);
        let mut fetches = every(FETCH_INTERVAL);
        loop {
            let full = tokio::select! {
                () = stop.cancelled() => return,
                _ = passes.tick(), if scheduled => true,
                _ = fetches.tick() => false,
                () = running.asked.notified() => false,
            };
            let round = async {
                let Some(epoch) = self.epoch.current().await else { return };
                let _turn = running.turn.lock().await;
                let outcome = match full {
                    true => running.channel.run_pass(epoch, Depth::Changes).await.map(|report| report.stored),
                    false => running.channel.run_fetches(epoch).await,
                };
                match outcome {
                    Ok(0) => {}
                    Ok(stored) => tracing::info!(connector = %name, stored, "passwords were synchronised"),
                    Err(error) => {
                        tracing::warn!(connector = %name, error = causes(&error), "the password channel stopped");
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = round => {}
            }
        }
    }

    /// Apart from the channels: wrapping a first pass takes long, and no new user waits for it.
    async fn run_wrapping(&self, stop: &CancellationToken) {
        let mut rounds = every(WRAPPING_INTERVAL);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = rounds.tick() => {}
            }
            let Some(epoch) = self.epoch.current().await else { continue };
            tokio::select! {
                () = stop.cancelled() => return,
                outcome = self.wrapping.run_round(epoch) => if let Err(error) = outcome {
                    tracing::warn!(error = causes(&error), "stored hashes could not be wrapped");
                }
            }
        }
    }
}

fn every(interval: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}
