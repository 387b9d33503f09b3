//! Who may connect, and who may renew.

use super::registry::{Agent, AgentCertificate, AgentRegistry, Fingerprint, RegistryDown};
use crate::identity::Timestamp;

/// An agent that showed a certificate of ours and its key, is enrolled and not revoked.
#[derive(Clone, Debug)]
pub struct AuthenticatedAgent {
    agent: Agent,
    certificate: AgentCertificate,
}

/// What a certificate is shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Connect,
    /// An expired certificate counts for `grace` more.
    Renew {
        grace: std::time::Duration,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum NotAdmitted {
    #[error("no certificate was shown")]
    NoCertificate,
    #[error("the certificate is of no enrolled agent")]
    Unknown,
    #[error("the agent is revoked")]
    Revoked,
    #[error("the certificate has ended; renew it, or enrol the agent anew")]
    Ended,
    #[error("a newer certificate of the agent is in use; was this machine copied?")]
    Superseded,
    #[error(transparent)]
    Registry(#[from] RegistryDown),
}

impl AuthenticatedAgent {
    /// `shown`: the certificate, in DER, whose chain and key the TLS handshake has verified.
    pub async fn authenticate(
        registry: &dyn AgentRegistry,
        shown: Option<&[u8]>,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<Self, NotAdmitted> {
        let fingerprint = Fingerprint::of(shown.ok_or(NotAdmitted::NoCertificate)?);
        let shown = registry.shown(&fingerprint).await?.ok_or(NotAdmitted::Unknown)?;
        if shown.agent.revoked_at.is_some() {
            return Err(NotAdmitted::Revoked);
        }
        if shown.superseded {
            return Err(NotAdmitted::Superseded);
        }
        let ends = match purpose {
            Purpose::Connect => shown.certificate.expires_at,
            Purpose::Renew { grace } => shown.certificate.expires_at + grace,
        };
        if ends <= now {
            return Err(NotAdmitted::Ended);
        }
        Ok(Self { agent: shown.agent, certificate: shown.certificate })
    }

    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    pub fn certificate(&self) -> &AgentCertificate {
        &self.certificate
    }
}
