//! The claims of identity and access tokens (OpenID Connect Core sections 2 and 5, RFC 9068, RFC 8176).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::grant::{AuthenticationContext, GrantId, Holder};
use super::scope::Scope;
use crate::identity::{GroupId, SessionId, UserId};

/// More groups than this are not listed (as the field does): `hasgroups` says that there are some.
pub const GROUP_LIMIT: usize = 200;

/// Who the user is, by the scopes granted. The same in identity token and userinfo.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UserClaims {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oid: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<GroupId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hasgroups: Option<bool>,
}

impl UserClaims {
    /// `groups` is `None` unless the scope asks for them. `oid` links a user across clients, so that a client with
    /// pairwise subjects gets it with the profile only.
    pub fn new(oid: UserId, holder: &Holder, groups: Option<Vec<GroupId>>, scope: Scope, pairwise: bool) -> Self {
        let profile = |value: &Option<String>| value.clone().filter(|_| scope.profile());
        let overage = groups.as_ref().is_some_and(|groups| groups.len() > GROUP_LIMIT);
        Self {
            oid: (!pairwise || scope.profile()).then_some(oid),
            upn: scope.profile().then(|| holder.upn.clone()),
            preferred_username: scope.profile().then(|| holder.upn.clone()),
            name: profile(&holder.display_name),
            given_name: profile(&holder.given_name),
            family_name: profile(&holder.surname),
            email: holder.mail.clone().filter(|_| scope.email()),
            groups: groups.filter(|_| !overage),
            hasgroups: overage.then_some(true),
        }
    }
}

/// How the user proved it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContextClaims {
    pub amr: Vec<String>,
    pub acr: String,
    pub auth_time: i64,
    pub sid: SessionId,
    /// Set when the backup answered in place of the primary method.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub landbridge_failover: bool,
}

pub const ACR_SINGLE: &str = "urn:landbridge:acr:single-factor";
pub const ACR_MULTIPLE: &str = "urn:landbridge:acr:multi-factor";

impl ContextClaims {
    pub fn new(sid: SessionId, context: &AuthenticationContext) -> Self {
        let acr = if context.amr.iter().any(|method| method == "mfa") { ACR_MULTIPLE } else { ACR_SINGLE };
        Self {
            amr: context.amr.clone(),
            acr: acr.to_owned(),
            auth_time: context.auth_time.secs(),
            sid,
            landbridge_failover: context.failover,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IdTokenClaims {
    pub iss: String,
    pub sub: String,
    pub aud: String,
    pub exp: i64,
    pub iat: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_hash: Option<String>,
    #[serde(flatten)]
    pub context: ContextClaims,
    #[serde(flatten)]
    pub user: UserClaims,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    pub iss: String,
    pub sub: String,
    /// The issuer itself: userinfo is the resource.
    pub aud: String,
    pub client_id: String,
    pub exp: i64,
    pub iat: i64,
    pub jti: String,
    pub scope: Scope,
    /// What the token rests on; asked at every use here.
    pub grant: GrantId,
    #[serde(flatten)]
    pub context: ContextClaims,
}

/// `at_hash`: the left half of the access token's SHA-256 (OpenID Connect Core section 3.1.3.6; both algorithms use it).
pub fn access_token_hash(access_token: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(access_token.as_bytes())[..16])
}
