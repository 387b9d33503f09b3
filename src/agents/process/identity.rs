//! Who the agent is: its keys, its certificate, and whom it believes. One file in the state folder, which nobody else
//! can read.

use std::path::{Path, PathBuf};

use agent_proto::answer::SigningKey;
use agent_proto::enrolment::{Enrolled, KeyRequest};
use agent_proto::sealed::OpeningKey;
use agent_proto::{AgentId, GatewayNode, SpkiPin};
use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use x509_parser::prelude::FromDer as _;
use zeroize::{Zeroize, Zeroizing};

use super::super::{Calling, key_request};
use crate::identity::{ConnectorName, Timestamp};
use crate::os;

/// An enrolled agent's identity.
#[derive(Debug)]
pub struct Identity {
    pub agent: AgentId,
    pub calling: Calling,
    /// Of the gateway's authority.
    pub pin: SpkiPin,
    /// Where it was enrolled; asked when no other node is known.
    pub first_url: String,
    pub certificate: CertificateDer<'static>,
    pub begins: Timestamp,
    pub ends: Timestamp,
    pub keys: Keys,
}

/// An agent's three private keys.
pub struct Keys {
    pub opening: OpeningKey,
    pub signing: SigningKey,
    /// PKCS #8.
    tls: Zeroizing<Vec<u8>>,
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("this machine is not enrolled: there is no {}; run `landbridge agent enrol`", .0.display())]
    NotEnrolled(PathBuf),
    #[error("the agent's identity {} cannot be read", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the agent's identity {} cannot be written", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("the agent's identity {} is damaged; enrol the agent anew", .0.display())]
    Damaged(PathBuf),
    #[error("keys cannot be made")]
    Keys,
    #[error("the gateway answered with what is no certificate for this agent")]
    Certificate,
}

/// The file. Bytes are hexadecimal digits.
#[derive(Serialize, Deserialize, Zeroize)]
#[zeroize(drop)]
struct Stored {
    agent: String,
    connector: String,
    domains: Vec<String>,
    pin: String,
    first_url: String,
    certificate: String,
    tls_key: String,
    opening_key: String,
    sealing_key: String,
    signing_key: String,
    /// Of a sync server: its connectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    synchronised: Option<Vec<String>>,
}

