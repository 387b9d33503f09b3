//! Grants: what tokens rest on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::scope::Scope;
use crate::identity::{AttemptId, AuthenticationMethod, ClientId, SessionId, Timestamp, UserId};
use crate::signin::Session;

/// A family of refresh tokens and the access tokens beside them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GrantId(Uuid);

impl GrantId {
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for GrantId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// How the user proved it, as every code and grant records it (design D23).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthenticationContext {
    pub method: AuthenticationMethod,
    pub authority: String,
    pub failover: bool,
    pub attempt: AttemptId,
    pub amr: Vec<String>,
    pub auth_time: Timestamp,
}

impl From<&Session> for AuthenticationContext {
    fn from(session: &Session) -> Self {
        Self {
            method: session.method,
            authority: session.authority.clone(),
            failover: session.failover,
            attempt: session.attempt,
            amr: session.amr.clone(),
            auth_time: session.auth_time,
        }
    }
}

/// A live grant, as the store found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub id: GrantId,
    pub client: ClientId,
    pub oid: UserId,
    pub sid: SessionId,
    pub scope: Scope,
    pub context: AuthenticationContext,
}

/// The user a grant is about, as the tenant directory shows them now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub upn: String,
    pub display_name: Option<String>,
    pub given_name: Option<String>,
    pub surname: Option<String>,
    pub mail: Option<String>,
}
