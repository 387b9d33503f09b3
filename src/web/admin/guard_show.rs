//! `guard.show`: what the guard holds, with the changes that a release would let pass.

use serde::{Deserialize, Serialize};

use super::sync_desk::SyncDesk;
use super::{AdminSession, Operation, OperationError, Right};
use crate::sync::guard::Hold;

pub struct GuardShow;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {}

impl Operation for GuardShow {
    const NAME: &'static str = "guard.show";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Vec<Hold>;
    type Gateway = SyncDesk;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(desk: &SyncDesk, _: &AdminSession, _: Request) -> Result<Vec<Hold>, OperationError> {
        desk.runner.store.holds().await.map_err(|error| OperationError::internal(&error))
    }
}
