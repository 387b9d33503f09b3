//! `user.unlock`: forgets a user's wrong passwords and lifts the gateway's lock. The directory's own lock stays.

use serde::{Deserialize, Serialize};

use super::sign_in_desk::desk_error;
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::{SignInName, UserId};
use crate::signin::desk::SignInDesk;

pub struct UserUnlock;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// A name that the user signs in with.
    pub user: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub oid: UserId,
    /// There was something to forget.
    pub was_counting: bool,
}

impl Operation for UserUnlock {
    const NAME: &'static str = "user.unlock";
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
        let (oid, was_counting) = desk.unlock(&name).await.map_err(desk_error)?;
        Ok(Response { oid, was_counting })
    }
}
