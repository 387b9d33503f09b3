//! What the issuer needs kept. Implemented by `store::issuer`; each method is one transaction, and what it reports as
//! done is durable and in the audit log.

use async_trait::async_trait;

use super::authorize::AuthorizationRequest;
use super::client::Client;
use super::error::StoreDown;
use super::grant::{AuthenticationContext, Grant, GrantId, Holder};
use super::jwk::PublicJwk;
use super::opaque::OpaqueHash;
use super::redemption::{CodeRefusal, Proof};
use super::refresh::RefreshRefusal;
use super::scope::Scope;
use super::standing::Ended;
use crate::identity::{ClientId, GroupId, SessionId, Timestamp, UserId};

#[async_trait]
pub trait Clients: Send + Sync {
    async fn client(&self, id: &ClientId) -> Result<Option<Client>, StoreDown>;
    async fn clients(&self) -> Result<Vec<Client>, StoreDown>;
    /// `false` when the id is taken.
    async fn add_client(&self, client: Client) -> Result<bool, StoreDown>;
}

#[async_trait]
pub trait SigningKeys: Send + Sync {
    async fn keys(&self) -> Result<Vec<StoredKey>, StoreDown>;
    /// Adds a key; those of its algorithm that have no end yet retire when it becomes active.
    async fn add_key(&self, key: StoredKey) -> Result<(), StoreDown>;
    /// The same, unless there is a key of its algorithm by now: nodes that start together make one.
    async fn add_first_key(&self, key: StoredKey) -> Result<(), StoreDown>;
    /// The sealed secret from which pairwise subjects are derived: the one kept, or `new` if there was none.
    async fn pairwise_secret(&self, new: String) -> Result<String, StoreDown>;
}

/// A signing key at rest.
#[derive(Clone, Debug)]
pub struct StoredKey {
    pub jwk: PublicJwk,
    pub sealed_key: String,
    pub created_at: Timestamp,
    pub active_from: Timestamp,
    pub retired_at: Option<Timestamp>,
}

#[async_trait]
pub trait Grants: Send + Sync {
    /// Keeps a code for a session that still stands, and notes the client with the session.
    async fn issue_code(&self, code: NewCode) -> Result<Result<(), Ended>, StoreDown>;

    /// Trades a code once. The second trade revokes what the first one gave.
    async fn redeem_code(&self, redemption: Redemption) -> Result<Result<Granted, CodeRefusal>, StoreDown>;

    /// Trades a refresh token, by the rules of [`super::refresh`].
    async fn refresh(&self, request: RefreshRequest) -> Result<Result<Granted, RefreshRefusal>, StoreDown>;

    /// The holder of a grant that still stands.
    async fn live_grant(&self, id: GrantId, now: Timestamp) -> Result<Option<(Grant, Holder)>, StoreDown>;

    /// Revokes the grant of a refresh token, or the grant named, if it belongs to `client`.
    async fn revoke(&self, what: Revocable, client: ClientId, now: Timestamp) -> Result<(), StoreDown>;

    /// The groups of a user, nested ones included, at most `limit`.
    async fn groups(&self, oid: UserId, limit: i64) -> Result<Vec<GroupId>, StoreDown>;

    /// Drops codes and grants that expired before `before`. Returns how many rows went.
    async fn purge(&self, before: Timestamp) -> Result<u64, StoreDown>;
}

#[derive(Clone, Debug)]
pub struct NewCode {
    pub hash: OpaqueHash,
    pub sid: SessionId,
    pub oid: UserId,
    pub request: AuthorizationRequest,
    pub context: AuthenticationContext,
    pub now: Timestamp,
    pub expires_at: Timestamp,
}

#[derive(Clone, Debug)]
pub struct Redemption {
    pub code: OpaqueHash,
    pub client: ClientId,
    pub proof: Proof,
    pub now: Timestamp,
    /// Of the grant to be made.
    pub grant: GrantId,
    pub lifetimes: GrantLifetimes,
    /// The first refresh token, kept if the scope has `offline_access`.
    pub refresh_token: OpaqueHash,
}

/// When what is granted ends.
#[derive(Clone, Copy, Debug)]
pub struct GrantLifetimes {
    /// Of a grant without refresh tokens: its access token's end.
    pub online: Timestamp,
    pub offline: Timestamp,
    /// Of a grant under failover.
    pub failover: Timestamp,
    /// Of a refresh token that is not used.
    pub inactivity: Timestamp,
}

impl GrantLifetimes {
    pub fn grant_expiry(&self, scope: Scope, failover: bool) -> Timestamp {
        match (scope.offline_access(), failover) {
            (false, _) => self.online,
            (true, false) => self.offline,
            (true, true) => self.failover.min(self.offline),
        }
    }
}

#[derive(Clone, Debug)]
pub struct RefreshRequest {
    pub token: OpaqueHash,
    pub client: ClientId,
    pub wanted: Option<Scope>,
    pub successor: OpaqueHash,
    pub now: Timestamp,
    pub inactivity: Timestamp,
}

/// What a code or refresh token gave.
#[derive(Clone, Debug)]
pub struct Granted {
    pub grant: Grant,
    pub holder: Holder,
    /// Of this answer's tokens; at most the grant's.
    pub scope: Scope,
    /// Of the authorization request; `None` at a refresh (OpenID Connect Core section 12.2).
    pub nonce: Option<String>,
    /// Whether the refresh token that was offered was kept.
    pub refreshable: bool,
}

#[derive(Clone, Debug)]
pub enum Revocable {
    RefreshToken(OpaqueHash),
    Grant(GrantId),
}
