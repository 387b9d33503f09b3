//! `domain.add`: a domain that is still to be proved.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::tenant::{DomainSummary, Tenant, TxtRecord, domain_error};
use super::{AdminSession, Kind, Operation, OperationError, Right};
use crate::identity::DomainName;
use crate::tenant::verification::challenge;

pub struct DomainAdd;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub name: DomainName,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub domain: DomainSummary,
    /// What to publish before `domain.verify`.
    pub record: TxtRecord,
    /// No name server on the internet answers for such a name: only an operator can vouch for it.
    pub non_routable: bool,
}

impl Operation for DomainAdd {
    const NAME: &'static str = "domain.add";
    const RIGHT: Right = Right::ManageTenant;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Response;
    type Gateway = Tenant;

    fn subject(request: &Request) -> Option<String> {
        Some(request.name.to_string())
    }

    async fn run(tenant: &Tenant, _: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let mut random = [0; 16];
        let drawn = SystemRandom::new().fill(&mut random);
        drawn.map_err(|_| OperationError::new(Kind::Internal, "the operating system gave no random bytes"))?;
        let non_routable = request.name.is_non_routable();
        let domain = tenant.store.add_domain(request.name, challenge(random)).await.map_err(domain_error)?;
        Ok(Response { record: TxtRecord::of(&domain), domain: domain.into(), non_routable })
    }
}
