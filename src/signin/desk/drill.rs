//! The failover drill: what the backup of a domain would hold, without touching anybody.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DeskError, NodeStatus, SignInDesk};
use crate::identity::{
    AuthenticationMethod, Backup, ConnectorName, DomainName, FailoverMode, GroupFailover, Timestamp, Upn, UserId,
};
use crate::signin::coverage::{Barriers, WhoAsks, covered};
use crate::signin::tally::{NodePace, Peak};
use crate::tenant::Domain;

/// Users read at a time.
const PAGE: u32 = 1000;
/// Users that a drill names; beyond them it only counts.
const MOST_NAMED: usize = 1000;
/// A node that has not been heard of for longer does not count.
const ALIVE: Duration = Duration::from_secs(120);
/// How far back the busiest minute is looked for.
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// What a drill found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill {
    pub domain: DomainName,
    pub method: AuthenticationMethod,
    pub backup: Backup,
    pub failover: FailoverMode,
    /// Enabled users.
    pub users: u64,
    /// Of them, those whom the backup would let in by the right password.
    pub covered: u64,
    /// Of those, whom it lets in without an administrator's word, by the policies of the domain and its groups.
    #[serde(default)]
    pub by_itself: u64,
    pub reasons: Vec<DrillReason>,
    /// The first thousand of those whom it would not.
    pub uncovered: Vec<Uncovered>,
    pub passes: Vec<PassAge>,
    pub hashes: HashAges,
    /// The nodes that are there, and how many hashes each checks in a minute.
    pub nodes: Vec<NodePace>,
    pub checks_a_minute: u64,
    /// The busiest minute of the last week, of all domains together.
    pub peak: Option<Peak>,
    /// What stands against the backup; it would hold when there is nothing.
    pub findings: Vec<String>,
    /// What does not stand against it, and deserves attention.
    #[serde(default)]
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillReason {
    /// As the audit log would have it.
    pub reason: String,
    pub users: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uncovered {
    pub oid: UserId,
    pub upn: Upn,
    pub reason: String,
}

/// When the password channel was through with a connector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassAge {
    pub connector: ConnectorName,
    /// When the last complete pass began.
    pub last_pass: Option<Timestamp>,
    pub age_seconds: Option<u64>,
}

/// How long ago hashes were found to be the directory's, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashAges {
    pub newest: Option<u64>,
    pub median: Option<u64>,
    pub oldest: Option<u64>,
}

