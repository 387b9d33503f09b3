//! Groups of a domain for which failover is something else than for the domain: automatic, manual, or barred.
//!
//! What counts for a user, from first to last:
//!
//! 1. the groups that failover is closed to everywhere (`failover.barred_groups`, protected groups of Active Directory);
//! 2. of the domain's groups that the user is in, directly or by nesting, the strictest: barred, then manual, then automatic;
//! 3. the domain's own policy.
//!
//! There is no precedence to be set: nobody gets laxer by one more group than by the strictest of the others.

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

/// What the domain says of a user in `groups`; `None`: as of everybody.
pub fn strictest(policies: &[FailoverGroup], groups: &BTreeSet<GroupId>) -> Option<GroupFailover> {
    let mine = policies.iter().filter(|policy| groups.contains(&policy.group)).map(|policy| policy.failover);
    if planted(Fault::LaxestGroupCounts) { mine.min() } else { mine.max() }
}

/// Whether failover is automatic for some group.
pub fn some_automatic(policies: &[FailoverGroup]) -> bool {
    policies.iter().any(|policy| policy.failover == GroupFailover::Automatic)
}

/// The groups as administrators see and change them. All nodes know a change at the next sign-in.
#[async_trait]
pub trait FailoverGroups: Send + Sync {
    async fn failover_groups(&self) -> Result<Vec<FailoverGroup>, StoreDown>;

    /// Sets what failover is for a group of a domain that still has `version`; the refusal is for the operator.
    async fn put(&self, policy: FailoverGroup, version: i64, event: Event) -> Result<Result<(), String>, StoreDown>;

    /// Lets the domain's own policy hold for a group again; `false` when it did.
    async fn remove(
        &self,
        domain: DomainName,
        group: GroupId,
        version: i64,
        event: Event,
    ) -> Result<Result<bool, String>, StoreDown>;
}
