//! What operators see of the channel.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::store::CredentialStoreError;
use crate::identity::{ConnectorName, SourceAnchor, Timestamp, UserId};

/// Reads the channel's state.
#[async_trait]
pub trait ChannelOverview: Send + Sync {
    async fn connectors(&self) -> Result<Vec<ConnectorOverview>, CredentialStoreError>;

    /// Accounts whose last result is not a success and concerns a user, at most `limit`.
    async fn problems(&self, limit: u32) -> Result<Vec<AccountProblem>, CredentialStoreError>;

    /// Users whose stored password is on the list of leaked ones, those found last first, at most `limit`.
    async fn leaked(&self, limit: u32) -> Result<Vec<LeakedUser>, CredentialStoreError>;
}

/// The channel of one connector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorOverview {
    pub connector: ConnectorName,
    pub last_started: Timestamp,
    /// Start of the last pass that read the connector to its end.
    pub last_completed: Option<Timestamp>,
    pub error: Option<String>,
    /// Why the last pass could not look into the list of leaked passwords.
    pub leaked_error: Option<String>,
    /// Stored credentials by stage: sealed, wrapped, quarantined, wiped.
    pub credentials: BTreeMap<String, i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountProblem {
    pub connector: ConnectorName,
    pub anchor: SourceAnchor,
    pub oid: UserId,
    pub upn: String,
    pub result: String,
    pub detail: Option<String>,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakedUser {
    pub connector: ConnectorName,
    pub oid: UserId,
    pub upn: String,
    pub found_at: Timestamp,
    /// How often the password was met in leaks: `1`, `2-9`, `10-99`, `100-999`, `1000+`.
    pub met: String,
}
