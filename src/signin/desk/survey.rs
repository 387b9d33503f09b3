//! Who of a domain signs in how, now and after a change, and who could not.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{DeskError, SignInDesk};
use crate::identity::{AuthenticationMethod, ConnectorName, EntityId, GroupId, RolloutId, Upn, UserId};
use crate::signin::readiness::{EXPIRES_SOON, NotReady, Readiness, Surroundings, UserReadiness, not_ready};
use crate::signin::rollout::{Because, Choice, Ground, Rollout, Scope, Standing, choose};
use crate::tenant::Domain;

/// Users read at a time.
const PAGE: u32 = 1000;

/// How the people of a domain sign in: its own method, and its rollouts.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    pub method: AuthenticationMethod,
    pub partner: Option<EntityId>,
    pub rollouts: Vec<Rollout>,
}

impl Paths {
    pub fn ground(&self) -> Ground<'_> {
        Ground { method: self.method, partner: self.partner.as_ref(), rollouts: &self.rollouts }
    }

    /// The methods by which somebody may sign in, each once.
    pub fn methods(&self) -> Vec<AuthenticationMethod> {
        let mut methods = vec![self.method];
        for rollout in &self.rollouts {
            if !methods.contains(&rollout.method) {
                methods.push(rollout.method);
            }
        }
        methods
    }

    pub fn partners(&self) -> BTreeSet<&EntityId> {
        let own = self.partner.as_ref().filter(|_| self.method == AuthenticationMethod::Federated);
        own.into_iter().chain(self.rollouts.iter().filter_map(|rollout| rollout.partner.as_ref())).collect()
    }
}

/// Whom a survey judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Everybody,
    /// Those whom the change moves to another method.
    Moved,
}

/// What a survey found.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// Enabled users of the domain.
    pub users: u64,
    pub readiness: Readiness,
    /// How many users each rollout decides for, after the change.
    pub decided: BTreeMap<RolloutId, u64>,
}

/// A page of a report on users, in order of their oid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlook {
    pub users: Vec<UserOutlook>,
    /// Where the next page begins; `None`: this is the last one.
    pub next: Option<UserId>,
    pub warnings: Vec<String>,
}

/// How a user signs in, and whether they can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserOutlook {
    pub oid: UserId,
    pub upn: Upn,
    pub now: AuthenticationMethod,
    /// After the change that was asked about; else as now.
    pub then: AuthenticationMethod,
    pub because: Because,
    /// Why the user could not sign in then.
    pub not_ready: Option<NotReady>,
}

/// Who is in the groups of rollouts.
struct Members(HashMap<GroupId, HashSet<UserId>>);

impl Members {
    fn choice(&self, paths: &Paths, oid: UserId) -> Choice {
        let mine = self.0.iter().filter(|(_, members)| members.contains(&oid)).map(|(group, _)| *group);
        let groups: BTreeSet<GroupId> = mine.collect();
        choose(paths.ground(), Standing::User { oid, groups: &groups })
    }
}

impl SignInDesk {
    /// How the people of a domain sign in now.
    pub(super) async fn paths(&self, domain: &Domain) -> Result<Paths, DeskError> {
        let mut rollouts = self.rollouts.rollouts().await?;
        rollouts.retain(|rollout| rollout.domain == domain.name);
        Ok(Paths { method: domain.method, partner: domain.partner.clone(), rollouts })
    }

    /// Looks at every enabled user of the domain under what is and what would be.
    pub(super) async fn survey(
        &self,
        domain: &Domain,
        now: &Paths,
        then: &Paths,
        whom: Whom,
    ) -> Result<Survey, DeskError> {
        let members = self.members([now, then]).await?;
        let (around, warnings) = self.surroundings(domain, then).await?;
        let mut survey = Survey { readiness: Readiness { warnings, ..Readiness::default() }, ..Survey::default() };
        let mut after = None;
        loop {
            let users = self.readiness.users(&domain.name, after, PAGE).await?;
            after = users.last().map(|user| user.oid);
            for user in users {
                let (before, choice) = (members.choice(now, user.oid), members.choice(then, user.oid));
                survey.users += 1;
                if let Because::Group(id) | Because::Share(id) = choice.because {
                    *survey.decided.entry(id).or_default() += 1;
                }
                let moved = (before.method, &before.partner) != (choice.method, &choice.partner);
                if moved || whom == Whom::Everybody {
                    survey.readiness.judge(user, &choice, &around);
                }
            }
            if after.is_none() {
                survey.readiness.reasons.sort_by_key(|count| count.reason);
                survey.readiness.methods.sort_by_key(|count| count.method.as_str());
                return Ok(survey);
            }
        }
    }

