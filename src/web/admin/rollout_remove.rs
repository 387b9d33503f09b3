//! `rollout.remove`: ends a staged rollout.

use super::sign_in_desk::desk_error;
use super::{AdminSession, Operation, OperationError, Right};
use crate::signin::desk::{RemoveRollout, RolloutSet, SignInDesk};

pub struct RolloutRemove;

impl Operation for RolloutRemove {
    const NAME: &'static str = "rollout.remove";
    const RIGHT: Right = Right::ManageSignIn;
    const CHANGES: bool = true;
    type Request = RemoveRollout;
    type Response = RolloutSet;
    type Gateway = SignInDesk;

    fn subject(request: &RemoveRollout) -> Option<String> {
        Some(request.domain.to_string())
    }

    async fn run(
        desk: &SignInDesk,
        admin: &AdminSession,
        request: RemoveRollout,
    ) -> Result<RolloutSet, OperationError> {
        desk.remove_rollout(request, admin.principal()).await.map_err(desk_error)
    }
}
