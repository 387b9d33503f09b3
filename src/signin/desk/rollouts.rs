//! Staged rollouts: added, removed, listed, reported on.

use serde::{Deserialize, Serialize};

use super::survey::{Outlook, Paths, Survey, Whom};
use super::{DeskError, SignInDesk, event, refused};
use crate::audit::Event;
use crate::identity::{AuthenticationMethod, ChangeId, DomainName, EntityId, GroupId, Percent, RolloutId, UserId};
use crate::signin::change::{ChangeState, MethodChange, Plan, RolloutEdit};
use crate::signin::readiness::Readiness;
use crate::signin::rollout::{Lot, Rollout, Scope};
use crate::signin::store::{NamedGroup, RolloutChanged};
use crate::tenant::Domain;

/// Between the precedence numbers that rollouts get which are added without one: room for others.
const STEP: u32 = 10;
/// Rollouts of one domain; each is looked at with every sign-in of it.
const MOST: usize = 50;

/// A wish to move some people of a domain to another method: exactly one of `group` and `percent`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddRollout {
    pub domain: DomainName,
    /// `oid` or display name.
    #[serde(default)]
    pub group: Option<String>,
    #[serde(default)]
    pub percent: Option<Percent>,
    pub method: AuthenticationMethod,
    /// Of a group: the lowest number counts. After all others when left out.
    #[serde(default)]
    pub precedence: Option<u32>,
    /// Even if people are locked out.
    #[serde(default)]
    pub force: bool,
    #[serde(default)]
    pub dry_run: bool,
}

/// A wish to end a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveRollout {
    pub domain: DomainName,
    /// `oid` or display name; the domain's share when left out.
    #[serde(default)]
    pub group: Option<String>,
    #[serde(default)]
    pub force: bool,
    #[serde(default)]
    pub dry_run: bool,
}

/// What a change of rollouts did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutSet {
    pub rollout: Rollout,
    pub group_name: Option<String>,
    pub changed: bool,
    /// The proposal that waits for another principal's approval.
    #[serde(default)]
    pub proposed: Option<ChangeId>,
    /// Of those whose method it changes.
    pub readiness: Readiness,
}

/// A rollout in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutSummary {
    pub rollout: Rollout,
    /// `None`: the group was deleted, or has no name.
    pub group_name: Option<String>,
    /// Enabled users whose method it decides.
    pub users: u64,
}

impl SignInDesk {
    /// Adds a rollout, or changes how large a share is; where two pairs of eyes are wanted, proposes it.
    pub async fn add_rollout(&self, wish: AddRollout, by: &str) -> Result<RolloutSet, DeskError> {
        let prepared = self.prepare_add(wish.clone(), by).await?;
        if wish.dry_run {
            return Ok(prepared.set);
        }
        let group = prepared.group();
        self.finish(prepared, Plan::AddRollout(AddRollout { group, ..wish }), by).await
    }

    /// Removes a rollout: its people sign in as they would without it.
    pub async fn remove_rollout(&self, wish: RemoveRollout, by: &str) -> Result<RolloutSet, DeskError> {
        let prepared = self.prepare_removal(wish.clone()).await?;
        if wish.dry_run {
            return Ok(prepared.set);
        }
        let group = prepared.group();
        self.finish(prepared, Plan::RemoveRollout(RemoveRollout { group, ..wish }), by).await
    }

    async fn finish(&self, prepared: Prepared, plan: Plan, by: &str) -> Result<RolloutSet, DeskError> {
        prepared.ready_or_forced()?;
        let event = prepared.event(by);
        let Prepared { mut set, domain, version, ending, .. } = prepared;
        if self.four_eyes {
            let mut change = self.new_change(&domain, plan, by);
            change.partner = set.rollout.partner.clone();
            set.proposed = Some(self.propose(change, by).await?.id);
            return Ok(set);
        }
        let rollout = set.rollout.clone();
        let changed = match ending {
            true => self.rollouts.remove(rollout, version, event).await?,
            false => self.rollouts.put(rollout, version, event).await?,
        };
        if let RolloutChanged::Refused(text) = changed {
            return Err(refused(text));
        }
        set.changed = true;
        Ok(set)
    }

