//! `domain.verify`: proves a domain by its TXT record, or takes the operator's word, and gives its users their names.

use serde::{Deserialize, Serialize};

use super::tenant::{DomainSummary, Tenant, TxtRecord, domain_error, known, store_error};
use super::{AdminSession, Kind, Operation, OperationError, Right};
use crate::identity::DomainName;
use crate::store::tenant::NewVerification;
use crate::tenant::ExportWarning;
use crate::tenant::verification::{proves, record_name};

pub struct DomainVerify;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub name: DomainName,
    /// Do not look for the record: the operator vouches for the domain.
    #[serde(default)]
    pub vouched: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub domain: DomainSummary,
    /// Users whose names were calculated anew.
    pub recalculated: u64,
    pub warnings: Vec<ExportWarning>,
}

impl Operation for DomainVerify {
    const NAME: &'static str = "domain.verify";
    const RIGHT: Right = Right::ManageTenant;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Response;
    type Gateway = Tenant;

    fn subject(request: &Request) -> Option<String> {
        Some(request.name.to_string())
    }

    async fn run(tenant: &Tenant, _: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let domain = known(tenant, &request.name).await?;
        let how = if request.vouched { NewVerification::Operator } else { NewVerification::Dns };
        // A domain that is verified stays so: repeating only gives the names anew.
        if how == NewVerification::Dns && !domain.verification.is_verified() {
            let name = record_name(&domain);
            let texts = tenant.dns.texts(&name).await.map_err(|error| {
                let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
                OperationError::new(Kind::Unavailable, format!("{error}{cause}"))
            })?;
            if !proves(&domain, &texts) {
                let message = format!("{name} has no TXT record `{}` yet", domain.challenge);
                return Err(OperationError::refused(message).with_detail(TxtRecord::of(&domain)));
            }
        }
        let domain = tenant.store.mark_verified(&request.name, how, None).await.map_err(domain_error)?;
        let (recalculated, warnings) = tenant.store.recalculate(&request.name).await.map_err(store_error)?;
        Ok(Response { domain: domain.into(), recalculated, warnings })
    }
}
