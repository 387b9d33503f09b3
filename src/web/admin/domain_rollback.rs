//! `domain.rollback`: gives a domain back the method before its last change, or ends its canary.

use serde::{Deserialize, Serialize};

use super::sign_in_desk::desk_error;
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::DomainName;
use crate::signin::desk::{MethodSet, SignInDesk};

pub struct DomainRollback;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub domain: DomainName,
    /// Even if more people could not sign in afterwards than cannot now.
    #[serde(default)]
    pub force: bool,
}

impl Operation for DomainRollback {
    const NAME: &'static str = "domain.rollback";
    const RIGHT: Right = Right::ManageSignIn;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = MethodSet;
    type Gateway = SignInDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.domain.to_string())
    }

    async fn run(desk: &SignInDesk, admin: &AdminSession, request: Request) -> Result<MethodSet, OperationError> {
        desk.rollback(&request.domain, request.force, admin.principal()).await.map_err(desk_error)
    }
}
