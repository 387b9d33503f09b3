//! `partner.add`: takes a federation partner's metadata, for the domains that it answers for.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use super::partners::{PartnerSummary, Partners, store_error};
use super::{AdminSession, Operation, OperationError, Right};
use crate::federation::Partner;
use crate::federation::partner::{Claims, MetadataSource};
use crate::identity::DomainName;
use crate::saml::SigningCertificate;
use crate::saml::metadata::{IdentityProviderMetadata, secure_endpoint};

pub struct PartnerAdd;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The partner's SAML metadata, XML.
    pub metadata: String,
    pub domains: Vec<DomainName>,
    #[serde(default)]
    pub claims: Claims,
    /// Where the partner publishes newer metadata.
    #[serde(default)]
    pub source: Option<Source>,
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
    fn read(self) -> Result<MetadataSource, OperationError> {
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
        let partner = Partner::from_metadata(metadata, request.domains, request.claims, now).map_err(|e| refuse(&e))?;
        let partner = match request.source {
            Some(source) => partner.published_at(source.read()?),
            None => partner,
        };
        partners.store.save(&partner, now).await.map_err(store_error)?;
        Ok(PartnerSummary::from(&partner))
    }
}
