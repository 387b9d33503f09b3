//! `partner.add`: takes a federation partner's metadata, for the domains that it answers for.

use serde::{Deserialize, Serialize};

use super::partners::{PartnerSummary, Partners, store_error};
use super::{AdminSession, Operation, OperationError, Right};
use crate::federation::Partner;
use crate::federation::partner::Claims;
use crate::identity::DomainName;
use crate::saml::metadata::IdentityProviderMetadata;

pub struct PartnerAdd;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The partner's SAML metadata, XML.
    pub metadata: String,
    pub domains: Vec<DomainName>,
    #[serde(default)]
    pub claims: Claims,
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
        partners.store.save(&partner, now).await.map_err(store_error)?;
        Ok(PartnerSummary::from(&partner))
    }
}
