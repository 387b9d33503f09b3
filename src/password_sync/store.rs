//! What the channel, the verifier and the wrapping ask of the store. Implemented in `store::credentials`.

use async_trait::async_trait;

use super::account_result::AccountResult;
use super::report::PassReport;
use super::source::{Leak, SourcePosition, SourceVersion};
use super::write_stamp::WriteStamp;
use crate::credential::{Chain, KeyName, LeakClass, Quarantine, Sealed, SourceStamp};
use crate::identity::{AccountState, ConnectorName, CredentialSource, LeaseEpoch, SourceAnchor, Timestamp};
use crate::signin::store::Mark;

/// The credential store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CredentialStoreError {
    #[error("the engine lease is no longer ours (epoch {epoch})")]
    LeaseLost { epoch: LeaseEpoch },
    #[error("the credential store could not be used")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a pass reads and writes. Everything that writes checks the engine lease within its transaction.
#[async_trait]
pub trait PassStore: Send + Sync {
    /// Begins a pass; answers how far the directory's passwords are stored, where a pass has told it.
    async fn begin_pass(
        &self,
        epoch: LeaseEpoch,
        connector: &ConnectorName,
        at: Timestamp,
    ) -> Result<Option<SourcePosition>, CredentialStoreError>;

    /// Ends a pass; drops results that were kept long enough.
    async fn end_pass(
        &self,
        epoch: LeaseEpoch,
        connector: &ConnectorName,
        end: PassEnd,
    ) -> Result<(), CredentialStoreError>;

    /// What is stored about these accounts, in no order; all of them are answered.
    async fn known(
        &self,
        connector: &ConnectorName,
        anchors: &[SourceAnchor],
    ) -> Result<Vec<KnownAccount>, CredentialStoreError>;

    /// Anchors that users of the tenant have as their credential source, in order, after `after`.
    async fn linked_after(
        &self,
        connector: &ConnectorName,
        after: Option<&SourceAnchor>,
        limit: u32,
    ) -> Result<Vec<SourceAnchor>, CredentialStoreError>;

    /// How many accounts of the connector have a usable credential.
    async fn usable_count(&self, connector: &ConnectorName) -> Result<u64, CredentialStoreError>;

    /// Applies changes of a few accounts in one transaction. A credential is stored only while a user still has the
    /// account as an eligible credential source.
    async fn apply(
        &self,
        epoch: LeaseEpoch,
        connector: &ConnectorName,
        at: Timestamp,
        changes: Vec<AccountChange>,
    ) -> Result<(), CredentialStoreError>;

    /// Single-object reads that are due.
    async fn due_fetches(
        &self,
        connector: &ConnectorName,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<SourceAnchor>, CredentialStoreError>;

    /// These reads did not succeed: try again later, at growing intervals.
    async fn postpone_fetches(
        &self,
        epoch: LeaseEpoch,
        connector: &ConnectorName,
        anchors: &[SourceAnchor],
        now: Timestamp,
    ) -> Result<(), CredentialStoreError>;
}

/// How a pass ended.
#[derive(Clone, Debug)]
pub enum PassEnd {
    /// Read to its end without error. `started` becomes the connector's time: nothing stored is older.
    Complete {
        started: Timestamp,
        report: PassReport,
        /// How far the directory's passwords are stored now; `None` leaves it as it was.
        reached: Option<SourcePosition>,
        /// Why the list of leaked passwords could not be looked into.
        leaked_error: Option<String>,
    },
    Failed {
        error: String,
    },
}

/// What is stored about an account.
#[derive(Clone, Debug)]
pub struct KnownAccount {
    pub anchor: SourceAnchor,
    /// Whether a user has the account as credential source, and if so, whether password sync is enabled for it.
    pub link: Option<Eligibility>,
    pub credential: Option<KnownCredential>,
    pub state: Option<(AccountState, SourceVersion)>,
    pub result: Option<KnownResult>,
    /// A single read of the account is queued.
    pub fetch_queued: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eligibility {
    Eligible,
    Ineligible,
}

#[derive(Clone, Debug)]
pub struct KnownCredential {
    pub stage: Stage,
    /// Why it is set aside.
    pub reason: Option<String>,
    /// `None` after a wipe.
    pub stamp: Option<SourceStamp>,
    pub outdated: Option<OutdatedMark>,
    pub password_set: Option<Timestamp>,
    pub confirmed_at: Timestamp,
    /// Which write of its directory the password comes from.
    pub written: Option<WriteStamp>,
    /// The password is on the list of leaked ones.
    pub leaked: Option<LeakClass>,
}

/// The directory has moved on from the stored hash, as somebody found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutdatedMark {
    pub at: Timestamp,
    pub by: Mark,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownResult {
    pub code: String,
    pub detail: Option<String>,
    pub at: Timestamp,
}

/// Where a stored credential stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Usable; its Argon2id is still to come, or settings leave it out.
    Sealed,
    /// Usable, and ends in Argon2id.
    Wrapped,
    /// The source's value cannot be used.
    Quarantined,
    /// Ended on purpose.
    Wiped,
}

impl Stage {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Wrapped => "wrapped",
            Self::Quarantined => "quarantined",
            Self::Wiped => "wiped",
        }
    }

    /// The stage by its word; `None` for any other.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Sealed, Self::Wrapped, Self::Quarantined, Self::Wiped].into_iter().find(|stage| stage.as_str() == word)
    }

    pub const fn is_usable(self) -> bool {
        match self {
            Self::Sealed | Self::Wrapped => true,
            Self::Quarantined | Self::Wiped => false,
        }
    }
}

