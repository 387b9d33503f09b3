//! Which connectors speak for which domains (design D9). A name, and where its password is, count only if the connector
//! that contributed them speaks for the domain: what takes a domain away from a connector takes people their names and
//! their sign-in.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Row;

use super::super::audit::AuditLog;
use super::super::error::StoreError;
use super::super::lease;
use super::super::writer::Urgency;
use super::domains::bump_settings;
use super::feed::Feed;
use super::recalculation::mark_recalculation;
use super::rows::parse;
use super::sql::{Cell, insert};
use super::store::TenantStore;
use crate::audit::{Actor, Event, EventKind, Outcome};
use crate::identity::{ConnectorName, DomainName, LeaseEpoch};
use crate::store::Connection;

/// The domains that each connector may speak for.
pub type Registrations = BTreeMap<ConnectorName, BTreeSet<DomainName>>;

/// What became of the registrations that settings ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// Domains whose connectors changed.
    pub changed: Vec<DomainName>,
    /// What would have concerned too many people; it stays as it was.
    pub withheld: Vec<Withheld>,
}

/// A domain that settings take away from a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    pub connector: ConnectorName,
    pub domain: DomainName,
    /// Whose name or password depends on it.
    pub users: i64,
}

/// As many people as may lose their names without an administrator's word: of all in the directory.
pub type WithdrawalLimit = fn(i64) -> i64;

type Pairs = BTreeSet<(String, String)>;

impl TenantStore {
    /// Replaces what was there, and recalculates the names of the domains whose connectors changed. Returns those domains.
    pub async fn register_connectors(&self, connectors: Registrations) -> Result<Vec<DomainName>, StoreError> {
        let now = self.clock.now();
        let wanted = pairs(&connectors);
        let changed = self
            .db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    // Taken for its lock: exports judge by these rows.
                    Feed::lock(conn, now).await?;
                    let present = present(conn).await?;
                    replace(conn, &present, wanted).await
                })
            })
            .await?;
        for name in &changed {
            self.recalculate(name).await?;
        }
        Ok(changed)
    }

    /// The same on behalf of the holder of the engine lease, and written down. A withdrawal on which more people depend
    /// than `limit` allows is left undone.
    pub async fn register_guarded(
        &self,
        epoch: LeaseEpoch,
        connectors: Registrations,
        limit: WithdrawalLimit,
        audit: &AuditLog,
    ) -> Result<Registered, StoreError> {
        let (now, audit) = (self.clock.now(), audit.clone());
        let mut wanted = pairs(&connectors);
        let registered = self
            .db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    lease::check_epoch(conn, epoch).await?;
                    Feed::lock(conn, now).await?;
                    let present = present(conn).await?;
                    let limit = limit(all_users(conn).await?);
                    let mut withheld = Vec::new();
                    for (connector, domain) in present.difference(&wanted.clone()) {
                        let users = dependants(conn, connector, domain).await?;
                        if users > limit {
                            wanted.insert((connector.clone(), domain.clone()));
                            withheld.push(Withheld {
                                connector: parse("connector_domain", "connector", connector)?,
                                domain: parse("connector_domain", "domain", domain)?,
                                users,
                            });
                        }
                    }
                    let granted: Vec<String> = wanted.difference(&present).map(spelled).collect();
                    let withdrawn: Vec<String> = present.difference(&wanted).map(spelled).collect();
                    let changed = replace(conn, &present, wanted).await?;
                    let system = || Actor::System("settings".to_owned());
                    if !changed.is_empty() {
                        let event = Event::new(EventKind::DomainsRegistered, Outcome::Success, system())
                            .with("granted", granted)
                            .with("withdrawn", withdrawn);
                        audit.append(conn, event).await?;
                    }
                    for held in &withheld {
                        let event = Event::new(EventKind::DomainsRegistered, Outcome::Refused, system())
                            .about(&held.domain)
                            .because("too-many-users")
                            .with("connector", held.connector.as_str())
                            .with("users", held.users);
                        audit.append(conn, event).await?;
                    }
                    Ok::<_, StoreError>(Registered { changed, withheld })
                })
            })
            .await?;
        for name in &registered.changed {
            self.recalculate(name).await?;
        }
        Ok(registered)
    }

    /// Takes a domain away from a connector, whoever depends on it. `false`: the connector did not speak for it.
    pub async fn withdraw_domain(&self, connector: &ConnectorName, domain: &DomainName) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let pair = (connector.to_string(), domain.to_string());
        let changed = self
            .db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    Feed::lock(conn, now).await?;
                    let present = present(conn).await?;
                    let wanted = present.iter().filter(|other| **other != pair).cloned().collect();
                    replace(conn, &present, wanted).await
                })
            })
            .await?;
        for name in &changed {
            self.recalculate(name).await?;
        }
        Ok(!changed.is_empty())
    }

    /// The domains that each connector may speak for.
    pub async fn registered_connectors(&self) -> Result<Registrations, StoreError> {
        let rows = sqlx::query("SELECT connector, domain FROM connector_domain")
            .fetch_all(self.db.read())
            .await
            .map_err(StoreError::doing("reading the connectors' domains"))?;
        let mut registered = Registrations::new();
        for row in &rows {
            let connector = parse("connector_domain", "connector", row.get("connector"))?;
            registered.entry(connector).or_default().insert(parse("connector_domain", "domain", row.get("domain"))?);
        }
        Ok(registered)
    }
}

