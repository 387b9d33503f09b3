//! What administrators do to sign-in: methods, failover, locks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::breaker::Breaker;
use super::failover::ProbeOutcome;
use super::lockout::Subject;
use super::lockout_report::{Judgement, NetworkTries, PlaceTries, judge};
use super::readiness::{CredentialReadiness, EXPIRES_SOON, PartnerWatch, Readiness, Surroundings};
use super::service::{EVIDENCE, SignIn};
use super::store::{Alert, DomainChanged, DomainEdit, DomainSettings, StoreDown};
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{
    AuthenticationMethod, Backup, ConnectorName, DomainName, EntityId, FailoverMode, Pin, SignInName, Timestamp, UserId,
};
use crate::tenant::{Domain, PinMark};

/// The alert of a domain whose failover an operator has forced.
pub const FAILOVER_FORCED: &str = "failover-forced";
/// Users, and networks, that one report on lockouts tells of.
const MOST_SHOWN: u32 = 1000;
/// Users read at a time by a readiness report.
const PAGE: u32 = 1000;

/// Everything that the operations work with.
pub struct SignInDesk {
    pub sign_in: SignIn,
    pub domains: Arc<dyn DomainSettings>,
    pub readiness: Arc<dyn CredentialReadiness>,
    pub partners: Arc<dyn PartnerWatch>,
}

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    #[error("there is no domain {0}")]
    NoDomain(DomainName),
    #[error("there is no user {0}")]
    NoUser(String),
    #[error("{text}")]
    Refused { text: String, readiness: Option<Box<Readiness>> },
    #[error(transparent)]
    Store(#[from] StoreDown),
}

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
}

