//! The reads of sign-in: one statement per question, never a cache (design D3).

use async_trait::async_trait;

use super::domain::Domain;
use crate::identity::{
    AccountState, CredentialSource, DomainName, GroupId, Refusal, SignInName, SourceAnchor, Timestamp, Upn, UserId,
};

/// The directory as sign-in asks it.
#[async_trait]
pub trait SignInDirectory: Send + Sync {
    /// The undeleted user that signs in by `name`. A UPN goes before an alternate login id, that before a SAM name.
    async fn by_name(&self, name: &SignInName) -> Result<SignInLookup, DirectoryUnavailable>;

    async fn by_oid(&self, oid: UserId) -> Result<SignInLookup, DirectoryUnavailable>;

    /// For federation: the user with this source anchor, with the names held in the last 24 hours.
    async fn by_source_anchor(&self, anchor: &SourceAnchor) -> Result<SignInLookup, DirectoryUnavailable>;

    async fn domain(&self, name: &DomainName) -> Result<Option<Domain>, DirectoryUnavailable>;

    async fn domains(&self) -> Result<Vec<Domain>, DirectoryUnavailable>;

    /// All undeleted groups the user is in, through nested groups too.
    async fn groups_of(&self, oid: UserId) -> Result<Vec<GroupMembership>, DirectoryUnavailable>;
}

/// The directory could not be read: never a verdict (design D4).
#[derive(Debug, thiserror::Error)]
#[error("the tenant directory could not be read")]
pub struct DirectoryUnavailable(#[source] pub Box<dyn std::error::Error + Send + Sync>);

#[derive(Clone, Debug, PartialEq)]
pub struct SignInLookup {
    /// The store-wide change number of tenant, domain, policy and client settings: a cache of another number is stale.
    pub settings_version: i64,
    pub user: Option<Box<UserForSignIn>>,
}

/// All that sign-in needs to know of a user, as of one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct UserForSignIn {
    pub oid: UserId,
    pub upn: Upn,
    pub source_anchor: Option<SourceAnchor>,
    pub display_name: Option<String>,
    pub given_name: Option<String>,
    pub surname: Option<String>,
    pub mail: Option<String>,
    pub on_premises_upn: Option<String>,
    /// Of the effective UPN.
    pub domain: Domain,
    /// One half of the account's state, by the rules; the other is `directory_state`. Both must allow.
    pub account_enabled: bool,
    pub security_stamp: String,
    pub credential: Option<SignInCredential>,
    /// Former names (folded), with the instant until which federation still matches them.
    pub former_upns: Vec<(String, Timestamp)>,
}

/// Where the user's password is checked.
#[derive(Clone, Debug, PartialEq)]
pub struct SignInCredential {
    pub source: CredentialSource,
    /// Password sync is enabled for the user.
    pub eligible: bool,
    /// The source's connector may speak for the user's domain (design D9); the initial domain is everybody's.
    pub registered: bool,
    pub directory_state: Option<DirectoryState>,
    /// The newest refusal of the account that a live check saw after the state was observed.
    pub newer_refusal: Option<NewerRefusal>,
}

/// The account's state as the password channel stored it.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectoryState {
    pub state: AccountState,
    pub source_version: String,
    pub observed_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub struct NewerRefusal {
    /// Its stable code, see [`Refusal::code`].
    pub reason: String,
    pub at: Timestamp,
}

/// A group the user is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMembership {
    pub oid: GroupId,
    pub display_name: Option<String>,
    pub sid: Option<String>,
    pub source_anchor: Option<SourceAnchor>,
}

impl UserForSignIn {
    /// Whether `upn` (folded) is the user's name, or was within the last 24 hours.
    pub fn answers_to(&self, upn: &str, now: Timestamp) -> bool {
        self.upn.folded() == upn || self.former_upns.iter().any(|(former, until)| former == upn && *until > now)
    }

    /// What the two writers of the account's state say at `now`; the first refusal otherwise.
    pub fn evaluate_account(&self, now: Timestamp) -> Result<(), Refusal> {
        if !self.account_enabled {
            return Err(Refusal::Disabled);
        }
        match self.credential.as_ref().and_then(|credential| credential.directory_state.as_ref()) {
            Some(stored) => stored.state.evaluate(now),
            None => Ok(()),
        }
    }
}