fn pairs(connectors: &Registrations) -> Pairs {
    let of = |(connector, domains): (&ConnectorName, &BTreeSet<DomainName>)| {
        let connector = connector.to_string();
        domains.iter().map(|domain| (connector.clone(), domain.to_string())).collect::<Vec<_>>()
    };
    connectors.iter().flat_map(of).collect()
}

fn spelled((connector, domain): &(String, String)) -> String {
    format!("{connector}: {domain}")
}

async fn present(conn: &mut Connection) -> Result<Pairs, StoreError> {
    let rows = sqlx::query("SELECT connector, domain FROM connector_domain")
        .fetch_all(conn)
        .await
        .map_err(StoreError::doing("reading the connectors' domains"))?;
    Ok(rows.iter().map(|row| (row.get("connector"), row.get("domain"))).collect())
}

/// Writes the pairs that are wanted; returns the domains whose connectors changed.
async fn replace(conn: &mut Connection, present: &Pairs, wanted: Pairs) -> Result<Vec<DomainName>, StoreError> {
    let changed: BTreeSet<&String> = present.symmetric_difference(&wanted).map(|(_, domain)| domain).collect();
    let changed = changed.into_iter().map(|name| parse("connector_domain", "domain", name));
    let changed = changed.collect::<Result<Vec<DomainName>, _>>()?;
    if changed.is_empty() {
        return Ok(changed);
    }
    sqlx::query("DELETE FROM connector_domain")
        .execute(&mut *conn)
        .await
        .map_err(StoreError::doing("replacing the connectors' domains"))?;
    let rows: Vec<Vec<Cell>> =
        wanted.into_iter().map(|(connector, name)| vec![connector.into(), name.into()]).collect();
    insert(conn, "connector_domain (connector, domain)", "", rows, "writing the connectors' domains").await?;
    for name in &changed {
        mark_recalculation(conn, name, None).await?;
    }
    bump_settings(conn).await?;
    Ok(changed)
}

async fn all_users(conn: &mut Connection) -> Result<i64, StoreError> {
    let row = sqlx::query("SELECT COUNT(*) AS number FROM tenant_user WHERE deleted_at IS NULL")
        .fetch_one(conn)
        .await
        .map_err(StoreError::doing("counting users"))?;
    Ok(row.get("number"))
}

/// How many people have a name of this domain from this connector, or their password there.
async fn dependants(conn: &mut Connection, connector: &str, domain: &str) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS number FROM tenant_user u WHERE u.deleted_at IS NULL AND u.on_premises_suffix = $1 \
         AND (u.upn_connector = $2 OR EXISTS (SELECT 1 FROM credential_source s WHERE s.oid = u.oid AND s.connector = $2))",
    )
    .bind(domain.to_owned())
    .bind(connector.to_owned())
    .fetch_one(conn)
    .await
    .map_err(StoreError::doing("counting who depends on a domain"))?;
    Ok(row.get("number"))
}
