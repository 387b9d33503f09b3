//! What a protocol asks of sign-in, and what it gets: the contract between `signin` and the rooms around it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::store::StoreDown;
use crate::identity::{
    AttemptId, AuthenticationMethod, ClientId, DomainName, EntityId, SessionId, SourceAnchor, Timestamp, TransactionId,
    Upn, UserId,
};

/// A protocol's wish for a signed-in user. `web` builds it from a checked protocol request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignInRequest {
    pub protocol: ProtocolRequest,
    /// Prefills the name, and skips the first page when it names a domain of ours.
    pub login_hint: Option<String>,
    pub domain_hint: Option<String>,
}

/// What an application demands of the proof itself, wherever it is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofDemand {
    /// An existing session is not enough, here or at a partner (`prompt=login`).
    pub fresh: bool,
    /// A proof older than this many seconds is not enough (`max_age`).
    pub max_age: Option<u64>,
}

impl ProofDemand {
    /// Whether a session whose proof was made `age` seconds ago is enough.
    pub fn admits_session(&self, age: u64) -> bool {
        !self.fresh && self.max_age.is_none_or(|most| age <= most)
    }

    /// Whether a partner is to ask the user again, rather than to answer from a session of its own.
    pub fn forces_partner(&self) -> bool {
        self.fresh || self.max_age.is_some()
    }
}

/// The request that is answered when sign-in completes. Opaque to `signin`, but for the client it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtocolRequest {
    pub client: ClientId,
    /// The protocol's own checked request, as the protocol's room wrote it (JSON).
    pub body: serde_json::Value,
    /// Origin of the redirect, for the page's `form-action` (design D13).
    pub redirect_origin: String,
    #[serde(default)]
    pub proof: ProofDemand,
}

/// Where a transaction stands: what the browser is shown next.
#[derive(Clone, Debug)]
pub enum Step {
    /// Ask for the name. `refused` says that the text typed was no sign-in name.
    AwaitIdentifier { hint: Option<String>, refused: bool },
    /// Ask for the password of `name`.
    AwaitPassword { name: String, notice: Option<Notice> },
    /// Send the browser to the partner; `signin` has recorded the request id that the answer must name.
    /// `force`: the partner must ask the user again.
    AwaitAssertion { partner: EntityId, request_id: String, name: Option<String>, force: bool },
    /// Signed in. `cookie` is the new session's secret (`None` when an existing session answered).
    Complete { session: Session, cookie: Option<String>, protocol: Box<ProtocolRequest> },
}

/// What a password page tells. One text for every refusal (design D12); the exact reason is in the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notice {
    /// Wrong, unknown, locked, barred, disabled: one page, one status.
    Refused,
    /// The password was proved, and is expired or must be changed.
    MustChange,
    /// No verdict could be had: try again. Never used while an authority is down for some users and not for others.
    TryAgain,
}

/// A live session (design D23).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub sid: SessionId,
    pub oid: UserId,
    pub domain: DomainName,
    pub method: AuthenticationMethod,
    /// The server, agent or partner that decided.
    pub authority: String,
    /// The backup answered, not the primary.
    pub failover: bool,
    pub attempt: AttemptId,
    /// Authentication method references (RFC 8176).
    pub amr: Vec<String>,
    pub auth_time: Timestamp,
    pub expires_at: Timestamp,
    pub credential_version: Option<i64>,
}

/// Why a transaction cannot go on; the page says "start again" for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionLost {
    #[error("no such sign-in transaction")]
    Unknown,
    #[error("the sign-in transaction has expired")]
    Expired,
    #[error("the sign-in transaction belongs to another browser")]
    OtherBrowser,
    #[error("the sign-in transaction awaits something else")]
    OtherState,
}

/// A transaction as its browser holds it: the id is in the page, the secret in the cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionHandle {
    pub id: TransactionId,
    /// Random, at least 128 bits; the store holds its SHA-256.
    pub cookie: String,
}

/// A sign-in that has begun.
#[derive(Clone, Debug)]
pub struct Begun {
    pub handle: TransactionHandle,
    pub step: Step,
}

/// Who a federation partner says has signed in: the checked values of a `VerifiedAssertion`, in `signin`'s words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederatedIdentity {
    pub partner: EntityId,
    /// The request that the assertion answers (`InResponseTo`); must be the transaction's own.
    pub request_id: String,
    pub source_anchor: SourceAnchor,
    pub upn: Upn,
    /// How the partner says the user was authenticated (RFC 8176 words).
    pub amr: Vec<String>,
    /// When, by the partner's clock.
    pub authenticated_at: Timestamp,
    /// Hash of issuer and assertion id: an assertion is taken once.
    pub assertion: String,
    /// Until when the assertion could be replayed; its hash is kept as long.
    pub valid_until: Timestamp,
}

/// Why sign-in gave no next step. Refusals are steps, not errors.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The page says "start again".
    #[error("the sign-in cannot go on")]
    Lost(#[from] TransactionLost),
    /// Store or audit could not be written: nobody signs in (design D25). The page says "try again".
    #[error("sign-in is unavailable")]
    Unavailable(#[from] StoreDown),
    /// The partner's assertion is genuine but signs nobody in; the audit log has the reason.
    #[error("the partner's assertion was refused")]
    AssertionRefused,
    /// Many names were tried from the browser's network in vain: nothing was checked. The page says "try again later".
    #[error("tries of the network are slowed")]
    Slowed { wait: Duration },
}
