//! The gateway's own certification authority for agents, and for the listener that they reach it on.
//!
//! It signs nothing else. Its key is a secret of the installation, the same on all nodes. Agents know it by the pin of
//! its public key, so that no public authority stands between.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent_proto::SpkiPin;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData as _, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::super::key_request::{self, CheckedRequest, KeyRequestError};
use super::registry::{AgentCertificate, Fingerprint};
use crate::identity::{AgentId, Timestamp};

/// Agents pin the authority; they are enrolled anew when it ends.
const LIFETIME: Duration = Duration::from_secs(20 * 365 * 86_400);
/// A node issues itself a new certificate at every start, and when half of this has passed.
pub const SERVER_LIFETIME: Duration = Duration::from_secs(30 * 86_400);
/// Clocks of agents' machines may be behind by this much.
const CLOCK_SLACK: Duration = Duration::from_secs(3600);

/// The certification authority, opened.
pub struct AgentAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pin: SpkiPin,
}

#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("the agents' certification authority cannot be made or read")]
    Key(#[source] rcgen::Error),
    #[error("a certificate for {0} cannot be issued")]
    Issue(String, #[source] rcgen::Error),
    #[error("the key of the agents' listener cannot be used")]
    Tls(#[from] rustls::Error),
    #[error("an agent's keys are refused")]
    Request(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl AuthorityError {
    /// Whether whoever asked is to blame.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Request(_))
    }
}

impl From<KeyRequestError> for AuthorityError {
    fn from(error: KeyRequestError) -> Self {
        Self::Request(Box::new(error))
    }
}

impl AgentAuthority {
    /// A new authority: its private key (PKCS #8) and its certificate.
    pub fn generate(now: Timestamp) -> Result<(Zeroizing<Vec<u8>>, CertificateDer<'static>), AuthorityError> {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Key)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named("Landbridge agents");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_before = system_time(now - CLOCK_SLACK).into();
        params.not_after = system_time(now + LIFETIME).into();
        let certificate = params.self_signed(&pair).map_err(AuthorityError::Key)?;
        Ok((Zeroizing::new(pair.serialize_der()), certificate.der().clone()))
    }

    pub fn open(pkcs8: &[u8], certificate: &[u8]) -> Result<Self, AuthorityError> {
        let pair = KeyPair::try_from(pkcs8).map_err(AuthorityError::Key)?;
        let pin = SpkiPin::of(&pair.subject_public_key_info());
        let certificate = CertificateDer::from(certificate.to_vec());
        let issuer = Issuer::from_ca_cert_der(&certificate, pair).map_err(AuthorityError::Key)?;
        Ok(Self { issuer, certificate, pin })
    }

    /// What agents know the authority by.
    pub fn pin(&self) -> SpkiPin {
        self.pin
    }

    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Checks an agent's request, and certifies its keys until `until`.
    pub fn certify(
        &self,
        request: &agent_proto::enrolment::KeyRequest,
        agent: AgentId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<(Vec<u8>, AgentCertificate), AuthorityError> {
        let CheckedRequest { tls, keys } = key_request::check(request)?;
        let mut params = leaf(&agent.to_string(), now, until);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.custom_extensions = vec![keys.extension()];
        let issued = params
            .signed_by(&tls, &self.issuer)
            .map_err(|source| AuthorityError::Issue(format!("agent {agent}"), source))?;
        let der = issued.der().to_vec();
        let certificate = AgentCertificate {
            fingerprint: Fingerprint::of(&der),
            agent,
            issued_at: now,
            expires_at: until,
            sealing: keys.sealing,
            verifying: keys.verifying,
        };
        Ok((der, certificate))
    }

    /// A certificate and a new key for the agents' listener at `host`.
    pub fn server_identity(
        &self,
        host: &str,
        now: Timestamp,
    ) -> Result<Arc<rustls::sign::CertifiedKey>, AuthorityError> {
        let refuse = |source| AuthorityError::Issue(host.to_owned(), source);
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(refuse)?;
        let mut params = leaf(host, now, now + SERVER_LIFETIME);
        params.subject_alt_names = CertificateParams::new(vec![host.to_owned()]).map_err(refuse)?.subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let issued = params.signed_by(&pair, &self.issuer).map_err(refuse)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)?;
        let chain = vec![issued.der().clone(), self.certificate.clone()];
        Ok(Arc::new(rustls::sign::CertifiedKey::new(chain, key)))
    }
}

fn leaf(name: &str, now: Timestamp, until: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = system_time(now - CLOCK_SLACK).into();
    params.not_after = system_time(until).into();
    params.serial_number = Some(SerialNumber::from_slice(&uuid::Uuid::new_v4().into_bytes()));
    params.use_authority_key_identifier_extension = true;
    params
}

fn named(name: &str) -> rcgen::DistinguishedName {
    let mut named = rcgen::DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + at.since(Timestamp::from_millis(0))
}
