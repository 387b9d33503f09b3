//! What sign-in keeps: small traits by role, implemented in `store::signin`.
//!
//! Each method is one transaction of the store. Audit records are written within it (design D25): what cannot be
//! recorded does not happen.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;

use super::lockout::{Limits, Settlement, Subject, Try};
use super::lockout_report::{NetworkTries, UserTries};
use super::rollout::Rollout;
use super::session::{Liveness, NewSession};
use super::transaction::{State, Transaction};
use crate::audit::Event;
use crate::identity::{
    AttemptId, AuthenticationMethod, Backup, ClientId, CredentialSource, DomainName, EntityId, FailoverMode, GroupId,
    Network, Refusal, SessionId, Timestamp, TransactionId, UserId,
};
use crate::tenant::{Domain, PinMark};

/// The store could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the sign-in store could not be used")]
pub struct StoreDown(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Sign-in transactions.
#[async_trait]
pub trait Transactions: Send + Sync {
    /// Opens a transaction. `false`, and nothing is opened, when the domain's method is no longer the one it rests on.
    async fn open(&self, transaction: Transaction) -> Result<bool, StoreDown>;

    async fn load(&self, id: TransactionId) -> Result<Option<Transaction>, StoreDown>;

    /// Writes `next` over `version`. `false` when the state was left in the meantime, or when the domain's method is no
    /// longer the one that `next` rests on.
    async fn advance(&self, id: TransactionId, version: i64, next: State) -> Result<bool, StoreDown>;
}

/// Tries at passwords: lockout, verdicts and what they end in.
#[async_trait]
pub trait Attempts: Send + Sync {
    /// Reserves a try in one atomic statement: refused when as many have failed or are in flight as the limit allows.
    async fn reserve(&self, attempt: Try) -> Result<Reservation, StoreDown>;

    /// Ends an attempt: settles its reservation, writes what was learned, leaves the transaction's state, opens the
    /// session and appends the audit record, all or nothing.
    async fn conclude(&self, conclusion: Conclusion) -> Result<Concluded, StoreDown>;

    /// Writes down a verdict that came after the answer.
    async fn late(&self, late: Late) -> Result<(), StoreDown>;

    /// Records what has no other write.
    async fn record(&self, event: Event) -> Result<(), StoreDown>;

    /// Gives back the reservation of an attempt that will never be settled otherwise.
    async fn give_back(&self, attempt: AttemptId) -> Result<(), StoreDown>;

    /// Forgets the failures of a user and lifts the lock.
    async fn unlock(&self, subject: Subject) -> Result<bool, StoreDown>;

    /// Removes what has expired.
    async fn sweep(&self, ages: Ages) -> Result<(), StoreDown>;
}

/// Before which instants things are swept.
#[derive(Clone, Copy, Debug)]
pub struct Ages {
    pub now: Timestamp,
    /// Reservations made before are given back.
    pub orphaned: Timestamp,
    /// Counters that were quiet since are forgotten.
    pub forgotten: Timestamp,
    /// So is what reports are made of.
    pub evidence: Timestamp,
}

/// What reports on lockouts are made of.
#[async_trait]
pub trait WrongTries: Send + Sync {
    /// The users with the most wrong tries since `since`, `limit` of them, in that order; or those of `only`.
    async fn wrong_tries(
        &self,
        since: Timestamp,
        only: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<UserTries>, StoreDown>;

    /// The networks from which most names were tried in vain since `since`, `limit` of them, in that order.
    async fn networks(&self, since: Timestamp, limit: u32) -> Result<Vec<NetworkTries>, StoreDown>;

    /// Whether a try of the network was slowed, or let through as one of a slowed network, since `since`.
    async fn was_slowed(&self, network: &str, since: Timestamp) -> Result<bool, StoreDown>;
}

/// Sessions (design D23).
#[async_trait]
pub trait Sessions: Send + Sync {
    /// One query: the session with all that may have ended it.
    async fn session(&self, key: SessionKey) -> Result<Option<Liveness>, StoreDown>;

    /// Records that a client uses the session.
    async fn used_by(&self, sid: SessionId, client: ClientId, at: Timestamp) -> Result<(), StoreDown>;

    /// Ends a session; `false` when it had ended.
    async fn end(&self, sid: SessionId, reason: &'static str, event: Event, at: Timestamp) -> Result<bool, StoreDown>;

    /// Ends every session of a user and moves the security stamp, so that codes, grants and sign-ins under way end too.
    /// Returns how many sessions had not ended before.
    async fn revoke(&self, oid: UserId, at: Timestamp) -> Result<u64, StoreDown>;
}

/// Alerts and what belongs to an outage.
#[async_trait]
pub trait Alerts: Send + Sync {
    /// One row an alert: raising a raised one only counts. `true`, and `events` in the audit log, when it is new.
    async fn raise(&self, alert: Alert, events: Vec<Event>) -> Result<bool, StoreDown>;

    /// `true`, and `events` in the audit log, when it was raised.
    async fn clear(
        &self,
        name: &'static str,
        subject: String,
        at: Timestamp,
        events: Vec<Event>,
    ) -> Result<bool, StoreDown>;

    async fn raised(&self) -> Result<Vec<RaisedAlert>, StoreDown>;
}

/// The marks on stored credentials that bar them from failover (design section 3). The password channel replaces or
/// confirms a marked hash.
#[async_trait]
pub trait CredentialMarks: Send + Sync {
    /// Marks the credential `version` of `source`; a newer version is left alone. `event` is recorded if it was unmarked.
    async fn mark(&self, source: CredentialSource, version: i64, mark: Marked, event: Event) -> Result<(), StoreDown>;

    /// Lets the password channel read `source` anew, soon. Asked again before that, it changes nothing.
    async fn ask_anew(&self, source: CredentialSource, at: Timestamp) -> Result<(), StoreDown>;
}

/// The end of what rests on a former method (`domain set-method --cut`).
#[async_trait]
pub trait MethodCut: Send + Sync {
    /// Ends the transactions and sessions of `domain` that rest on another method than `kept`.
    async fn cut(
        &self,
        domain: DomainName,
        kept: AuthenticationMethod,
        at: Timestamp,
        event: Event,
    ) -> Result<CutOff, StoreDown>;
}

/// All of the store that sign-in uses.
pub trait SignInStore: Transactions + Attempts + Sessions + Alerts + CredentialMarks + MethodCut + WrongTries {}

impl<S: Transactions + Attempts + Sessions + Alerts + CredentialMarks + MethodCut + WrongTries> SignInStore for S {}

/// How domains sign in, as administrators see and change it.
#[async_trait]
pub trait DomainSettings: Send + Sync {
    async fn domain(&self, name: &DomainName) -> Result<Option<Domain>, StoreDown>;

    async fn domains(&self) -> Result<Vec<Domain>, StoreDown>;

    /// Changes a domain that still has `version`, with `event` in the same transaction.
    async fn change(
        &self,
        name: &DomainName,
        version: i64,
        edit: DomainEdit,
        event: Event,
    ) -> Result<DomainChanged, StoreDown>;
}

/// Staged rollouts, as administrators see and change them. All nodes know a change at the next sign-in.
#[async_trait]
pub trait Rollouts: Send + Sync {
    async fn rollouts(&self) -> Result<Vec<Rollout>, StoreDown>;

    /// Adds a rollout to a domain that still has `version`, or changes the one with its id.
    async fn put(&self, rollout: Rollout, version: i64, event: Event) -> Result<RolloutChanged, StoreDown>;

    /// Removes a rollout of a domain that still has `version`.
    async fn remove(&self, rollout: Rollout, version: i64, event: Event) -> Result<RolloutChanged, StoreDown>;

    /// The undeleted groups with this `oid` or display name.
    async fn groups(&self, asked: &str) -> Result<Vec<NamedGroup>, StoreDown>;

    /// The display names of groups, deleted ones left out.
    async fn names_of(&self, groups: Vec<GroupId>) -> Result<Vec<NamedGroup>, StoreDown>;

    /// The users in a group, through nested groups too; the same ones that [`super::directory::Directory`] finds in it.
    async fn members(&self, group: GroupId) -> Result<HashSet<UserId>, StoreDown>;
}

/// What became of a change of rollouts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutChanged {
    Done,
    /// As things stand it cannot be; the text is for the operator.
    Refused(String),
}

/// A group, and what people call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedGroup {
    pub oid: GroupId,
    pub name: Option<String>,
}

/// What becomes of a domain's settings; `None` keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainEdit {
    pub method: Option<AuthenticationMethod>,
    pub backup: Option<Backup>,
    pub failover: Option<FailoverMode>,
    pub max_hash_age: Option<Duration>,
    pub partner_outage_after: Option<Duration>,
    /// `Some(None)` releases the pin.
    pub pin: Option<Option<PinMark>>,
    /// `Some(None)` forgets the partner.
    pub partner: Option<Option<EntityId>>,
}

