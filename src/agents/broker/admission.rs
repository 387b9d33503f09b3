//! Who may connect, who may renew, and who may synchronise.

use std::collections::BTreeSet;
use std::time::Duration;

use super::registry::{Agent, AgentCertificate, AgentRegistry, Fingerprint, RegistryDown, Shown};
use crate::agents::Calling;
use crate::identity::{AgentId, ConnectorName, DomainName, Timestamp};

/// An agent that showed a certificate of ours and its key, is enrolled for live checks and not revoked.
#[derive(Clone, Debug)]
pub struct AuthenticatedAgent {
    agent: Agent,
    certificate: AgentCertificate,
    connector: ConnectorName,
    domains: Vec<DomainName>,
}

/// A sync server that showed a certificate of ours and its key, is enrolled as one and not revoked.
#[derive(Clone, Debug)]
pub struct AuthenticatedSyncServer {
    pub id: AgentId,
    /// The connectors that it may bring.
    pub connectors: BTreeSet<ConnectorName>,
    pub fingerprint: Fingerprint,
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
    #[error("this machine is enrolled as {0}, and may not do that")]
    OtherCalling(Calling),
    #[error(transparent)]
    Registry(#[from] RegistryDown),
}

fn fingerprint(shown: Option<&[u8]>) -> Result<Fingerprint, NotAdmitted> {
    Ok(Fingerprint::of(shown.ok_or(NotAdmitted::NoCertificate)?))
}

/// Of a certificate whose chain and key the TLS handshake has verified. One that has ended counts for `grace` more.
async fn admit(
    registry: &dyn AgentRegistry,
    fingerprint: &Fingerprint,
    grace: Duration,
    now: Timestamp,
) -> Result<Shown, NotAdmitted> {
    let shown = registry.shown(fingerprint).await?.ok_or(NotAdmitted::Unknown)?;
    if shown.agent.revoked_at.is_some() {
        return Err(NotAdmitted::Revoked);
    }
    if shown.superseded {
        return Err(NotAdmitted::Superseded);
    }
    if shown.certificate.expires_at + grace <= now {
        return Err(NotAdmitted::Ended);
    }
    Ok(shown)
}

/// Whose certificate is renewed, whatever it is enrolled for.
pub(super) async fn renewing(
    registry: &dyn AgentRegistry,
    shown: Option<&[u8]>,
    grace: Duration,
    now: Timestamp,
) -> Result<(Agent, AgentCertificate), NotAdmitted> {
    let Shown { agent, certificate, .. } = admit(registry, &fingerprint(shown)?, grace, now).await?;
    Ok((agent, certificate))
}

impl AuthenticatedAgent {
    /// Of the certificate, in DER, whose chain and key the TLS handshake has verified.
    pub async fn authenticate(
        registry: &dyn AgentRegistry,
        shown: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Self, NotAdmitted> {
        let admitted = admit(registry, &fingerprint(shown)?, Duration::ZERO, now).await?;
        let Shown { agent, certificate, .. } = admitted;
        match agent.calling.clone() {
            Calling::Checks { connector, domains } => Ok(Self { agent, certificate, connector, domains }),
            other @ Calling::Synchronise { .. } => Err(NotAdmitted::OtherCalling(other)),
        }
    }

    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    pub fn certificate(&self) -> &AgentCertificate {
        &self.certificate
    }

    pub fn connector(&self) -> &ConnectorName {
        &self.connector
    }

    pub fn domains(&self) -> &[DomainName] {
        &self.domains
    }
}

impl AuthenticatedSyncServer {
    /// Of the certificate, in DER, whose chain and key the TLS handshake has verified. Asked with each request, so that a
    /// revocation counts at once.
    pub async fn authenticate(
        registry: &dyn AgentRegistry,
        shown: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Self, NotAdmitted> {
        Self::known(registry, &fingerprint(shown)?, now).await
    }

    /// Whether one that was authenticated before would still be.
    pub async fn known(
        registry: &dyn AgentRegistry,
        fingerprint: &Fingerprint,
        now: Timestamp,
    ) -> Result<Self, NotAdmitted> {
        let Shown { agent, certificate, .. } = admit(registry, fingerprint, Duration::ZERO, now).await?;
        match agent.calling {
            Calling::Synchronise { connectors } => {
                Ok(Self { id: agent.id, connectors, fingerprint: certificate.fingerprint })
            }
            other @ Calling::Checks { .. } => Err(NotAdmitted::OtherCalling(other)),
        }
    }
}
