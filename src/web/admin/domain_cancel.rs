//! `domain.cancel`: withdraws a change that is proposed or scheduled.

use serde::{Deserialize, Serialize};

use super::sign_in_desk::desk_error;
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::ChangeId;
use crate::signin::change::MethodChange;
use crate::signin::desk::SignInDesk;

pub struct DomainCancel;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub change: ChangeId,
}

impl Operation for DomainCancel {
    const NAME: &'static str = "domain.cancel";
    const RIGHT: Right = Right::ManageSignIn;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = MethodChange;
    type Gateway = SignInDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.change.to_string())
    }

    async fn run(desk: &SignInDesk, admin: &AdminSession, request: Request) -> Result<MethodChange, OperationError> {
        desk.cancel(request.change, admin.principal()).await.map_err(desk_error)
    }
}
