//! What administrators do to sign-in: methods, rollouts, failover, locks.

mod changes;
mod drill;
mod failover_groups;
mod methods;
mod partners;
mod rollouts;
mod survey;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::breaker::Breaker;
use super::change::MethodChanges;
use super::coverage::BackupCoverage;
use super::failover::ProbeOutcome;
use super::failover_groups::FailoverGroups;
use super::lockout::Subject;
use super::lockout_report::{Judgement, NetworkTries, PlaceTries, judge};
use super::outage::OutageStatus;
use super::partner_outage::{PartnerOutages, SyntheticSignIn};
use super::readiness::{CredentialReadiness, PartnerWatch, Readiness};
use super::service::{EVIDENCE, SignIn};
use super::shared_time::SharedTime;
use super::store::{Alert, DomainChanged, DomainEdit, DomainSettings, Rollouts, StoreDown};
use super::tally::Tallies;
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{
    AuthenticationMethod, Backup, ChangeId, ConnectorName, DomainName, FailoverMode, Pin, SignInName, Timestamp, UserId,
};
use crate::tenant::{Domain, PinMark};

pub use changes::{CANARY_ROLLED_BACK, CHANGE_FAILED};
pub use drill::{Drill, DrillReason, HashAges, PassAge, Uncovered};
pub use failover_groups::{FAILOVER_GROUP_GONE, GroupPolicy};
pub use methods::{MethodSet, SetMethod};
pub use partners::{CANARY_REFUSED, Looked, Looks, NodeStatus, PARTNER_DOWN, PartnerStatus};
pub use rollouts::{AddRollout, RemoveRollout, RolloutSet, RolloutSummary};
pub use survey::{Outlook, UserOutlook};

/// The alert of a domain whose failover an operator has forced.
pub const FAILOVER_FORCED: &str = "failover-forced";
/// The alert of a forced failover whose time is over, and that stays on because nobody could sign in without it.
pub const FAILOVER_OVERDUE: &str = "failover-overdue";
/// Users, and networks, that one report on lockouts tells of.
const MOST_SHOWN: u32 = 1000;

/// Everything that the operations work with.
pub struct SignInDesk {
    pub sign_in: SignIn,
    pub domains: Arc<dyn DomainSettings>,
    pub rollouts: Arc<dyn Rollouts>,
    pub readiness: Arc<dyn CredentialReadiness>,
    pub partners: Arc<dyn PartnerWatch>,
    pub changes: Arc<dyn MethodChanges>,
    pub tallies: Arc<dyn Tallies>,
    pub coverage: Arc<dyn BackupCoverage>,
    pub failover_groups: Arc<dyn FailoverGroups>,
    pub partner_outages: Arc<dyn PartnerOutages>,
    pub synthetic: Arc<dyn SyntheticSignIn>,
    /// What synthetic sign-ins found that somebody asked for.
    pub looks: Looks,
    pub time: Arc<dyn SharedTime>,
    /// Changes of methods and rollouts are proposed by one principal and approved by another.
    pub four_eyes: bool,
}

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    #[error("there is no domain {0}")]
    NoDomain(DomainName),
    #[error("there is no user {0}")]
    NoUser(String),
    #[error("there is no group {0}")]
    NoGroup(String),
    #[error("there is no change {0}")]
    NoChange(ChangeId),
    #[error("the change {0} went on in the meantime: look at it and ask again")]
    Moved(ChangeId),
    #[error("{0} was changed in the meantime: look at it and ask again")]
    Outdated(DomainName),
    #[error(
        "{down} gives no reliable service yet, and failover of {domain} is manual: nobody could sign in. The backup stays \
         forced; release it with --anyway, or make failover automatic"
    )]
    StillDown { domain: DomainName, down: String },
    #[error("{text}")]
    Refused { text: String, readiness: Option<Box<Readiness>> },
    #[error(transparent)]
    Store(#[from] StoreDown),
}