#[derive(Clone, Debug)]
pub enum DomainChanged {
    Done(Domain),
    /// As things stand it cannot be; the text is for the operator.
    Refused(String),
}

/// What a cut ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CutOff {
    pub transactions: u64,
    pub sessions: u64,
}

/// What came of asking for a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reservation {
    Granted {
        familiar: bool,
    },
    /// As many tries as the limit allows have failed or are in flight; nothing is asked.
    Full,
    /// Many names were tried from the network in vain, and the next try of its unknown devices is let through later.
    Slowed {
        network: Network,
        wait: Duration,
    },
}

/// The end of an attempt.
#[derive(Clone, Debug)]
pub struct Conclusion {
    pub attempt: AttemptId,
    pub at: Timestamp,
    pub transaction: TransactionId,
    pub version: i64,
    pub next: State,
    pub session: Option<NewSession>,
    /// `None` when nothing was reserved.
    pub settlement: Option<(Settlement, Limits)>,
    /// The device that becomes familiar.
    pub device: Option<(UserId, String)>,
    pub learned: Learned,
    /// The assertion that must not have been taken before, and until when it is remembered.
    pub assertion: Option<(String, Timestamp)>,
    pub event: Event,
}

/// What a live verdict says about the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Learned {
    Nothing,
    Refused {
        source: CredentialSource,
        refusal: Refusal,
        server: String,
    },
    /// Verified live: older refusals no longer stand.
    Allowed {
        source: CredentialSource,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concluded {
    Done,
    /// Somebody else left the transaction's state first: no session was opened, the attempt is settled and recorded.
    Left,
    /// The assertion had been taken before: nothing was opened, the record says so.
    Replayed,
}

/// A verdict that came after the answer.
#[derive(Clone, Debug)]
pub struct Late {
    pub attempt: AttemptId,
    pub at: Timestamp,
    pub settlement: Settlement,
    pub limits: Limits,
    pub learned: Learned,
    /// Whose security stamp moves; the attempt's sessions end.
    pub revoke: Option<UserId>,
    pub event: Event,
}

/// By what a session is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionKey {
    /// SHA-256 (hex) of the cookie's secret.
    CookieHash(String),
    Sid(SessionId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    pub name: &'static str,
    pub subject: String,
    pub detail: String,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaisedAlert {
    pub name: String,
    pub subject: String,
    pub detail: String,
    pub raised_at: Timestamp,
    pub last_at: Timestamp,
    pub occurrences: i64,
}

/// A mark on a stored hash: the directory has moved on, or may have; a later reading confirms or replaces the hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    pub at: Timestamp,
    pub mark: Mark,
}

/// Why a hash is barred from failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The directory refused a password that this hash accepts.
    StillMatchesRefused,
    /// The directory has a later password.
    NewerPasswordSet,
    /// The directory refused a password and nobody had time to compare it with this hash.
    Unchecked,
}

impl Mark {
    pub const fn code(self) -> &'static str {
        match self {
            Self::StillMatchesRefused => "still-matches-refused",
            Self::NewerPasswordSet => "newer-password-set",
            Self::Unchecked => "unchecked",
        }
    }

    /// The mark of a code. A word that this version does not know counts as the gravest.
    pub fn from_code(code: &str) -> Self {
        [Self::NewerPasswordSet, Self::Unchecked]
            .into_iter()
            .find(|mark| mark.code() == code)
            .unwrap_or(Self::StillMatchesRefused)
    }
}
