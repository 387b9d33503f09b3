//! `user.add`: a user of the cloud, whom no connector owns until one takes it over.

use serde::{Deserialize, Serialize};

use super::tenant::{Tenant, cloud_error};
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::{Upn, UserId};
use crate::store::tenant::CloudUser;
use crate::tenant::matching::parse_source_anchor;

pub struct UserAdd;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub upn: Upn,
    #[serde(default)]
    pub display_name: Option<String>,
    #[serde(default)]
    pub mail: Option<String>,
    /// A directory's object with this anchor takes the user over.
    #[serde(default)]
    pub source_anchor: Option<String>,
    /// Nothing takes the user over.
    #[serde(default)]
    pub privileged: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub oid: UserId,
}

impl Operation for UserAdd {
    const NAME: &'static str = "user.add";
    const RIGHT: Right = Right::ManageTenant;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Response;
    type Gateway = Tenant;

    fn subject(request: &Request) -> Option<String> {
        Some(request.upn.to_string())
    }

    async fn run(tenant: &Tenant, _: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let anchor = request.source_anchor.as_deref().map(parse_source_anchor).transpose();
        let source_anchor = anchor.map_err(|error| OperationError::refused(error.to_string()))?;
        let Request { upn, display_name, mail, privileged, .. } = request;
        let user = CloudUser { upn, display_name, mail, source_anchor, privileged };
        let oid = tenant.store.add_cloud_user(user).await.map_err(cloud_error)?;
        Ok(Response { oid })
    }
}
