//! Domains: added, verified, changed.

use sqlx::{AssertSqlSafe, Row};

use super::super::audit::AuditLog;
use super::super::error::StoreError;
use super::super::statement::Statement;
use super::super::writer::Urgency;
use super::feed::Feed;
use super::recalculation::mark_recalculation;
use super::rows::{DOMAIN_COLUMNS, parse, read_domain};
use super::sql::{Cell, insert};
use super::store::TenantStore;
use crate::audit::Event;
use crate::identity::{AuthenticationMethod, Backup, DomainName, EntityId, FailoverMode, Timestamp};
use crate::store::Connection;
use crate::tenant::{ChangeOperation, Domain, PinMark, Verification};

/// Why a domain was not changed.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    #[error("there is no domain {0}")]
    Unknown(DomainName),
    #[error("the domain {0} is there already")]
    Exists(DomainName),
    #[error("the store has the initial domain {present} already; it cannot become {asked}")]
    OtherInitial { present: DomainName, asked: DomainName },
    #[error("{0} is the initial domain: it is always managed and needs no verification")]
    Initial(DomainName),
    #[error("the domain {name} was changed in the meantime: it has version {found}, {expected} was expected")]
    Changed { name: DomainName, expected: i64, found: i64 },
    #[error("the domain {0} is not verified")]
    NotVerified(DomainName),
    #[error("the federated domain {0} needs a partner")]
    NoPartner(DomainName),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How ownership was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewVerification {
    Dns,
    Operator,
}

/// What becomes of a domain's settings. `None` keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainChange {
    pub method: Option<AuthenticationMethod>,
    pub backup: Option<Backup>,
    pub failover: Option<FailoverMode>,
    pub max_hash_age: Option<std::time::Duration>,
    pub partner_outage_after: Option<std::time::Duration>,
    /// `Some(None)` releases the pin.
    pub pin: Option<Option<PinMark>>,
    /// `Some(None)` forgets the partner.
    pub partner: Option<Option<EntityId>>,
}

