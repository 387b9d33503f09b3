//! What failover is for groups of a domain.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{DeskError, SignInDesk, alert_event, event, refused};
use crate::audit::EventKind;
use crate::identity::{DomainName, GroupFailover, GroupId};
use crate::signin::failover_groups::{FailoverGroup, restricting};
use crate::signin::store::Alert;

/// The alert of a domain that is stricter for a group that is gone.
pub const FAILOVER_GROUP_GONE: &str = "failover-group-gone";

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
                self.failover_groups.put(policy, domain.version, event).await?
            }
            None => self.failover_groups.remove(name.clone(), group, domain.version, event).await?,
        };
        match done {
            Ok(true) => self.group_policies(Some(name)).await,
            Ok(false) => {
                let already = failover.map_or_else(|| format!("as for {name}"), |failover| failover.to_string());
                Err(refused(format!("failover is for {asked} {already} already")))
            }
            Err(text) => Err(refused(text)),
        }
    }

    /// Tells of domains that are stricter for a group that is gone: their failover is manual for everybody.
    pub(super) async fn settle_gone_groups(&self) -> Result<(), DeskError> {
        let room = &self.sign_in.room;
        let policies = self.failover_groups.failover_groups().await?;
        let gone = match restricting(&policies) {
            none if none.is_empty() => BTreeSet::new(),
            groups => room.directory.gone(groups).await?,
        };
        let mut due: BTreeMap<&DomainName, Vec<String>> = BTreeMap::new();
        for policy in policies.iter().filter(|policy| policy.restricts() && gone.contains(&policy.group)) {
            due.entry(&policy.domain).or_default().push(format!("{} ({})", policy.group, policy.failover));
        }
        let (now, raised) = (room.clock.now(), room.store.raised().await?);
        let raised: BTreeSet<&str> = raised
            .iter()
            .filter(|alert| alert.name == FAILOVER_GROUP_GONE)
            .map(|alert| alert.subject.as_str())
            .collect();
        for subject in raised.iter().filter(|subject| !due.keys().any(|name| name.as_str() == **subject)) {
            let events = vec![alert_event(EventKind::AlertCleared, subject, FAILOVER_GROUP_GONE)];
            room.store.clear(FAILOVER_GROUP_GONE, (*subject).to_owned(), now, events).await?;
        }
        for (name, groups) in due.into_iter().filter(|(name, _)| !raised.contains(name.as_str())) {
            let detail = format!(
                "{} is gone, and with it who was in it: failover of {name} is manual for everybody until failover set-group \
                 {name} takes the group out",
                groups.join(", ")
            );
            let events = vec![alert_event(EventKind::AlertRaised, name, FAILOVER_GROUP_GONE)];
            room.store
                .raise(Alert { name: FAILOVER_GROUP_GONE, subject: name.to_string(), detail, at: now }, events)
                .await?;
        }
        Ok(())
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
