//! `domain.set-method`: changes how a domain's users sign in, after saying who could not.

use super::sign_in_desk::desk_error;
use super::{AdminSession, Operation, OperationError, Right};
use crate::signin::desk::{MethodSet, SetMethod, SignInDesk};

pub struct DomainSetMethod;

impl Operation for DomainSetMethod {
    const NAME: &'static str = "domain.set-method";
    const RIGHT: Right = Right::ManageSignIn;
    const CHANGES: bool = true;
    type Request = SetMethod;
    type Response = MethodSet;
    type Gateway = SignInDesk;

    fn subject(request: &SetMethod) -> Option<String> {
        Some(request.domain.to_string())
    }

    async fn run(desk: &SignInDesk, admin: &AdminSession, request: SetMethod) -> Result<MethodSet, OperationError> {
        desk.set_method(request, admin.principal()).await.map_err(desk_error)
    }
}
