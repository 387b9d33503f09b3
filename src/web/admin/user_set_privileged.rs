//! `user.set-privileged`: whether a user of the cloud may be taken over by a directory.

use serde::{Deserialize, Serialize};

use super::tenant::{Tenant, cloud_error};
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::UserId;

pub struct UserSetPrivileged;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// A sign-in name, or an `oid`.
    pub user: String,
    pub privileged: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub oid: UserId,
}

impl Operation for UserSetPrivileged {
    const NAME: &'static str = "user.set-privileged";
    const RIGHT: Right = Right::ManageTenant;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Response;
    type Gateway = Tenant;

    fn subject(request: &Request) -> Option<String> {
        Some(request.user.clone())
    }

    async fn run(tenant: &Tenant, _: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let oid = tenant.store.set_privileged(&request.user, request.privileged).await.map_err(cloud_error)?;
        Ok(Response { oid })
    }
}
