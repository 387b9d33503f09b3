//! What the domain and user operations work on, and what they answer with.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::OperationError;
use crate::identity::{AuthenticationMethod, Backup, DomainName, EntityId, FailoverMode, Timestamp};
use crate::store::StoreError;
use crate::store::tenant::{CloudError, DomainError, TenantStore};
use crate::tenant::verification::DnsTxt;
use crate::tenant::{Domain, PinMark, Verification};

/// The service behind `domain.*` and `user.*`.
pub struct Tenant {
    pub store: TenantStore,
    /// From this share of the object quota on, in percent, there is a warning.
    pub quota_warning: u8,
    pub dns: Arc<dyn DnsTxt>,
}

/// A domain as administrators see it.
#[derive(Debug, Serialize, Deserialize)]
pub struct DomainSummary {
    pub name: DomainName,
    pub verification: Verification,
    pub method: AuthenticationMethod,
    pub method_since: Timestamp,
    pub backup: Backup,
    pub failover: FailoverMode,
    pub max_hash_age_seconds: u64,
    pub pin: Option<PinMark>,
    pub partner: Option<EntityId>,
    /// Names the state that a change was decided on.
    pub version: i64,
}

impl From<Domain> for DomainSummary {
    fn from(domain: Domain) -> Self {
        Self {
            name: domain.name,
            verification: domain.verification,
            method: domain.method,
            method_since: domain.method_since,
            backup: domain.backup,
            failover: domain.failover,
            max_hash_age_seconds: domain.max_hash_age.as_secs(),
            pin: domain.pin,
            partner: domain.partner,
            version: domain.version,
        }
    }
}

/// The TXT record that proves a domain.
#[derive(Debug, Serialize, Deserialize)]
pub struct TxtRecord {
    pub name: String,
    pub text: String,
}

impl TxtRecord {
    pub(super) fn of(domain: &Domain) -> Self {
        Self { name: crate::tenant::verification::record_name(domain), text: domain.challenge.clone() }
    }
}

pub(super) fn domain_error(error: DomainError) -> OperationError {
    match error {
        unknown @ DomainError::Unknown(_) => OperationError::not_found(unknown.to_string()),
        DomainError::Store(error) => store_error(error),
        refused @ (DomainError::Exists(_)
        | DomainError::OtherInitial { .. }
        | DomainError::Initial(_)
        | DomainError::Changed { .. }
        | DomainError::NotVerified(_)
        | DomainError::NoPartner(_)) => OperationError::refused(refused.to_string()),
    }
}

pub(super) fn cloud_error(error: CloudError) -> OperationError {
    match error {
        unknown @ CloudError::Unknown(_) => OperationError::not_found(unknown.to_string()),
        CloudError::Store(error) => store_error(error),
        refused @ (CloudError::Refused(_) | CloudError::MasteredOnPremises(..)) => {
            OperationError::refused(refused.to_string())
        }
    }
}

pub(super) fn store_error(error: StoreError) -> OperationError {
    OperationError::internal(&error)
}

/// The domain, or the answer that there is none.
pub(super) async fn known(tenant: &Tenant, name: &DomainName) -> Result<Domain, OperationError> {
    let found = tenant.store.read_domain(name).await.map_err(store_error)?;
    found.ok_or_else(|| domain_error(DomainError::Unknown(name.clone())))
}
