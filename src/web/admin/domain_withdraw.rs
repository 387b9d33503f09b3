//! `domain.withdraw`: takes a domain away from a connector that the settings no longer give it to.

use serde::{Deserialize, Serialize};

use super::tenant::{Tenant, known, store_error};
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::{ConnectorName, DomainName};

pub struct DomainWithdraw;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub name: DomainName,
    pub connector: ConnectorName,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub name: DomainName,
    pub connector: ConnectorName,
}

impl Operation for DomainWithdraw {
    const NAME: &'static str = "domain.withdraw";
    const RIGHT: Right = Right::ManageTenant;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Response;
    type Gateway = Tenant;

    fn subject(request: &Request) -> Option<String> {
        Some(request.name.to_string())
    }

    async fn run(tenant: &Tenant, _: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let Request { name, connector } = request;
        known(tenant, &name).await?;
        match tenant.store.withdraw_domain(&connector, &name).await.map_err(store_error)? {
            true => Ok(Response { name, connector }),
            false => Err(OperationError::refused(format!("{connector} does not speak for {name}"))),
        }
    }
}
