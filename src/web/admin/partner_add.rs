//! `partner.add`: takes a federation partner's metadata, for the domains that it answers for.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use super::partners::{PartnerSummary, Partners, look_error, store_error};
use super::{AdminSession, Operation, OperationError, Right};
use crate::federation::Partner;
use crate::federation::partner::{Claims, MetadataSource};
use crate::identity::{DomainName, Timestamp};
use crate::saml::SigningCertificate;
use crate::saml::metadata::{IdentityProviderMetadata, secure_endpoint};

pub struct PartnerAdd;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The partner's SAML metadata, XML.
    pub metadata: String,
    pub domains: Vec<DomainName>,
    /// As they are, of a partner that is known; the usual ones otherwise.
    #[serde(default)]
    pub claims: Option<Claims>,
    #[serde(default)]
    pub published: Published,
}

/// Where the partner publishes newer metadata.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Published {
    /// Where it did, if the partner is known.
    #[default]
    AsBefore,
    At(Source),
    Nowhere,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub url: String,
    /// Who may vouch for the address, PEM.
    #[serde(default)]
    pub authorities: Option<String>,
    /// Who signs the metadata, PEM with one certificate.
    #[serde(default)]
    pub signer: Option<String>,
}

impl Source {
    fn read(self, now: Timestamp) -> Result<MetadataSource, OperationError> {
        let refuse = |what: &str, error: &dyn std::fmt::Display| OperationError::refused(format!("{what}: {error}"));
        let authorities = CertificateDer::pem_slice_iter(self.authorities.as_deref().unwrap_or_default().as_bytes());
        let authorities: Vec<_> = authorities.collect::<Result<_, _>>().map_err(|e| refuse("authorities", &e))?;
        if authorities.is_empty() && self.authorities.is_some() {
            return Err(OperationError::refused("authorities: there is no certificate in it".to_owned()));
        }
        let signer = match self.signer.as_deref().map(SigningCertificate::all_from_pem).transpose() {
            Ok(None) => None,
            Ok(Some(certificates)) => match <[_; 1]>::try_from(certificates) {
                Ok([certificate]) => Some(certificate),
                Err(_) => return Err(OperationError::refused("signer: give one certificate".to_owned())),
            },
            Err(error) => return Err(refuse("signer", &error)),
        };
        if signer.as_ref().is_some_and(|signer| signer.has_expired(now)) {
            return Err(OperationError::refused("signer: the certificate has expired".to_owned()));
        }
        Ok(MetadataSource { url: secure_endpoint(&self.url).map_err(|e| refuse("url", &e))?, authorities, signer })
    }
}

impl Operation for PartnerAdd {
    const NAME: &'static str = "partner.add";
    const RIGHT: Right = Right::ManageTenant;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = PartnerSummary;
    type Gateway = Partners;

    fn subject(request: &Request) -> Option<String> {
        Some(request.domains.iter().map(DomainName::as_str).collect::<Vec<_>>().join(","))
    }

    async fn run(partners: &Partners, _: &AdminSession, request: Request) -> Result<PartnerSummary, OperationError> {
        let refuse = |error: &dyn std::fmt::Display| OperationError::refused(error.to_string());
        let metadata = IdentityProviderMetadata::parse(&request.metadata).map_err(|e| refuse(&e))?;
        let now = partners.clock.now();
        let former = partners.store.partner(&metadata.entity_id).await.map_err(store_error)?;
        let claims = request.claims.or_else(|| former.as_ref().map(|former| former.claims().clone()));
        let claims = claims.unwrap_or_default();
        let mut partner = Partner::from_metadata(metadata, request.domains, claims, now).map_err(|e| refuse(&e))?;
        if let Some(former) = &former {
            partner = partner.in_place_of(former);
        }
        let source = match request.published {
            Published::AsBefore => former.as_ref().and_then(Partner::source).cloned(),
            Published::At(source) => Some(source.read(now)?),
            Published::Nowhere => None,
        };
        if let Some(source) = source {
            partner = partner.published_at(source);
        }
        partners.store.save(&partner, now).await.map_err(store_error)?;
        partners.renewal.settle(partner.entity_id()).await.map_err(|error| look_error(&error))?;
        Ok(PartnerSummary::from(&partner))
    }
}
