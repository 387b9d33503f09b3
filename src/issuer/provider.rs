//! The OpenID provider: one method per thing an application may ask.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use zeroize::Zeroizing;

use super::answer::{AuthorizationAnswer, AuthorizeErrorCode};
use super::authorize::{self, AuthorizationRequest, AuthorizeFault, Demand, Prompt};
use super::claims::{AccessTokenClaims, ContextClaims, GROUP_LIMIT, IdTokenClaims, UserClaims, access_token_hash};
use super::client::{Client, SubjectType};
use super::discovery::Metadata;
use super::error::{IssuerError, StoreDown};
use super::grant::{AuthenticationContext, Grant, GrantId, Holder};
use super::jwk::PublicKeys;
use super::key_set::{KeySealer, KeySet};
use super::logout::{self, LogoutRequest};
use super::opaque::Opaque;
use super::params::Params;
use super::refresh::RefreshRefusal;
use super::scope::Scope;
use super::settings::{IssuerSettings, IssuerUrl};
use super::signing_key::{Algorithm, TokenType};
use super::store::{
    Clients, GrantLifetimes, Granted, Grants, NewCode, Redemption, RefreshRequest, Revocable, SigningKeys,
};
use super::token::{Caller, GrantRequest, TokenAnswer, TokenError};
use super::verify;
use crate::identity::{Clock, GroupId, Timestamp, UserId};
use crate::signin::Session;