impl SignInDesk {
    /// What the backup of a domain would hold now.
    pub async fn drill(&self, name: &DomainName) -> Result<Drill, DeskError> {
        let domain = self.domain(name).await?;
        let now = self.sign_in.room.clock.now();
        // What this node has just counted counts too.
        self.write_tally().await?;
        let barred = self.coverage.barred().await?;
        let members = self.group_members(name).await?;
        let policies = self.group_policies(Some(name)).await?;
        // As in a sign-in: who was in it is not known, so it may be anybody.
        let gone = policies.iter().any(|policy| policy.name.is_none() && policy.failover != GroupFailover::Automatic);
        let (mut reasons, mut passes) = (BTreeMap::<String, u64>::new(), BTreeMap::new());
        let (mut users, mut by_itself, mut uncovered, mut ages, mut after) = (0, 0, Vec::new(), Vec::new(), None);
        loop {
            let page = self.coverage.coverage(name, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.oid);
            for user in page {
                users += 1;
                if let Some(connector) = &user.connector {
                    passes.insert(connector.clone(), user.last_pass);
                }
                let group = members.iter().filter(|(_, members)| members.contains(&user.oid)).map(|(what, _)| *what);
                let group = group.chain(gone.then_some(GroupFailover::Manual)).max();
                let barriers = Barriers { barred: barred.contains(&user.oid), group };
                by_itself += u64::from(covered(&user, &domain, barriers, WhoAsks::Nobody, now).is_ok());
                match covered(&user, &domain, barriers, WhoAsks::Administrator, now) {
                    Ok(()) => ages.extend(user.confirmed_at.map(|at| now.since(at).as_secs())),
                    Err(reason) => {
                        *reasons.entry(reason.clone()).or_default() += 1;
                        if uncovered.len() < MOST_NAMED {
                            uncovered.push(Uncovered { oid: user.oid, upn: user.upn, reason });
                        }
                    }
                }
            }
        }
        ages.sort_unstable();
        let nodes = self.tallies.nodes(self.time.now().await? - ALIVE).await?;
        let not_covered: u64 = reasons.values().sum();
        let age = |last: Option<Timestamp>| last.map(|last| now.since(last).as_secs());
        let mut drill = Drill {
            domain: domain.name.clone(),
            method: domain.method,
            backup: domain.backup,
            failover: domain.failover,
            users,
            covered: users - not_covered,
            by_itself: if domain.backup == Backup::None { 0 } else { by_itself },
            reasons: reasons.into_iter().map(|(reason, users)| DrillReason { reason, users }).collect(),
            uncovered,
            passes: passes
                .into_iter()
                .map(|(connector, last_pass)| PassAge { connector, last_pass, age_seconds: age(last_pass) })
                .collect(),
            hashes: HashAges {
                newest: ages.first().copied(),
                median: ages.get(ages.len() / 2).copied(),
                oldest: ages.last().copied(),
            },
            checks_a_minute: nodes.iter().map(|node| node.checks_a_minute).sum(),
            nodes,
            peak: self.tallies.peak(None, now - WEEK).await?,
            findings: Vec::new(),
            warnings: Vec::new(),
        };
        drill.findings = findings(&drill);
        drill.warnings = self.partner_warnings(&domain).await?;
        if gone {
            drill.warnings.push(format!(
                "a group that {name} is stricter for is gone: nobody gets in before an administrator forces the backup"
            ));
        }
        Ok(drill)
    }

    /// Who is in the groups of a domain for which failover is something else.
    async fn group_members(&self, name: &DomainName) -> Result<Vec<(GroupFailover, HashSet<UserId>)>, DeskError> {
        let mut members = Vec::new();
        for policy in self.failover_groups.failover_groups().await? {
            if policy.domain == *name {
                members.push((policy.failover, self.rollouts.members(policy.group).await?));
            }
        }
        Ok(members)
    }

    /// What keeps an outage of the domain's partner from being noticed.
    async fn partner_warnings(&self, domain: &Domain) -> Result<Vec<String>, DeskError> {
        let mut warnings = Vec::new();
        for status in self.partner_status(false).await?.into_iter().filter(|status| status.domain == domain.name) {
            let good = |node: &NodeStatus| node.view.as_ref().is_some_and(|view| view.last_good.is_some());
            if !status.nodes.iter().any(good) {
                warnings.push(format!(
                    "no node has had a synthetic sign-in at {} go well: an outage of it is never noticed",
                    status.partner
                ));
            } else if !status.canary_account {
                warnings.push(format!(
                    "there is no canary account at {}: its first page alone is looked at, and a partner that fails \
                     behind it counts as healthy",
                    status.partner
                ));
            }
        }
        Ok(warnings)
    }
}

fn findings(drill: &Drill) -> Vec<String> {
    let mut findings = Vec::new();
    let name = &drill.domain;
    if drill.backup == Backup::None {
        findings.push(format!("{name} has no backup: landbridge domain set-failover {name} --backup phs"));
    }
    let left = drill.users - drill.covered;
    if left > 0 {
        findings.push(format!("{left} of {} users would not get in", drill.users));
    }
    match drill.peak {
        Some(peak) if peak.tries > drill.checks_a_minute => findings.push(format!(
            "{} tries came in the busiest minute of the last week, and all nodes together check {} hashes in one",
            peak.tries, drill.checks_a_minute
        )),
        Some(_) | None => {}
    }
    findings
}