    /// What adding a rollout would do.
    pub(super) async fn prepare_add(&self, wish: AddRollout, by: &str) -> Result<Prepared, DeskError> {
        let domain = self.domain(&wish.domain).await?;
        let now = self.paths(&domain).await?;
        let partner = self.partner_for(&domain, wish.method).await?;
        let (scope, group) = match (&wish.group, wish.percent) {
            (Some(group), None) => {
                let group = self.one_group(group).await?;
                let precedence = free_precedence(&now, group.oid, wish.precedence)?;
                (Scope::Group { group: group.oid, precedence, drawn: Lot::share(0, 1) }, Some(group))
            }
            (None, Some(percent)) if wish.precedence.is_none() => (Scope::Share { percent }, None),
            (None, Some(_)) => return Err(refused("a share comes after all groups: it has no precedence".to_owned())),
            (Some(_), Some(_)) | (None, None) => {
                return Err(refused("a rollout is for one group, or for a share: give one of them".to_owned()));
            }
        };
        let mut rollout = Rollout {
            id: RolloutId::random(),
            domain: wish.domain.clone(),
            scope,
            method: wish.method,
            partner,
            by: by.to_owned(),
            at: self.sign_in.room.clock.now(),
        };
        let mut then = now.clone();
        if let Some(share) = share_of(&now, &rollout) {
            self.no_canary(share).await?;
            if share.method != rollout.method {
                return Err(refused(format!(
                    "{} of {} are moved to {} already: remove that share first, with rollout remove {} --share",
                    percent_of(share),
                    wish.domain,
                    share.method,
                    wish.domain
                )));
            }
            rollout.id = share.id;
            then.rollouts.retain(|other| other.id != share.id);
        }
        if then.rollouts.len() >= MOST {
            return Err(refused(format!("{} has {MOST} rollouts: remove some first", wish.domain)));
        }
        then.rollouts.push(rollout.clone());
        let survey = self.survey(&domain, &now, &then, Whom::Moved).await?;
        if let Scope::Group { drawn, .. } = &mut rollout.scope {
            *drawn = Lot::share(survey.decided.get(&rollout.id).copied().unwrap_or_default(), survey.users);
        }
        let set = RolloutSet {
            group_name: group.and_then(|group| group.name),
            changed: false,
            proposed: None,
            readiness: survey.readiness,
            rollout,
        };
        Ok(Prepared { set, version: domain.version, domain, ending: false, force: wish.force })
    }

    /// What removing a rollout would do.
    pub(super) async fn prepare_removal(&self, wish: RemoveRollout) -> Result<Prepared, DeskError> {
        let domain = self.domain(&wish.domain).await?;
        let now = self.paths(&domain).await?;
        let (rollout, group_name) = self.find_rollout(&now, &wish).await?;
        self.no_canary(&rollout).await?;
        let mut then = now.clone();
        then.rollouts.retain(|other| other.id != rollout.id);
        let Survey { readiness, .. } = self.survey(&domain, &now, &then, Whom::Moved).await?;
        let set = RolloutSet { rollout, group_name, changed: false, proposed: None, readiness };
        Ok(Prepared { set, version: domain.version, domain, ending: true, force: wish.force })
    }

    /// The rollouts of a domain, or of all, in the order in which they count.
    pub async fn list_rollouts(&self, only: Option<&DomainName>) -> Result<Vec<RolloutSummary>, DeskError> {
        let domains = match only {
            Some(name) => vec![self.domain(name).await?],
            None => self.domains.domains().await?,
        };
        let mut list = Vec::new();
        for domain in domains {
            let paths = self.paths(&domain).await?;
            if paths.rollouts.is_empty() {
                continue;
            }
            let names = self.rollouts.names_of(paths.rollouts.iter().filter_map(group_of).collect()).await?;
            let decided = self.decided(&domain, &paths).await?;
            for rollout in paths.rollouts {
                let group = group_of(&rollout);
                let named = names.iter().find(|named| Some(named.oid) == group);
                list.push(RolloutSummary {
                    group_name: named.and_then(|named| named.name.clone()),
                    users: decided.get(&rollout.id).copied().unwrap_or_default(),
                    rollout,
                });
            }
        }
        Ok(list)
    }

