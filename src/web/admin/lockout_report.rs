//! `lockout.report`: whose passwords failed, from where, and whether that looks like an attack.

use serde::{Deserialize, Serialize};

use super::sign_in_desk::desk_error;
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::SignInName;
use crate::signin::desk::{LockoutOverview, SignInDesk};

pub struct LockoutReport;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// How far to look back; at most a week.
    pub hours: u32,
    /// Only a user with this name.
    #[serde(default)]
    pub user: Option<String>,
    /// How many users, and how many networks, to tell of.
    pub limit: u32,
}

impl Operation for LockoutReport {
    const NAME: &'static str = "lockout.report";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = LockoutOverview;
    type Gateway = SignInDesk;

    fn subject(request: &Request) -> Option<String> {
        request.user.clone()
    }

    async fn run(desk: &SignInDesk, _: &AdminSession, request: Request) -> Result<LockoutOverview, OperationError> {
        let parsed = request.user.map(|user| user.parse::<SignInName>()).transpose();
        let user = parsed.map_err(|error| OperationError::invalid(error.to_string()))?;
        desk.lockouts(request.hours, user.as_ref(), request.limit).await.map_err(desk_error)
    }
}
