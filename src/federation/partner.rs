//! A federation partner: an identity provider that answers for domains of the tenant.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::identity::{DomainName, EntityId, Timestamp};
use crate::saml::SigningCertificate;
use crate::saml::metadata::{Binding, IdentityProviderMetadata, MAX_CERTIFICATES, SsoEndpoint, secure_endpoint};

/// The attributes that may hold the user principal name, in this order, when a partner names none of its own.
pub const DEFAULT_UPN_ATTRIBUTES: [&str; 3] =
    ["IDPEmail", "http://schemas.xmlsoap.org/claims/UPN", "userPrincipalName"];

/// A partner that can be used: it has a domain, an endpoint that keeps requests private, and a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partner {
    domains: Vec<DomainName>,
    entity_id: EntityId,
    endpoint: SsoEndpoint,
    certificates: Vec<SigningCertificate>,
    claims: Claims,
    source: Option<MetadataSource>,
    /// Fingerprints of certificates that it had and gave up.
    given_up: Vec<String>,
}

/// Certificates that a partner has given up and that are remembered.
const MOST_GIVEN_UP: usize = 64;

/// Where a partner publishes its metadata, and what proves that it is the partner's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataSource {
    pub url: Url,
    /// Who may vouch for the address; the authorities of the system when empty.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Who signs the metadata; when `None`, whoever may sign the partner's assertions.
    pub signer: Option<SigningCertificate>,
}

/// How a partner's assertions are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Whether its word counts as a second factor.
    #[serde(default)]
    pub mfa: MfaBehaviour,
    /// Where the source anchor stands.
    #[serde(default)]
    pub anchor: AnchorSource,
    /// How the source anchor is written.
    #[serde(default)]
    pub anchor_encoding: AnchorEncoding,
    /// Attributes that may hold the user principal name. All that are present must agree.
    #[serde(default = "default_upn_attributes")]
    pub upn_attributes: Vec<String>,
}

impl Default for Claims {
    fn default() -> Self {
        Self {
            mfa: MfaBehaviour::default(),
            anchor: AnchorSource::default(),
            anchor_encoding: AnchorEncoding::default(),
            upn_attributes: default_upn_attributes(),
        }
    }
}

fn default_upn_attributes() -> Vec<String> {
    DEFAULT_UPN_ATTRIBUTES.map(str::to_owned).into()
}

/// Whether a partner's claim of multi-factor authentication is believed (design D13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MfaBehaviour {
    /// The gateway asks for its own second factor whatever the partner says.
    #[default]
    Reject,
    /// The partner's claim counts. Whoever holds its signing key can then claim it too.
    Accept,
}

/// Where an assertion carries the source anchor (the immutable id).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnchorSource {
    /// In the name identifier.
    #[default]
    NameId,
    /// In the attribute with this name.
    Attribute(String),
}

/// How an assertion writes the source anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnchorEncoding {
    /// Characters that are unsafe in a name identifier as `.` and two hexadecimal digits (`+` is `.2B`). Base64 has no dot, so
    /// a plain base64 anchor reads as itself.
    #[default]
    DotHex,
    /// As it is in the directory, dots included.
    Verbatim,
}

/// Why a partner cannot be configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartnerError {
    #[error("partner `{0}` answers for no domain")]
    NoDomain(EntityId),
    #[error("partner `{0}` has no usable signing certificate")]
    NoCertificate(EntityId),
    #[error("every signing certificate of partner `{entity_id}` has expired, the last on {last}")]
    CertificatesExpired { entity_id: EntityId, last: Timestamp },
    #[error("partner `{0}` has more than {MAX_CERTIFICATES} signing certificates")]
    TooManyCertificates(EntityId),
    #[error("partner `{0}` has no attribute for the user principal name")]
    NoUpnAttribute(EntityId),
    #[error("stored partner `{entity_id}` cannot be read: {reason}")]
    StoredMalformed { entity_id: EntityId, reason: String },
}

impl Partner {
    /// Configures the partner that this metadata describes for these domains.
    pub fn from_metadata(
        metadata: IdentityProviderMetadata,
        domains: Vec<DomainName>,
        claims: Claims,
        now: Timestamp,
    ) -> Result<Self, PartnerError> {
        let partner = Self {
            domains,
            entity_id: metadata.entity_id,
            endpoint: metadata.endpoint,
            certificates: metadata.certificates,
            claims,
            source: None,
            given_up: Vec::new(),
        };
        partner.check()?;
        if partner.certificates.iter().all(|certificate| certificate.has_expired(now)) {
            let last = partner.last_certificate_expiry();
            return Err(PartnerError::CertificatesExpired { entity_id: partner.entity_id, last });
        }
        Ok(partner)
    }

    /// The same partner, whose metadata is looked at where it is published.
    pub fn published_at(self, source: MetadataSource) -> Self {
        Self { source: Some(source), ..self }
    }

    /// The partner as newer metadata of its own describes it. What an operator has settled stays.
    pub fn renewed(&self, metadata: IdentityProviderMetadata, now: Timestamp) -> Result<Self, PartnerError> {
        let renewed = Self::from_metadata(metadata, self.domains.clone(), self.claims.clone(), now)?;
        Ok(Self { source: self.source.clone(), ..renewed }.in_place_of(self))
    }

