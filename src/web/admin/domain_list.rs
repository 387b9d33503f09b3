//! `domain.list`: the domains of the tenant and how their users sign in.

use serde::{Deserialize, Serialize};

use super::tenant::{DomainSummary, Tenant, store_error};
use super::{AdminSession, Operation, OperationError, Right};

pub struct DomainList;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub domains: Vec<DomainSummary>,
}

impl Operation for DomainList {
    const NAME: &'static str = "domain.list";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Response;
    type Gateway = Tenant;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(tenant: &Tenant, _: &AdminSession, _: Request) -> Result<Response, OperationError> {
        let domains = tenant.store.read_domains().await.map_err(store_error)?;
        Ok(Response { domains: domains.into_iter().map(DomainSummary::from).collect() })
    }
}