    /// A page of the users of a domain: how each signs in, why, and whether they can; `to`: if that were the domain's
    /// method.
    pub async fn report(
        &self,
        name: &DomainName,
        to: Option<AuthenticationMethod>,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Outlook, DeskError> {
        let domain = self.domain(name).await?;
        let now = self.paths(&domain).await?;
        let then = match to {
            None => now.clone(),
            Some(method) if method == domain.method => now.clone(),
            Some(method) => {
                let partner = match method {
                    AuthenticationMethod::Federated => self.partners.partner_of(name).await?,
                    AuthenticationMethod::Phs | AuthenticationMethod::Pta => None,
                };
                Paths { method, partner, ..now.clone() }
            }
        };
        self.outlook(&domain, &now, &then, after, limit).await
    }

    /// Who would answer for a rollout to `method`.
    pub(super) async fn partner_for(
        &self,
        domain: &Domain,
        method: AuthenticationMethod,
    ) -> Result<Option<EntityId>, DeskError> {
        match method {
            AuthenticationMethod::Phs | AuthenticationMethod::Pta => Ok(None),
            AuthenticationMethod::Federated if domain.is_initial() => {
                Err(refused(format!("{} is the initial domain: it is always managed", domain.name)))
            }
            AuthenticationMethod::Federated => match self.partners.partner_of(&domain.name).await? {
                Some(partner) => Ok(Some(partner)),
                None => Err(refused(format!("no partner answers for {}: add it first", domain.name))),
            },
        }
    }

    /// Refuses what would change the share of a canary behind its back.
    async fn no_canary(&self, rollout: &Rollout) -> Result<(), DeskError> {
        let tries_it = |change: &MethodChange| matches!(change.state, ChangeState::Canary { rollout: share, .. } if share == rollout.id);
        match self.changes.open_changes().await?.iter().find(|change| tries_it(change)) {
            None => Ok(()),
            Some(change) => Err(refused(format!(
                "the share of {0} is the canary of the change {1}: end it first, with domain rollback {0}",
                rollout.domain, change.id
            ))),
        }
    }

    async fn one_group(&self, asked: &str) -> Result<NamedGroup, DeskError> {
        let mut found = self.rollouts.groups(asked).await?;
        match (found.pop(), found.len()) {
            (Some(group), 0) => Ok(group),
            (None, _) => Err(DeskError::NoGroup(asked.to_owned())),
            (Some(last), _) => {
                let all: Vec<String> = found.iter().chain([&last]).map(|group| group.oid.to_string()).collect();
                Err(refused(format!("several groups are called {asked}: name one by its oid ({})", all.join(", "))))
            }
        }
    }

    async fn find_rollout(&self, now: &Paths, wish: &RemoveRollout) -> Result<(Rollout, Option<String>), DeskError> {
        let domain = &wish.domain;
        let Some(asked) = &wish.group else {
            let share = now.rollouts.iter().find(|rollout| matches!(rollout.scope, Scope::Share { .. }));
            let share = share.ok_or_else(|| refused(format!("no share of {domain} is moved to another method")))?;
            return Ok((share.clone(), None));
        };
        let names = self.rollouts.names_of(now.rollouts.iter().filter_map(group_of).collect()).await?;
        let name_of = |group| names.iter().find(|named| Some(named.oid) == group).and_then(|named| named.name.clone());
        // A group that was deleted is still found by its oid.
        let mut fits = now.rollouts.iter().filter(|rollout| {
            let group = group_of(rollout);
            let by_oid = group.is_some_and(|group| group.to_string() == asked.to_lowercase());
            by_oid || name_of(group).as_deref() == Some(asked.as_str())
        });
        match (fits.next(), fits.next()) {
            (Some(rollout), None) => Ok((rollout.clone(), name_of(group_of(rollout)))),
            (None, _) => Err(refused(format!("{domain} has no rollout for the group {asked}: see rollout list"))),
            (Some(_), Some(_)) => Err(refused(format!("several groups are called {asked}: name one by its oid"))),
        }
    }
}

fn free_precedence(now: &Paths, group: GroupId, asked: Option<u32>) -> Result<u32, DeskError> {
    let mut highest = 0;
    for rollout in &now.rollouts {
        let Scope::Group { group: other, precedence, .. } = rollout.scope else { continue };
        if other == group {
            return Err(refused(format!(
                "the group is moved to {} already: remove that rollout first, with rollout remove",
                rollout.method
            )));
        }
        if asked == Some(precedence) {
            return Err(refused(format!("precedence {precedence} is taken by the rollout for the group {other}")));
        }
        highest = highest.max(precedence);
    }
    Ok(asked.unwrap_or_else(|| highest.saturating_add(STEP)))
}

/// The share that is there already, if `rollout` is one too.
fn share_of<'a>(now: &'a Paths, rollout: &Rollout) -> Option<&'a Rollout> {
    let is_share = |rollout: &&Rollout| matches!(rollout.scope, Scope::Share { .. });
    now.rollouts.iter().find(is_share).filter(|_| is_share(&rollout))
}

fn percent_of(rollout: &Rollout) -> String {
    match rollout.scope {
        Scope::Share { percent } => percent.to_string(),
        Scope::Group { group, .. } => format!("group {group}"),
    }
}

fn group_of(rollout: &Rollout) -> Option<GroupId> {
    match rollout.scope {
        Scope::Group { group, .. } => Some(group),
        Scope::Share { .. } => None,
    }
}

/// A change of rollouts, looked at and not yet made.
pub(super) struct Prepared {
    pub set: RolloutSet,
    pub domain: Domain,
    /// The domain's version that it was looked at under.
    pub version: i64,
    ending: bool,
    force: bool,
}

impl Prepared {
    pub fn ready_or_forced(&self) -> Result<(), DeskError> {
        let readiness = &self.set.readiness;
        if readiness.not_ready == 0 || self.force {
            return Ok(());
        }
        let text = format!(
            "{} of the {} users that would be moved could not sign in afterwards: see the report, or do it anyway with \
             --force",
            readiness.not_ready, readiness.users
        );
        Err(DeskError::Refused { text, readiness: Some(Box::new(readiness.clone())) })
    }

    pub fn edit(&self) -> RolloutEdit {
        match self.ending {
            true => RolloutEdit::Remove(self.set.rollout.id),
            false => RolloutEdit::Put(self.set.rollout.clone()),
        }
    }

    /// The group by its `oid`: names may pass to another group before a proposal is approved.
    fn group(&self) -> Option<String> {
        group_of(&self.set.rollout).map(|group| group.to_string())
    }

    pub fn event(&self, by: &str) -> Event {
        let set = &self.set;
        event(if self.ending { "rollout.remove" } else { "rollout.add" }, by)
            .about(&set.rollout.domain)
            .with("scope", percent_of(&set.rollout))
            .with("method", set.rollout.method.as_str())
            .with("moved", set.readiness.users)
            .with("not_ready", set.readiness.not_ready)
            .with("forced", self.force)
    }
}
