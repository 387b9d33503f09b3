//! Which connectors speak for which domains, and the recalculation of effective names when that or a verification
//! changes.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Row;

use super::super::error::StoreError;
use super::super::writer::Urgency;
use super::domains::bump_settings;
use super::export::PIECE;
use super::feed::Feed;
use super::rows::parse;
use super::sql::{Cell, insert};
use super::store::TenantStore;
use crate::identity::{ConnectorName, DomainName, Timestamp, UserId};
use crate::store::Connection;
use crate::tenant::{ExportWarning, ObjectId};

impl TenantStore {
    /// The domains that each connector may speak for, as activated: replaces what was there, and recalculates the
    /// names of the domains whose connectors changed. Returns those domains.
    pub async fn register_connectors(
        &self,
        connectors: BTreeMap<ConnectorName, BTreeSet<DomainName>>,
    ) -> Result<Vec<DomainName>, StoreError> {
        let now = self.clock.now();
        let wanted: BTreeSet<(String, String)> = connectors
            .iter()
            .flat_map(|(connector, domains)| domains.iter().map(|name| (connector.to_string(), name.to_string())))
            .collect();
        let changed = self
            .db
            .write(Urgency::Waited, move |conn| {
                Box::pin(async move {
                    // Taken for its lock: exports judge by these rows.
                    Feed::lock(conn, now).await?;
                    let rows = sqlx::query("SELECT connector, domain FROM connector_domain")
                        .fetch_all(&mut *conn)
                        .await
                        .map_err(StoreError::doing("reading the connectors' domains"))?;
                    let present: BTreeSet<(String, String)> =
                        rows.iter().map(|row| (row.get("connector"), row.get("domain"))).collect();
                    let changed: BTreeSet<String> =
                        present.symmetric_difference(&wanted).map(|(_, domain)| domain.clone()).collect();
                    let changed = changed
                        .iter()
                        .map(|name| parse("connector_domain", "domain", name))
                        .collect::<Result<Vec<DomainName>, _>>()?;
                    if changed.is_empty() {
                        return Ok(changed);
                    }
                    sqlx::query("DELETE FROM connector_domain")
                        .execute(&mut *conn)
                        .await
                        .map_err(StoreError::doing("replacing the connectors' domains"))?;
                    let rows: Vec<Vec<Cell>> =
                        wanted.into_iter().map(|(connector, name)| vec![connector.into(), name.into()]).collect();
                    let doing = "writing the connectors' domains";
                    insert(conn, "connector_domain (connector, domain)", "", rows, doing).await?;
                    for name in &changed {
                        mark_recalculation(conn, name, None).await?;
                    }
                    bump_settings(conn).await?;
                    Ok::<_, StoreError>(changed)
                })
            })
            .await?;
        for name in &changed {
            self.recalculate(name).await?;
        }
        Ok(changed)
    }

    /// The domains that each connector may speak for.
    pub async fn registered_connectors(&self) -> Result<BTreeMap<ConnectorName, BTreeSet<DomainName>>, StoreError> {
        let rows = sqlx::query("SELECT connector, domain FROM connector_domain")
            .fetch_all(self.db.read())
            .await
            .map_err(StoreError::doing("reading the connectors' domains"))?;
        let mut registered: BTreeMap<ConnectorName, BTreeSet<DomainName>> = BTreeMap::new();
        for row in &rows {
            let connector = parse("connector_domain", "connector", row.get("connector"))?;
            registered.entry(connector).or_default().insert(parse("connector_domain", "domain", row.get("domain"))?);
        }
        Ok(registered)
    }

    /// Calculates the effective names of all users whose on-premises name has this suffix, in short transactions, and
    /// returns how many were looked at and what there is to warn of. Sessions go on. May be repeated.
    pub async fn recalculate(&self, name: &DomainName) -> Result<(u64, Vec<ExportWarning>), StoreError> {
        let (mut seen, mut warnings, mut after) = (0, Vec::new(), String::new());
        loop {
            let limit = i64::try_from(PIECE).unwrap_or(i64::MAX);
            let rows = sqlx::query(
                "SELECT oid FROM tenant_user WHERE on_premises_suffix = $1 AND oid > $2 AND deleted_at IS NULL \
                 ORDER BY oid LIMIT $3",
            )
            .bind(name.to_string())
            .bind(after.clone())
            .bind(limit)
            .fetch_all(self.db.read())
            .await
            .map_err(StoreError::doing("reading the users of a domain"))?;
            let Some(last) = rows.last() else { break };
            after = last.get("oid");
            let touched = rows
                .iter()
                .map(|row| parse::<UserId>("tenant_user", "oid", row.get("oid")).map(ObjectId::User))
                .collect::<Result<Vec<_>, _>>()?;
            seen += touched.len() as u64;
            warnings.extend(self.recalculate_piece(touched).await?);
        }
        let (now, name) = (self.clock.now(), name.clone());
        self.db
            .write(Urgency::Bulk, move |conn| Box::pin(async move { mark_recalculation(conn, &name, Some(now)).await }))
            .await?;
        Ok((seen, warnings))
    }

    /// Domains whose recalculation was interrupted: to be repeated at start.
    pub async fn unfinished_recalculations(&self) -> Result<Vec<DomainName>, StoreError> {
        let rows = sqlx::query(
            "SELECT name FROM tenant_domain WHERE recalculated_at IS NULL AND verification <> 'pending' ORDER BY name",
        )
        .fetch_all(self.db.read())
        .await
        .map_err(StoreError::doing("reading the domains"))?;
        rows.iter().map(|row| parse("tenant_domain", "name", row.get("name"))).collect()
    }
}

/// Notes that the names of a domain are to be calculated anew, or when that was done.
pub(super) async fn mark_recalculation(
    conn: &mut Connection,
    name: &DomainName,
    done: Option<Timestamp>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE tenant_domain SET recalculated_at = $1 WHERE name = $2")
        .bind(done.map(Timestamp::millis))
        .bind(name.to_string())
        .execute(conn)
        .await
        .map_err(StoreError::doing("noting a recalculation"))?;
    Ok(())
}
