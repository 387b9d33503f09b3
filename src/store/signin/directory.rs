//! The tenant directory in the words of sign-in.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use sqlx::Row;

use super::partner_outages::read_outages;
use crate::audit::Event;
use crate::identity::{
    AuthenticationMethod, ConnectorName, CredentialSource, DomainName, GroupId, Refusal, SignInName, SourceAnchor,
    Timestamp, UserId,
};
use crate::signin::BarredGroups;
use crate::signin::directory::{
    AccountRefusal, Directory, DirectoryState, FailoverStanding, Holder, Realm, UserForSignIn,
};
use crate::signin::rollout::Rollout;
use crate::signin::shared_time::SharedTime;
use crate::signin::store::{DomainChanged, DomainEdit, DomainSettings, Rollouts as _, StoreDown};
use crate::store::tenant::{DomainChange, DomainError, TenantStore};
use crate::store::{AuditLog, Database, StoreError};
use crate::tenant::{Domain, SignInDirectory};

/// Users and realms, read from the tenant's tables.
pub struct SignInTenant {
    pub(super) tenant: TenantStore,
    pub(super) db: Database,
    pub(super) audit: AuditLog,
    barred: BarredGroups,
    time: Arc<dyn SharedTime>,
    /// Connectors without passwords: they speak for domains, and nobody signs in at them.
    sources: BTreeSet<ConnectorName>,
    /// The realms as of one change number of the settings; the number is read with every question (design D3).
    realms: ArcSwapOption<Realms>,
}

struct Realms {
    version: i64,
    all: Vec<Realm>,
    initial: Realm,
}

impl SignInTenant {
    pub fn new(
        tenant: TenantStore,
        db: Database,
        audit: AuditLog,
        barred: BarredGroups,
        time: Arc<dyn SharedTime>,
    ) -> Self {
        Self { tenant, db, audit, barred, time, sources: BTreeSet::new(), realms: ArcSwapOption::empty() }
    }

    /// Whether failover is closed to the group with this SID, source anchor or display name.
    pub(super) fn bars(&self, sid: Option<&str>, anchor: Option<&str>, display_name: Option<&str>) -> bool {
        self.barred.has(sid, anchor, display_name)
    }

    /// Leaves connectors out at which nobody signs in, such as files and databases.
    pub fn without(mut self, sources: impl IntoIterator<Item = ConnectorName>) -> Self {
        self.sources.extend(sources);
        self
    }

    async fn realms(&self) -> Result<Arc<Realms>, StoreDown> {
        let doing = || StoreError::doing("reading the realms");
        let row = sqlx::query("SELECT value FROM counter WHERE name = 'settings'")
            .fetch_one(self.db.lookups())
            .await
            .map_err(doing())
            .map_err(super::down)?;
        let version: i64 = row.get("value");
        if let Some(realms) = self.realms.load_full().filter(|realms| realms.version == version) {
            return Ok(realms);
        }
        // Read after the number: what is newer than it is read again with the next number.
        let domains = self.tenant.read_domains().await.map_err(super::down)?;
        let rows = sqlx::query("SELECT connector, domain FROM connector_domain ORDER BY connector")
            .fetch_all(self.db.read())
            .await
            .map_err(doing())
            .map_err(super::down)?;
        let mut registered = Vec::new();
        for row in rows {
            let (connector, domain): (String, String) = (row.get("connector"), row.get("domain"));
            let connector: ConnectorName =
                connector.parse().map_err(|e| super::down(super::unreadable("connector_domain", "connector", e)))?;
            if !self.sources.contains(&connector) {
                registered.push((connector, domain));
            }
        }
        let rollouts = self.read_rollouts().await.map_err(super::down)?;
        let groups = self.read_failover_groups().await.map_err(super::down)?;
        let outages = read_outages(self.db.read()).await.map_err(super::down)?;
        let initial_name = domains.iter().find(|domain| domain.is_initial()).map(|domain| domain.name.clone());
        let initial_name = initial_name.ok_or_else(|| super::down(StoreError::NotInitialised))?;
        let all: Vec<_> = domains
            .into_iter()
            .filter(|domain| domain.verification.is_verified())
            .map(|domain| {
                let of_domain = realm(domain, &registered, &rollouts);
                let partner_outage = outages.iter().find(|outage| outage.domain == of_domain.domain);
                let partner_outage = partner_outage
                    .filter(|outage| of_domain.partner.as_ref().is_none_or(|partner| *partner == outage.partner));
                let failover_groups = groups.iter().filter(|group| group.domain == of_domain.domain).cloned().collect();
                Realm { failover_groups, partner_outage: partner_outage.map(|outage| outage.since), ..of_domain }
            })
            .map(|realm| (realm.domain == initial_name, realm))
            .collect();
        let initial = all.iter().find(|(initial, _)| *initial).map(|(_, realm)| realm.clone());
        let initial = initial.ok_or_else(|| super::down(StoreError::NotInitialised))?;
        let realms = Arc::new(Realms { version, all: all.into_iter().map(|(_, realm)| realm).collect(), initial });
        self.realms.store(Some(Arc::clone(&realms)));
        Ok(realms)
    }

