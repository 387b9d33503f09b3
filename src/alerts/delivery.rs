//! The work of bringing notices to channels, and what operators see of it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{Channel, Edge, GIVE_UP, NotTaken, Notice, Outbox, OutboxDown};
use crate::identity::{Clock, Timestamp, causes};

/// How long a channel may take for one notice; less than the first pause, so that no other node sends it meanwhile.
const DEADLINE: Duration = Duration::from_secs(25);
/// Between two looks for notices.
const LOOK: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(1800);
/// How long notices are kept.
const KEPT: Duration = Duration::from_secs(30 * 86_400);
/// Between two removals of old ones.
const TRIM: Duration = Duration::from_secs(3600);

/// The pause after so many tries.
fn pause(tries: i64) -> Duration {
    let doublings = tries.clamp(1, 16) - 1;
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}

async fn send(channel: &dyn Channel, notice: &Notice) -> Result<(), NotTaken> {
    let sent = tokio::time::timeout(DEADLINE, channel.send(notice)).await;
    sent.unwrap_or_else(|_| Err(NotTaken::Now(format!("no answer within {} s", DEADLINE.as_secs()))))
}

/// Brings notices to the channels.
pub struct Delivery {
    pub outbox: Arc<dyn Outbox>,
    pub channels: Vec<Arc<dyn Channel>>,
    pub clock: Arc<dyn Clock>,
}

impl Delivery {
    /// Until `stop`. One channel that is slow or down holds up no other.
    pub async fn run(self, stop: CancellationToken) {
        let each = self.channels.iter().map(|channel| self.serve(&**channel, &stop));
        tokio::join!(futures::future::join_all(each), self.trim(&stop));
    }

    async fn serve(&self, channel: &dyn Channel, stop: &CancellationToken) {
        let mut known = false;
        while !stop.is_cancelled() {
            // What a stop interrupts is due again later.
            let step = tokio::select! {
                () = stop.cancelled() => return,
                step = self.step(channel, &mut known) => step,
            };
            let more = match step {
                Ok(more) => more,
                Err(error) => {
                    tracing::warn!(channel = %channel.name(), error = causes(&error), "no alert could be sent");
                    false
                }
            };
            if !more {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        }
    }

    /// Sends the oldest notice that is due; `false` when there is none, or it was not taken.
    async fn step(&self, channel: &dyn Channel, known: &mut bool) -> Result<bool, OutboxDown> {
        let name = channel.name();
        if !*known {
            self.outbox.register(name).await?;
            *known = true;
        }
        let Some(notice) = self.outbox.claim(name, self.clock.now(), pause).await? else { return Ok(false) };
        // A channel that was away for long, or out of the settings, does not get news of last month.
        let sent = match self.clock.now().since(notice.at) > GIVE_UP {
            true => Err(NotTaken::Ever("it waited for too long".to_owned())),
            false => send(channel, &notice).await,
        };
        match sent {
            Ok(()) => {
                self.outbox.delivered(name, notice.number, self.clock.now()).await?;
                Ok(true)
            }
            Err(why) => {
                let give_up = matches!(why, NotTaken::Ever(_));
                let (alert, subject) = (&notice.alert, &notice.subject);
                tracing::warn!(channel = %name, alert, subject, why = %why, give_up, "an alert was not taken");
                self.outbox.failed(name, notice.number, &why.to_string(), give_up).await?;
                Ok(give_up)
            }
        }
    }

    async fn trim(&self, stop: &CancellationToken) {
        let mut rounds = tokio::time::interval(TRIM);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = rounds.tick() => {}
            }
            if let Err(error) = self.outbox.trim(self.clock.now() - KEPT).await {
                tracing::warn!(error = causes(&error), "old alerts could not be removed");
            }
        }
    }
}

/// What operators ask and try.
pub struct AlertDesk {
    pub outbox: Arc<dyn Outbox>,
    pub channels: Vec<Arc<dyn Channel>>,
    pub clock: Arc<dyn Clock>,
}

/// A channel, for operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelStatus {
    pub name: String,
    /// Notices that it has not taken yet.
    pub waiting: i64,
    pub delivered_at: Option<Timestamp>,
    /// Tries of the oldest one.
    pub tries: i64,
    pub next_try: Option<Timestamp>,
    pub last_error: Option<String>,
    pub given_up: i64,
}

/// Why a test of a channel came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    #[error("there is no channel {0:?}; the settings name {1}")]
    NoChannel(String, String),
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
}

impl AlertDesk {
    pub async fn status(&self) -> Result<Vec<ChannelStatus>, OutboxDown> {
        let mut all = Vec::new();
        for channel in &self.channels {
            let Some(progress) = self.outbox.progress(channel.name()).await? else { continue };
            all.push(ChannelStatus {
                name: channel.name().to_string(),
                waiting: progress.waiting,
                delivered_at: progress.delivered_at,
                tries: progress.tries,
                next_try: progress.next_try,
                last_error: progress.last_error,
                given_up: progress.given_up,
            });
        }
        Ok(all)
    }

    /// Sends a notice that says that it is a test, now and once.
    pub async fn test(&self, name: &str, asked_by: &str) -> Result<(), TestError> {
        let channel = self.channels.iter().find(|channel| channel.name().as_str() == name);
        let Some(channel) = channel else {
            let names: Vec<&str> = self.channels.iter().map(|channel| channel.name().as_str()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(TestError::NoChannel(name.to_owned(), names));
        };
        let notice = Notice {
            number: 0,
            alert: "test".to_owned(),
            subject: name.to_owned(),
            detail: format!("{asked_by} tries this channel; nothing is wrong"),
            edge: Edge::Test,
            at: self.clock.now(),
        };
        Ok(send(&**channel, &notice).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_an_hour_and_outlast_a_try() {
        let pauses: Vec<u64> = (1..=8).map(|tries| pause(tries).as_secs()).collect();
        assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1800, 1800]);
        assert!(pause(i64::MAX) == LONGEST_PAUSE && DEADLINE < pause(0));
    }
}
