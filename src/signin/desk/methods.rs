//! The method of a domain: what a change of it would do, in sum and in words.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::survey::{Paths, Whom};
use super::{DeskError, SignInDesk, event, refused};
use crate::identity::{AuthenticationMethod, Backup, ChangeId, DomainName, EntityId, FailoverMode, Pin, Timestamp};
use crate::signin::change::{CanaryPlan, ChangeState};
use crate::signin::readiness::Readiness;
use crate::tenant::Domain;

/// A canary shorter than this sees nobody; a longer one is no trial any more.
const CANARY: std::ops::RangeInclusive<u64> = 1..=14 * 86_400;
/// A change is not planned further ahead.
const FURTHEST: Duration = Duration::from_secs(366 * 86_400);

/// A wish to change a domain's method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetMethod {
    pub domain: DomainName,
    pub method: AuthenticationMethod,
    /// Ends the transactions and sessions that rest on the former method.
    #[serde(default)]
    pub cut: bool,
    /// Changes even if people are locked out.
    #[serde(default)]
    pub force: bool,
    /// Shows what would change, and changes nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// When; at once when left out.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// Tries it on a share of the users first.
    #[serde(default)]
    pub canary: Option<CanaryPlan>,
}

impl SetMethod {
    /// The plain wish: at once, whole, and only if nobody is locked out.
    pub fn new(domain: DomainName, method: AuthenticationMethod) -> Self {
        Self { domain, method, cut: false, force: false, dry_run: false, at: None, canary: None }
    }
}

/// What a change of method did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodSet {
    pub domain: DomainName,
    pub from: AuthenticationMethod,
    pub to: AuthenticationMethod,
    pub partner: Option<EntityId>,
    pub changed: bool,
    /// An operator's pin that is released with the change.
    pub released_pin: Option<Pin>,
    pub transactions_cut: u64,
    pub sessions_cut: u64,
    pub readiness: Readiness,
    /// What the change means, for people.
    #[serde(default)]
    pub effects: Vec<String>,
    /// The change, and where it stands.
    #[serde(default)]
    pub change: Option<ChangeId>,
    #[serde(default)]
    pub state: Option<ChangeState>,
}

impl SignInDesk {
    /// Changes how a domain's users sign in, now, later, or after a trial. Transactions in flight finish under the method
    /// they began with, unless cut.
    pub async fn set_method(&self, wish: SetMethod, by: &str) -> Result<MethodSet, DeskError> {
        let domain = self.domain(&wish.domain).await?;
        if let Some(canary) = &wish.canary {
            let sound = CANARY.contains(&canary.seconds) && canary.least > 0 && canary.margin <= 100;
            if !sound {
                return Err(refused("a canary lasts at most 14 days and waits for at least one try".to_owned()));
            }
            comparable(&domain, wish.method)?;
        }
        if wish.at.is_some_and(|at| at > self.sign_in.room.clock.now() + FURTHEST) {
            return Err(refused("a change is scheduled at most a year ahead".to_owned()));
        }
        if !wish.dry_run && domain.method != wish.method {
            return self.order(&domain, wish, by).await;
        }
        let mut set = self.plan_method(&domain, wish.method, wish.cut).await?;
        if wish.cut && !wish.dry_run {
            let (room, event) = (&self.sign_in.room, event("domain.set-method", by).about(&wish.domain).because("cut"));
            let cut = room.store.cut(wish.domain, wish.method, room.clock.now(), event).await?;
            (set.transactions_cut, set.sessions_cut) = (cut.transactions, cut.sessions);
        }
        Ok(set)
    }

    /// What would become of the domain under `method`.
    pub(super) async fn plan_method(
        &self,
        domain: &Domain,
        method: AuthenticationMethod,
        cut: bool,
    ) -> Result<MethodSet, DeskError> {
        let partner = match method {
            AuthenticationMethod::Federated => self.partners.partner_of(&domain.name).await?,
            AuthenticationMethod::Phs | AuthenticationMethod::Pta => None,
        };
        let now = self.paths(domain).await?;
        let then = Paths { method, partner, ..now.clone() };
        let readiness = self.survey(domain, &now, &then, Whom::Everybody).await?.readiness;
        Ok(self.plan_of(domain, &then, readiness, cut))
    }

    pub(super) fn plan_of(&self, domain: &Domain, then: &Paths, readiness: Readiness, cut: bool) -> MethodSet {
        let to = then.method;
        MethodSet {
            domain: domain.name.clone(),
            from: domain.method,
            to,
            partner: then.partner.clone(),
            changed: false,
            released_pin: domain.pin.as_ref().map(|mark| mark.pin).filter(|_| domain.method != to),
            transactions_cut: 0,
            sessions_cut: 0,
            effects: effects(domain, then, cut),
            readiness,
            change: None,
            state: None,
        }
    }
}

/// A canary compares how often passwords are refused under both methods. Of a federated one that is not known: who fails
/// at the partner does not come back.
pub(super) fn comparable(domain: &Domain, method: AuthenticationMethod) -> Result<(), DeskError> {
    if domain.method == AuthenticationMethod::Federated || method == AuthenticationMethod::Federated {
        return Err(refused(format!(
            "a canary compares refused passwords, and those of a partner are not known: move some people of {0} from {1} \
             to {method} with rollout add, or all at once, without --canary",
            domain.name, domain.method
        )));
    }
    Ok(())
}

/// What a change means for the people of the domain.
fn effects(domain: &Domain, then: &Paths, cut: bool) -> Vec<String> {
    let (name, from, to) = (&domain.name, domain.method, then.method);
    let mut effects = vec![match to {
        AuthenticationMethod::Phs => format!(
            "from their next sign-in on, people of {name} type their password at the gateway, which compares it with the \
             stored hash; a password that is changed in the directory counts once the password channel has read it"
        ),
        AuthenticationMethod::Pta => format!(
            "from their next sign-in on, people of {name} type their password at the gateway, which asks the directory"
        ),
        AuthenticationMethod::Federated => {
            let partner = then.partner.as_ref().map_or("their partner", EntityId::as_str);
            format!(
                "from their next sign-in on, people of {name} are sent to {partner}, whose answer must name both their \
                 source anchor and their user principal name"
            )
        }
    }];
    effects.push(match cut {
        true => "sign-ins under way and sessions that rest on another method end at once".to_owned(),
        false => format!("sign-ins under way finish by {from}; sessions stay until they expire"),
    });
    if to == AuthenticationMethod::Pta {
        effects.push(match (domain.backup, domain.failover) {
            (Backup::None, _) => {
                "while no server answers nobody signs in: domain set-failover gives the domain a backup".to_owned()
            }
            (Backup::Phs, FailoverMode::Manual) => {
                "while no server answers nobody signs in until an administrator forces the backup".to_owned()
            }
            (Backup::Phs, FailoverMode::Automatic) => {
                "while no server answers the stored hash does, for those whom failover drill says".to_owned()
            }
        });
    }
    if let Some(mark) = domain.pin.as_ref().filter(|_| from != to) {
        effects.push(format!("the pin to the {} is released", mark.pin));
    }
    if !then.rollouts.is_empty() {
        effects.push(format!(
            "{} staged rollouts stay as they are and go before the domain's method: see rollout list {name}",
            then.rollouts.len()
        ));
    }
    if from != to {
        effects.push("source anchors and names of the users stay as they are".to_owned());
        effects.push(format!("landbridge domain rollback {name} undoes it"));
    }
    effects
}
