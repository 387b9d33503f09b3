//! `user.list`: users in pages, in order of their names.

use serde::{Deserialize, Serialize};

use super::paging::PageSize;
use super::tenant::{Tenant, store_error};
use super::{AdminSession, Operation, OperationError, Right};
use crate::identity::DomainName;
use crate::store::tenant::UserSummary;

pub struct UserList;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Only users whose effective name is in this domain.
    #[serde(default)]
    pub domain: Option<DomainName>,
    /// `next` of the page before.
    #[serde(default)]
    pub after: Option<String>,
    #[serde(default)]
    pub limit: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub users: Vec<UserSummary>,
    /// Where the next page begins; absent at the end.
    pub next: Option<String>,
}

impl Operation for UserList {
    const NAME: &'static str = "user.list";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = Request;
    type Response = Response;
    type Gateway = Tenant;

    fn subject(request: &Request) -> Option<String> {
        request.domain.as_ref().map(ToString::to_string)
    }

    async fn run(tenant: &Tenant, _: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let size = PageSize::asked(request.limit);
        let after = request.after.unwrap_or_default();
        let listed = tenant.store.list_users(request.domain.as_ref(), &after, size.to_read()).await;
        let (users, next) = size.cut(listed.map_err(store_error)?, |user| user.upn.folded());
        Ok(Response { users, next })
    }
}