    /// A down-level name tells no domain: whoever has it, their own domain decides. Whoever has none walks as most of those
    /// would whose names begin alike, of whom those under pass-through can be told from others while their directory is away.
    async fn realm_of_netbios(&self, netbios: &str) -> Result<Realm, StoreDown> {
        let (mut found, mut last) = (None, None);
        while let Some(domain) = self.tenant.domain_of_netbios(netbios, last.as_ref()).await.map_err(super::down)? {
            match self.realm(&domain).await? {
                Some(realm) if realm.method == AuthenticationMethod::Pta => return Ok(realm),
                Some(realm) if realm.method == AuthenticationMethod::Phs => found = found.or(Some(realm)),
                Some(_) | None => {}
            }
            last = Some(domain);
        }
        match found {
            Some(realm) => Ok(realm),
            None => self.initial_realm().await,
        }
    }

    /// The realm without an outage that no node has renewed: the settings' number does not tell of that.
    async fn as_of_now(&self, realm: Realm) -> Result<Realm, StoreDown> {
        if realm.partner_outage.is_none() {
            return Ok(realm);
        }
        let row = sqlx::query("SELECT holds_until FROM partner_outage WHERE domain = $1")
            .bind(realm.domain.as_str())
            .fetch_optional(self.db.lookups())
            .await
            .map_err(StoreError::doing("reading how long an outage of a partner holds"))
            .map_err(super::down)?;
        let holds_until = row.map(|row| Timestamp::from_millis(row.get("holds_until")));
        let now = self.time.now().await?;
        let partner_outage = realm.partner_outage.filter(|_| holds_until.is_some_and(|until| until >= now));
        Ok(Realm { partner_outage, ..realm })
    }
}

#[async_trait]
impl Directory for SignInTenant {
    async fn realm_of(&self, name: &SignInName) -> Result<Option<Realm>, StoreDown> {
        match name {
            SignInName::Address { domain, .. } => self.realm(domain).await,
            SignInName::DownLevel { netbios, .. } => self.realm_of_netbios(netbios).await.map(Some),
        }
    }

    async fn holder(&self, name: &SignInName) -> Result<Option<Holder>, StoreDown> {
        let nested = self.realms().await?.all.iter().any(|realm| !realm.rollouts.is_empty());
        self.tenant.holder_of_name(name, nested).await.map_err(super::down)
    }

    async fn groups_of_user(&self, oid: UserId) -> Result<BTreeSet<GroupId>, StoreDown> {
        let groups = self.tenant.groups_of(oid).await.map_err(|e| StoreDown(Box::new(e)))?;
        Ok(groups.into_iter().map(|group| group.oid).collect())
    }

    async fn realm(&self, domain: &DomainName) -> Result<Option<Realm>, StoreDown> {
        match self.realms().await?.all.iter().find(|realm| realm.domain == *domain) {
            Some(realm) => self.as_of_now(realm.clone()).await.map(Some),
            None => Ok(None),
        }
    }

    async fn initial_realm(&self) -> Result<Realm, StoreDown> {
        self.as_of_now(self.realms().await?.initial.clone()).await
    }

    async fn user(&self, name: &SignInName) -> Result<Option<UserForSignIn>, StoreDown> {
        let found = self.tenant.by_name(name).await.map_err(|e| StoreDown(Box::new(e)))?;
        Ok(found.user.map(|user| translate(*user)))
    }

    async fn user_by_anchor(&self, anchor: &SourceAnchor) -> Result<Option<UserForSignIn>, StoreDown> {
        let found = self.tenant.by_source_anchor(anchor).await.map_err(|e| StoreDown(Box::new(e)))?;
        Ok(found.user.map(|user| translate(*user)))
    }

