//! `failover.set-group`: sets what failover is for a group of a domain.

use serde::{Deserialize, Serialize};

use super::sign_in_desk::desk_error;
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::{DomainName, GroupFailover};
use crate::signin::desk::{GroupPolicy, SignInDesk};

pub struct FailoverSetGroup;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub domain: DomainName,
    /// By `oid` or display name.
    pub group: String,
    /// As for the domain when left out.
    #[serde(default)]
    pub failover: Option<GroupFailover>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    /// All groups of the domain with a policy of their own.
    pub groups: Vec<GroupPolicy>,
}

impl Operation for FailoverSetGroup {
    const NAME: &'static str = "failover.set-group";
    const RIGHT: Right = Right::ManageSignIn;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Response;
    type Gateway = SignInDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.domain.to_string())
    }

    async fn run(desk: &SignInDesk, admin: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let Request { domain, group, failover } = request;
        let groups = desk.set_group_failover(&domain, &group, failover, admin.principal()).await;
        Ok(Response { groups: groups.map_err(desk_error)? })
    }
}
