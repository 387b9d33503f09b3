//! `domain.changes`: the changes of methods, newest first.

use serde::{Deserialize, Serialize};

use super::sign_in_desk::desk_error;
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::DomainName;
use crate::signin::change::MethodChange;
use crate::signin::desk::SignInDesk;

pub struct DomainChanges;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// All domains when left out.
    #[serde(default)]
    pub domain: Option<DomainName>,
    /// At most a thousand.
    #[serde(default = "some")]
    pub limit: u32,
}

impl Operation for DomainChanges {
    const NAME: &'static str = "domain.changes";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Vec<MethodChange>;
    type Gateway = SignInDesk;

    fn subject(request: &Request) -> Option<String> {
        request.domain.as_ref().map(ToString::to_string)
    }

    async fn run(desk: &SignInDesk, _: &AdminSession, request: Request) -> Result<Vec<MethodChange>, OperationError> {
        desk.list_changes(request.domain.as_ref(), request.limit).await.map_err(desk_error)
    }
}

const fn some() -> u32 {
    20
}
