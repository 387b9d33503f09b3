//! `domain.readiness`: user by user, who of a domain signs in how, why, and whether they can; now, or under another
//! method of the domain.

use serde::{Deserialize, Serialize};

use super::sign_in_desk::desk_error;
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::{AuthenticationMethod, DomainName, UserId};
use crate::signin::desk::{Outlook, SignInDesk};

pub struct DomainReadiness;

/// Users in order of their oid, in pages.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub domain: DomainName,
    /// As if this were the domain's method; as it is when left out.
    #[serde(default)]
    pub method: Option<AuthenticationMethod>,
    /// The page begins after this user.
    #[serde(default)]
    pub after: Option<UserId>,
    /// At most a thousand.
    #[serde(default = "page")]
    pub limit: u32,
}

pub const fn page() -> u32 {
    1000
}

impl Operation for DomainReadiness {
    const NAME: &'static str = "domain.readiness";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Outlook;
    type Gateway = SignInDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.domain.to_string())
    }

    async fn run(desk: &SignInDesk, _: &AdminSession, request: Request) -> Result<Outlook, OperationError> {
        let Request { domain, method, after, limit } = request;
        desk.report(&domain, method, after, limit).await.map_err(desk_error)
    }
}
