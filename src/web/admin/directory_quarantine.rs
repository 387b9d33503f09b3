//! `directory.quarantine`: names and addresses that objects go without, since others hold them.

use serde::{Deserialize, Serialize};

use super::paging::PageSize;
use super::tenant::{Tenant, store_error};
use super::{AdminSession, Operation, OperationError, Right};
use crate::store::tenant::{QuarantinePosition, WaitingValue};

pub struct DirectoryQuarantine;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Only values in which this text occurs, without regard to case.
    #[serde(default)]
    pub search: String,
    /// `next` of the page before.
    #[serde(default)]
    pub after: Option<QuarantinePosition>,
    #[serde(default)]
    pub limit: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub values: Vec<WaitingValue>,
    /// Where the next page begins; absent at the end.
    pub next: Option<QuarantinePosition>,
}

impl Operation for DirectoryQuarantine {
    const NAME: &'static str = "directory.quarantine";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Response;
    type Gateway = Tenant;

    fn subject(request: &Request) -> Option<String> {
        (!request.search.is_empty()).then(|| request.search.clone())
    }

    async fn run(tenant: &Tenant, _: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let size = PageSize::asked(request.limit);
        let after = request.after.unwrap_or_default();
        let listed = tenant.store.quarantine(&request.search, &after, size.to_read()).await;
        let (values, next) = size.cut(listed.map_err(store_error)?, |last| QuarantinePosition {
            kind: last.kind.clone(),
            value: last.value.clone(),
            oid: last.waiting.id.to_string(),
        });
        Ok(Response { values, next })
    }
}
