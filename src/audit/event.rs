//! Audit records.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::identity::{ClientId, NodeId, Timestamp, UserId};

/// What kind of thing happened. The code is stable: reports and alerts are written against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A credential was judged (or could not be).
    SignIn,
    /// A verdict that came after the answer; may have revoked what a backup granted.
    LateVerdict,
    SignOut,
    SessionEnded,
    CodeIssued,
    TokenIssued,
    TokenRefreshed,
    TokenRefused,
    GrantRevoked,
    /// An admin operation, by its name, such as `domain.set-method`.
    Admin(&'static str),
    /// Somebody asked for the admin API who is no principal of it.
    AdminRefused,
    FailoverStarted,
    FailoverEnded,
    AlertRaised,
    AlertCleared,
    SyncRun,
    SyncExport,
    GuardHeld,
    CredentialStored,
    CredentialQuarantined,
    CredentialWiped,
    CredentialOutdated,
    /// A stored password is on the list of leaked ones.
    LeakedPasswordFound,
    LeakedPasswordCleared,
    AccountStateChanged,
    /// A directory took an object over that was made in the cloud.
    ObjectMatched,
    /// Objects whose deletion is beyond restoring are gone for good.
    DirectoryPurged,
    /// Settings gave domains to connectors or took them away; refused where too many people depend on it.
    DomainsRegistered,
    KeyRingRolled,
    SigningKeyRotated,
    /// New metadata of a federation partner was taken over because the partner had signed it.
    PartnerRenewed,
    AgentEnrolled,
    AgentRenewed,
    /// A sync server began a new epoch of the engine lease.
    EngineLeaseTaken,
    Started,
    Stopped,
}

impl EventKind {
    pub const fn code(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::LateVerdict => "late-verdict",
            Self::SignOut => "sign-out",
            Self::SessionEnded => "session-ended",
            Self::CodeIssued => "code-issued",
            Self::TokenIssued => "token-issued",
            Self::TokenRefreshed => "token-refreshed",
            Self::TokenRefused => "token-refused",
            Self::GrantRevoked => "grant-revoked",
            Self::Admin(operation) => operation,
            Self::AdminRefused => "admin-refused",
            Self::FailoverStarted => "failover-started",
            Self::FailoverEnded => "failover-ended",
            Self::AlertRaised => "alert-raised",
            Self::AlertCleared => "alert-cleared",
            Self::SyncRun => "sync-run",
            Self::SyncExport => "sync-export",
            Self::GuardHeld => "guard-held",
            Self::CredentialStored => "credential-stored",
            Self::CredentialQuarantined => "credential-quarantined",
            Self::CredentialWiped => "credential-wiped",
            Self::CredentialOutdated => "credential-outdated",
            Self::LeakedPasswordFound => "leaked-password-found",
            Self::LeakedPasswordCleared => "leaked-password-cleared",
            Self::AccountStateChanged => "account-state-changed",
            Self::ObjectMatched => "object-matched",
            Self::DirectoryPurged => "directory-purged",
            Self::DomainsRegistered => "domains-registered",
            Self::KeyRingRolled => "key-ring-rolled",
            Self::SigningKeyRotated => "signing-key-rotated",
            Self::PartnerRenewed => "partner-renewed",
            Self::AgentEnrolled => "agent-enrolled",
            Self::AgentRenewed => "agent-renewed",
            Self::EngineLeaseTaken => "engine-lease-taken",
            Self::Started => "started",
            Self::Stopped => "stopped",
        }
    }
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "id")]
pub enum Actor {
    /// The gateway itself, by the name of the part.
    System(String),
    /// An admin principal, as the peer uid maps to it.
    Admin(String),
    User(UserId),
    /// Somebody who has not proved anything.
    Anonymous,
    Client(ClientId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// An admin operation is about to run; its end is a record of its own.
    Begun,
    Success,
    Refused,
    Unavailable,
    Failed,
}

impl Outcome {
    pub const fn code(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Success => "success",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        }
    }
}

/// Something to be recorded.
#[derive(Clone, Debug)]
pub struct Event {
    pub kind: EventKind,
    pub outcome: Outcome,
    pub actor: Actor,
    /// What it was done to: an `oid`, a domain, a connector, a client.
    pub subject: Option<String>,
    /// The exact reason, a stable code such as `wrong-password`.
    pub reason: Option<String>,
    /// Further facts. Never a secret, never a whole assertion.
    pub detail: serde_json::Map<String, serde_json::Value>,
}

impl Event {
    pub fn new(kind: EventKind, outcome: Outcome, actor: Actor) -> Self {
        Self { kind, outcome, actor, subject: None, reason: None, detail: serde_json::Map::new() }
    }

    pub fn about(mut self, subject: impl fmt::Display) -> Self {
        self.subject = Some(subject.to_string());
        self
    }

    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    pub fn with(mut self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        self.detail.insert(key.to_owned(), value.into());
        self
    }
}

/// The gapless number of a record on its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditNumber {
    pub node: NodeId,
    pub number: i64,
}

impl fmt::Display for AuditNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.number)
    }
}

/// A record as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    #[serde(flatten)]
    pub number: AuditNumber,
    pub at: Timestamp,
    pub kind: String,
    pub outcome: String,
    pub actor: Actor,
    pub subject: Option<String>,
    pub reason: Option<String>,
    pub detail: serde_json::Map<String, serde_json::Value>,
}
