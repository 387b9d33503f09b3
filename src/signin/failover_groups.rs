//! Groups of a domain for which failover is something else than for the domain: automatic, manual, or barred.
//!
//! What counts for a user, from first to last:
//!
//! 1. the groups that failover is closed to everywhere (`failover.barred_groups`, protected groups of Active Directory);
//! 2. of the domain's groups that the user is in, directly or by nesting, the strictest: barred, then manual, then automatic;
//! 3. the domain's own policy.
//!
//! There is no precedence to be set: nobody gets laxer by one more group than by the strictest of the others.
//!
//! Who was in a group that is gone is not known any more. As long as a domain is stricter for it, failover of the whole domain
//! is manual: nobody gets in by a policy that may not be theirs, until an administrator has decided.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::fault::{Fault, planted};
use super::store::StoreDown;
use crate::audit::Event;
use crate::identity::{DomainName, GroupFailover, GroupId, Timestamp};

/// What failover is for a group of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverGroup {
    pub domain: DomainName,
    pub group: GroupId,
    pub failover: GroupFailover,
    pub by: String,
    pub at: Timestamp,
}

/// What the domain says of a user in `groups`, when those in `gone` are there no more; `None`: as of everybody.
pub fn strictest(
    policies: &[FailoverGroup],
    groups: &BTreeSet<GroupId>,
    gone: &BTreeSet<GroupId>,
) -> Option<GroupFailover> {
    let mine = policies.iter().filter_map(|policy| match groups.contains(&policy.group) {
        true => Some(policy.failover),
        false => (policy.restricts() && gone.contains(&policy.group)).then_some(GroupFailover::Manual),
    });
    if planted(Fault::LaxestGroupCounts) { mine.min() } else { mine.max() }
}

impl FailoverGroup {
    /// Whether somebody of the group may get in less easily than by the domain's own policy.
    pub const fn restricts(&self) -> bool {
        match self.failover {
            GroupFailover::Automatic => false,
            GroupFailover::Manual | GroupFailover::Barred => true,
        }
    }
}

/// The groups that somebody may be kept out by.
pub fn restricting(policies: &[FailoverGroup]) -> Vec<GroupId> {
    policies.iter().filter(|policy| policy.restricts()).map(|policy| policy.group).collect()
}

/// Whether failover is automatic for some group.
pub fn some_automatic(policies: &[FailoverGroup]) -> bool {
    policies.iter().any(|policy| policy.failover == GroupFailover::Automatic)
}

/// The groups as administrators see and change them. All nodes know a change at the next sign-in.
#[async_trait]
pub trait FailoverGroups: Send + Sync {
    async fn failover_groups(&self) -> Result<Vec<FailoverGroup>, StoreDown>;

    /// Sets what failover is for a group of a domain that still has `version`; `false`, and nothing is recorded, when it was
    /// that already. The refusal is for the operator.
    async fn put(&self, policy: FailoverGroup, version: i64, event: Event) -> Result<Result<bool, String>, StoreDown>;

    /// Lets the domain's own policy hold for a group again; `false`, and nothing is recorded, when it did.
    async fn remove(
        &self,
        domain: DomainName,
        group: GroupId,
        version: i64,
        event: Event,
    ) -> Result<Result<bool, String>, StoreDown>;
}
