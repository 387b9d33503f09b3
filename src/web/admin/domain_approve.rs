//! `domain.approve`: approves a change that another principal has proposed.

use serde::{Deserialize, Serialize};

use super::sign_in_desk::desk_error;
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::ChangeId;
use crate::signin::change::MethodChange;
use crate::signin::desk::SignInDesk;

pub struct DomainApprove;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub change: ChangeId,
}

impl Operation for DomainApprove {
    const NAME: &'static str = "domain.approve";
    const RIGHT: Right = Right::ManageSignIn;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = MethodChange;
    type Gateway = SignInDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.change.to_string())
    }

    async fn run(desk: &SignInDesk, admin: &AdminSession, request: Request) -> Result<MethodChange, OperationError> {
        desk.approve(request.change, admin.principal()).await.map_err(desk_error)
    }
}
