//! `directory.quota`: how many objects the directory holds, and how many it may.

use serde::{Deserialize, Serialize};

use super::tenant::{Tenant, store_error};
use super::{AdminSession, Operation, OperationError, Right};

pub struct DirectoryQuota;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    /// Undeleted objects.
    pub objects: i64,
    pub quota: i64,
    /// As many as there is a warning from.
    pub warning_from: i64,
    pub warning: bool,
}

impl Operation for DirectoryQuota {
    const NAME: &'static str = "directory.quota";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Response;
    type Gateway = Tenant;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(tenant: &Tenant, _: &AdminSession, _: Request) -> Result<Response, OperationError> {
        let (objects, quota) = tenant.store.object_usage().await.map_err(store_error)?;
        let warning_from = quota.saturating_mul(i64::from(tenant.quota_warning)) / 100;
        Ok(Response { objects, quota, warning_from, warning: objects >= warning_from })
    }
}
