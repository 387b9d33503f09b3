//! What the gateway keeps of agents: tokens, agents, their certificates, and the nodes that agents connect to.

use std::fmt;

use agent_proto::GatewayNode;
use agent_proto::answer::VerifyingKey;
use agent_proto::sealed::SealingKey;
use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};

use crate::agents::Calling;
use crate::audit::Event;
use crate::identity::{AgentId, NodeId, Timestamp};

/// SHA-256 of a certificate in DER, in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    pub fn of(certificate: &[u8]) -> Self {
        Self(hex::encode(digest(&SHA256, certificate)))
    }

    /// One that was stored.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A one-time enrolment token as it is stored; its secret is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredToken {
    /// SHA-256 of the secret, in hexadecimal digits.
    pub secret_hash: String,
    pub calling: Calling,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// An enrolled machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    pub id: AgentId,
    pub calling: Calling,
    /// What its machine and its release call themselves.
    pub host: String,
    pub software: String,
    pub enrolled_at: Timestamp,
    /// When a node last had a connection of it.
    pub seen_at: Option<Timestamp>,
    /// It is to take no more checks.
    pub draining: bool,
    pub revoked_at: Option<Timestamp>,
    /// When the newest of its certificates ends.
    pub certificate_ends: Option<Timestamp>,
}

/// A certificate with the keys that it binds.
#[derive(Clone, Debug)]
pub struct AgentCertificate {
    pub fingerprint: Fingerprint,
    pub agent: AgentId,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    pub sealing: SealingKey,
    pub verifying: VerifyingKey,
}

/// What the store says of a certificate that somebody shows.
#[derive(Clone, Debug)]
pub struct Shown {
    pub agent: Agent,
    pub certificate: AgentCertificate,
    /// A newer certificate of the agent has been used.
    pub superseded: bool,
}

/// What open connections must hear of soon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    pub revoked: Vec<AgentId>,
    pub draining: Vec<AgentId>,
    /// The nodes that were alive lately, by name.
    pub nodes: Vec<GatewayNode>,
}

/// The registry cannot be read or written now.
#[derive(Debug, thiserror::Error)]
#[error("the agents' tables cannot be used")]
pub struct RegistryDown(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Whether a token was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenUse {
    Taken,
    /// Somebody else was first.
    UsedBefore,
}

#[async_trait]
pub trait AgentRegistry: Send + Sync {
    async fn add_token(&self, token: StoredToken) -> Result<(), RegistryDown>;

    /// The token of a secret's hash that is unused and not expired at `now`.
    async fn token(&self, secret_hash: &str, now: Timestamp) -> Result<Option<StoredToken>, RegistryDown>;

    /// Uses the token and lets the agent in, with `event`, in one transaction.
    async fn enrol(
        &self,
        secret_hash: &str,
        agent: Agent,
        certificate: AgentCertificate,
        event: Event,
    ) -> Result<TokenUse, RegistryDown>;

    async fn shown(&self, fingerprint: &Fingerprint) -> Result<Option<Shown>, RegistryDown>;

    async fn renew(&self, certificate: AgentCertificate, event: Event) -> Result<(), RegistryDown>;

    /// A connection with this certificate was opened: older ones of the agent open no more.
    async fn connected(
        &self,
        agent: AgentId,
        fingerprint: &Fingerprint,
        host: &str,
        software: &str,
        at: Timestamp,
    ) -> Result<(), RegistryDown>;

    async fn agents(&self) -> Result<Vec<Agent>, RegistryDown>;

    /// A sync server has taken the changes of the directory up to `number`.
    async fn note_feed_read(&self, agent: AgentId, number: i64) -> Result<(), RegistryDown>;

    /// What every sync server that is not revoked has taken; `None` while there is none, or one has read nothing yet.
    async fn feed_read(&self) -> Result<Option<i64>, RegistryDown>;

    /// `false`: there is no such agent, or it is revoked already.
    async fn revoke(&self, agent: AgentId, at: Timestamp) -> Result<bool, RegistryDown>;

    /// `false`: there is no such agent, or it is revoked.
    async fn set_draining(&self, agent: AgentId, draining: bool) -> Result<bool, RegistryDown>;

    async fn report_node(&self, node: &NodeId, url: &str, at: Timestamp) -> Result<(), RegistryDown>;

    /// Nodes count as alive that reported since `alive_since`.
    async fn notices(&self, alive_since: Timestamp) -> Result<Notices, RegistryDown>;
}
