//! Alerts reach people: each time one is raised or cleared, a notice goes to every channel of the settings, in order and at least
//! once, whichever node sends it.
//!
//! The notice is written in the transaction that raises the alert; what a channel has not taken waits in the store, so that neither
//! a node that dies nor a mail server that is down loses one.

mod certificates;
mod delivery;
mod mail;
mod webhook;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject as _};
use serde::{Deserialize, Serialize};

use crate::config::ChannelName;
use crate::identity::Timestamp;

pub use certificates::{CertificateWatch, Ending, Endings};
pub use delivery::{AlertDesk, ChannelStatus, Delivery, TestError};
pub use mail::MailChannel;
pub use webhook::{SIGNATURE, WebhookChannel};

/// After this time a notice is given up, and the next one tried.
const GIVE_UP: Duration = Duration::from_secs(3 * 86_400);

/// Whether something began or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edge {
    Raised,
    Cleared,
    /// Nothing happened: an operator tries the channel.
    Test,
}

impl Edge {
    pub const fn code(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Cleared => "cleared",
            Self::Test => "test",
        }
    }

    /// Reads what [`Self::code`] wrote.
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::Raised, Self::Cleared, Self::Test].into_iter().find(|edge| edge.code() == code)
    }
}

/// What goes to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Rises with each notice of the installation; a repetition has the same. 0: a test.
    pub number: i64,
    /// The name of the alert, such as `authority-down`.
    pub alert: String,
    /// What it is about: a connector, a domain, a network.
    pub subject: String,
    pub detail: String,
    pub edge: Edge,
    pub at: Timestamp,
}

/// Why a channel did not take a notice. Carries no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Worth trying again.
    #[error("{0}")]
    Now(String),
    /// This notice never will be; others may.
    #[error("{0}")]
    Ever(String),
}

/// Where notices go.
#[async_trait]
pub trait Channel: Send + Sync {
    fn name(&self) -> &ChannelName;

    /// Hands `notice` over; given up after 25 seconds.
    async fn send(&self, notice: &Notice) -> Result<(), NotTaken>;
}

/// A channel that cannot be used as the settings describe it.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    #[error("the CA file {0} cannot be read as PEM certificates")]
    Authorities(String, #[source] pem::Error),
    #[error("the client of channel {0} cannot be made")]
    Client(ChannelName, #[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The certification authorities of a PEM file.
fn authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, ChannelError> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| ChannelError::Authorities(file.display().to_string(), error))
}

/// How far a channel is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub waiting: i64,
    pub delivered_at: Option<Timestamp>,
    /// Of the notice that waits longest.
    pub tries: i64,
    pub next_try: Option<Timestamp>,
    pub last_error: Option<String>,
    /// Notices that were given up since the channel began.
    pub given_up: i64,
}

#[derive(Debug, thiserror::Error)]
#[error("the store did not answer about alerts")]
pub struct OutboxDown(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Notices that wait, on the store.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Makes a channel known: it gets what happens from now on.
    async fn register(&self, channel: &ChannelName) -> Result<(), OutboxDown>;

    /// The oldest notice that the channel has not taken, if it is due: then it is tried once, by the caller, and is due again
    /// after `pause(tries)`.
    async fn claim(
        &self,
        channel: &ChannelName,
        now: Timestamp,
        pause: fn(i64) -> Duration,
    ) -> Result<Option<Notice>, OutboxDown>;

    /// The channel took it.
    async fn delivered(&self, channel: &ChannelName, number: i64, at: Timestamp) -> Result<(), OutboxDown>;

    /// The channel did not; with `give_up`, it never will.
    async fn failed(&self, channel: &ChannelName, number: i64, why: &str, give_up: bool) -> Result<(), OutboxDown>;

    async fn progress(&self, channel: &ChannelName) -> Result<Option<Progress>, OutboxDown>;

    /// Removes notices from before `before`.
    async fn trim(&self, before: Timestamp) -> Result<(), OutboxDown>;
}