/// What `failover status` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverStatus {
    pub domains: Vec<DomainStatus>,
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
    pub pin: Option<PinMark>,
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
    /// Changes how a domain's users sign in. Transactions in flight finish under the method they began with, unless cut.
    pub async fn set_method(&self, wish: SetMethod, by: &str) -> Result<MethodSet, DeskError> {
        let domain = self.domain(&wish.domain).await?;
        let (from, to) = (domain.method, wish.method);
        let partner = match to {
            AuthenticationMethod::Federated => self.partners.partner_of(&wish.domain).await?,
            AuthenticationMethod::Phs | AuthenticationMethod::Pta => None,
        };
        let readiness = self.readiness(&domain, to, partner.as_ref()).await?;
        let released_pin = domain.pin.as_ref().map(|mark| mark.pin).filter(|_| from != to);
        let mut set = MethodSet {
            domain: wish.domain.clone(),
            from,
            to,
            partner: partner.clone(),
            changed: false,
            released_pin,
            transactions_cut: 0,
            sessions_cut: 0,
            readiness,
        };
        if wish.dry_run {
            return Ok(set);
        }
        if from != to {
            if set.readiness.not_ready > 0 && !wish.force {
                let text = format!(
                    "{} of {} users of {} could not sign in by {to}: see the report, or change it anyway with --force",
                    set.readiness.not_ready, set.readiness.users, wish.domain
                );
                return Err(DeskError::Refused { text, readiness: Some(Box::new(set.readiness)) });
            }
            let edit = DomainEdit {
                method: Some(to),
                partner: Some(partner),
                pin: released_pin.map(|_| None),
                ..DomainEdit::default()
            };
            let event = event("domain.set-method", by)
                .about(&wish.domain)
                .with("from", from.as_str())
                .with("to", to.as_str())
                .with("not_ready", set.readiness.not_ready)
                .with("forced", wish.force);
            self.change(&domain, edit, event).await?;
            set.changed = true;
        }
        if wish.cut {
            let (room, event) = (&self.sign_in.room, event("domain.set-method", by).about(&wish.domain).because("cut"));
            let cut = room.store.cut(wish.domain, to, room.clock.now(), event).await?;
            set.transactions_cut = cut.transactions;
            set.sessions_cut = cut.sessions;
        }
        Ok(set)
    }

    /// Changes what may answer for a domain whose authority is down.
    pub async fn set_failover(
        &self,
        name: &DomainName,
        backup: Option<Backup>,
        mode: Option<FailoverMode>,
        max_hash_age: Option<Duration>,
        by: &str,
    ) -> Result<DomainStatus, DeskError> {
        let domain = self.domain(name).await?;
        let becomes = backup.unwrap_or(domain.backup);
        if becomes == Backup::None && domain.pin.as_ref().is_some_and(|mark| mark.pin == Pin::Backup) {
            return Err(refused(format!("{name} is pinned to its backup: release it first, with failover release")));
        }
        let edit = DomainEdit { backup, failover: mode, max_hash_age, ..DomainEdit::default() };
        let event = event("domain.set-failover", by)
            .about(name)
            .with("backup", becomes.as_str())
            .with("failover", mode.unwrap_or(domain.failover).as_str());
        Ok(status_of(self.change(&domain, edit, event).await?))
    }

    /// Breakers, probes, pins and alerts. With `probe`, every connector of a pass-through domain is probed now.
    pub async fn failover_status(&self, probe: bool) -> Result<FailoverStatus, DeskError> {
        let room = &self.sign_in.room;
        let domains = self.domains.domains().await?;
        if probe {
            for domain in domains.iter().filter(|domain| domain.method == AuthenticationMethod::Pta) {
                self.unreachable(&domain.name).await?;
            }
        }
        let alerts = room.store.raised().await?.into_iter().map(|alert| AlertStatus {
            name: alert.name,
            subject: alert.subject,
            detail: alert.detail,
            raised_at: alert.raised_at,
            last_at: alert.last_at,
        });
        let connectors = room.outages.status().into_iter().map(|status| {
            let (open_since, good_probes) = match status.breaker {
                Breaker::Closed => (None, 0),
                Breaker::Open { since, good } => (Some(since), good),
            };
            let server = |probe: super::ServerProbe| ServerStatus {
                server: probe.server,
                answers: probe.outcome.is_ok(),
                fault: probe.outcome.err(),
            };
            let servers = status.last_probes.into_iter().map(server).collect();
            ConnectorStatus { connector: status.connector, open_since, good_probes, servers }
        });
        let (connectors, alerts) = (connectors.collect(), alerts.collect());
        Ok(FailoverStatus { domains: domains.into_iter().map(status_of).collect(), connectors, alerts })
    }

    /// Pins a domain to its primary or its backup, whatever the gateway would decide.
    pub async fn force(&self, name: &DomainName, pin: Pin, by: &str) -> Result<DomainStatus, DeskError> {
        let room = &self.sign_in.room;
        let domain = self.domain(name).await?;
        if domain.method != AuthenticationMethod::Pta {
            return Err(refused(format!("{name} signs in by {}: only pass-through has a backup", domain.method)));
        }
        if pin == Pin::Backup && domain.backup == Backup::None {
            return Err(refused(format!("{name} has no backup: give it one first, with domain set-failover")));
        }
        let now = room.clock.now();
        let mark = PinMark { pin, by: by.to_owned(), at: now };
        let edit = DomainEdit { pin: Some(Some(mark)), ..DomainEdit::default() };
        let event = event("failover.force", by).about(name).with("pin", pin.as_str());
        let status = status_of(self.change(&domain, edit, event).await?);
        match pin {
            Pin::Backup => {
                let detail = format!("{by} has forced the backup of {name}");
                let alert = Alert { name: FAILOVER_FORCED, subject: name.to_string(), detail, at: now };
                room.store.raise(alert, vec![alert_event(EventKind::AlertRaised, name)]).await?;
            }
            Pin::Primary => self.clear_forced(name, now).await?,
        }
        Ok(status)
    }

    /// Releases a pin. A forced failover under the manual policy stays on while the primary is still down, unless
    /// `anyway`: releasing it would let nobody in.
    pub async fn release(&self, name: &DomainName, anyway: bool, by: &str) -> Result<DomainStatus, DeskError> {
        let domain = self.domain(name).await?;
        let Some(mark) = &domain.pin else { return Err(refused(format!("{name} is not pinned"))) };
        let forced = mark.pin == Pin::Backup && domain.failover == FailoverMode::Manual;
        if forced && !anyway {
            let down = self.unreachable(name).await?;
            if !down.is_empty() {
                let down = down.iter().map(ConnectorName::as_str).collect::<Vec<_>>().join(", ");
                return Err(refused(format!(
                    "no server of {down} answers yet, and failover of {name} is manual: nobody could sign in. The \
                     backup stays forced; release it with --anyway, or make failover automatic"
                )));
            }
        }
        let edit = DomainEdit { pin: Some(None), ..DomainEdit::default() };
        let event = event("failover.release", by).about(name).with("pin", mark.pin.as_str());
        let status = status_of(self.change(&domain, edit, event).await?);
        self.clear_forced(name, self.sign_in.room.clock.now()).await?;
        Ok(status)
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
        let events = vec![alert_event(EventKind::AlertCleared, name)];
        self.sign_in.room.store.clear(FAILOVER_FORCED, name.to_string(), now, events).await?;
        Ok(())
    }

    async fn readiness(
        &self,
        domain: &Domain,
        to: AuthenticationMethod,
        partner: Option<&EntityId>,
    ) -> Result<Readiness, DeskError> {
        let now = self.sign_in.room.clock.now();
        let (mut report, mut around) = (Readiness::default(), Surroundings::default());
        match to {
            AuthenticationMethod::Phs => around.stale_before = Some(now - domain.max_hash_age),
            AuthenticationMethod::Pta => {
                around.unreachable = self.unreachable(&domain.name).await?;
                for connector in &around.unreachable {
                    report.warnings.push(format!("no server of connector {connector} answers"));
                }
            }
            AuthenticationMethod::Federated => {
                let until = match partner {
                    Some(partner) => self.partners.usable_until(partner).await?,
                    None => None,
                };
                around.partner_usable = until.is_some_and(|until| until > now);
                match until {
                    None => report.warnings.push(format!("no partner answers for {}: add it first", domain.name)),
                    Some(until) if until <= now => {
                        report.warnings.push(format!("the partner's last signing certificate ended at {until}"));
                    }
                    Some(until) if until <= now + EXPIRES_SOON => {
                        report.warnings.push(format!("the partner's last signing certificate ends at {until}"));
                    }
                    Some(_) => {}
                }
            }
        }
        let mut after = None;
        loop {
            let users = self.readiness.users(&domain.name, after, PAGE).await?;
            after = users.last().map(|user| user.oid);
            for user in users {
                report.judge(user, to, &around);
            }
            if after.is_none() {
                report.reasons.sort_by_key(|count| count.reason);
                return Ok(report);
            }
        }
    }

    /// The connectors of a domain none of whose servers answers a probe now.
    async fn unreachable(&self, name: &DomainName) -> Result<Vec<ConnectorName>, DeskError> {
        let room = &self.sign_in.room;
        let realm = room.directory.realm(name).await?;
        let mut down = Vec::new();
        for connector in realm.map(|realm| realm.connectors).unwrap_or_default() {
            if room.outages.probe(&connector).await == ProbeOutcome::EveryServerFailed {
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

fn alert_event(kind: EventKind, name: &DomainName) -> Event {
    Event::new(kind, Outcome::Success, Actor::System("failover".to_owned())).about(name).because(FAILOVER_FORCED)
}

fn status_of(domain: Domain) -> DomainStatus {
    DomainStatus {
        domain: domain.name,
        method: domain.method,
        backup: domain.backup,
        failover: domain.failover,
        max_hash_age_seconds: domain.max_hash_age.as_secs(),
        pin: domain.pin,
    }
}
