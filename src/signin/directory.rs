//! The tenant directory as sign-in sees it.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;

use super::failover::Policy;
use super::failover_groups::{FailoverGroup, some_automatic};
use super::rollout::Rollout;
use super::store::StoreDown;
use crate::identity::{
    AccountState, AuthenticationMethod, Backup, ConnectorName, CredentialSource, DirectoryLockout, DomainName,
    EntityId, FailoverMode, GroupId, Pin, Refusal, SignInName, SourceAnchor, Timestamp, Upn, UserId,
};

/// Users and realms. Users and their states are read from the store each time (design D3); realms may be cached.
#[async_trait]
pub trait Directory: Send + Sync {
    /// The verified domain that `name` belongs to; `None` when it is no domain of this tenant. Never asks whether the
    /// user exists.
    async fn realm_of(&self, name: &SignInName) -> Result<Option<Realm>, StoreDown>;

    /// Whoever has `name`, in one statement that costs about the same when nobody has it.
    async fn holder(&self, name: &SignInName) -> Result<Option<Holder>, StoreDown>;

    /// The groups that a user is in, directly or by nesting.
    async fn groups_of_user(&self, oid: UserId) -> Result<BTreeSet<GroupId>, StoreDown>;

    async fn realm(&self, domain: &DomainName) -> Result<Option<Realm>, StoreDown>;

    /// The tenant's initial domain: always there, always managed.
    async fn initial_realm(&self) -> Result<Realm, StoreDown>;

    /// The user by folded sign-in name, in one statement. Deleted users are not found.
    async fn user(&self, name: &SignInName) -> Result<Option<UserForSignIn>, StoreDown>;

    /// The user by source anchor, with the UPNs held in the last 24 hours (design D9).
    async fn user_by_anchor(&self, anchor: &SourceAnchor) -> Result<Option<UserForSignIn>, StoreDown>;

    /// What only failover asks about a user.
    async fn failover_standing(&self, oid: UserId, source: &CredentialSource) -> Result<FailoverStanding, StoreDown>;

    /// Which of these groups are there no more.
    async fn gone(&self, groups: Vec<GroupId>) -> Result<BTreeSet<GroupId>, StoreDown>;
}

/// How a domain's users sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm {
    pub domain: DomainName,
    pub method: AuthenticationMethod,
    pub backup: Backup,
    pub failover: FailoverMode,
    pub max_hash_age: Duration,
    pub pin: Option<Pin>,
    pub partner: Option<EntityId>,
    /// The connectors registered for the domain; one of them is asked about unknown names.
    pub connectors: Vec<ConnectorName>,
    /// The staged rollouts of the domain.
    pub rollouts: Vec<Rollout>,
    /// Groups for which failover is something else than for the domain.
    pub failover_groups: Vec<FailoverGroup>,
    /// Since when every node finds the domain's partner without service, once that is confirmed.
    pub partner_outage: Option<Timestamp>,
}

impl Realm {
    /// What failover of the domain depends on.
    pub fn policy(&self) -> Policy {
        Policy {
            backup: self.backup,
            mode: self.failover,
            automatic_group: some_automatic(&self.failover_groups),
            pin: self.pin,
            max_hash_age: self.max_hash_age,
        }
    }
}

/// Who has a name, as far as the road depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub oid: UserId,
    /// The domain of the user's UPN.
    pub domain: DomainName,
    /// The groups that the user is in, directly or by nesting, of those that a rollout names.
    pub groups: BTreeSet<GroupId>,
}

/// What one statement reads about a user at sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserForSignIn {
    pub oid: UserId,
    pub upn: Upn,
    /// UPNs that the user held in the last 24 hours, folded.
    pub recent_upns: Vec<String>,
    pub source_anchor: Option<SourceAnchor>,
    /// The half of the account state that the rules write.
    pub account_enabled: bool,
    pub security_stamp: String,
    /// Where the password is checked; `None` unless that connector is registered for the user's domain (design D9).
    pub source: Option<CredentialSource>,
    /// The half that the password channel writes; `None` when it has not seen the account.
    pub directory_state: Option<DirectoryState>,
    /// The newest live refusal of the account on record.
    pub refusal: Option<AccountRefusal>,
}

impl UserForSignIn {
    /// The directory's own lockout of the user; `None` when it never locks, or is not known.
    pub fn directory_lockout(&self) -> Option<DirectoryLockout> {
        self.directory_state.as_ref()?.state.lockout
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailoverStanding {
    /// The user is, directly or by nesting, in a group barred from failover.
    pub barred: bool,
    /// The groups that the user is in, directly or by nesting.
    pub groups: BTreeSet<GroupId>,
    /// When the last pass of the password channel that reached the end of the user's connector began.
    pub last_pass: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryState {
    pub state: AccountState,
    pub observed_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountRefusal {
    pub refusal: Refusal,
    pub at: Timestamp,
}

impl UserForSignIn {
    /// Whether `upn` is the user's, or was within the last 24 hours.
    pub fn answers_to(&self, upn: &Upn) -> bool {
        *upn == self.upn || self.recent_upns.contains(&upn.folded())
    }
}