/// What an authorization request that cannot be answered to the application came to.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizeError {
    /// For a page of ours.
    #[error(transparent)]
    Fault(#[from] AuthorizeFault),
    #[error(transparent)]
    Unavailable(#[from] IssuerError),
}

/// Userinfo (OpenID Connect Core section 5.3.2).
#[derive(Debug, Serialize)]
pub struct UserInfo {
    pub sub: String,
    #[serde(flatten)]
    pub user: UserClaims,
}

/// Whom an application says that it knows (`id_token_hint`).
enum Hint {
    Absent,
    /// As this client knows them.
    Subject(String),
    /// No token of ours for this client.
    Unreadable,
}

/// Issues codes and tokens. Shared by all requests.
pub struct Issuer {
    settings: IssuerSettings,
    clients: Arc<dyn Clients>,
    grants: Arc<dyn Grants>,
    keys: KeySet,
    clock: Arc<dyn Clock>,
    pairwise: Zeroizing<Vec<u8>>,
    metadata: Metadata,
}

/// Purpose under which the secret of pairwise subjects is sealed.
pub const PAIRWISE_PURPOSE: &str = "pairwise-subjects";

impl Issuer {
    /// Opens the signing keys and the secret of pairwise subjects, making the first ones.
    pub async fn open<S>(
        settings: IssuerSettings,
        store: Arc<S>,
        sealer: Arc<dyn KeySealer>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, IssuerError>
    where
        S: Clients + Grants + SigningKeys + 'static,
    {
        let mut fresh = Zeroizing::new([0_u8; 32]);
        aws_lc_rs::rand::fill(&mut *fresh).map_err(|_| IssuerError::KeyGeneration)?;
        let sealing = |source| IssuerError::SealedKey { kid: PAIRWISE_PURPOSE.to_owned(), source };
        let sealed = sealer.seal(PAIRWISE_PURPOSE, &*fresh).map_err(sealing)?;
        let sealed = store.pairwise_secret(sealed).await?;
        let pairwise = sealer.open(PAIRWISE_PURPOSE, &sealed).map_err(sealing)?;
        let lifetime = settings.access_token_lifetime.max(settings.id_token_lifetime);
        let keys = KeySet::open(store.clone(), sealer, clock.clone(), lifetime, settings.key_announcement).await?;
        let metadata = Metadata::new(&settings.issuer);
        Ok(Self { settings, clients: store.clone(), grants: store, keys, clock, pairwise, metadata })
    }

    pub fn url(&self) -> &IssuerUrl {
        &self.settings.issuer
    }

    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    pub fn public_keys(&self) -> PublicKeys {
        self.keys.published()
    }

    /// For the admin operation and for the task that follows other nodes' rotations.
    pub fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// The issuer's time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn clients(&self) -> &dyn Clients {
        &*self.clients
    }

    /// Checks an authorization request. `Ok(Err(..))` is an error that the application is told by redirect.
    pub async fn authorize(&self, params: &Params) -> Result<Result<Demand, AuthorizationAnswer>, AuthorizeError> {
        let id = authorize::named_client(params)?;
        let client = self.clients.client(&id).await.map_err(IssuerError::from)?;
        let client = client.ok_or(AuthorizeFault::ClientUnknown)?;
        let mut demand = match authorize::check(&client, self.url(), params)? {
            Ok(demand) => demand,
            Err(error) => return Ok(Err(error)),
        };
        match self.hinted_subject(&client, params) {
            Hint::Absent => {}
            Hint::Subject(subject) => demand.request.subject = Some(subject),
            // Somebody is asked for, and nobody knows who: no session can be theirs.
            Hint::Unreadable if demand.prompt == Prompt::None => {
                return Ok(Err(self.refuse(&demand.request, AuthorizeErrorCode::LoginRequired)));
            }
            Hint::Unreadable => demand.prompt = Prompt::Login,
        }
        Ok(Ok(demand))
    }

    /// Whether `oid` is whom the request asks for, if it asks for somebody (OpenID Connect Core section 3.1.2.1).
    pub async fn is_asked_for(&self, request: &AuthorizationRequest, oid: UserId) -> Result<bool, IssuerError> {
        let Some(subject) = &request.subject else { return Ok(true) };
        let client = self.clients.client(&request.client).await?;
        Ok(client.is_some_and(|client| self.subject(&client, oid) == *subject))
    }

    fn hinted_subject(&self, client: &Client, params: &Params) -> Hint {
        match params.one("id_token_hint") {
            Ok(None) => Hint::Absent,
            Ok(Some(token)) => match verify::id_token_hint(&self.keys, self.url(), token, self.clock.now()) {
                Ok(claims) if claims.aud == client.id.as_str() => Hint::Subject(claims.sub),
                Ok(_) | Err(_) => Hint::Unreadable,
            },
            Err(_) => Hint::Unreadable,
        }
    }

    /// Answers a request with a code for `session`.
    pub async fn issue_code(
        &self,
        session: &Session,
        request: AuthorizationRequest,
    ) -> Result<AuthorizationAnswer, AuthorizeError> {
        // The client may have lost the address while its user typed a password.
        let client = self.clients.client(&request.client).await.map_err(IssuerError::from)?;
        let client = client.ok_or(AuthorizeFault::ClientUnknown)?;
        client.redirect_uri(request.redirect_uri.as_str()).ok_or(AuthorizeFault::RedirectUnknown)?;
        if request.subject.as_ref().is_some_and(|subject| *subject != self.subject(&client, session.oid)) {
            tracing::info!(session.id = %session.sid, "somebody else signed in than the application asked for");
            return Ok(request.refuse(AuthorizeErrorCode::LoginRequired, self.url()));
        }
        let code = Opaque::random();
        let now = self.clock.now();
        let kept = NewCode {
            hash: code.hash(),
            sid: session.sid,
            oid: session.oid,
            request: request.clone(),
            context: AuthenticationContext::from(session),
            now,
            expires_at: now + self.settings.bounded_code_lifetime(),
        };
        match self.grants.issue_code(kept).await.map_err(IssuerError::from)? {
            Ok(()) => Ok(request.grant(code.expose(), self.url())),
            Err(ended) => {
                tracing::info!(session.id = %session.sid, reason = ended.code(), "no code for a session that has ended");
                Ok(request.refuse(AuthorizeErrorCode::AccessDenied, self.url()))
            }
        }
    }

    /// Answers a request with an error, such as `login_required`.
    pub fn refuse(&self, request: &AuthorizationRequest, code: AuthorizeErrorCode) -> AuthorizationAnswer {
        request.refuse(code, self.url())
    }

    /// Reads the request that travelled with a sign-in transaction.
    pub fn stored_request(&self, body: serde_json::Value) -> Result<AuthorizationRequest, IssuerError> {
        serde_json::from_value(body).map_err(|_| IssuerError::StoredRequest)
    }

    /// The token endpoint.
    pub async fn token(&self, caller: &Caller, form: &Params) -> Result<TokenAnswer, TokenError> {
        let client = self.authenticate(caller).await?;
        let successor = Opaque::random();
        let now = self.clock.now();
        let granted = match GrantRequest::read(form)? {
            GrantRequest::Code { code, proof } => {
                let redemption = Redemption {
                    code: code.hash(),
                    client: client.id.clone(),
                    proof,
                    now,
                    grant: GrantId::random(),
                    lifetimes: self.lifetimes(now),
                    refresh_token: successor.hash(),
                };
                self.grants.redeem_code(redemption).await?.map_err(|refusal| {
                    tracing::info!(client.id = %client.id, reason = refusal.code(), "a code was refused");
                    TokenError::InvalidGrant
                })?
            }
            GrantRequest::Refresh { token, scope } => {
                let request = RefreshRequest {
                    token: token.hash(),
                    client: client.id.clone(),
                    wanted: scope,
                    successor: successor.hash(),
                    now,
                    inactivity: now + self.settings.refresh_inactivity,
                };
                self.grants.refresh(request).await?.map_err(|refusal| {
                    tracing::info!(client.id = %client.id, reason = refusal.code(), "a refresh token was refused");
                    if refusal == RefreshRefusal::Scope { TokenError::InvalidScope } else { TokenError::InvalidGrant }
                })?
            }
        };
        self.answer(&client, granted, successor, now).await
    }

    /// Revocation (RFC 7009). A token that is not the caller's, or nobody's, is answered the same.
    pub async fn revoke(&self, caller: &Caller, form: &Params) -> Result<(), TokenError> {
        let client = self.authenticate(caller).await?;
        let token = form.required("token")?;
        let now = self.clock.now();
        let what = match verify::access_token(&self.keys, self.url(), token, now) {
            Ok(claims) => Revocable::Grant(claims.grant),
            Err(_) => match Opaque::presented(token) {
                Some(token) => Revocable::RefreshToken(token.hash()),
                None => return Ok(()),
            },
        };
        self.grants.revoke(what, client.id, now).await?;
        Ok(())
    }

    /// Userinfo; `None` when the token, or what it rests on, is no longer valid.
    pub async fn userinfo(&self, access_token: &str) -> Result<Option<UserInfo>, IssuerError> {
        let now = self.clock.now();
        let claims = match verify::access_token(&self.keys, self.url(), access_token, now) {
            Ok(claims) => claims,
            Err(fault) => {
                tracing::debug!(error = %fault, "an access token was refused");
                return Ok(None);
            }
        };
        let Some((grant, holder)) = self.grants.live_grant(claims.grant, now).await? else { return Ok(None) };
        if grant.client.as_str() != claims.client_id {
            return Ok(None);
        }
        let Some(client) = self.clients.client(&grant.client).await? else { return Ok(None) };
        let user = self.user_claims(&client, &grant, &holder, claims.scope).await?;
        Ok(Some(UserInfo { sub: claims.sub, user }))
    }

    /// Checks a sign-out request. A hint or an address that does not fit is as if it were not there.
    pub async fn logout(&self, params: &Params) -> Result<LogoutRequest, IssuerError> {
        let hint = params.one("id_token_hint").ok().flatten();
        let hint = hint.and_then(|token| verify::id_token_hint(&self.keys, self.url(), token, self.clock.now()).ok());
        let client = match logout::asking_client(hint.as_ref().map(|hint| hint.aud.as_str()), params) {
            Some(id) => self.clients.client(&id).await?,
            None => None,
        };
        Ok(LogoutRequest::new(hint.map(|hint| hint.context.sid), client.as_ref(), params))
    }

    /// Drops expired codes and grants; scheduled work, may run twice.
    pub async fn purge(&self) -> Result<u64, StoreDown> {
        self.grants.purge(self.clock.now()).await
    }

    async fn authenticate(&self, caller: &Caller) -> Result<Client, TokenError> {
        match self.clients.client(&caller.client).await? {
            Some(client) if client.accepts(&caller.secret) => Ok(client),
            Some(_) | None => Err(TokenError::InvalidClient { basic: caller.basic }),
        }
    }

    async fn answer(
        &self,
        client: &Client,
        granted: Granted,
        successor: Opaque,
        now: Timestamp,
    ) -> Result<TokenAnswer, TokenError> {
        let Granted { grant, holder, scope, nonce, refreshable } = granted;
        let signer = self.keys.signer(client.algorithm)?;
        let context = ContextClaims::new(grant.sid, &grant.context);
        let sub = self.subject(client, grant.oid);
        let access = AccessTokenClaims {
            iss: self.url().as_str().to_owned(),
            sub: sub.clone(),
            aud: self.url().as_str().to_owned(),
            client_id: client.id.to_string(),
            exp: (now + self.settings.access_token_lifetime).secs(),
            iat: now.secs(),
            jti: uuid::Uuid::new_v4().to_string(),
            scope,
            grant: grant.id,
            context: context.clone(),
        };
        let access_token = signer.sign(TokenType::AccessToken, &access)?;
        let identity = IdTokenClaims {
            iss: access.iss,
            sub,
            aud: access.client_id,
            exp: (now + self.settings.id_token_lifetime).secs(),
            iat: now.secs(),
            nonce,
            at_hash: Some(access_token_hash(&access_token)),
            context,
            user: self.user_claims(client, &grant, &holder, scope).await?,
        };
        Ok(TokenAnswer {
            id_token: signer.sign(TokenType::IdToken, &identity)?,
            access_token,
            token_type: "Bearer",
            expires_in: self.settings.access_token_lifetime.as_secs(),
            scope,
            refresh_token: refreshable.then(|| successor.expose().to_owned()),
        })
    }

    async fn user_claims(
        &self,
        client: &Client,
        grant: &Grant,
        holder: &Holder,
        scope: Scope,
    ) -> Result<UserClaims, StoreDown> {
        let groups: Option<Vec<GroupId>> = if scope.groups() {
            let limit = i64::try_from(GROUP_LIMIT).unwrap_or(i64::MAX).saturating_add(1);
            Some(self.grants.groups(grant.oid, limit).await?)
        } else {
            None
        };
        let pairwise = client.subject_type == SubjectType::Pairwise;
        Ok(UserClaims::new(grant.oid, holder, groups, scope, pairwise))
    }

    /// `sub` (design D22). Pairwise ones are keyed by the client: no two clients can compare them.
    fn subject(&self, client: &Client, oid: UserId) -> String {
        match client.subject_type {
            SubjectType::Public => oid.to_string(),
            SubjectType::Pairwise => {
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &self.pairwise);
                let text = format!("{}\n{oid}", client.id);
                URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, text.as_bytes()))
            }
        }
    }

    fn lifetimes(&self, now: Timestamp) -> GrantLifetimes {
        GrantLifetimes {
            online: now + self.settings.access_token_lifetime,
            offline: now + self.settings.grant_lifetime,
            failover: now + self.settings.failover_grant_lifetime,
            inactivity: now + self.settings.refresh_inactivity,
        }
    }

    /// Announces a new signing key (admin operation `keys.rotate`).
    pub async fn rotate_key(&self, algorithm: Algorithm) -> Result<(String, Timestamp), IssuerError> {
        self.keys.rotate(algorithm).await
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Issuer({})", self.settings.issuer.as_str())
    }
}
