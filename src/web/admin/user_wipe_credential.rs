//! `user.wipe-credential`: erases a user's stored password. Sessions that it proved end. The password channel stores the
//! directory's present one again with its next pass, while the rules let it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::tenant::store_error;
use super::{AdminSession, Operation, OperationError, Right};
use crate::audit::Actor;
use crate::identity::UserId;
use crate::store::credentials::Credentials;
use crate::store::tenant::TenantStore;

/// The users and what is stored of their passwords.
pub struct CredentialDesk {
    pub tenant: TenantStore,
    pub credentials: Arc<Credentials>,
}

pub struct UserWipeCredential;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// A sign-in name, or an `oid`.
    pub user: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    pub oid: UserId,
    /// There was something to erase.
    pub wiped: bool,
}

impl Operation for UserWipeCredential {
    const NAME: &'static str = "user.wipe-credential";
    const RIGHT: Right = Right::ManageSignIn;
    const CHANGES: bool = true;
    type Request = Request;
    type Response = Response;
    type Gateway = CredentialDesk;

    fn subject(request: &Request) -> Option<String> {
        Some(request.user.clone())
    }

    async fn run(desk: &CredentialDesk, admin: &AdminSession, request: Request) -> Result<Response, OperationError> {
        let found = desk.tenant.find_user(&request.user).await.map_err(store_error)?;
        let found = found.ok_or_else(|| OperationError::not_found(format!("there is no user {}", request.user)))?;
        let wiped = match found.user.credential {
            Some(link) => {
                let actor = Actor::Admin(admin.principal().to_owned());
                desk.credentials.wipe_one(link.source, desk.tenant.now(), actor).await.map_err(store_error)?
            }
            None => false,
        };
        Ok(Response { oid: found.user.oid, wiped })
    }
}
