//! `rollout.add`: moves some people of a domain to another method ahead of it.

use super::sign_in_desk::desk_error;
use super::{AdminSession, Operation, OperationError, Right};
use crate::signin::desk::{AddRollout, RolloutSet, SignInDesk};

pub struct RolloutAdd;

impl Operation for RolloutAdd {
    const NAME: &'static str = "rollout.add";
    const RIGHT: Right = Right::ManageSignIn;
    const CHANGES: bool = true;
    type Request = AddRollout;
    type Response = RolloutSet;
    type Gateway = SignInDesk;

    fn subject(request: &AddRollout) -> Option<String> {
        Some(request.domain.to_string())
    }

    async fn run(desk: &SignInDesk, admin: &AdminSession, request: AddRollout) -> Result<RolloutSet, OperationError> {
        desk.add_rollout(request, admin.principal()).await.map_err(desk_error)
    }
}