    /// The same partner, which remembers the certificates that `former` had and it has not.
    pub fn in_place_of(self, former: &Self) -> Self {
        let has = |fingerprint: &String| self.certificates.iter().any(|one| one.fingerprint() == *fingerprint);
        let before = former.certificates.iter().map(SigningCertificate::fingerprint);
        let mut given_up: Vec<String> = Vec::new();
        for fingerprint in former.given_up.iter().cloned().chain(before).filter(|fingerprint| !has(fingerprint)) {
            if !given_up.contains(&fingerprint) {
                given_up.push(fingerprint);
            }
        }
        let forgotten = given_up.len().saturating_sub(MOST_GIVEN_UP);
        given_up.drain(..forgotten);
        Self { given_up, ..self }
    }

    /// Whether the partner had this certificate once, and gave it up.
    pub fn has_given_up(&self, certificate: &SigningCertificate) -> bool {
        self.given_up.contains(&certificate.fingerprint())
    }

    /// Where it publishes its metadata, if the gateway is to look there.
    pub fn source(&self) -> Option<&MetadataSource> {
        self.source.as_ref()
    }

    /// The domains it answers for; nothing it says about users of others is believed.
    pub fn domains(&self) -> &[DomainName] {
        &self.domains
    }

    /// Its entity id.
    pub fn entity_id(&self) -> &EntityId {
        &self.entity_id
    }

    /// Where requests go.
    pub fn endpoint(&self) -> &SsoEndpoint {
        &self.endpoint
    }

    /// The certificates that may sign its assertions; never empty.
    pub fn certificates(&self) -> &[SigningCertificate] {
        &self.certificates
    }

    /// How its assertions are read.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// When its last certificate ends: no user of its domains can sign in after that. For readiness and alerts.
    pub fn last_certificate_expiry(&self) -> Timestamp {
        self.certificates.iter().map(SigningCertificate::not_after).max().unwrap_or(Timestamp::from_millis(0))
    }

    fn check(&self) -> Result<(), PartnerError> {
        let entity_id = || self.entity_id.clone();
        if self.domains.is_empty() {
            Err(PartnerError::NoDomain(entity_id()))
        } else if self.certificates.is_empty() {
            Err(PartnerError::NoCertificate(entity_id()))
        } else if self.certificates.len() > MAX_CERTIFICATES {
            Err(PartnerError::TooManyCertificates(entity_id()))
        } else if self.claims.upn_attributes.is_empty() {
            Err(PartnerError::NoUpnAttribute(entity_id()))
        } else {
            Ok(())
        }
    }

    /// The form in which a store keeps it, beside its entity id.
    pub fn to_stored(&self) -> StoredPartner {
        StoredPartner {
            domains: self.domains.clone(),
            sso_url: self.endpoint.location.to_string(),
            binding: match self.endpoint.binding {
                Binding::Post => StoredBinding::Post,
                Binding::Redirect => StoredBinding::Redirect,
            },
            certificates: self.certificates.iter().map(SigningCertificate::base64).collect(),
            claims: self.claims.clone(),
            source: self.source.as_ref().map(|source| StoredSource {
                url: source.url.to_string(),
                authorities: source.authorities.iter().map(|der| BASE64_STANDARD.encode(der)).collect(),
                signer: source.signer.as_ref().map(SigningCertificate::base64),
            }),
            given_up: self.given_up.clone(),
        }
    }

    /// Reads what [`Partner::to_stored`] wrote. Expired certificates are no error here: verification passes over them.
    pub fn from_stored(entity_id: EntityId, stored: StoredPartner) -> Result<Self, PartnerError> {
        let malformed = |reason: String| PartnerError::StoredMalformed { entity_id: entity_id.clone(), reason };
        let certificates = stored
            .certificates
            .iter()
            .map(|text| SigningCertificate::from_base64(text))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| malformed(error.to_string()))?;
        let location = secure_endpoint(&stored.sso_url).map_err(|error| malformed(error.to_string()))?;
        let binding = match stored.binding {
            StoredBinding::Post => Binding::Post,
            StoredBinding::Redirect => Binding::Redirect,
        };
        let endpoint = SsoEndpoint { location, binding };
        let source = stored.source.clone().map(StoredSource::read).transpose().map_err(malformed)?;
        let StoredPartner { domains, claims, given_up, .. } = stored;
        let partner = Self { domains, entity_id, endpoint, certificates, claims, source, given_up };
        partner.check()?;
        Ok(partner)
    }
}

/// A partner as it is written to a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredPartner {
    domains: Vec<DomainName>,
    sso_url: String,
    binding: StoredBinding,
    certificates: Vec<String>,
    claims: Claims,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<StoredSource>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    given_up: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSource {
    url: String,
    authorities: Vec<String>,
    signer: Option<String>,
}

impl StoredSource {
    fn read(self) -> Result<MetadataSource, String> {
        let authority = |text: &String| BASE64_STANDARD.decode(text).map(CertificateDer::from);
        Ok(MetadataSource {
            url: secure_endpoint(&self.url).map_err(|error| error.to_string())?,
            authorities: self.authorities.iter().map(authority).collect::<Result<_, _>>().map_err(|e| e.to_string())?,
            signer: match &self.signer {
                Some(text) => Some(SigningCertificate::from_base64(text).map_err(|error| error.to_string())?),
                None => None,
            },
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredBinding {
    Post,
    Redirect,
}
