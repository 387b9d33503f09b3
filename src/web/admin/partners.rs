//! What the partner operations work on, and how they show a partner.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::OperationError;
use crate::federation::renewal::LookError;
use crate::federation::{Partner, PartnerRenewal, PartnerStore, PartnerStoreError};
use crate::identity::{Clock, DomainName, EntityId, Timestamp};
use crate::saml::SigningCertificate;

/// The partners of the tenant.
pub struct Partners {
    pub store: Arc<dyn PartnerStore>,
    pub renewal: Arc<PartnerRenewal>,
    pub clock: Arc<dyn Clock>,
    /// The gateway's own SAML metadata, to be given to partners.
    pub own_metadata: String,
}

/// A partner as administrators see it.
#[derive(Debug, Serialize, Deserialize)]
pub struct PartnerSummary {
    pub entity_id: EntityId,
    pub domains: Vec<DomainName>,
    pub sso_url: String,
    /// When its last signing certificate ends.
    pub certificate_expires: Timestamp,
    /// Where the gateway looks for newer metadata each hour.
    #[serde(default)]
    pub metadata_url: Option<String>,
    /// SHA-256 of the certificates that may sign its assertions.
    #[serde(default)]
    pub certificates: Vec<String>,
    /// SHA-256 of the certificate that signs its metadata, where one is pinned.
    #[serde(default)]
    pub metadata_signer: Option<String>,
}

impl From<&Partner> for PartnerSummary {
    fn from(partner: &Partner) -> Self {
        Self {
            entity_id: partner.entity_id().clone(),
            domains: partner.domains().to_vec(),
            sso_url: partner.endpoint().location.to_string(),
            certificate_expires: partner.last_certificate_expiry(),
            metadata_url: partner.source().map(|source| source.url.to_string()),
            certificates: partner.certificates().iter().map(SigningCertificate::fingerprint).collect(),
            metadata_signer: partner.source().and_then(|source| Some(source.signer.as_ref()?.fingerprint())),
        }
    }
}

pub(super) fn look_error(error: &LookError) -> OperationError {
    OperationError::internal(error)
}

pub(super) fn store_error(error: PartnerStoreError) -> OperationError {
    match error {
        taken @ PartnerStoreError::DomainTaken { .. } => OperationError::refused(taken.to_string()),
        down @ PartnerStoreError::Unavailable(_) => OperationError::internal(&down),
    }
}