/// When a forced failover under the manual policy may be released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Releasing {
    Anyway,
    /// When servers of all connectors answer.
    OnceTheyAnswer,
    /// When sign-ins are let through to them again, too.
    OnceRecovered,
}

/// What `failover status` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverStatus {
    pub domains: Vec<DomainStatus>,
    /// Groups for which failover is something else than for their domain.
    #[serde(default)]
    pub groups: Vec<GroupPolicy>,
    /// The federation partners of domains, as all nodes see them.
    #[serde(default)]
    pub partners: Vec<PartnerStatus>,
    /// As the node that answers sees them.
    pub connectors: Vec<ConnectorStatus>,
    pub alerts: Vec<AlertStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainStatus {
    pub domain: DomainName,
    pub method: AuthenticationMethod,
    pub backup: Backup,
    pub failover: FailoverMode,
    pub max_hash_age_seconds: u64,
    /// For how long every node must have found a federation partner without service.
    #[serde(default)]
    pub partner_outage_seconds: u64,
    pub pin: Option<PinMark>,
}

/// What becomes of a domain's failover; `None` keeps.
#[derive(Clone, Copy, Debug, Default)]
pub struct FailoverEdit {
    pub backup: Option<Backup>,
    pub mode: Option<FailoverMode>,
    pub max_hash_age: Option<Duration>,
    pub partner_outage_after: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorStatus {
    pub connector: ConnectorName,
    /// Since when the breaker is open.
    pub open_since: Option<Timestamp>,
    /// Good probes since; above zero the breaker is half-open.
    pub good_probes: u32,
    pub servers: Vec<ServerStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    pub server: String,
    pub answers: bool,
    /// What it did instead.
    pub fault: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertStatus {
    pub name: String,
    pub subject: String,
    pub detail: String,
    pub raised_at: Timestamp,
    pub last_at: Timestamp,
}

/// What `lockout report` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockoutOverview {
    pub since: Timestamp,
    pub users: Vec<JudgedUser>,
    pub networks: Vec<NetworkTries>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgedUser {
    pub oid: UserId,
    /// `None` when the user is gone.
    pub name: Option<String>,
    pub judgement: Judgement,
    pub locked_until: Option<Timestamp>,
    pub places: Vec<PlaceTries>,
}

impl SignInDesk {
    /// Changes what may answer for a domain whose authority is down.
    pub async fn set_failover(
        &self,
        name: &DomainName,
        edit: FailoverEdit,
        by: &str,
    ) -> Result<DomainStatus, DeskError> {
        let FailoverEdit { backup, mode, max_hash_age, partner_outage_after } = edit;
        let domain = self.domain(name).await?;
        let becomes = backup.unwrap_or(domain.backup);
        if becomes == Backup::None && domain.pin.as_ref().is_some_and(|mark| mark.pin == Pin::Backup) {
            return Err(refused(format!("{name} is pinned to its backup: release it first, with failover release")));
        }
        let least = self.shortest_outage();
        if partner_outage_after.is_some_and(|after| after < least) {
            let seconds = least.as_secs();
            return Err(refused(format!(
                "a partner counts as down after {seconds} seconds at the soonest: four times failover.partner_interval"
            )));
        }
        let edit = DomainEdit { backup, failover: mode, max_hash_age, partner_outage_after, ..DomainEdit::default() };
        let event = event("domain.set-failover", by)
            .about(name)
            .with("backup", becomes.as_str())
            .with("backup_was", domain.backup.as_str())
            .with("failover", mode.unwrap_or(domain.failover).as_str())
            .with("failover_was", domain.failover.as_str())
            .with("max_hash_age_seconds", max_hash_age.unwrap_or(domain.max_hash_age).as_secs())
            .with("max_hash_age_seconds_was", domain.max_hash_age.as_secs())
            .with("partner_outage_seconds", partner_outage_after.unwrap_or(domain.partner_outage_after).as_secs())
            .with("partner_outage_seconds_was", domain.partner_outage_after.as_secs());
        Ok(status_of(self.change(&domain, edit, event).await?))
    }

    /// Breakers, probes, pins and alerts. With `probe`, every connector of a pass-through domain is probed now, and every
    /// federation partner by a synthetic sign-in: it is shown what they find, and nothing follows from it.
    pub async fn failover_status(&self, probe: bool) -> Result<FailoverStatus, DeskError> {
        let room = &self.sign_in.room;
        let domains = self.domains.domains().await?;
        let mut looked = BTreeMap::new();
        if probe {
            for domain in &domains {
                if self.paths(domain).await?.methods().contains(&AuthenticationMethod::Pta) {
                    let realm = room.directory.realm(&domain.name).await?;
                    for connector in realm.map(|realm| realm.connectors).unwrap_or_default() {
                        if !looked.contains_key(&connector) {
                            looked.insert(connector.clone(), room.outages.look(&connector).await);
                        }
                    }
                }
            }
        }
        let (groups, partners) = (self.group_policies(None).await?, self.partner_status(probe).await?);
        let alerts = room.store.raised().await?.into_iter().map(|alert| AlertStatus {
            name: alert.name,
            subject: alert.subject,
            detail: alert.detail,
            raised_at: alert.raised_at,
            last_at: alert.last_at,
        });
        let mut known = room.outages.status();
        let unknown = looked.keys().filter(|connector| !known.iter().any(|status| status.connector == **connector));
        let unknown = unknown.map(|connector| OutageStatus {
            connector: connector.clone(),
            breaker: Breaker::Closed,
            last_probes: Vec::new(),
        });
        let unknown: Vec<_> = unknown.collect();
        known.extend(unknown);
        known.sort_by(|a, b| a.connector.cmp(&b.connector));
        let connectors = known.into_iter().map(|status| {
            let (open_since, good_probes) = match status.breaker {
                Breaker::Closed => (None, 0),
                Breaker::Open { since, good } => (Some(since), good),
            };
            let server = |probe: super::ServerProbe| ServerStatus {
                server: probe.server,
                answers: probe.outcome.is_ok(),
                fault: probe.outcome.err(),
            };
            let probes = looked.remove(&status.connector).unwrap_or(status.last_probes);
            let servers = probes.into_iter().map(server).collect();
            ConnectorStatus { connector: status.connector, open_since, good_probes, servers }
        });
        let (connectors, alerts) = (connectors.collect(), alerts.collect());
        let domains = domains.into_iter().map(status_of).collect();
        Ok(FailoverStatus { domains, groups, partners, connectors, alerts })
    }

    /// Pins a domain to its primary or its backup, whatever the gateway would decide.
    /// With `limit`, until then; a backup stays forced beyond it while nobody could sign in without it.
    pub async fn force(
        &self,
        name: &DomainName,
        pin: Pin,
        limit: Option<Duration>,
        by: &str,
    ) -> Result<DomainStatus, DeskError> {
        let room = &self.sign_in.room;
        let domain = self.domain(name).await?;
        let elsewhere = |method: &AuthenticationMethod| *method != AuthenticationMethod::Phs;
        if !self.paths(&domain).await?.methods().iter().any(elsewhere) {
            let text = "the stored hash answers already; only pass-through and federation have a backup";
            return Err(refused(format!("{name} signs in by {}: {text}", domain.method)));
        }
        if pin == Pin::Backup && domain.backup == Backup::None {
            return Err(refused(format!("{name} has no backup: give it one first, with domain set-failover")));
        }
        let now = self.time.now().await?;
        let mark = PinMark { pin, by: by.to_owned(), at: now, until: limit.map(|limit| now + limit) };
        let edit = DomainEdit { pin: Some(Some(mark)), ..DomainEdit::default() };
        let mut event = event("failover.force", by).about(name).with("pin", pin.as_str());
        if let Some(limit) = limit {
            event = event.with("until", (now + limit).rfc3339());
        }
        let status = status_of(self.change(&domain, edit, event).await?);
        match pin {
            Pin::Backup => {
                let detail = format!("{by} has forced the backup of {name}");
                let alert = Alert { name: FAILOVER_FORCED, subject: name.to_string(), detail, at: now };
                room.store.raise(alert, vec![alert_event(EventKind::AlertRaised, name, FAILOVER_FORCED)]).await?;
                self.clear(&[FAILOVER_OVERDUE], name, now).await?;
            }
            Pin::Primary => self.clear_forced(name, now).await?,
        }
        Ok(status)
    }

    /// Releases a pin. A forced failover under the manual policy stays on while the primary is still down, unless
    /// `anyway`: releasing it would let nobody in.
    pub async fn release(&self, name: &DomainName, anyway: bool, by: &str) -> Result<DomainStatus, DeskError> {
        let when = if anyway { Releasing::Anyway } else { Releasing::OnceTheyAnswer };
        self.release_as(&self.domain(name).await?, when, Actor::Admin(by.to_owned())).await
    }

    /// Releases the pin that `domain` has; refused when the domain has changed since it was read.
    async fn release_as(&self, domain: &Domain, when: Releasing, by: Actor) -> Result<DomainStatus, DeskError> {
        let name = &domain.name;
        let Some(mark) = &domain.pin else { return Err(refused(format!("{name} is not pinned"))) };
        let forced = mark.pin == Pin::Backup && domain.failover == FailoverMode::Manual;
        if forced && when != Releasing::Anyway {
            let down = self.still_down(domain, when).await?;
            if !down.is_empty() {
                let down = down.join(", ");
                return Err(DeskError::StillDown { domain: name.clone(), down });
            }
        }
        let edit = DomainEdit { pin: Some(None), ..DomainEdit::default() };
        let event = Event::new(EventKind::Admin("failover.release"), Outcome::Success, by)
            .about(name)
            .with("pin", mark.pin.as_str());
        let status = status_of(self.change(domain, edit, event).await?);
        self.clear_forced(name, self.sign_in.room.clock.now()).await?;
        Ok(status)
    }

    /// What people of a domain would sign in at without the backup, and cannot: connectors and partners.
    async fn still_down(&self, domain: &Domain, when: Releasing) -> Result<Vec<String>, DeskError> {
        let (methods, mut down) = (self.paths(domain).await?.methods(), Vec::new());
        if methods.contains(&AuthenticationMethod::Pta) {
            let connectors = self.unreachable(&domain.name, when == Releasing::OnceRecovered).await?;
            down.extend(connectors.iter().map(|connector| format!("connector {connector}")));
        }
        if methods.contains(&AuthenticationMethod::Federated) {
            let partners = self.partners_down(&domain.name).await?;
            down.extend(partners.iter().map(|partner| format!("partner {partner}")));
        }
        Ok(down)
    }

    /// What wrong passwords of the last `hours` look like: of the `limit` users and networks with most of them.
    pub async fn lockouts(
        &self,
        hours: u32,
        name: Option<&SignInName>,
        limit: u32,
    ) -> Result<LockoutOverview, DeskError> {
        let room = &self.sign_in.room;
        let only = match name {
            None => None,
            Some(name) => {
                let user = room.directory.user(name).await?;
                Some(user.ok_or_else(|| DeskError::NoUser(name.folded()))?.oid)
            }
        };
        let now = room.clock.now();
        let since = now - EVIDENCE.min(Duration::from_secs(u64::from(hours.max(1)) * 3600));
        let mut networks = room.store.networks(since, MOST_SHOWN).await?;
        let enough = u64::from(room.settings.lockout.spray_names);
        let sprays = networks
            .iter()
            .filter(|network| network.slowed_since.is_some() || network.users + network.unknown_names >= enough);
        let sprayed: BTreeSet<String> = sprays.map(|network| network.network.clone()).collect();
        let shown = limit.clamp(1, MOST_SHOWN);
        networks.truncate(usize::try_from(shown).unwrap_or(usize::MAX));
        let users = room.store.wrong_tries(since, only, shown).await?;
        let users = users.into_iter().map(|user| JudgedUser {
            judgement: judge(&user.places, &sprayed),
            oid: user.oid,
            name: user.upn,
            locked_until: user.locked_until.filter(|until| *until > now),
            places: user.places,
        });
        Ok(LockoutOverview { since, users: users.collect(), networks })
    }

    /// Forgets a user's wrong passwords and lifts the lock. `false` when there was none.
    pub async fn unlock(&self, name: &SignInName) -> Result<(UserId, bool), DeskError> {
        let room = &self.sign_in.room;
        let user = room.directory.user(name).await?.ok_or_else(|| DeskError::NoUser(name.folded()))?;
        Ok((user.oid, room.store.unlock(Subject::user(user.oid)).await?))
    }

    /// Ends all that a user's sign-ins have been granted; how many sessions that are.
    pub async fn revoke_sessions(&self, name: &SignInName) -> Result<(UserId, u64), DeskError> {
        let room = &self.sign_in.room;
        let user = room.directory.user(name).await?.ok_or_else(|| DeskError::NoUser(name.folded()))?;
        Ok((user.oid, room.store.revoke(user.oid, room.clock.now()).await?))
    }

    async fn domain(&self, name: &DomainName) -> Result<Domain, DeskError> {
        self.domains.domain(name).await?.ok_or_else(|| DeskError::NoDomain(name.clone()))
    }

    async fn change(&self, domain: &Domain, edit: DomainEdit, event: Event) -> Result<Domain, DeskError> {
        match self.domains.change(&domain.name, domain.version, edit, event).await? {
            DomainChanged::Done(domain) => Ok(domain),
            DomainChanged::Refused(text) => Err(refused(text)),
        }
    }

    async fn clear_forced(&self, name: &DomainName, now: Timestamp) -> Result<(), DeskError> {
        self.clear(&[FAILOVER_FORCED, FAILOVER_OVERDUE], name, now).await
    }

    async fn clear(&self, alerts: &[&'static str], name: &DomainName, now: Timestamp) -> Result<(), DeskError> {
        for &alert in alerts {
            let events = vec![alert_event(EventKind::AlertCleared, name, alert)];
            self.sign_in.room.store.clear(alert, name.to_string(), now, events).await?;
        }
        Ok(())
    }

    /// The connectors of a domain none of whose servers answers a probe now; with `or_open` also those whose breaker is
    /// open still.
    async fn unreachable(&self, name: &DomainName, or_open: bool) -> Result<Vec<ConnectorName>, DeskError> {
        let room = &self.sign_in.room;
        let realm = room.directory.realm(name).await?;
        let mut down = Vec::new();
        for connector in realm.map(|realm| realm.connectors).unwrap_or_default() {
            let failed = room.outages.probe(&connector).await == ProbeOutcome::EveryServerFailed;
            if failed || or_open && room.outages.is_open(&connector) {
                down.push(connector);
            }
        }
        Ok(down)
    }
}

fn refused(text: String) -> DeskError {
    DeskError::Refused { text, readiness: None }
}

fn event(operation: &'static str, by: &str) -> Event {
    Event::new(EventKind::Admin(operation), Outcome::Success, Actor::Admin(by.to_owned()))
}

fn alert_event(kind: EventKind, name: impl std::fmt::Display, alert: &'static str) -> Event {
    Event::new(kind, Outcome::Success, Actor::System("failover".to_owned())).about(name).because(alert)
}

fn status_of(domain: Domain) -> DomainStatus {
    DomainStatus {
        domain: domain.name,
        method: domain.method,
        backup: domain.backup,
        failover: domain.failover,
        max_hash_age_seconds: domain.max_hash_age.as_secs(),
        partner_outage_seconds: domain.partner_outage_after.as_secs(),
        pin: domain.pin,
    }
}