    async fn failover_standing(&self, oid: UserId, source: &CredentialSource) -> Result<FailoverStanding, StoreDown> {
        let groups = self.tenant.groups_of(oid).await.map_err(|e| StoreDown(Box::new(e)))?;
        let barred = groups.iter().any(|group| {
            let anchor = group.source_anchor.as_ref().map(SourceAnchor::as_str);
            self.bars(group.sid.as_deref(), anchor, group.display_name.as_deref())
        });
        let row = sqlx::query("SELECT completed_at FROM connector_pass WHERE connector = $1")
            .bind(source.connector.as_str())
            .fetch_optional(self.db.lookups())
            .await
            .map_err(StoreError::doing("reading the password channel's last pass"))
            .map_err(super::down)?;
        let last_pass = row.and_then(|row| row.get::<Option<i64>, _>("completed_at")).map(Timestamp::from_millis);
        Ok(FailoverStanding { barred, groups: groups.into_iter().map(|group| group.oid).collect(), last_pass })
    }

    async fn gone(&self, groups: Vec<GroupId>) -> Result<BTreeSet<GroupId>, StoreDown> {
        let found = self.names_of(groups.clone()).await?;
        Ok(groups.into_iter().filter(|group| !found.iter().any(|named| named.oid == *group)).collect())
    }
}

#[async_trait]
impl DomainSettings for SignInTenant {
    async fn domain(&self, name: &DomainName) -> Result<Option<Domain>, StoreDown> {
        self.tenant.read_domain(name).await.map_err(super::down)
    }

    async fn domains(&self) -> Result<Vec<Domain>, StoreDown> {
        self.tenant.read_domains().await.map_err(super::down)
    }

    async fn change(
        &self,
        name: &DomainName,
        version: i64,
        edit: DomainEdit,
        event: Event,
    ) -> Result<DomainChanged, StoreDown> {
        match self.tenant.change_domain(name, version, edit.into(), Some((self.audit.clone(), event))).await {
            Ok(domain) => Ok(DomainChanged::Done(domain)),
            Err(DomainError::Store(error)) => Err(super::down(error)),
            Err(
                refused @ (DomainError::Unknown(_)
                | DomainError::Exists(_)
                | DomainError::OtherInitial { .. }
                | DomainError::Initial(_)
                | DomainError::Changed { .. }
                | DomainError::NotVerified(_)
                | DomainError::NoPartner(_)),
            ) => Ok(DomainChanged::Refused(refused.to_string())),
        }
    }
}

impl From<DomainEdit> for DomainChange {
    fn from(edit: DomainEdit) -> Self {
        let DomainEdit { method, backup, failover, max_hash_age, partner_outage_after, pin, partner } = edit;
        Self { method, backup, failover, max_hash_age, partner_outage_after, pin, partner }
    }
}

fn realm(domain: Domain, registered: &[(ConnectorName, String)], rollouts: &[Rollout]) -> Realm {
    // The initial domain is everybody's.
    let mine = |(connector, name): &(ConnectorName, String)| {
        (domain.is_initial() || name == domain.name.as_str()).then(|| connector.clone())
    };
    let mut connectors: Vec<ConnectorName> = registered.iter().filter_map(mine).collect();
    connectors.dedup();
    Realm {
        connectors,
        rollouts: rollouts.iter().filter(|rollout| rollout.domain == domain.name).cloned().collect(),
        failover_groups: Vec::new(),
        partner_outage: None,
        method: domain.method,
        backup: domain.backup,
        failover: domain.failover,
        max_hash_age: domain.max_hash_age,
        pin: domain.pin.map(|mark| mark.pin),
        partner: domain.partner,
        domain: domain.name,
    }
}

fn translate(user: crate::tenant::UserForSignIn) -> UserForSignIn {
    let credential = user.credential;
    let refusal = credential
        .as_ref()
        .and_then(|credential| credential.newer_refusal.as_ref())
        .map(|newer| AccountRefusal { refusal: Refusal::from_code(&newer.reason), at: newer.at });
    let directory_state = credential
        .as_ref()
        .and_then(|credential| credential.directory_state.clone())
        .map(|stored| DirectoryState { state: stored.state, observed_at: stored.observed_at });
    UserForSignIn {
        oid: user.oid,
        upn: user.upn,
        recent_upns: user.former_upns.into_iter().map(|(folded, _)| folded).collect(),
        source_anchor: user.source_anchor,
        account_enabled: user.account_enabled,
        security_stamp: user.security_stamp,
        source: credential.filter(|credential| credential.registered).map(|credential| credential.source),
        directory_state,
        refusal,
    }
}
