//! The recalculation of effective names, and the judgement of addresses, when a verification changes, or which connectors
//! speak for a domain.

use sqlx::Row;

use super::super::error::StoreError;
use super::super::writer::Urgency;
use super::export::PIECE;
use super::rows::parse;
use super::store::TenantStore;
use crate::identity::{DomainName, Timestamp, UserId};
use crate::store::Connection;
use crate::tenant::plan::Touched;
use crate::tenant::{ExportWarning, ObjectId};

impl TenantStore {
    /// Calculates the effective names of all users whose on-premises name has this suffix, in short transactions, and
    /// returns how many were looked at and what there is to warn of; then judges the addresses of that domain. Sessions go on.
    /// May be repeated.
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
            warnings.extend(self.judge_piece(Touched::Recalculated(touched)).await?);
        }
        self.judge_domain(name).await?;
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