impl TenantStore {
    /// Makes the tenant's own domain in a new store. Does nothing when it is there.
    pub async fn initialise(&self, initial: DomainName) -> Result<(), DomainError> {
        let now = self.clock.now();
        let domain = Domain::initial(initial.clone(), now);
        let present = self
            .db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let mut feed = Feed::lock(conn, now).await?;
                    let row = sqlx::query("SELECT name FROM tenant_domain WHERE is_initial = 1")
                        .fetch_optional(&mut *conn)
                        .await
                        .map_err(StoreError::doing("reading the initial domain"))?;
                    if let Some(row) = row {
                        return parse("tenant_domain", "name", row.get("name"));
                    }
                    write_new(conn, &domain).await?;
                    feed.note("domain", domain.name.to_string(), None, ChangeOperation::Add);
                    feed.close(conn).await?;
                    Ok::<_, StoreError>(domain.name)
                })
            })
            .await?;
        if present == initial { Ok(()) } else { Err(DomainError::OtherInitial { present, asked: initial }) }
    }

    /// Adds a pending domain. `challenge` is the random value of its TXT record.
    pub async fn add_domain(&self, name: DomainName, challenge: String) -> Result<Domain, DomainError> {
        let domain = Domain::added(name.clone(), challenge, self.clock.now());
        let written = domain.clone();
        let now = domain.created_at;
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let mut feed = Feed::lock(conn, now).await?;
                    write_new(conn, &written)
                        .await
                        .map_err(|error| if error.is_duplicate() { DomainError::Exists(name) } else { error.into() })?;
                    feed.note("domain", written.name.to_string(), None, ChangeOperation::Add);
                    feed.close(conn).await?;
                    bump_settings(conn).await?;
                    Ok::<_, DomainError>(())
                })
            })
            .await?;
        Ok(domain)
    }

    /// Notes that the domain is the tenant's. Effective names follow with [`Self::recalculate`].
    pub async fn mark_verified(
        &self,
        name: &DomainName,
        how: NewVerification,
        audit: Option<(AuditLog, Event)>,
    ) -> Result<Domain, DomainError> {
        let now = self.clock.now();
        let verification = match how {
            NewVerification::Dns => Verification::Dns(now),
            NewVerification::Operator => Verification::Operator(now),
        };
        let name = name.clone();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let mut feed = Feed::lock(conn, now).await?;
                    let mut domain = find(conn, &name).await?.ok_or_else(|| DomainError::Unknown(name.clone()))?;
                    if domain.is_initial() {
                        return Err(DomainError::Initial(name));
                    }
                    if !domain.verification.is_verified() {
                        domain.verification = verification;
                        let expected = domain.version;
                        domain.version += 1;
                        update(conn, &domain, expected).await?;
                    }
                    mark_recalculation(conn, &domain.name, None).await?;
                    feed.note("domain", domain.name.to_string(), None, ChangeOperation::Update);
                    feed.close(conn).await?;
                    bump_settings(conn).await?;
                    append(conn, audit).await?;
                    Ok(domain)
                })
            })
            .await
    }

    /// Changes how a domain's users sign in, if it still has the version that was decided on. The change, its change
    /// of the settings' number and the audit record commit together.
    pub async fn change_domain(
        &self,
        name: &DomainName,
        expected_version: i64,
        change: DomainChange,
        audit: Option<(AuditLog, Event)>,
    ) -> Result<Domain, DomainError> {
        let now = self.clock.now();
        let name = name.clone();
        self.db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    let domain = change_in(conn, &name, expected_version, change, now).await?;
                    append(conn, audit).await?;
                    Ok(domain)
                })
            })
            .await
    }

    pub async fn read_domain(&self, name: &DomainName) -> Result<Option<Domain>, StoreError> {
        let sql = format!("SELECT {DOMAIN_COLUMNS} FROM tenant_domain d WHERE d.name = $1");
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(name.to_string())
            .fetch_optional(self.db.read())
            .await
            .map_err(StoreError::doing("reading a domain"))?;
        row.as_ref().map(read_domain).transpose()
    }

    pub async fn read_domains(&self) -> Result<Vec<Domain>, StoreError> {
        let sql = format!("SELECT {DOMAIN_COLUMNS} FROM tenant_domain d ORDER BY d.name");
        let rows = sqlx::query(AssertSqlSafe(sql))
            .fetch_all(self.db.read())
            .await
            .map_err(StoreError::doing("reading the domains"))?;
        rows.iter().map(read_domain).collect()
    }
}

/// Changes a domain within a transaction, as [`TenantStore::change_domain`] does.
pub(in crate::store) async fn change_in(
    conn: &mut Connection,
    name: &DomainName,
    expected: i64,
    change: DomainChange,
    now: Timestamp,
) -> Result<Domain, DomainError> {
    let mut feed = Feed::lock(conn, now).await?;
    let domain = find(conn, name).await?.ok_or_else(|| DomainError::Unknown(name.clone()))?;
    if domain.version != expected {
        return Err(DomainError::Changed { name: name.clone(), expected, found: domain.version });
    }
    let domain = changed(domain, change, now)?;
    update(conn, &domain, expected).await?;
    feed.note("domain", domain.name.to_string(), None, ChangeOperation::Update);
    feed.close(conn).await?;
    bump_settings(conn).await?;
    Ok(domain)
}

/// The domain after `change`, or why that cannot be.
fn changed(mut domain: Domain, change: DomainChange, now: Timestamp) -> Result<Domain, DomainError> {
    if let Some(partner) = change.partner {
        domain.partner = partner;
    }
    if let Some(method) = change.method.filter(|method| *method != domain.method) {
        domain.method = method;
        domain.method_since = now;
    }
    if domain.method == AuthenticationMethod::Federated {
        if domain.is_initial() {
            return Err(DomainError::Initial(domain.name));
        }
        if domain.partner.is_none() {
            return Err(DomainError::NoPartner(domain.name));
        }
    }
    if !domain.verification.is_verified() {
        return Err(DomainError::NotVerified(domain.name));
    }
    domain.backup = change.backup.unwrap_or(domain.backup);
    domain.failover = change.failover.unwrap_or(domain.failover);
    domain.max_hash_age = change.max_hash_age.unwrap_or(domain.max_hash_age);
    domain.partner_outage_after = change.partner_outage_after.unwrap_or(domain.partner_outage_after);
    domain.pin = change.pin.unwrap_or(domain.pin);
    domain.version += 1;
    Ok(domain)
}