impl Keys {
    pub fn generate() -> Result<Self, IdentityError> {
        let tls = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|_| IdentityError::Keys)?;
        Ok(Self {
            opening: OpeningKey::generate().map_err(|_| IdentityError::Keys)?,
            signing: SigningKey::generate().map_err(|_| IdentityError::Keys)?,
            tls: Zeroizing::new(tls.serialize_der()),
        })
    }

    /// Asks for a certificate for these keys.
    pub fn request(&self) -> Result<KeyRequest, IdentityError> {
        let tls = KeyPair::try_from(self.tls.as_slice()).map_err(|_| IdentityError::Keys)?;
        key_request::make(&tls, self.opening.public(), &self.signing).map_err(|_| IdentityError::Keys)
    }

    pub fn tls(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.tls.to_vec()))
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Identity {
    /// What the gateway made of `keys`.
    pub fn enrolled(
        enrolled: Enrolled,
        keys: Keys,
        pin: SpkiPin,
        first_url: String,
    ) -> Result<(Self, Vec<GatewayNode>), IdentityError> {
        let calling = Calling::from_wire(&enrolled.connector, &enrolled.domains, enrolled.synchronised.as_deref());
        let calling = calling.ok_or(IdentityError::Certificate)?;
        let identity = Self::new(enrolled.agent, calling, pin, first_url, enrolled.certificate, keys)?;
        Ok((identity, enrolled.nodes))
    }

    fn new(
        agent: AgentId,
        calling: Calling,
        pin: SpkiPin,
        first_url: String,
        certificate: Vec<u8>,
        keys: Keys,
    ) -> Result<Self, IdentityError> {
        let (begins, ends) = validity(&certificate, &keys).ok_or(IdentityError::Certificate)?;
        let certificate = CertificateDer::from(certificate);
        Ok(Self { agent, calling, pin, first_url, certificate, begins, ends, keys })
    }

    /// Of an agent, the connector whose directory it checks at.
    pub fn connector(&self) -> Option<&ConnectorName> {
        match &self.calling {
            Calling::Checks { connector, .. } => Some(connector),
            Calling::Synchronise { .. } => None,
        }
    }

    pub fn file(state: &Path) -> PathBuf {
        state.join("identity.json")
    }

    pub fn load(state: &Path) -> Result<Self, IdentityError> {
        let path = Self::file(state);
        let text = match std::fs::read(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(IdentityError::NotEnrolled(path));
            }
            Err(source) => return Err(IdentityError::Read { path, source }),
        };
        let stored: Stored = serde_json::from_slice(&text).map_err(|_| IdentityError::Damaged(path.clone()))?;
        stored.read().ok_or(IdentityError::Damaged(path))
    }

    pub fn save(&self, state: &Path) -> Result<(), IdentityError> {
        let path = Self::file(state);
        let refuse = |source| IdentityError::Write { path: path.clone(), source };
        let (connector, domains, synchronised) = self.calling.to_wire();
        let stored = Stored {
            agent: hex::encode(self.agent.bytes()),
            connector,
            domains,
            pin: self.pin.to_string(),
            first_url: self.first_url.clone(),
            certificate: hex::encode(&self.certificate),
            tls_key: hex::encode(&*self.keys.tls),
            opening_key: hex::encode(self.keys.opening.private_bytes()),
            sealing_key: hex::encode(self.keys.opening.public().bytes()),
            signing_key: hex::encode(self.keys.signing.pkcs8()),
            synchronised,
        };
        let text = serde_json::to_vec(&stored).map(Zeroizing::new).map_err(|error| refuse(error.into()))?;
        os::make_private_folder(state).map_err(refuse)?;
        os::write_private(&path, &text).map_err(refuse)
    }

    /// Whether it is time for a new certificate: two thirds of its life have passed, or all of it.
    pub fn wants_renewal(&self, now: Timestamp) -> bool {
        now >= self.begins + self.ends.since(self.begins) * 2 / 3
    }

    pub fn has_ended(&self, now: Timestamp) -> bool {
        now >= self.ends
    }

    /// The identifier as the gateway's operators see it.
    pub fn id(&self) -> crate::identity::AgentId {
        crate::identity::AgentId::from_uuid(uuid::Uuid::from_bytes(self.agent.bytes()))
    }
}

impl Stored {
    fn read(&self) -> Option<Identity> {
        let secret = |text: &str| hex::decode(text).ok().map(Zeroizing::new);
        let tls = secret(&self.tls_key)?;
        let public = hex::decode(&self.sealing_key).ok()?;
        let keys = Keys {
            opening: OpeningKey::from_parts(secret(&self.opening_key)?, &public).ok()?,
            signing: SigningKey::from_pkcs8(secret(&self.signing_key)?).ok()?,
            tls,
        };
        let agent = AgentId::new(hex::decode(&self.agent).ok()?.try_into().ok()?);
        let calling = Calling::from_wire(&self.connector, &self.domains, self.synchronised.as_deref())?;
        let certificate = hex::decode(&self.certificate).ok()?;
        Identity::new(agent, calling, self.pin.parse().ok()?, self.first_url.clone(), certificate, keys).ok()
    }
}

/// When the certificate begins and ends; `None` when it is not one for these keys.
fn validity(certificate: &[u8], keys: &Keys) -> Option<(Timestamp, Timestamp)> {
    use rcgen::PublicKeyData as _;

    let (rest, parsed) = x509_parser::certificate::X509Certificate::from_der(certificate).ok()?;
    let tls = KeyPair::try_from(keys.tls.as_slice()).ok()?;
    let ours = parsed.public_key().raw == tls.subject_public_key_info();
    let validity = parsed.validity();
    let at = |time: x509_parser::time::ASN1Time| Timestamp::from_secs(time.timestamp());
    (rest.is_empty() && ours).then(|| (at(validity.not_before), at(validity.not_after)))
}
