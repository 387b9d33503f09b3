//! `user.revoke-sessions`: ends every session, code and grant of a user, on all nodes.

use serde::{Deserialize, Serialize};

use super::sign_in_desk::desk_error;
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::{SignInName, UserId};
use crate::signin::desk::SignInDesk;

pub struct UserRevokeSessions;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// A name that the user signs in with.
    pub user: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub oid: UserId,
    /// Sessions that had not ended by themselves.
    pub sessions: u64,
}

impl Operation for UserRevokeSessions {
    const NAME: &'static str = "user.revoke-sessions";
    const RIGHT: Right = Right::ManageSignIn;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Response;
    type Gateway = SignInDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.user.clone())
    }

    async fn run(desk: &SignInDesk, _: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let name: SignInName = request
            .user
            .parse()
            .map_err(|e: crate::identity::upn::SignInNameError| OperationError::invalid(e.to_string()))?;
        let (oid, sessions) = desk.revoke_sessions(&name).await.map_err(desk_error)?;
        Ok(Response { oid, sessions })
    }
}