async fn find(conn: &mut Connection, name: &DomainName) -> Result<Option<Domain>, StoreError> {
    let sql = format!("SELECT {DOMAIN_COLUMNS} FROM tenant_domain d WHERE d.name = $1");
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(name.to_string())
        .fetch_optional(conn)
        .await
        .map_err(StoreError::doing("reading a domain"))?;
    row.as_ref().map(read_domain).transpose()
}

async fn write_new(conn: &mut Connection, domain: &Domain) -> Result<(), StoreError> {
    let mut cells: Vec<Cell> = vec![
        domain.name.as_str().into(),
        domain.is_initial().into(),
        domain.challenge.clone().into(),
        domain.created_at.millis().into(),
        domain.created_at.millis().into(),
    ];
    cells.extend(setting_cells(domain));
    let into = "tenant_domain (name, is_initial, challenge, created_at, recalculated_at, verification, verified_at, \
                method, method_since, backup, failover, max_hash_age_ms, partner_outage_ms, pin, pin_by, pin_at, pin_until, partner, version)";
    insert(conn, into, "", vec![cells], "adding a domain").await?;
    Ok(())
}

fn setting_cells(domain: &Domain) -> Vec<Cell> {
    let (verification, verified_at) = match domain.verification {
        Verification::Initial => ("initial", Some(domain.created_at)),
        Verification::Pending => ("pending", None),
        Verification::Dns(at) => ("dns", Some(at)),
        Verification::Operator(at) => ("operator", Some(at)),
    };
    let pin = domain.pin.as_ref();
    vec![
        verification.into(),
        verified_at.map(Timestamp::millis).into(),
        domain.method.as_str().into(),
        domain.method_since.millis().into(),
        domain.backup.as_str().into(),
        domain.failover.as_str().into(),
        i64::try_from(domain.max_hash_age.as_millis()).unwrap_or(i64::MAX).into(),
        i64::try_from(domain.partner_outage_after.as_millis()).unwrap_or(i64::MAX).into(),
        pin.map(|mark| mark.pin.as_str().to_owned()).into(),
        pin.map(|mark| mark.by.clone()).into(),
        pin.map(|mark| mark.at.millis()).into(),
        pin.and_then(|mark| mark.until).map(Timestamp::millis).into(),
        domain.partner.as_ref().map(ToString::to_string).into(),
        domain.version.into(),
    ]
}

/// Writes `domain` over the row that still has the version `expected`: rollouts claim a domain without the feed's lock.
async fn update(conn: &mut Connection, domain: &Domain, expected: i64) -> Result<(), DomainError> {
    let sql = "UPDATE tenant_domain SET verification = $1, verified_at = $2, method = $3, method_since = $4, backup = $5, \
               failover = $6, max_hash_age_ms = $7, partner_outage_ms = $8, pin = $9, pin_by = $10, pin_at = $11, \
               pin_until = $12, partner = $13, version = $14 WHERE name = $15 AND version = $16 RETURNING name";
    let mut cells = setting_cells(domain);
    cells.push(domain.name.to_string().into());
    cells.push(expected.into());
    if !conn.rows("changing a domain", vec![Statement::new(sql, cells)]).await?.is_empty() {
        return Ok(());
    }
    let found = find(conn, &domain.name).await?.ok_or_else(|| DomainError::Unknown(domain.name.clone()))?.version;
    Err(DomainError::Changed { name: domain.name.clone(), expected, found })
}

/// Caches of settings are stale from this commit on (design D3).
pub(in crate::store) async fn bump_settings(conn: &mut Connection) -> Result<(), StoreError> {
    sqlx::query("UPDATE counter SET value = value + 1 WHERE name = 'settings'")
        .execute(conn)
        .await
        .map_err(StoreError::doing("numbering the settings"))?;
    Ok(())
}

async fn append(conn: &mut Connection, audit: Option<(AuditLog, Event)>) -> Result<(), StoreError> {
    if let Some((log, event)) = audit {
        log.append(conn, event).await?;
    }
    Ok(())
}
