//! `password-sync.leaked`: whose stored password is on the list of leaked ones.

use serde::{Deserialize, Serialize};

use super::password_sync_status::PasswordDesk;
use super::{AdminSession, Operation, OperationError, Right};
use crate::password_sync::overview::LeakedUser;

pub struct PasswordSyncLeaked;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// At most so many, those found last first; a thousand when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

const USUAL: u32 = 1_000;
const MOST: u32 = 100_000;

impl Operation for PasswordSyncLeaked {
    const NAME: &'static str = "password-sync.leaked";
    /// Whose passwords can be guessed is not for everybody who may look.
    const RIGHT: Right = Right::ReadAudit;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Vec<LeakedUser>;
    type Gateway = PasswordDesk;

    fn subject(_: &Request) -> Option<String> {
        None
    }

    async fn run(desk: &PasswordDesk, _: &AdminSession, request: Request) -> Result<Vec<LeakedUser>, OperationError> {
        let limit = request.limit.unwrap_or(USUAL).min(MOST);
        desk.overview.leaked(limit).await.map_err(|error| OperationError::internal(&error))
    }
}
