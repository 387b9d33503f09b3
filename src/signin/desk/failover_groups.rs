//! What failover is for groups of a domain.

use serde::{Deserialize, Serialize};

use super::{DeskError, SignInDesk, event, refused};
use crate::identity::{DomainName, GroupFailover, GroupId};
use crate::signin::failover_groups::FailoverGroup;

/// A group of a domain with a policy of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPolicy {
    pub domain: DomainName,
    pub group: GroupId,
    /// `None` when the group is gone.
    pub name: Option<String>,
    pub failover: GroupFailover,
    pub by: String,
}

impl SignInDesk {
    /// Sets what failover is for a group of a domain, by its `oid` or display name; `None`: as for the domain.
    pub async fn set_group_failover(
        &self,
        name: &DomainName,
        asked: &str,
        failover: Option<GroupFailover>,
        by: &str,
    ) -> Result<Vec<GroupPolicy>, DeskError> {
        let domain = self.domain(name).await?;
        let group = match self.rollouts.groups(asked).await?.as_slice() {
            [group] => group.oid,
            // Of a group that is gone the policy can still be taken away, by its oid.
            [] if failover.is_none() => asked.parse().map_err(|_| DeskError::NoGroup(asked.to_owned()))?,
            [] => return Err(DeskError::NoGroup(asked.to_owned())),
            several => {
                let oids = several.iter().map(|group| group.oid.to_string()).collect::<Vec<_>>().join(", ");
                return Err(refused(format!("several groups are called {asked}; give the oid of one: {oids}")));
            }
        };
        let event = event("failover.set-group", by)
            .about(name)
            .with("group", group.to_string())
            .with("failover", failover.map_or("as-domain", GroupFailover::as_str));
        let at = self.sign_in.room.clock.now();
        let done = match failover {
            Some(failover) => {
                let policy = FailoverGroup { domain: name.clone(), group, failover, by: by.to_owned(), at };
                self.failover_groups.put(policy, domain.version, event).await?.map(|()| true)
            }
            None => self.failover_groups.remove(name.clone(), group, domain.version, event).await?,
        };
        match done {
            Ok(true) => self.group_policies(Some(name)).await,
            Ok(false) => Err(refused(format!("failover is for {asked} as for {name} already"))),
            Err(text) => Err(refused(text)),
        }
    }

    /// The groups with a policy of their own; of one domain, or of all.
    pub(super) async fn group_policies(&self, of: Option<&DomainName>) -> Result<Vec<GroupPolicy>, DeskError> {
        let mut policies = self.failover_groups.failover_groups().await?;
        policies.retain(|policy| of.is_none_or(|name| policy.domain == *name));
        let names = self.rollouts.names_of(policies.iter().map(|policy| policy.group).collect()).await?;
        let named = |group: GroupId| names.iter().find(|named| named.oid == group).and_then(|named| named.name.clone());
        let policies = policies.into_iter().map(|policy| GroupPolicy {
            name: named(policy.group),
            domain: policy.domain,
            group: policy.group,
            failover: policy.failover,
            by: policy.by,
        });
        Ok(policies.collect())
    }
}