/// What to write about an account.
#[derive(Clone, Debug)]
pub struct AccountChange {
    pub anchor: SourceAnchor,
    /// When the account was read.
    pub read_at: Timestamp,
    /// Which write the password comes from.
    pub written: Option<WriteStamp>,
    pub credential: Option<CredentialChange>,
    /// What the list of leaked passwords says of it, where that is news.
    pub leak: Leak,
    pub state: Option<StateChange>,
    pub result: Option<AccountResult>,
    /// A single read of the account was queued; this was it, if it was queued before `read_at`.
    pub fetched: bool,
    /// The account is to be read again by itself.
    pub ask_again: bool,
}

impl AccountChange {
    /// Nothing to be written of an account yet.
    pub fn of(anchor: SourceAnchor, read_at: Timestamp) -> Self {
        let (written, credential, leak, state, result) = (None, None, Leak::NotLookedFor, None, None);
        Self { anchor, read_at, written, credential, leak, state, result, fetched: false, ask_again: false }
    }
}

#[derive(Clone, Debug)]
pub enum CredentialChange {
    /// A new password: the version grows.
    Store { new: SealedChain, stamp: SourceStamp, password_set: Option<Timestamp>, keep_outdated: bool },
    /// The value cannot be used; what was stored is erased and the version grows.
    Quarantine { reason: Quarantine, stamp: SourceStamp },
    /// The same value as before.
    Confirm { clear: Option<OutdatedMark>, stamp: SourceStamp, password_set: Option<Timestamp> },
}

/// A chain and its sealed output.
#[derive(Clone, Debug)]
pub struct SealedChain {
    pub stage: Stage,
    pub chain: Chain,
    pub sealed: Sealed,
}

#[derive(Clone, Debug)]
pub struct StateChange {
    pub state: AccountState,
    pub version: SourceVersion,
    /// What was refused at a live check after this instant is not overruled by this state.
    pub as_of: Timestamp,
    /// The account ended (disabled or deleted): its sessions end too, by a new security stamp.
    pub ends_sessions: bool,
}

/// A credential as a row holds it. Chain and seal are text: what cannot be read is for the reader to answer.
#[derive(Clone, Debug)]
pub struct StoredCredential {
    pub source: CredentialSource,
    pub stage: Stage,
    pub chain: String,
    pub sealed: String,
    pub version: i64,
    pub outdated: Option<OutdatedMark>,
    pub password_set: Option<Timestamp>,
    pub stored_at: Timestamp,
    pub confirmed_at: Timestamp,
    /// The rules in scope do not enable password sync for the user.
    pub ineligible: bool,
    /// The password is on the list of leaked ones.
    pub leaked: bool,
}

/// What sign-in reads.
#[async_trait]
pub trait CredentialReader: Send + Sync {
    async fn credential(&self, source: &CredentialSource) -> Result<Option<StoredCredential>, CredentialStoreError>;

    /// The chains in use, in order of their accounts, after `after`: what the slowest answer is measured by.
    async fn chains_after(
        &self,
        after: Option<&CredentialSource>,
        limit: u32,
    ) -> Result<Vec<(CredentialSource, String)>, CredentialStoreError>;
}

/// What the background wrapping reads and writes.
#[async_trait]
pub trait UpgradeStore: Send + Sync {
    /// Usable rows in order of their accounts, after `after`, that are sealed under another key than `primary` or, if
    /// `unwrapped`, do not end in Argon2id yet.
    async fn upgradable_after(
        &self,
        primary: &KeyName,
        unwrapped: bool,
        after: Option<&CredentialSource>,
        limit: u32,
    ) -> Result<Vec<StoredCredential>, CredentialStoreError>;

    /// Replaces chain and seal of rows that are still as they were read; the version stays, for the password does.
    /// Returns how many were.
    async fn upgrade(&self, epoch: LeaseEpoch, upgrades: Vec<Upgrade>) -> Result<u64, CredentialStoreError>;

    /// Usable rows that do not end in Argon2id.
    async fn sealed_count(&self) -> Result<u64, CredentialStoreError>;

    /// Usable rows by stage: sealed, wrapped.
    async fn stage_counts(&self) -> Result<(u64, u64), CredentialStoreError>;
}

/// A row's new chain and seal.
#[derive(Clone, Debug)]
pub struct Upgrade {
    pub source: CredentialSource,
    pub version: i64,
    /// The seal that was read: a row that changed since is left alone.
    pub was: String,
    pub new: SealedChain,
}
