//! `domain.show`: a domain, its record, its connectors, and how many of its users could sign in.

use serde::{Deserialize, Serialize};

use super::tenant::{DomainSummary, Tenant, TxtRecord, known, store_error};
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::{ConnectorName, DomainName};
use crate::store::tenant::DomainReadiness;
use crate::tenant::Verification;

pub struct DomainShow;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub name: DomainName,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub domain: DomainSummary,
    /// The record that is waited for, of a pending domain.
    pub record: Option<TxtRecord>,
    /// The connectors that may speak for the domain.
    pub connectors: Vec<ConnectorName>,
    /// Hashes are stale by the domain's own limit.
    pub readiness: DomainReadiness,
}

impl Operation for DomainShow {
    const NAME: &'static str = "domain.show";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Response;
    type Gateway = Tenant;

    fn subject(request: &Request) -> Option<String> {
        Some(request.name.to_string())
    }

    async fn run(tenant: &Tenant, _: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let domain = known(tenant, &request.name).await?;
        let fresh_since = tenant.store.now() - domain.max_hash_age;
        let readiness = tenant.store.readiness(&domain.name, fresh_since).await.map_err(store_error)?;
        let connectors = tenant.store.connectors_of(&domain.name).await.map_err(store_error)?;
        let pending = domain.verification == Verification::Pending;
        let record = pending.then(|| TxtRecord::of(&domain));
        Ok(Response { record, connectors, readiness, domain: domain.into() })
    }
}