    /// How many users each rollout decides for. Nobody is judged, nothing is probed.
    pub(super) async fn decided(&self, domain: &Domain, now: &Paths) -> Result<BTreeMap<RolloutId, u64>, DeskError> {
        let members = self.members([now, now]).await?;
        let (mut decided, mut after) = (BTreeMap::new(), None);
        loop {
            let users = self.readiness.users(&domain.name, after, PAGE).await?;
            after = users.last().map(|user| user.oid);
            for user in users {
                if let Because::Group(id) | Because::Share(id) = members.choice(now, user.oid).because {
                    *decided.entry(id).or_default() += 1;
                }
            }
            if after.is_none() {
                return Ok(decided);
            }
        }
    }

    /// A page of the users of a domain: how each signs in now, and if its method were `to`.
    pub(super) async fn outlook(
        &self,
        domain: &Domain,
        now: &Paths,
        then: &Paths,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Outlook, DeskError> {
        let members = self.members([now, then]).await?;
        let (around, warnings) = self.surroundings(domain, then).await?;
        let limit = limit.clamp(1, PAGE);
        let users = self.readiness.users(&domain.name, after, limit).await?;
        let full = users.len() == usize::try_from(limit).unwrap_or(usize::MAX);
        let next = users.last().map(|user| user.oid).filter(|_| full);
        let look = |user: UserReadiness| {
            let choice = members.choice(then, user.oid);
            UserOutlook {
                oid: user.oid,
                now: members.choice(now, user.oid).method,
                then: choice.method,
                because: choice.because,
                not_ready: not_ready(&user, &choice, &around),
                upn: user.upn,
            }
        };
        Ok(Outlook { users: users.into_iter().map(look).collect(), next, warnings })
    }

    async fn members(&self, of: [&Paths; 2]) -> Result<Members, DeskError> {
        let mut members = HashMap::new();
        for rollout in of.iter().flat_map(|paths| &paths.rollouts) {
            let Scope::Group { group, .. } = rollout.scope else { continue };
            if let Entry::Vacant(unread) = members.entry(group) {
                unread.insert(self.rollouts.members(group).await?);
            }
        }
        Ok(Members(members))
    }

    /// What the methods of `paths` need of the world outside the users' rows, and what deserves attention there.
    async fn surroundings(&self, domain: &Domain, paths: &Paths) -> Result<(Surroundings, Vec<String>), DeskError> {
        let now = self.sign_in.room.clock.now();
        let (mut around, mut warnings) = (Surroundings::default(), Vec::new());
        for method in paths.methods() {
            match method {
                AuthenticationMethod::Phs => around.stale_before = Some(now - domain.max_hash_age),
                AuthenticationMethod::Pta => {
                    around.unreachable = self.unreachable(&domain.name, false).await?;
                    let told = |connector: &ConnectorName| format!("no server of connector {connector} answers");
                    warnings.extend(around.unreachable.iter().map(told));
                }
                AuthenticationMethod::Federated => {
                    let partners = paths.partners();
                    if partners.is_empty() {
                        warnings.push(format!("no partner answers for {}: add it first", domain.name));
                    }
                    for partner in partners {
                        match self.partners.usable_until(partner).await? {
                            None => warnings.push(format!("the partner {partner} is not known any more")),
                            Some(until) if until <= now => {
                                warnings.push(format!("the partner's last signing certificate ended at {until}"));
                            }
                            Some(until) => {
                                around.usable_partners.insert(partner.clone());
                                if until <= now + EXPIRES_SOON {
                                    warnings.push(format!("the partner's last signing certificate ends at {until}"));
                                }
                            }
                        }
                    }
                }
            }
        }
        Ok((around, warnings))
    }
}
